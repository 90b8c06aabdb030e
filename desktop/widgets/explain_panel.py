"""A sum that anybody can check: every term with its figure, what it is held against, where the figures come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.buttons import Button, IconButton
from desktop.widgets.cards import Hairline
from desktop.widgets.text import Text, Tone
from desktop.widgets.theme import scaled, theme_of

_RADIUS_PX = 10
_HEADING_PX, _LABEL_PX = 30, 170


@dataclass(frozen=True, slots=True)
class ExplainRow:
    """One term: what, how much, and in small what it is. A total has a line above it."""

    label: str
    figure: str
    note: str = ""
    is_total: bool = False
    tone: Tone = "ink"


@dataclass(frozen=True, slots=True)
class ExplainSection:
    """A sum or a list of figures beneath a heading."""

    title: str
    rows: tuple[ExplainRow, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that the panel says: reasons in sentences, sums, and where the figures come from."""

    title: str
    reasons: tuple[str, ...] = ()
    sections: tuple[ExplainSection, ...] = ()
    source: str = ""

    def as_text(self) -> str:
        """For the clipboard."""
        lines = [self.title, *self.reasons]
        for section in self.sections:
            lines += ["", section.title]
            for row in section.rows:
                note = f"  ({row.note})" if row.note else ""
                lines.append(f"{'= ' if row.is_total else '  '}{row.label}: {row.figure}{note}")
        return "\n".join([*lines, "", self.source]).strip() + "\n"


class _RowView:
    """The widgets of one row, so that figures can change without new widgets."""

    def __init__(self, grid: QGridLayout, row: ExplainRow) -> None:
        line = grid.rowCount()
        if row.is_total:
            grid.addWidget(Hairline(), line, 0, 1, 3)
            line += 1
        self._label = Text("", "secondary", "ink2", wrap=True)
        self._figure = Text("", "secondary", "ink")
        self._note = Text("", "hint", "ink3", wrap=True)
        self._figure.setAlignment(Qt.AlignmentFlag.AlignRight)
        if row.is_total:
            self._label.set_weight(600)
            self._figure.set_weight(600)
        grid.addWidget(self._label, line, 0)
        grid.addWidget(self._figure, line, 1)
        grid.addWidget(self._note, line, 2)
        self.show(row)

    def show(self, row: ExplainRow) -> None:
        self._label.set_text(row.label)
        self._figure.set_text(row.figure)
        self._figure.set_tone(row.tone)
        self._note.set_text(row.note)


class ExplainPanel(QWidget):
    """The sum in the open. Signals: closed, when its close button was pressed."""

    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explanation = Explanation("")
        self._rows: list[_RowView] = []
        self._titles: list[Text] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._title = Text("", "strong", wrap=True)
        self._reasons = Text("", "secondary", "ink2", wrap=True)
        self._source = Text("", "hint", "ink3", wrap=True)
        self._copy = Button(self.tr("Copy"), icon_name="copy", size="small", kind="quiet")
        self._copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._explanation.as_text()))
        self._close = IconButton("close", self.tr("Close"), size="small")
        self._close.clicked.connect(self.closed)
        self._sums = QWidget()
        self._grid = self._make_grid(self._sums)
        head = QHBoxLayout()
        head.setSpacing(4)
        head.addWidget(self._title, 1)
        head.addWidget(self._copy)
        head.addWidget(self._close)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(16, 10, 12, 14)
        self._column.setSpacing(6)
        self._column.addLayout(head)
        self._column.addWidget(self._reasons)
        self._column.addWidget(self._sums)
        self._column.addWidget(self._source)

    def set_explanation(self, explanation: Explanation) -> None:
        """Shows another sum; where only figures differ, the widgets stay."""
        before, self._explanation = self._explanation, explanation
        self._title.set_text(explanation.title)
        self._reasons.set_text("\n".join(explanation.reasons))
        self._reasons.setVisible(bool(explanation.reasons))
        self._source.set_text(explanation.source)
        self._source.setVisible(bool(explanation.source))
        self.setAccessibleName(explanation.title)
        if _shape(before.sections) == _shape(explanation.sections) and self._rows:
            rows = [row for section in explanation.sections for row in section.rows]
            for view, row in zip(self._rows, rows, strict=True):
                view.show(row)
        else:
            self._rebuild(explanation.sections)

    def explanation(self) -> Explanation:
        """What is shown."""
        return self._explanation

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.code_ground))
        painter.drawRoundedRect(self.rect(), _RADIUS_PX, _RADIUS_PX)

    def _rebuild(self, sections: Iterable[ExplainSection]) -> None:
        old = self._sums
        self._sums = QWidget()
        self._grid = self._make_grid(self._sums)
        self._rows = []
        for section in sections:
            line = self._grid.rowCount()
            title = Text(section.title, "hint_strong", "ink2", wrap=True)
            self._grid.addWidget(title, line, 0, 1, 3, Qt.AlignmentFlag.AlignBottom)
            self._grid.setRowMinimumHeight(line, scaled(_HEADING_PX))
            self._rows += [_RowView(self._grid, row) for row in section.rows]
        self._column.replaceWidget(old, self._sums)
        self._sums.show()
        old.hide()
        old.deleteLater()

    @staticmethod
    def _make_grid(parent: QWidget) -> QGridLayout:
        grid = QGridLayout(parent)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(3)
        grid.setColumnMinimumWidth(0, scaled(_LABEL_PX))
        grid.setColumnStretch(2, 1)
        return grid


def _shape(sections: tuple[ExplainSection, ...]) -> list[tuple[str, tuple[bool, ...]]]:
    return [(section.title, tuple(row.is_total for row in section.rows)) for section in sections]
