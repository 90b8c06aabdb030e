"""Text in the design's roles: size, line height, weight and tone. Rich text is never interpreted."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from desktop.widgets.theme import scaled, text_font

TextRole = Literal[
    "first", "page", "section", "conversation", "interface", "strong", "secondary", "hint", "hint_strong"
]
Tone = Literal["ink", "ink2", "ink3", "accent", "ok", "less", "disk", "no"]

# role -> size, line height, weight, display cut
ROLES: dict[TextRole, tuple[float, int, int, bool]] = {
    "first": (30, 38, 600, True),
    "page": (22, 28, 600, True),
    "section": (16, 22, 600, False),
    "conversation": (15, 23, 400, False),
    "interface": (14, 20, 400, False),
    "strong": (14, 20, 600, False),
    "secondary": (13, 18, 400, False),
    "hint": (12, 16, 400, False),
    "hint_strong": (12, 16, 600, False),
}


class Text(QLabel):
    """One line, or with `wrap` a paragraph, of plain text. With `elide`, a line that is too long ends in dots."""

    def __init__(
        self,
        text: str = "",
        role: TextRole = "interface",
        tone: Tone = "ink",
        *,
        wrap: bool = False,
        elide: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._full_text = ""
        self._role: TextRole = role
        self._wrap = wrap
        self._elide = elide
        self._weight: int | None = None
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("tone", tone)
        self.setWordWrap(wrap)
        self.setMargin(0)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        if elide:
            self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._apply_role()
        self.set_text(text)

    def set_text(self, text: str) -> None:
        """Changes the text; the accessible name is always the whole of it."""
        if text == self._full_text:
            return
        self._full_text = text
        self.setAccessibleName(text)
        self._show_text()

    def full_text(self) -> str:
        """The text as given, not as elided."""
        return self._full_text

    def set_weight(self, weight: int) -> None:
        """Another weight than the role's."""
        self._weight = weight
        self._apply_role()

    def set_tone(self, tone: Tone) -> None:
        """Changes the colour."""
        if self.property("tone") == tone:
            return
        self.setProperty("tone", tone)
        self.style().unpolish(self)
        self.style().polish(self)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.ApplicationFontChange:
            self._apply_role()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._elide:
            self._show_text()

    def sizeHint(self) -> QSize:
        hint = super().sizeHint()
        if self._elide:
            hint.setWidth(self.fontMetrics().horizontalAdvance(self._full_text) + 2)
        return hint

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        if self._elide:
            hint.setWidth(0)
        return hint

    def _apply_role(self) -> None:
        size, line, weight, display = ROLES[self._role]
        self.setFont(text_font(size, self._weight or weight, display=display))
        if not self._wrap:
            self.setMinimumHeight(scaled(line))
        self._show_text()

    def _show_text(self) -> None:
        if not self._elide:
            self.setText(self._full_text)
            return
        shown = self.fontMetrics().elidedText(self._full_text, Qt.TextElideMode.ElideRight, max(0, self.width()))
        self.setText(shown)
        self.setToolTip(self._full_text if shown != self._full_text else "")
