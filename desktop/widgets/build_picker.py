"""The forms that a model comes in, one beneath the other, each with its size and its verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QFontMetricsF, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QRadioButton, QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.fit_badge import FitKind, badge_size, fit_words, paint_badge
from desktop.widgets.theme import is_size_change, scaled, text_font, theme_of

_ROW_PX, _RADIO_PX, _GAP_PX = 46, 18, 10
_NAME_LINE_PX, _DETAIL_LINE_PX = 18, 16


@dataclass(frozen=True, slots=True)
class BuildChoice:
    """One form: `name` such as "Balanced", `size` "6.0 GB", `detail` "4-bit, UD-Q4_K_XL".

    `kind` None: no badge, for a file with a problem.
    """

    id: str
    name: str
    size: str
    detail: str
    kind: FitKind | None = "unknown"


class _BuildRow(QRadioButton):
    """A radio button with two lines of words and a badge, which moves beneath the words where there is no room."""

    def __init__(self, choice: BuildChoice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choice = choice
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setProperty("focus_radius", 6.0)
        self.setProperty("focus_inside", True)
        self.set_choice(choice)

    @property
    def choice(self) -> BuildChoice:
        return self._choice

    def set_choice(self, choice: BuildChoice) -> None:
        self._choice = choice
        words = (choice.name, choice.size, choice.detail, fit_words(choice.kind) if choice.kind is not None else "")
        self.setAccessibleName(", ".join(word for word in words if word))
        self._apply_height()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(200), self._height_at(self.width()))

    def minimumSizeHint(self) -> QSize:
        return QSize(self._badge_size().width() + self._left(), self._height_at(self.width()))

    def hitButton(self, position: QPoint) -> bool:
        return self.rect().contains(position)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._apply_height()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_height()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(0, 0, self.width(), 1, QColor(theme.line))
        if self.underMouse() and not self.isChecked():
            painter.fillRect(0, 1, self.width(), self.height() - 1, QColor(theme.hover))
        words_height = scaled(_NAME_LINE_PX) + (scaled(_DETAIL_LINE_PX) if self._choice.detail else 0)
        badge = self._badge_size()
        is_beneath = self._is_beneath(self.width())
        whole = words_height + (4 + badge.height() if is_beneath else 0)
        top = 1 + (self.height() - 1 - whole) / 2
        self._paint_radio(painter, top + words_height / 2)
        room = self.width() - self._left() - (0 if is_beneath else badge.width() + scaled(_GAP_PX))
        self._paint_words(painter, top, room)
        if is_beneath:
            place = QRectF(self._left(), top + words_height + 4, badge.width(), badge.height())
        else:
            place = QRectF(
                self.width() - badge.width(), (self.height() - badge.height()) / 2, badge.width(), badge.height()
            )
        if self._choice.kind is not None:
            paint_badge(painter, theme, place, self._choice.kind)

    def _paint_radio(self, painter: QPainter, middle: float) -> None:
        theme = theme_of(self)
        side = scaled(_RADIO_PX)
        circle = QRectF(1, middle - side / 2, side, side)
        width = 5.5 * side / _RADIO_PX if self.isChecked() else 1.5
        painter.setPen(QPen(QColor(theme.accent if self.isChecked() else theme.edge), width))
        painter.setBrush(QColor(theme.surface))
        painter.drawEllipse(circle.adjusted(width / 2, width / 2, -width / 2, -width / 2))

    def _paint_words(self, painter: QPainter, top: float, room: int) -> None:
        theme = theme_of(self)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        name_font, size_font, detail_font = self._fonts()
        size_width = ceil(QFontMetricsF(size_font).horizontalAdvance(self._choice.size))
        name_room = max(0, room - size_width - scaled(6))
        name = QFontMetrics(name_font).elidedText(self._choice.name, Qt.TextElideMode.ElideRight, name_room)
        x = float(self._left())
        line = QRectF(x, top, room + 2, scaled(_NAME_LINE_PX))
        painter.setFont(name_font)
        painter.setPen(QColor(theme.ink))
        painter.drawText(line, flags, name)
        x += QFontMetricsF(name_font).horizontalAdvance(name) + scaled(5)
        painter.setFont(size_font)
        painter.setPen(QColor(theme.ink2))
        painter.drawText(QRectF(x, top, size_width + 2, scaled(_NAME_LINE_PX)), flags, self._choice.size)
        painter.setFont(detail_font)
        painter.setPen(QColor(theme.ink3))
        detail = QFontMetrics(detail_font).elidedText(self._choice.detail, Qt.TextElideMode.ElideRight, room)
        line = QRectF(self._left(), top + scaled(_NAME_LINE_PX), room + 2, scaled(_DETAIL_LINE_PX))
        painter.drawText(line, flags, detail)

    def _fonts(self) -> tuple[QFont, QFont, QFont]:
        return text_font(14, 600 if self.isChecked() else 500), text_font(13, tabular=True), text_font(12)

    def _badge_size(self) -> QSize:
        return badge_size(self._choice.kind) if self._choice.kind is not None else QSize(0, 0)

    @staticmethod
    def _left() -> int:
        return scaled(_RADIO_PX) + scaled(_GAP_PX)

    def _is_beneath(self, width: int) -> bool:
        _, size_font, detail_font = self._fonts()
        first = QFontMetricsF(text_font(14, 600)).horizontalAdvance(self._choice.name) + scaled(6)
        first += QFontMetricsF(size_font).horizontalAdvance(self._choice.size)
        second = QFontMetricsF(detail_font).horizontalAdvance(self._choice.detail)
        return self._left() + max(first, second) + scaled(_GAP_PX) + self._badge_size().width() > width

    def _height_at(self, width: int) -> int:
        return scaled(_ROW_PX) + (self._badge_size().height() + 4 if self._is_beneath(width) else 0)

    def _apply_height(self) -> None:
        height = self._height_at(self.width())
        if height != self.height() or self.minimumHeight() != height:
            self.setFixedHeight(height)


class BuildPicker(QWidget):
    """A column of forms, one of them chosen. Signals: chosen(id), when the user chose another one."""

    chosen = Signal(str)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        """`name` says what is chosen here, for screen readers."""
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._group = QButtonGroup(self)
        self._group.buttonToggled.connect(self._on_toggled)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._rows: dict[str, _BuildRow] = {}
        self._is_filling = False

    def set_choices(self, choices: Iterable[BuildChoice], current: str) -> None:
        """The forms, and the one that is chosen. Emits nothing."""
        given = list(choices)
        self._is_filling = True
        if [choice.id for choice in given] == list(self._rows):
            for choice in given:
                self._rows[choice.id].set_choice(choice)
        else:
            self._clear()
            for choice in given:
                row = _BuildRow(choice, self)
                self._group.addButton(row)
                self._column.addWidget(row)
                self._rows[choice.id] = row
        if current in self._rows:
            self._rows[current].setChecked(True)
        self._is_filling = False

    def choices(self) -> list[BuildChoice]:
        """What is offered."""
        return [row.choice for row in self._rows.values()]

    def current(self) -> str:
        """The id of the one that is chosen; empty without any."""
        return next((build_id for build_id, row in self._rows.items() if row.isChecked()), "")

    def choose(self, build_id: str) -> None:
        """Chooses one, as a click would."""
        self._rows[build_id].setChecked(True)

    def _clear(self) -> None:
        for row in self._rows.values():
            self._group.removeButton(row)
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self._rows = {}

    def _on_toggled(self, button: _BuildRow, is_checked: bool) -> None:
        if is_checked and not self._is_filling:
            self.chosen.emit(button.choice.id)
