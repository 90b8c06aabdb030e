"""One thread that delivers events in order and minds one deadline. It knows nothing of what it delivers."""

from __future__ import annotations

import enum
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

EventT = TypeVar("EventT")


class _LaneSignal(enum.Enum):
    LOOK = enum.auto()
    """The deadline has changed."""
    FINISH = enum.auto()


class EventLane(Generic[EventT]):
    """Delivers what is put, in order, from one thread. `former`: a lane whose last delivery comes first."""

    def __init__(
        self,
        deliver: Callable[[EventT], None],
        deadline: Callable[[], float | None],
        on_deadline: Callable[[], None],
        former: EventLane[EventT] | None,
        name: str,
    ) -> None:
        self._deliver = deliver
        self._deadline = deadline
        self._on_deadline = on_deadline
        self._former = former
        self._events: queue.SimpleQueue[EventT | _LaneSignal] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_current_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def start(self) -> None:
        self._thread.start()

    def put(self, event: EventT) -> None:
        self._events.put(event)

    def look_at_deadline(self) -> None:
        """To be called when the deadline has changed."""
        self._events.put(_LaneSignal.LOOK)

    def finish(self) -> None:
        """No event after those that are already there."""
        self._events.put(_LaneSignal.FINISH)

    def join(self, timeout_s: float | None) -> None:
        if not self.is_current_thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        if self._former is not None:
            # A callback closed and started its own client: that callback returns before the next one begins.
            self._former.join(None)
            self._former = None
        while (event := self._next()) is not _LaneSignal.FINISH:
            if event is _LaneSignal.LOOK:
                continue
            try:
                self._deliver(event)
            except Exception:
                logger.exception("a listener of events failed")

    def _next(self) -> EventT | _LaneSignal:
        deadline = self._deadline()
        if deadline is None:
            return self._events.get()
        try:
            return self._events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            self._on_deadline()
            return _LaneSignal.LOOK
