"""Opening: damage is put aside and said, other people's files are left alone, dead writers are noticed."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from desktop.core.conversations import opening, queries
from desktop.core.conversations.opening import interrupt_orphans, is_running, open_database, own_identity
from desktop.core.conversations.values import OpenReport, Place
from desktop.core.errors import NewerDataError, StorageBusyError, StorageError
from desktop.core.migrations import MIGRATIONS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Ordner mit Leerzeichen 与中文" / "conversations.db"


def _open(path: Path) -> tuple[sqlite3.Connection, OpenReport]:
    return open_database(path, path.parent / "backups")


def _fill(path: Path, messages: int = 200) -> str:
    connection, _ = _open(path)
    with closing(connection), queries.transaction(connection):
        conversation = queries.create_conversation(connection, "Kept")
        for number in range(messages):
            queries.add_message(
                connection, conversation.id, role="user", parent=Place.AT_END, text=f"{number} " + "x" * 500
            )
    return conversation.id


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_new_database_is_set_up_as_promised(path: Path) -> None:
    connection, report = _open(path)
    with closing(connection):
        assert report == OpenReport(migrations=tuple(migration.__name__ for migration in MIGRATIONS))
        assert _pragma(connection, "journal_mode") == "wal"
        assert _pragma(connection, "synchronous") == 1
        assert _pragma(connection, "foreign_keys") == 1
        assert _pragma(connection, "busy_timeout") == 5000
        assert _pragma(connection, "wal_autocheckpoint") == 0


def test_opening_again_finds_nothing_to_do(path: Path) -> None:
    conversation_id = _fill(path)
    connection, report = _open(path)
    with closing(connection):
        assert report == OpenReport()
        assert len(queries.load_messages(connection, conversation_id)) == 200


def _overwrite_the_middle(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 20_000)


def _overwrite_the_header(path: Path) -> None:
    with path.open("rb+") as file:
        file.write(b"not a database at all")


def _cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [_overwrite_the_middle, _overwrite_the_header, _cut_off])
def test_damaged_file_is_put_aside_and_a_new_one_is_used(damage: object, path: Path, expect_log: object) -> None:
    expect_log("damaged and is put aside", level=40)  # type: ignore[operator]
    _fill(path)
    damage(path)  # type: ignore[operator]
    damaged = path.read_bytes()
    connection, report = _open(path)
    with closing(connection):
        assert queries.list_conversations(connection, "", in_bin=False) == ()
    assert report.damaged_path is not None
    assert (report.damaged_path / "conversations.db").read_bytes() == damaged
    assert report.migrations
    connection, report = _open(path)
    connection.close()
    assert report == OpenReport()


def test_newer_database_is_refused_and_untouched(path: Path) -> None:
    _fill(path)
    with closing(sqlite3.connect(path)) as later, later:
        later.execute("INSERT INTO migrations (name, applied_at) VALUES ('m999_from_the_future', 0)")
    before = path.read_bytes()
    with pytest.raises(NewerDataError):
        _open(path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["conversations.db"]


def test_file_of_another_program_is_refused_and_untouched(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as foreign, foreign:
        foreign.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="another program"):
        _open(path)
    assert path.read_bytes() == before


def test_locked_file_is_not_taken_for_a_damaged_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_SECONDS", 0.05)
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageBusyError):
            _open(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["conversations.db"]


_OPEN_AT_THE_SAME_TIME = """
import sys
from pathlib import Path
from desktop.core.conversations.opening import open_database
path = Path(sys.argv[1])
sys.stdin.readline()
connection, report = open_database(path, path.parent / "backups")
print(len(report.migrations), report.damaged_path)
connection.close()
"""


def test_processes_that_open_a_new_profile_together_agree(path: Path) -> None:
    command = [sys.executable, "-c", _OPEN_AT_THE_SAME_TIME, str(path)]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = sorted(child.communicate(timeout=30)[0].strip() for child in children)
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert answers == ["0 None", "0 None", "0 None", f"{len(MIGRATIONS)} None"]


def test_full_disk_does_not_keep_anybody_from_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation_id = _fill(path)

    def full(*_: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(opening, "interrupt_orphans", full)
    connection, report = _open(path)
    with closing(connection):
        assert report.interrupted_count == 0
        assert len(queries.load_messages(connection, conversation_id)) == 200


# Who writes what


def _growing_reply(connection: sqlite3.Connection, owner: tuple[int, float] | None) -> str:
    with queries.transaction(connection):
        conversation = queries.create_conversation(connection, "")
        reply = queries.add_message(
            connection, conversation.id, role="assistant", parent=Place.AT_END, state="growing", owner=owner
        )
        for text in ("so ", "far"):
            queries.append_part(connection, reply.id, text, text, owner or (0, 0.0))
    return reply.id


def test_replies_of_dead_processes_become_interrupted_with_their_text(path: Path) -> None:
    connection, _ = _open(path)
    pid, started_at = own_identity()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        alive = (other.pid, psutil.Process(other.pid).create_time())
        ours = _growing_reply(connection, (pid, started_at))
        theirs = _growing_reply(connection, alive)
        # Our number, but another start: the number was given away again.
        reused = _growing_reply(connection, (pid, started_at - 3600))
        assert interrupt_orphans(connection) == 1
        states = {reply: queries.get_message(connection, reply).state for reply in (ours, theirs, reused)}
        assert states == {ours: "growing", theirs: "growing", reused: "interrupted"}
        other.kill()
    assert interrupt_orphans(connection) == 1
    message = queries.get_message(connection, theirs)
    assert (message.state, message.text, message.thinking) == ("interrupted", "so far", "so far")
    assert connection.execute("SELECT COUNT(*) FROM reply_parts").fetchone() == (2,)
    connection.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no zombies")
def test_killed_child_that_nobody_asked_for_yet_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started_at = psutil.Process(child.pid).create_time()
        assert is_running(child.pid, started_at)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.pid_exists(child.pid)
        assert not is_running(child.pid, started_at)
