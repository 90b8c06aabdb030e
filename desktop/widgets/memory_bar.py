"""The memory bar: the trough is the computer, the blocks are what sits in it. The design's signature element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.widgets.theme import Theme, scaled, text_font, theme_of

PartKind = Literal["other", "weights", "context", "buffers", "less"]
"""`less` is a conversation that is nearly full."""
BarSize = Literal["mini", "page", "welcome"]
Overflow = Literal["none", "streams", "cannot"]

# size -> height, padding, gap, inner radius, end radius, trough radius
_MEASURES: dict[BarSize, tuple[int, int, int, float, float, float]] = {
    "mini": (10, 2, 1, 1, 3, 5),
    "page": (28, 3, 2, 2, 5, 8),
    "welcome": (56, 4, 2, 3, 8, 12),
}
_LIMIT_RISE_PX = 6


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One block: what it is, how much, and (welcome size) what is written on it."""

    kind: PartKind
    size_bytes: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class MemoryState:
    """What a bar shows. `description` names every part in words; it is spoken and, on a mini bar, the tooltip.

    `limit_bytes` is the line that Snug respects. `overflow_bytes` stands outside the trough.
    """

    total_bytes: int
    parts: tuple[MemoryPart, ...] = ()
    limit_bytes: int | None = None
    overflow: Overflow = "none"
    overflow_bytes: int = 0
    description: str = ""


class MemoryBar(QWidget):
    """Paints a MemoryState in one of three heights."""

    def __init__(
        self, size: BarSize = "page", state: MemoryState | None = None, *, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._size: BarSize = size
        self._state = MemoryState(total_bytes=0)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        if state is not None:
            self.set_state(state)

    def set_state(self, state: MemoryState) -> None:
        """Shows other figures."""
        if state == self._state:
            return
        self._state = state
        self.setAccessibleName(state.description)
        self.setToolTip(state.description if self._size == "mini" else "")
        self.updateGeometry()
        self.update()

    def state(self) -> MemoryState:
        """What is shown."""
        return self._state

    def sizeHint(self) -> QSize:
        height = _MEASURES[self._size][0]
        rise = 2 * _LIMIT_RISE_PX if self._shows_limit() else 0
        return QSize(120 if self._size == "mini" else 320, height + rise)

    def minimumSizeHint(self) -> QSize:
        return QSize(24, self.sizeHint().height())

    def trough_rect(self) -> QRectF:
        """Where this computer's memory is drawn; an overflow stands to its right."""
        height = _MEASURES[self._size][0]
        width = float(self.width())
        if self._state.overflow != "none" and self._state.total_bytes > 0:
            width *= self._state.total_bytes / (self._state.total_bytes + max(0, self._state.overflow_bytes))
        return QRectF(0, (self.height() - height) / 2, width, height)

    def block_rects(self) -> list[QRectF]:
        """One rectangle a part, in the order of the parts."""
        _, padding, gap, _, _, _ = _MEASURES[self._size]
        trough = self.trough_rect()
        inner = trough.width() - 2 * (padding + 1)
        top, height = trough.y() + padding + 1, trough.height() - 2 * (padding + 1)
        rects: list[QRectF] = []
        left = trough.x() + padding + 1
        for part in self._state.parts:
            width = inner * part.size_bytes / self._state.total_bytes if self._state.total_bytes > 0 else 0.0
            width = min(max(width, 1.0), max(0.0, trough.right() - padding - 1 - left))
            rects.append(QRectF(left, top, width, height))
            left += width + gap
        return rects

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        theme = theme_of(self)
        trough = self.trough_rect()
        radius = _MEASURES[self._size][5]
        painter.setPen(QPen(QColor(theme.trough_line), 1))
        painter.setBrush(QColor(theme.trough))
        painter.drawRoundedRect(trough.adjusted(0.5, 0.5, -0.5, -0.5), radius - 0.5, radius - 0.5)
        self._paint_blocks(painter, theme)
        self._paint_overflow(painter, theme, trough)
        if self._shows_limit() and self._state.limit_bytes is not None:
            x = round(trough.x() + trough.width() * self._state.limit_bytes / self._state.total_bytes)
            line = QRectF(x, trough.y() - _LIMIT_RISE_PX, 2, trough.height() + 2 * _LIMIT_RISE_PX)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.ink))
            painter.drawRoundedRect(line, 1, 1)

    def _paint_blocks(self, painter: QPainter, theme: Theme) -> None:
        _, _, _, inner_radius, end_radius, _ = _MEASURES[self._size]
        rects = self.block_rects()
        last = len(rects) - 1
        painter.setPen(Qt.PenStyle.NoPen)
        for index, (part, rect) in enumerate(zip(self._state.parts, rects, strict=True)):
            left = end_radius if index == 0 else inner_radius
            right = end_radius if index == last else inner_radius
            painter.setBrush(QColor(getattr(theme, part.kind)))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawPath(rounded_path(rect, left, right))
            if part.label and self._size == "welcome":
                self._paint_label(painter, theme, part, rect)

    def _paint_label(self, painter: QPainter, theme: Theme, part: MemoryPart, rect: QRectF) -> None:
        font = text_font(14, 600)
        painter.setFont(font)
        inner = rect.adjusted(scaled(14), 0, -scaled(8), 0)
        if painter.fontMetrics().horizontalAdvance(part.label) > inner.width():
            return  # a label that does not fit is said by the legend beneath
        painter.setPen(QColor("#FFFFFF" if part.kind == "other" else theme.on_accent))
        painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, part.label)

    def _paint_overflow(self, painter: QPainter, theme: Theme, trough: QRectF) -> None:
        rest = QRectF(trough.right() + 2, trough.y() + 4, self.width() - trough.right() - 2, trough.height() - 8)
        if rest.width() <= 0:
            return
        match self._state.overflow:
            case "none":
                return
            case "streams":
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QBrush(QColor(theme.disk)))
                x = rest.x()
                while x < rest.right():
                    painter.drawRect(QRectF(x, rest.y(), min(5.0, rest.right() - x), rest.height()))
                    x += 9
            case "cannot":
                painter.setPen(QPen(QColor(theme.no), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                path = QPainterPath()
                path.moveTo(rest.left(), rest.top() + 1)
                path.lineTo(rest.right() - 6, rest.top() + 1)
                path.arcTo(QRectF(rest.right() - 11, rest.top() + 1, 10, 10), 90, -90)
                path.lineTo(rest.right() - 1, rest.bottom() - 6)
                path.arcTo(QRectF(rest.right() - 11, rest.bottom() - 11, 10, 10), 0, -90)
                path.lineTo(rest.left(), rest.bottom() - 1)
                painter.drawPath(path)
            case _:
                assert_never(self._state.overflow)

    def _shows_limit(self) -> bool:
        return self._size != "mini" and self._state.limit_bytes is not None and self._state.total_bytes > 0


def rounded_path(rect: QRectF, left_radius: float, right_radius: float) -> QPainterPath:
    """A block whose left and right corners may differ in roundness."""
    path = QPainterPath()
    left = min(left_radius, rect.width() / 2, rect.height() / 2)
    right = min(right_radius, rect.width() / 2, rect.height() / 2)
    path.moveTo(rect.left() + left, rect.top())
    path.lineTo(rect.right() - right, rect.top())
    path.arcTo(QRectF(rect.right() - 2 * right, rect.top(), 2 * right, 2 * right), 90, -90)
    path.lineTo(rect.right(), rect.bottom() - right)
    path.arcTo(QRectF(rect.right() - 2 * right, rect.bottom() - 2 * right, 2 * right, 2 * right), 0, -90)
    path.lineTo(rect.left() + left, rect.bottom())
    path.arcTo(QRectF(rect.left(), rect.bottom() - 2 * left, 2 * left, 2 * left), 270, -90)
    path.lineTo(rect.left(), rect.top() + left)
    path.arcTo(QRectF(rect.left(), rect.top(), 2 * left, 2 * left), 180, -90)
    path.closeSubpath()
    return path
