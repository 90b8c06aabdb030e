"""What is asked at a message: copy, continue, write again, other versions, figures.

Whether a turn can begin is the page's to say.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication

from desktop.core.conversations.values import StoredMessage
from desktop.pages.base import Services
from desktop.pages.chat.conversation_view import ConversationView
from desktop.pages.chat.items import usage_details
from desktop.services.notices import NoticeAction
from engines.errors import EngineError

ANYWAY_NOTICE, DETAILS_NOTICE, VERSION_NOTICE = "anyway", "details", "version"


class MessageActions(QObject):
    """Does what the transcript asks for.

    Signals: edit_wanted(StoredMessage); branch_chosen(conversation id) when another version is to be shown.
    """

    edit_wanted = Signal(object)
    branch_chosen = Signal(str)

    def __init__(
        self,
        services: Services,
        view: ConversationView,
        when_possible: Callable[[Callable[[], None]], None],
        parent: QObject | None = None,
    ) -> None:
        """`when_possible` calls when a turn can begin, and otherwise says why it cannot."""
        super().__init__(parent)
        self._services = services
        self._view = view
        self._when_possible = when_possible
        transcript = view.transcript
        transcript.copy_requested.connect(self.copy)
        transcript.continue_requested.connect(self._on_continue)
        transcript.regenerate_requested.connect(self._on_write_again)
        transcript.edit_requested.connect(self._on_edit)
        transcript.entry_requested.connect(self._on_entry)
        transcript.link_activated.connect(lambda address: QDesktopServices.openUrl(QUrl(address)))
        services.chat.reply_failed.connect(self._on_reply_failed)

    def copy(self, message_id: str) -> None:
        """A message, as Markdown."""
        message = self._view.message(message_id)
        if message is not None and message.text:
            QGuiApplication.clipboard().setText(message.text)

    def copy_all(self) -> None:
        """The whole conversation, as Markdown."""
        QGuiApplication.clipboard().setText(as_markdown(self._view.messages))

    def take_back_notices(self) -> None:
        """What was said about a message is pointless when a new turn begins."""
        for key in (ANYWAY_NOTICE, DETAILS_NOTICE, VERSION_NOTICE):
            self._services.notices.remove(key)

    def _on_edit(self, message_id: str) -> None:
        message = self._view.message(message_id)
        if message is not None and message.role == "user":
            self.edit_wanted.emit(message)

    def _on_continue(self, message_id: str) -> None:
        def go_on() -> None:
            message = self._view.message(message_id)
            if message is not None and self._services.chat.go_on(message):
                self.take_back_notices()

        self._when_possible(go_on)

    def _on_write_again(self, message_id: str, *, anyway: bool = False) -> None:
        def write_again() -> None:
            message = self._view.message(message_id)
            if message is not None and self._services.chat.write_again(message, anyway=anyway):
                self.take_back_notices()

        self._when_possible(write_again)

    def _on_entry(self, message_id: str, entry_id: str) -> None:
        message = self._view.message(message_id)
        if message is None:
            return
        if entry_id == "details":
            self._services.notices.show_info(usage_details(message), key=DETAILS_NOTICE)
        else:
            self._turn_version(message, 1 if entry_id == "later" else -1)

    def _turn_version(self, message: StoredMessage, step: int) -> None:
        """Another reply to the same message; where there is none, another version of that message."""
        for candidate in (message, self._view.message(message.parent_id or "")):
            if candidate is None or candidate.id not in candidate.sibling_ids:
                continue
            index = candidate.sibling_ids.index(candidate.id) + step
            if 0 <= index < len(candidate.sibling_ids):
                chosen = self._services.conversations.store.choose_branch(candidate.sibling_ids[index])
                self._services.conversations.deliver(
                    chosen, lambda conversation: self.branch_chosen.emit(conversation.id)
                )
                return
        words = self.tr("There is no later version.") if step > 0 else self.tr("There is no earlier version.")
        self._services.notices.show_info(words, key=VERSION_NOTICE)

    def _on_reply_failed(self, message: StoredMessage, error: EngineError, may_load_anyway: bool) -> None:
        del error  # stands at the reply itself
        if not may_load_anyway:
            return
        again = NoticeAction(self.tr("Load anyway"), lambda: self._on_write_again(message.id, anyway=True))
        self._services.notices.show_warning(
            self.tr("You can load the model anyway."),
            self.tr("The computer may become very slow, or the model may stop."),
            key=ANYWAY_NOTICE,
            actions=(again,),
        )


def as_markdown(messages: tuple[StoredMessage, ...]) -> str:
    """A whole conversation as text: what the user wrote is quoted."""
    return "\n\n".join(
        "\n".join(f"> {line}" for line in message.text.splitlines()) if message.role == "user" else message.text
        for message in messages
    )
