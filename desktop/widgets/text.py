"""Text in the design's roles: size, line height, weight and tone. Rich text is never interpreted."""

from __future__ import annotations

from math import ceil
from typing import Literal

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QFontMetricsF, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from desktop.widgets.markdown import LINE_BREAK, Run
from desktop.widgets.text_flow import FlowStyle, TextFlow
from desktop.widgets.theme import Theme, is_size_change, is_tabular, scaled, text_font, theme_of

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
    """One line, or with `wrap` a paragraph, of plain text. With `elide`, a line that is too long ends in dots.

    A label for everybody who asks (layouts, screen readers), but drawn here: a QLabel has no line height.
    """

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
        self._role: TextRole = role
        self._tone: Tone = tone
        self._weight: int | None = None
        self._wrap = wrap
        self._elide = elide
        self._flow: TextFlow | None = None
        self._flow_theme: Theme | None = None
        self.setTextFormat(Qt.TextFormat.PlainText)
        if elide:
            self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        elif wrap:
            policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
            policy.setHeightForWidth(True)
            self.setSizePolicy(policy)
        else:
            self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setText(text)
        self._apply_role()

    def set_text(self, text: str) -> None:
        """Changes the text; the accessible name is always the whole of it."""
        if text != self.text():
            self.setText(text)
            self._apply_role()

    def full_text(self) -> str:
        """The text as given, not as elided."""
        return self.text()

    def set_weight(self, weight: int) -> None:
        """Another weight than the role's."""
        self._weight = weight
        self._apply_role()

    def set_tone(self, tone: Tone) -> None:
        """Changes the colour."""
        if tone != self._tone:
            self._tone = tone
            self._forget()

    def tone(self) -> Tone:
        """The colour's role."""
        return self._tone

    def hasHeightForWidth(self) -> bool:
        return self._wrap

    def heightForWidth(self, width: int) -> int:
        return round(self._get_flow().layout(width)) if self._wrap else self._line_height()

    def sizeHint(self) -> QSize:
        width = ceil(QFontMetricsF(self.font()).horizontalAdvance(self.text()))
        if self._wrap:
            width = min(width, scaled(480))
        return QSize(width, self.heightForWidth(width))

    def minimumSizeHint(self) -> QSize:
        if self._wrap:
            return QSize(scaled(80), self._line_height())
        return QSize(0, self._line_height()) if self._elide else self.sizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._elide:
            is_cut = QFontMetrics(self.font()).horizontalAdvance(self.text()) > self.width()
            self.setToolTip(self.text() if is_cut else "")

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_role()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        color = getattr(theme, self._tone) if self.isEnabled() else theme.ink3
        if self._wrap:
            if theme is not self._flow_theme:
                self._flow = None
            flow = self._get_flow()
            flow.layout(self.width())
            flow.draw(painter, QPointF(0, max(0.0, (self.height() - flow.height) / 2)))
            return
        painter.setFont(self.font())
        painter.setPen(QColor(color))
        text = self.text()
        if self._elide:
            text = QFontMetrics(self.font()).elidedText(text, Qt.TextElideMode.ElideRight, self.width())
        # A hair more room at the right, or a fraction of a pixel could cost a letter.
        spare = 0 if self.alignment() & Qt.AlignmentFlag.AlignRight else 2
        rect = QRectF(0, 0, self.width() + spare, self.height())
        painter.drawText(rect, self.alignment() | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, text)

    def _get_flow(self) -> TextFlow:
        if self._flow is None:
            self._flow_theme = theme_of(self)
            color = getattr(self._flow_theme, self._tone)
            style = FlowStyle(self.font(), self._line_height(), color, self._flow_theme)
            self._flow = TextFlow((Run(self.text().replace("\n", LINE_BREAK)),), style)
        return self._flow

    def _line_height(self) -> int:
        return scaled(ROLES[self._role][1])

    def _forget(self) -> None:
        self._flow = None
        self.updateGeometry()
        self.update()

    def _apply_role(self) -> None:
        size, _, weight, display = ROLES[self._role]
        tabular = not display and size < 14 and is_tabular(self.text())
        self.setFont(text_font(size, self._weight or weight, display=display, tabular=tabular))
        self._forget()
