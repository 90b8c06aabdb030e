from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.conversation_list import ConversationEntry, ConversationList
from desktop.widgets.memory_bar import MemoryBar, MemoryPart, MemoryState
from desktop.widgets.side_bar import PageEntry, SearchField, SideBar, WideButton
from desktop.widgets.theme import DARK, LIGHT, ThemeController


@pytest.fixture
def bar(show: Callable[..., QWidget]) -> SideBar:
    widget = SideBar()
    widget.set_shortcut_hint("Ctrl N")
    widget.set_conversations([ConversationEntry("a", "Bike loan", "Today")])
    widget.set_pages([PageEntry("models", "Models", "models", "1 downloading"), PageEntry("s", "Settings", "settings")])
    show(widget, 256, 700)
    return widget


def button(bar: SideBar, text: str) -> WideButton:
    return next(found for found in bar.findChildren(WideButton) if found.text() == text)


def test_it_is_as_wide_as_the_design_and_grows_with_the_text(bar: SideBar, look: ThemeController) -> None:
    assert bar.width() == 256
    look.set_text_scale(1.5)
    assert bar.width() == 384


def test_new_chat_is_asked_for(bar: SideBar, qtbot: QtBot) -> None:
    with qtbot.waitSignal(bar.new_chat_requested):
        qtbot.mouseClick(button(bar, "New chat"), Qt.MouseButton.LeftButton)
    assert button(bar, "New chat").accessibleDescription() == "Ctrl N"
    assert button(bar, "New chat").height() == 38


def test_typing_searches_and_escape_empties_the_field(bar: SideBar, qtbot: QtBot) -> None:
    bar.focus_search()
    field = bar.findChild(SearchField)
    assert QApplication.focusWidget() is field
    with qtbot.waitSignal(bar.search_changed) as changed:
        qtbot.keyClicks(field, "b")
    assert changed.args == ["b"]
    assert bar.search_text() == "b"
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert bar.search_text() == ""


def test_what_the_list_says_is_passed_on(bar: SideBar, qtbot: QtBot) -> None:
    conversations = bar.conversation_list()
    for signal, arguments in (
        ("conversation_activated", ("a",)),
        ("rename_requested", ("a", "New")),
        ("delete_requested", ("a",)),
    ):
        with qtbot.waitSignal(getattr(bar, signal)) as told:
            getattr(conversations, signal).emit(*arguments)
        assert tuple(told.args) == arguments
    bar.set_current_conversation("a")
    assert conversations.current_id() == "a"


def test_a_page_is_opened_and_marked(bar: SideBar, qtbot: QtBot) -> None:
    with qtbot.waitSignal(bar.page_activated) as opened:
        qtbot.mouseClick(button(bar, "Settings"), Qt.MouseButton.LeftButton)
    assert opened.args == ["s"]
    assert button(bar, "Settings").isChecked()
    assert not button(bar, "Models").isChecked()
    assert button(bar, "Settings").grab().toImage().pixelColor(4, 17).name().upper() == LIGHT.select
    bar.set_current_page("")
    assert not button(bar, "Settings").isChecked()


def test_pages_can_be_named_anew(bar: SideBar) -> None:
    bar.set_pages([PageEntry("about", "About", "info")])
    QApplication.processEvents()
    assert [found.text() for found in bar.findChildren(WideButton) if found.isVisible()] == ["New chat", "About"]


def test_this_computer_is_said_in_words_and_drawn(bar: SideBar) -> None:
    state = MemoryState(16, (MemoryPart("other", 4),), description="Other apps 4 GB of 16 GB")
    bar.set_memory(state, "12 GB free")
    assert bar._free.text() == "12 GB free"
    mini = bar.findChild(MemoryBar)
    assert isinstance(mini, MemoryBar)
    assert mini.accessibleName() == "Other apps 4 GB of 16 GB"


def test_tab_follows_the_reading_order(bar: SideBar, qtbot: QtBot) -> None:
    button(bar, "New chat").setFocus()
    order: list[type[QWidget]] = []
    for _ in range(4):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        focused = QApplication.focusWidget()
        assert focused is not None
        order.append(type(focused))
    assert order == [SearchField, ConversationList, WideButton, WideButton]


def test_it_follows_the_theme(bar: SideBar, look: ThemeController) -> None:
    assert bar.grab().toImage().pixelColor(3, 300).name().upper() == LIGHT.side
    look.set_appearance("dark")
    assert bar.grab().toImage().pixelColor(3, 300).name().upper() == DARK.side
    assert bar.grab().toImage().pixelColor(255, 300).name().upper() == DARK.line
