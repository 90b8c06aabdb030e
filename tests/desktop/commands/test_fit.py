"""`snug fit` as a person or a script calls it: the real command in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.calibration_book import CalibrationBook
from engines.hardware.detect import read_machine
from engines.hardware.machine_file import save_machine

Snug = Callable[..., subprocess.CompletedProcess[str]]
STARTER = "smollm2-135m-instruct"


def test_without_a_model_there_is_a_recommendation_and_a_table(snug: Snug, data_directory: Path) -> None:
    done = snug("fit")

    assert (done.returncode, done.stderr) == (0, "")
    assert "\nRecommended: " in done.stdout
    assert re.search(r"\nKnown models\nModel +Build +On disk +Verdict +Context +Tokens/s +Memory\n", done.stdout)
    assert re.search(r"\n\* \S.* (fits|less context)", done.stdout)
    assert "\x1b" not in done.stdout
    assert "snug fit MODEL tells more" in done.stdout
    assert not (data_directory / "leases").exists()


def test_another_computer_gets_another_answer(snug: Snug, tmp_path: Path) -> None:
    small, large = snug("fit", "--machine", "pc-16"), snug("fit", "--machine", "mac-m4-max-128")
    saved = tmp_path / "desk.json"
    save_machine(read_machine(), saved)
    own = snug("fit", "--machine", saved)

    assert small.returncode == large.returncode == own.returncode == 0
    assert small.stdout.splitlines()[2] != large.stdout.splitlines()[2]
    assert "On this computer" not in small.stdout
    assert "available now" not in own.stdout


def test_all_builds_are_shown_on_request(snug: Snug) -> None:
    few, many = snug("fit", "--machine", "pc-32"), snug("fit", "--machine", "pc-32", "--all")

    assert len(many.stdout.splitlines()) > len(few.stdout.splitlines()) + 20
    assert "snug fit --all" in few.stdout and "snug fit --all" not in many.stdout


def test_a_build_of_unknown_size_says_how_the_hub_can_be_asked(snug: Snug) -> None:
    said = snug("fit", "deepseek-v4-flash-0731", "--machine", "mac-m4-max-128").stdout
    assert "snug fit unsloth/DeepSeek-V4-Flash-0731-GGUF:UD-IQ1_M asks the Hub" in " ".join(said.split())


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_a_missing_one(snug: Snug, name: str) -> None:
    done = snug("fit", name)

    assert done.returncode == 2
    assert done.stderr.startswith("snug: The name of the model is missing.\n")


def test_a_computer_that_nobody_knows_is_a_mistake_in_words(snug: Snug) -> None:
    done = snug("fit", "--machine", "pc-17")

    assert done.returncode == 1
    assert done.stderr.startswith("snug: There is no computer named pc-17.\n")


@pytest.mark.model
def test_a_model_file_is_checked_with_the_engine(snug: Snug, smollm2_path: Path) -> None:
    done = snug("fit", smollm2_path, "--context", "4k", "--explain")
    unchecked = snug("fit", smollm2_path, "--context", "4k", "--no-exact")

    assert done.returncode == unchecked.returncode == 0
    assert "\nFits (checked with the engine)\n" in done.stdout
    assert "\n  context      4,096 tokens (" in done.stdout
    assert "Main memory, as the engine plans it" in done.stdout
    assert "\nFits (computed from the model's shape)\n" in unchecked.stdout


@pytest.mark.model
def test_programs_get_one_json_object(snug: Snug, smollm2_path: Path) -> None:
    asked = json.loads(snug("fit", smollm2_path, "--json", "--kv", "q8_0").stdout)
    overview = json.loads(snug("fit", "--json", "--machine", "pc-16").stdout)

    assert (asked["format"], asked["status"], asked["chosen"]) == (1, 0, 0)
    build = asked["builds"][0]
    assert build["verdict"]["placement"]["main"]["source"] == "dry_run"
    assert build["verdict"]["settings"]["kv_type"] == "q8_0"
    assert build["exact_weights"] is True and build["path"] == str(smollm2_path)
    assert overview["chosen"] is None and overview["recommendation"]["model_id"]
    assert overview["machine"]["profile"] == "pc-16"
    assert len(overview["builds"]) > 5


def test_the_exit_status_says_whether_it_fits(snug: Snug, huge_model: Path) -> None:
    assert snug("fit", huge_model).returncode == 7
    assert snug("fit", "mlx-community/DeepSeek-V4-Flash-4bit").returncode == 3
    assert snug("fit", "no-such-model").returncode == 3
    assert snug("fit", "gpt-oss-20b", "--machine", "mac-mini-m4-24").returncode == 0
    assert snug("fit", "gpt-oss-20b", "--machine", "mac-mini-m4-16", "--context", "128k").returncode == 7


def test_a_model_that_no_engine_runs_is_refused_with_the_way_out(snug: Snug) -> None:
    done = snug("fit", "mlx-community/DeepSeek-V4-Flash-4bit")

    title, reason = done.stdout.split("\n\n")[1].splitlines()[:2]
    assert title.startswith("Cannot run here (")
    assert "does not know the architecture of DeepSeek V4" in reason
    assert "unsloth/DeepSeek-V4-Flash-0731-GGUF" in done.stdout


def test_a_repository_without_a_network_is_a_clear_error(snug: Snug) -> None:
    done = snug("fit", "somebody/something")

    assert done.returncode == 1
    assert done.stderr.startswith("Asking the Hub about somebody/something: the list of its files and the beginning")
    assert "\nsnug: " in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.model
@pytest.mark.slow
def test_a_load_compares_and_teaches_and_can_be_forgotten(snug: Snug, smollm2_path: Path, data_directory: Path) -> None:
    loaded = snug("fit", smollm2_path, "--load", "--context", "1k")
    after = snug("fit", smollm2_path, "--no-exact")
    reset = snug("fit", "--reset-learning")
    again = snug("fit", "--reset")

    assert loaded.returncode == 0
    assert re.search(r"\n  peak memory +\d\.\d GB +\d\.\d GB +[+-]\d+%\n", loaded.stdout)
    assert "Loading SmolLM2 135M Instruct and letting it answer once" in loaded.stderr
    assert "measured here" in after.stdout and "by 1 load on this computer" in after.stdout
    assert reset.stderr == "Forgotten: what 1 load taught. Predictions are uncorrected again.\n"
    assert again.stderr == "There is nothing to forget.\n"
    assert CalibrationBook.load(data_directory / "calibration.json").records.loads == ()


def test_what_does_not_fit_is_not_loaded_and_force_asks_first(snug: Snug, huge_model: Path) -> None:
    refused = snug("fit", huge_model, "--load")
    nobody = snug("fit", huge_model, "--force")
    missing = snug("fit", "gpt-oss-20b", "--load", "--context", "4k")

    assert refused.returncode == 7
    assert "huge was not loaded, because it does not fit as asked." in refused.stderr.replace("A made-up model", "huge")
    assert nobody.returncode == 2
    assert "unsaved work in them is lost" in nobody.stderr
    assert nobody.stderr.endswith("      Say --yes if this is what you want.\n")
    assert missing.returncode == 3
    assert "is not on this computer, so it cannot be loaded." in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--load"], "Which model should be loaded?"),
        (["x", "--load", "--machine", "pc-16"], "A model can only be loaded on this computer."),
        (["x", "--exact", "--machine", "pc-16"], "The engine can only check the sum for this computer."),
    ],
)
def test_what_does_not_go_together_is_said(snug: Snug, arguments: list[str], said: str) -> None:
    done = snug("fit", *arguments)

    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals that Python can open")
def test_force_asks_a_person_who_may_say_no(terminal: Callable[..., Any], huge_model: Path) -> None:
    run = terminal("fit", huge_model, "--force", environment={"COLUMNS": "80"})
    run.wait_for("Load it? [y/N] ")
    run.type("\n")
    run.wait_for("Nothing was loaded.")

    assert run.status() == 7


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals that Python can open")
def test_a_narrow_terminal_gets_narrow_lines(terminal: Callable[..., Any]) -> None:
    run = terminal("fit", "--machine", "pc-16", environment={"COLUMNS": "60"})
    assert run.status() == 0
    shown = re.sub(r"\x1b\[[0-9;]*[A-Za-z]|\r", "", run.screen)

    assert max(len(line) for line in shown.splitlines() if not line.startswith("Looking")) <= 60
    assert "Verdict" in shown


def test_a_damaged_book_is_said_and_no_obstacle(snug: Snug, data_directory: Path) -> None:
    data_directory.mkdir(parents=True)
    (data_directory / "calibration.json").write_text("{", encoding="utf-8")

    done = snug("fit", "--machine", "pc-16")

    assert done.returncode == 0
    assert "so it begins anew. The old file is now calibration.damaged-" in done.stderr


def test_the_command_starts_without_a_native_engine() -> None:
    code = (
        "import sys, desktop.commands as c; c.run(['fit', '--machine', 'pc-16']);"
        "print([m for m in ('PySide6', 'llama_cpp', 'mlx', 'huggingface_hub', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True, env=os.environ
    )

    assert done.stdout.endswith("[]\n")
