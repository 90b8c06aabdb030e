"""Keeps a chat of the terminal in the same conversations that the window shows, or keeps nothing at all.

A disk that is full or a file that is locked must not end a chat: it is said once, and the chat goes on unsaved.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from desktop.commands.chat_engine import ReplyEnd
from desktop.core.conversations.store import Store
from desktop.core.conversations.values import EndState
from desktop.core.errors import StorageError
from engines.base import GenerationOptions, PieceKind
from engines.library import InstalledModel

Result = TypeVar("Result")

_TIMEOUT_SECONDS = 30.0


class ChatRecord:
    """Where the turns of a chat go. Without a store every call does nothing."""

    def __init__(self, store: Store | None, on_problem: Callable[[StorageError], None]) -> None:
        self._store = store
        self._on_problem = on_problem
        self._conversation_id: str | None = None
        self._reply_id: str | None = None

    @property
    def is_saving(self) -> bool:
        """Whether what is said now will be found again."""
        return self._store is not None

    def begin_conversation(self) -> None:
        """What follows belongs together; the conversation appears with its first message."""
        self._conversation_id = None

    def begin_turn(self, text: str, model: InstalledModel, options: GenerationOptions) -> None:
        """A message of the user, and the reply that now grows."""
        store = self._store
        if store is None:
            return
        if self._conversation_id is None:
            conversation = self._result(store.create_conversation())
            if conversation is None:
                return
            self._conversation_id = conversation.id
        message = self._result(store.add_message(self._conversation_id, "user", text))
        if message is None:
            return
        reply = self._result(
            store.begin_reply(
                self._conversation_id,
                parent=message.id,
                model_name=model.name,
                model_path=str(model.path),
                engine=model.engine,
                options=options,
            )
        )
        self._reply_id = reply.id if reply is not None else None

    def add(self, text: str, kind: PieceKind) -> None:
        """A stretch of the reply; on disk within 250 ms."""
        if self._store is not None and self._reply_id is not None:
            self._store.append_reply(self._reply_id, text if kind == "text" else "", text if kind == "thinking" else "")

    def end_turn(self, end: ReplyEnd) -> None:
        """The reply has ended, one way or another."""
        reply_id, self._reply_id = self._reply_id, None
        if self._store is None or reply_id is None:
            return
        self._result(
            self._store.finish_reply(
                reply_id,
                _state_of(end),
                end.reason or "",
                end.usage,
                error=str(end.error) if end.error is not None else "",
            )
        )

    def close(self) -> None:
        """Writes what is left."""
        if self._store is not None:
            self._store.close()

    def _result(self, future: Future[Result]) -> Result | None:
        try:
            return future.result(_TIMEOUT_SECONDS)
        except StorageError as problem:
            self._give_up(problem)
        except FutureTimeoutError:
            self._give_up(StorageError("Your conversation could not be saved in time.", "The disk is very slow."))
        return None

    def _give_up(self, problem: StorageError) -> None:
        store, self._store = self._store, None
        self._on_problem(problem)
        if store is not None:
            store.close()


def _state_of(end: ReplyEnd) -> EndState:
    if end.error is not None:
        # The same words as in the window: an engine that died cut the reply off, any other error made it fail.
        return "interrupted" if end.error.code == "engine_crashed" else "failed"
    return "stopped" if end.reason == "cancelled" else "complete"
