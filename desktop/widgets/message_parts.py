"""The pressable parts of a message: the line that folds the thinking, and the row of actions beneath a reply."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSize, Signal
from PySide6.QtWidgets import QHBoxLayout, QSpacerItem, QWidget

from desktop.widgets.buttons import Button, IconButton
from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.text import Text
from desktop.widgets.theme import scaled
from desktop.widgets.transcript_model import MessageItem

__all__ = ["FOOTER_SEPARATOR", "ActionRow", "MenuEntry", "ThinkingToggle"]

FOOTER_SEPARATOR = " \u00a0·\u00a0 "
"""Between the parts of a footer; pages build theirs with it too."""
_TOGGLE_HEIGHT_PX = 26
_TOGGLE_PAD_PX = 8


class ThinkingToggle(Button):
    """The line "Thought for 12 s": opens and folds the thinking. Signal: toggled(open)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(icon_name="right", kind="quiet", size="small", weight=400, parent=parent)
        self._gap_px = 6
        self.setCheckable(True)
        self.toggled.connect(self._on_toggled)

    def sizeHint(self) -> QSize:
        width = super().sizeHint().width() - 2 * scaled(10) + 2 * _TOGGLE_PAD_PX
        return QSize(width, scaled(_TOGGLE_HEIGHT_PX))

    def show_item(self, item: MessageItem) -> None:
        """Says how long it thought, or that it does."""
        self.setText(self.label_of(item))

    def label_of(self, item: MessageItem) -> str:
        """The words on the line."""
        if item.thinking_seconds is None:
            return self.tr("Thinking…") if item.state == "growing" else self.tr("Thought")
        seconds = max(1, round(item.thinking_seconds))
        if seconds < 60:
            return self.tr("Thought for {seconds} s").format(seconds=seconds)
        return self.tr("Thought for {minutes} min {seconds} s").format(minutes=seconds // 60, seconds=seconds % 60)

    def _content_left(self, content_width: int) -> float:
        del content_width
        return _TOGGLE_PAD_PX

    def _on_toggled(self, is_open: bool) -> None:
        self.set_icon_name("down" if is_open else "right")


class ActionRow(QWidget):
    """Copy, write again, more; and what is to be said about the reply.

    Signals: copy_clicked, again_clicked, continue_clicked, entry_chosen(id).
    """

    copy_clicked = Signal()
    again_clicked = Signal()
    continue_clicked = Signal()
    entry_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: tuple[MenuEntry, ...] = ()
        self._menu = PopupMenu(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        self._copy = IconButton("copy", self.tr("Copy reply"), size="small")
        self._again = IconButton("again", self.tr("Write again"), size="small")
        self._more = IconButton("more", self.tr("More"), size="small")
        self._continue = Button(self.tr("Continue"), size="small")
        self._lead = QWidget()
        self._lead.setFixedWidth(6)
        self._footer = Text("", "hint", "ink3", elide=True)
        for widget in (self._copy, self._again, self._more):
            row.addWidget(widget)
        row.addWidget(self._lead)
        row.addWidget(self._continue)
        self._gap = QSpacerItem(0, 0)
        row.addItem(self._gap)
        row.addWidget(self._footer, 1)
        self._copy.clicked.connect(self.copy_clicked)
        self._again.clicked.connect(self.again_clicked)
        self._continue.clicked.connect(self.continue_clicked)
        self._more.clicked.connect(self._on_more)

    def set_entries(self, entries: tuple[MenuEntry, ...]) -> None:
        """What "More" offers; without entries the button is not there."""
        self._entries = entries
        self._more.setVisible(bool(entries) and self._copy.isVisibleTo(self))

    def show_item(self, item: MessageItem, *, can_continue: bool = True) -> None:
        """Shows the actions that make sense for the item's state."""
        is_growing = item.state == "growing"
        self._copy.setVisible(not is_growing and bool(item.text))
        self._again.setVisible(not is_growing)
        self._more.setVisible(not is_growing and bool(self._entries))
        is_unfinished = item.state in {"interrupted", "stopped"}
        self._continue.setVisible(is_unfinished and can_continue)
        self._gap.changeSize(6 if is_unfinished and can_continue else 0, 0)
        row = self.layout()
        if row is not None:
            row.invalidate()
        self._footer.set_text(self._words(item))

    def controls(self) -> list[QWidget]:
        """What the keyboard can reach, in order."""
        buttons: list[QWidget] = [self._copy, self._again, self._more, self._continue]
        return [button for button in buttons if button.isVisibleTo(self)]

    def footer_text(self) -> str:
        """What stands behind the buttons."""
        return self._footer.full_text()

    def _words(self, item: MessageItem) -> str:
        match item.state:
            case "growing":
                return item.status
            case "stopped":
                parts = [self.tr("Stopped"), item.footer]
            case "interrupted":
                parts = [self.tr("Interrupted"), item.footer]
            case "complete" | "failed":
                parts = [item.footer]
        return FOOTER_SEPARATOR.join(part for part in parts if part)

    def _on_more(self) -> None:
        position = self._more.mapToGlobal(QPoint(0, self._more.height() + 4))
        self._menu.open_with(self._entries, self.entry_chosen.emit, position)
