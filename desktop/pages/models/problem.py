"""What stands in place of the list when there is nothing to judge with: what happened, what to do, what to copy."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from desktop.pages.models.words import tr
from desktop.widgets.buttons import Button
from desktop.widgets.cards import Card
from desktop.widgets.text import Text
from engines.errors import EngineError


class ProblemCard(Card):
    """An error in its place. Signals: again_requested."""

    again_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._error: EngineError | None = None
        self._title = Text("", "strong", "no", wrap=True)
        self._advice = Text("", "secondary", "ink", wrap=True)
        again = Button(tr("Try again"), size="small")
        again.clicked.connect(self.again_requested)
        copy = Button(tr("Copy details"), size="small", kind="quiet")
        copy.clicked.connect(self._on_copy)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(again)
        buttons.addWidget(copy)
        buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 16)
        column.setSpacing(4)
        column.addWidget(self._title)
        column.addWidget(self._advice)
        column.addSpacing(6)
        column.addLayout(buttons)
        self.hide()

    def show_error(self, error: EngineError | None) -> None:
        """Shows the error, or nothing."""
        self._error = error
        self.setVisible(error is not None)
        if error is not None:
            self._title.set_text(error.title)
            self._advice.set_text(error.advice)
            self.setAccessibleName(str(error))

    def _on_copy(self) -> None:
        if self._error is not None:
            QGuiApplication.clipboard().setText(
                "\n\n".join((self._error.title, self._error.advice, self._error.details))
            )
