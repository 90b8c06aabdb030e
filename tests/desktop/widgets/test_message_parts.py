from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button
from desktop.widgets.message_parts import ActionRow, ThinkingToggle
from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.transcript_model import MessageItem, MessageState


def reply(state: MessageState = "complete", **changes: object) -> MessageItem:
    return MessageItem("1", "assistant", "Text", state=state, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (reply("growing", thinking="x"), "Thinking…"),
        (reply(thinking="x"), "Thought"),
        (reply(thinking="x", thinking_seconds=0.2), "Thought for 1 s"),
        (reply(thinking="x", thinking_seconds=12.2), "Thought for 12 s"),
        (reply(thinking="x", thinking_seconds=75), "Thought for 1 min 15 s"),
    ],
)
def test_the_line_says_how_long_it_thought(show: Callable[..., QWidget], item: MessageItem, words: str) -> None:
    toggle = ThinkingToggle()
    show(toggle)
    toggle.show_item(item)
    assert toggle.text() == words


def test_the_line_opens_by_keyboard(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    toggle = ThinkingToggle()
    show(toggle)
    toggle.setFocus()
    with qtbot.waitSignal(toggle.toggled) as toggled:
        qtbot.keyClick(toggle, Qt.Key.Key_Space)
    assert toggled.args == [True]
    assert toggle.icon_name() == "down"


def row_for(show: Callable[..., QWidget], item: MessageItem, entries: tuple[MenuEntry, ...] = ()) -> ActionRow:
    row = ActionRow()
    row.set_entries(entries)
    show(row, 600, 32)
    row.show_item(item)
    return row


def names(row: ActionRow) -> list[str]:
    return [control.accessibleName() or control.text() for control in row.controls()]  # type: ignore[attr-defined]


def test_a_complete_reply_offers_copy_and_writing_again(show: Callable[..., QWidget]) -> None:
    row = row_for(show, reply(footer="15 words a second"))
    assert names(row) == ["Copy reply", "Write again"]
    assert row.footer_text() == "15 words a second"


def test_a_growing_reply_offers_nothing_but_says_what_happens(show: Callable[..., QWidget]) -> None:
    row = row_for(show, reply("growing", status="Reading your message: 40 %"))
    assert names(row) == []
    assert row.footer_text() == "Reading your message: 40 %"


@pytest.mark.parametrize(("state", "word"), [("stopped", "Stopped"), ("interrupted", "Interrupted")])
def test_an_unfinished_reply_offers_to_continue(
    show: Callable[..., QWidget], qtbot: QtBot, state: MessageState, word: str
) -> None:
    row = row_for(show, reply(state, footer="12 words a second"))
    assert names(row)[-1] == "Continue"
    assert row.footer_text().startswith(word)
    assert row.footer_text().endswith("12 words a second")
    with qtbot.waitSignal(row.continue_clicked):
        qtbot.mouseClick(row.controls()[-1], Qt.MouseButton.LeftButton)


def test_an_empty_reply_has_nothing_to_copy(show: Callable[..., QWidget]) -> None:
    row = row_for(show, MessageItem("1", "assistant", "", state="failed"))
    assert names(row) == ["Write again"]


def test_buttons_say_what_was_asked(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    row = row_for(show, reply())
    copy, again = row.controls()
    with qtbot.waitSignal(row.copy_clicked):
        qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(row.again_clicked):
        qtbot.mouseClick(again, Qt.MouseButton.LeftButton)


def test_more_shows_the_entries_it_was_given(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    row = row_for(show, reply(), (MenuEntry("a", "Show the numbers"), MenuEntry("b", "Not now", enabled=False)))
    assert names(row) == ["Copy reply", "Write again", "More"]
    qtbot.mouseClick(row.controls()[2], Qt.MouseButton.LeftButton)
    (menu,) = row.findChildren(PopupMenu)
    assert [(action.text(), action.isEnabled()) for action in menu.actions()] == [
        ("Show the numbers", True),
        ("Not now", False),
    ]
    with qtbot.waitSignal(row.entry_chosen) as chosen:
        menu.choose("a")
    assert chosen.args == ["a"]
    menu.close()


def test_the_row_stays_as_high_while_the_reply_grows(show: Callable[..., QWidget]) -> None:
    row = row_for(show, reply("growing"))
    growing = row.sizeHint().height()
    row.show_item(reply())
    assert all(isinstance(control, Button) for control in row.controls())
    assert row.sizeHint().height() >= growing
