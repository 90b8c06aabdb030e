"""What a message is made of: blocks that measure, draw and hit themselves. They are not widgets.

Positions inside a block are UTF-16 offsets into its text. `CodeBlock` and `TableBlock` have modules of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget

from desktop.widgets.icons import draw_icon
from desktop.widgets.markdown import Leaf, Run
from desktop.widgets.text_flow import FlowStyle, TextFlow, body_style, utf16_length, utf16_slice
from desktop.widgets.theme import Theme

# level -> size, line
_HEADINGS = {1: (20, 28), 2: (18, 26), 3: (17, 24)}
_SMALL_HEADING = (15, 23)
_HEADING_SPACE_BEFORE_PX = 8
Selection = tuple[int, int]


class Block(ABC):
    """One leaf at one width. `x` and `y` are set by whoever stacks the blocks."""

    def __init__(self, leaf: Leaf, theme: Theme, scale: float) -> None:
        self.leaf = leaf
        self.theme = theme
        self.scale = scale
        self.height = 0.0

    @property
    @abstractmethod
    def length(self) -> int:
        """The last position."""

    @abstractmethod
    def measure(self, width: float) -> float:
        """Lays out for `width` and answers the height, without the space after."""

    @abstractmethod
    def draw(self, painter: QPainter, origin: QPointF, clip: QRectF, selection: Selection | None) -> None:
        """Draws at `origin`; `clip` is the area that needs drawing, in the painter's coordinates."""

    @abstractmethod
    def position_at(self, point: QPointF) -> int:
        """The position nearest to `point` (in the block's own coordinates)."""

    @abstractmethod
    def copied_text(self, start: int, end: int) -> str:
        """What copying from `start` to `end` puts on the clipboard."""

    def plain(self) -> str:
        """The text that the positions count."""
        return ""

    def link_at(self, point: QPointF) -> str:
        """The address under `point`, or nothing."""
        del point
        return ""

    def is_text_at(self, point: QPointF) -> bool:
        """Whether the pointer should be a text cursor at `point`."""
        del point
        return True

    def update_leaf(self, leaf: Leaf) -> bool:
        """Takes a grown leaf if the block can do that cheaply; otherwise a new block is made."""
        return leaf == self.leaf

    def attach(self, host: QWidget, origin: QPointF) -> None:  # noqa: B027  (most blocks have no controls)
        """The block is on screen at `origin`: place its controls, if it has any."""

    def detach(self) -> None:  # noqa: B027
        """The block left the screen: give its controls back."""

    def scroll_sideways(self, pixels: float) -> bool:
        """Scrolls content that is wider than the column; False if there is none."""
        del pixels
        return False


class TextBlock(Block):
    """A paragraph, a heading, or an item of a list."""

    def __init__(self, leaf: Leaf, theme: Theme, scale: float, *, is_first: bool = False) -> None:
        super().__init__(leaf, theme, scale)
        size, line = (14.0, 22.0) if leaf.is_dim else (15.0, 23.0)
        color = theme.ink2 if leaf.is_dim else theme.ink
        weight = 400
        self._space_before = 0.0
        if leaf.kind == "heading":
            size, line = _HEADINGS.get(leaf.level, _SMALL_HEADING)
            weight = 600
            self._space_before = 0.0 if is_first else _HEADING_SPACE_BEFORE_PX * scale
        self.style = body_style(theme, scale, size=size, line=line, weight=weight, color=color)
        self.flow = TextFlow(leaf.runs, self.style)
        self._indent = leaf.indent_px * scale

    @property
    def length(self) -> int:
        return self.flow.length

    def measure(self, width: float) -> float:
        self.height = self.flow.layout(max(40.0, width - self._indent)) + self._space_before
        return self.height

    def draw(self, painter: QPainter, origin: QPointF, clip: QRectF, selection: Selection | None) -> None:
        del clip
        text_origin = origin + QPointF(self._indent, self._space_before)
        if self.leaf.marker:
            self._draw_marker(painter, text_origin)
        self.flow.draw(painter, text_origin, selection)

    def position_at(self, point: QPointF) -> int:
        return self.flow.position_at(point - QPointF(self._indent, self._space_before))

    def copied_text(self, start: int, end: int) -> str:
        text = utf16_slice(self.flow.text, start, end).replace("\u2028", "\n")
        if start > 0 or not self.leaf.marker:
            return text
        marks = {"task": "- [ ]", "task done": "- [x]", "•": "-", "◦": "-"}
        return f"{marks.get(self.leaf.marker, self.leaf.marker)} {text}"

    def plain(self) -> str:
        return self.flow.text

    def link_at(self, point: QPointF) -> str:
        return self.flow.link_at(point - QPointF(self._indent, self._space_before))

    def _draw_marker(self, painter: QPainter, origin: QPointF) -> None:
        marker, line = self.leaf.marker, self.style.line_px
        right = origin.x() - 8 * self.scale
        ink = QColor(self.style.color)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        match marker:
            case "•" | "◦":
                radius = 2.6 * self.scale
                center = QPointF(right - radius - 3 * self.scale, origin.y() + line / 2 + self.scale)
                if marker == "◦":
                    painter.setBrush(Qt.BrushStyle.NoBrush)
                    painter.setPen(QPen(ink, 1.2))
                painter.drawEllipse(center, radius, radius)
            case "task" | "task done":
                side = 14 * self.scale
                box = QRectF(origin.x() - side - 6 * self.scale, origin.y() + (line - side) / 2, side, side)
                is_done = marker == "task done"
                painter.setBrush(QColor(self.theme.accent if is_done else self.theme.surface))
                painter.setPen(QPen(QColor(self.theme.accent if is_done else self.theme.edge), 1.5))
                painter.drawRoundedRect(box, 3, 3)
                if is_done:
                    draw_icon(painter, box, "check", self.theme.on_accent)
            case _:
                painter.setPen(ink)
                painter.setFont(self.style.font)
                metrics = QFontMetricsF(self.style.font)
                baseline = origin.y() + (line - metrics.ascent() - metrics.descent()) / 2 + metrics.ascent()
                x = origin.x() - 6 * self.scale - metrics.horizontalAdvance(marker)
                painter.drawText(QPointF(x, baseline), marker)


class RuleBlock(Block):
    """A hairline between two parts of a text."""

    length = 0

    def measure(self, width: float) -> float:
        self._width = width
        self.height = 9.0 * self.scale
        return self.height

    def draw(self, painter: QPainter, origin: QPointF, clip: QRectF, selection: Selection | None) -> None:
        del clip, selection
        indent = self.leaf.indent_px * self.scale
        y = round(origin.y() + self.height / 2)
        painter.fillRect(QRectF(origin.x() + indent, y, self._width - indent, 1), QColor(self.theme.line))

    def position_at(self, point: QPointF) -> int:
        del point
        return 0

    def copied_text(self, start: int, end: int) -> str:
        del start, end
        return "---"

    def is_text_at(self, point: QPointF) -> bool:
        del point
        return False


class BubbleBlock(Block):
    """What the user wrote, as written, in the soft bubble."""

    MOST_WIDTH_PX = 560
    _PAD_X, _PAD_Y = 14, 9

    def __init__(self, leaf: Leaf, theme: Theme, scale: float) -> None:
        super().__init__(leaf, theme, scale)
        self.style: FlowStyle = body_style(theme, scale)
        lines = leaf.text.replace("\r\n", "\n").replace("\n", "\u2028")
        self.flow = TextFlow((Run(lines),), self.style)
        self.bubble_width = 0.0
        self._column = 0.0

    @property
    def length(self) -> int:
        return utf16_length(self.flow.text)

    def measure(self, width: float) -> float:
        self._column = width
        pads = 2 * self._PAD_X * self.scale
        room = min(self.MOST_WIDTH_PX * self.scale, width) - pads
        self.flow.layout(room)
        # One more pixel, so that rounding never breaks a line that fits.
        self.flow.layout(min(room, self.flow.natural_width() + 1))
        self.bubble_width = self.flow.natural_width() + pads
        self.height = self.flow.height + 2 * self._PAD_Y * self.scale
        return self.height

    def draw(self, painter: QPainter, origin: QPointF, clip: QRectF, selection: Selection | None) -> None:
        del clip
        left = round(origin.x() + self._column - self.bubble_width)
        rect = QRectF(left, origin.y(), self.bubble_width, self.height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.theme.soft))
        painter.drawRoundedRect(rect, 12, 12)
        # The corner that points to the writer is less round.
        painter.drawRoundedRect(QRectF(rect.right() - 24, rect.bottom() - 24, 24, 24), 4, 4)
        self.flow.draw(painter, self._text_origin(origin), selection)

    def position_at(self, point: QPointF) -> int:
        return self.flow.position_at(point - self._text_origin(QPointF(0, 0)))

    def copied_text(self, start: int, end: int) -> str:
        return utf16_slice(self.flow.text, start, end).replace("\u2028", "\n")

    def plain(self) -> str:
        return self.flow.text

    def is_text_at(self, point: QPointF) -> bool:
        return point.x() >= self._column - self.bubble_width

    def _text_origin(self, origin: QPointF) -> QPointF:
        left = round(origin.x() + self._column - self.bubble_width)
        return QPointF(left + self._PAD_X * self.scale, origin.y() + self._PAD_Y * self.scale)
