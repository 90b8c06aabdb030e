from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtWidgets import QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.flow_row import FlowRow
from desktop.widgets.text import Text


class Block(QWidget):
    """A widget that wants 100 x 20."""

    def __init__(self, width: int = 100, height: int = 20) -> None:
        super().__init__()
        self.wanted = (width, height)

    def sizeHint(self):  # type: ignore[no-untyped-def]
        from PySide6.QtCore import QSize

        return QSize(*self.wanted)


def row_of(count: int, **options: bool) -> FlowRow:
    row = FlowRow(gap_px=10, line_gap_px=4, **options)  # type: ignore[arg-type]
    for _ in range(count):
        row.add(Block())
    return row


def lefts(row: FlowRow) -> list[int]:
    return [widget.x() for widget in row.widgets()]


def test_widgets_stand_beside_each_other_while_there_is_room(show: Callable[..., QWidget]) -> None:
    row = row_of(3)
    show(row, 400, 20)
    assert lefts(row) == [0, 110, 220]
    assert row.heightForWidth(400) == 20


def test_what_does_not_fit_goes_to_the_next_line(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    row = row_of(3)
    show(row, 400, 20)
    row.resize(320, 20)
    assert [widget.y() for widget in row.widgets()] == [0, 0, 0]
    row.resize(319, 20)
    assert [widget.y() for widget in row.widgets()] == [0, 0, 24]
    assert row.heightForWidth(319) == 44
    assert row.minimumHeight() == 44, "the layout above must not cut the second line"
    row.resize(100, 20)
    assert [widget.y() for widget in row.widgets()] == [0, 24, 48]


def test_spare_room_goes_before_the_last_or_between_all(show: Callable[..., QWidget]) -> None:
    spread = row_of(3, spread=True)
    show(spread, 400, 20)
    assert lefts(spread) == [0, 110, 300]
    justified = row_of(3, justify=True)
    show(justified, 400, 20)
    assert lefts(justified) == [0, 150, 300]
    justified.resize(230, 44)
    assert lefts(justified) == [0, 110, 0], "several lines are not torn apart"


def test_a_widget_that_wants_more_room_gets_it(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    row = row_of(2)
    show(row, 400, 20)
    first = row.widgets()[0]
    assert isinstance(first, Block)
    first.wanted = (150, 30)
    first.updateGeometry()
    qtbot.waitUntil(lambda: row.widgets()[1].x() == 160)
    assert row.heightForWidth(400) == 30
    assert row.widgets()[1].y() == 5, "lower ones stand in the middle of the line"


def test_hidden_widgets_take_no_room(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    row = row_of(3)
    show(row, 400, 20)
    row.widgets()[0].hide()
    qtbot.waitUntil(lambda: row.widgets()[1].x() == 0)
    taken = row.widgets()[1]
    row.take(taken)
    assert row.widgets()[1].x() == 0
    assert taken.parent() is None
    taken.deleteLater()


@pytest.mark.parametrize("width", [60, 300])
def test_changes_made_while_it_was_hidden_are_seen_when_it_is_shown(show: Callable[..., QWidget], width: int) -> None:
    holder = QWidget()
    column = QVBoxLayout(holder)
    row = FlowRow()
    text = Text("a", elide=True)
    row.add(text)
    column.addWidget(row)
    show(holder, width, 60)
    row.hide()
    text.set_text("a much longer text than before")
    row.show()
    assert text.width() == min(text.sizeHint().width(), row.width())
