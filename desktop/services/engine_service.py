"""The model in memory, as the window sees it: one model, one reply at a time, everything told on the GUI thread.

Loads on the first request, ejects on request and after an idle time, takes the lease that window and terminal share.
Does not know conversations; whoever asks says what is to be done with the pieces.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import assert_never

from PySide6.QtCore import QElapsedTimer, QObject, QTimer, Signal

from desktop.services.background import GuiLane
from desktop.services.engine_session import EngineChoices, EngineSession, PlanLoad, SessionKeeper
from desktop.services.joined_pieces import JoinedPieces
from desktop.services.load_planner import estimated_plan
from engines.base import ChatMessage, FinishReason, GenerationOptions, LoadedModel, PieceKind, Usage
from engines.client_values import (
    ClientEvent,
    ClientState,
    Crashed,
    Generating,
    LoadFailed,
    Ready,
    RequestFailed,
    Starting,
    StateChanged,
    Stopped,
    Stopping,
)
from engines.errors import EngineBusyError, EngineError
from engines.lease import Leases
from engines.library import InstalledModel
from engines.protocol import Finished, PieceMessage, ReadingProgress, TokenCount

logger = logging.getLogger(__name__)

UPDATE_INTERVAL_MS = 34
"""Pieces are joined to at most 30 updates a second."""
STOP_NOW_AFTER_MS = 3000
"""A reply that does not heed "Stop" for so long may be ended by force."""

OnPiece = Callable[[str, PieceKind], None]
"""Takes each piece at once, on a thread of the engine client: for the disk, not for the screen."""


@dataclass(slots=True, eq=False)
class _Request:
    """The one reply that is being made."""

    id: int
    model: InstalledModel
    messages: tuple[ChatMessage, ...]
    options: GenerationOptions
    on_piece: OnPiece
    choices: EngineChoices
    ticket: int
    session: EngineSession | None = None
    client_id: int | None = None
    is_cancelled: bool = False


class EngineService(QObject):
    """One model and its replies.

    Signals: state_changed(ClientState); text_grew(request, text, thinking) at most 30 times a second;
    reading(request, done, total); reply_finished(request, FinishReason, Usage); reply_failed(request, EngineError);
    stop_now_offered(request); idle_ejected(); load_failed(InstalledModel, EngineError) when a `load` without a request
    came to nothing. Every request ends in exactly one reply_finished or reply_failed.
    """

    state_changed = Signal(object)
    text_grew = Signal(int, str, str)
    reading = Signal(int, int, int)
    reply_finished = Signal(int, str, object)
    reply_failed = Signal(int, object)
    stop_now_offered = Signal(int)
    idle_ejected = Signal()
    load_failed = Signal(object, object)

    def __init__(
        self,
        leases: Leases,
        parent: QObject | None = None,
        *,
        log_path: Callable[[], Path] | None = None,
        working_directory: Path | None = None,
        idle_eject_ms: int = 0,
        stop_now_after_ms: int = STOP_NOW_AFTER_MS,
        plan_load: PlanLoad = estimated_plan,
    ) -> None:
        super().__init__(parent)
        self._keeper = SessionKeeper(
            leases, log_path=log_path, working_directory=working_directory, plan_load=plan_load
        )
        self._lane = GuiLane(self)
        # Opening and closing a model wait for locks, processes and threads: one after the other, off the GUI thread.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snug-engine-lane")
        self._numbers = itertools.count(1)
        self._state: ClientState = Stopped()
        self._session: EngineSession | None = None
        self._ticket = 0
        """Counts the models that were wished for; one that arrives with an old number is closed again."""
        self._request: _Request | None = None
        self._load_wish: InstalledModel | None = None
        """What `load` is putting into memory, until it is there, fails, or a request takes over."""
        self._pieces = JoinedPieces(lambda: self._lane.post(self._on_pieces_waiting))
        self._since_update = QElapsedTimer()
        self._update_timer = _single_shot(self, self._send_update)
        self._stop_now_timer = _single_shot(self, self._on_stop_overdue)
        self._stop_now_timer.setInterval(stop_now_after_ms)
        self._idle_timer = _single_shot(self, self._on_idle)
        self._idle_timer.setInterval(idle_eject_ms)
        self._is_closed = False

    # What is

    @property
    def state(self) -> ClientState:
        """As of the last state_changed."""
        return self._state

    @property
    def loaded(self) -> LoadedModel | None:
        """What stands in memory now."""
        return self._state.model if isinstance(self._state, Ready | Generating | Stopping) else None

    @property
    def model(self) -> InstalledModel | None:
        """The model that is in memory or on its way there."""
        return self._session.model if self._session is not None else None

    @property
    def is_busy(self) -> bool:
        """Whether a reply is being made or waits for the model."""
        return self._request is not None

    # What can be asked

    def ask(
        self,
        model: InstalledModel,
        messages: Sequence[ChatMessage],
        options: GenerationOptions,
        on_piece: OnPiece,
        choices: EngineChoices,
    ) -> int:
        """Asks for a reply and returns its number at once; loads `model` where another or none is loaded.

        Raises EngineBusyError while another reply is being made.
        """
        if self._request is not None or self._is_closed:
            raise EngineBusyError("The model is still busy with another reply.", "Wait for its end, or stop it first.")
        self._idle_timer.stop()
        self._load_wish = None
        old = self._session
        if old is not None and (old.model != model or not self._is_usable()):
            self._close_session()
            old = None
        request = _Request(next(self._numbers), model, tuple(messages), options, on_piece, choices, self._ticket)
        self._request = request
        self._pieces.take()
        if old is None:
            self._set_state(Starting())
        self._submit(lambda: self._begin(request, old), partial(self._on_begin_broke, request))
        return request.id

    def load(self, model: InstalledModel, choices: EngineChoices) -> None:
        """Puts a model into memory before there is a message. Errors arrive as a state."""
        if self._request is not None or self._is_closed:
            return
        if self._session is not None and self._session.model == model and self._is_usable():
            return
        self._close_session()
        self._load_wish = model
        self._set_state(Starting())
        ticket = self._ticket
        self._submit(lambda: self._begin_load(model, choices, ticket))

    def stop(self) -> None:
        """Asks the reply to end; what is there is kept."""
        request = self._request
        if request is None or request.is_cancelled:
            return
        request.is_cancelled = True
        self._stop_now_timer.start()
        if request.session is not None:
            request.session.client.cancel()

    def stop_now(self) -> None:
        """Ends the reply by force; the model is loaded again."""
        request = self._request
        if request is None:
            return
        request.is_cancelled = True
        if request.session is not None:
            request.session.client.stop_now()

    def eject(self) -> None:
        """Takes the model out of memory; a reply in the making ends as cancelled."""
        if self._request is not None:
            self._request.is_cancelled = True
        self._close_session()
        self._set_state(Stopped())

    def set_idle_eject(self, milliseconds: int) -> None:
        """After how long without use the model leaves memory; 0 is never."""
        self._idle_timer.setInterval(milliseconds)
        self._restart_idle_timer()

    def close(self) -> None:
        """Ends the reply, the process and the lease. Waits at most about 5 s. No signal comes afterwards."""
        if self._is_closed:
            return
        self._is_closed = True
        for timer in (self._update_timer, self._stop_now_timer, self._idle_timer):
            timer.stop()
        if self._request is not None:
            self._request.is_cancelled = True
        self._worker.submit(self._keeper.shut_all)
        self._worker.shutdown(wait=True)
        self._lane.close()

    # On the engine lane

    def _begin(self, request: _Request, session: EngineSession | None) -> None:
        if request.is_cancelled:
            self._lane.post(lambda: self._on_not_asked(request))
            return
        try:
            if session is None:
                session = self._open(request.model, request.choices, request.ticket)
            request.session = session
            request.client_id = session.client.generate(request.messages, request.options)
            self._cancel_if_asked(request, session)
        except EngineError as error:
            self._lane.post(partial(self._on_not_begun, request, error))

    @staticmethod
    def _cancel_if_asked(request: _Request, session: EngineSession) -> None:
        # Somebody pressed "Stop" while the model was being opened and asked.
        if request.is_cancelled:
            session.client.cancel()

    def _begin_load(self, model: InstalledModel, choices: EngineChoices, ticket: int) -> None:
        try:
            self._open(model, choices, ticket).client.start()
        except EngineError as error:
            self._lane.post(partial(self._on_load_refused, ticket, error))

    def _open(self, model: InstalledModel, choices: EngineChoices, ticket: int) -> EngineSession:
        session = self._keeper.open(model, choices, ticket, self._on_event)
        self._lane.post(lambda: self._adopt(session))
        return session

    def _submit(self, work: Callable[[], None], on_error: Callable[[Exception], None] | None = None) -> None:
        """Runs on the engine lane; what goes wrong there in an unforeseen way reaches the crash hooks."""
        self._lane.deliver(self._worker.submit(work), None, on_error)

    # On the client's event thread

    def _on_event(self, session: EngineSession, event: ClientEvent) -> None:
        if isinstance(event, PieceMessage):
            request = self._request
            if request is None or request.session is not session or request.is_cancelled:
                return
            request.on_piece(event.text, event.piece_kind)
            self._pieces.add(event.text, event.piece_kind)
        else:
            self._lane.post(lambda: self._on_gui_event(session, event))

    # On the GUI thread

    def _adopt(self, session: EngineSession) -> None:
        if session.ticket == self._ticket:
            self._session = session
        else:
            # Ejected before it was there.
            self._submit(lambda: self._keeper.shut(session))

    def _on_gui_event(self, session: EngineSession, event: ClientEvent) -> None:
        match event:
            case StateChanged(state):
                if session is self._session:
                    self._on_session_state(state)
            case ReadingProgress(request_id=client_id, done=done, total=total):
                request = self._current(session, client_id)
                if request is not None:
                    self.reading.emit(request.id, done, total)
            case Finished(request_id=client_id, reason=reason, usage=usage):
                request = self._current(session, client_id)
                if request is not None:
                    self._end_request(request, finished=(reason, usage))
            case RequestFailed(request_id=client_id, error=error):
                request = self._current(session, client_id)
                if request is not None:
                    self._end_request(request, failed=error)
            case TokenCount() | PieceMessage():
                pass
            case _:
                assert_never(event)

    def _current(self, session: EngineSession, client_id: int) -> _Request | None:
        request = self._request
        if request is None or request.session is not session or request.client_id not in (None, client_id):
            return None
        return request

    def _on_session_state(self, state: ClientState) -> None:
        match state:
            case LoadFailed() | Crashed(restarting=False):
                # Nothing of it is in memory: give the lease back. The next request begins anew.
                self._close_session()
                self._set_state(state)
                if isinstance(state, LoadFailed):
                    self._tell_load_failed(state.error)
            case Ready():
                self._load_wish = None
                self._set_state(state)
            case _:
                self._set_state(state)

    def _set_state(self, state: ClientState) -> None:
        if self._is_closed:
            return
        self._state = state
        self._restart_idle_timer()
        self.state_changed.emit(state)

    def _is_usable(self) -> bool:
        """Whether the session can take a request, now or after its load."""
        match self._state:
            case Stopped() | LoadFailed() | Crashed(restarting=False):
                return False
            case _:
                return True

    def _close_session(self) -> None:
        """Gives up the model that is there or on its way."""
        session, self._session = self._session, None
        self._ticket += 1
        if session is not None:
            self._submit(lambda: self._keeper.shut(session))

    def _on_not_asked(self, request: _Request) -> None:
        """Stopped before anything was done for it; a model that is there stays."""
        if self._session is None:
            self._set_state(Stopped())
        self._end_request(request, finished=("cancelled", Usage()))

    def _on_not_begun(self, request: _Request, error: EngineError) -> None:
        self._on_not_loaded(error)
        self._end_request(request, failed=error)

    def _on_not_loaded(self, error: EngineError) -> None:
        self._close_session()
        self._set_state(LoadFailed(error))

    def _on_load_refused(self, ticket: int, error: EngineError) -> None:
        """A load without a request was refused before it began."""
        if ticket != self._ticket:
            return  # the user has chosen another one meanwhile
        self._on_not_loaded(error)
        self._tell_load_failed(error)

    def _tell_load_failed(self, error: EngineError) -> None:
        """Only where no request waits: that one tells of its own failure."""
        model, self._load_wish = self._load_wish, None
        if model is not None:
            self.load_failed.emit(model, error)

    def _on_begin_broke(self, request: _Request, error: Exception) -> None:
        self._on_not_begun(request, EngineError("The model could not be started.", "Start Snug again."))
        raise error

    def _end_request(
        self,
        request: _Request,
        *,
        finished: tuple[FinishReason, Usage] | None = None,
        failed: EngineError | None = None,
    ) -> None:
        if request is not self._request:
            return
        self._stop_now_timer.stop()
        self._send_update()
        self._request = None
        self._restart_idle_timer()
        if finished is not None:
            self.reply_finished.emit(request.id, *finished)
        elif failed is not None:
            self.reply_failed.emit(request.id, failed)

    def _on_pieces_waiting(self) -> None:
        if self._request is None or self._update_timer.isActive():
            return
        elapsed_ms = self._since_update.elapsed() if self._since_update.isValid() else UPDATE_INTERVAL_MS
        self._update_timer.start(max(0, UPDATE_INTERVAL_MS - elapsed_ms))

    def _send_update(self) -> None:
        self._update_timer.stop()
        text, thinking = self._pieces.take()
        if self._request is not None and (text or thinking):
            self._since_update.start()
            self.text_grew.emit(self._request.id, text, thinking)

    def _on_stop_overdue(self) -> None:
        if self._request is not None:
            self.stop_now_offered.emit(self._request.id)

    def _restart_idle_timer(self) -> None:
        self._idle_timer.stop()
        if self._idle_timer.interval() > 0 and self._request is None and isinstance(self._state, Ready):
            self._idle_timer.start()

    def _on_idle(self) -> None:
        logger.info("the model was not used for a while and leaves memory")
        self.eject()
        self.idle_ejected.emit()


def _single_shot(parent: QObject, slot: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.timeout.connect(slot)
    return timer
