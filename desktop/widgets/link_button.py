"""A question to press, such as "Why not?": underlined words without a frame."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from desktop.widgets.buttons import Button, ButtonSize


class LinkButton(Button):
    """A quiet button whose words are underlined. Signals: those of QPushButton."""

    def __init__(self, text: str = "", *, size: ButtonSize = "small", parent: QWidget | None = None) -> None:
        super().__init__(text, kind="quiet", size=size, parent=parent)

    def _apply_font(self) -> None:
        super()._apply_font()
        font = self.font()
        font.setUnderline(True)
        self.setFont(font)
