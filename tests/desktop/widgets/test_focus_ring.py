from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QScrollArea, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button
from desktop.widgets.composer import Composer
from desktop.widgets.focus_ring import _Ring
from desktop.widgets.theme import LIGHT
from desktop.widgets.transcript import Transcript


@pytest.fixture
def page(show: Callable[..., QWidget]) -> QWidget:
    widget = QWidget()
    column = QVBoxLayout(widget)
    for name in ("one", "two"):
        column.addWidget(Button(name))
    column.addStretch(1)
    return show(widget, 300, 200)


def rings() -> list[_Ring]:
    return [
        ring for window in QApplication.topLevelWidgets() for ring in window.findChildren(_Ring) if ring.isVisible()
    ]


def button(page: QWidget, text: str) -> Button:
    return next(found for found in page.findChildren(Button) if found.text() == text)


def test_the_keyboard_shows_a_ring_two_pixels_away(page: QWidget, qtbot: QtBot) -> None:
    button(page, "one").setFocus()
    qtbot.keyClick(button(page, "one"), Qt.Key.Key_Tab)
    (ring,) = rings()
    target = button(page, "two")
    assert ring.geometry() == target.geometry().adjusted(-4, -4, 4, 4)
    picture = ring.grab().toImage()
    assert picture.pixelColor(ring.width() // 2, 0).name().upper() == LIGHT.accent
    assert ring.testAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)


def test_a_click_shows_no_ring_and_takes_one_away(page: QWidget, qtbot: QtBot) -> None:
    button(page, "one").setFocus()
    qtbot.keyClick(button(page, "one"), Qt.Key.Key_Tab)
    assert rings()
    qtbot.mouseClick(button(page, "one"), Qt.MouseButton.LeftButton)
    assert QApplication.focusWidget() is button(page, "one")
    assert not rings()


def test_the_ring_moves_with_its_control_and_goes_with_it(page: QWidget, qtbot: QtBot) -> None:
    button(page, "one").setFocus()
    qtbot.keyClick(button(page, "one"), Qt.Key.Key_Tab)
    target = button(page, "two")
    target.move(target.pos() + QPoint(20, 30))
    assert rings()[0].geometry() == target.geometry().adjusted(-4, -4, 4, 4)
    target.hide()
    assert not rings()


def test_a_field_inside_a_card_rings_its_card(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    page = QWidget()
    column = QVBoxLayout(page)
    first, composer = Button("first"), Composer()
    column.addWidget(first)
    column.addWidget(composer)
    show(page, 500, 260)
    first.setFocus()
    qtbot.keyClick(first, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is composer.text_field()
    assert rings()[0].geometry() == composer.geometry().adjusted(-4, -4, 4, 4)


def test_in_a_scrolled_page_the_ring_belongs_to_the_page(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    area = QScrollArea()
    content = QWidget()
    column = QVBoxLayout(content)
    buttons = [Button(str(number)) for number in range(12)]
    for one in buttons:
        column.addWidget(one)
    area.setWidget(content)
    show(area, 200, 200)
    buttons[0].setFocus()
    qtbot.keyClick(buttons[0], Qt.Key.Key_Tab)
    (ring,) = rings()
    before = ring.mapToGlobal(QPoint(0, 0))
    area.verticalScrollBar().setValue(30)
    assert ring.mapToGlobal(QPoint(0, 0)) == before - QPoint(0, 30)


def test_a_whole_area_is_ringed_inside(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    first, transcript = Button("first"), Transcript()
    column.addWidget(first)
    column.addWidget(transcript)
    show(page, 500, 260)
    first.setFocus()
    qtbot.keyClick(first, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is transcript
    assert rings()[0].geometry() == transcript.geometry().adjusted(2, 2, -2, -2)


def test_a_control_that_is_deleted_with_the_focus_leaves_no_ring(page: QWidget, qtbot: QtBot) -> None:
    button(page, "one").setFocus()
    qtbot.keyClick(button(page, "one"), Qt.Key.Key_Tab)
    button(page, "two").setParent(None)
    QApplication.processEvents()
    assert not rings()
