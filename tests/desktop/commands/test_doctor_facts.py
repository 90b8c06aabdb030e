from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from desktop.commands import doctor_facts
from desktop.commands.doctor_facts import Facts, ask_engine_process, collect, size_on_disk
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from engines.lease import Leases
from engines.memory import Memory

TERMINAL = Terminal(None, io.StringIO(), io.StringIO(), {})


@pytest.fixture
def paths(data_directory: Path) -> AppPaths:
    return AppPaths.make(data_directory)


@pytest.fixture
def _no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing devices loads the native library, which takes a second."""
    monkeypatch.setattr(doctor_facts, "installed", lambda: ())


def look(paths: AppPaths) -> Facts:
    return collect(paths, {"LANG": "de_DE.UTF-8", "QT_QPA_PLATFORM": "offscreen"}, TERMINAL)


def test_a_sound_installation_has_no_problems(paths: AppPaths) -> None:
    loaded_before = set(sys.modules)
    facts = look(paths)

    assert facts.problems == ()
    assert facts.starter is not None
    assert facts.models == (facts.starter,)
    assert facts.engine_process.answers
    assert facts.engine_process.versions is not None
    assert facts.engine_process.devices["llama"][0].name == "CPU"
    assert {engine.id: engine.installed for engine in facts.engines} == {"llama": True, "scripted": True}
    assert facts.versions.libraries["psutil"] is not None
    assert facts.memory.total_bytes > 0
    assert facts.disk_free_bytes is not None and facts.disk_free_bytes > 0
    assert facts.environment.language == "de_DE.UTF-8"
    assert facts.environment.display
    assert not paths.data_directory.exists()
    assert not {"llama_cpp", "mlx", "huggingface_hub"} & (set(sys.modules) - loaded_before)


def test_what_is_wrong_becomes_sentences(paths: AppPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_facts, "engine_command", lambda: [sys.executable, "-c", "raise SystemExit(9)"])
    paths.ensure()
    paths.settings_path.write_text('{"temperature": "warm"}')
    (paths.models_directory / "empty.gguf").touch()

    problems = look(paths).problems

    assert any("engine" in problem.lower() and "start" in problem for problem in problems)
    assert any("temperature goes back to its default" in problem for problem in problems)
    assert "empty is not complete: the file is empty." in problems


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(60)", "did not answer within"),
        ("import os; os.abort()", "found a fault in its own work and stopped while it started"),
        ("print('hello')", "something that Snug does not understand"),
    ],
)
@pytest.mark.slow
def test_an_engine_process_that_misbehaves_is_an_answer_too(
    monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    monkeypatch.setattr(doctor_facts, "engine_command", lambda: [sys.executable, "-c", code])

    fact = ask_engine_process(timeout_seconds=0.5 if "sleep" in code else 30)

    assert not fact.answers
    assert said in fact.problem


def test_an_engine_that_cannot_even_be_started_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_facts, "engine_command", lambda: ["no-such-program-anywhere"])

    assert "could not be started" in ask_engine_process().problem


@pytest.mark.usefixtures("_no_devices")
def test_models_in_memory_are_listed(paths: AppPaths) -> None:
    leases = Leases(paths.leases_directory, "window", memory_now=lambda: Memory(1 << 40, 1 << 40))

    with leases.take("Giant", Path("giant.gguf"), 1000):
        (lease,) = look(paths).leases

    assert (lease.model_name, lease.pid) == ("Giant", os.getpid())


@pytest.mark.usefixtures("_no_devices")
def test_a_folder_that_may_not_be_written_is_a_problem(paths: AppPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as a user who may write everywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)

    assert any("may not write to" in problem for problem in look(paths).problems)


def test_sizes_count_folders_and_the_companions_of_a_database(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "a").write_bytes(b"12345")
    (tmp_path / "folder" / "below" / "b").write_bytes(b"678")
    for ending, content in (("", b"1"), ("-wal", b"22"), ("-shm", b"333")):
        (tmp_path / f"x.db{ending}").write_bytes(content)

    assert size_on_disk(tmp_path / "folder") == 8
    assert size_on_disk(tmp_path / "x.db") == 6
    assert size_on_disk(tmp_path / "missing") == 0
