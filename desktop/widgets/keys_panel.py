"""The list of keyboard shortcuts, over the content. Values in: what the window gives it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from desktop.widgets.buttons import IconButton
from desktop.widgets.cards import Card
from desktop.widgets.text import Text

_DIM_ALPHA = 90
_ROWS_PER_COLUMN = 8


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One shortcut, as the system writes it, and what it does."""

    keys: str
    does: str


class KeysPanel(QWidget):
    """A card in the middle of its parent. Esc, the close button and a click beside it close it. Signals: closed."""

    closed = Signal()

    def __init__(self, entries: Iterable[KeyEntry], parent: QWidget) -> None:
        super().__init__(parent)
        self._owner = parent
        parent.installEventFilter(self)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Keyboard"))
        self._card = Card(self)
        column = QVBoxLayout(self._card)
        column.setContentsMargins(25, 17, 25, 23)
        column.setSpacing(12)
        head = QHBoxLayout()
        head.addWidget(Text(self.tr("Keyboard"), "section"), 1)
        self._close_button = IconButton("close", self.tr("Close"), size="small")
        self._close_button.clicked.connect(self.close_panel)
        head.addWidget(self._close_button)
        column.addLayout(head)
        grid = QGridLayout()
        grid.setHorizontalSpacing(20)
        grid.setVerticalSpacing(8)
        for number, entry in enumerate(entries):
            row, group = number % _ROWS_PER_COLUMN, number // _ROWS_PER_COLUMN
            grid.addWidget(Text(entry.keys, "strong"), row, 2 * group)
            grid.addWidget(Text(entry.does, "interface", "ink2"), row, 2 * group + 1)
        column.addLayout(grid)
        self.hide()

    def open_panel(self) -> None:
        """Shows the list; the keyboard goes to its close button."""
        self._place()
        self.show()
        self.raise_()
        self._close_button.setFocus(Qt.FocusReason.PopupFocusReason)

    def close_panel(self) -> None:
        """Hides the list."""
        if not self.isHidden():
            self.hide()
            self.closed.emit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and watched is self._owner:
            self._place()
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close_panel()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if not self._card.geometry().contains(event.position().toPoint()):
            self.close_panel()

    def paintEvent(self, event: QPaintEvent) -> None:
        QPainter(self).fillRect(event.rect(), QColor(0, 0, 0, _DIM_ALPHA))

    def _place(self) -> None:
        self.setGeometry(self._owner.rect())
        size = self._card.sizeHint().boundedTo(self.size())
        self._card.setGeometry(
            (self.width() - size.width()) // 2, (self.height() - size.height()) // 3, *size.toTuple()
        )
