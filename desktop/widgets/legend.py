"""What the blocks of a memory bar are, in words with figures: colour never speaks alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Literal

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.widgets.flow_row import FlowRow
from desktop.widgets.memory_bar import PartKind
from desktop.widgets.theme import is_size_change, scaled, text_font, theme_of

LegendKind = PartKind | Literal["free", "missing"]
_SWATCH_PX, _GAP_PX, _LINE_PX = 12, 4, 18
_BEFORE_FIGURE_PX = 3
_BETWEEN_PX, _BETWEEN_LINES_PX = 5, 6
_FEWEST_IN_LINE = 2


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One block: what it is and how much, for example "Weights" and "6.0"."""

    kind: LegendKind
    label: str
    figure: str


class _LegendItem(QWidget):
    def __init__(self, entry: LegendEntry) -> None:
        super().__init__()
        self._entry = entry
        self._size: QSize | None = None
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.set_entry(entry)

    @property
    def entry(self) -> LegendEntry:
        return self._entry

    def set_entry(self, entry: LegendEntry) -> None:
        self._entry = entry
        self._size = None
        self.setAccessibleName(f"{entry.label} {entry.figure}")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        if self._size is None:  # measuring text is what a moving slider would feel
            label = QFontMetricsF(text_font(13)).horizontalAdvance(self._entry.label)
            figure = QFontMetricsF(text_font(13, 600, tabular=True)).horizontalAdvance(self._entry.figure)
            width = scaled(_SWATCH_PX) + scaled(_GAP_PX + _BEFORE_FIGURE_PX) + label + figure
            self._size = QSize(ceil(width) + 1, scaled(_LINE_PX))
        return self._size

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._size = None
            self.updateGeometry()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side = scaled(_SWATCH_PX)
        swatch = QRectF(0, (self.height() - side) / 2, side, side)
        if self._entry.kind == "free":
            painter.setPen(QPen(QColor(theme.edge), 1))
            painter.setBrush(QColor(theme.trough))
            swatch.adjust(0.5, 0.5, -0.5, -0.5)
        elif self._entry.kind == "missing":
            painter.setPen(QPen(QColor(theme.no), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            swatch.adjust(1, 1, -1, -1)
        else:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(getattr(theme, self._entry.kind)))
        painter.drawRoundedRect(swatch, 3, 3)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        x = float(side + scaled(_GAP_PX))
        font = text_font(13)
        painter.setFont(font)
        painter.setPen(QColor(theme.ink2))
        painter.drawText(QRectF(x, 0, self.width(), self.height()), flags, self._entry.label)
        x += QFontMetricsF(font).horizontalAdvance(self._entry.label) + scaled(_BEFORE_FIGURE_PX)
        painter.setFont(text_font(13, 600, tabular=True))
        painter.setPen(QColor(theme.ink))
        painter.drawText(QRectF(x, 0, self.width(), self.height()), flags, self._entry.figure)


class Legend(FlowRow):
    """The entries in one line, apart as far as there is room, or on several."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(gap_px=_BETWEEN_PX, line_gap_px=_BETWEEN_LINES_PX, justify=True, parent=parent)
        self._items: list[_LegendItem] = []

    def set_entries(self, entries: Iterable[LegendEntry]) -> None:
        """Shows other figures."""
        given = list(entries)
        for item, entry in zip(self._items, given, strict=False):
            if item.entry != entry:
                item.set_entry(entry)
        for entry in given[len(self._items) :]:
            item = _LegendItem(entry)
            self._items.append(item)
            self.add(item)
            item.show()
        while len(self._items) > len(given):
            item = self._items.pop()
            self.take(item)
            item.deleteLater()
        self.place()

    def _lines(self, width: int) -> list[list[QWidget]]:
        """No entry stands alone in the last line where the one before has another to give."""
        lines = super()._lines(width)
        if len(lines) > 1 and len(lines[-1]) < _FEWEST_IN_LINE < len(lines[-2]):
            moved, last = lines[-2][-1], lines[-1][0]
            if moved.sizeHint().width() + _BETWEEN_PX + last.sizeHint().width() <= width:
                lines[-1].insert(0, lines[-2].pop())
        return lines

    def entries(self) -> list[LegendEntry]:
        """What is shown."""
        return [item.entry for item in self._items]
