"""Work off the GUI thread and results on it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6.QtCore import QThread

from desktop.services.background import Background, GuiLane, StallWatch


@pytest.fixture
def background(qtbot: Any) -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


def test_work_runs_elsewhere_and_its_result_arrives_here(background: Background, qtbot: Any) -> None:
    here = threading.get_ident()
    results: list[tuple[int, bool]] = []
    background.run(
        threading.get_ident, lambda there: results.append((there, QThread.currentThread() is background.thread()))
    )
    qtbot.waitUntil(lambda: bool(results))
    assert results[0][0] != here
    assert results[0][1]


def test_error_goes_to_whoever_asked_for_it(background: Background, qtbot: Any) -> None:
    errors: list[Exception] = []
    background.run(lambda: 1 / 0, None, errors.append)
    qtbot.waitUntil(lambda: bool(errors))
    assert isinstance(errors[0], ZeroDivisionError)


def test_error_that_nobody_asked_for_is_not_lost(background: Background, qtbot: Any) -> None:
    with qtbot.captureExceptions() as exceptions:
        background.run(lambda: 1 / 0)
        qtbot.waitUntil(lambda: bool(exceptions))
    assert exceptions[0][0] is ZeroDivisionError


def test_nothing_is_delivered_after_close(qtbot: Any) -> None:
    background = Background()
    results: list[int] = []
    background.run(lambda: 1, results.append)
    background.close()
    qtbot.wait(20)  # would have arrived by now
    assert results == []


def test_calls_run_in_the_order_in_which_they_were_posted(qtbot: Any) -> None:
    lane = GuiLane()
    seen: list[int] = []

    def post_all() -> None:
        for number in range(100):
            lane.post(lambda number=number: seen.append(number))

    thread = threading.Thread(target=post_all)
    thread.start()
    thread.join()
    assert seen == []
    qtbot.waitUntil(lambda: len(seen) == 100)
    assert seen == list(range(100))


def test_stall_of_the_gui_thread_is_logged_with_its_stack(
    qtbot: Any, expect_log: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    expect_log("GUI thread stalled")
    watch = StallWatch(limit_s=0.05)
    try:
        qtbot.wait(30)
        time.sleep(0.3)  # the stall
        qtbot.waitUntil(lambda: "GUI thread stalled" in caplog.text)
    finally:
        watch.close()
    record = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert "test_stall_of_the_gui_thread" in record.getMessage()
