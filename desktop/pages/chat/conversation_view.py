"""The middle of the chat page: the messages of one conversation with the reply that grows in it, or the empty chat."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from desktop.core.conversations.values import StoredMessage
from desktop.pages.chat.items import live_item, stored_item
from desktop.services.chat_service import LiveReply, Phase
from desktop.widgets.cards import Column
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.overlay_scroll_bar import OverlayScrollBar
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.transcript import Transcript

SLOW_AFTER_MS = 500
"""A phase of a reply is named only when it lasts."""


class ConversationView(QStackedWidget):
    """Shows stored messages and the live reply.

    Signals: example_chosen(text) of the empty chat. Those of single messages are the transcript's.
    """

    example_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.transcript = Transcript()
        OverlayScrollBar(self.transcript)
        self.empty_state = EmptyState()
        self.empty_state.example_chosen.connect(self.example_chosen)
        self._messages: list[StoredMessage] = []
        self._live: LiveReply | None = None
        self._thinking_seconds: dict[str, float] = {}
        self._phase: Phase | None = None
        self._phase_lasts = False
        self._slow_timer = QTimer(self)
        self._slow_timer.setSingleShot(True)
        self._slow_timer.setInterval(SLOW_AFTER_MS)
        self._slow_timer.timeout.connect(self._on_slow)
        self._empty_page = QWidget()
        column = QVBoxLayout(self._empty_page)
        column.setContentsMargins(0, 0, 0, 0)
        column.addStretch(1)
        column.addWidget(Column(self.empty_state))
        column.addStretch(2)
        self.addWidget(self._empty_page)
        self.addWidget(self.transcript)
        self.transcript.set_reply_entries(
            (
                MenuEntry("details", self.tr("Figures of this reply")),
                MenuEntry("earlier", self.tr("Earlier version")),
                MenuEntry("later", self.tr("Later version")),
            )
        )

    @property
    def messages(self) -> tuple[StoredMessage, ...]:
        """What is shown, in order. The text of the live reply is in the live reply."""
        return tuple(self._messages)

    def message(self, message_id: str) -> StoredMessage | None:
        """One of the messages that are shown."""
        return next((message for message in self._messages if message.id == message_id), None)

    def last_of(self, role: str) -> StoredMessage | None:
        """The newest message of the user or of the model."""
        return next((message for message in reversed(self._messages) if message.role == role), None)

    def show_messages(self, messages: Iterable[StoredMessage], live: LiveReply | None) -> None:
        """Another conversation, or another branch of it; `live` is a reply that is being made in it."""
        self._messages = list(messages)
        self._live = live
        items = []
        for message in self._messages:
            if live is not None and message.id == live.message.id:
                items.append(live_item(live, is_slow=self._is_slow(live)))
            else:
                items.append(stored_item(message, self._thinking_seconds.get(message.id)))
        self.transcript.set_messages(items)
        self._turn_to_what_there_is()

    def add(self, message: StoredMessage, live: LiveReply | None) -> bool:
        """A new message, or one that grows again. False: it belongs to a branch that is not shown, so load that."""
        self._live = live
        is_live = live is not None and message.id == live.message.id
        item = live_item(live, is_slow=False) if is_live and live is not None else stored_item(message)
        last = self._messages[-1] if self._messages else None
        if last is not None and last.id == message.id:
            self._messages[-1] = message
            self.transcript.update_message(item)
            return True
        if message.parent_id != (last.id if last is not None else None):
            return False
        self._messages.append(message)
        self.transcript.append(item)
        self._turn_to_what_there_is()
        return True

    def show_live(self, live: LiveReply) -> None:
        """The reply has grown, or something else happens to it."""
        self._live = live
        if live.thinking_seconds is not None:
            self._thinking_seconds[live.message.id] = live.thinking_seconds
        if self.transcript.model.index_of(live.message.id) is not None:
            self.transcript.update_message(live_item(live, is_slow=self._is_slow(live)))

    def end_live(self, message: StoredMessage) -> None:
        """The reply has ended."""
        self._live = None
        self._phase = None
        self._slow_timer.stop()
        for index, known in enumerate(self._messages):
            if known.id == message.id:
                self._messages[index] = message
                self.transcript.update_message(stored_item(message, self._thinking_seconds.get(message.id)))

    def _turn_to_what_there_is(self) -> None:
        self.setCurrentWidget(self.transcript if self._messages else self._empty_page)

    def _is_slow(self, live: LiveReply) -> bool:
        if live.phase != self._phase:
            self._phase = live.phase
            self._phase_lasts = False
            self._slow_timer.start()
        return self._phase_lasts

    def _on_slow(self) -> None:
        self._phase_lasts = True
        if self._live is not None:
            self.show_live(self._live)
