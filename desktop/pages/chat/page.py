"""The chat page: one conversation on screen, whatever reply is being made elsewhere meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from desktop.core.conversations.values import Conversation, StoredMessage
from desktop.pages.base import Page, Services
from desktop.pages.chat.conversation_view import ConversationView
from desktop.pages.chat.editing_row import EditingRow
from desktop.pages.chat.header import ChatHeader
from desktop.pages.chat.items import used_share
from desktop.pages.chat.message_actions import MessageActions
from desktop.pages.chat.model_controls import IDLE_NOTICE, ModelControls
from desktop.services.chat_service import LiveReply
from desktop.services.notices import NoticeAction
from desktop.widgets.cards import Column
from desktop.widgets.composer import Composer
from desktop.widgets.loading_card import LoadingCard
from desktop.widgets.popup_menu import MenuEntry

DRAFT_DELAY_MS = 800
_BUSY_NOTICE = "busy"


class ChatPage(Page):
    """A conversation and the place to write.

    Signals: conversation_shown(id, empty for a new chat); keys_requested; rename_requested(id).
    """

    NAME: ClassVar[str] = "chat"
    TITLE: ClassVar[str] = "Chat"
    ICON: ClassVar[str] = "chat"

    conversation_shown = Signal(str)
    keys_requested = Signal()
    rename_requested = Signal(str)

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(services, parent)
        self._conversation: Conversation | None = None
        self._wanted_id = ""
        self._new_chat_draft = ""
        self._editing: StoredMessage | None = None
        self.header = ChatHeader()
        self.view = ConversationView()
        self.loading_card = LoadingCard()
        self.editing_row = EditingRow()
        self.composer = Composer()
        self._build()
        self.model_controls = ModelControls(services, self.header.switcher, self.loading_card, self)
        self.message_actions = MessageActions(services, self.view, self._when_possible, self)
        self._draft_timer = QTimer(self)
        self._draft_timer.setSingleShot(True)
        self._draft_timer.setInterval(DRAFT_DELAY_MS)
        self._draft_timer.timeout.connect(self.save_draft)
        self._connect()
        self._show_empty_chat()

    # What the window asks

    @property
    def conversation_id(self) -> str:
        """The conversation on screen; empty for a new chat."""
        return self._conversation.id if self._conversation is not None else ""

    def new_chat(self) -> None:
        """An empty chat; it becomes a conversation with its first message."""
        self.save_draft()
        self._show_empty_chat()
        self.focus_composer()

    def open_conversation(self, conversation_id: str) -> None:
        """Shows a conversation, at its end."""
        self.save_draft()
        self._load(conversation_id)

    def focus_composer(self) -> None:
        """Puts the keyboard where one writes."""
        self.composer.text_field().setFocus()

    def save_draft(self) -> None:
        """Keeps what is typed and not sent."""
        self._draft_timer.stop()
        if self._editing is not None:
            return
        text = self.composer.text()
        if self._conversation is None:
            self._new_chat_draft = text
        elif text != self._conversation.draft:
            self._save_draft(self._conversation.id, text)

    def delete_conversation(self, conversation_id: str) -> None:
        """Puts a conversation into the bin; the one on screen makes room for a new chat."""
        live = self.services.chat.live
        if live is not None and live.message.conversation_id == conversation_id:
            self.services.chat.stop()
        self.services.conversations.delete(conversation_id)
        if conversation_id == self.conversation_id:
            self._show_empty_chat()

    def edit_last(self) -> None:
        """The user's last message comes back into the composer."""
        message = self.view.last_of("user")
        if message is not None:
            self._start_editing(message)

    def copy_last_reply(self) -> None:
        """The newest reply, as Markdown."""
        message = self.view.last_of("assistant")
        if message is not None:
            self.message_actions.copy(message.id)

    def shown(self) -> None:
        self.focus_composer()

    def take_notices(self, notices: QWidget) -> None:
        self._notice_slot.addWidget(Column(notices))

    def set_narrow(self, narrow: bool) -> None:
        self.header.set_narrow(narrow)

    def areas(self) -> list[QWidget]:
        return [self.header.switcher, self.view.transcript, self.composer.text_field()]

    def handle_escape(self) -> bool:
        if self._editing is not None:
            self._stop_editing()
            return True
        if self._live_here() is not None:
            self.services.chat.stop()
            return True
        return False

    # Building

    def _build(self) -> None:
        self._notice_slot = QVBoxLayout()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.header)
        column.addLayout(self._notice_slot)
        column.addWidget(self.view, 1)
        # One column for all three: the space between them is there only where both are.
        writing = QWidget()
        writing.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        stack = QVBoxLayout(writing)
        stack.setContentsMargins(0, 0, 0, 0)
        stack.setSpacing(10)
        for widget in (self.loading_card, self.editing_row, self.composer):
            stack.addWidget(widget)
        column.addWidget(Column(writing, above_px=2, below_px=14))
        self.header.set_entries(
            (
                MenuEntry("copy", self.tr("Copy conversation"), "copy"),
                MenuEntry("rename", self.tr("Rename")),
                MenuEntry("delete", self.tr("Delete conversation")),
                MenuEntry("keys", self.tr("Keyboard"), "keyboard"),
            )
        )

    def _connect(self) -> None:
        chat = self.services.chat
        self.header.menu_requested.connect(self.menu_requested)
        self.header.entry_chosen.connect(self._on_header_entry)
        self.view.example_chosen.connect(self._on_example)
        self.editing_row.cancelled.connect(self._stop_editing)
        self.composer.submitted.connect(self._on_submitted)
        self.composer.stop_requested.connect(chat.stop)
        self.composer.stop_now_requested.connect(chat.stop_now)
        self.composer.text_changed.connect(lambda _: self._draft_timer.start())
        self.message_actions.edit_wanted.connect(self._start_editing)
        self.message_actions.branch_chosen.connect(self._load)
        chat.conversation_made.connect(self._on_conversation_made)
        chat.message_added.connect(self._on_message_added)
        chat.reply_changed.connect(self._on_reply_changed)
        chat.reply_ended.connect(self._on_reply_ended)
        chat.not_sent.connect(self._on_not_sent)
        chat.busy_changed.connect(self._on_busy_changed)
        self.services.conversations.list_changed.connect(self._on_list_changed)

    # Showing a conversation

    def _load(self, conversation_id: str) -> None:
        self._wanted_id = conversation_id
        self.services.conversations.open(conversation_id, self._on_opened)

    def _show_empty_chat(self) -> None:
        self._wanted_id = ""
        self._conversation = None
        self._stop_editing(restore=False)
        self._put_text(self._new_chat_draft)
        self._show_messages(())
        self.header.set_title(self.tr("New chat"))
        self.conversation_shown.emit("")

    def _on_opened(self, conversation: Conversation, messages: tuple[StoredMessage, ...]) -> None:
        if conversation.id != self._wanted_id:
            return  # the user has gone on to another one
        is_other = conversation.id != self.conversation_id
        self._conversation = conversation
        if is_other:
            self._stop_editing(restore=False)
            self._put_text(conversation.draft)
        self._show_messages(messages)
        self.header.set_title(conversation.title or self.tr("New chat"))
        if is_other:
            self.conversation_shown.emit(conversation.id)

    def _show_messages(self, messages: tuple[StoredMessage, ...]) -> None:
        self.view.show_messages(messages, self._live_here())
        self.composer.set_space(used_share(self.view.messages))
        self._show_mode()

    def _show_mode(self) -> None:
        live = self._live_here()
        if live is None:
            self.composer.set_mode("ready")
        else:
            self.composer.set_mode("stoppable_now" if live.can_stop_now else "replying")

    def _put_text(self, text: str) -> None:
        if text != self.composer.text():
            self.composer.set_text(text)
        self._draft_timer.stop()

    def _live_here(self) -> LiveReply | None:
        live = self.services.chat.live
        return live if live is not None and live.message.conversation_id == self.conversation_id else None

    # Writing

    def _on_submitted(self, text: str) -> None:
        del text  # what stands there when it can be sent is what counts
        self._when_possible(self._send)

    def _send(self) -> None:
        text = self.composer.text()
        if not text.strip():
            return
        editing = self._editing
        if editing is not None:
            self._stop_editing(restore=False)
            begun = self.services.chat.edit(editing, text)
        else:
            begun = self.services.chat.send(self.conversation_id or None, text)
        if begun:
            self._put_text("")
            if self._conversation is None:
                self._new_chat_draft = ""
            elif self._conversation.draft:
                self._save_draft(self._conversation.id, "")
            self.message_actions.take_back_notices()
            self.services.notices.remove(IDLE_NOTICE)

    def _when_possible(self, call: Callable[[], None]) -> None:
        """Calls now, or when the disk has been looked at for models; says why where no turn can begin."""
        if not self.services.models.was_read:
            self.services.models.when_read(lambda: self._when_possible(call))
        elif self.services.chat.is_busy:
            self._say_busy()
        elif self.services.models.current is not None:  # else a notice says that there is none
            call()

    def _save_draft(self, conversation_id: str, text: str) -> None:
        self.services.conversations.save_draft(conversation_id, text)
        if self._conversation is not None and self._conversation.id == conversation_id:
            self._conversation = _with_draft(self._conversation, text)

    def _on_not_sent(self, text: str) -> None:
        if not self.composer.text():
            self.composer.set_text(text)

    def _on_example(self, text: str) -> None:
        self.composer.set_text(text)
        self.focus_composer()

    def _say_busy(self) -> None:
        live = self.services.chat.live
        if live is None or self._live_here() is not None:
            return  # in sight, or about to be
        conversation_id = live.message.conversation_id
        self.services.notices.show_info(
            self.tr("A reply is still being written in another conversation."),
            self.tr("Your message stays here. Send it when the reply is done, or stop the reply."),
            key=_BUSY_NOTICE,
            actions=(
                NoticeAction(self.tr("Show it"), lambda: self.open_conversation(conversation_id)),
                NoticeAction(self.tr("Stop it"), self.services.chat.stop),
            ),
        )

    def _start_editing(self, message: StoredMessage) -> None:
        if self._editing is None:
            self.save_draft()
        self._editing = message
        self.editing_row.show()
        self._put_text(message.text)
        self.focus_composer()

    def _stop_editing(self, *, restore: bool = True) -> None:
        self._editing = None
        self.editing_row.hide()
        if restore:
            self._put_text(self._conversation.draft if self._conversation is not None else self._new_chat_draft)

    # What the header asks

    def _on_header_entry(self, entry_id: str) -> None:
        if entry_id == "keys":
            self.keys_requested.emit()
        elif entry_id == "copy":
            self.message_actions.copy_all()
        elif self._conversation is not None and entry_id == "rename":
            self.rename_requested.emit(self._conversation.id)
        elif self._conversation is not None and entry_id == "delete":
            self.delete_conversation(self._conversation.id)

    # What the services tell

    def _on_conversation_made(self, conversation: Conversation) -> None:
        # The first message of a new chat was sent from here; it may be that the user has gone elsewhere meanwhile.
        if self._conversation is None and not self._wanted_id:
            self._wanted_id = conversation.id
            self._conversation = conversation
            self.conversation_shown.emit(conversation.id)

    def _on_message_added(self, message: StoredMessage) -> None:
        if message.conversation_id != self.conversation_id:
            return
        if not self.view.add(message, self._live_here()):
            self._load(message.conversation_id)
        self._show_mode()

    def _on_reply_changed(self, live: LiveReply) -> None:
        if live.message.conversation_id == self.conversation_id:
            self.view.show_live(live)
            self._show_mode()

    def _on_reply_ended(self, message: StoredMessage) -> None:
        if message.conversation_id == self.conversation_id:
            self.view.end_live(message)
            self.composer.set_space(used_share(self.view.messages))
            self._show_mode()

    def _on_busy_changed(self, is_busy: bool) -> None:
        if not is_busy:
            self.services.notices.remove(_BUSY_NOTICE)
        self._show_mode()

    def _on_list_changed(self, conversations: tuple[Conversation, ...]) -> None:
        for conversation in conversations:
            if conversation.id == self.conversation_id:
                self._conversation = _with_draft(conversation, self._conversation.draft if self._conversation else "")
                self.header.set_title(conversation.title or self.tr("New chat"))


def _with_draft(conversation: Conversation, draft: str) -> Conversation:
    """The conversation with what was typed meanwhile."""
    return replace(conversation, draft=draft)
