"""The line above a conversation: its title, the model, and what else can be done."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from desktop.widgets.buttons import IconButton
from desktop.widgets.model_switcher import ModelSwitcher
from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.text import Text
from desktop.widgets.theme import is_size_change, scaled, theme_of

_HEIGHT_PX = 60


class ChatHeader(QWidget):
    """Title, model switcher, "More".

    Signals: menu_requested; entry_chosen(id) of the "More" menu.
    """

    menu_requested = Signal()
    entry_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._menu_button = IconButton("menu", self.tr("Menu"))
        self._menu_button.clicked.connect(self.menu_requested)
        self._menu_button.hide()
        self._title = Text("", "section", elide=True)
        self.switcher = ModelSwitcher()
        self._more = IconButton("more", self.tr("More"))
        self._more.clicked.connect(self._on_more)
        self._entries: tuple[MenuEntry, ...] = ()
        self.menu = PopupMenu(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(20, 0, 18, 1)
        row.setSpacing(8)
        row.addWidget(self._menu_button)
        row.addWidget(self._title, 1)
        row.addWidget(self.switcher)
        row.addWidget(self._more)
        self._row = row
        self.setFixedHeight(scaled(_HEIGHT_PX))

    def set_title(self, title: str) -> None:
        """The conversation's."""
        self._title.set_text(title)

    def title(self) -> str:
        """What is shown."""
        return self._title.full_text()

    def set_entries(self, entries: tuple[MenuEntry, ...]) -> None:
        """What "More" offers."""
        self._entries = entries

    def set_narrow(self, narrow: bool) -> None:
        """Whether there is a menu button."""
        self._menu_button.setVisible(narrow)
        self._row.setContentsMargins(10 if narrow else 20, 0, 8 if narrow else 18, 1)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.fillRect(0, self.height() - 1, self.width(), 1, QColor(theme_of(self).line))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self.setFixedHeight(scaled(_HEIGHT_PX))

    def _on_more(self) -> None:
        corner = self._more.mapToGlobal(QPoint(0, self._more.height() + 4))
        self.menu.open_with(self._entries, self.entry_chosen.emit, corner)
