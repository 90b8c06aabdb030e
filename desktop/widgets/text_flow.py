"""Styled text that is laid out, drawn, hit and selected without a widget of its own.

Positions are UTF-16 units, as everywhere in Qt.

A reply has hundreds of stretches of text; a QTextLayout for each is light, and it lets lines stand at exactly the
design's heights, which Qt's rich text cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from unicodedata import bidirectional

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QTextCharFormat, QTextLayout, QTextOption

from desktop.widgets.markdown import Run, Runs
from desktop.widgets.theme import Theme, code_font, text_font

UNLIMITED_PX = 1_000_000.0
_CODE_PAD_PX = 2.0


@dataclass(frozen=True, slots=True)
class FlowStyle:
    """How a stretch of text looks before its runs say otherwise. Sizes are pixels as drawn."""

    font: QFont
    line_px: float
    color: str
    theme: Theme
    code_size_px: float = 13.0
    wraps: bool = True


def body_style(
    theme: Theme,
    scale: float,
    *,
    size: float = 15,
    line: float = 23,
    weight: int = 400,
    color: str = "",
    code_size: float = 13.5,
    tabular: bool = False,
) -> FlowStyle:
    """The style of conversation text, or a variation of it. `size` and `line` are the design's, at 100 %."""
    return FlowStyle(text_font(size, weight, tabular=tabular), line * scale, color or theme.ink, theme, code_size)


class TextFlow:
    """Runs of text at one width."""

    def __init__(self, runs: Runs, style: FlowStyle) -> None:
        self.text = "".join(run.text for run in runs)
        self.length = utf16_length(self.text)
        self._runs = runs
        self._style = style
        metrics = QFontMetricsF(style.font)
        self._ascent = metrics.ascent()
        self._lead = (style.line_px - metrics.ascent() - metrics.descent()) / 2
        self._layout = QTextLayout(self.text, style.font)
        option = QTextOption()
        option.setWrapMode(
            QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere if style.wraps else QTextOption.WrapMode.NoWrap
        )
        if _is_right_to_left(self.text):
            option.setTextDirection(Qt.LayoutDirection.RightToLeft)
            option.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignAbsolute)
        option.setTabStopDistance(metrics.horizontalAdvance(" ") * 4)
        self._layout.setTextOption(option)
        self._layout.setCacheEnabled(True)
        self._code_ranges: list[tuple[int, int]] = []
        self._layout.setFormats(self._formats())
        self._width = -1.0
        self.height = 0.0

    def layout(self, width: float) -> float:
        """Breaks the lines for `width` and answers the height."""
        if width == self._width:
            return self.height
        self._width = width
        self._layout.beginLayout()
        top = 0.0
        while (line := self._layout.createLine()).isValid():
            line.setLineWidth(width)
            # Fallback fonts (Chinese, emoji) have other ascents; the baseline stays where the base font has it.
            line.setPosition(QPointF(0.0, top + self._lead + self._ascent - line.ascent()))
            top += self._style.line_px
        self._layout.endLayout()
        self.height = max(top, self._style.line_px)
        return self.height

    def natural_width(self) -> float:
        """Width of the longest line as it is laid out now."""
        lines = (self._layout.lineAt(index) for index in range(self._layout.lineCount()))
        return max((line.naturalTextWidth() for line in lines), default=0.0)

    def least_width(self) -> float:
        """Width of the longest word."""
        metrics = QFontMetricsF(self._style.font)
        return max((metrics.horizontalAdvance(word) for word in self.text.split()), default=0.0)

    def draw(self, painter: QPainter, origin: QPointF, selection: tuple[int, int] | None = None) -> None:
        """Draws at `origin`; `selection` is (start, end) in positions."""
        for start, end in self._code_ranges:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self._style.theme.hover))
            for rect in self.rects_of(start, end):
                box = rect.translated(origin).adjusted(-_CODE_PAD_PX, 2, _CODE_PAD_PX, -2)
                painter.drawRoundedRect(box, 4, 4)
        if selection is not None and selection[1] > selection[0]:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self._style.theme.soft_line))
            for rect in self.rects_of(*selection):
                painter.drawRect(rect.translated(origin))
        painter.setPen(QColor(self._style.color))
        self._layout.draw(painter, origin)

    def rects_of(self, start: int, end: int) -> list[QRectF]:
        """The areas that the positions from `start` to `end` cover, one or more a line."""
        rects: list[QRectF] = []
        for index in range(self._layout.lineCount()):
            line = self._layout.lineAt(index)
            first, last = line.textStart(), line.textStart() + line.textLength()
            if last <= start or first >= end:
                continue
            left = _x(line.cursorToX(max(start, first)))
            right = _x(line.cursorToX(min(end, last)))
            top = index * self._style.line_px
            rects.append(QRectF(min(left, right), top, abs(right - left), self._style.line_px))
        return rects

    def position_at(self, point: QPointF) -> int:
        """The position nearest to `point`."""
        count = self._layout.lineCount()
        if count == 0:
            return 0
        index = min(max(int(point.y() // self._style.line_px), 0), count - 1)
        return int(self._layout.lineAt(index).xToCursor(point.x()))

    def link_at(self, point: QPointF) -> str:
        """The address of the link under `point`, or nothing."""
        offset = 0
        for run in self._runs:
            end = offset + utf16_length(run.text)
            if run.link and any(rect.contains(point) for rect in self.rects_of(offset, end)):
                return run.link
            offset = end
        return ""

    def _formats(self) -> list[QTextLayout.FormatRange]:
        ranges: list[QTextLayout.FormatRange] = []
        offset = 0
        for run in self._runs:
            length = utf16_length(run.text)
            if run.bold or run.italic or run.strike or run.code or run.link:
                piece = QTextLayout.FormatRange()
                piece.start, piece.length, piece.format = offset, length, self._format(run)
                ranges.append(piece)
            if run.code:
                self._code_ranges.append((offset, offset + length))
            offset += length
        return ranges

    def _format(self, run: Run) -> QTextCharFormat:
        style = self._style
        result = QTextCharFormat()
        if run.code:
            result.setFont(code_font(style.code_size_px))
        if run.bold:
            result.setFontWeight(QFont.Weight.DemiBold)
        if run.italic:
            result.setFontItalic(True)
        if run.strike:
            result.setFontStrikeOut(True)
        if run.link:
            result.setForeground(QColor(style.theme.accent))
            result.setFontUnderline(True)
        return result


def _x(value: object) -> float:
    """`QTextLine.cursorToX` answers a number or a pair, depending on the binding's version."""
    return float(value[0]) if isinstance(value, (tuple, list)) else float(value)  # type: ignore[arg-type]


def _is_right_to_left(text: str) -> bool:
    """The direction of the first letter that has one, as Unicode prescribes for a paragraph."""
    if text.isascii():
        return False
    strong = (kind for kind in map(bidirectional, text[:200]) if kind in {"L", "R", "AL"})
    return next(strong, "L") != "L"


def utf16_slice(text: str, start: int, end: int) -> str:
    """The part of `text` between two positions."""
    if text.isascii():
        return text[start:end]
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le", errors="replace")


def utf16_length(text: str) -> int:
    """Qt counts UTF-16 units, Python counts characters; they differ from the first emoji on."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
