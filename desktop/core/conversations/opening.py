"""Opening the database file: is it ours, is it whole, has it the newest shape, whose replies were cut off."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from desktop.core.conversations import queries
from desktop.core.conversations.values import OpenReport
from desktop.core.errors import StorageError, from_os_error, from_sqlite, is_damage
from desktop.core.migrations import MIGRATIONS, Migration, check_is_ours, migrate

BUSY_TIMEOUT_SECONDS = 5.0
_WAL_PAUSE_SECONDS = 0.05
# Below the size at which the store moves the log into the database, or it would do so after every write.
_JOURNAL_SIZE_LIMIT_BYTES = 1024 * 1024
_SAME_PROCESS_SECONDS = 5.0

log = logging.getLogger(__name__)


class _DamagedError(Exception):
    """The file was read and is not whole."""


def open_database(
    path: Path, backup_directory: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[sqlite3.Connection, OpenReport]:
    """An open connection to a sound database of the newest shape. Raises StorageError."""
    identity = _identity(path)
    try:
        try:
            return _open(path, backup_directory, migrations)
        except (sqlite3.DatabaseError, _DamagedError) as error:
            if isinstance(error, sqlite3.Error) and not is_damage(error):
                raise
            log.error("The database is damaged and is put aside: %s", error)
            damaged_path = _put_aside(path, backup_directory, identity)
            connection, report = _open(path, backup_directory, migrations)
            return connection, replace(report, damaged_path=damaged_path)
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    except OSError as error:
        raise from_os_error(error, path) from error


def interrupt_orphans(connection: sqlite3.Connection) -> int:
    """Marks the growing replies of dead processes as interrupted, with all the text that reached the disk."""
    # Looked at before the lock is taken: asking the system about a process can take a while.
    orphans = [
        message_id
        for message_id, pid, started_at in queries.growing_replies(connection)
        if pid is None or started_at is None or not is_running(pid, started_at)
    ]
    if orphans:
        with queries.transaction(connection):
            for message_id in orphans:
                queries.finish_reply(connection, message_id, state="interrupted", only_growing=True)
    return len(orphans)


def own_identity() -> tuple[int, float]:
    """What `is_running` recognises this process by."""
    return os.getpid(), psutil.Process().create_time()


def is_running(pid: int, started_at: float) -> bool:
    """Whether the process lives, and is not another one that was given the same number."""
    try:
        process = psutil.Process(pid)
        # The start is computed from the clock, which may have been set since: hence some tolerance.
        return (
            process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started_at) < _SAME_PROCESS_SECONDS
        )
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _open(path: Path, backup_directory: Path, migrations: Sequence[Migration]) -> tuple[sqlite3.Connection, OpenReport]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    try:
        check_is_ours(connection, path, migrations)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise _DamagedError(verdict)
        _set_up(connection)
        applied, backup_path = migrate(connection, path, backup_directory, migrations)
        interrupted_count = _interrupt_orphans_if_possible(connection)
    except BaseException:
        connection.close()
        raise
    if applied:
        log.info("Database migrated: %s", ", ".join(applied))
    return connection, OpenReport(migrations=applied, backup_path=backup_path, interrupted_count=interrupted_count)


def _interrupt_orphans_if_possible(connection: sqlite3.Connection) -> int:
    try:
        return interrupt_orphans(connection)
    except sqlite3.OperationalError as error:
        # A full disk must not keep anybody from reading. Their text is there; the next start marks them.
        log.info("Interrupted replies could not be marked: %s", error)
        return 0


def _set_up(connection: sqlite3.Connection) -> None:
    # With NORMAL a killed process loses nothing that was committed; a power cut may cost the last commits.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    # Moving the write-ahead log into the database waits for the disk: the store does it when no reply is growing.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_SIZE_LIMIT_BYTES}")
    if _journal_mode(connection) == "wal":
        return
    # SQLite does not wait here when a second process is switching too, so this loop does.
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_WAL_PAUSE_SECONDS)
        else:
            break
    if (mode := _journal_mode(connection)) != "wal":
        log.info("The disk does not allow a write-ahead log; the journal mode is %s", mode)


def _journal_mode(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # Opening says what is wrong, if anything is.
    return status.st_dev, status.st_ino


def _put_aside(path: Path, backup_directory: Path, identity: tuple[int, int] | None) -> Path:
    """Moves the damaged file and its companions into a folder of their own; answers that folder."""
    if _identity(path) != identity:
        raise StorageError(
            "The file with your conversations was replaced while it was being opened.", "Start Snug again.", str(path)
        )
    folder = backup_directory / f"damaged-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%fZ')}"
    folder.mkdir(mode=0o700, parents=True)
    # The database last: if this is cut off in the middle, the next start finds it damaged still and goes on.
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(folder / part.name)
    return folder
