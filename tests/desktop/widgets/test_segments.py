from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QRadioButton, QWidget

from desktop.widgets.segments import Segment, Segments
from desktop.widgets.theme import DARK, LIGHT, ThemeController

THREE = (Segment("recommended", "Recommended"), Segment("installed", "Installed", 2), Segment("all", "All", 41))


@pytest.fixture
def bar(show: Callable[..., QWidget]) -> Segments:
    widget = Segments("Which models")
    widget.set_segments(THREE)
    show(widget)
    widget.resize(widget.sizeHint())
    return widget


def buttons(bar: Segments) -> list[QRadioButton]:
    return bar.findChildren(QRadioButton)


def test_first_is_chosen_and_nothing_was_emitted(show: Callable[..., QWidget]) -> None:
    chosen: list[str] = []
    bar = Segments("Which models")
    bar.chosen.connect(chosen.append)
    assert bar.current() == ""
    bar.focus_current()
    bar.set_segments(THREE)
    show(bar)
    assert bar.current() == "recommended"
    assert chosen == []


def test_names_with_counts_are_spoken(bar: Segments) -> None:
    assert [button.accessibleName() for button in buttons(bar)] == ["Recommended", "Installed 2", "All 41"]
    bar.set_segments((THREE[0], Segment("installed", "Installed", 3), THREE[2]))
    assert buttons(bar)[1].accessibleName() == "Installed 3"
    assert bar.segments()[1].count == 3


def test_click_and_arrow_keys_choose(bar: Segments) -> None:
    chosen: list[str] = []
    bar.chosen.connect(chosen.append)
    QTest.mouseClick(buttons(bar)[2], Qt.MouseButton.LeftButton)
    bar.focus_current()
    assert buttons(bar)[2].hasFocus()
    QTest.keyClick(buttons(bar)[2], Qt.Key.Key_Left)
    assert chosen == ["all", "installed"]
    bar.choose("recommended")
    assert bar.current() == "recommended"


def test_choosing_moves_nothing(bar: Segments) -> None:
    places = [button.geometry() for button in buttons(bar)]
    bar.choose("all")
    assert [button.geometry() for button in buttons(bar)] == places
    assert bar.height() == 36


def test_chosen_one_has_the_soft_ground_in_both_themes(bar: Segments, look: ThemeController) -> None:
    for theme, appearance in ((LIGHT, "light"), (DARK, "dark")):
        look.set_appearance(appearance)  # type: ignore[arg-type]
        picture = bar.grab().toImage()
        assert picture.pixelColor(12, 6).name().upper() == theme.soft
        assert picture.pixelColor(bar.width() - 8, 6).name().upper() == theme.surface
    look.set_text_scale(2.0)
    assert bar.sizeHint().height() == 72
