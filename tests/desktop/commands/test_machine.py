from __future__ import annotations

import argparse
import io
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from desktop.commands import machine as command
from desktop.commands.exit_codes import ExitCode
from desktop.commands.machine import add_parser, open_machine, report
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from engines.calibration_book import CalibrationBook
from engines.errors import EngineError
from engines.hardware import detect
from engines.hardware.machine import Bandwidth, Disk, Machine, Power
from engines.hardware.machine_file import MachineFileError, load_machine, save_machine
from engines.hardware.profiles import find_profile, load_profiles

MEASURED = Bandwidth(bytes_per_second=28_300_000_000, source="measured", note="copying")


class Run:
    """One call of the command, with what it wrote."""

    def __init__(self, data_directory: Path, *words: object) -> None:
        parser = argparse.ArgumentParser()
        add_parser(parser.add_subparsers(dest="command"))
        arguments = parser.parse_args(["machine", *map(str, words)])
        output, messages = io.StringIO(), io.StringIO()
        terminal = Terminal(None, output, messages, {})
        self.status = open_machine(arguments, AppPaths.make(data_directory), terminal)
        self.output, self.messages = output.getvalue(), messages.getvalue()


def test_people_are_told_what_this_computer_is(data_directory: Path) -> None:
    run = Run(data_directory)
    assert run.status == ExitCode.OK
    machine = detect.read_machine()
    for wanted in (machine.name, "\nProcessor\n", "\nMemory\n", "\nGraphics\n", "\nDisk of the models\n", " GB"):
        assert wanted in run.output
    assert str(data_directory) in run.output
    assert run.messages == ""
    assert not data_directory.exists()


def test_programs_get_what_a_file_would_hold(data_directory: Path, tmp_path: Path) -> None:
    run = Run(data_directory, "--json", "--save", tmp_path / "desk.json")
    content = json.loads(run.output)
    assert content["format"] == 1
    assert set(content["machine"]) == {field.name for field in fields(Machine)}
    assert content == json.loads((tmp_path / "desk.json").read_text(encoding="utf-8"))
    assert run.messages == f"Saved as {tmp_path / 'desk.json'}. Anywhere else: snug fit --machine desk.json\n"


def test_the_computers_with_names_are_listed(data_directory: Path) -> None:
    lines = Run(data_directory, "--profiles").output.splitlines()
    assert len(lines) == len(load_profiles())
    assert any(line.split() == ["mac-mini-m4-16", "Mac", "mini,", "Apple", "M4,", "16", "GB"] for line in lines)
    machines = json.loads(Run(data_directory, "--profiles", "--json").output)["machines"]
    assert [machine["profile"] for machine in machines] == [line.split()[0] for line in lines]


def test_a_profile_and_a_file_are_shown(data_directory: Path, tmp_path: Path) -> None:
    save_machine(replace(find_profile("pc-nvidia-12"), name="The one under the desk"), tmp_path / "desk.json")
    assert "NVIDIA GeForce RTX 3060\n" in Run(data_directory, "--profile", "pc-nvidia-12").output
    assert Run(data_directory, "--profile", tmp_path / "desk.json").output.startswith("The one under the desk\n")


def test_a_name_that_nobody_has_is_an_error_in_words(data_directory: Path) -> None:
    with pytest.raises(EngineError, match="There is no computer named commodore-64"):
        Run(data_directory, "--profile", "commodore-64")


def test_an_older_description_is_replaced_and_nothing_else_is(data_directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "desk.json"
    for name in ("mac-mini-m4-16", "pc-16"):
        Run(data_directory, "--profile", name, "--save", file)
        assert load_machine(file) == find_profile(name)
    file.write_text("my diary", encoding="utf-8")
    with pytest.raises(MachineFileError, match=r"desk\.json is there already and describes no computer"):
        Run(data_directory, "--profile", "pc-16", "--save", file)
    assert file.read_text(encoding="utf-8") == "my diary"


def test_a_list_cannot_be_saved(data_directory: Path, tmp_path: Path) -> None:
    run = Run(data_directory, "--profiles", "--save", tmp_path / "all.json")
    assert run.status == ExitCode.USAGE
    assert "at a time" in run.messages
    assert not (tmp_path / "all.json").exists()


def test_another_computer_cannot_be_measured(data_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Run(data_directory, "--profile", "pc-16", "--measure")
    assert "not allowed with" in capsys.readouterr().err


def test_what_was_measured_is_shown_and_kept(data_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(detect.read_machine(), bandwidth=None, unknown=(detect.NO_BANDWIDTH,))
    monkeypatch.setattr(command.detect, "read_machine", lambda _folder: here)
    monkeypatch.setattr(detect.bandwidth, "measure_memory", lambda: MEASURED)
    monkeypatch.setattr(detect.disk, "measure_random_read", lambda _: replace(MEASURED, note="random reads"))
    assert "not known how fast" in Run(data_directory).output

    measured = Run(data_directory, "--measure").output
    assert "reads             28 GB/s, measured: copying" in measured
    assert "28 GB/s, measured: random reads" in measured
    assert detect.NO_BANDWIDTH not in measured

    later = Run(data_directory).output
    assert "28 GB/s, measured" in later
    assert detect.NO_BANDWIDTH not in later
    assert len(CalibrationBook.load(AppPaths.make(data_directory).calibration_path).records.bandwidths) == 1


def test_everything_that_can_be_known_has_its_line() -> None:
    machine = replace(
        find_profile("ryzen-ai-max-395-64"),
        memory_available_bytes=40 << 30,
        container_limit_bytes=48 << 30,
        commit_left_bytes=50 << 30,
        swap_total_bytes=8 << 30,
        swap_used_bytes=1 << 30,
        disk=Disk(path="models", total_bytes=1 << 40, free_bytes=1 << 39, random_read=replace(MEASURED, note="")),
        power=Power(on_mains=False, battery_share=0.84, saving=True),
        unknown=("One thing.",),
    )
    machine = replace(machine, processor=replace(machine.processor, performance_cores=8, usable_cores=4))
    text = "\n".join(report(machine))
    for wanted in (
        "profile           ryzen-ai-max-395-64",
        "system            Linux",
        "cores             16, 8 of them fast; this process may use 4 of 32 logical ones",
        "available now     42.9 GB",
        "container limit   51.5 GB",
        "can be promised   53.7 GB",
        "swap              8.6 GB, 1.1 GB used",
        "reads             256 GB/s, by table: Ryzen AI Max",
        "integrated        AMD Radeon 8060S",
        "0.5 GB of its own; may use 33.6 GB of the main memory",
        "40 cores, drives a screen",
        "free              550 GB of 1100 GB",
        "reads             28 GB/s, measured\n",
        "source            battery; models are slower on it",
        "battery           84%",
        "saving            on",
        "To know\n  One thing.",
    ):
        assert wanted in text, text


def test_memory_counts_decimally_and_says_how_it_is_sold_where_that_is_certain() -> None:
    machine = find_profile("mac-mini-m4-16")
    assert "for programs      17.2 GB, sold as 16 GB\n" in "\n".join(report(machine))
    assert "for programs      16.5 GB\n" in "\n".join(report(replace(machine, memory_total_bytes=16_500_000_000)))


def test_what_is_not_known_is_not_made_up() -> None:
    machine = replace(find_profile("snapdragon-x-16"), bandwidth=None, unknown=())
    text = "\n".join(report(machine))
    assert "reads             not known how fast" in text
    assert "none that models could run on" in text
    for absent in ("available", "swap", "Disk", "Power", "To know"):
        assert absent not in text
