"""The card in the header that names the model, shows its memory and opens the choice of others."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QEnterEvent, QFontMetrics, QFontMetricsF, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from desktop.widgets.icons import draw_icon
from desktop.widgets.memory_bar import MemoryBar, MemoryState
from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.theme import is_size_change, scaled, text_font, theme_of

_HEIGHT_PX = 40
_PAD_LEFT_PX, _PAD_RIGHT_PX, _GAP_PX = 12, 10, 12
_BAR_PX, _NARROW_BAR_PX = 132, 84
_MOST_NAME_PX = 260


class ModelSwitcher(QPushButton):
    """Name, a second line such as "7.6 GB in memory", a mini bar. Signals: entry_chosen(id); clicked.

    With little room the bar becomes shorter, then goes; then the second line goes.
    """

    entry_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = ""
        self._detail = ""
        self._entries: tuple[MenuEntry, ...] = ()
        self._menu = PopupMenu(self)
        self._hovered = False
        self._has_memory = False
        self._bar = MemoryBar("mini", parent=self)
        self._bar.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._bar.hide()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.setProperty("focus_radius", 10.0)
        self.clicked.connect(self._on_clicked)

    def set_model(self, name: str, detail: str, memory: MemoryState | None = None) -> None:
        """What is chosen; `memory` None shows no bar."""
        self._name, self._detail = name, detail
        if memory is not None:
            self._bar.set_state(memory)
        self._has_memory = memory is not None
        self.setAccessibleName(self.tr("Model: {name}, {detail}").format(name=name, detail=detail))
        self.setToolTip(memory.description if memory is not None else "")
        self.updateGeometry()
        self._place()
        self.update()

    def set_entries(self, entries: Iterable[MenuEntry]) -> None:
        """The choices; without any, a click only emits `clicked`."""
        self._entries = tuple(entries)

    def sizeHint(self) -> QSize:
        return QSize(self._width_with(_BAR_PX if self._has_memory else 0), scaled(_HEIGHT_PX))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(140), scaled(_HEIGHT_PX))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self.updateGeometry()
            self._place()

    def enterEvent(self, event: QEnterEvent) -> None:
        self._hovered = True
        self.update()
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = False
        self.update()
        super().leaveEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(theme.edge), 1))
        painter.setBrush(QColor(theme.hover if self._hovered or self.isDown() else theme.surface))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 9.5, 9.5)
        icon = scaled(18)
        draw_icon(painter, QRectF(1 + _PAD_LEFT_PX, (self.height() - icon) / 2 - 2, icon, icon), "models", theme.accent)
        chevron = scaled(16)
        right = self.width() - 1 - _PAD_RIGHT_PX - chevron
        draw_icon(painter, QRectF(right, (self.height() - chevron) / 2, chevron, chevron), "down", theme.ink)
        left = self._text_left()
        width = (self._bar.x() if self._bar.isVisibleTo(self) else right) - _GAP_PX - left
        self._draw_words(painter, left, width)

    def _draw_words(self, painter: QPainter, left: int, width: int) -> None:
        theme = theme_of(self)
        name_font, detail_font = text_font(14, 600), text_font(12)
        name_line, detail_line = scaled(18), scaled(16)
        shows_detail = bool(self._detail) and self.height() >= name_line + detail_line
        top = (self.height() - name_line - (detail_line if shows_detail else 0)) / 2
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        elide = Qt.TextElideMode.ElideRight
        painter.setFont(name_font)
        painter.setPen(QColor(theme.ink))
        name = QFontMetrics(name_font).elidedText(self._name, elide, width)
        painter.drawText(QRectF(left, top, width + 2, name_line), flags, name)
        if shows_detail:
            painter.setFont(detail_font)
            painter.setPen(QColor(theme.ink3))
            detail = QFontMetrics(detail_font).elidedText(self._detail, elide, width)
            painter.drawText(QRectF(left, top + name_line, width + 2, detail_line), flags, detail)

    def _text_left(self) -> int:
        return 1 + _PAD_LEFT_PX + scaled(18) + _GAP_PX

    def _width_with(self, bar_px: int) -> int:
        name = QFontMetricsF(text_font(14, 600)).horizontalAdvance(self._name)
        detail = QFontMetricsF(text_font(12)).horizontalAdvance(self._detail)
        # Rounded up, or the last letter would become dots.
        words = min(ceil(max(name, detail)) + 1, scaled(_MOST_NAME_PX))
        bar = bar_px + _GAP_PX if bar_px else 0
        return self._text_left() + words + _GAP_PX + bar + scaled(16) + _PAD_RIGHT_PX + 1

    def _place(self) -> None:
        width = next((bar for bar in (_BAR_PX, _NARROW_BAR_PX) if self.width() >= self._width_with(bar)), 0)
        self._bar.setVisible(self._has_memory and width > 0)
        right = self.width() - 1 - _PAD_RIGHT_PX - scaled(16) - _GAP_PX
        self._bar.setGeometry(right - width, (self.height() - 10) // 2, width, 10)

    def _on_clicked(self) -> None:
        if not self._entries:
            return
        self._menu.setMinimumWidth(self.width())
        position = self.mapToGlobal(QPoint(0, self.height() + 4))
        self._menu.open_with(self._entries, self.entry_chosen.emit, position)
