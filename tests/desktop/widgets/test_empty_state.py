from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState


def test_it_offers_three_examples_and_hands_the_pressed_one_on(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    empty = EmptyState()
    show(empty, 584, 210)
    assert len(empty.examples()) == 3
    first = next(button for button in empty.findChildren(Button) if button.text() == empty.examples()[0])
    with qtbot.waitSignal(empty.example_chosen) as chosen:
        qtbot.mouseClick(first, Qt.MouseButton.LeftButton)
    assert chosen.args == [empty.examples()[0]]


def test_other_examples_take_their_place(show: Callable[..., QWidget]) -> None:
    empty = EmptyState()
    show(empty, 584, 210)
    empty.set_examples(["Only this"])
    QApplication.processEvents()
    assert empty.examples() == ["Only this"]
    assert [button.text() for button in empty.findChildren(Button) if button.isVisible()] == ["Only this"]


def test_it_is_as_high_as_the_design(show: Callable[..., QWidget]) -> None:
    empty = EmptyState()
    show(empty, 584, 400)
    assert abs(empty.heightForWidth(584) - 210) <= 2
