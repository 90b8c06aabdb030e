"""The transcript as values: what is shown, in order, whether or not a widget exists for it.

Finding, selecting across messages and reading aloud belong here, because only a few messages have widgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Signal

MessageRole = Literal["user", "assistant"]
MessageState = Literal["complete", "growing", "interrupted", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class MessageItem:
    """One message as it is shown."""

    id: str
    role: MessageRole
    text: str
    thinking: str = ""
    thinking_seconds: float | None = None
    """How long it thought; None while it still does."""
    state: MessageState = "complete"
    status: str = ""
    """While the reply grows: what happens now, for example "Reading your message: 40 %"."""
    footer: str = ""
    """Beneath a reply, for example "15 words a second · 26 s · Qwen3.5 9B"."""
    error_title: str = ""
    error_advice: str = ""
    error_details: str = ""


class TranscriptModel(QObject):
    """The messages of one conversation.

    Signals: reset; appended(index); changed(index).
    """

    was_reset = Signal()
    appended = Signal(int)
    changed = Signal(int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._items: list[MessageItem] = []
        self._index: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> MessageItem:
        return self._items[index]

    def __iter__(self) -> Iterator[MessageItem]:
        return iter(self._items)

    def set_items(self, items: Iterable[MessageItem]) -> None:
        """Shows another conversation."""
        self._items = list(items)
        self._index = {item.id: index for index, item in enumerate(self._items)}
        self.was_reset.emit()

    def append(self, item: MessageItem) -> None:
        """One more message at the end."""
        self._items.append(item)
        self._index[item.id] = len(self._items) - 1
        self.appended.emit(len(self._items) - 1)

    def update(self, item: MessageItem) -> None:
        """Another state of the message with the same id. An unknown id is a mistake of the caller: KeyError."""
        index = self._index[item.id]
        if self._items[index] != item:
            self._items[index] = item
            self.changed.emit(index)

    def index_of(self, message_id: str) -> int | None:
        """Where a message stands, or None."""
        return self._index.get(message_id)

    def last(self) -> MessageItem | None:
        """The newest message."""
        return self._items[-1] if self._items else None
