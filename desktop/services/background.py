"""Work off the GUI thread, and its results back on it. For short work; what runs for long is a process of its own.

Not here: anything about models, conversations or widgets.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from PySide6.QtCore import QObject, Qt, QTimer, Signal

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
OnError = Callable[[Exception], None]


class RunInBackground(Protocol):
    """What those who need background work are given: `Background.run`, or a stand-in of the same shape."""

    def __call__(
        self,
        work: Callable[[], Result],
        on_done: Callable[[Result], None] | None = None,
        on_error: OnError | None = None,
    ) -> None: ...


class GuiLane(QObject):
    """Runs calls on the thread that it was made on, in the order in which they were posted."""

    _posted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._is_open = True
        self._posted.connect(self._on_posted, Qt.ConnectionType.QueuedConnection)

    def post(self, call: Callable[[], None]) -> None:
        """From any thread. After `close`, nothing happens any more."""
        if self._is_open:
            self._posted.emit(call)

    def close(self) -> None:
        """What was posted and has not run yet is forgotten."""
        self._is_open = False

    def _on_posted(self, call: Callable[[], None]) -> None:
        if self._is_open:
            call()

    def deliver(
        self,
        future: Future[Result],
        on_done: Callable[[Result], None] | None = None,
        on_error: OnError | None = None,
    ) -> None:
        """Calls one of the two on this lane's thread when the future has its result.

        An error that nobody asked for is raised on the GUI thread, where the crash hooks see it: never lost.
        """
        future.add_done_callback(lambda done: self.post(functools.partial(_hand_over, done, on_done, on_error)))


class Background(QObject):
    """A few threads for short pure work, with the results on the GUI thread."""

    def __init__(self, parent: QObject | None = None, *, threads: int = 2) -> None:
        super().__init__(parent)
        self._lane = GuiLane(self)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="snug-background")

    def run(
        self,
        work: Callable[[], Result],
        on_done: Callable[[Result], None] | None = None,
        on_error: OnError | None = None,
    ) -> None:
        """Runs `work` on a thread, then one of the other two on the GUI thread."""
        self._lane.deliver(self._pool.submit(work), on_done, on_error)

    def close(self) -> None:
        """Waits for what runs, drops what has not begun. No result is delivered any more."""
        self._lane.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _hand_over(done: Future[Result], on_done: Callable[[Result], None] | None, on_error: OnError | None) -> None:
    try:
        result = done.result()
    except CancelledError:
        return  # Snug is closing
    except Exception as error:
        if on_error is None:
            raise
        on_error(error)
    else:
        if on_done is not None:
            on_done(result)


class StallWatch(QObject):
    """For development: logs what the GUI thread was doing whenever it did not come back for a while."""

    def __init__(self, parent: QObject | None = None, *, limit_s: float = 0.05) -> None:
        super().__init__(parent)
        self._limit_s = limit_s
        self._beat_at = time.monotonic()
        self._stopped = threading.Event()
        self._gui_thread_id = threading.get_ident()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_beat)
        self._timer.start(round(limit_s * 1000 / 5))
        self._thread = threading.Thread(target=self._watch, name="snug-stall-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the watch."""
        self._timer.stop()
        self._stopped.set()
        self._thread.join()

    def _on_beat(self) -> None:
        self._beat_at = time.monotonic()

    def _watch(self) -> None:
        told_beat = 0.0
        while not self._stopped.wait(self._limit_s / 5):
            beat_at = self._beat_at
            if beat_at == told_beat or time.monotonic() - beat_at <= self._limit_s:
                continue
            told_beat = beat_at
            frame = sys._current_frames().get(self._gui_thread_id)
            stack = "".join(traceback.format_stack(frame)) if frame is not None else "no stack"
            logger.warning("The GUI thread stalled for more than %.0f ms:\n%s", self._limit_s * 1000, stack)
