"""The line above a conversation."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QApplication

from desktop.pages.chat.header import ChatHeader
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.theme import ThemeController


def make(qtbot: Any) -> ChatHeader:
    header = ChatHeader()
    qtbot.addWidget(header)
    header.resize(800, 60)
    header.show()
    return header


def test_title_is_shown(qtbot: Any) -> None:
    header = make(qtbot)
    header.set_title("Bike loan")
    assert header.title() == "Bike loan"


def test_menu_button_is_there_in_a_narrow_window_only(qtbot: Any) -> None:
    header = make(qtbot)
    assert not header._menu_button.isVisible()
    header.set_narrow(True)
    assert header._menu_button.isVisible()
    with qtbot.waitSignal(header.menu_requested):
        header._menu_button.click()


def test_chosen_entry_is_told(qtbot: Any) -> None:
    header = make(qtbot)
    header.set_entries((MenuEntry("a", "First"), MenuEntry("b", "Second", enabled=False)))
    header._more.click()
    assert header.menu.labels() == ["First", "Second"]
    with qtbot.waitSignal(header.entry_chosen) as chosen:
        header.menu.choose("a")
    assert chosen.args == ["a"]
    header.menu.close()


def test_line_grows_with_the_text(qtbot: Any) -> None:
    header = make(qtbot)
    controller = ThemeController(QApplication.instance())
    try:
        controller.apply()
        controller.set_text_scale(1.5)
        assert header.height() == 90
    finally:
        controller.set_text_scale(1.0)
        controller.deleteLater()
    assert header.height() == 60
