"""The side bar: mark, New chat, search, conversations, pages, and this computer's memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.cards import Hairline
from desktop.widgets.conversation_list import ConversationEntry, ConversationList
from desktop.widgets.icons import draw_icon, mark_pixmap
from desktop.widgets.memory_bar import MemoryBar, MemoryState
from desktop.widgets.text import Text
from desktop.widgets.theme import Theme, is_size_change, scaled, text_font, theme_of

WIDTH_PX = 256


@dataclass(frozen=True, slots=True)
class PageEntry:
    """A page that the side bar leads to; `hint` stands at its right, for example "1 downloading"."""

    id: str
    label: str
    icon_name: str
    hint: str = ""


class Brand(QWidget):
    """Mark and name, as inside the app: no tile, cradle in accent, block in honey."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Snug")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(120, scaled(32))

    def minimumSizeHint(self) -> QSize:
        return QSize(90, scaled(32))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        side = scaled(22)
        mark = mark_pixmap(theme.accent, theme.context, side, self.devicePixelRatioF())
        painter.drawPixmap(4, (self.height() - side) // 2, mark)
        painter.setFont(text_font(16, 600, display=True))
        painter.setPen(QColor(theme.ink))
        words = QRectF(4 + side + 10, 0, self.width(), self.height())
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, "Snug")


class WideButton(Button):
    """A button as wide as its column: words at the left, a hint such as a shortcut at the right."""

    def __init__(self, text: str, *, icon_name: str, height_px: int, is_row: bool = False) -> None:
        super().__init__(text, icon_name=icon_name, kind="quiet" if is_row else "normal", weight=400 if is_row else 500)
        self._height_px = height_px
        self._left_px = 8 if is_row else 15
        self._hint = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_hint(self, hint: str) -> None:
        """The small words at the right."""
        self._hint = hint
        self.setAccessibleDescription(hint)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), scaled(self._height_px))

    def minimumSizeHint(self) -> QSize:
        return QSize(80, scaled(self._height_px))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._hint:
            painter = QPainter(self)
            font = text_font(12)
            painter.setFont(font)
            painter.setPen(QColor(theme_of(self).ink3))
            width = QFontMetrics(font).horizontalAdvance(self._hint)
            rect = QRectF(self.width() - self._left_px - width, 0, width + 2, self.height())
            painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self._hint)

    def _content_left(self, content_width: int) -> float:
        del content_width
        return self._left_px

    def _colors(self, theme: Theme) -> tuple[str, str, str]:
        """The page that is shown is marked like the conversation that is open."""
        return (theme.select, "", theme.ink) if self.isChecked() else super()._colors(theme)


class SearchField(QLineEdit):
    """A field with a magnifying glass; Esc empties it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._apply_margin()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_margin()

    def _apply_margin(self) -> None:
        self.setTextMargins(scaled(16) + 6, 0, 0, 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        side = scaled(16)
        draw_icon(painter, QRectF(11, (self.height() - side) / 2, side, side), "search", theme_of(self).ink3)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.text():
            self.clear()
            event.accept()
            return
        super().keyPressEvent(event)


class SideBar(QFrame):
    """Where one goes from here.

    Signals: new_chat_requested; search_changed(text); conversation_activated(id); rename_requested(id, title);
    delete_requested(id); page_activated(id).
    """

    new_chat_requested = Signal()
    search_changed = Signal(str)
    conversation_activated = Signal(str)
    rename_requested = Signal(str, str)
    delete_requested = Signal(str)
    page_activated = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pages: dict[str, WideButton] = {}
        self.setAccessibleName(self.tr("Side bar"))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self._new_chat = WideButton(self.tr("New chat"), icon_name="plus", height_px=38)
        self._new_chat.clicked.connect(self.new_chat_requested)
        self._search = SearchField()
        self._search.setPlaceholderText(self.tr("Search conversations"))
        self._search.setAccessibleName(self.tr("Search conversations"))
        self._search.textChanged.connect(self.search_changed)
        self._list = ConversationList()
        self._list.conversation_activated.connect(self.conversation_activated)
        self._list.rename_requested.connect(self.rename_requested)
        self._list.delete_requested.connect(self.delete_requested)
        self._page_column = QVBoxLayout()
        self._page_column.setSpacing(0)
        self._memory_words = Text(self.tr("This computer"), "hint", "ink2")
        self._free = Text("", "hint_strong", "ink2")
        self._memory = MemoryBar("mini")
        self._build()
        self._apply_width()

    # --- values in -------------------------------------------------------------------------------------------

    def set_shortcut_hint(self, hint: str) -> None:
        """How New chat is reached by keyboard, as the system writes it."""
        self._new_chat.set_hint(hint)

    def set_conversations(self, entries: Iterable[ConversationEntry]) -> None:
        """The conversations, in order; equal groups stand together."""
        self._list.set_entries(entries)

    def set_current_conversation(self, conversation_id: str) -> None:
        """Marks the open one; empty for none."""
        self._list.set_current_id(conversation_id)

    def set_pages(self, entries: Iterable[PageEntry]) -> None:
        """Pages beneath the conversations."""
        for button in self._pages.values():
            button.hide()
            button.deleteLater()
        self._pages = {}
        for entry in entries:
            button = WideButton(entry.label, icon_name=entry.icon_name, height_px=34, is_row=True)
            button.setCheckable(True)
            button.set_hint(entry.hint)
            button.clicked.connect(lambda _=False, page_id=entry.id: self._on_page(page_id))
            self._page_column.addWidget(button)
            self._pages[entry.id] = button

    def set_current_page(self, page_id: str) -> None:
        """Marks the page that is shown; empty for none of them."""
        for entry_id, button in self._pages.items():
            button.setChecked(entry_id == page_id)

    def set_memory(self, memory: MemoryState, free_text: str) -> None:
        """What this computer's memory holds; `free_text` for example "3.8 GB free"."""
        self._memory.set_state(memory)
        self._free.set_text(free_text)

    def focus_search(self) -> None:
        """Puts the keyboard into the search field."""
        self._search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self._search.selectAll()

    def search_text(self) -> str:
        """What is searched for."""
        return self._search.text()

    def conversation_list(self) -> ConversationList:
        """The list, for focus and tests."""
        return self._list

    # --- inside ------------------------------------------------------------------------------------------------

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_width()

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(0)
        column.addWidget(Brand())
        column.addSpacing(12)
        column.addWidget(self._new_chat)
        column.addSpacing(8)
        column.addWidget(self._search)
        column.addWidget(self._list, 1)
        column.addSpacing(8)
        column.addLayout(self._page_column)
        column.addSpacing(10)
        column.addWidget(Hairline())
        column.addSpacing(10)
        memory = QVBoxLayout()
        memory.setContentsMargins(8, 0, 8, 2)
        memory.setSpacing(6)
        words = QHBoxLayout()
        words.setSpacing(8)
        words.addWidget(self._memory_words, 1)
        words.addWidget(self._free)
        memory.addLayout(words)
        memory.addWidget(self._memory)
        column.addLayout(memory)

    def _apply_width(self) -> None:
        self.setFixedWidth(scaled(WIDTH_PX))

    def _on_page(self, page_id: str) -> None:
        self.set_current_page(page_id)
        self.page_activated.emit(page_id)
