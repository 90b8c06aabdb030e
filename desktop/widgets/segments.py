"""A few choices side by side of which one is chosen, each with a count: "Installed 2"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QRadioButton, QSizePolicy, QWidget

from desktop.widgets.memory_bar import rounded_path
from desktop.widgets.theme import is_size_change, scaled, text_font, theme_of

_HEIGHT_PX, _PAD_PX, _GAP_PX, _RADIUS_PX = 36, 14, 6, 8


@dataclass(frozen=True, slots=True)
class Segment:
    """One choice; `count` None shows none."""

    id: str
    label: str
    count: int | None = None


class _SegmentButton(QRadioButton):
    """Looks like a part of a bar and is, for screen readers and keys, one of a group of radio buttons."""

    def __init__(self, segment: Segment, *, is_first: bool, is_last: bool) -> None:
        super().__init__()
        self._segment = segment
        self._is_first = is_first
        self._is_last = is_last
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setProperty("focus_radius", float(_RADIUS_PX))
        self.set_segment(segment)

    @property
    def segment(self) -> Segment:
        return self._segment

    def set_segment(self, segment: Segment) -> None:
        self._segment = segment
        count = "" if segment.count is None else f" {segment.count}"
        self.setAccessibleName(f"{segment.label}{count}")
        self.updateGeometry()
        self.update()

    def _fonts(self) -> tuple[QFont, QFont]:
        return text_font(14, 600 if self.isChecked() else 400), text_font(14, 400, tabular=True)

    def _width_of(self, label_font: QFont) -> int:
        width = QFontMetricsF(label_font).horizontalAdvance(self._segment.label)
        if self._segment.count is not None:
            width += scaled(2 * _GAP_PX)
            width += QFontMetricsF(self._fonts()[1]).horizontalAdvance(str(self._segment.count))
        return ceil(width)

    def sizeHint(self) -> QSize:
        # As wide as when it is chosen, so that choosing moves nothing.
        return QSize(self._width_of(text_font(14, 600)) + 2 * scaled(_PAD_PX), scaled(_HEIGHT_PX))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def hitButton(self, position: QPoint) -> bool:
        return self.rect().contains(position)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self.updateGeometry()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        left = _RADIUS_PX - 1 if self._is_first else 0
        right = _RADIUS_PX - 1 if self._is_last else 0
        rest = theme.hover if self.underMouse() else theme.surface
        painter.setBrush(QColor(theme.soft if self.isChecked() else rest))
        painter.drawPath(rounded_path(QRectF(self.rect()).adjusted(0, 1, 0, -1), left, right))
        if not self._is_first:
            painter.fillRect(QRectF(0, 1, 1, self.height() - 2), QColor(theme.line))
        label_font, count_font = self._fonts()
        x = (self.width() - self._width_of(label_font)) / 2
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.setFont(label_font)
        painter.setPen(QColor(theme.accent if self.isChecked() else theme.ink2))
        painter.drawText(QRectF(x, 0, self.width(), self.height()), flags, self._segment.label)
        if self._segment.count is not None:
            x += QFontMetricsF(label_font).horizontalAdvance(self._segment.label) + scaled(2 * _GAP_PX)
            painter.setFont(count_font)
            painter.setPen(QColor(theme.ink3))
            painter.drawText(QRectF(x, 0, self.width(), self.height()), flags, str(self._segment.count))


class Segments(QWidget):
    """The bar. Signals: chosen(id), when the user or `choose` chose another one."""

    chosen = Signal(str)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        """`name` says what is chosen here, for screen readers."""
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._group = QButtonGroup(self)
        self._group.buttonToggled.connect(self._on_toggled)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(1, 0, 1, 0)
        self._row.setSpacing(0)
        self._buttons: dict[str, _SegmentButton] = {}

    def set_segments(self, segments: Iterable[Segment]) -> None:
        """The choices; the first is chosen, which emits nothing. Only counts and labels may change afterwards."""
        given = list(segments)
        if [segment.id for segment in given] == list(self._buttons):
            for segment in given:
                self._buttons[segment.id].set_segment(segment)
            return
        for index, segment in enumerate(given):
            button = _SegmentButton(segment, is_first=index == 0, is_last=index == len(given) - 1)
            self._group.addButton(button)
            self._row.addWidget(button)
            button.setChecked(index == 0)
            self._buttons[segment.id] = button

    def segments(self) -> list[Segment]:
        """What is offered."""
        return [button.segment for button in self._buttons.values()]

    def current(self) -> str:
        """The id of the one that is chosen; empty without any."""
        return next((segment_id for segment_id, button in self._buttons.items() if button.isChecked()), "")

    def choose(self, segment_id: str) -> None:
        """Chooses one, as a click would."""
        self._buttons[segment_id].setChecked(True)

    def focus_current(self) -> None:
        """Puts the keyboard onto the one that is chosen."""
        if self._buttons:
            self._buttons[self.current()].setFocus(Qt.FocusReason.TabFocusReason)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(theme.edge), 1))
        painter.setBrush(QColor(theme.surface))
        radius = _RADIUS_PX - 0.5
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), radius, radius)

    def _on_toggled(self, button: _SegmentButton, is_checked: bool) -> None:
        if is_checked and self._buttons.get(button.segment.id) is button:
            self.chosen.emit(button.segment.id)
