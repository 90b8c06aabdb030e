"""Notices: what happened, what to do. They stand where the trouble is; nothing pops up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.buttons import Button, IconButton
from desktop.widgets.icons import draw_icon
from desktop.widgets.text import Text, Tone
from desktop.widgets.theme import Theme, scaled, theme_of

Severity = Literal["info", "ok", "warning", "error"]
_ICONS: dict[Severity, str] = {"info": "info", "ok": "check", "warning": "info", "error": "info"}
_TONES: dict[Severity, Tone] = {"info": "disk", "ok": "ok", "warning": "less", "error": "no"}
_RADIUS_PX = 10
_ICON_PX = 18


@dataclass(frozen=True, slots=True)
class NoticeAction:
    """A button on a notice: `label` is a verb."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice says. A second notice with the same `key` takes the first one's place."""

    key: str
    severity: Severity
    title: str
    advice: str = ""
    details: str = ""
    """Behind "Copy details"; never shown."""
    actions: tuple[NoticeAction, ...] = ()
    icon_name: str = ""
    closable: bool = True


class NoticeView(QWidget):
    """One notice.

    Signals: action_requested(key, action id); closed(key).
    """

    action_requested = Signal(str, str)
    closed = Signal(str)

    def __init__(self, notice: Notice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._notice = notice
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.setAccessibleName(f"{notice.title} {notice.advice}".strip())
        tone = _TONES[notice.severity]
        row = QHBoxLayout(self)
        row.setContentsMargins(14 + _ICON_PX + 12, 10, 14, 10)
        row.setSpacing(12)
        words = QVBoxLayout()
        words.setContentsMargins(0, 0, 0, 0)
        words.setSpacing(0)
        words.addWidget(Text(notice.title, "strong", tone, wrap=True))
        if notice.advice:
            words.addWidget(Text(notice.advice, "secondary", wrap=True))
        words.addStretch(1)
        row.addLayout(words, 1)
        self._add_buttons(row)

    def notice(self) -> Notice:
        """What is shown."""
        return self._notice

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink, ground = _severity_colors(theme_of(self), self._notice.severity)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ground))
        painter.drawRoundedRect(QRectF(self.rect()), _RADIUS_PX, _RADIUS_PX)
        icon_name = self._notice.icon_name or _ICONS[self._notice.severity]
        top = 10 + (scaled(20) - _ICON_PX) / 2
        draw_icon(painter, QRectF(14, top, _ICON_PX, _ICON_PX), icon_name, ink)

    def _add_buttons(self, row: QHBoxLayout) -> None:
        notice = self._notice
        top = Qt.AlignmentFlag.AlignTop
        if notice.details:
            copy = Button(self.tr("Copy details"), size="small", kind="quiet")
            copy.clicked.connect(self._on_copy_details)
            row.addWidget(copy, 0, top)
        for action in notice.actions:
            button = Button(action.label, size="small")
            button.clicked.connect(lambda _=False, action_id=action.id: self._on_action(action_id))
            row.addWidget(button, 0, top)
        if notice.closable:
            close = IconButton("close", self.tr("Close"), size="small")
            close.clicked.connect(lambda: self.closed.emit(self._notice.key))
            row.addWidget(close, 0, top)

    def _on_action(self, action_id: str) -> None:
        self.action_requested.emit(self._notice.key, action_id)

    def _on_copy_details(self) -> None:
        notice = self._notice
        parts = (notice.title, notice.advice, notice.details)
        QGuiApplication.clipboard().setText("\n\n".join(part for part in parts if part))


class NoticeBar(QWidget):
    """A column of notices; takes no room while there are none.

    Signals: action_requested(key, action id); closed(key).
    """

    action_requested = Signal(str, str)
    closed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._views: dict[str, NoticeView] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(10)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self.hide()

    def show_notice(self, notice: Notice) -> None:
        """Shows a notice, in the place of one with the same key."""
        old = self._views.get(notice.key)
        if old is not None and old.notice() == notice:
            return
        view = NoticeView(notice)
        view.action_requested.connect(self.action_requested)
        view.closed.connect(self._on_closed)
        position = self._column.indexOf(old) if old is not None else self._column.count()
        self._column.insertWidget(position, view)
        if old is not None:
            _discard(old)
        self._views[notice.key] = view
        self.show()

    def remove(self, key: str) -> None:
        """Takes a notice away; an unknown key is no mistake."""
        view = self._views.pop(key, None)
        if view is not None:
            _discard(view)
        self.setVisible(bool(self._views))

    def keys(self) -> list[str]:
        """Keys of the notices that are shown."""
        return list(self._views)

    def _on_closed(self, key: str) -> None:
        self.remove(key)
        self.closed.emit(key)


def _discard(view: QWidget) -> None:
    view.hide()
    view.setParent(None)
    view.deleteLater()


def _severity_colors(theme: Theme, severity: Severity) -> tuple[str, str]:
    match severity:
        case "info":
            return theme.disk, theme.disk_ground
        case "ok":
            return theme.ok, theme.ok_ground
        case "warning":
            return theme.less, theme.less_ground
        case "error":
            return theme.no, theme.no_ground
