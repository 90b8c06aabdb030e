"""Cards and columns that hold other widgets, and the thin progress line."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from desktop.widgets.theme import is_size_change, scaled, theme_of

_CARD_RADIUS_PX = 12


class Card(QWidget):
    """A surface with a hairline. Give it a layout."""

    def __init__(self, parent: QWidget | None = None, *, is_control: bool = False) -> None:
        super().__init__(parent)
        self._is_control = is_control
        self.setProperty("focus_radius", float(_CARD_RADIUS_PX))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(theme.edge if self._is_control else theme.line), 1))
        painter.setBrush(QColor(theme.surface))
        radius = _CARD_RADIUS_PX - 0.5
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), radius, radius)


class Column(QWidget):
    """Keeps one widget in the middle, never wider than the design's column."""

    def __init__(
        self,
        content: QWidget,
        *,
        most_width_px: int = 720,
        side_px: int = 20,
        above_px: int = 0,
        below_px: int = 0,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._content = content
        self._most_width_px = most_width_px
        row = QHBoxLayout(self)
        row.setContentsMargins(side_px, above_px, side_px, below_px)
        row.setSpacing(0)
        row.addStretch(1)
        # All of the room, but for what is beyond the content's greatest width.
        row.addWidget(content, 100_000)
        row.addStretch(1)
        content.setMaximumWidth(scaled(most_width_px))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, content.sizePolicy().verticalPolicy())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._content.setMaximumWidth(scaled(self._most_width_px))


class Hairline(QWidget):
    """A line of one pixel between two areas."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(1)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        QPainter(self).fillRect(self.rect(), QColor(theme_of(self).line))


class ProgressLine(QWidget):
    """A line that fills from the left; `set_share(None)` is empty."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._share = 0.0
        self.setFixedHeight(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_share(self, share: float | None) -> None:
        """From 0 to 1."""
        self._share = min(1.0, max(0.0, share or 0.0))
        self.setAccessibleName(f"{self._share:.0%}")
        self.update()

    def share(self) -> float:
        """What is filled."""
        return self._share

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        whole = QRectF(self.rect())
        painter.setPen(QPen(QColor(theme.edge), 1))
        painter.setBrush(QColor(theme.trough))
        painter.drawRoundedRect(whole.adjusted(0.5, 0.5, -0.5, -0.5), 2.5, 2.5)
        if self._share > 0:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.accent))
            painter.drawRoundedRect(QRectF(0, 0, whole.width() * self._share, whole.height()), 3, 3)
