"""One turn of a conversation from "send" to its end: stores the message, asks the model, keeps the reply as it grows.

Knows the store and the engine, and no widgets. There is one reply at a time, whichever conversation is on screen; it
goes on into its own conversation when the user looks at another one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from PySide6.QtCore import QObject, Signal

from desktop.core.conversations.values import Conversation, EndState, Place, StoredMessage
from desktop.services.conversation_service import ConversationService
from desktop.services.engine_service import EngineService
from desktop.services.engine_session import EngineChoices
from desktop.services.model_service import ModelService
from desktop.services.profile import Profile
from desktop.services.turn_values import chat_messages, error_text
from engines.base import GenerationOptions, PieceKind, Usage
from engines.client_values import ClientState, Crashed, Generating, LoadingModel, Ready, Starting, Stopping
from engines.errors import EngineBusyError, EngineCrashedError, EngineError, ModelInUseError, NotEnoughMemoryError
from engines.library import InstalledModel

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

Phase = Literal["starting", "loading", "reading", "writing", "stopping"]


@dataclass(frozen=True, slots=True)
class LiveReply:
    """The reply that is being made, as far as it is."""

    message: StoredMessage
    """With the text so far."""
    phase: Phase = "starting"
    share: float | None = None
    """How much of the phase is done, from 0 to 1, where that is known."""
    thinking_seconds: float | None = None
    """How long it thought; None while it does or does not."""
    can_stop_now: bool = False
    """It does not heed "Stop": it may be ended by force."""


@dataclass(slots=True)
class _Turn:
    """What is needed to bring one turn to its end."""

    model: InstalledModel
    options: GenerationOptions
    anyway: bool = False
    live: LiveReply | None = None
    request_id: int | None = None
    is_stopped: bool = False
    thinking_since: float | None = None


class ChatService(QObject):
    """Turns.

    Signals: conversation_made(Conversation); message_added(StoredMessage) for the user's and the empty reply;
    reply_changed(LiveReply); reply_ended(StoredMessage), followed by reply_failed(StoredMessage, EngineError,
    may be loaded anyway) where an error ended it; not_sent(text) when a message could not be stored;
    busy_changed(bool).
    """

    conversation_made = Signal(object)
    message_added = Signal(object)
    reply_changed = Signal(object)
    reply_ended = Signal(object)
    reply_failed = Signal(object, object, bool)
    not_sent = Signal(str)
    busy_changed = Signal(bool)

    def __init__(
        self,
        engine: EngineService,
        conversations: ConversationService,
        models: ModelService,
        profile: Profile,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._engine = engine
        self._conversations = conversations
        self._store = conversations.store
        self._models = models
        self._profile = profile
        self._turn: _Turn | None = None
        engine.state_changed.connect(self._on_engine_state)
        engine.text_grew.connect(self._on_text)
        engine.reading.connect(self._on_reading)
        engine.reply_finished.connect(self._on_finished)
        engine.reply_failed.connect(self._on_failed)
        engine.stop_now_offered.connect(self._on_stop_now_offered)

    # What is

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way, in whatever conversation."""
        return self._turn is not None

    @property
    def live(self) -> LiveReply | None:
        """The reply that is being made."""
        return self._turn.live if self._turn is not None else None

    # What can be asked. Each answers whether the turn begins: not while another one is under way or without a model.

    def send(self, conversation_id: str | None, text: str) -> bool:
        """A message of the user at the end of a conversation, or as the first of a new one."""
        turn = self._begin()
        if turn is None:
            return False
        if conversation_id is not None:
            self._add_user(turn, conversation_id, text, Place.AT_END)
            return True

        def on_made(conversation: Conversation) -> None:
            self.conversation_made.emit(conversation)
            self._add_user(turn, conversation.id, text, Place.AT_END)

        self._deliver(turn, self._store.create_conversation(), on_made, text)
        return True

    def edit(self, message: StoredMessage, text: str) -> bool:
        """Another version of one of the user's messages; the old one stays as a branch."""
        turn = self._begin()
        if turn is None:
            return False
        self._add_user(turn, message.conversation_id, text, message.parent_id or Place.AT_START)
        return True

    def write_again(self, message: StoredMessage, *, anyway: bool = False) -> bool:
        """Another version of a reply; a reply that never got a word is written in its own place."""
        turn = self._begin(anyway=anyway)
        if turn is None:
            return False
        if message.state != "complete" and not message.text and not message.thinking:
            self._deliver(turn, self._store.reopen_reply(message.id), lambda reply: self._on_reply_begun(turn, reply))
        else:
            self._begin_reply(turn, message.conversation_id, message.parent_id or Place.AT_START)
        return True

    def go_on(self, message: StoredMessage) -> bool:
        """Goes on with a reply that was cut off."""
        if not message.text:
            return self.write_again(message)
        turn = self._begin()
        if turn is None:
            return False
        turn.options = replace(turn.options, continue_last=True)
        self._deliver(turn, self._store.reopen_reply(message.id), lambda reply: self._on_reply_begun(turn, reply))
        return True

    def stop(self) -> None:
        """Ends the reply; what is there is kept."""
        turn = self._turn
        if turn is None:
            return
        turn.is_stopped = True
        self._engine.stop()
        self._change(turn, phase="stopping", share=None)

    def stop_now(self) -> None:
        """Ends the reply by force."""
        self._engine.stop_now()

    # Steps of a turn

    def _begin(self, *, anyway: bool = False) -> _Turn | None:
        model = self._models.current
        if self._turn is not None or model is None:
            return None
        options = self._profile.settings.generation_options()
        if model.model is not None:
            options = model.model.sampling.applied_to(options)
        self._turn = _Turn(model, options, anyway)
        self.busy_changed.emit(True)
        return self._turn

    def _deliver(
        self, turn: _Turn, future: Future[_Result], on_done: Callable[[_Result], None], text: str = ""
    ) -> None:
        def on_error(error: Exception) -> None:
            self._end_turn(turn)
            if text:
                self.not_sent.emit(text)
            self._conversations.show_error(error)

        self._conversations.deliver(future, on_done, on_error)

    def _add_user(self, turn: _Turn, conversation_id: str, text: str, parent: str | Place) -> None:
        def on_added(message: StoredMessage) -> None:
            self.message_added.emit(message)
            self._conversations.refresh()
            self._begin_reply(turn, conversation_id, message.id)

        self._deliver(turn, self._store.add_message(conversation_id, "user", text, parent=parent), on_added, text)

    def _begin_reply(self, turn: _Turn, conversation_id: str, parent: str | Place) -> None:
        future = self._store.begin_reply(
            conversation_id,
            parent=parent,
            model_name=turn.model.name,
            model_path=str(turn.model.path),
            engine=turn.model.engine,
            options=turn.options,
        )
        self._deliver(turn, future, lambda reply: self._on_reply_begun(turn, reply))

    def _on_reply_begun(self, turn: _Turn, reply: StoredMessage) -> None:
        turn.live = LiveReply(reply)
        self.message_added.emit(reply)
        branch = self._store.load_messages(reply.conversation_id)
        self._conversations.deliver(
            branch, lambda messages: self._ask(turn, reply, messages), lambda error: self._on_unreadable(turn, error)
        )

    def _on_unreadable(self, turn: _Turn, error: Exception) -> None:
        self._end_reply(turn, "failed")
        self._conversations.show_error(error)

    def _ask(self, turn: _Turn, reply: StoredMessage, branch: tuple[StoredMessage, ...]) -> None:
        if turn.is_stopped:
            self._end_reply(turn, "stopped", "cancelled")
            return
        settings = self._profile.settings
        messages = chat_messages(branch, reply, settings.system_prompt, is_continued=turn.options.continue_last)
        trained = turn.model.model.trained_context_tokens if turn.model.model is not None else None
        choices = EngineChoices(settings.load_settings(trained), anyway=turn.anyway)

        def on_piece(text: str, kind: PieceKind) -> None:
            # On a thread of the engine client: on its way to the disk before the screen hears of it.
            self._store.append_reply(reply.id, *((text, "") if kind == "text" else ("", text)))

        try:
            turn.request_id = self._engine.ask(turn.model, messages, turn.options, on_piece, choices)
        except EngineBusyError as error:
            self._end_reply(turn, "failed", error=error)
            return
        self._profile.remember_model(turn.model.path)
        self._show_state(turn, self._engine.state)

    def _end_reply(
        self,
        turn: _Turn,
        state: EndState,
        reason: str = "",
        usage: Usage | None = None,
        error: EngineError | None = None,
    ) -> None:
        """Tells the screen at once and the disk in its turn."""
        assert turn.live is not None
        told = error_text(error) if error is not None else ""
        # Refused before anything was started, because of an estimate: the user may know better.
        may_load_anyway = isinstance(error, ModelInUseError | NotEnoughMemoryError) and turn.live.phase == "starting"
        message = replace(turn.live.message, state=state, reason=reason, usage=usage, error=told)
        self._end_turn(turn)
        self._conversations.deliver(
            self._store.finish_reply(message.id, state, reason, usage, error=told), self._on_stored
        )
        self.reply_ended.emit(message)
        if error is not None:
            self.reply_failed.emit(message, error, may_load_anyway)

    def _on_stored(self, message: StoredMessage) -> None:
        del message
        self._conversations.refresh()

    def _end_turn(self, turn: _Turn) -> None:
        if turn is self._turn:
            self._turn = None
            self.busy_changed.emit(False)

    # What the engine tells

    def _turn_of(self, request_id: int) -> _Turn | None:
        turn = self._turn
        return turn if turn is not None and turn.request_id == request_id else None

    def _change(self, turn: _Turn, **changes: object) -> None:
        if turn.live is None:
            return
        live = replace(turn.live, **changes)  # type: ignore[arg-type]  # names and types are those of LiveReply
        if live != turn.live:
            turn.live = live
            self.reply_changed.emit(live)

    def _on_engine_state(self, state: ClientState) -> None:
        turn = self._turn
        if turn is not None and turn.request_id is not None and not turn.is_stopped:
            self._show_state(turn, state)

    def _show_state(self, turn: _Turn, state: ClientState) -> None:
        match state:
            case Starting() | Crashed(restarting=True):
                self._change(turn, phase="starting", share=None)
            case LoadingModel(share):
                self._change(turn, phase="loading", share=share)
            case Ready() | Generating():
                if turn.live is not None and turn.live.phase in {"starting", "loading"}:
                    self._change(turn, phase="reading", share=None)
            case Stopping():
                self._change(turn, phase="stopping", share=None)
            case _:
                pass  # the ends arrive as ends of the request

    def _on_reading(self, request_id: int, done: int, total: int) -> None:
        turn = self._turn_of(request_id)
        if turn is not None and not turn.is_stopped and total > 0:
            self._change(turn, phase="reading", share=done / total)

    def _on_text(self, request_id: int, text: str, thinking: str) -> None:
        turn = self._turn_of(request_id)
        if turn is None or turn.live is None:
            return
        now = time.monotonic()
        if thinking and turn.thinking_since is None:
            turn.thinking_since = now
        seconds = turn.live.thinking_seconds
        if text and turn.thinking_since is not None and seconds is None:
            seconds = now - turn.thinking_since
        before = turn.live.message
        message = replace(before, text=before.text + text, thinking=before.thinking + thinking)
        phase: Phase = "stopping" if turn.is_stopped else "writing"
        self._change(turn, message=message, phase=phase, share=None, thinking_seconds=seconds)

    def _on_finished(self, request_id: int, reason: str, usage: Usage) -> None:
        turn = self._turn_of(request_id)
        if turn is not None:
            state: EndState = "stopped" if reason == "cancelled" else "complete"
            self._end_reply(turn, state, reason, usage if usage.context_tokens else None)

    def _on_failed(self, request_id: int, error: EngineError) -> None:
        turn = self._turn_of(request_id)
        if turn is not None and turn.live is not None:
            logger.info("a reply failed: %s", error.code)
            # A process that died cut the reply off, whatever it died of.
            was_cut_off = isinstance(error, EngineCrashedError) or bool(turn.live.message.text)
            state: EndState = "interrupted" if was_cut_off else "failed"
            self._end_reply(turn, state, error=error)

    def _on_stop_now_offered(self, request_id: int) -> None:
        turn = self._turn_of(request_id)
        if turn is not None:
            self._change(turn, can_stop_now=True)
