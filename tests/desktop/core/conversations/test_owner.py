"""One thread, one connection, one thing after another."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from desktop.core.conversations.owner import OwnerThread
from desktop.core.errors import StorageError, StoreClosedError

TIMEOUT_SECONDS = 20


class Keeper:
    """What the thread works for; writes down what it is asked, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.ticked = threading.Event()
        self.tick_answers: list[float | None] = []
        self.tick_error: Exception | None = None
        self.opening_error: StorageError | None = None
        self.connection: sqlite3.Connection | None = None

    def open_connection(self) -> sqlite3.Connection:
        self.events.append("open")
        if self.opening_error is not None:
            raise self.opening_error
        self.connection = sqlite3.connect(":memory:")
        return self.connection

    def tick(self, _: sqlite3.Connection) -> float | None:
        self.events.append("tick")
        self.ticked.set()
        if self.tick_error is not None:
            error, self.tick_error = self.tick_error, None
            raise error
        return self.tick_answers.pop(0) if self.tick_answers else None

    def last_words(self, connection: sqlite3.Connection) -> None:
        connection.execute("SELECT 1")
        self.events.append("last words")


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def start(keeper: Keeper, tmp_path: Path) -> Iterator[Callable[[], OwnerThread]]:
    threads: list[OwnerThread] = []

    def start_one() -> OwnerThread:
        threads.append(
            OwnerThread(
                tmp_path / "conversations.db",
                open_connection=keeper.open_connection,
                tick=keeper.tick,
                last_words=keeper.last_words,
            )
        )
        return threads[-1]

    yield start_one
    for thread in threads:
        assert thread.close(TIMEOUT_SECONDS)


def test_work_runs_in_order_each_after_a_tick_and_last_words_end_it(
    keeper: Keeper, start: Callable[[], OwnerThread]
) -> None:
    def work(name: str) -> Callable[[sqlite3.Connection], None]:
        return lambda _: keeper.events.append(name)

    thread = start()
    futures = [thread.submit(work(name)) for name in ("one", "two")]
    assert thread.close(TIMEOUT_SECONDS)
    assert [future.result(0) for future in futures] == [None, None]
    assert keeper.events == ["open", "tick", "one", "tick", "two", "last words"]
    assert keeper.connection is not None
    with pytest.raises(sqlite3.ProgrammingError, match=r"thread|closed"):
        keeper.connection.execute("SELECT 1")


def test_errors_of_the_database_arrive_in_words_and_others_as_they_are(start: Callable[[], OwnerThread]) -> None:
    thread = start()
    with pytest.raises(StorageError):
        thread.submit(lambda connection: connection.execute("SELECT nothing")).result(TIMEOUT_SECONDS)
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda _: 1 / 0).result(TIMEOUT_SECONDS)
    assert thread.submit(lambda _: "alive").result(TIMEOUT_SECONDS) == "alive"


def test_failed_opening_fails_all_work(keeper: Keeper, start: Callable[[], OwnerThread]) -> None:
    keeper.opening_error = StorageError("No.", "Do something else.")
    thread = start()
    for _ in range(2):
        with pytest.raises(StorageError, match=r"^No\."):
            thread.submit(lambda _: None).result(TIMEOUT_SECONDS)
    assert thread.close(TIMEOUT_SECONDS)
    assert keeper.events == ["open"]


def test_tick_comes_when_it_was_asked_for_and_no_sooner(keeper: Keeper, start: Callable[[], OwnerThread]) -> None:
    thread = start()
    asked_at = time.monotonic()
    thread.wake_within(0.1)
    thread.wake_within(60)  # a later wish does not put the earlier one off
    assert keeper.ticked.wait(TIMEOUT_SECONDS)
    assert time.monotonic() - asked_at >= 0.1


def test_earlier_wish_overtakes_a_later_one(keeper: Keeper, start: Callable[[], OwnerThread]) -> None:
    thread = start()
    thread.wake_within(3600)
    thread.wake_within(0.0)
    assert keeper.ticked.wait(TIMEOUT_SECONDS)


def test_tick_is_repeated_when_it_says_so(keeper: Keeper, start: Callable[[], OwnerThread]) -> None:
    keeper.tick_answers = [0.0, 0.0, None]
    thread = start()
    thread.wake_within(0.0)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while keeper.events.count("tick") < 3 and time.monotonic() < deadline:
        keeper.ticked.wait(0.01)
    assert keeper.events.count("tick") == 3


def test_fault_in_a_tick_is_logged_and_work_goes_on(
    keeper: Keeper, start: Callable[[], OwnerThread], expect_log: Any
) -> None:
    expect_log("unexpected error", level=40)
    keeper.tick_error = ValueError("ours")
    assert start().submit(lambda _: "alive").result(TIMEOUT_SECONDS) == "alive"


def test_cancelled_work_is_not_done(keeper: Keeper, start: Callable[[], OwnerThread]) -> None:
    thread = start()
    release, busy = threading.Event(), threading.Event()

    def wait(_: sqlite3.Connection) -> None:
        busy.set()
        release.wait(TIMEOUT_SECONDS)

    thread.submit(wait)
    assert busy.wait(TIMEOUT_SECONDS)
    cancelled = thread.submit(lambda _: keeper.events.append("cancelled work"))
    assert cancelled.cancel()
    release.set()
    assert thread.close(TIMEOUT_SECONDS)
    assert "cancelled work" not in keeper.events
    with pytest.raises(CancelledError):
        cancelled.result(0)


def test_work_after_the_end_is_refused(start: Callable[[], OwnerThread]) -> None:
    thread = start()
    assert thread.close(TIMEOUT_SECONDS)
    with pytest.raises(StoreClosedError):
        thread.submit(lambda _: None).result(0)
