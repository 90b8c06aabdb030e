"""The two commands: what they would start, in which order, and what an interruption leaves."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import installers
from installers import source
from installers.machine import SetupError
from installers.source import (
    CHECK_EXTRAS,
    RUN_EXTRAS,
    Installer,
    Place,
    Shell,
    Stamp,
    build_environment,
    check,
    explain_failure,
    main,
    static_checks,
)


@dataclass(frozen=True)
class RecordingShell(Shell):
    """Starts nothing: remembers what it was asked to start, and answers as told."""

    place: Place = field(kw_only=True)
    started: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    """Of "environment", "uv" and "pip": what is not there; making or installing it puts it there."""
    failing: set[str] = field(default_factory=set)
    """Words of the commands that fail."""

    def run(self, command: Sequence[str | Path], directory: Path, environ: Mapping[str, str]) -> tuple[int, str]:
        words = self._note(command)
        if any(word in words for word in self.failing):
            return 1, "dns error"
        if "-m venv" in words:
            shutil.rmtree(self.place.venv, ignore_errors=True)
            self.place.python.parent.mkdir(parents=True)
            self.place.python.touch()
            self.missing.discard("environment")
        for name in ("pip", "uv"):
            if words.endswith(name) or f"ensure{name}" in words:
                self.missing.discard(name)
        return 0, ""

    def ask(self, command: Sequence[str | Path]) -> str | None:
        words = " ".join(map(str, command))
        what = "pip" if "-m pip" in words else "uv" if words.endswith("--version") else "environment"
        if what in self.missing or not self.place.python.exists():
            return None
        return "True 3 12"

    def call(self, command: Sequence[str | Path], directory: Path) -> int:
        words = self._note(command)
        return 1 if any(word in words for word in self.failing) else 0

    def _note(self, command: Sequence[str | Path]) -> str:
        words = " ".join(Path(part).name if isinstance(part, Path) else part for part in command)
        self.started.append(words)
        return words

    def jobs(self) -> list[str]:
        """The commands in short."""
        names = {"-m venv": "venv", "ensurepip": "pip", "uv pip install": "packages", "-m pip install": "uv"}
        return [next((short for sign, short in names.items() if sign in words), words) for words in self.started]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A checkout without an environment, on a machine that lacks nothing."""
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text(name)
    for name in ("compiler_problem", "environment_problem"):
        monkeypatch.setattr(source, name, lambda **_: None)
    monkeypatch.setattr(source, "missing_libraries", lambda _needs: ())
    return Place.make(tmp_path, {})


@pytest.fixture
def shell(place: Place) -> RecordingShell:
    return RecordingShell(place=place, missing={"environment", "uv"})


def install(shell: RecordingShell, extras: frozenset[str] = RUN_EXTRAS) -> list[str]:
    """What one more installation starts."""
    shell.started.clear()
    Installer(shell.place, {}, shell).install(extras)
    return shell.jobs()


def test_first_installation_makes_the_environment_then_uv_then_the_packages(shell: RecordingShell) -> None:
    assert install(shell) == ["venv", "uv", "packages"]
    assert shell.started[-1].endswith(
        "--constraints constraints.txt --build-constraints constraints.txt --editable .[starter]"
    )


def test_second_installation_has_nothing_to_do(shell: RecordingShell) -> None:
    install(shell)
    assert install(shell) == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_sources_install_the_packages_again(shell: RecordingShell, name: str) -> None:
    install(shell)
    (shell.place.root / name).write_text("changed")
    assert install(shell) == ["packages"]


def test_check_after_run_adds_its_packages_and_run_after_check_has_nothing_to_do(shell: RecordingShell) -> None:
    install(shell)
    assert install(shell, CHECK_EXTRAS) == ["packages"]
    assert shell.started[0].endswith(".[check,starter]")
    assert install(shell, RUN_EXTRAS) == []


def test_changed_sources_keep_the_packages_of_check(shell: RecordingShell) -> None:
    install(shell, CHECK_EXTRAS)
    (shell.place.root / "pyproject.toml").write_text("changed")
    install(shell, RUN_EXTRAS)
    assert shell.started[0].endswith(".[check,starter]")
    assert install(shell, CHECK_EXTRAS) == []


def test_interrupted_installation_starts_over(shell: RecordingShell) -> None:
    shell.failing.add("--editable")
    with pytest.raises(SetupError, match="the package index could not be reached"):
        install(shell)
    shell.failing.clear()
    assert install(shell) == ["venv", "packages"]
    assert "--clear" in shell.started[0]
    assert install(shell) == []


def test_interruption_of_a_later_installation_is_mended_too(shell: RecordingShell) -> None:
    install(shell)
    (shell.place.root / "pyproject.toml").write_text("changed")
    shell.failing.add("--editable")
    with pytest.raises(SetupError):
        install(shell)
    (shell.place.root / "pyproject.toml").write_text("pyproject.toml")  # as the stamp remembers it
    shell.failing.clear()
    assert install(shell) == ["venv", "packages"]


def test_half_made_environment_is_made_anew(shell: RecordingShell) -> None:
    install(shell)
    shell.missing.add("environment")
    shell.place.stamp_path.unlink()
    assert install(shell)[0] == "venv"
    assert "--clear" in shell.started[0]


def test_environment_without_pip_gets_it_back(shell: RecordingShell) -> None:
    shell.missing.add("pip")
    assert install(shell) == ["venv", "pip", "uv", "packages"]


def test_environment_that_works_is_kept(shell: RecordingShell) -> None:
    shell.place.python.parent.mkdir(parents=True)
    shell.place.python.touch()
    shell.missing.clear()
    assert install(shell) == ["packages"]


def test_moved_checkout_gets_a_new_environment(shell: RecordingShell) -> None:
    """The programs in an environment carry its path."""
    install(shell)
    Stamp("elsewhere", "", RUN_EXTRAS).write(shell.place)
    assert install(shell) == ["venv", "packages"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"root": 1, "sources": 2, "extras": null}', "\0"])
def test_damaged_stamp_installs_again(shell: RecordingShell, content: str) -> None:
    install(shell)
    shell.place.stamp_path.write_text(content)
    assert install(shell) == ["packages"]


def test_missing_compiler_stops_before_anything_is_made(shell: RecordingShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "compiler_problem", lambda **_: SetupError("no compiler"))
    with pytest.raises(SetupError, match="no compiler"):
        install(shell)
    assert shell.started == []


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("error: dns error: failed to lookup address information: Name or service not known", "could not be reached"),
        (
            "NewConnectionError('<...>: Failed to establish a new connection: [Errno 101] Network is unreachable')",
            "reached",
        ),
        ("-- Configuring\nCMake Error at CMakeLists.txt:1 (project):", "could not be compiled"),
        ("ninja: build stopped: subcommand failed.", "could not be compiled"),
        ("No solution found when resolving dependencies", "The reason is above"),
    ],
)
def test_failures_are_explained(printed: str, reason: str) -> None:
    assert reason in str(explain_failure("Installing", printed))


def test_packages_are_built_with_all_processors_and_without_another_python() -> None:
    environ = build_environment({"PYTHONHOME": "x", "VIRTUAL_ENV": "y", "PATH": "z"}, 8)
    assert environ["CMAKE_BUILD_PARALLEL_LEVEL"] == "8"
    assert environ["UV_PYTHON_DOWNLOADS"] == "never"
    assert environ["PATH"] == "z"
    assert not {"PYTHONHOME", "VIRTUAL_ENV"} & environ.keys()
    assert build_environment({"CMAKE_BUILD_PARALLEL_LEVEL": "1"}, 8)["CMAKE_BUILD_PARALLEL_LEVEL"] == "1"


def test_environment_variable_names_another_folder(tmp_path: Path) -> None:
    assert Place.make(tmp_path, {"SNUG_VENV": ".venv-3.13"}).venv == tmp_path / ".venv-3.13"
    assert Place.make(tmp_path, {}).venv == tmp_path / ".venv"


def test_check_runs_everything_and_pytest_last(shell: RecordingShell) -> None:
    assert check(shell.place, ["--quick"], {}, shell) == 0
    assert shell.started[3:-1] == [
        " ".join(Path(part).name if isinstance(part, Path) else part for part in command)
        for command in static_checks(shell.place).values()
    ]
    assert shell.started[-1].endswith("-m pytest --quick")


@pytest.mark.parametrize("tool", ["format", "ruff check", "mypy", "lint-imports"])
def test_failing_static_check_fails_the_command_after_the_tests(
    shell: RecordingShell, capsys: pytest.CaptureFixture[str], tool: str
) -> None:
    shell.failing.add(tool)
    assert check(shell.place, [], {}, shell) == 1
    assert "These checks failed" in capsys.readouterr().out
    assert "pytest" in shell.started[-1]


def test_failing_tests_fail_the_command(shell: RecordingShell) -> None:
    shell.failing.add("pytest")
    assert check(shell.place, [], {}, shell) == 1


def test_check_says_which_libraries_qt_misses(shell: RecordingShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "missing_libraries", lambda _needs: source_libraries())
    with pytest.raises(SetupError, match="sudo apt install libegl1"):
        check(shell.place, [], {}, shell)


def source_libraries() -> tuple[object, ...]:
    from installers.machine import QT_LIBRARIES

    return QT_LIBRARIES[:1]


# ------------------------------------------------------------------------------------------------ the real shell


def test_shell_shows_output_as_it_comes_and_keeps_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = "import sys; [print('line', number) for number in range(300)]; sys.exit(1)"
    status, printed = Shell().run([sys.executable, "-c", program], tmp_path, {})
    assert status == 1
    assert printed.endswith("line 298\nline 299\n")
    assert "line 0\n" not in printed
    assert "  line 0\n" in capsys.readouterr().out


def test_shell_says_that_a_silent_program_is_still_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = "import time; time.sleep(0.3)"  # silence is what is tested
    assert Shell(heartbeat_s=0.05).run([sys.executable, "-c", program], tmp_path, {}) == (0, "")
    assert "still at work, 0 min so far" in capsys.readouterr().out


def test_shell_gives_programs_no_input(tmp_path: Path) -> None:
    status, printed = Shell().run([sys.executable, "-c", "print(repr(input()))"], tmp_path, {})
    assert status == 1
    assert "EOFError" in printed


def test_shell_ends_the_program_when_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Shell, "_show", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Shell().run([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, {})


def test_shell_asks_and_takes_no_for_an_answer(tmp_path: Path) -> None:
    assert Shell().ask([sys.executable, "-c", "print(1)"]) == "1\n"
    assert Shell().ask([sys.executable, "-c", "raise SystemExit(3)"]) is None
    assert Shell().ask([tmp_path / "nothing"]) is None


# --------------------------------------------------------------------------------------------------- the commands


@pytest.mark.parametrize("arguments", [[], ["walk"], ["missing-packages", "now"]])
def test_wrong_usage_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "installers.source run" in capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "installers.source check" in capsys.readouterr().out


def test_missing_packages_are_named_one_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source, "missing_libraries", lambda _needs: source_libraries())
    monkeypatch.setattr(source, "compiler_problem", lambda **_: SetupError("no compiler"))
    monkeypatch.setattr(source, "environment_problem", lambda: None)
    assert main(["missing-packages"]) == 0
    assert capsys.readouterr().out == "libegl1\ng++\n"


def test_setup_error_ends_the_command_with_its_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source, "python_problem", lambda _version: SetupError("Not this one.", "Take another."))
    assert main(["run"]) == 1
    assert capsys.readouterr().err == "\nNot this one.\nTake another.\n"


def test_old_pythons_can_read_the_door_and_are_told() -> None:
    """`installers/__init__.py` comes first; an old Python must get as far as its sentence."""
    text = Path(installers.__file__).read_text("utf-8")
    ast.parse(text, feature_version=(3, 4))
    told: list[str] = []

    class OldSystem:
        version_info = (3, 9, 18, "final", 0)
        exit = staticmethod(told.append)

    exec(compile(text.replace("import sys\n", ""), "installers", "exec"), {"sys": OldSystem})
    assert told[0].startswith("Snug needs Python 3.11 or newer, and this is Python 3.9.")
