"""A code card: language, Copy, and lines that scroll sideways within themselves.

Only the lines on screen are laid out, and a growing block takes only what is new, so the length of the code does not
matter.
"""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QPointF, QRect, QRectF, Qt, QTimer
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QGuiApplication,
    QPainter,
    QPen,
    QTextCharFormat,
    QTextLayout,
    QTextOption,
)
from PySide6.QtWidgets import QWidget

from desktop.widgets.blocks import Block, Selection
from desktop.widgets.buttons import Button
from desktop.widgets.highlight import LONGEST_WHOLE_CODE, Stretch, color_of, display_name, highlight_lines
from desktop.widgets.markdown import Leaf
from desktop.widgets.sideways_bar import HEIGHT_PX as BAR_HEIGHT_PX
from desktop.widgets.sideways_bar import SidewaysBar
from desktop.widgets.text_flow import utf16_length, utf16_slice
from desktop.widgets.theme import Theme, code_font, text_font

_HEAD_PX, _LINE_PX, _PAD_X_PX, _PAD_Y_PX = 30, 20, 12, 8
_CHUNK_LINES = 40
"""While code grows, each line is coloured alone and then again with its chunk; long strings are put right then."""
_COPIED_MS = 2_000
_KEPT_LAYOUTS = 200


class CodeBlock(Block):
    """Code at one width; grows cheaply."""

    def __init__(self, leaf: Leaf, theme: Theme, scale: float) -> None:
        super().__init__(leaf, theme, scale)
        self._font = code_font()
        metrics = QFontMetricsF(self._font)
        self._metrics = metrics
        self._baseline = (_LINE_PX * scale - metrics.ascent() - metrics.descent()) / 2
        self._lines: list[str] = []
        self._starts: list[int] = [0]
        self._stretches: list[list[Stretch]] = []
        self._layouts: dict[int, QTextLayout] = {}
        self._highlighted = 0
        self._widest = 0.0
        self._width = 0.0
        self._button: Button | None = None
        self._host: QWidget | None = None
        self._bar = SidewaysBar(self._on_scrolled)
        self._take_text(leaf.text)
        self._highlight_all()

    @property
    def length(self) -> int:
        return self._starts[-1] + utf16_length(self._lines[-1])

    def line_count(self) -> int:
        """How many lines the code has."""
        return len(self._lines)

    def update_leaf(self, leaf: Leaf) -> bool:
        if leaf == self.leaf:
            return True
        is_growth = (
            leaf.kind == "code"
            and leaf.language == self.leaf.language
            and leaf.indent_px == self.leaf.indent_px
            and leaf.marker == self.leaf.marker
            and leaf.text.startswith(self.leaf.text)
        )
        if not is_growth:
            return False
        added = leaf.text[len(self.leaf.text) :]
        self.leaf = leaf
        if added:
            self._grow(added)
        return True

    def freeze(self) -> None:
        """The code is complete: colours are read once over all of it, if it is not too long."""
        if self._highlighted < len(self._lines) or len(self._lines) > _CHUNK_LINES:
            self._highlight_all()

    def measure(self, width: float) -> float:
        self._width = width - self.leaf.indent_px * self.scale
        body = len(self._lines) * _LINE_PX * self.scale + 2 * _PAD_Y_PX * self.scale
        self._bar.set_range(self._widest + 2 * _PAD_X_PX * self.scale + 2, self._width)
        self.height = _HEAD_PX * self.scale + body + 2 + (BAR_HEIGHT_PX if self._bar.is_needed() else 0)
        return self.height

    def draw(self, painter: QPainter, origin: QPointF, clip: QRectF, selection: Selection | None) -> None:
        scale, theme = self.scale, self.theme
        left = origin.x() + self.leaf.indent_px * scale
        card = QRectF(left, origin.y(), self._width, self.height)
        painter.setPen(QPen(QColor(theme.line), 1))
        painter.setBrush(QColor(theme.code_ground))
        painter.drawRoundedRect(card.adjusted(0.5, 0.5, -0.5, -0.5), 9.5, 9.5)
        head_bottom = round(card.top() + _HEAD_PX * scale)
        painter.fillRect(QRectF(card.left() + 1, head_bottom, card.width() - 2, 1), QColor(theme.line))
        painter.setPen(QColor(theme.ink3))
        painter.setFont(text_font(12))
        label = QRectF(card.left() + 13 * scale, card.top() + 1, card.width() / 2, _HEAD_PX * scale)
        painter.drawText(label, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self._label())
        self._draw_lines(painter, card, clip, selection)

    def position_at(self, point: QPointF) -> int:
        inner = point - self._text_corner()
        line = min(max(int(inner.y() // (_LINE_PX * self.scale)), 0), len(self._lines) - 1)
        layout = self._line_layout(line)
        return self._starts[line] + int(layout.lineAt(0).xToCursor(inner.x() + self._bar.offset))

    def copied_text(self, start: int, end: int) -> str:
        return utf16_slice(self.leaf.text, start, end)

    def plain(self) -> str:
        return self.leaf.text

    def is_text_at(self, point: QPointF) -> bool:
        return point.y() > _HEAD_PX * self.scale

    def attach(self, host: QWidget, origin: QPointF) -> None:
        self._host = host
        if self._button is None:
            self._button = Button(_tr("Copy"), icon_name="copy", kind="quiet", size="tiny", parent=host)
            self._button.setAccessibleName(_tr("Copy code"))
            self._button.clicked.connect(self._on_copy)
            self._button.show()
        size = self._button.sizeHint()
        right = origin.x() + self.leaf.indent_px * self.scale + self._width
        top = origin.y() + 1 + (_HEAD_PX * self.scale - size.height()) / 2
        self._button.setGeometry(round(right - size.width() - 5), round(top), size.width(), size.height())
        self._bar.attach(host, self._bar_area(origin))

    def detach(self) -> None:
        if self._button is not None:
            self._button.hide()
            self._button.deleteLater()
            self._button = None
        self._bar.detach()

    def controls(self) -> list[QWidget]:
        """What the keyboard can reach inside the block."""
        return [self._button] if self._button is not None else []

    def scroll_sideways(self, pixels: float) -> bool:
        return self._bar.scroll_by(pixels)

    def _label(self) -> str:
        return display_name(self.leaf.language) if self.leaf.language else _tr("Code")

    def _text_corner(self) -> QPointF:
        x = self.leaf.indent_px * self.scale + 1 + _PAD_X_PX * self.scale
        return QPointF(x, (_HEAD_PX + _PAD_Y_PX) * self.scale)

    def _draw_lines(self, painter: QPainter, card: QRectF, clip: QRectF, selection: Selection | None) -> None:
        painter.save()
        painter.setClipRect(card.adjusted(1, 0, -1, -1), Qt.ClipOperation.IntersectClip)
        line_px = _LINE_PX * self.scale
        corner = QPointF(card.left(), card.top()) + self._text_corner() - QPointF(self.leaf.indent_px * self.scale, 0)
        first = max(0, int((clip.top() - corner.y()) // line_px))
        last = min(len(self._lines), int((clip.bottom() - corner.y()) // line_px) + 1)
        for index in range(first, last):
            layout = self._line_layout(index)
            origin = QPointF(corner.x() - self._bar.offset, corner.y() + index * line_px)
            self._draw_selection(painter, layout, index, origin, selection)
            painter.setPen(QColor(self.theme.ink))
            layout.draw(painter, origin)
        painter.restore()

    def _draw_selection(
        self, painter: QPainter, layout: QTextLayout, index: int, origin: QPointF, selection: Selection | None
    ) -> None:
        if selection is None:
            return
        start = self._starts[index]
        end = start + utf16_length(self._lines[index])
        first, last = max(selection[0], start), min(selection[1], end)
        if last < first or (last == first and not selection[0] <= end < selection[1]):
            return
        line = layout.lineAt(0)
        left = _x(line.cursorToX(first - start))
        right = _x(line.cursorToX(last - start)) + (self._metrics.horizontalAdvance(" ") if selection[1] > end else 0)
        rect = QRectF(origin.x() + left, origin.y(), right - left, _LINE_PX * self.scale)
        painter.fillRect(rect, QColor(self.theme.soft_line))

    def _line_layout(self, index: int) -> QTextLayout:
        layout = self._layouts.get(index)
        if layout is None:
            if len(self._layouts) > _KEPT_LAYOUTS:
                self._layouts.clear()
            layout = self._make_layout(index)
            self._layouts[index] = layout
        return layout

    def _make_layout(self, index: int) -> QTextLayout:
        layout = QTextLayout(self._lines[index], self._font)
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.NoWrap)
        option.setTabStopDistance(self._metrics.horizontalAdvance("    "))
        option.setTextDirection(Qt.LayoutDirection.LeftToRight)
        layout.setTextOption(option)
        formats = []
        for stretch in self._stretches[index] if index < len(self._stretches) else ():
            piece = QTextLayout.FormatRange()
            piece.start, piece.length = stretch.start, stretch.length
            piece.format = QTextCharFormat()
            piece.format.setForeground(QColor(color_of(self.theme, stretch.role)))
            formats.append(piece)
        layout.setFormats(formats)
        layout.beginLayout()
        line = layout.createLine()
        line.setLineWidth(1_000_000)
        line.setPosition(QPointF(0, self._baseline + self._metrics.ascent() - line.ascent()))
        layout.endLayout()
        return layout

    def _take_text(self, text: str) -> None:
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines[:-1]:
            self._starts.append(self._starts[-1] + utf16_length(line) + 1)
        self._widest = max(self._line_width(line) for line in self._lines)

    def _grow(self, added: str) -> None:
        first, *others = added.split("\n")
        self._lines[-1] += first
        for line in others:
            self._starts.append(self._starts[-1] + utf16_length(self._lines[-1]) + 1)
            self._lines.append(line)
        new_lines = self._lines[-1 - len(others) :]
        self._widest = max(self._widest, *(self._line_width(line) for line in new_lines))
        self._highlight_end()

    def _line_width(self, line: str) -> float:
        if line.isascii() and "\t" not in line:
            return len(line) * self._metrics.horizontalAdvance("m")
        return self._metrics.horizontalAdvance(line.expandtabs(4))

    def _highlight_all(self) -> None:
        if len(self.leaf.text) > LONGEST_WHOLE_CODE:
            self._highlight_end()
            return
        self._forget_layouts(0)
        self._stretches = highlight_lines(self.leaf.text, self.leaf.language)
        self._highlighted = len(self._lines)

    def _highlight_end(self) -> None:
        """Colours the line that grew and those after it; where a chunk is complete, that chunk as a whole."""
        start = max(0, min(self._highlighted, len(self._lines)) - 1)
        chunk = start // _CHUNK_LINES * _CHUNK_LINES
        if len(self._lines) > chunk + _CHUNK_LINES:
            start = chunk
        del self._stretches[start:]
        self._forget_layouts(start)
        for first in range(start, len(self._lines), _CHUNK_LINES):
            lines = self._lines[first : first + _CHUNK_LINES]
            self._stretches.extend(highlight_lines("\n".join(lines), self.leaf.language))
        self._highlighted = len(self._lines)

    def _forget_layouts(self, first_line: int) -> None:
        for index in [index for index in self._layouts if index >= first_line]:
            del self._layouts[index]

    def _bar_area(self, origin: QPointF) -> QRect:
        left = origin.x() + self.leaf.indent_px * self.scale + 8
        top = origin.y() + self.height - BAR_HEIGHT_PX - 2
        return QRect(round(left), round(top), round(self._width - 16), BAR_HEIGHT_PX)

    def _on_scrolled(self) -> None:
        if self._host is not None:
            self._host.update()

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.leaf.text)
        button = self._button
        if button is None:
            return
        button.setText(_tr("Copied"))
        button.set_icon_name("check")
        timer = QTimer(button)
        timer.setSingleShot(True)
        timer.timeout.connect(self._on_copied_seen)
        timer.start(_COPIED_MS)

    def _on_copied_seen(self) -> None:
        if self._button is not None:
            self._button.setText(_tr("Copy"))
            self._button.set_icon_name("copy")


def _tr(text: str) -> str:
    return QCoreApplication.translate("CodeBlock", text)


def _x(value: object) -> float:
    return float(value[0]) if isinstance(value, (tuple, list)) else float(value)  # type: ignore[arg-type]
