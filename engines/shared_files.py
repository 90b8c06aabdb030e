"""Small files that several Snug processes write: one process at a time, and whole or not at all.

For what lies beside the engines (leases, what was learned). What the app itself keeps is written by `desktop.core`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = ".lock"
_REPLACE_ATTEMPTS = 5
_REPLACE_PAUSE_SECONDS = 0.05


@contextmanager
def locked(directory: Path, lock_name: str = LOCK_NAME) -> Iterator[None]:
    """One process at a time. The system lets go by itself when a process dies. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / lock_name).open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            try:
                yield
            finally:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)


def write_whole(path: Path, content: bytes) -> None:
    """Replaces `path` in one step: written beside, then renamed. For this user's eyes only. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        _replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _replace(temporary: Path, path: Path) -> None:
    # On Windows a program that is just reading `path` (a virus scanner, another Snug) refuses the rename.
    for attempt in range(_REPLACE_ATTEMPTS):
        try:
            temporary.replace(path)
        except PermissionError:
            if os.name != "nt" or attempt == _REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(_REPLACE_PAUSE_SECONDS)
        else:
            return
