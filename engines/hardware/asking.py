"""Asking the system: files that may be missing and programs that may hang. Nothing here raises, and nothing parses.

What cannot be had is an empty text or None, which every parser takes for "not known".
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM_TIMEOUT_S = 3.0
_GRACE_S = 0.5
_LARGEST_FILE_BYTES = 4 * 1024 * 1024


def read_text(path: Path) -> str:
    """The file's text, at most 4 MiB of it; empty when it is not there or not ours to read."""
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def read_bytes(path: Path) -> bytes:
    """The file's bytes, at most 4 MiB of them; empty when it is not there or not ours to read."""
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE_BYTES)
    except (OSError, ValueError):
        return b""


def read_number(path: Path) -> int | None:
    """A whole number that stands alone in a file, as in /sys; None for anything else."""
    text = read_text(path).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def find_program(name: str) -> str | None:
    """Where a program is; on Windows only in the system's own folder, never in the folder one stands in."""
    if sys.platform == "win32":
        path = Path(os.environ.get("SYSTEMROOT", "C:\\Windows")) / "System32" / f"{name}.exe"
        return str(path) if path.is_file() else None
    else:  # noqa: RET505 - mypy reads the branches of a platform apart only in this form
        return shutil.which(name)


def run_program(arguments: Sequence[str], timeout_s: float = PROGRAM_TIMEOUT_S) -> str:
    """What a program prints on standard output, whatever its exit status; empty when it is missing or takes too long.

    A program that does not even die when it is told to (a driver that hangs) is left to itself.
    """
    try:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, ValueError):
        return ""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            process.communicate(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            return ""
        return ""
    except OSError:
        process.kill()
        return ""
    return output.decode("utf-8", "replace")


def complete_lines(text: str) -> list[str]:
    """The lines that have an end: an answer that was cut leaves half a figure in its last one."""
    return text.replace("\r\n", "\n").split("\n")[:-1]
