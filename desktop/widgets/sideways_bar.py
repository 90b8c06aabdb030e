"""The scroll bar under something wider than the column: it appears with the need and goes with it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRect, Qt
from PySide6.QtWidgets import QScrollBar, QWidget

HEIGHT_PX = 14
_STEP_PX = 32


class SidewaysBar:
    """Owns the scroll bar of one block, if it has one, and the distance scrolled."""

    def __init__(self, on_scrolled: Callable[[], None]) -> None:
        self._on_scrolled = on_scrolled
        self._bar: QScrollBar | None = None
        self._most = 0
        self.offset = 0

    def set_range(self, content_width: float, width: float) -> None:
        """How wide the content is, and how much of it is seen."""
        self._most = max(0, round(content_width - width))
        self.offset = min(self.offset, self._most)
        if self._bar is not None:
            self._bar.setRange(0, self._most)
            self._bar.setPageStep(round(width))

    def is_needed(self) -> bool:
        """Whether the content is wider than what is seen."""
        return self._most > 0

    def attach(self, host: QWidget, area: QRect) -> None:
        """The block is on screen; the bar, if it is needed, stands in `area`."""
        if not self.is_needed():
            self.detach()
            return
        if self._bar is None:
            self._bar = QScrollBar(Qt.Orientation.Horizontal, host)
            self._bar.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            self._bar.setSingleStep(_STEP_PX)
            self._bar.setRange(0, self._most)
            self._bar.setPageStep(area.width())
            self._bar.setValue(self.offset)
            self._bar.valueChanged.connect(self._on_value)
            self._bar.show()
        self._bar.setGeometry(area)

    def detach(self) -> None:
        """The block left the screen; the offset stays."""
        if self._bar is not None:
            self._bar.hide()
            self._bar.deleteLater()
            self._bar = None

    def scroll_by(self, pixels: float) -> bool:
        """Scrolls; False where there is nothing to scroll in that direction."""
        offset = min(max(0, round(self.offset + pixels)), self._most)
        if offset == self.offset:
            return False
        if self._bar is not None:
            self._bar.setValue(offset)
        self.offset = offset
        return True

    def _on_value(self, value: int) -> None:
        self.offset = value
        self._on_scrolled()
