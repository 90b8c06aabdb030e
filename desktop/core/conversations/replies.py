"""Growing replies on their way to the disk: text is gathered from any thread and written by the owner thread.

Nothing is let go of before it is written: when the disk is full or the file locked, text and ends stay here and are
tried again, and whoever asked to be told is told once.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from desktop.core.conversations import queries
from desktop.core.conversations.values import EndState, StoredMessage
from desktop.core.errors import StorageError, from_sqlite
from engines.base import Usage

FLUSH_SECONDS = 0.1
"""How long text waits for more before it is written: well inside the promised 250 ms, and ten small writes a second."""
RETRY_SECONDS = 1.0
_CHECKPOINT_BYTES = 4 * 1024 * 1024
_CHECKPOINT_WHILE_GROWING_BYTES = 64 * 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """How a reply ended."""

    state: EndState
    reason: str = ""
    error: str = ""
    usage: Usage | None = None


@dataclass(slots=True)
class _Pieces:
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)

    def joined(self) -> tuple[str, str]:
        return "".join(self.text), "".join(self.thinking)


class PendingText:
    """What has arrived since the last write, by message. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: dict[str, _Pieces] = {}

    def add(self, message_id: str, text: str, thinking: str) -> None:
        """Adds at the end. Cheap: this is called for every token."""
        with self._lock:
            pieces = self._pieces.setdefault(message_id, _Pieces())
            if text:
                pieces.text.append(text)
            if thinking:
                pieces.thinking.append(thinking)

    def put_back(self, message_id: str, text: str, thinking: str) -> None:
        """What could not be written comes before what has arrived since."""
        with self._lock:
            pieces = self._pieces.setdefault(message_id, _Pieces())
            pieces.text.insert(0, text)
            pieces.thinking.insert(0, thinking)

    def take(self, message_id: str) -> tuple[str, str]:
        """Text and thinking of one message; it is the caller's now."""
        with self._lock:
            pieces = self._pieces.pop(message_id, None)
        return pieces.joined() if pieces else ("", "")

    def look(self, message_id: str) -> tuple[str, str]:
        """Text and thinking of one message, left where it is."""
        with self._lock:
            pieces = self._pieces.get(message_id)
            return pieces.joined() if pieces else ("", "")

    def message_ids(self) -> tuple[str, ...]:
        """The messages that something waits for."""
        with self._lock:
            return tuple(self._pieces)


class ReplyWriter:
    """The replies that this process writes. `append` and `expect` are for any thread, the rest for the owner thread."""

    def __init__(
        self,
        database_path: Path,
        *,
        on_problem: Callable[[StorageError], None] | None,
        on_recovered: Callable[[], None] | None,
    ) -> None:
        self._database_path = database_path
        self._wal_path = database_path.with_name(database_path.name + "-wal")
        self._on_problem = on_problem
        self._on_recovered = on_recovered
        self._pending = PendingText()
        self._owner: tuple[int, float] = (0, 0.0)
        self._expected: set[str] = set()
        self._growing: set[str] = set()
        self._ends: dict[str, ReplyEnd] = {}
        self._problem: StorageError | None = None
        self._retry_at = 0.0

    def append(self, message_id: str, text: str, thinking: str) -> None:
        """Text that has arrived."""
        self._pending.add(message_id, storable(text), storable(thinking))

    def expect(self, message_id: str) -> None:
        """A reply will grow again as soon as the owner thread comes to it: what arrives meanwhile is kept."""
        self._expected.add(message_id)

    # On the owner thread

    @property
    def owner(self) -> tuple[int, float]:
        """What the replies of this process are marked with."""
        return self._owner

    def start(self, owner: tuple[int, float]) -> None:
        """Before the first reply."""
        self._owner = owner

    def begun(self, message_id: str) -> None:
        """A reply grows from now on."""
        self._growing.add(message_id)
        self._expected.discard(message_id)

    def not_begun(self, message_id: str) -> None:
        """An expected reply does not grow after all."""
        self._expected.discard(message_id)

    def finish(self, connection: sqlite3.Connection, message_id: str, end: ReplyEnd) -> None:
        """Writes a reply's end. When that raises sqlite3.Error, `write` tries again."""
        self._ends[message_id] = end
        try:
            self._write_end(connection, message_id)
        except sqlite3.Error as error:
            self._note_problem(error)
            raise

    def write(self, connection: sqlite3.Connection) -> float | None:
        """Writes what has arrived, unless the last attempt failed just now. Answers when to try again, in seconds."""
        wait_seconds = self._retry_at - time.monotonic()
        if self._problem is not None and wait_seconds > 0:
            return wait_seconds
        try:
            self._write_text(connection)
            for message_id in tuple(self._ends):
                self._write_end(connection, message_id)
            self._checkpoint(connection)
        except sqlite3.Error as error:
            self._note_problem(error)
            return RETRY_SECONDS
        if self._problem is not None:
            self._problem = None
            log.info("Replies are being saved again")
            if self._on_recovered is not None:
                self._on_recovered()
        return None

    def end_all(self, connection: sqlite3.Connection) -> None:
        """The last chance: writes everything, and marks what is still growing as interrupted."""
        for message_id in self._growing:
            self._ends.setdefault(message_id, ReplyEnd("interrupted"))
        self._retry_at = 0.0
        self.write(connection)
        if self._problem is not None:
            log.error("The end of %d replies could not be saved: %s", len(self._growing), self._problem.details)

    def completed(self, message: StoredMessage) -> StoredMessage:
        """The message with what still waits in memory because the disk is full."""
        text, thinking = self._pending.look(message.id)
        end = self._ends.get(message.id)
        if not text and not thinking and end is None:
            return message
        if end is not None:
            message = replace(message, state=end.state, reason=end.reason, error=end.error, usage=end.usage)
        return replace(message, text=message.text + text, thinking=message.thinking + thinking)

    def _write_text(self, connection: sqlite3.Connection) -> None:
        batch: list[tuple[str, str, str]] = []
        for message_id in self._pending.message_ids():
            if message_id in self._growing:
                batch.append((message_id, *self._pending.take(message_id)))
            elif message_id not in self._expected:
                self._pending.take(message_id)
                log.info("Text arrived for a reply that had ended")
        if not batch:
            return
        try:
            with queries.transaction(connection):
                for message_id, text, thinking in batch:
                    if not queries.append_part(connection, message_id, text, thinking, self._owner):
                        self._growing.discard(message_id)
                        log.info("A reply was erased while it was growing")
        except BaseException:
            for message_id, text, thinking in batch:
                self._growing.add(message_id)
                self._pending.put_back(message_id, text, thinking)
            raise

    def _write_end(self, connection: sqlite3.Connection, message_id: str) -> None:
        """Writes the rest of a reply and its end in one step; leaves both in memory when that fails."""
        end = self._ends[message_id]
        text, thinking = self._pending.take(message_id)
        try:
            with queries.transaction(connection):
                if text or thinking:
                    queries.append_part(connection, message_id, text, thinking, self._owner)
                queries.finish_reply(
                    connection, message_id, state=end.state, reason=end.reason, error=end.error, usage=end.usage
                )
        except BaseException:
            self._pending.put_back(message_id, text, thinking)
            raise
        del self._ends[message_id]
        self._growing.discard(message_id)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Moves the write-ahead log into the database (this waits for the disk) while nobody waits for a write."""
        limit_bytes = _CHECKPOINT_WHILE_GROWING_BYTES if self._growing else _CHECKPOINT_BYTES
        try:
            size_bytes = self._wal_path.stat().st_size
        except OSError:
            return  # No log, nothing to move.
        if size_bytes > limit_bytes:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _note_problem(self, error: sqlite3.Error) -> None:
        problem = from_sqlite(error, self._database_path)
        log.info("A reply could not be saved and is kept in memory: %s", problem.details)
        self._retry_at = time.monotonic() + RETRY_SECONDS
        is_news = type(problem) is not type(self._problem)
        self._problem = problem
        if is_news and self._on_problem is not None:
            self._on_problem(problem)


def storable(text: str) -> str:
    """Text as SQLite takes it: half characters (lone surrogates, from broken input) become question marks."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
