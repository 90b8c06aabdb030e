"""Buttons in the design's kinds. They paint themselves: size, gap and colours are exact in both themes."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QEnterEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from desktop.widgets.icons import draw_icon
from desktop.widgets.theme import Theme, is_size_change, scaled, text_font, theme_of

ButtonKind = Literal["normal", "primary", "quiet", "danger"]
ButtonSize = Literal["normal", "small", "big", "tiny"]

# size -> height, side padding, text size, icon size, radius
_SIZES: dict[ButtonSize, tuple[int, int, float, int, int]] = {
    "big": (48, 24, 16, 18, 10),
    "normal": (36, 14, 14, 18, 8),
    "small": (30, 10, 13, 16, 8),
    "tiny": (26, 8, 12, 16, 8),
}


class Button(QPushButton):
    """A push button with text, an icon, or both. Signals: those of QPushButton."""

    def __init__(
        self,
        text: str = "",
        *,
        icon_name: str = "",
        kind: ButtonKind = "normal",
        size: ButtonSize = "normal",
        weight: int | None = None,
        icon_at_end: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(text, parent)
        self._icon_name = icon_name
        self._kind: ButtonKind = kind
        self._size: ButtonSize = size
        self._weight = weight if weight is not None else (600 if kind == "primary" else 500)
        self._gap_px = 8
        self._icon_at_end = icon_at_end
        self._hovered = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setProperty("focus_radius", float(_SIZES[size][4]))
        self._apply_font()

    def set_kind(self, kind: ButtonKind) -> None:
        """Changes the look, for example of a send button that becomes Stop."""
        self._kind = kind
        self.update()

    def set_icon_name(self, icon_name: str) -> None:
        """Another drawing from assets/icons, or none."""
        if icon_name != self._icon_name:
            self._icon_name = icon_name
            self.updateGeometry()
            self.update()

    def icon_name(self) -> str:
        """The drawing that is shown."""
        return self._icon_name

    def sizeHint(self) -> QSize:
        height, padding, _, icon_px, _ = _SIZES[self._size]
        if not self.text():
            side = scaled(32 if self._size in {"small", "tiny"} or self._kind == "quiet" else height)
            return QSize(side, side)
        width = self.fontMetrics().horizontalAdvance(self.text()) + 2 * scaled(padding) + 2
        if self._icon_name:
            width += scaled(icon_px) + scaled(self._gap_px)
        return QSize(width, scaled(height))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def enterEvent(self, event: QEnterEvent) -> None:
        self._hovered = True
        self.update()
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = False
        self.update()
        super().leaveEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_font()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground, outline, ink = self._colors(theme_of(self))
        radius = _SIZES[self._size][4]
        if ground:
            painter.setBrush(QColor(ground))
        painter.setPen(QPen(QColor(outline), 1) if outline else Qt.PenStyle.NoPen)
        if ground or outline:
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), radius - 0.5, radius - 0.5)
        self._paint_content(painter, ink)

    def _paint_content(self, painter: QPainter, ink: str) -> None:
        icon_px = scaled(_SIZES[self._size][3])
        text = self.text()
        if not text:
            if self._icon_name:
                draw_icon(painter, _centred(QRectF(self.rect()), icon_px), self._icon_name, ink)
            return
        text_width = self.fontMetrics().horizontalAdvance(text)
        icon_width = icon_px + scaled(self._gap_px) if self._icon_name else 0
        left = self._content_left(text_width + icon_width)
        if self._icon_name:
            icon_left = left + text_width + scaled(self._gap_px) if self._icon_at_end else left
            icon_rect = QRectF(icon_left, (self.height() - icon_px) / 2, icon_px, icon_px)
            draw_icon(painter, icon_rect, self._icon_name, ink)
        painter.setPen(QColor(ink))
        painter.setFont(self.font())
        text_left = left if self._icon_at_end else left + icon_width
        rect = QRectF(text_left, 0, text_width + 2, self.height())
        painter.drawText(rect, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)

    def _content_left(self, content_width: int) -> float:
        return (self.width() - content_width) / 2

    def _colors(self, theme: Theme) -> tuple[str, str, str]:
        """Ground, outline, ink; empty means none."""
        hovered = self._hovered or self.isDown() or (self.menu() is not None and self.menu().isVisible())
        if not self.isEnabled():
            match self._kind:
                case "primary":
                    return theme.hover, theme.line, theme.ink3
                case "quiet":
                    return "", "", theme.ink3
                case _:
                    return theme.surface, theme.line, theme.ink3
        match self._kind:
            case "primary":
                ground = theme.accent_hover if hovered else theme.accent
                return ground, ground, theme.on_accent
            case "quiet":
                return (theme.hover if hovered else ""), "", theme.ink2
            case "danger":
                return (theme.no_ground if hovered else theme.surface), theme.no, theme.no
            case "normal":
                return (theme.hover if hovered else theme.surface), theme.edge, theme.ink

    def _apply_font(self) -> None:
        self.setFont(text_font(_SIZES[self._size][2], self._weight))
        self.updateGeometry()


class IconButton(Button):
    """A button that shows only a drawing; its name is spoken and shown as a tooltip. Hit area at least 32."""

    def __init__(
        self,
        icon_name: str,
        name: str,
        *,
        kind: ButtonKind = "quiet",
        size: ButtonSize = "normal",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(icon_name=icon_name, kind=kind, size=size, parent=parent)
        self.set_name(name)

    def set_name(self, name: str) -> None:
        """What the button does, for screen readers and as a tooltip."""
        self.setAccessibleName(name)
        self.setToolTip(name)


def _centred(rect: QRectF, size: float) -> QRectF:
    return QRectF(rect.x() + (rect.width() - size) / 2, rect.y() + (rect.height() - size) / 2, size, size)
