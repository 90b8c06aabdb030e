"""What is being waited for: amount, time, and a way to stop. Never a wordless spinner."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.cards import Card, ProgressLine
from desktop.widgets.memory_bar import MemoryBar, MemoryState
from desktop.widgets.text import Text


class LoadingCard(Card):
    """The card "Starting Qwen3.5 9B": the weights block grows in the memory bar. Signal: stop_requested.

    The page shows it only after half a second, and the Stop button after two.
    """

    stop_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self._title = Text("", "secondary", elide=True)
        self._title.set_weight(600)
        self._detail = Text("", "secondary", "ink2")
        self._stop = Button(self.tr("Stop"), icon_name="stop", size="small")
        self._stop.clicked.connect(self.stop_requested)
        self._bar = MemoryBar("page")
        self._stop.hide()
        _lay_out(self, self._title, self._detail, self._stop, self._bar)

    def set_state(self, title: str, detail: str, memory: MemoryState) -> None:
        """`title` says what starts, `detail` how far it is, for example "3.4 of 6.0 GB, about 3 s"."""
        self._title.set_text(title)
        self._detail.set_text(detail)
        self._bar.set_state(memory)

    def set_stoppable(self, stoppable: bool) -> None:
        """Whether Stop is offered."""
        self._stop.setVisible(stoppable)


class ProgressCard(Card):
    """The card "Reading your message": a line that fills. Signal: stop_requested."""

    stop_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self._title = Text("", "secondary", "ink2", elide=True)
        self._detail = Text("", "secondary", "ink2")
        self._stop = Button(self.tr("Stop"), icon_name="stop", size="small")
        self._stop.clicked.connect(self.stop_requested)
        self._stop.hide()
        self._line = ProgressLine()
        _lay_out(self, self._title, self._detail, self._stop, self._line)

    def set_state(self, title: str, detail: str, share: float) -> None:
        """`share` from 0 to 1."""
        self._title.set_text(title)
        self._detail.set_text(detail)
        self._line.set_share(share)

    def set_stoppable(self, stoppable: bool) -> None:
        """Whether Stop is offered."""
        self._stop.setVisible(stoppable)


def _lay_out(card: QWidget, title: Text, detail: Text, stop: Button, bar: QWidget) -> None:
    column = QVBoxLayout(card)
    column.setContentsMargins(17, 15, 17, 15)
    column.setSpacing(8)
    row = QHBoxLayout()
    row.setSpacing(8)
    row.addWidget(title, 1)
    row.addWidget(detail)
    row.addWidget(stop)
    column.addLayout(row)
    column.addWidget(bar)
