from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QWidget

from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.theme import LIGHT


def test_it_says_which_entry_was_chosen(show: Callable[..., QWidget]) -> None:
    owner = show(QWidget(), 200, 100)
    menu, chosen = PopupMenu(owner), list[str]()
    menu.open_with((MenuEntry("a", "First", "copy"), MenuEntry("b", "Second")), chosen.append, QPoint(0, 0))
    assert menu.isVisible()
    assert menu.labels() == ["First", "Second"]
    assert not menu.actions()[0].icon().isNull()
    menu.choose("b")
    menu.close()
    assert chosen == ["b"]


def test_it_is_filled_anew_each_time(show: Callable[..., QWidget]) -> None:
    owner = show(QWidget(), 200, 100)
    menu, first, second = PopupMenu(owner), list[str](), list[str]()
    menu.open_with((MenuEntry("a", "First"),), first.append, QPoint(0, 0))
    menu.close()
    menu.open_with((MenuEntry("a", "Other", enabled=False), MenuEntry("c", "Third")), second.append, QPoint(0, 0))
    assert [(action.text(), action.isEnabled()) for action in menu.actions()] == [("Other", False), ("Third", True)]
    menu.choose("c")
    menu.close()
    assert (first, second) == ([], ["c"])


def test_its_corners_are_round_and_its_edge_a_hairline(show: Callable[..., QWidget]) -> None:
    owner = show(QWidget(), 200, 100)
    menu = PopupMenu(owner)
    menu.open_with((MenuEntry("a", "First"), MenuEntry("b", "Second")), lambda _: None, QPoint(0, 0))
    picture = menu.grab().toImage()
    menu.close()
    assert picture.pixelColor(0, 0).alpha() == 0
    assert picture.pixelColor(picture.width() // 2, 0).name().upper() == LIGHT.line
    assert picture.pixelColor(picture.width() // 2, 3).name().upper() == LIGHT.surface


def test_an_empty_menu_does_not_open(show: Callable[..., QWidget]) -> None:
    owner = show(QWidget(), 200, 100)
    menu = PopupMenu(owner)
    menu.open_with((), lambda _: None, QPoint(0, 0))
    assert not menu.isVisible()


def test_a_hint_stands_at_the_right_and_a_drawing_has_its_tone(show: Callable[..., QWidget]) -> None:
    owner = show(QWidget(), 200, 100)
    menu = PopupMenu(owner)
    entry = MenuEntry("a", "SmolLM2   98 MB", "verdict-fits", hint="Fits", tone="ok")
    menu.open_with((entry, MenuEntry("b", "Second")), lambda _: None, QPoint(0, 0))
    assert menu.labels() == ["SmolLM2   98 MB   Fits", "Second"]
    picture = menu.actions()[0].icon().pixmap(18, 18).toImage()
    colours = {picture.pixelColor(x, y).name().upper() for x in range(18) for y in range(18)}
    menu.close()
    assert LIGHT.ok in colours
