"""The store of conversations on the GUI thread: asks it, hands on what it answers, says what went wrong.

The store itself (thread, database, promises) is `desktop.core.conversations`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from PySide6.QtCore import QObject, Signal

from desktop.core.conversations.store import Store
from desktop.core.conversations.values import Conversation, OpenReport, StoredMessage
from desktop.core.errors import NotFoundError, StorageError
from desktop.services.background import GuiLane, OnError
from desktop.services.notices import NoticeAction, Notices

Result = TypeVar("Result")

_STORE_NOTICE = "store"


class ConversationService(QObject):
    """The conversations of this profile.

    Signals: list_changed(tuple of Conversation), the last used first, those that match the search.
    """

    list_changed = Signal(object)

    def __init__(self, store: Store, notices: Notices, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self._notices = notices
        self._lane = GuiLane(self)
        self._search = ""
        self.deliver(store.opened, self._on_opened)

    def deliver(
        self, future: Future[Result], on_done: Callable[[Result], None] | None = None, on_error: OnError | None = None
    ) -> None:
        """Hands a result of the store to the GUI thread; without `on_error`, an error becomes a notice."""
        self._lane.deliver(future, on_done, on_error or self.show_error)

    def show_error(self, error: Exception) -> None:
        """An error of the store as a notice; any other is a fault of ours and goes to the crash hooks."""
        if not isinstance(error, StorageError):
            raise error
        self._notices.show_problem(error, key=_STORE_NOTICE)

    def refresh(self) -> None:
        """Reads the list anew."""
        search = self._search

        def on_done(conversations: tuple[Conversation, ...]) -> None:
            if search == self._search:
                self.list_changed.emit(conversations)

        self.deliver(self.store.list_conversations(search), on_done)

    def set_search(self, search: str) -> None:
        """Only those with all these words in their titles; empty is all."""
        self._search = search
        self.refresh()

    def open(self, conversation_id: str, on_done: Callable[[Conversation, tuple[StoredMessage, ...]], None]) -> None:
        """Reads one conversation with the branch that is shown."""

        def on_conversation(conversation: Conversation) -> None:
            self.deliver(
                self.store.load_messages(conversation_id), lambda messages: on_done(conversation, messages), on_error
            )

        def on_error(error: Exception) -> None:
            if not isinstance(error, NotFoundError):
                self.show_error(error)

        self.deliver(self.store.get_conversation(conversation_id), on_conversation, on_error)

    def find_interrupted(self, on_found: Callable[[str], None]) -> None:
        """Names the conversation used last if a reply was cut off when Snug ended the last time."""

        def on_opened(report: OpenReport) -> None:
            if report.interrupted_count > 0:
                self.deliver(self.store.list_conversations(), on_listed)

        def on_listed(conversations: tuple[Conversation, ...]) -> None:
            if conversations:
                on_found(conversations[0].id)

        self.deliver(self.store.opened, on_opened, _ignore)

    def rename(self, conversation_id: str, title: str) -> None:
        """Gives a conversation the user's name."""
        self.deliver(self.store.rename(conversation_id, title), self._on_changed)

    def delete(self, conversation_id: str) -> None:
        """Puts a conversation into the bin, with a way back."""

        def on_done(conversation: Conversation) -> None:
            self.refresh()
            self._notices.show_info(
                self.tr("“{title}” was deleted.").format(title=conversation.title or self.tr("New chat")),
                key="deleted",
                actions=(NoticeAction(self.tr("Undo"), lambda: self.restore(conversation_id)),),
            )

        self.deliver(self.store.delete(conversation_id), on_done)

    def restore(self, conversation_id: str) -> None:
        """Takes a conversation out of the bin."""
        self.deliver(self.store.restore(conversation_id), self._on_changed)

    def save_draft(self, conversation_id: str, draft: str) -> None:
        """Keeps what was typed and not sent."""
        self.deliver(self.store.save_draft(conversation_id, draft))

    def close(self) -> None:
        """Writes what is left and ends the store's thread."""
        self._lane.close()
        self.store.close()

    def _on_changed(self, conversation: Conversation) -> None:
        del conversation
        self.refresh()

    def _on_opened(self, report: OpenReport) -> None:
        if report.damaged_path is not None:
            self._notices.show_error(
                self.tr("The file with your conversations was damaged."),
                self.tr("It was put aside and kept; a new, empty one is in use."),
                str(report.damaged_path),
                key="store-damaged",
            )


def _ignore(_: Exception) -> None:
    """Whoever opens the store tells of its errors."""


def tell_of_problems(notices: Notices) -> tuple[Callable[[StorageError], None], Callable[[], None]]:
    """What a Store is given as `on_problem` and `on_recovered`; both are called on its thread."""

    def on_problem(problem: StorageError) -> None:
        notices.show_problem(problem, key=_STORE_NOTICE)

    def on_recovered() -> None:
        notices.remove(_STORE_NOTICE)

    return on_problem, on_recovered
