"""One model in a list: name, verdict, what it is good for, size, speed, and what can be done. Opens to show more."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.buttons import Button, ButtonKind, IconButton
from desktop.widgets.fit_badge import FitBadge, FitKind
from desktop.widgets.flow_row import FlowRow
from desktop.widgets.link_button import LinkButton
from desktop.widgets.text import Text
from desktop.widgets.theme import is_size_change, scaled, theme_of

_SIDE_PX, _LEAST_HEIGHT_PX, _CHEVRON_PX, _FIGURES_PX, _ACTION_PX = 20, 66, 20, 130, 92
_NARROW_PX = 560


@dataclass(frozen=True, slots=True)
class RowAction:
    """A button at the right: `id` is handed on; `is_link` draws underlined words."""

    id: str
    label: str
    kind: ButtonKind = "normal"
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class ModelRowState:
    """What a row shows. `mark` ("Recommended") and `note` ("Installed") stand beside the badge.

    `kind` None: no badge, for what has a problem and no verdict.
    """

    id: str
    name: str
    kind: FitKind | None
    note: str = ""
    mark: str = ""
    summary: str = ""
    reason: str = ""
    size: str = ""
    speed: str = ""
    actions: tuple[RowAction, ...] = ()


class ModelRow(QWidget):
    """A row.

    Signals: open_requested(id, whether to open); action_requested(id, action id); move_requested(id, rows down).
    """

    open_requested = Signal(str, bool)
    action_requested = Signal(str, str)
    move_requested = Signal(str, int)

    def __init__(self, state: ModelRowState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._is_open = False
        self._has_line = True
        self._details: QWidget | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._chevron = _Chevron()
        self._chevron.clicked.connect(self._toggle)
        self._chevron.move_requested.connect(lambda step: self.move_requested.emit(self._state.id, step))
        self._chevron.turn_requested.connect(self._on_turn)
        self._name = Text("", "conversation", elide=True)
        self._name.set_weight(600)
        self._badge = FitBadge()
        self._note = Text("", "hint", "ink3", elide=True)
        self._title = FlowRow()
        self._mark = Text("", "hint_strong", "accent", elide=True)
        for widget in (self._name, self._badge, self._mark, self._note):
            self._title.add(widget)
        self._summary = Text("", "secondary", "ink2", wrap=True)
        self._reason = Text("", "secondary", "ink2", wrap=True)
        self._size = Text("", "secondary", "ink2")
        self._speed = Text("", "secondary", "ink3")
        self._line_of_figures = Text("", "secondary", "ink2", wrap=True)
        self._buttons: list[Button] = []
        self._made_for: tuple[RowAction, ...] = ()
        self._build()
        self._show(state)

    # --- values in -------------------------------------------------------------------------------------------

    @property
    def state(self) -> ModelRowState:
        """What is shown."""
        return self._state

    @property
    def is_open(self) -> bool:
        """Whether the details are shown."""
        return self._is_open

    def set_state(self, state: ModelRowState) -> None:
        """Shows other values of the same model."""
        if state != self._state:
            self._show(state)

    def set_open(self, is_open: bool, details: QWidget | None = None) -> None:
        """Opens with `details` beneath, or closes and lets go of them."""
        self._is_open = is_open
        if self._details is not None and self._details is not details:
            self._column.removeWidget(self._details)
            if self._details.parentWidget() is self:  # else another row has taken them already
                self._details.hide()
        self._details = details if is_open else None
        if self._details is not None:
            self._details.setContentsMargins(scaled(_CHEVRON_PX) + 10, 6, 0, 6)
            self._column.addWidget(self._details)
            self._details.show()
        self._apply_chevron()
        self._apply_width()

    def set_line(self, has_line: bool) -> None:
        """Whether a hairline separates it from what follows."""
        self._has_line = has_line
        self.update()

    def focus_row(self) -> None:
        """Puts the keyboard onto the row."""
        self._chevron.setFocus(Qt.FocusReason.TabFocusReason)

    def buttons(self) -> list[Button]:
        """What can be pressed at the right."""
        return list(self._buttons)

    # --- inside ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addStretch(1)
        for widget in (self._title, self._summary, self._reason, self._line_of_figures):
            words.addWidget(widget)
        words.addStretch(1)
        self._figures = QWidget()
        figures = QVBoxLayout(self._figures)
        figures.setContentsMargins(0, 0, 0, 0)
        figures.setSpacing(0)
        figures.addStretch(1)
        for text in (self._size, self._speed):
            text.setAlignment(Qt.AlignmentFlag.AlignRight)
            figures.addWidget(text)
        figures.addStretch(1)
        self._actions = QWidget()
        self._action_row = QHBoxLayout(self._actions)
        self._action_row.setContentsMargins(0, 0, 0, 0)
        self._action_row.setSpacing(10)
        head = self._head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self._chevron, 0, Qt.AlignmentFlag.AlignTop)
        head.setSpacing(10)
        head.addLayout(words, 1)
        head.addWidget(self._figures)
        head.addWidget(self._actions)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(_SIDE_PX, 10, _SIDE_PX, 10)
        self._column.setSpacing(6)
        self._column.addLayout(head)

    def _show(self, state: ModelRowState) -> None:
        self._state = state
        self._name.set_text(state.name)
        if state.kind is not None:
            self._badge.set_kind(state.kind)
        self._badge.setVisible(state.kind is not None)
        self._set(self._mark, state.mark)
        self._set(self._note, state.note)
        self._set(self._summary, state.summary)
        self._set(self._reason, state.reason)
        self._size.set_text(state.size)
        self._speed.set_text(state.speed)
        if state.actions != self._made_for:
            self._make_buttons(state.actions)
        self._apply_chevron()
        self._apply_width()

    def _make_buttons(self, actions: tuple[RowAction, ...]) -> None:
        for button in self._buttons:
            self._action_row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self._buttons = []
        self._made_for = actions
        for action in actions:
            button = _make_button(action)
            button.setAccessibleName(f"{action.label}: {self._state.name}")
            button.clicked.connect(lambda _=False, chosen=action.id: self._on_action(chosen))
            self._action_row.addWidget(button)
            self._buttons.append(button)

    @staticmethod
    def _set(text: Text, words: str) -> None:
        text.set_text(words)
        text.setVisible(bool(words))

    def _apply_chevron(self) -> None:
        self._chevron.set_icon_name("down" if self._is_open else "right")
        self._chevron.setChecked(self._is_open)
        words = self.tr("Close details of {name}") if self._is_open else self.tr("Show details of {name}")
        self._chevron.set_name(words.format(name=self._state.name))

    def _apply_width(self) -> None:
        """With little room the figures stand beneath the words."""
        is_narrow = self.width() < scaled(_NARROW_PX)
        state = self._state
        has_figures = bool(state.size or state.speed)
        self._figures.setVisible(has_figures and not is_narrow and not self._is_open)
        self._figures.setMinimumWidth(scaled(_FIGURES_PX))
        self._speed.setVisible(bool(state.speed))
        self._actions.setVisible(bool(self._buttons))
        for button in self._buttons:
            button.setFixedWidth(max(button.sizeHint().width(), scaled(_ACTION_PX if not self._is_open else 60)))
        # In a closed row they stand in the middle of the row, in an open one beside the name.
        top = Qt.AlignmentFlag.AlignTop if self._is_open else Qt.AlignmentFlag.AlignVCenter
        self._head.setAlignment(self._actions, top)
        words = ", ".join(word for word in (state.size, state.speed) if word)
        self._set(self._line_of_figures, words if is_narrow and not self._is_open else "")
        self.setMinimumHeight(scaled(_LEAST_HEIGHT_PX))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._apply_width()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_width()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        if self._has_line:
            painter = QPainter(self)
            painter.fillRect(1, self.height() - 1, self.width() - 2, 1, QColor(theme_of(self).line))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """The whole head opens and closes, not the details."""
        is_head = self._details is None or event.position().y() < self._details.y()
        if event.button() == Qt.MouseButton.LeftButton and is_head:
            self._toggle()

    def _toggle(self) -> None:
        self._chevron.setChecked(self._is_open)  # until the page says otherwise
        self.open_requested.emit(self._state.id, not self._is_open)

    def _on_turn(self, is_open: bool) -> None:
        if is_open != self._is_open:
            self.open_requested.emit(self._state.id, is_open)

    def _on_action(self, action_id: str) -> None:
        self.action_requested.emit(self._state.id, action_id)


def _make_button(action: RowAction) -> Button:
    return LinkButton(action.label) if action.is_link else Button(action.label, kind=action.kind, size="small")


class _Chevron(IconButton):
    """Where the keyboard is in a row. Up and Down go to the rows beside, Left and Right close and open."""

    move_requested = Signal(int)
    turn_requested = Signal(bool)

    def __init__(self) -> None:
        super().__init__("right", "", size="small")
        self.setCheckable(True)
        self.setProperty("focus_radius", 6.0)
        self._apply_side()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_side()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        match event.key():
            case Qt.Key.Key_Up:
                self.move_requested.emit(-1)
            case Qt.Key.Key_Down:
                self.move_requested.emit(1)
            case Qt.Key.Key_Right:
                self.turn_requested.emit(True)
            case Qt.Key.Key_Left:
                self.turn_requested.emit(False)
            case _:
                super().keyPressEvent(event)

    def _apply_side(self) -> None:
        self.setFixedSize(scaled(_CHEVRON_PX), scaled(_CHEVRON_PX + 4))
