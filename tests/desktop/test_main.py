"""The program's door: what is started by which words, and what is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import desktop.__main__ as door
from desktop.core.paths import AppPaths

SNUG = [sys.executable, "-P", "-m", "desktop"]


def run(*arguments: str, environment: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    merged = {**os.environ, **(environment or {})}
    return subprocess.run(
        [*SNUG, *arguments], capture_output=True, text=True, timeout=60, check=False, env=merged, **options
    )


@pytest.mark.parametrize(("flag", "kind"), [("--engine-worker", "hello"), ("--hub-worker", "hub_hello")])
def test_worker_flags_start_a_worker_and_no_qt(flag: str, kind: str) -> None:
    code = (
        f"import sys; sys.argv = ['snug', '{flag}']\n"
        "import atexit, os\n"
        "from desktop.__main__ import main\n"
        "real = os._exit\n"
        "def leave(status):\n"
        "    os.write(2, b'QT' if 'PySide6' in sys.modules else b'NO QT'); real(status)\n"
        "os._exit = leave\n"
        "main()"
    )
    worker = subprocess.run(
        [sys.executable, "-c", code], input="", capture_output=True, text=True, timeout=60, check=False
    )
    assert worker.returncode == 0, worker.stderr
    assert f'"kind":"{kind}"' in worker.stdout
    assert "NO QT" in worker.stderr


def test_arguments_are_commands() -> None:
    assert run("--version").stdout.startswith("snug ")
    assert "snug chat" in run("--help").stdout
    assert run("dance").returncode == 2


def test_without_a_display_the_chat_opens_in_the_terminal(data_directory: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "QT_QPA_PLATFORM"}
    done = subprocess.run(
        SNUG, input="", capture_output=True, text=True, timeout=60, check=False, env=environment, cwd="/"
    )
    if sys.platform in ("win32", "darwin"):
        pytest.skip("there is always a display here")
    assert "because there is no display here" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_window_libraries_lead_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setitem(sys.modules, "PySide6.QtWidgets", None)
    for name in [name for name in sys.modules if name == "desktop.app"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("desktop.commands.open_terminal_chat", lambda paths, reason: told.append(reason) or 0)
    assert door._open_window(AppPaths.make()) == 0
    assert "libraries cannot be loaded" in told[0]


def test_fault_of_ours_is_not_taken_for_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "desktop.app", None)
    with pytest.raises(ImportError):
        door._open_window(AppPaths.make())


def test_gui_script_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["snug-desktop", "--version"])
    with pytest.raises(SystemExit) as left:
        door.main_window()
    assert left.value.code == 0
