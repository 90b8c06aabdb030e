"""A scroll bar that lies over the right edge of its area, so that the column beneath stays where it is."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QAbstractScrollArea, QScrollBar


class OverlayScrollBar(QScrollBar):
    """Shows and moves the vertical scroll bar of `area`, whose own one is hidden."""

    def __init__(self, area: QAbstractScrollArea) -> None:
        super().__init__(Qt.Orientation.Vertical, area)
        self._area = area
        self._source = area.verticalScrollBar()
        area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.installEventFilter(self)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._source.rangeChanged.connect(self._on_range_changed)
        self._source.valueChanged.connect(self.setValue)
        self.valueChanged.connect(self._source.setValue)
        self._on_range_changed(self._source.minimum(), self._source.maximum())
        self._place()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._area and event.type() in {QEvent.Type.Resize, QEvent.Type.LayoutRequest}:
            self._place()
        return False

    def _on_range_changed(self, minimum: int, maximum: int) -> None:
        value = self._source.value()
        self.setPageStep(self._source.pageStep())
        self.setSingleStep(self._source.singleStep())
        blocked = self.blockSignals(True)  # a smaller range must not move the area by itself
        self.setRange(minimum, maximum)
        self.setValue(value)
        self.blockSignals(blocked)
        self.setVisible(maximum > minimum)
        self.raise_()

    def _place(self) -> None:
        width = self.sizeHint().width()
        self.setGeometry(self._area.width() - width, 0, width, self._area.height())
        self.raise_()
