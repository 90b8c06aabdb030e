"""The promise: what was handed over is on disk 250 ms later, whatever happens; and nothing is dropped meanwhile."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from desktop.core.conversations import opening, queries, replies
from desktop.core.conversations.opening import open_database, own_identity
from desktop.core.conversations.replies import PendingText, ReplyEnd, ReplyWriter
from desktop.core.conversations.store import Store
from desktop.core.conversations.values import Place
from desktop.core.errors import StorageBusyError, StorageError, StorageFullError

PROMISE_SECONDS = 0.25
KILLS_OF_EACH_PROFILE = 5
TIMEOUT_SECONDS = 20


# Killed for real


_STREAMING = """
import os, sys, time
from pathlib import Path
from desktop.core.conversations.store import Store
store = Store(Path(sys.argv[1]))
conversation = store.create_conversation("killed").result()
store.add_message(conversation.id, "user", "Count").result()
reply = store.begin_reply(conversation.id).result()
os.write(1, f"{reply.id}\\n".encode())
number = 0
while True:
    store.append_reply(reply.id, f"<{number}>", f"[{number}]")
    os.write(1, f"{number} {time.monotonic()!r}\\n".encode())
    number += 1
    time.sleep(0.005)
"""


def _stream_and_kill(path: Path, life_seconds: float) -> tuple[str, int, int]:
    """The reply's id, how many deltas were handed over, and how many of them early enough to be promised."""
    with subprocess.Popen([sys.executable, "-c", _STREAMING, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        reply_id = child.stdout.readline().decode().strip()
        time.sleep(life_seconds)  # the random moment is the test
        killed_at = time.monotonic()
        child.kill()
        lines = child.stdout.read().decode().splitlines(keepends=True)
    handed_over = [float(line.split()[1]) for line in lines if line.endswith("\n")]
    # The pipe may lack the number that was just being handed over.
    return reply_id, len(handed_over) + 1, sum(1 for at in handed_over if at < killed_at - PROMISE_SECONDS)


def _kill_and_look(path: Path, life_seconds: float) -> int:
    reply_id, handed_over, promised = _stream_and_kill(path, life_seconds)
    store = Store(path)
    report = store.opened.result(TIMEOUT_SECONDS)
    message = store.get_message(reply_id).result(TIMEOUT_SECONDS)
    store.close()
    assert report.damaged_path is None
    assert report.interrupted_count == 1
    assert message.state == "interrupted"
    assert message.can_continue
    kept = message.text.count(">")
    assert promised <= kept <= handed_over, f"killed after {life_seconds} s"
    assert message.text == "".join(f"<{number}>" for number in range(kept))
    assert message.thinking == "".join(f"[{number}]" for number in range(kept))
    return promised


@pytest.mark.slow
def test_killed_process_loses_at_most_a_quarter_of_a_second(tmp_path: Path) -> None:
    moments = random.Random()

    def one_profile(name: str) -> int:
        return sum(_kill_and_look(tmp_path / name, moments.uniform(0.0, 0.9)) for _ in range(KILLS_OF_EACH_PROFILE))

    names = ["kill.db", "kill 2.db", "杀.db"]
    with ThreadPoolExecutor(len(names)) as several:
        assert sum(several.map(one_profile, names)) > 0


def test_text_is_on_disk_in_time_while_more_keeps_arriving(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    store = Store(path)
    conversation = store.create_conversation().result(TIMEOUT_SECONDS)
    reply = store.begin_reply(conversation.id).result(TIMEOUT_SECONDS)
    with closing(sqlite3.connect(path)) as reader:
        for _ in range(3):
            before = reader.execute("SELECT COUNT(*) FROM reply_parts").fetchone()[0]
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while reader.execute("SELECT COUNT(*) FROM reply_parts").fetchone()[0] == before:
                assert time.monotonic() < deadline, "a text that never pauses must not put the write off"
                store.append_reply(reply.id, "x")
                time.sleep(0.001)  # the pace of a fast model
    store.close()


def test_text_that_could_not_be_written_comes_before_what_arrived_since() -> None:
    pending = PendingText()
    pending.add("a", "one ", "1")
    taken = pending.take("a")
    assert pending.take("a") == ("", "")
    pending.add("a", "three", "3")
    pending.put_back("a", taken[0] + "two ", taken[1] + "2")
    assert pending.message_ids() == ("a",)
    assert pending.look("a") == pending.take("a") == ("one two three", "123")


# Without a thread: the writer on a connection of its own


class Ears:
    """Who is told of problems."""

    def __init__(self) -> None:
        self.problems: list[StorageError] = []
        self.recoveries = 0

    def on_recovered(self) -> None:
        self.recoveries += 1


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


@pytest.fixture
def connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(replies, "RETRY_SECONDS", 0.0)
    connection, _ = open_database(path, path.parent / "backups")
    yield connection
    connection.close()


@pytest.fixture
def writer(path: Path, ears: Ears) -> ReplyWriter:
    writer = ReplyWriter(path, on_problem=ears.problems.append, on_recovered=ears.on_recovered)
    writer.start(own_identity())
    return writer


@pytest.fixture
def reply_id(connection: sqlite3.Connection, writer: ReplyWriter) -> str:
    with queries.transaction(connection):
        conversation = queries.create_conversation(connection, "")
        reply = queries.add_message(
            connection, conversation.id, role="assistant", parent=Place.AT_END, state="growing", owner=writer.owner
        )
    writer.begun(reply.id)
    return reply.id


def _text_on_disk(connection: sqlite3.Connection, reply_id: str) -> str:
    return queries.get_message(connection, reply_id).text


def _fill_disk(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1")  # SQLite makes it what is in use now


def _make_room(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1000000")


def test_long_reply_is_not_written_again_with_every_delta(
    connection: sqlite3.Connection, writer: ReplyWriter, reply_id: str, path: Path
) -> None:
    log_path = path.with_name(path.name + "-wal")
    before_bytes = log_path.stat().st_size
    for _ in range(1_000):
        writer.append(reply_id, "x" * 100, "")
        writer.write(connection)
    # 100,000 characters in 1,000 writes; writing the whole text each time would come to 50 MB.
    assert log_path.stat().st_size - before_bytes < 12_000_000
    writer.finish(connection, reply_id, ReplyEnd("complete", "end"))
    assert _text_on_disk(connection, reply_id) == "x" * 100_000
    assert connection.execute("SELECT COUNT(*) FROM reply_parts").fetchone() == (0,)


def test_full_disk_is_said_once_and_loses_nothing(
    connection: sqlite3.Connection, writer: ReplyWriter, reply_id: str, ears: Ears
) -> None:
    _fill_disk(connection)
    for number in range(20):
        writer.append(reply_id, f"{number} " + "x" * 5_000, "")
        writer.write(connection)
    assert [type(problem) for problem in ears.problems] == [StorageFullError]
    assert ears.recoveries == 0
    on_disk = queries.get_message(connection, reply_id)
    expected = "".join(f"{number} " + "x" * 5_000 for number in range(20))
    assert on_disk.text != expected
    assert writer.completed(on_disk).text == expected

    _make_room(connection)
    assert writer.write(connection) is None
    assert ears.recoveries == 1
    assert _text_on_disk(connection, reply_id) == expected


def test_end_that_does_not_fit_is_written_when_there_is_room(
    connection: sqlite3.Connection, writer: ReplyWriter, reply_id: str, ears: Ears
) -> None:
    writer.append(reply_id, "x" * 50_000, "")
    _fill_disk(connection)
    with pytest.raises(sqlite3.OperationalError):
        writer.finish(connection, reply_id, ReplyEnd("stopped", "cancelled"))
    assert len(ears.problems) == 1
    on_disk = queries.get_message(connection, reply_id)
    assert on_disk.state == "growing"
    shown = writer.completed(on_disk)
    assert (shown.text, shown.state, shown.reason) == ("x" * 50_000, "stopped", "cancelled")

    _make_room(connection)
    writer.write(connection)
    after = queries.get_message(connection, reply_id)
    assert (after.text, after.state, after.reason) == ("x" * 50_000, "stopped", "cancelled")
    assert ears.recoveries == 1


def test_locked_file_is_tried_again(
    connection: sqlite3.Connection, writer: ReplyWriter, reply_id: str, ears: Ears, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer.append(reply_id, "patient", "")
        assert writer.write(connection) is not None
        assert [type(problem) for problem in ears.problems] == [StorageBusyError]
        other.execute("ROLLBACK")
    writer.append(reply_id, " text", "")
    writer.write(connection)
    assert _text_on_disk(connection, reply_id) == "patient text"


def test_failed_write_is_not_repeated_at_once(
    connection: sqlite3.Connection, writer: ReplyWriter, reply_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "RETRY_SECONDS", 60.0)
    _fill_disk(connection)
    writer.append(reply_id, "x" * 50_000, "")
    writer.write(connection)
    _make_room(connection)
    wait_seconds = writer.write(connection)
    assert wait_seconds is not None
    assert 50 < wait_seconds <= 60
    assert _text_on_disk(connection, reply_id) == ""
    writer.end_all(connection)  # the last chance does not wait
    assert _text_on_disk(connection, reply_id) == "x" * 50_000


def test_text_that_could_not_be_saved_at_the_end_is_logged_as_a_loss(
    connection: sqlite3.Connection, writer: ReplyWriter, reply_id: str, expect_log: object
) -> None:
    expect_log("could not be saved", level=40)  # type: ignore[operator]
    _fill_disk(connection)
    writer.append(reply_id, "x" * 50_000, "")
    writer.end_all(connection)


def test_reply_that_was_taken_for_dead_is_claimed_back(
    connection: sqlite3.Connection, writer: ReplyWriter, reply_id: str
) -> None:
    writer.append(reply_id, "before ", "")
    writer.write(connection)
    # Another process, with another idea of the time, thinks that we are dead.
    queries.finish_reply(connection, reply_id, state="interrupted", only_growing=True)
    writer.append(reply_id, "after", "")
    writer.write(connection)
    claimed = queries.get_message(connection, reply_id)
    assert (claimed.state, claimed.text) == ("growing", "before after")
    assert queries.growing_replies(connection) == [(reply_id, *writer.owner)]
    writer.finish(connection, reply_id, ReplyEnd("complete", "end"))
    assert _text_on_disk(connection, reply_id) == "before after"


def test_log_moves_into_the_database_when_no_reply_is_growing(
    connection: sqlite3.Connection, writer: ReplyWriter, reply_id: str, path: Path
) -> None:
    writer.append(reply_id, "x" * 6_000_000, "")
    writer.write(connection)
    assert path.stat().st_size < 1_000_000
    writer.finish(connection, reply_id, ReplyEnd("complete", "end"))
    writer.write(connection)
    assert path.stat().st_size > 6_000_000
    # Once is enough: the next small write neither fills the log again nor moves it.
    size_bytes = path.stat().st_size
    modified_at = path.stat().st_mtime_ns
    with queries.transaction(connection):
        queries.create_conversation(connection, "next")
    writer.write(connection)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size_bytes, modified_at)
    assert path.with_name(path.name + "-wal").stat().st_size < 2_000_000


# A disk that is really full


_FULL_DISK = """
import os, sys, time
from pathlib import Path
from desktop.core.conversations.store import Store
folder = Path(sys.argv[1])
problems, recoveries = [], []
store = Store(folder / "conversations.db", on_problem=problems.append, on_recovered=lambda: recoveries.append(1))
conversation = store.create_conversation("full").result()
reply = store.begin_reply(conversation.id).result()
store.append_reply(reply.id, "begin ")
ballast = folder / "ballast"
try:
    with ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
except OSError:
    pass
text = "0123456789" * 30_000
store.append_reply(reply.id, text)
deadline = time.monotonic() + 15
while not problems and time.monotonic() < deadline:
    time.sleep(0.01)
print(type(problems[0]).__name__)
print(store.load_messages(conversation.id).result()[0].text == "begin " + text)
ballast.unlink()
while not recoveries and time.monotonic() < deadline:
    time.sleep(0.01)
print(store.finish_reply(reply.id, "complete", "end").result().text == "begin " + text)
store.close()
store = Store(folder / "conversations.db")
print(store.load_messages(conversation.id).result()[0].state, len(recoveries))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk of its own")
@pytest.mark.slow
def test_really_full_disk_keeps_the_reply_until_there_is_room(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is missing")
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    namespace = [
        unshare,
        *rights,
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=4m none "$1" || exit 77; exec "$2" -c "$3" "$1"',
    ]
    finished = subprocess.run(
        [*namespace, "sh", str(tmp_path), sys.executable, _FULL_DISK],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if finished.returncode == 77 or "unshare" in finished.stderr:
        pytest.skip("this machine does not let us mount")
    assert finished.stdout.split() == ["StorageFullError", "True", "True", "complete", "1"], finished.stderr
