"""The one thread that touches the database: work goes in, futures come out. Knows nothing of conversations."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from desktop.core.errors import StoreClosedError, from_sqlite

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]
Job = tuple[Work[Any], Future[Any]]

log = logging.getLogger(__name__)


class _Signal(Enum):
    TICK = "tick"
    END = "end"


class OwnerThread:
    """Runs work on one connection, strictly one piece after another."""

    def __init__(
        self,
        database_path: Path,
        *,
        open_connection: Callable[[], sqlite3.Connection],
        tick: Callable[[sqlite3.Connection], float | None],
        last_words: Callable[[sqlite3.Connection], None],
    ) -> None:
        """All three are called on the thread.

        When `open_connection` raises, every piece of work fails with what it raised. `tick` is called before each
        piece of work and when `wake_within` has run out; it answers after how many seconds it wants to be called
        again. `last_words` is called once, after all work.
        """
        self._database_path = database_path
        self._open_connection = open_connection
        self._tick = tick
        self._last_words = last_words
        self._condition = threading.Condition()
        self._queue: deque[Job] = deque()
        self._wake_at: float | None = None
        self._closing = False
        # A daemon, so that a program that forgets to close can end; the store's exit hook then closes it properly.
        self._thread = threading.Thread(target=self._run, name="snug-conversations", daemon=True)
        self._thread.start()

    def submit(self, work: Work[Result]) -> Future[Result]:
        """Runs `work` on the thread. Its future carries the result or a StorageError."""
        future: Future[Result] = Future()
        with self._condition:
            if not self._closing:
                self._queue.append((work, future))
                self._condition.notify()
                return future
        future.set_exception(StoreClosedError("Your conversations are closed already.", "Start Snug again."))
        return future

    def wake_within(self, seconds: float) -> None:
        """Asks for a tick after at most this time. Costs next to nothing when one is due earlier."""
        wake_at = time.monotonic() + seconds
        with self._condition:
            if self._wake_at is None or wake_at < self._wake_at:
                self._wake_at = wake_at
                self._condition.notify()

    def close(self, timeout_seconds: float) -> bool:
        """Does the work that is queued, then ends the thread. Answers whether it ended in time."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if threading.current_thread() is self._thread:
            return False  # Called from a future's callback: the thread ends after it.
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        failure: BaseException | None = None
        try:
            connection = self._open_connection()
        except BaseException as error:  # noqa: BLE001 - every future carries it
            failure = error
        while (job := self._next_job()) is not _Signal.END:
            if connection is not None:
                self._guarded_tick(connection)
            if job is not _Signal.TICK:
                self._do(job, connection, failure)
        if connection is not None:
            try:
                self._last_words(connection)
            finally:
                connection.close()

    def _guarded_tick(self, connection: sqlite3.Connection) -> None:
        try:
            again_seconds = self._tick(connection)
        except Exception:
            # A fault of ours, or of whoever was told of a problem. Without this thread nothing would be saved at all.
            log.exception("The store met an unexpected error and goes on")
            return
        if again_seconds is not None:
            self.wake_within(again_seconds)

    def _next_job(self) -> Job | _Signal:
        """The next piece of work, or the news that a tick is due or that there will be no more."""
        with self._condition:
            while True:
                if self._queue:
                    return self._queue.popleft()
                if self._closing:
                    return _Signal.END
                wait_seconds = None if self._wake_at is None else self._wake_at - time.monotonic()
                if wait_seconds is not None and wait_seconds <= 0:
                    self._wake_at = None
                    return _Signal.TICK
                self._condition.wait(wait_seconds)

    def _do(self, job: Job, connection: sqlite3.Connection | None, failure: BaseException | None) -> None:
        work, future = job
        if not future.set_running_or_notify_cancel():
            return
        try:
            if connection is None:
                assert failure is not None
                raise failure
            result = work(connection)
        except sqlite3.Error as error:
            future.set_exception(from_sqlite(error, self._database_path))
        except BaseException as error:  # noqa: BLE001 - a future carries whatever happened to its caller
            future.set_exception(error)
        else:
            future.set_result(result)
