"""Writing small files so that a kill or a power cut leaves the old content or the new, never half of either."""

from __future__ import annotations

import os
import time
from pathlib import Path

from desktop.core.errors import from_os_error

_LEFTOVER_SECONDS = 3600
_REPLACE_ATTEMPTS = 5
_REPLACE_PAUSE_SECONDS = 0.05


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces `path` in one step. Raises StorageError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep_leftovers(path)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise from_os_error(error, path) from error


def _replace(temporary: Path, path: Path) -> None:
    # On Windows another program that is just reading `path` (virus scanner, the second Snug) refuses the rename.
    for attempt in range(_REPLACE_ATTEMPTS):
        try:
            temporary.replace(path)
        except PermissionError:
            if os.name != "nt" or attempt == _REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(_REPLACE_PAUSE_SECONDS)
        else:
            return


def _sweep_leftovers(path: Path) -> None:
    """Removes what a killed process left behind; younger files may belong to a process that is just writing."""
    for leftover in path.parent.glob(f"{path.name}.*.tmp"):
        if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
            leftover.unlink(missing_ok=True)
