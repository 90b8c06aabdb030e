from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.context_slider import ContextSlider, ContextStep
from desktop.widgets.theme import LIGHT, ThemeController

STEPS = tuple(
    ContextStep(tokens * 1024, f"{tokens}k", f"{tokens}k, about {tokens * 5 // 2} pages")
    for tokens in (8, 16, 32, 64, 128)
)


@pytest.fixture
def slider(show: Callable[..., QWidget]) -> ContextSlider:
    widget = ContextSlider("Context")
    widget.set_steps(STEPS, 32768)
    show(widget, 514, 38)
    return widget


def test_it_stands_at_the_largest_step_that_is_not_above(slider: ContextSlider) -> None:
    assert slider.tokens() == 32768
    slider.set_steps(STEPS, 40000)
    assert slider.tokens() == 32768
    slider.set_steps(STEPS, 100)
    assert slider.tokens() == 8192
    slider.set_steps((), 100)
    assert slider.tokens() == 0
    slider.grab()


def test_what_is_chosen_is_said_in_full(slider: ContextSlider) -> None:
    assert slider.accessibleName() == "Context: 32k, about 80 pages"
    slider.setValue(4)
    assert slider.accessibleName() == "Context: 128k, about 320 pages"


def test_only_the_user_makes_it_speak(slider: ContextSlider, qtbot: QtBot) -> None:
    told: list[int] = []
    slider.tokens_changed.connect(told.append)
    slider.set_steps(STEPS, 65536)
    assert told == []
    slider.setFocus()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageDown):
        QTest.keyClick(slider, key)
    assert told == [131072, 65536, 8192, 131072, 65536]


def test_mouse_chooses_the_nearest_step(slider: ContextSlider, qtbot: QtBot) -> None:
    QTest.mouseClick(slider, Qt.MouseButton.LeftButton, pos=QPoint(2, 10))
    assert slider.tokens() == 8192
    QTest.mousePress(slider, Qt.MouseButton.LeftButton, pos=QPoint(2, 10))
    QTest.mouseMove(slider, QPoint(140, 10))
    assert slider.tokens() == 16384
    QTest.mouseMove(slider, QPoint(5000, 10))
    assert slider.tokens() == 131072
    QTest.mouseRelease(slider, Qt.MouseButton.LeftButton, pos=QPoint(500, 10))
    QTest.mouseMove(slider, QPoint(5, 10))
    assert slider.tokens() == 131072, "let go"


def test_what_is_out_of_reach_is_drawn_so_and_can_be_chosen(slider: ContextSlider) -> None:
    def tone_at(x: int) -> str:
        return slider.grab().toImage().pixelColor(x, 10).name().upper()

    assert tone_at(450) == LIGHT.trough
    slider.set_most(65536)
    assert tone_at(450) == LIGHT.no
    assert tone_at(330) == LIGHT.trough
    slider.set_most(0)
    assert tone_at(330) == LIGHT.no
    slider.setValue(4)
    assert slider.tokens() == 131072
    assert tone_at(330) == LIGHT.no, "beyond the limit nothing is painted as reached"
    slider.set_most(65536)
    assert (tone_at(100), tone_at(450)) == (LIGHT.accent, LIGHT.no)
    slider.set_most(None)
    assert tone_at(450) == LIGHT.accent
    slider.grab()


def test_labels_do_not_run_into_each_other(show: Callable[..., QWidget]) -> None:
    narrow = ContextSlider("Context")
    narrow.set_steps(STEPS, 131072)
    show(narrow, 170, 38)
    for value in range(len(STEPS)):
        narrow.setValue(value)
        narrow.grab()
    assert narrow.width() == 170


def test_it_grows_with_the_text(slider: ContextSlider, look: ThemeController) -> None:
    height = slider.sizeHint().height()
    look.set_text_scale(2.0)
    assert slider.sizeHint().height() > height * 1.8
    look.set_appearance("dark")
    slider.grab()
