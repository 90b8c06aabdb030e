"""Memory of one model when it runs: a bar for each kind of memory with its legend, and the context slider."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from desktop.pages.models.words import PoolPicture, Saying
from desktop.widgets.context_slider import ContextSlider, ContextStep
from desktop.widgets.flow_row import FlowRow
from desktop.widgets.legend import Legend
from desktop.widgets.memory_bar import MemoryBar
from desktop.widgets.text import Text


class _PoolView(QWidget):
    """One memory."""

    def __init__(self) -> None:
        super().__init__()
        self._title = Text("", "secondary", "ink", elide=True)
        self._title.set_weight(600)
        self._amount = Text("", "secondary", "ink2")
        self.bar = MemoryBar("page")
        self._caption = Text("", "hint", "ink3", wrap=True)
        self._caption.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.legend = Legend()
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self._title, 1)
        head.addWidget(self._amount)
        caption = QHBoxLayout()
        caption.addStretch(1)
        caption.addWidget(self._caption)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addSpacing(2)
        column.addWidget(self.bar)
        column.addSpacing(1)
        column.addLayout(caption)
        column.addSpacing(5)
        column.addWidget(self.legend)
        self._note = Text("", "hint", "ink3", wrap=True)
        self._note.hide()
        column.addWidget(self._note)

    def show_picture(self, picture: PoolPicture) -> None:
        self._title.set_text(picture.title)
        self._amount.set_text(picture.amount)
        self.bar.set_state(picture.bar)
        self._caption.set_text(picture.caption)
        self.legend.set_entries(picture.legend)
        self._note.set_text(picture.note)
        self._note.setVisible(bool(picture.note))


class MemoryPanel(QWidget):
    """Bars and slider. Signals: tokens_changed(tokens), when the user moved the slider."""

    tokens_changed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._pools = [_PoolView(), _PoolView()]
        self.slider = ContextSlider(self.tr("Context"))
        self.slider.tokens_changed.connect(self.tokens_changed)
        self._saying = Text("", "secondary", wrap=True)
        self._saying.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        pools = QVBoxLayout()
        pools.setSpacing(14)
        for view in self._pools:
            pools.addWidget(view)
            view.hide()
        column.addLayout(pools)
        column.addSpacing(14)
        head = FlowRow(gap_px=6)
        label = Text(self.tr("Context"), "secondary")
        label.set_weight(600)
        head.add(label)
        head.add(Text(self.tr("how much of a conversation it keeps in mind"), "secondary", "ink2", elide=True))
        column.addWidget(head)
        column.addSpacing(4)
        column.addWidget(self.slider)
        column.addSpacing(2)
        column.addWidget(self._saying)

    def set_steps(self, steps: Iterable[ContextStep], tokens: int, most_tokens: int | None) -> None:
        """The slider's places, where it stands, and the most that fits."""
        self.slider.set_steps(steps, tokens)
        self.slider.set_most(most_tokens)

    def show_pictures(self, pictures: tuple[PoolPicture, ...], saying: Saying) -> None:
        """Shows the memory at the chosen context."""
        for index, view in enumerate(self._pools):
            if index < len(pictures):
                view.show_picture(pictures[index])
            view.setVisible(index < len(pictures))
        self._saying.set_text(saying.words)
        self._saying.set_tone(saying.tone)
        self._saying.setVisible(bool(saying.words))

    def bars(self) -> list[MemoryBar]:
        """The bars that are shown."""
        return [view.bar for view in self._pools if not view.isHidden()]

    def saying(self) -> str:
        """The sentence beneath the slider."""
        return self._saying.full_text()
