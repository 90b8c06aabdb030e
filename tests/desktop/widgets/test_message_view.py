from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button
from desktop.widgets.message_parts import ActionRow, ThinkingToggle
from desktop.widgets.message_view import MessageStreams, MessageView
from desktop.widgets.notice_bar import NoticeView
from desktop.widgets.theme import LIGHT, ThemeController
from desktop.widgets.transcript_model import MessageItem

PAGE_PX = 4_000


def lay_out(view: MessageView) -> None:
    for _ in range(3):
        view.ensure(0, PAGE_PX)
    view.resize(view.width(), view.content_height())
    view.place(0, PAGE_PX)


@pytest.fixture
def make(show: Callable[..., QWidget]) -> Callable[..., MessageView]:
    def made(item: MessageItem, width: int = 900, *, is_thinking_open: bool = False) -> MessageView:
        view = MessageView()
        show(view, width, 300)
        view.set_view_width(width)
        view.show_item(item, MessageStreams(), is_thinking_open=is_thinking_open)
        lay_out(view)
        QApplication.processEvents()
        return view

    return made


def visible(view: QWidget, kind: type[QWidget]) -> list[QWidget]:
    return [child for child in view.findChildren(kind) if child.isVisible()]


def test_what_the_user_wrote_stands_in_a_bubble_at_the_right(make: Callable[..., MessageView]) -> None:
    view = make(MessageItem("1", "user", "Hello **you**"))
    assert view.content_height() == 14 + 41 + 10
    picture = view.grab().toImage()
    assert picture.pixelColor(800, 20).name().upper() == LIGHT.soft
    assert picture.pixelColor(100, 20).name().upper() == LIGHT.background
    assert view.accessibleName() == "You: Hello **you**"
    assert not visible(view, ActionRow)


def test_a_reply_fills_the_column_and_has_its_actions(make: Callable[..., MessageView]) -> None:
    view = make(MessageItem("2", "assistant", "Hello", footer="15 words a second"))
    assert view.text_origin() == QPointF(90, 0)
    assert view.content_height() == 23 + 8 + 6 + 32 + 6
    (row,) = visible(view, ActionRow)
    assert row.x() == 82
    assert view.accessibleName() == "Reply: Hello"


def test_buttons_name_the_message(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make(MessageItem("2", "assistant", "Hello", state="stopped"))
    copy, again, go_on = view.controls()
    for control, signal in (
        (copy, view.copy_requested),
        (again, view.regenerate_requested),
        (go_on, view.continue_requested),
    ):
        with qtbot.waitSignal(signal) as asked:
            qtbot.mouseClick(control, Qt.MouseButton.LeftButton)
        assert asked.args == ["2"]


def test_thinking_is_folded_until_it_is_asked_for(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    item = MessageItem("2", "assistant", "Answer", thinking="First **this**.\n\nThen that.", thinking_seconds=12)
    folded = make(item)
    (toggle,) = visible(folded, ThinkingToggle)
    assert toggle.text() == "Thought for 12 s"  # type: ignore[attr-defined]
    assert len(folded.stack()) == 1
    with qtbot.waitSignal(folded.thinking_toggled) as toggled:
        qtbot.mouseClick(toggle, Qt.MouseButton.LeftButton)
    assert toggled.args == ["2", True]
    opened = make(item, is_thinking_open=True)
    assert [opened.stack().block(index).leaf.is_dim for index in range(3)] == [True, True, False]
    assert opened.content_height() > folded.content_height() + 40


def test_growing_thinking_grows_while_open(make: Callable[..., MessageView]) -> None:
    item = MessageItem("2", "assistant", "", thinking="One", state="growing")
    view = make(item, is_thinking_open=True)
    view.update_item(replace(item, thinking="One\n\nTwo"))
    view.update_item(replace(item, thinking="One\n\nTwo", thinking_seconds=3, text="Answer\n\nMore"))
    view.update_item(replace(item, thinking="One\n\nTwo", thinking_seconds=3, text="Answer\n\nMore\n\nYet"))
    texts = [view.stack().block(index).plain() for index in range(len(view.stack()))]
    assert texts == ["One", "Two", "Answer", "More", "Yet"]


def test_thinking_that_comes_after_the_view_was_made_gets_its_line(make: Callable[..., MessageView]) -> None:
    item = MessageItem("2", "assistant", "", state="growing")
    view = make(item)
    assert not visible(view, ThinkingToggle)
    view.update_item(replace(item, thinking="Hm"))
    assert visible(view, ThinkingToggle)


def test_a_failed_reply_keeps_its_text_and_says_what_to_do(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make(
        MessageItem(
            "2",
            "assistant",
            "So far",
            state="failed",
            error_title="The model stopped.",
            error_advice="Close other apps.",
            error_details="SIGKILL",
        )
    )
    (notice,) = visible(view, NoticeView)
    assert notice.accessibleName() == "The model stopped. Close other apps."
    assert len(view.stack()) == 1
    assert notice.y() > 23
    again = next(button for button in notice.findChildren(Button) if button.text() == "Try again")
    with qtbot.waitSignal(view.regenerate_requested) as asked:
        qtbot.mouseClick(again, Qt.MouseButton.LeftButton)
    assert asked.args == ["2"]
    view.update_item(MessageItem("2", "assistant", "Now it works"))
    assert not visible(view, NoticeView)


def test_a_view_can_show_another_message(make: Callable[..., MessageView]) -> None:
    view = make(MessageItem("2", "assistant", "```\ncode\n```", thinking="x"))
    view.show_item(MessageItem("1", "user", "Hi"), MessageStreams())
    lay_out(view)
    assert not visible(view, Button)
    assert view.content_height() == 65
    view.show_item(MessageItem("3", "assistant", "Hello"), MessageStreams())
    lay_out(view)
    assert len(visible(view, ActionRow)) == 1


def test_a_very_long_reply_is_read_in_parts(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    text = "A paragraph of words.\n\n" * 3_000
    view = make(MessageItem("2", "assistant", text))
    assert 0 < len(view.stack()) < 3_000
    qtbot.waitUntil(lambda: len(view.stack()) == 3_000, timeout=10_000)
    assert not view._reading_timer.isActive()


def test_reading_on_stops_when_the_view_shows_something_else(make: Callable[..., MessageView]) -> None:
    view = make(MessageItem("2", "assistant", "words\n\n" * 5_000))
    assert view._reading_timer.isActive()
    view.leave_screen()
    assert not view._reading_timer.isActive()


def test_a_narrow_window_keeps_the_sides_free(make: Callable[..., MessageView]) -> None:
    view = make(MessageItem("1", "user", "word " * 100), width=300)
    assert view.text_origin().x() == 20
    view = make(MessageItem("2", "assistant", "x" * 500), width=300)
    assert view.stack().block(0).height > 23


def test_dark_and_larger_text_reach_the_blocks(make: Callable[..., MessageView], look: ThemeController) -> None:
    view = make(MessageItem("2", "assistant", "Hello"))
    look.set_text_scale(2.0)
    view.set_view_width(900)
    view.refresh_look()
    lay_out(view)
    assert view.stack().height == 62


def test_the_clipboard_of_others_is_left_alone(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    QGuiApplication.clipboard().setText("before")
    view = make(MessageItem("2", "assistant", "Hello"))
    qtbot.mouseClick(view.controls()[0], Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "before", "copying a message is the page's business"
