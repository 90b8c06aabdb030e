"""Widgets one after the other, on as many lines as the width asks for: what makes rows wrap at 200 % text."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRect, QSize
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QWidget


class FlowRow(QWidget):
    """Places its widgets at their own size, each line centred in its height.

    `spread` moves the last widget of a single line to the right edge, or with `justify` all of them apart.
    """

    def __init__(
        self,
        *,
        gap_px: int = 10,
        line_gap_px: int = 4,
        spread: bool = False,
        justify: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._gap_px = gap_px
        self._line_gap_px = line_gap_px
        self._spread = spread
        self._justify = justify
        self._widgets: list[QWidget] = []
        self._heights: dict[int, int] = {}
        """By width, until something changes: layouts ask many times."""
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def add(self, widget: QWidget) -> None:
        """Adds a widget at the end."""
        widget.setParent(self)
        self._widgets.append(widget)
        self.place()

    def take(self, widget: QWidget) -> None:
        """Takes a widget out; it is hidden and keeps no parent."""
        self._widgets.remove(widget)
        widget.hide()
        widget.setParent(None)
        self.place()

    def widgets(self) -> list[QWidget]:
        """In order."""
        return list(self._widgets)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        if width not in self._heights:
            lines = self._lines(width)
            heights = [max(widget.sizeHint().height() for widget in line) for line in lines]
            self._heights[width] = sum(heights) + self._line_gap_px * max(0, len(lines) - 1)
        return self._heights[width]

    def sizeHint(self) -> QSize:
        shown = self._shown()
        width = sum(widget.sizeHint().width() for widget in shown) + self._gap_px * max(0, len(shown) - 1)
        return QSize(width, max((widget.sizeHint().height() for widget in shown), default=0))

    def minimumSizeHint(self) -> QSize:
        shown = self._shown()
        width = max((widget.minimumSizeHint().width() for widget in shown), default=0)
        return QSize(width, max((widget.sizeHint().height() for widget in shown), default=0))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.place()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.place()  # while it was hidden, nobody told it that a widget wants another size

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # a widget wants another size, came or went
            self.place()
        return super().event(event)

    def place(self) -> None:
        """Puts everything into its place again, after a widget wants another size."""
        self._heights = {}
        # As high as its lines need: layouts within layouts do not always ask for the height at the real width.
        height = self.heightForWidth(self.width())
        if height != self.minimumHeight():
            self.setMinimumHeight(height)
        self.updateGeometry()
        self._place()

    def _shown(self) -> list[QWidget]:
        return [widget for widget in self._widgets if not widget.isHidden()]

    def _lines(self, width: int) -> list[list[QWidget]]:
        lines: list[list[QWidget]] = []
        left = 0
        for widget in self._shown():
            needed = widget.sizeHint().width()
            if lines and left + self._gap_px + needed <= width:
                lines[-1].append(widget)
                left += self._gap_px + needed
            else:
                lines.append([widget])
                left = needed
        return lines

    def _place(self) -> None:
        top = 0
        lines = self._lines(self.width())
        for line in lines:
            height = max(widget.sizeHint().height() for widget in line)
            for widget, left in zip(line, self._lefts(line, is_only=len(lines) == 1), strict=True):
                size = widget.sizeHint()
                width = min(size.width(), self.width())
                place = QRect(left, top + (height - size.height()) // 2, width, size.height())
                if widget.geometry() != place:
                    widget.setGeometry(place)
            top += height + self._line_gap_px

    def _lefts(self, line: list[QWidget], *, is_only: bool) -> list[int]:
        widths = [min(widget.sizeHint().width(), self.width()) for widget in line]
        spare = self.width() - sum(widths) - self._gap_px * (len(line) - 1)
        gaps = [float(self._gap_px)] * (len(line) - 1)
        if is_only and gaps and spare > 0:
            if self._justify:
                gaps = [gap + spare / len(gaps) for gap in gaps]
            elif self._spread:
                gaps[-1] += spare
        lefts = [0.0]
        for width, gap in zip(widths, gaps, strict=False):
            lefts.append(lefts[-1] + width + gap)
        return [round(left) for left in lefts[: len(line)]]
