"""A model for a chat in a terminal: takes the lease, runs the engine, turns its events into one reply at a time.

Knows nothing of conversations or of what is typed. Ctrl-C during a reply arrives here as one more event, so that it
can never tear a half-done step apart.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from desktop.commands.model_fit import ModelFit
from desktop.commands.terminal import Terminal
from engines.base import ChatMessage, FinishReason, GenerationOptions, LoadSettings, PieceKind, Usage
from engines.client import EngineClient
from engines.client_values import (
    ClientEvent,
    Crashed,
    LoadFailed,
    LoadingModel,
    Ready,
    RequestFailed,
    Starting,
    StateChanged,
)
from engines.errors import EngineError, ModelInUseError
from engines.lease import HeldLease, Leases
from engines.library import InstalledModel
from engines.memory import estimate_needed_bytes
from engines.protocol import Finished, PieceMessage, ReadingProgress, TokenCount

LEAVE_WITHIN_SECONDS = 2.0
"""A second Ctrl-C so soon after the first means: leave."""
_TICK_SECONDS = 0.2
_LEASE_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Ctrl-C, with the moment it was pressed (monotonic clock)."""

    at: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened for a moment."""


Event = ClientEvent | Interrupt
OnPiece = Callable[[str, PieceKind], None]
"""Takes each stretch of a reply as it arrives."""


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """How a reply ended: with a reason, or with an error. `leave`: the person asked to leave altogether."""

    reason: FinishReason | None
    usage: Usage | None
    error: EngineError | None = None
    leave: bool = False


@dataclass(frozen=True, slots=True)
class EngineChoices:
    """How a model is to be run."""

    load_settings: LoadSettings
    log_path: Path | None
    anyway: bool = False
    """Load even when the memory does not seem to suffice."""
    wait: bool = False
    """Wait until another Snug process lets go of its model."""
    idle_eject_seconds: float = 0.0
    """The model leaves memory after so long without use; 0 is never."""


class TerminalEngine:
    """One model that is in memory while it is used. `start`, any number of `ask`, `close`; `eject` at any time.

    With a `fit`, that says before each load how to load and whether there is room, and hears what was measured.
    """

    def __init__(
        self,
        terminal: Terminal,
        leases: Leases,
        model: InstalledModel,
        choices: EngineChoices,
        fit: ModelFit | None = None,
    ) -> None:
        self.model = model
        self._terminal = terminal
        self._leases = leases
        self._choices = choices
        self._fit = fit
        self._settings = choices.load_settings
        self._told_line = ""
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._client = self._make_client()
        self._lease: HeldLease | None = None
        self._told_error: EngineError | None = None
        """The error that the last reply ended with: a load that failed meanwhile is told once, then tried again."""
        self._idle_timer: threading.Timer | None = None
        self._eject_lock = threading.Lock()

    def start(self) -> None:
        """Takes the lease and begins to load.

        Raises ModelInUseError, NotEnoughMemoryError; with a fit also UnsupportedModelError, ModelFileError.
        """
        with self._eject_lock:
            if self._lease is None:
                self._lease = self._take_lease()
            self._client.start()

    def ask(
        self, messages: Sequence[ChatMessage], options: GenerationOptions, on_piece: OnPiece, *, stay: bool
    ) -> ReplyEnd:
        """Streams one reply. With `stay`, one Ctrl-C stops the reply and two leave; without, one leaves.

        Never raises an EngineError: that is one of the ways in which a reply ends.
        """
        self._stop_idle_timer()
        failed_before = self._take_load_error()
        if failed_before is not None and failed_before is not self._told_error:
            end = ReplyEnd(None, None, failed_before)
        else:
            end = self._ask(messages, options, on_piece, stay=stay)
            self._take_load_error()
        self._told_error = end.error
        if stay:
            self._start_idle_timer()
        return end

    def eject(self) -> None:
        """Frees the memory; the next `ask` loads the model again."""
        with self._eject_lock:
            self._client.close()
            if self._lease is not None:
                self._lease.release()
                self._lease = None

    def close(self) -> None:
        """Frees the memory and ends the process. Harmless to call twice."""
        self._stop_idle_timer()
        self.eject()

    def _ask(
        self, messages: Sequence[ChatMessage], options: GenerationOptions, on_piece: OnPiece, *, stay: bool
    ) -> ReplyEnd:
        try:
            self.start()
        except EngineError as error:
            return ReplyEnd(None, None, error)
        except KeyboardInterrupt:  # while it waited for another Snug
            return ReplyEnd("cancelled", None, leave=not stay)
        with _interrupts_into(self._events):
            try:
                request_id = self._client.generate(messages, options)
            except EngineError as error:
                return ReplyEnd(None, None, error)
            reply = _Reply(
                self._terminal,
                self._client,
                model_name=self.model.name,
                request_id=request_id,
                on_piece=on_piece,
                stay=stay,
            )
            try:
                end = self._follow(reply)
            finally:
                self._terminal.clear_progress()
            self._note(end)
            return end

    def _follow(self, reply: _Reply) -> ReplyEnd:
        while True:
            try:
                event: Event | Tick = self._events.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                event = Tick()
            end = reply.take(event)
            if end is not None:
                return end

    def _take_load_error(self) -> EngineError | None:
        """Why the model is not in memory although it was asked for; the next `start` then begins anew."""
        match self._client.state:
            case LoadFailed(error) | Crashed(error, restarting=False):
                self.eject()
                return error
            case _:
                return None

    def _take_lease(self) -> HeldLease:
        while True:
            try:
                needed_bytes = self._prepare()
                return self._leases.take(self.model.name, self.model.path, needed_bytes, anyway=self._choices.anyway)
            except ModelInUseError as error:
                if not self._choices.wait:
                    raise
                self._terminal.progress(f"Waiting. {error.title}")
                time.sleep(_LEASE_POLL_SECONDS)

    def _prepare(self) -> int:
        """How the model is loaded this time; answers what it needs of main memory, in bytes."""
        if self._fit is None:
            return estimate_needed_bytes(self.model.size_bytes)
        prepared = self._fit.prepare(anyway=self._choices.anyway)
        if prepared.settings != self._settings:
            self._settings = prepared.settings
            self._client.close()
            self._client = self._make_client()
        if prepared.line != self._told_line:
            self._told_line = prepared.line
            self._terminal.say(prepared.line)
        return prepared.needed_bytes

    def _make_client(self) -> EngineClient:
        return EngineClient(
            engine=self.model.engine,
            model_path=self.model.path,
            settings=self._settings,
            on_event=self._events.put,
            log_path=self._choices.log_path,
        )

    def _note(self, end: ReplyEnd) -> None:
        """What a reply measured is for the next prediction. Stopped ones count as well: they measured as truly."""
        match self._client.state:
            case Ready(model) if self._fit is not None and end.usage is not None:
                self._fit.note(model, end.usage)
            case _:
                pass  # no model in memory any more, or nothing that looks at it

    def _start_idle_timer(self) -> None:
        if self._choices.idle_eject_seconds > 0:
            self._idle_timer = threading.Timer(self._choices.idle_eject_seconds, self.eject)
            self._idle_timer.daemon = True
            self._idle_timer.start()

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer.join()
            self._idle_timer = None


class _Reply:
    """One reply under way: takes events until one of them is its end."""

    def __init__(
        self,
        terminal: Terminal,
        client: EngineClient,
        *,
        model_name: str,
        request_id: int,
        on_piece: OnPiece,
        stay: bool,
    ) -> None:
        self._terminal = terminal
        self._client = client
        self._model_name = model_name
        self._request_id = request_id
        self._on_piece = on_piece
        self._stay = stay
        self._interrupted_at: float | None = None

    def take(self, event: Event | Tick) -> ReplyEnd | None:
        """The end of the reply, once it came."""
        match event:
            case PieceMessage(request_id=self._request_id):
                self._on_piece(event.text, event.piece_kind)
            case Finished(request_id=self._request_id):
                return ReplyEnd(event.reason, event.usage)
            case RequestFailed(request_id=self._request_id):
                return ReplyEnd(None, None, event.error)
            case ReadingProgress(request_id=self._request_id):
                self._terminal.progress(f"Reading: {event.done:,} of {event.total:,} tokens")
            case StateChanged(state):
                self._on_state(state)
            case Interrupt(at):
                return self._on_interrupt(at)
            case Tick():
                self._on_tick()
            case PieceMessage() | Finished() | RequestFailed() | ReadingProgress() | TokenCount():
                pass  # of an earlier request, whose end was not waited for
            case _:
                assert_never(event)
        return None

    def _on_state(self, state: object) -> None:
        match state:
            case Starting():
                self._terminal.progress("Starting the engine")
            case LoadingModel(share):
                self._terminal.progress(f"Loading {self._model_name}: {share:.0%}")
            case Ready():
                self._terminal.clear_progress()
            case _:
                pass  # the ends arrive as events of the request

    def _on_interrupt(self, at: float) -> ReplyEnd | None:
        before, self._interrupted_at = self._interrupted_at, at
        if not self._stay or (before is not None and at - before <= LEAVE_WITHIN_SECONDS):
            return ReplyEnd("cancelled", None, leave=True)
        if before is None:
            self._client.cancel()
        else:
            self._client.stop_now()
        return None

    def _on_tick(self) -> None:
        if self._interrupted_at is None:
            return
        self._terminal.end_line()
        if time.monotonic() - self._interrupted_at <= LEAVE_WITHIN_SECONDS:
            self._terminal.progress("Stopping. Ctrl-C again leaves.")
        else:
            self._terminal.progress("Still stopping. Ctrl-C ends the engine at once and loads the model again.")


@contextmanager
def _interrupts_into(events: queue.SimpleQueue[Event]) -> Iterator[None]:
    """Ctrl-C becomes an event. SimpleQueue.put may be called in a signal handler; Queue.put may not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler: Callable[..., None] = lambda *_: events.put(Interrupt(time.monotonic()))  # noqa: E731
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
