from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.fit_badge import FitBadge
from desktop.widgets.link_button import LinkButton
from desktop.widgets.model_row import ModelRow, ModelRowState, RowAction
from desktop.widgets.text import Text
from desktop.widgets.theme import ThemeController

STATE = ModelRowState(
    "gemma",
    "Gemma 4 E4B",
    "fits",
    note="Installed",
    summary="Light and quick, with pictures and sound.",
    size="4.2 GB",
    speed="about 25 words/s",
    actions=(RowAction("chat", "Chat"),),
)


@pytest.fixture
def row(show: Callable[..., QWidget]) -> ModelRow:
    widget = ModelRow(STATE)
    show(widget, 966, 66)
    return widget


def shown_texts(row: ModelRow) -> list[str]:
    return [text.full_text() for text in row.findChildren(Text) if text.isVisible()]


def test_it_shows_what_it_is_told(row: ModelRow) -> None:
    assert shown_texts(row) == [
        "Gemma 4 E4B",
        "Installed",
        "Light and quick, with pictures and sound.",
        "4.2 GB",
        "about 25 words/s",
    ]
    assert row.findChildren(FitBadge)[0].kind() == "fits"
    assert row.minimumHeight() == 66, "the design's row"
    assert [button.text() for button in row.buttons()] == ["Chat"]
    assert row.buttons()[0].accessibleName() == "Chat: Gemma 4 E4B"


def test_click_on_the_head_and_keys_ask_to_open(row: ModelRow) -> None:
    asked: list[tuple[str, bool]] = []
    row.open_requested.connect(lambda *what: asked.append(what))
    QTest.mouseClick(row, Qt.MouseButton.LeftButton, pos=QPoint(400, 33))
    row.focus_row()
    chevron = QApplication.focusWidget()
    assert chevron is not None
    assert chevron.accessibleName() == "Show details of Gemma 4 E4B"
    QTest.keyClick(chevron, Qt.Key.Key_Space)
    QTest.keyClick(chevron, Qt.Key.Key_Right)
    QTest.keyClick(chevron, Qt.Key.Key_Left)
    assert asked == [("gemma", True)] * 3, "it is closed already"
    assert not row.is_open, "until the page says so"
    row.set_open(True, QWidget(row))
    assert chevron.accessibleName() == "Close details of Gemma 4 E4B"
    QTest.keyClick(chevron, Qt.Key.Key_Left)
    assert asked[-1] == ("gemma", False)


def test_up_and_down_go_to_the_rows_beside(row: ModelRow) -> None:
    moves: list[tuple[str, int]] = []
    row.move_requested.connect(lambda *what: moves.append(what))
    row.focus_row()
    for key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
        chevron = QApplication.focusWidget()
        assert chevron is not None
        QTest.keyClick(chevron, key)
    assert moves == [("gemma", -1), ("gemma", 1)]


def test_action_is_handed_on_and_does_not_open(row: ModelRow, qtbot: QtBot) -> None:
    asked: list[str] = []
    row.open_requested.connect(lambda *_: asked.append("open"))
    with qtbot.waitSignal(row.action_requested) as told:
        QTest.mouseClick(row.buttons()[0], Qt.MouseButton.LeftButton)
    assert told.args == ["gemma", "chat"]
    assert asked == []


def test_details_stand_in_the_open_row_only(row: ModelRow, show: Callable[..., QWidget]) -> None:
    details = QWidget(row)
    details.setMinimumHeight(100)
    row.set_open(True, details)
    row.resize(966, 220)
    QApplication.processEvents()
    assert details.isVisible()
    assert "4.2 GB" not in shown_texts(row), "the details say it"
    asked: list[bool] = []
    row.open_requested.connect(lambda _, is_open: asked.append(is_open))
    QTest.mouseClick(row, Qt.MouseButton.LeftButton, pos=QPoint(200, details.y() + 20))
    assert asked == [], "only the head closes it"
    row.set_open(False)
    assert details.isHidden()
    assert "4.2 GB" in shown_texts(row)


def test_other_values_and_other_actions(row: ModelRow) -> None:
    why = RowAction("why", "Why not?", is_link=True)
    row.set_state(replace(STATE, kind="cannot", note="", mark="Recommended", reason="Because.", actions=(why,)))
    assert isinstance(row.buttons()[0], LinkButton)
    assert "Recommended" in shown_texts(row)
    assert "Because." in shown_texts(row)
    assert "Installed" not in shown_texts(row)
    row.set_state(replace(STATE, actions=()))
    assert row.buttons() == []
    assert row.state.actions == ()


def test_with_little_room_the_figures_stand_beneath(row: ModelRow, look: ThemeController) -> None:
    row.resize(500, 100)
    assert "4.2 GB, about 25 words/s" in shown_texts(row)
    row.resize(966, 66)
    assert "4.2 GB, about 25 words/s" not in shown_texts(row)
    look.set_text_scale(2.0)
    assert "4.2 GB, about 25 words/s" in shown_texts(row)
    assert row.minimumHeight() == 132


def test_a_very_long_name_stays_within_the_row(show: Callable[..., QWidget]) -> None:
    row = ModelRow(replace(STATE, name="A model with a name that goes on and on " * 8))
    show(row, 700, 120)
    for text in row.findChildren(Text):
        if text.isVisible():
            assert text.mapTo(row, QPoint(text.width(), 0)).x() <= 700
    row.set_line(False)
    row.grab()
