"""A side bar that comes over the content of a narrow window, with the rest dimmed."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

_DIM_ALPHA = 90


class Drawer(QWidget):
    """Lies over its parent while it is open. Signals: closed."""

    closed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._owner = parent
        self._content: QWidget | None = None
        parent.installEventFilter(self)
        self.hide()

    def open_with(self, content: QWidget) -> None:
        """Shows `content` at the left edge; the drawer is its parent from now on."""
        self._content = content
        content.setParent(self)
        self._place()
        content.show()
        self.show()
        self.raise_()

    def close_drawer(self) -> None:
        """Hides; the content is its old owner's again as soon as that one takes it."""
        if not self.isHidden():
            self.hide()
            self.closed.emit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and watched is self._owner:
            self._place()
        return False

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.close_drawer()

    def paintEvent(self, event: QPaintEvent) -> None:
        QPainter(self).fillRect(event.rect(), QColor(0, 0, 0, _DIM_ALPHA))

    def _place(self) -> None:
        self.setGeometry(self._owner.rect())
        if self._content is not None and self._content.parent() is self:
            self._content.setGeometry(0, 0, self._content.sizeHint().width(), self.height())
