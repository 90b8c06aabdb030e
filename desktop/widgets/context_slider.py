"""How long a context: a slider over a few steps, each with a name, the chosen one said in full."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QFont, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QSlider, QWidget

from desktop.widgets.theme import Theme, is_size_change, scaled, text_font, theme_of

_TRACK_PX, _KNOB_PX, _ROOM_PX, _LABEL_PX = 4, 18, 20, 16
_LABEL_GAP_PX = 8


@dataclass(frozen=True, slots=True)
class ContextStep:
    """One place of the slider: `label` such as "32k", `words` such as "32k, about 80 pages"."""

    tokens: int
    label: str
    words: str


class ContextSlider(QSlider):
    """Arrow keys, Home and End move it. Signals: tokens_changed(tokens), when the user moved it."""

    tokens_changed = Signal(int)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        """`name` says what is chosen here, for screen readers."""
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._name = name
        self._steps: tuple[ContextStep, ...] = ()
        self._most_tokens: int | None = None
        self.setPageStep(1)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setProperty("focus_radius", -1.0)  # the knob has the ring, not the whole width
        self.valueChanged.connect(self._on_value_changed)

    def set_steps(self, steps: Iterable[ContextStep], tokens: int) -> None:
        """The places, and the one to stand at: the largest that is not above `tokens`. Emits nothing."""
        self._steps = tuple(steps)
        index = max((i for i, step in enumerate(self._steps) if step.tokens <= tokens), default=0)
        blocked = self.blockSignals(True)
        self.setRange(0, max(0, len(self._steps) - 1))
        self.setValue(index)
        self.blockSignals(blocked)
        self._tell()
        self.update()

    def set_most(self, tokens: int | None) -> None:
        """The largest context that fits; what is beyond is drawn as out of reach, and can be chosen all the same."""
        if tokens != self._most_tokens:
            self._most_tokens = tokens
            self.update()

    def tokens(self) -> int:
        """What is chosen; 0 without steps."""
        return self._steps[self.value()].tokens if self._steps else 0

    def steps(self) -> tuple[ContextStep, ...]:
        """The places."""
        return self._steps

    def sizeHint(self) -> QSize:
        return QSize(scaled(280), scaled(_ROOM_PX) + 2 + scaled(_LABEL_PX))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(160), self.sizeHint().height())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self.updateGeometry()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._move_to(event.position().x())
            self.setSliderDown(True)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._move_to(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        del event
        self.setSliderDown(False)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = scaled(_ROOM_PX) / 2
        track = QRectF(0, middle - _TRACK_PX / 2, self.width(), _TRACK_PX)
        painter.setPen(QPen(QColor(theme.edge), 1))
        painter.setBrush(QColor(theme.trough))
        painter.drawRoundedRect(track.adjusted(0.5, 0.5, -0.5, -0.5), 1.5, 1.5)
        if not self._steps:
            return
        x = self._x_of(self.value())
        is_beyond = self._most_tokens is not None and self.tokens() > self._most_tokens
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.accent))
        reached = min(x, self._x_of_tokens(self._most_tokens)) if is_beyond and self._most_tokens is not None else x
        painter.drawRoundedRect(QRectF(0, track.y(), reached, track.height()), 2, 2)
        self._paint_reach(painter, theme, track)
        knob = QPointF(x, middle)
        if self.hasFocus() and self.window().testAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange):
            painter.setPen(QPen(QColor(theme.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(knob, _KNOB_PX / 2 + 1 - 0.5, _KNOB_PX / 2 + 1 - 0.5)
        painter.setPen(QPen(QColor(theme.no if is_beyond else theme.accent), 2))
        painter.setBrush(QColor(theme.surface))
        painter.drawEllipse(knob, _KNOB_PX / 2 - 1, _KNOB_PX / 2 - 1)
        self._paint_labels(painter, theme)

    def _paint_reach(self, painter: QPainter, theme: Theme, track: QRectF) -> None:
        """A tick where the largest context lies that fits, and a red line beyond."""
        if self._most_tokens is None or self._most_tokens >= self._steps[-1].tokens:
            return
        x = self._x_of_tokens(self._most_tokens)
        painter.fillRect(QRectF(x, track.y(), self.width() - x - 1, _TRACK_PX), QColor(theme.no))
        painter.fillRect(QRectF(round(x), track.y() - 3, 2, _TRACK_PX + 6), QColor(theme.no))

    def _paint_labels(self, painter: QPainter, theme: Theme) -> None:
        top = scaled(_ROOM_PX) + 2
        strong, plain = text_font(12, 600, tabular=True), text_font(12, tabular=True)
        taken = [self._label_rect(self.value(), self._steps[self.value()].words, strong)]
        order = [self.value(), 0, len(self._steps) - 1, *range(1, len(self._steps) - 1)]
        for place, index in enumerate(order):
            if place > 0 and index == self.value():
                continue
            step = self._steps[index]
            is_chosen = place == 0
            rect = taken[0] if is_chosen else self._label_rect(index, step.label, plain)
            apart = rect.adjusted(-_LABEL_GAP_PX, 0, _LABEL_GAP_PX, 0)
            if not is_chosen and any(apart.intersects(other) for other in taken):
                continue
            if not is_chosen:
                taken.append(rect)
            is_beyond = self._most_tokens is not None and step.tokens > self._most_tokens
            painter.setFont(strong if is_chosen else plain)
            painter.setPen(QColor(theme.no if is_beyond and is_chosen else theme.ink if is_chosen else theme.ink3))
            flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
            painter.drawText(
                rect.translated(0, top).adjusted(0, 0, 2, 0), flags, step.words if is_chosen else step.label
            )

    def _label_rect(self, index: int, text: str, font: QFont) -> QRectF:
        width = QFontMetricsF(font).horizontalAdvance(text)
        left = min(max(0.0, self._x_of(index) - width / 2), max(0.0, self.width() - width))
        if index == 0:
            left = 0.0
        return QRectF(left, 0, width, scaled(_LABEL_PX))

    def _x_of(self, index: float) -> float:
        inner = self.width() - _KNOB_PX
        last = max(1, len(self._steps) - 1)
        return _KNOB_PX / 2 + inner * index / last

    def _x_of_tokens(self, tokens: int) -> float:
        """Between two steps as far along as the tokens are between theirs."""
        if tokens < self._steps[0].tokens:
            return 0.0
        below = max(i for i, step in enumerate(self._steps) if step.tokens <= tokens)
        if below == len(self._steps) - 1:
            return self._x_of(below)
        low, high = self._steps[below].tokens, self._steps[below + 1].tokens
        return self._x_of(below + (tokens - low) / (high - low))

    def _move_to(self, x: float) -> None:
        last = max(1, len(self._steps) - 1)
        self.setValue(round((x - _KNOB_PX / 2) / max(1, self.width() - _KNOB_PX) * last))

    def _tell(self) -> None:
        words = self._steps[self.value()].words if self._steps else ""
        self.setAccessibleName(f"{self._name}: {words}")

    def _on_value_changed(self, index: int) -> None:
        self._tell()
        self.tokens_changed.emit(self._steps[index].tokens)
