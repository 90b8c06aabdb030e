from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QModelIndex, QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QApplication, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.conversation_list import ConversationEntry, ConversationList
from desktop.widgets.popup_menu import PopupMenu
from desktop.widgets.theme import DARK, LIGHT, ThemeController

ENTRIES = [
    ConversationEntry("a", "Bike loan: monthly payment", "Today"),
    ConversationEntry("b", "Letter to the landlord", "Today"),
    ConversationEntry("c", "Soup with white beans", "Yesterday"),
]


@pytest.fixture
def conversations(show: Callable[..., QWidget]) -> ConversationList:
    widget = ConversationList()
    widget.set_entries(ENTRIES)
    show(widget, 232, 400)
    return widget


def index_of(conversations: ConversationList, title: str) -> QModelIndex:
    return conversations.model().index(conversations.titles().index(title), 0)


def center(conversations: ConversationList, title: str) -> QPoint:
    return conversations.visualRect(index_of(conversations, title)).center()


def click(qtbot: QtBot, conversations: ConversationList, spot: QPoint) -> None:
    qtbot.mouseClick(conversations.viewport(), Qt.MouseButton.LeftButton, pos=spot)


def test_conversations_stand_under_their_days(conversations: ConversationList) -> None:
    assert conversations.titles() == [
        "Today",
        "Bike loan: monthly payment",
        "Letter to the landlord",
        "Yesterday",
        "Soup with white beans",
    ]
    assert conversations.visualRect(index_of(conversations, "Today")).height() == 34
    assert conversations.visualRect(index_of(conversations, "Letter to the landlord")).height() == 34


def test_without_groups_there_are_no_heads(conversations: ConversationList) -> None:
    conversations.set_entries([ConversationEntry("x", "Found")])
    assert conversations.titles() == ["Found"]


def test_a_click_opens_and_a_head_does_nothing(conversations: ConversationList, qtbot: QtBot) -> None:
    with qtbot.waitSignal(conversations.conversation_activated) as opened:
        click(qtbot, conversations, center(conversations, "Soup with white beans"))
    assert opened.args == ["c"]
    with qtbot.assertNotEmitted(conversations.conversation_activated):
        click(qtbot, conversations, center(conversations, "Today"))


def test_arrows_skip_the_heads_and_enter_opens(conversations: ConversationList, qtbot: QtBot) -> None:
    conversations.set_current_id("b")
    conversations.setFocus()
    qtbot.keyClick(conversations, Qt.Key.Key_Down)
    with qtbot.waitSignal(conversations.conversation_activated) as opened:
        qtbot.keyClick(conversations, Qt.Key.Key_Return)
    assert opened.args == ["c"]
    qtbot.keyClick(conversations, Qt.Key.Key_Up)
    with qtbot.waitSignal(conversations.conversation_activated) as opened:
        qtbot.keyClick(conversations, Qt.Key.Key_Return)
    assert opened.args == ["b"]
    qtbot.keyClick(conversations, Qt.Key.Key_Home)
    assert conversations.currentIndex().data() == "Bike loan: monthly payment"


def test_a_title_is_changed_in_place(conversations: ConversationList, qtbot: QtBot) -> None:
    conversations.set_current_id("b")
    conversations.setFocus()
    qtbot.keyClick(conversations, Qt.Key.Key_F2)
    editor = conversations.findChild(QLineEdit)
    assert isinstance(editor, QLineEdit)
    assert editor.text() == "Letter to the landlord"
    editor.setText("  A kind letter ")
    with qtbot.waitSignal(conversations.rename_requested) as renamed:
        qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert renamed.args == ["b", "A kind letter"]


@pytest.mark.parametrize("text", ["", "   ", "Letter to the landlord"])
def test_an_empty_or_equal_title_changes_nothing(conversations: ConversationList, qtbot: QtBot, text: str) -> None:
    conversations.setFocus()
    conversations.start_rename("b")
    editor = conversations.findChild(QLineEdit)
    assert isinstance(editor, QLineEdit)
    editor.setText(text)
    with qtbot.assertNotEmitted(conversations.rename_requested):
        qtbot.keyClick(editor, Qt.Key.Key_Return)


def test_delete_asks_for_the_row_that_has_the_keyboard(conversations: ConversationList, qtbot: QtBot) -> None:
    conversations.set_current_id("c")
    conversations.setFocus()
    with qtbot.waitSignal(conversations.delete_requested) as deleted:
        qtbot.keyClick(conversations, Qt.Key.Key_Delete)
    assert deleted.args == ["c"]


def menu(conversations: ConversationList) -> PopupMenu:
    return conversations.findChildren(PopupMenu)[0]


def test_the_rows_menu_renames_and_deletes(conversations: ConversationList, qtbot: QtBot) -> None:
    rect = conversations.visualRect(index_of(conversations, "Letter to the landlord"))
    click(qtbot, conversations, QPoint(rect.right() - 10, rect.center().y()))
    assert menu(conversations).isVisible()
    assert menu(conversations).labels() == ["Rename", "Delete"]
    with qtbot.waitSignal(conversations.delete_requested) as deleted:
        menu(conversations).choose("delete")
    assert deleted.args == ["b"]
    menu(conversations).choose("rename")
    menu(conversations).close()
    assert isinstance(conversations.findChild(QLineEdit), QLineEdit)


def test_the_menu_key_opens_the_menu_of_the_row_with_the_keyboard(conversations: ConversationList) -> None:
    conversations.set_current_id("c")
    event = QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, QPoint(0, 0), QPoint(0, 0))
    QApplication.sendEvent(conversations.viewport(), event)
    assert menu(conversations).isVisible()
    menu(conversations).close()


def test_the_open_conversation_is_marked_in_both_themes(conversations: ConversationList, look: ThemeController) -> None:
    conversations.set_current_id("b")
    rect = conversations.visualRect(index_of(conversations, "Letter to the landlord"))
    for theme, appearance in ((LIGHT, "light"), (DARK, "dark")):
        look.set_appearance(appearance)  # type: ignore[arg-type]
        picture = conversations.viewport().grab().toImage()
        assert picture.pixelColor(rect.x() + 4, rect.center().y()).name().upper() == theme.select


def test_the_mark_survives_a_new_list(conversations: ConversationList) -> None:
    conversations.set_current_id("b")
    conversations.set_entries([ConversationEntry("z", "New", "Today"), *ENTRIES])
    assert conversations.current_id() == "b"
    assert conversations.currentIndex().data() == "Letter to the landlord"


def test_thousands_of_conversations_are_no_burden(conversations: ConversationList) -> None:
    conversations.set_entries(ConversationEntry(str(n), f"Talk {n}", f"Week {n // 7}") for n in range(5_000))
    conversations.grab()
    assert conversations.model().rowCount() > 5_000


def test_a_reader_hears_the_titles(conversations: ConversationList) -> None:
    index = index_of(conversations, "Letter to the landlord")
    assert index.data(Qt.ItemDataRole.AccessibleTextRole) == "Letter to the landlord"
    assert index.data(Qt.ItemDataRole.ToolTipRole) == "Letter to the landlord"
    assert index_of(conversations, "Today").data(Qt.ItemDataRole.ToolTipRole) is None
