"""What this machine must have before Snug can be installed from source, and how to get what is missing.

It only looks and says; nothing is installed or changed here.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OLDEST_PYTHON = (3, 11)
FIRST_UNTRIED_PYTHON = (3, 15)

Need = Literal["qt", "x11"]
"""What a library is needed for: for Qt at all (also without a screen), or for a window on an X11 display."""


class SetupError(Exception):
    """Something that only the user can put right: what happened, and what to do about it."""

    def __init__(self, title: str, advice: str = "") -> None:
        super().__init__(title, advice)
        self.title = title
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.title}\n{self.advice}".rstrip()


@dataclass(frozen=True)
class SystemLibrary:
    """A shared library that the PySide6 packages expect from a Linux system, and Debian's package that has it."""

    file_name: str
    debian_package: str
    need: Need


QT_LIBRARIES = (
    SystemLibrary("libEGL.so.1", "libegl1", "qt"),
    SystemLibrary("libGL.so.1", "libgl1", "qt"),
    SystemLibrary("libX11.so.6", "libx11-6", "qt"),
    SystemLibrary("libdbus-1.so.3", "libdbus-1-3", "qt"),
    SystemLibrary("libfontconfig.so.1", "libfontconfig1", "qt"),
    SystemLibrary("libfreetype.so.6", "libfreetype6", "qt"),
    SystemLibrary("libglib-2.0.so.0", "libglib2.0-0", "qt"),
    SystemLibrary("libgthread-2.0.so.0", "libglib2.0-0", "qt"),
    SystemLibrary("libxkbcommon.so.0", "libxkbcommon0", "qt"),
    SystemLibrary("libz.so.1", "zlib1g", "qt"),
    SystemLibrary("libzstd.so.1", "libzstd1", "qt"),
    SystemLibrary("libX11-xcb.so.1", "libx11-xcb1", "x11"),
    SystemLibrary("libxcb-cursor.so.0", "libxcb-cursor0", "x11"),
    SystemLibrary("libxcb-icccm.so.4", "libxcb-icccm4", "x11"),
    SystemLibrary("libxcb-image.so.0", "libxcb-image0", "x11"),
    SystemLibrary("libxcb-keysyms.so.1", "libxcb-keysyms1", "x11"),
    SystemLibrary("libxcb-randr.so.0", "libxcb-randr0", "x11"),
    SystemLibrary("libxcb-render-util.so.0", "libxcb-render-util0", "x11"),
    SystemLibrary("libxcb-render.so.0", "libxcb-render0", "x11"),
    SystemLibrary("libxcb-shape.so.0", "libxcb-shape0", "x11"),
    SystemLibrary("libxcb-shm.so.0", "libxcb-shm0", "x11"),
    SystemLibrary("libxcb-sync.so.1", "libxcb-sync1", "x11"),
    SystemLibrary("libxcb-util.so.1", "libxcb-util1", "x11"),
    SystemLibrary("libxcb-xfixes.so.0", "libxcb-xfixes0", "x11"),
    SystemLibrary("libxcb-xkb.so.1", "libxcb-xkb1", "x11"),
    SystemLibrary("libxcb.so.1", "libxcb1", "x11"),
    SystemLibrary("libxkbcommon-x11.so.0", "libxkbcommon-x11-0", "x11"),
)

COMPILER_ADVICE = {
    "linux": "Debian, Ubuntu: sudo apt install g++    Fedora: sudo dnf install gcc-c++    Arch: sudo pacman -S gcc",
    "darwin": "Install Apple's command line tools: xcode-select --install",
    "win32": (
        'Install the Build Tools for Visual Studio with the part "Desktop development with C++", for example:\n'
        'winget install Microsoft.VisualStudio.2022.BuildTools --override "--wait --passive '
        '--add Microsoft.VisualStudio.Workload.VCTools --includeRecommended"'
    ),
}

COMPILER_TRIAL = "#include <atomic>\n#include <filesystem>\n#include <thread>\nint main() { return 0; }\n"


def python_problem(version: tuple[int, int]) -> SetupError | None:
    """Say so if Snug does not run on this Python."""
    if OLDEST_PYTHON <= version < FIRST_UNTRIED_PYTHON:
        return None
    (oldest, newest) = (f"3.{OLDEST_PYTHON[1]}", f"3.{FIRST_UNTRIED_PYTHON[1] - 1}")
    return SetupError(
        f"Snug runs on Python {oldest} to {newest}, and this is Python {version[0]}.{version[1]}.",
        "Start the command with another one, for example: python3.13 -m installers.source run",
    )


def environment_problem(find: Callable[[str], object] = importlib.util.find_spec) -> SetupError | None:
    """Debian and Ubuntu keep the modules that make a virtual environment in a package of their own."""
    missing = [name for name in ("venv", "ensurepip") if find(name) is None]
    if not missing:
        return None
    return SetupError(
        f"This Python cannot make a virtual environment: its module {missing[0]} is missing.",
        f"Debian, Ubuntu: sudo apt install python3.{sys.version_info[1]}-venv    "
        "Elsewhere: install Python's full package, or the one from python.org.",
    )


def compiler_problem(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> SetupError | None:
    """Say so if there is no working C++ compiler: llama.cpp is compiled for this very processor."""
    advice = COMPILER_ADVICE.get(platform, COMPILER_ADVICE["linux"])
    if platform == "win32":
        if shutil.which("cl", path=environ.get("PATH")) or _visual_studio(environ):
            return None
        return SetupError("Snug compiles llama.cpp for your processor, and no C++ compiler was found.", advice)
    names = [environ["CXX"]] if environ.get("CXX") else ["c++", "g++", "clang++"]
    found = [path for name in names if (path := shutil.which(name.split()[0], path=environ.get("PATH")))]
    if not found:
        return SetupError("Snug compiles llama.cpp for your processor, and no C++ compiler was found.", advice)
    # A compiler without its library headers, or Apple's placeholder that only offers an installation, is found too.
    trial = subprocess.run(
        [found[0], "-std=c++17", "-x", "c++", "-fsyntax-only", "-"],
        input=COMPILER_TRIAL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if trial.returncode == 0:
        return None
    return SetupError(
        f"Snug compiles llama.cpp for your processor, and the C++ compiler {found[0]} does not work.",
        f"{advice}\nIt said: {trial.stderr.strip()[-400:]}",
    )


def _visual_studio(environ: Mapping[str, str]) -> bool:
    """Ask Microsoft's own finder, which lies in a fixed place, for an installation with the C++ tools."""
    finder = Path(environ.get("ProgramFiles(x86)", "")) / "Microsoft Visual Studio" / "Installer" / "vswhere.exe"
    if not finder.is_file():
        return False
    question = ["-latest", "-products", "*", "-requires", "Microsoft.VisualStudio.Component.VC.Tools.x86.x64"]
    answer = subprocess.run(
        [finder, *question, "-property", "installationPath"], capture_output=True, text=True, errors="replace",
        check=False,
    )  # fmt: skip
    return answer.returncode == 0 and bool(answer.stdout.strip())


def missing_libraries(needs: tuple[Need, ...], platform: str = sys.platform) -> tuple[SystemLibrary, ...]:
    """Which of the system's libraries that Qt asks for cannot be loaded. Only Linux leaves them to the system."""
    if platform != "linux":
        return ()
    return tuple(library for library in QT_LIBRARIES if library.need in needs and not _loads(library.file_name))


def _loads(file_name: str) -> bool:
    try:
        ctypes.CDLL(file_name)
    except OSError:
        return False
    return True


def debian_packages(libraries: tuple[SystemLibrary, ...]) -> tuple[str, ...]:
    """Name the packages to install, each once, in alphabetical order."""
    return tuple(sorted({library.debian_package for library in libraries}))


def libraries_problem(libraries: tuple[SystemLibrary, ...]) -> SetupError | None:
    """Say which of the system's libraries are missing for the window."""
    if not libraries:
        return None
    return SetupError(
        f"The window needs libraries that this system lacks: {', '.join(each.file_name for each in libraries)}.",
        f"Debian, Ubuntu: sudo apt install {' '.join(debian_packages(libraries))}",
    )
