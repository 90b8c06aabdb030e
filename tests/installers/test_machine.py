"""What a machine lacks is found, and said with the way to get it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from installers.machine import (
    COMPILER_ADVICE,
    QT_LIBRARIES,
    SetupError,
    SystemLibrary,
    compiler_problem,
    debian_packages,
    environment_problem,
    libraries_problem,
    missing_libraries,
    python_problem,
)

posix_only = pytest.mark.skipif(os.name == "nt", reason="a program is a script with a #! line here")


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_supported_pythons_are_welcome(minor: int) -> None:
    assert python_problem((3, minor)) is None


@pytest.mark.parametrize("version", [(3, 10), (3, 15), (2, 7)])
def test_other_pythons_are_named(version: tuple[int, int]) -> None:
    problem = python_problem(version)
    assert problem is not None
    assert problem.title == f"Snug runs on Python 3.11 to 3.14, and this is Python {version[0]}.{version[1]}."
    assert "python3.13 -m installers.source run" in problem.advice


def test_missing_venv_module_is_named_with_its_package() -> None:
    problem = environment_problem(lambda name: None if name == "ensurepip" else object())
    assert problem is not None
    assert "ensurepip is missing" in problem.title
    assert f"sudo apt install python3.{sys.version_info[1]}-venv" in problem.advice


def test_complete_python_has_no_problem() -> None:
    assert environment_problem() is None


@pytest.mark.parametrize("platform", ["linux", "darwin", "freebsd14"])
def test_missing_compiler_is_said_with_the_way_to_get_one(tmp_path: Path, platform: str) -> None:
    problem = compiler_problem(platform, {"PATH": str(tmp_path)})
    assert problem is not None
    assert "no C++ compiler was found" in problem.title
    assert problem.advice == COMPILER_ADVICE.get(platform, COMPILER_ADVICE["linux"])


def test_missing_compiler_on_windows_is_said_too(tmp_path: Path) -> None:
    problem = compiler_problem("win32", {"PATH": str(tmp_path), "ProgramFiles(x86)": str(tmp_path)})
    assert problem is not None
    assert "Desktop development with C++" in problem.advice


@posix_only
def test_compiler_that_does_not_compile_is_told_with_its_words(tmp_path: Path) -> None:
    """Apple's placeholder, or g++ without its headers: there, but of no use."""
    placeholder = tmp_path / "c++"
    placeholder.write_text("#!/bin/sh\necho 'no developer tools were found' >&2\nexit 1\n")
    placeholder.chmod(0o755)
    problem = compiler_problem("darwin", {"PATH": str(tmp_path)})
    assert problem is not None
    assert str(placeholder) in problem.title
    assert "no developer tools were found" in problem.advice


@posix_only
def test_named_compiler_is_the_one_that_is_tried(tmp_path: Path) -> None:
    mine = tmp_path / "my-compiler"
    mine.write_text("#!/bin/sh\ncat >/dev/null\n")
    mine.chmod(0o755)
    environ = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "CXX": "my-compiler --fast"}
    assert compiler_problem("linux", environ) is None
    assert compiler_problem("linux", {**environ, "CXX": "no-such-compiler"}) is not None


def test_library_that_cannot_be_loaded_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = SystemLibrary("libnosuchthing.so.9", "libnosuchthing9", "qt")
    for_windows_only = SystemLibrary("libnosuchwindow.so.9", "libnosuchwindow9", "x11")
    monkeypatch.setattr("installers.machine.QT_LIBRARIES", (absent, for_windows_only))
    assert missing_libraries(("qt",), "linux") == (absent,)
    assert missing_libraries(("qt", "x11"), "linux") == (absent, for_windows_only)
    assert missing_libraries(("qt", "x11"), "darwin") == ()


def test_missing_libraries_are_said_with_debian_packages() -> None:
    glib = [library for library in QT_LIBRARIES if library.debian_package == "libglib2.0-0"]
    assert len(glib) == 2
    problem = libraries_problem(tuple(glib))
    assert problem is not None
    assert "libgthread-2.0.so.0" in problem.title
    assert problem.advice == "Debian, Ubuntu: sudo apt install libglib2.0-0"
    assert libraries_problem(()) is None


def test_packages_are_named_once_and_sorted() -> None:
    assert debian_packages(QT_LIBRARIES) == tuple(sorted({library.debian_package for library in QT_LIBRARIES}))


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("readelf") is None, reason="asks Linux's files with readelf"
)
def test_list_names_what_the_installed_qt_asks_for() -> None:
    """An upgrade of PySide6 may ask for more: then the list, and the sentence made from it, would be incomplete."""
    spec = importlib.util.find_spec("PySide6")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    files = [folder / f"{module}.abi3.so" for module in ("QtCore", "QtGui", "QtWidgets", "QtSvg", "QtTest")]
    names = ("Core", "DBus", "Gui", "OpenGL", "Svg", "Test", "Widgets")
    files += [folder / "Qt" / "lib" / f"libQt6{name}.so.6" for name in names]
    for_any = needed(*files, folder / "Qt/plugins/platforms/libqoffscreen.so")
    for_x11 = needed(folder / "Qt/plugins/platforms/libqxcb.so", folder / "Qt/lib/libQt6XcbQpa.so.6")
    listed = {library.file_name: library.need for library in QT_LIBRARIES}
    assert for_any == {name for name, need in listed.items() if need == "qt"}
    assert for_x11 - for_any == {name for name, need in listed.items() if need == "x11"}


def needed(*files: Path) -> set[str]:
    """What the files ask the system for, beyond the libraries of the compiler and of C itself."""
    words = subprocess.run(["readelf", "-d", *files], capture_output=True, text=True, check=True).stdout.split("\n")
    names = {line.split("[")[1].split("]")[0] for line in words if "(NEEDED)" in line}
    of_the_compiler = ("libc.", "libm.", "libdl.", "libpthread.", "librt.", "libgcc_s.", "libstdc++.", "ld-linux")
    bundled = ("libQt6", "libpyside6", "libshiboken6", "libicu")
    return {name for name in names if not name.startswith((*of_the_compiler, *bundled))}


def test_setup_error_reads_as_title_and_advice() -> None:
    assert str(SetupError("It is so.", "Do this.")) == "It is so.\nDo this."
    assert str(SetupError("It is so.")) == "It is so."
