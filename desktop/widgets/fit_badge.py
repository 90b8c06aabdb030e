"""The verdict on a model in a word, a colour and a drawing: the same everywhere."""

from __future__ import annotations

from math import ceil
from typing import Literal

from PySide6.QtCore import QCoreApplication, QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.widgets.icons import draw_icon
from desktop.widgets.theme import Theme, is_size_change, scaled, text_font, theme_of

FitKind = Literal["fits", "less_context", "streams", "cannot", "unknown"]
FitTone = Literal["ok", "less", "disk", "no", "ink2"]

_LOOKS: dict[FitKind, tuple[FitTone, str, str]] = {
    # kind: ink, ground, drawing
    "fits": ("ok", "ok_ground", "verdict-fits"),
    "less_context": ("less", "less_ground", "verdict-less"),
    "streams": ("disk", "disk_ground", "verdict-streams"),
    "cannot": ("no", "no_ground", "verdict-cannot"),
    "unknown": ("ink2", "hover", "verdict-unknown"),
}
_HEIGHT_PX, _LEFT_PX, _GAP_PX, _RIGHT_PX, _ICON_PX, _RADIUS_PX = 24, 6, 6, 9, 20, 8
_TEXT_PX = 12.5


def fit_words(kind: FitKind) -> str:
    """The verdict's own words; never others for the same thing."""
    match kind:
        case "fits":
            return QCoreApplication.translate("FitBadge", "Fits")
        case "less_context":
            return QCoreApplication.translate("FitBadge", "Fits with less context")
        case "streams":
            return QCoreApplication.translate("FitBadge", "Streams from disk")
        case "cannot":
            return QCoreApplication.translate("FitBadge", "Cannot run here")
        case "unknown":
            return QCoreApplication.translate("FitBadge", "Not known yet")


def fit_tone(kind: FitKind) -> FitTone:
    """The theme's colour for words about this verdict."""
    return _LOOKS[kind][0]


def fit_icon(kind: FitKind) -> str:
    """The verdict's drawing in assets/icons."""
    return _LOOKS[kind][2]


def badge_size(kind: FitKind) -> QSize:
    """How large a badge is drawn at the present text size."""
    words = ceil(QFontMetricsF(text_font(_TEXT_PX, 600)).horizontalAdvance(fit_words(kind)))
    width = scaled(_LEFT_PX) + scaled(_ICON_PX) + scaled(_GAP_PX) + words + scaled(_RIGHT_PX)
    return QSize(width, scaled(_HEIGHT_PX))


def paint_badge(painter: QPainter, theme: Theme, rect: QRectF, kind: FitKind) -> None:
    """Draws a badge that fills `rect`."""
    tone, ground, drawing = _LOOKS[kind]
    ink = QColor(getattr(theme, tone))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(getattr(theme, ground)))
    painter.drawRoundedRect(rect, _RADIUS_PX, _RADIUS_PX)
    icon = scaled(_ICON_PX)
    left = rect.x() + scaled(_LEFT_PX)
    draw_icon(painter, QRectF(left, rect.y() + (rect.height() - icon) / 2, icon, icon), drawing, ink)
    left += icon + scaled(_GAP_PX)
    painter.setFont(text_font(_TEXT_PX, 600))
    painter.setPen(ink)
    words = QRectF(left, rect.y(), rect.right() - left + 2, rect.height())
    painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, fit_words(kind))


class FitBadge(QWidget):
    """One badge. Values in, no signals."""

    def __init__(self, kind: FitKind = "unknown", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind: FitKind = kind
        self._size: QSize | None = None
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(fit_words(kind))

    def set_kind(self, kind: FitKind) -> None:
        """Another verdict."""
        if kind != self._kind:
            self._kind = kind
            self._size = None
            self.setAccessibleName(fit_words(kind))
            self.updateGeometry()
            self.update()

    def kind(self) -> FitKind:
        """What is shown."""
        return self._kind

    def sizeHint(self) -> QSize:
        if self._size is None:
            self._size = badge_size(self._kind)
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
        paint_badge(QPainter(self), theme_of(self), QRectF(self.rect()), self._kind)
