from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from desktop.commands import build_parser, doctor, run
from desktop.core.paths import AppPaths
from desktop.core.version import snug_version


def test_help_has_examples_and_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(["--help"])

    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert "examples:\n  snug " in shown
    for command in ("chat", "fit", "machine", "doctor", "--version", "--data-dir"):
        assert command in shown


@pytest.mark.parametrize("command", ["chat", "fit", "machine", "doctor"])
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run([command, "--help"])

    assert left.value.code == 0
    assert f"examples:\n  snug {command} " in capsys.readouterr().out


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(["--version"])

    assert left.value.code == 0
    assert capsys.readouterr().out == f"snug {snug_version()}\n"


def test_a_wrong_command_is_a_mistake_in_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(["dance"])

    assert left.value.code == 2
    assert "dance" in capsys.readouterr().err


def test_no_command_opens_the_window_with_the_chosen_paths(tmp_path: Path) -> None:
    opened: list[AppPaths] = []

    def open_window(paths: AppPaths) -> int:
        opened.append(paths)
        return 17

    display = {"QT_QPA_PLATFORM": "offscreen"}
    assert run(["--data-dir", str(tmp_path / "other")], open_window=open_window, environment=display) == 17
    assert run([], AppPaths.make(tmp_path / "given"), open_window=open_window, environment=display) == 17
    assert [paths.data_directory.name for paths in opened] == ["other", "given"]


def test_a_fault_of_our_own_ends_in_words_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(doctor, "open_doctor", fail)

    assert run(["doctor"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("snug: Snug met a fault of its own.\n")
    assert "nobody thought of this" in shown


def test_without_a_display_and_with_a_pipe_the_pipe_is_answered(data_directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "desktop"],
        input="",
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        env={"PATH": "", "SNUG_DATA_DIR": str(data_directory)},
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith(
        "Snug chats in this terminal instead of a window, because there is no display here.\n"
        "snug: There is nothing to answer: standard input is empty.\n"
    )


def test_the_terminal_loads_neither_qt_nor_a_native_engine() -> None:
    code = (
        "import sys, desktop.commands as c; c.build_parser();"
        "print([m for m in ('PySide6', 'llama_cpp', 'mlx', 'huggingface_hub', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout == "[]\n"


def test_every_option_says_what_it_does() -> None:
    subparsers = [action for action in build_parser()._actions if hasattr(action, "choices") and action.choices]
    for parser in (build_parser(), *subparsers[0].choices.values()):
        for action in parser._actions:
            if action.dest == "command":
                continue
            assert action.help, f"{parser.prog} {action.option_strings or action.dest}"
