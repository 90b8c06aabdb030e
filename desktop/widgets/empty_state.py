"""A new chat: one sentence, one promise, and real examples to press."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.cards import Card
from desktop.widgets.text import Text


class EmptyState(Card):
    """Shows examples. Signal: example_chosen(text)."""

    example_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        column = QVBoxLayout(self)
        column.setContentsMargins(25, 23, 25, 23)
        column.setSpacing(0)
        self._title = Text(self.tr("What would you like to know?"), "section")
        self._promise = Text(self.tr("Nothing you write leaves this computer."), "secondary", "ink2", wrap=True)
        column.addWidget(self._title)
        column.addSpacing(4)
        column.addWidget(self._promise)
        column.addSpacing(14)
        self._buttons = QVBoxLayout()
        self._buttons.setSpacing(8)
        column.addLayout(self._buttons)
        self.set_examples(
            (
                self.tr("Rewrite a letter so that it sounds friendly"),
                self.tr("Summarise a text that I paste"),
                self.tr("Explain an error message"),
            )
        )

    def set_examples(self, examples: Iterable[str]) -> None:
        """Other examples; pressing one hands its text on."""
        while (item := self._buttons.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for example in examples:
            button = Button(example, size="small", weight=400)
            button.clicked.connect(lambda _=False, text=example: self.example_chosen.emit(text))
            self._buttons.addWidget(button)

    def examples(self) -> list[str]:
        """What is offered."""
        items = (self._buttons.itemAt(index) for index in range(self._buttons.count()))
        return [widget.text() for item in items if item is not None and isinstance(widget := item.widget(), Button)]
