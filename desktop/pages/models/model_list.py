"""The card with the models: one row each, one of them open. Values in, signals out."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.cards import Card
from desktop.widgets.model_row import ModelRow, ModelRowState
from desktop.widgets.text import Text

_EMPTY_PX = 20
ROWS_AT_ONCE = 4
"""Rows are made and shown a few at a time, so that a long list never holds up the window."""


class ModelList(Card):
    """Signals: open_requested(id, whether to open); action_requested(id, action id)."""

    open_requested = Signal(str, bool)
    action_requested = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._rows: dict[str, ModelRow] = {}
        self._shown: list[str] = []
        self._waiting: list[ModelRowState] = []
        self._open_id = ""
        self._details: QWidget | None = None
        self._empty = Text("", "interface", "ink2", wrap=True)
        self._empty_place = QWidget()
        empty = QVBoxLayout(self._empty_place)
        empty.setContentsMargins(_EMPTY_PX, _EMPTY_PX, _EMPTY_PX, _EMPTY_PX)
        empty.addWidget(self._empty)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.addWidget(self._empty_place)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._make_waiting)

    # --- values in -------------------------------------------------------------------------------------------

    def show_rows(self, states: Iterable[ModelRowState], empty_words: str) -> None:
        """The rows in their order; `empty_words` stand there where there is none."""
        given = list(states)
        self._empty.set_text(empty_words)
        self._empty_place.setVisible(not given)
        ids = [state.id for state in given]
        for row_id in [row_id for row_id in self._shown if row_id not in ids]:
            self._rows[row_id].hide()
        self._shown = []
        self._waiting = []
        for state in given:
            if state.id in self._rows:
                self._rows[state.id].set_state(state)
            self._waiting.append(state)
        self._make_waiting()

    def open_row(self, model_id: str, details: QWidget) -> None:
        """Opens one row and closes the one before; an id that is not shown waits until its row is there."""
        if self._open_id in self._rows and self._open_id != model_id:
            self._rows[self._open_id].set_open(False)
        self._open_id, self._details = model_id, details
        if model_id in self._rows:
            self._rows[model_id].set_open(True, details)

    def close_row(self) -> None:
        """Closes the open row."""
        if self._open_id in self._rows:
            self._rows[self._open_id].set_open(False)
        self._open_id = ""

    def row(self, model_id: str) -> ModelRow | None:
        """The row of a model, if it is shown."""
        return self._rows.get(model_id) if model_id in self._shown else None

    @property
    def is_making(self) -> bool:
        """Whether rows are still to come."""
        return bool(self._waiting)

    def shown_ids(self) -> list[str]:
        """The rows that are there, from the top."""
        return list(self._shown)

    def focus_first(self) -> None:
        """Puts the keyboard onto the open row, else the first."""
        model_id = self._open_id if self._open_id in self._shown else next(iter(self._shown), "")
        if model_id:
            self._rows[model_id].focus_row()

    # --- inside ------------------------------------------------------------------------------------------------

    def _make_waiting(self) -> None:
        count = 0
        while self._waiting and count < ROWS_AT_ONCE:
            state = self._waiting.pop(0)
            row = self._rows.get(state.id)
            if row is None:
                row = self._make(state)
            count += row.isHidden()
            self._place(row, len(self._shown))
            self._shown.append(state.id)
        for row_id in self._shown:
            self._rows[row_id].set_line(row_id != self._shown[-1] or bool(self._waiting))
        if self._waiting:
            self._timer.start(0)

    def _make(self, state: ModelRowState) -> ModelRow:
        row = ModelRow(state, self)
        row.hide()
        row.open_requested.connect(self.open_requested)
        row.action_requested.connect(self.action_requested)
        row.move_requested.connect(self._on_move)
        self._rows[state.id] = row
        if state.id == self._open_id and self._details is not None:
            row.set_open(True, self._details)
        return row

    def _place(self, row: ModelRow, index: int) -> None:
        if self._column.indexOf(row) != index:
            self._column.removeWidget(row)
            self._column.insertWidget(index, row)
        row.show()

    def _on_move(self, model_id: str, step: int) -> None:
        index = self._shown.index(model_id) + step
        if 0 <= index < len(self._shown):
            self._rows[self._shown[index]].focus_row()
