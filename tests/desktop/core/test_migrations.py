"""The database's shape: from nothing, from an older one with a copy first, and never from a newer one."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from desktop.core.errors import NewerDataError, StorageError
from desktop.core.migrations import (
    APPLICATION_ID,
    BACKUPS_KEPT,
    MIGRATIONS,
    Migration,
    applied_names,
    check_is_ours,
    migrate,
)

FIRST_NAME = MIGRATIONS[0].__name__


def m900_adds_a_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE folders (number INTEGER PRIMARY KEY, name TEXT NOT NULL)")


def m901_fails_halfway(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE half (number INTEGER PRIMARY KEY)")
    raise sqlite3.OperationalError("no more")


def m902_breaks_a_reference(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO messages (id, conversation_id, role, state, created_at)"
        " VALUES ('m', 'nowhere', 'user', 'complete', 0)"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        yield connection


def _migrate(connection: sqlite3.Connection, path: Path, *added: Migration) -> tuple[tuple[str, ...], Path | None]:
    return migrate(connection, path, path.parent / "backups", (*MIGRATIONS, *added))


def _make_old_database(connection: sqlite3.Connection, path: Path) -> None:
    _migrate(connection, path)
    connection.execute("INSERT INTO conversations (id, title, created_at, updated_at) VALUES ('c', 'Kept 中文', 1, 2)")


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_names_are_numbered_in_order_without_gaps() -> None:
    for number, migration in enumerate(MIGRATIONS, start=1):
        assert migration.__name__.startswith(f"m{number:03}_")
        assert migration.__doc__


def test_empty_database_gets_its_shape_and_no_copy_is_made(connection: sqlite3.Connection, path: Path) -> None:
    names, backup_path = _migrate(connection, path)
    assert names == tuple(migration.__name__ for migration in MIGRATIONS)
    assert backup_path is None
    assert not (path.parent / "backups").exists()
    assert {"conversations", "messages", "reply_parts", "migrations"} <= _tables(connection)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert _migrate(connection, path) == ((), None)


def test_existing_database_is_copied_before_it_is_changed(connection: sqlite3.Connection, path: Path) -> None:
    _make_old_database(connection, path)
    names, backup_path = _migrate(connection, path, m900_adds_a_table)
    assert names == ("m900_adds_a_table",)
    assert "folders" in _tables(connection)
    assert connection.execute("SELECT title FROM conversations").fetchone() == ("Kept 中文",)
    assert backup_path is not None
    assert "before-m900_adds_a_table" in backup_path.name
    with closing(sqlite3.connect(backup_path)) as backup:
        assert "folders" not in _tables(backup)
        # Also what was still in the write-ahead log.
        assert backup.execute("SELECT title FROM conversations").fetchone() == ("Kept 中文",)
        assert applied_names(backup) == (FIRST_NAME,)
    assert list(backup_path.parent.iterdir()) == [backup_path]


@pytest.mark.parametrize("bad", [m901_fails_halfway, m902_breaks_a_reference])
def test_failed_migration_leaves_the_old_database_whole(
    connection: sqlite3.Connection, path: Path, bad: Migration
) -> None:
    _make_old_database(connection, path)
    before = list(connection.iterdump())
    with pytest.raises(sqlite3.Error):
        _migrate(connection, path, m900_adds_a_table, bad)
    assert list(connection.iterdump()) == before
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


_KILLED_IN_THE_MIDDLE = """
import os, signal, sqlite3, sys
from pathlib import Path
from desktop.core.migrations import MIGRATIONS, migrate

def m900_is_killed(connection):
    connection.execute("CREATE TABLE half (number INTEGER PRIMARY KEY)")
    connection.execute("DROP TABLE reply_parts")
    os.kill(os.getpid(), signal.SIGKILL)

path = Path(sys.argv[1])
connection = sqlite3.connect(path, isolation_level=None)
migrate(connection, path, path.parent / "backups", (*MIGRATIONS, m900_is_killed))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the kill is a signal")
def test_killed_migration_leaves_the_old_database_whole(connection: sqlite3.Connection, path: Path) -> None:
    _make_old_database(connection, path)
    before = list(connection.iterdump())
    connection.close()
    killed = subprocess.run([sys.executable, "-c", _KILLED_IN_THE_MIDDLE, str(path)], check=False)
    assert killed.returncode == -9
    with closing(sqlite3.connect(path)) as after:
        assert list(after.iterdump()) == before


def test_only_the_last_copies_are_kept(connection: sqlite3.Connection, path: Path) -> None:
    _make_old_database(connection, path)
    added: list[Migration] = []
    for number in range(BACKUPS_KEPT + 2):

        def migration(connection: sqlite3.Connection, number: int = number) -> None:
            connection.execute(f"CREATE TABLE table_{number} (number INTEGER)")

        migration.__name__ = f"m{910 + number}_another"
        added.append(migration)
        _migrate(connection, path, *added)
    names = sorted(file.name for file in (path.parent / "backups").iterdir())
    assert len(names) == BACKUPS_KEPT
    assert f"m{910 + BACKUPS_KEPT + 1}" in names[-1]


def test_newer_database_is_refused_and_untouched(connection: sqlite3.Connection, path: Path) -> None:
    _make_old_database(connection, path)
    _migrate(connection, path, m900_adds_a_table)
    connection.close()
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as later, pytest.raises(NewerDataError) as caught:
        check_is_ours(later, path)
    assert "newer version" in caught.value.title
    assert "m900_adds_a_table" in caught.value.details
    assert path.read_bytes() == before


def test_database_of_another_program_is_refused(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StorageError, match="another program"):
        check_is_ours(connection, path)
