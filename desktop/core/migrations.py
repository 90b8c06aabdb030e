"""The shape of the database, as numbered functions that are recorded by name. Only ever add one at the end.

All that are missing run in one transaction: a process killed in the middle leaves the old database, whole. An
existing database is copied first. A database that knows names which are not here comes from a newer version and is
refused before anything is written to it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from desktop.core.errors import NewerDataError, StorageError, from_os_error

Migration = Callable[[sqlite3.Connection], None]

APPLICATION_ID = 0x534E5547
"""Marks the file as ours for everybody who looks (`file`, SQLite tools): the letters SNUG."""
BACKUPS_KEPT = 5


def m001_conversations_and_messages(connection: sqlite3.Connection) -> None:
    """Conversations, their messages as a tree, and the parts of replies that are still growing."""
    # `number` is what later tables (search, attachments) refer to: a text key would cost them four times the room,
    # and an implicit rowid may change when the file is compacted. Times are seconds since 1970, UTC.
    connection.execute(
        """
        CREATE TABLE conversations (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            title TEXT NOT NULL DEFAULT '',
            title_by_user INTEGER NOT NULL DEFAULT 0,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            deleted_at REAL,
            active_message_id TEXT REFERENCES messages (id) ON DELETE SET NULL,
            draft TEXT NOT NULL DEFAULT ''
        )
        """
    )
    connection.execute(
        """
        CREATE TABLE messages (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            parent_id TEXT REFERENCES messages (id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
            text TEXT NOT NULL DEFAULT '',
            thinking TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL CHECK (state IN ('complete', 'growing', 'interrupted', 'stopped', 'failed')),
            reason TEXT NOT NULL DEFAULT '',
            error TEXT NOT NULL DEFAULT '',
            model_name TEXT NOT NULL DEFAULT '',
            model_path TEXT NOT NULL DEFAULT '',
            engine TEXT NOT NULL DEFAULT '',
            usage TEXT,
            options TEXT,
            created_at REAL NOT NULL,
            finished_at REAL,
            owner_pid INTEGER,
            owner_started_at REAL
        )
        """
    )
    # A growing reply is written as parts, so that each write costs what is new and not what is there already. One
    # tree without a separate index: a write touches one page, ten times a second.
    connection.execute(
        """
        CREATE TABLE reply_parts (
            message_number INTEGER NOT NULL REFERENCES messages (number) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            text TEXT NOT NULL,
            thinking TEXT NOT NULL,
            PRIMARY KEY (message_number, number)
        ) WITHOUT ROWID
        """
    )
    connection.execute("CREATE INDEX messages_by_conversation ON messages (conversation_id)")
    connection.execute("CREATE INDEX messages_by_parent ON messages (parent_id)")
    connection.execute("CREATE INDEX messages_growing ON messages (number) WHERE state = 'growing'")


MIGRATIONS: tuple[Migration, ...] = (m001_conversations_and_messages,)


def check_is_ours(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Refuses a database of a newer version or of another program. Only reads. Raises StorageError."""
    applied = applied_names(connection)
    unknown = [name for name in applied if name not in _names(migrations)]
    if unknown:
        raise NewerDataError(
            "Your conversations were saved by a newer version of Snug.",
            "Install that version again or a later one. The file was not changed.",
            f"Unknown migrations: {', '.join(unknown)}\n{path}",
        )
    if not applied and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise StorageError(
            "The file where conversations belong was made by another program.",
            "Move that file away, or choose another folder with --data-dir. The file was not changed.",
            f"No record of migrations.\n{path}",
        )


def applied_names(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The migrations that this database has been through, in their order."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").fetchone():
        return ()
    return tuple(name for (name,) in connection.execute("SELECT name FROM migrations ORDER BY number"))


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    backup_directory: Path,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> tuple[tuple[str, ...], Path | None]:
    """Brings the database to the newest shape; answers what was done and where the copy from before lies.

    Raises: sqlite3.Error, StorageError. Whatever is raised, the database is as it was.
    """
    if applied_names(connection) == _names(migrations):
        return (), None
    # Off while tables are rebuilt (SQLite's own advice), and checked as a whole before the end.
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the lock: a second process may have been quicker.
        applied = applied_names(connection)
        missing = [migration for migration in migrations if migration.__name__ not in applied]
        backup_path = _back_up(path, backup_directory, missing[0].__name__) if applied and missing else None
        if not applied:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(
                "CREATE TABLE migrations"
                " (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, applied_at REAL NOT NULL)"
            )
        for migration in missing:
            migration(connection)
            connection.execute(
                "INSERT INTO migrations (name, applied_at) VALUES (?, ?)", (migration.__name__, time.time())
            )
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
        if broken:
            raise sqlite3.IntegrityError(f"Rows of {broken[0]} refer to rows of {broken[2]} that do not exist.")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute("PRAGMA foreign_keys = ON")
    return tuple(migration.__name__ for migration in missing), backup_path


def _names(migrations: Sequence[Migration]) -> tuple[str, ...]:
    return tuple(migration.__name__ for migration in migrations)


def _back_up(path: Path, backup_directory: Path, before: str) -> Path:
    """Copies the database as it is committed, also what still lies in its write-ahead log."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    backup_path = backup_directory / f"{path.stem}-before-{before}-{stamp}{path.suffix}"
    unfinished = backup_path.with_suffix(".unfinished")
    try:
        backup_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        # A second connection: the first one holds the lock that keeps other writers out meanwhile.
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(backup_path)
        older = sorted(
            backup_directory.glob(f"{path.stem}-before-*{path.suffix}"), key=lambda file: file.stat().st_mtime
        )
        for surplus in older[:-BACKUPS_KEPT]:
            surplus.unlink(missing_ok=True)
    except OSError as error:
        raise from_os_error(error, backup_path) from error
    return backup_path
