"""The top of the models page: title, search, "Add a file", the three lists, and the computer that is judged for."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QEvent, QPoint, Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from desktop.pages.models.words import tr
from desktop.widgets.buttons import Button, IconButton
from desktop.widgets.flow_row import FlowRow
from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.segments import Segments
from desktop.widgets.side_bar import SearchField
from desktop.widgets.text import Text
from desktop.widgets.theme import is_size_change, scaled

_SEARCH_PX, _LEAST_SEARCH_PX = 240, 120


class ModelsHeader(QWidget):
    """Signals: menu_requested; search_changed(text); file_requested; segment_chosen(id); machine_chosen(id)."""

    menu_requested = Signal()
    search_changed = Signal(str)
    file_requested = Signal()
    segment_chosen = Signal(str)
    machine_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._menu_button = IconButton("menu", tr("Menu"))
        self._menu_button.clicked.connect(self.menu_requested)
        self._menu_button.hide()
        self.search = SearchField()
        self.search.setPlaceholderText(tr("Search models"))
        self.search.setAccessibleName(tr("Search models"))
        self.search.textChanged.connect(self.search_changed)
        self.add = Button(tr("Add a file"), icon_name="file")
        self.add.clicked.connect(self.file_requested)
        self.segments = Segments(tr("Which models"))
        self.segments.chosen.connect(self.segment_chosen)
        self._machine = Text("", "secondary", "ink", elide=True)
        self._machine.set_weight(600)
        self.change = Button(tr("Change"), icon_name="down", icon_at_end=True, size="small", kind="quiet")
        self.change.setAccessibleName(tr("Change the computer that is judged for"))
        self.change.clicked.connect(self._on_change)
        self.menu = PopupMenu(self)
        self._machines: tuple[MenuEntry, ...] = ()
        self._build()

    def set_machine(self, name: str, entries: Iterable[MenuEntry]) -> None:
        """The computer that is judged for, and the others that can be asked about."""
        self._machine.set_text(name)
        self._machines = tuple(entries)
        self.change.setEnabled(bool(self._machines))

    def machine_name(self) -> str:
        """The computer that is judged for."""
        return self._machine.full_text()

    def machines(self) -> tuple[MenuEntry, ...]:
        """What "Change" offers."""
        return self._machines

    def set_narrow(self, narrow: bool) -> None:
        """Whether there is a menu button."""
        self._menu_button.setVisible(narrow)

    def _build(self) -> None:
        first = QHBoxLayout()
        first.setSpacing(8)
        first.addWidget(self._menu_button)
        first.addWidget(Text(tr("Models"), "page"))
        first.addStretch(1)
        # All of the room, but for what is beyond the field's greatest width.
        self.search.setMinimumWidth(scaled(_LEAST_SEARCH_PX))
        first.addWidget(self.search, 100_000)
        first.addWidget(self.add)
        judged = QWidget()
        judged.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        words = QHBoxLayout(judged)
        words.setContentsMargins(0, 0, 0, 0)
        words.setSpacing(4)
        words.addWidget(Text(tr("Judged for"), "secondary", "ink2"))
        words.addWidget(self._machine, 1)
        words.addSpacing(8)
        words.addWidget(self.change)
        self._machine.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        second = FlowRow(gap_px=16, line_gap_px=8, spread=True)
        second.add(self.segments)
        second.add(judged)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 18, 0, 14)
        column.setSpacing(12)
        column.addLayout(first)
        column.addWidget(second)
        self._apply_width()

    def _apply_width(self) -> None:
        self.search.setMaximumWidth(scaled(_SEARCH_PX))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_width()

    def _on_change(self) -> None:
        corner = self.change.mapToGlobal(QPoint(0, self.change.height() + 4))
        self.menu.open_with(self._machines, self.machine_chosen.emit, corner)
