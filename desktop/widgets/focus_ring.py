"""The ring around the control that has the keyboard: 2 px, 2 px away.

A style sheet cannot draw outside a widget, so one small transparent widget follows the focus. It appears only when
the keyboard moved the focus, not after a click.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

_DISTANCE_PX = 4
"""2 px of air and 2 px of ring."""


class _Ring(QWidget):
    def __init__(self, host: QWidget, radius: float) -> None:
        super().__init__(host)
        self._radius = radius
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(self.palette().color(QPalette.ColorRole.Accent)), 2))
        radius = self._radius + _DISTANCE_PX - 1
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), radius, radius)


class FocusRing(QObject):
    """Follows the focused widget.

    A widget says with the property `focus_radius` how round it is (-1: no ring), with `focus_inside` that the ring
    stands inside it, with `focus_target` that another widget, such as its card, is ringed for it.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._ring: _Ring | None = None
        self._host: QWidget | None = None
        self._watched: list[QWidget] = []

    def follow(self, old: QWidget | None, new: QWidget | None) -> None:
        """Slot for QApplication.focusChanged."""
        del old
        self._let_go()
        if new is None or not new.window().testAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange):
            return
        target = _ring_target(new)
        radius = target.property("focus_radius")
        if radius is not None and radius < 0:
            return
        host = _host_of(target)
        if host is None:
            return
        self._host = host
        self._ring = _Ring(host, float(radius) if radius is not None else 8.0)
        widget: QWidget | None = target
        while widget is not None and widget is not host:
            widget.installEventFilter(self)
            self._watched.append(widget)
            widget = widget.parentWidget()
        self._place()
        self._ring.show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        match event.type():
            case QEvent.Type.Move | QEvent.Type.Resize | QEvent.Type.Show | QEvent.Type.ZOrderChange:
                self._place()
            case QEvent.Type.Hide | QEvent.Type.ParentAboutToChange:
                if watched in self._watched:
                    self._let_go()
            case _:
                pass
        return False

    def _place(self) -> None:
        if self._ring is None or self._host is None or not self._watched:
            return
        target = self._watched[0]
        host = self._host
        corner = target.mapTo(host, QPoint(0, 0))
        # A whole area has no room around it: its ring stands inside.
        distance = -2 if target.property("focus_inside") else _DISTANCE_PX
        self._ring.setGeometry(QRect(corner, target.size()).adjusted(-distance, -distance, distance, distance))
        self._ring.raise_()

    def _let_go(self) -> None:
        for widget in self._watched:
            widget.removeEventFilter(self)
        self._watched = []
        if self._ring is not None:
            self._ring.hide()
            self._ring.deleteLater()
            self._ring = None


def _ring_target(widget: QWidget) -> QWidget:
    """The widget that stands for `widget`: a text field inside a card hands the ring to its card."""
    target = widget.property("focus_target")
    return target if isinstance(target, QWidget) else widget


def _host_of(widget: QWidget) -> QWidget | None:
    """The nearest ancestor that can show a ring without cutting it: a scrolled page, or the window."""
    ancestor = widget.parentWidget()
    while ancestor is not None and not ancestor.isWindow():
        if isinstance(ancestor.parentWidget(), QAbstractScrollArea):
            return ancestor
        ancestor = ancestor.parentWidget()
    return ancestor
