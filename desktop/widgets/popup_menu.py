"""A menu that is made once for its widget and filled anew each time it opens.

Deleting a menu when it closes can end in a crash where its owner goes at the same moment; so it stays with its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from desktop.widgets.icons import icon
from desktop.widgets.text import Tone
from desktop.widgets.theme import theme_of


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One line of a menu, given as a value."""

    id: str
    label: str
    icon_name: str = ""
    enabled: bool = True
    hint: str = ""
    """Words at the right edge."""
    tone: Tone = "ink2"
    """The drawing's colour."""


class PopupMenu(QMenu):
    """Shows entries and says which was chosen. One for each widget that has a menu."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        # Round corners need a window that is not filled behind them; the design has no shadows.
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        self.setWindowFlags(
            self.windowFlags() | Qt.WindowType.FramelessWindowHint | Qt.WindowType.NoDropShadowWindowHint
        )
        self._on_chosen: Callable[[str], None] = _ignore
        self.triggered.connect(self._on_triggered)

    def open_with(self, entries: Iterable[MenuEntry], on_chosen: Callable[[str], None], position: QPoint) -> None:
        """Opens at `position` on the screen; `on_chosen` gets the id of the entry that was chosen."""
        self.clear()
        self._on_chosen = on_chosen
        for entry in entries:
            # What stands after a tab is set at the right, where menus have their shortcuts.
            action = self.addAction(f"{entry.label}\t{entry.hint}" if entry.hint else entry.label)
            action.setData(entry.id)
            action.setEnabled(entry.enabled)
            if entry.icon_name:
                action.setIcon(icon(entry.icon_name, getattr(theme_of(self), entry.tone)))
        if not self.isEmpty():
            self.popup(position)

    def labels(self) -> list[str]:
        """What is offered."""
        return [action.text().replace("\t", "   ") for action in self.actions()]

    def choose(self, entry_id: str) -> None:
        """Chooses an entry as a click would."""
        next(action for action in self.actions() if action.data() == entry_id).trigger()

    def _on_triggered(self, action: QAction) -> None:
        self._on_chosen(str(action.data()))


def _ignore(entry_id: str) -> None:
    del entry_id
