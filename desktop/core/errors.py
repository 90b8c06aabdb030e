"""What can go wrong with the user's own files, said as title, advice and details. Standard library only.

This is the border: errors of SQLite and of the operating system become one of these here, and nobody above
`desktop.core` catches `sqlite3.Error` or `OSError` for these files.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path


class StorageError(Exception):
    """Something that a person is told: what happened (title), what to do (advice), what to copy (details)."""

    def __init__(self, title: str, advice: str = "", details: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.advice = advice
        self.details = details

    def __str__(self) -> str:
        return f"{self.title} {self.advice}".strip()


class StorageFullError(StorageError):
    """The disk has no room left."""


class StorageReadOnlyError(StorageError):
    """The file or its folder may not be written."""


class StorageBusyError(StorageError):
    """Another program kept the file locked for too long."""


class StorageDamagedError(StorageError):
    """What the file holds is not what was written."""


class NewerDataError(StorageError):
    """A newer version of the program made this file; it was left as it is."""


class NotFoundError(StorageError):
    """A conversation or message that was asked for does not exist any more."""


class StoreClosedError(StorageError):
    """The store was asked for something after it had been closed."""


_SQLITE_FULL = 13
_SQLITE_BUSY = (5, 6)
_SQLITE_DENIED = (3, 8, 23)
_SQLITE_DAMAGED = (11, 26)
_SQLITE_CANNOT_OPEN = 14
_SQLITE_INPUT_OUTPUT = 10


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file itself is broken, as opposed to locked, full or not allowed."""
    return _primary_code(error) in _SQLITE_DAMAGED


def from_sqlite(error: sqlite3.Error, path: Path) -> StorageError:
    """The error in the user's words."""
    details = f"{type(error).__name__}: {error} ({getattr(error, 'sqlite_errorname', 'no code')})\n{path}"
    code = _primary_code(error)
    if code == _SQLITE_FULL:
        return _full(details)
    if code in _SQLITE_BUSY:
        return StorageBusyError(
            "Your conversations are locked by another program.",
            "Close other copies of Snug, and backup or synchronisation programs that hold the file, then try again.",
            details,
        )
    if code in _SQLITE_DENIED or code == _SQLITE_CANNOT_OPEN:
        return _denied(details)
    if code in _SQLITE_DAMAGED:
        return StorageDamagedError(
            "The file with your conversations is damaged.",
            "Start Snug again: it puts the damaged file aside, keeps it, and goes on with a new one.",
            details,
        )
    if code == _SQLITE_INPUT_OUTPUT:
        return StorageError(
            "The disk could not read or write your conversations.",
            "Check that the disk is connected, healthy and not full, then try again.",
            details,
        )
    return StorageError("Your conversations could not be saved or read.", "Start Snug again.", details)


def from_os_error(error: OSError, path: Path) -> StorageError:
    """The error in the user's words."""
    details = f"{type(error).__name__}: {error.strerror or error}\n{path}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(details)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) or isinstance(error, PermissionError):
        return _denied(details)
    return StorageError(
        "A file of Snug could not be read or written.",
        "Check that the disk is connected, or choose another folder with --data-dir.",
        details,
    )


def _primary_code(error: sqlite3.Error) -> int:
    # Extended codes carry the primary one in their lowest byte. Errors of the module itself have no code.
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else -1


def _full(details: str) -> StorageFullError:
    return StorageFullError(
        "The disk is full.",
        "Free some space. A reply that is being written is kept in memory and saved as soon as there is room.",
        details,
    )


def _denied(details: str) -> StorageReadOnlyError:
    return StorageReadOnlyError(
        "Snug may not write to its folder.",
        "Give your account the right to write there, or choose another folder with --data-dir.",
        details,
    )
