"""A table in a reply: as wide as the column; one that needs more scrolls within itself."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QWidget

from desktop.widgets.blocks import Block, Selection
from desktop.widgets.markdown import Leaf, plain_text
from desktop.widgets.sideways_bar import HEIGHT_PX as BAR_HEIGHT_PX
from desktop.widgets.sideways_bar import SidewaysBar
from desktop.widgets.text_flow import UNLIMITED_PX, TextFlow, body_style, utf16_slice
from desktop.widgets.theme import Theme, is_tabular


class TableBlock(Block):
    """A table as wide as the column; one that needs more scrolls within itself."""

    def __init__(self, leaf: Leaf, theme: Theme, scale: float) -> None:
        super().__init__(leaf, theme, scale)
        head = body_style(theme, scale, size=13, line=20, weight=600, color=theme.ink2, code_size=12)
        words = body_style(theme, scale, size=14, line=20, code_size=12.5)
        figures = body_style(theme, scale, size=14, line=20, code_size=12.5, tabular=True)
        self._columns = max((len(row) for row in leaf.rows), default=0)
        self._cells: list[list[TextFlow]] = []
        for index, row in enumerate(leaf.rows):
            styles = [head if index == 0 else figures if is_tabular(plain_text(runs)) else words for runs in row]
            self._cells.append([TextFlow(runs, style) for runs, style in zip(row, styles, strict=True)])
        self._natural: list[float] = []
        self._least: list[float] = []
        self._column_widths: list[float] = []
        self._row_tops: list[float] = []
        self._width = 0.0
        self._host: QWidget | None = None
        self._bar = SidewaysBar(self._on_scrolled)
        self._starts = self._cell_starts()

    @property
    def length(self) -> int:
        return self._starts[-1][1]

    def measure(self, width: float) -> float:
        self._width = width - self._indent
        self._column_widths = self._fit_columns(self._width)
        tops, y = [], 0.0
        for row in self._cells:
            tops.append(y)
            heights = [
                cell.layout(max(20.0, self._column_widths[index] - self._pads(index))) for index, cell in enumerate(row)
            ]
            y += max(heights, default=20.0) + 8 * self.scale + 1
        self._row_tops = [*tops, y]
        self._bar.set_range(sum(self._column_widths), self._width)
        self.height = y + (BAR_HEIGHT_PX if self._bar.is_needed() else 0)
        return self.height

    def attach(self, host: QWidget, origin: QPointF) -> None:
        self._host = host
        left, top = origin.x() + self._indent, origin.y() + self.height - BAR_HEIGHT_PX
        self._bar.attach(host, QRect(round(left), round(top), round(self._width), BAR_HEIGHT_PX))

    def detach(self) -> None:
        self._bar.detach()

    def draw(self, painter: QPainter, origin: QPointF, clip: QRectF, selection: Selection | None) -> None:
        painter.save()
        area = QRectF(origin.x() + self._indent, origin.y(), self._width, self.height)
        painter.setClipRect(area, Qt.ClipOperation.IntersectClip)
        left = area.x() - self._bar.offset
        for row_index, row in enumerate(self._cells):
            top = origin.y() + self._row_tops[row_index]
            bottom = origin.y() + self._row_tops[row_index + 1]
            if bottom < clip.top() or top > clip.bottom():
                continue
            for column, cell in enumerate(row):
                chosen = self._cell_selection(row_index, column, selection)
                cell.draw(painter, QPointF(left + self._cell_x(column, cell), top + 4 * self.scale), chosen)
            line_width = max(self._width, sum(self._column_widths))
            painter.fillRect(QRectF(left, bottom - 1, line_width, 1), QColor(self.theme.line))
        painter.restore()

    def position_at(self, point: QPointF) -> int:
        row, column, local = self._cell_at(point)
        if row < 0:
            return 0
        cell = self._cells[row][column]
        return self._start_of(row, column) + cell.position_at(local)

    def copied_text(self, start: int, end: int) -> str:
        return utf16_slice(self.plain(), start, end)

    def plain(self) -> str:
        return "\n".join("\t".join(cell.text for cell in row) for row in self._cells)

    def link_at(self, point: QPointF) -> str:
        row, column, local = self._cell_at(point)
        return self._cells[row][column].link_at(local) if row >= 0 else ""

    def scroll_sideways(self, pixels: float) -> bool:
        return self._bar.scroll_by(pixels)

    @property
    def _indent(self) -> float:
        return self.leaf.indent_px * self.scale

    def _pads(self, column: int) -> float:
        return (12 if column == 0 else 20) * self.scale

    def _fit_columns(self, width: float) -> list[float]:
        """Natural widths stretched to fill the column; squeezed towards the longest words if there is too little."""
        if not self._natural:
            self._natural, self._least = self._column_needs()
        natural, least = sum(self._natural), sum(self._least)
        if natural <= width:
            return [need * width / natural for need in self._natural] if natural else []
        if least >= width:
            return list(self._least)
        share = (width - least) / (natural - least)
        return [low + (high - low) * share for low, high in zip(self._least, self._natural, strict=True)]

    def _column_needs(self) -> tuple[list[float], list[float]]:
        natural, least = [0.0] * self._columns, [0.0] * self._columns
        for row in self._cells:
            for column, cell in enumerate(row):
                cell.layout(UNLIMITED_PX)
                pads = self._pads(column)
                natural[column] = max(natural[column], cell.natural_width() + pads + 1)
                word = min(cell.least_width() + 1, 240 * self.scale)
                least[column] = max(least[column], min(word + pads, natural[column]))
        return natural, least

    def _cell_x(self, column: int, cell: TextFlow) -> float:
        left = sum(self._column_widths[:column]) + (2 if column == 0 else 10) * self.scale
        room = self._column_widths[column] - self._pads(column) - min(cell.natural_width(), UNLIMITED_PX)
        align = self.leaf.aligns[column] if column < len(self.leaf.aligns) else "left"
        if align == "left" or room <= 0:
            return left
        return left + (room if align == "right" else room / 2)

    def _cell_at(self, point: QPointF) -> tuple[int, int, QPointF]:
        if not self._cells or not self._columns:
            return -1, 0, point
        x, y = point.x() - self._indent + self._bar.offset, point.y()
        row = max(0, sum(1 for top in self._row_tops[:-1] if top <= y) - 1)
        column, edge = 0, 0.0
        for index in range(len(self._cells[row])):
            if edge <= x:
                column = index
            edge += self._column_widths[index]
        cell = self._cells[row][column]
        local = QPointF(x - self._cell_x(column, cell), y - self._row_tops[row] - 4 * self.scale)
        return row, column, local

    def _cell_starts(self) -> list[tuple[int, int, int, int]]:
        starts, offset = [], 0
        for row_index, row in enumerate(self._cells):
            for column, cell in enumerate(row):
                starts.append((offset, offset + cell.length, row_index, column))
                offset += cell.length + 1
        return starts or [(0, 0, 0, 0)]

    def _start_of(self, row: int, column: int) -> int:
        return next(start for start, _, at_row, at_column in self._starts if (at_row, at_column) == (row, column))

    def _on_scrolled(self) -> None:
        if self._host is not None:
            self._host.update()

    def _cell_selection(self, row: int, column: int, selection: Selection | None) -> Selection | None:
        if selection is None:
            return None
        for start, end, at_row, at_column in self._starts:
            if (at_row, at_column) == (row, column):
                first, last = max(selection[0], start), min(selection[1], end)
                return (first - start, last - start) if last > first else None
        return None
