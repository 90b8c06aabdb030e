"""The sentences that people meet when their files cannot be read or written."""

import errno
import sqlite3
from pathlib import Path

import pytest

from desktop.core.errors import (
    StorageBusyError,
    StorageDamagedError,
    StorageError,
    StorageFullError,
    StorageReadOnlyError,
    from_os_error,
    from_sqlite,
    is_damage,
)


def _error_of(connection: sqlite3.Connection, sql: str) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute(sql)
    connection.close()
    return caught.value


def _assert_is_said(error: StorageError) -> None:
    assert error.title.endswith(".")
    assert error.advice.endswith(".")
    assert error.details
    assert "!" not in str(error)
    assert "Error" not in str(error)


def test_full_database_says_that_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "full.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE things (text TEXT)")
    connection.execute("PRAGMA max_page_count = 2")
    error = from_sqlite(_error_of(connection, f"INSERT INTO things VALUES ('{'x' * 20_000}')"), path)
    assert isinstance(error, StorageFullError)
    assert error.title == "The disk is full."
    _assert_is_said(error)


def test_locked_database_says_to_close_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    error = from_sqlite(_error_of(sqlite3.connect(path, timeout=0.01), "CREATE TABLE things (text TEXT)"), path)
    other.close()
    assert isinstance(error, StorageBusyError)
    _assert_is_said(error)


def test_database_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    path = tmp_path / "read-only.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA query_only = ON")
    error = from_sqlite(_error_of(connection, "CREATE TABLE things (text TEXT)"), path)
    assert isinstance(error, StorageReadOnlyError)
    _assert_is_said(error)


def test_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("This is not a database, and long enough to be taken for one." * 20)
    foreign = _error_of(sqlite3.connect(path), "SELECT * FROM sqlite_master")
    assert is_damage(foreign)
    error = from_sqlite(foreign, path)
    assert isinstance(error, StorageDamagedError)
    _assert_is_said(error)


def test_error_of_the_module_itself_still_becomes_a_sentence(tmp_path: Path) -> None:
    error = from_sqlite(sqlite3.ProgrammingError("Cannot operate on a closed database."), tmp_path)
    assert type(error) is StorageError
    _assert_is_said(error)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EACCES, StorageReadOnlyError),
        (errno.EROFS, StorageReadOnlyError),
        (errno.EIO, StorageError),
    ],
)
def test_operating_system_errors_become_sentences(number: int, expected: type[StorageError], tmp_path: Path) -> None:
    error = from_os_error(OSError(number, "reason"), tmp_path / "settings.json")
    assert type(error) is expected
    assert "settings.json" in error.details
    _assert_is_said(error)
