"""A small drawing and a sentence beside it."""

from __future__ import annotations

from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from desktop.widgets.icons import draw_icon
from desktop.widgets.text import Text
from desktop.widgets.theme import scaled, theme_of

_ICON_PX, _GAP_PX, _SIDE_PX = 16, 8, 4


class IconLine(QWidget):
    """A hint with its drawing, as at the foot of a list."""

    def __init__(self, icon_name: str, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon_name = icon_name
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._text = Text(text, "secondary", "ink2", wrap=True)
        row = QHBoxLayout(self)
        row.setContentsMargins(_SIDE_PX + _ICON_PX + _GAP_PX, 0, _SIDE_PX, 0)
        row.addWidget(self._text, 1)

    def set_text(self, text: str) -> None:
        """Another sentence."""
        self._text.set_text(text)

    def text(self) -> str:
        """What it says."""
        return self._text.full_text()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        side = _ICON_PX
        top = self._text.y() + (scaled(18) - side) / 2
        draw_icon(QPainter(self), QRectF(_SIDE_PX, top, side, side), self._icon_name, theme_of(self).ink2)
