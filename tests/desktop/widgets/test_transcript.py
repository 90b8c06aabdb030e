from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button
from desktop.widgets.message_parts import ThinkingToggle
from desktop.widgets.message_view import MessageView
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.theme import LIGHT, ThemeController
from desktop.widgets.transcript import Transcript
from desktop.widgets.transcript_model import MessageItem

REPLY = """### A heading

A paragraph with **bold** words that is long enough to be broken into two lines of the column, or even three of them.

| a | b |
|---|---|
| 1 | 2 |

- one
- two

```python
x = 1
```
"""


@pytest.fixture
def transcript(show: Callable[..., QWidget]) -> Transcript:
    widget = Transcript()
    show(widget, 900, 600)
    return widget


def talk(count: int, seed: int = 1) -> list[MessageItem]:
    chance = random.Random(seed)
    items = []
    for number in range(count):
        if number % 2 == 0:
            items.append(MessageItem(str(number), "user", "word " * chance.randrange(1, 60)))
        else:
            text = REPLY if chance.random() < 0.5 else "word " * chance.randrange(1, 300)
            items.append(MessageItem(str(number), "assistant", text, footer="15 words a second"))
    return items


def tops(transcript: Transcript) -> dict[tuple[str, int], int]:
    """Where each block on screen stands."""
    found = {}
    for message_id in transcript.visible_ids():
        view = transcript.view_of(message_id)
        assert view is not None
        first, last = view.stack().attached_range()
        for block in range(first, last):
            found[message_id, block] = view.y() + view.top_of_anchor(block)
    return found


def moves(before: dict[tuple[str, int], int], after: dict[tuple[str, int], int], by: int) -> list[object]:
    """Blocks that were on screen before and after and did not move by `by`."""
    return [(key, after[key] - before[key]) for key in before if key in after and after[key] - before[key] != by]


def end_is_seen(transcript: Transcript) -> bool:
    bar = transcript.verticalScrollBar()
    return bar.value() == bar.maximum()


# --- opening -----------------------------------------------------------------------------------------------------


def test_a_conversation_opens_at_its_end(transcript: Transcript) -> None:
    transcript.set_messages(talk(40))
    assert end_is_seen(transcript)
    assert transcript.is_at_end()
    assert transcript.visible_ids()[-1] == "39"
    last = transcript.view_of("39")
    assert last is not None
    assert last.geometry().bottom() <= transcript.viewport().height()


def test_ten_thousand_messages_open_fast_and_with_a_few_widgets(transcript: Transcript) -> None:
    transcript.set_messages(talk(4))  # whatever is imported late is imported now
    items = talk(10_000)
    began = time.perf_counter()
    transcript.set_messages(items)
    QApplication.processEvents()
    assert time.perf_counter() - began < 1.0, "0.1 s on a quiet machine"
    assert len(transcript.findChildren(MessageView)) < 20
    began = time.perf_counter()
    transcript.verticalScrollBar().setValue(transcript.verticalScrollBar().maximum() // 2)
    QApplication.processEvents()
    assert time.perf_counter() - began < 0.5
    assert len(transcript.findChildren(MessageView)) < 30


def test_another_conversation_replaces_the_first(transcript: Transcript) -> None:
    transcript.set_messages(talk(40))
    transcript.verticalScrollBar().setValue(0)
    transcript.set_messages([MessageItem("x", "user", "Hello")])
    assert transcript.visible_ids() == ["x"]
    assert transcript.is_at_end()
    transcript.set_messages([])
    assert transcript.visible_ids() == []
    assert transcript.verticalScrollBar().maximum() == 0


def test_a_short_conversation_begins_at_the_top(transcript: Transcript) -> None:
    transcript.set_messages([MessageItem("x", "user", "Hello")])
    view = transcript.view_of("x")
    assert view is not None
    assert view.y() == 12


# --- the reader's place -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-60, -400, 47])
def test_what_is_on_screen_moves_exactly_as_far_as_one_scrolls(transcript: Transcript, step: int) -> None:
    transcript.set_messages(talk(400))
    bar = transcript.verticalScrollBar()
    if step > 0:
        bar.setValue(bar.maximum() // 3)
    for _ in range(80):
        before = tops(transcript)
        bar.setValue(bar.value() + step)
        assert moves(before, tops(transcript), -step) == []


def test_it_stays_at_the_end_while_the_reader_is_there(transcript: Transcript) -> None:
    transcript.set_messages(talk(10))
    item = MessageItem("new", "assistant", "", state="growing")
    transcript.append(item)
    for count in range(1, 60):
        transcript.update_last(replace(item, text="A line of words.\n\n" * count))
        assert end_is_seen(transcript)
    assert not transcript._pill.isVisible()


def test_it_leaves_the_reader_alone_who_has_scrolled_up(transcript: Transcript) -> None:
    transcript.set_messages(talk(20))
    item = MessageItem("new", "assistant", "Beginning", state="growing")
    transcript.append(item)
    told: list[bool] = []
    transcript.at_end_changed.connect(told.append)
    bar = transcript.verticalScrollBar()
    bar.setValue(bar.maximum() - 300)
    assert not transcript.is_at_end()
    before, place = tops(transcript), bar.value()
    for count in range(1, 40):
        transcript.update_last(replace(item, text="A line of words.\n\n" * count))
    assert bar.value() == place
    assert moves(before, tops(transcript), 0) == []
    assert transcript._pill.isVisible()
    assert transcript._pill.text() == "New text below"
    assert told == [False]


def test_the_pill_leads_to_the_end_and_goes(transcript: Transcript, qtbot: QtBot) -> None:
    transcript.set_messages(talk(20))
    transcript.append(MessageItem("new", "assistant", "Hi", state="growing"))
    transcript.verticalScrollBar().setValue(0)
    transcript.update_last(MessageItem("new", "assistant", "Hi there " * 50, state="growing"))
    pill = transcript._pill
    assert abs(pill.geometry().center().x() - transcript.viewport().geometry().center().x()) <= 1
    qtbot.mouseClick(pill, Qt.MouseButton.LeftButton)
    assert end_is_seen(transcript)
    assert not pill.isVisible()
    transcript.update_last(MessageItem("new", "assistant", "Hi there " * 90, state="growing"))
    assert end_is_seen(transcript)


def test_the_pill_goes_when_the_reader_scrolls_to_the_end(transcript: Transcript) -> None:
    transcript.set_messages(talk(20))
    transcript.verticalScrollBar().setValue(0)
    transcript.append(MessageItem("new", "assistant", "Hi", state="growing"))
    assert transcript._pill.isVisible()
    transcript.verticalScrollBar().setValue(transcript.verticalScrollBar().maximum())
    assert not transcript._pill.isVisible()


def test_scrolling_up_while_a_reply_grows_wins_over_following(transcript: Transcript) -> None:
    transcript.set_messages(talk(20))
    item = MessageItem("new", "assistant", "", state="growing")
    transcript.append(item)
    transcript.update_last(replace(item, text="word " * 400))
    wheel = QWheelEvent(
        QPointF(400, 300),
        transcript.mapToGlobal(QPointF(400, 300)),
        QPoint(0, 0),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(transcript.viewport(), wheel)
    place = transcript.verticalScrollBar().value()
    transcript.update_last(replace(item, text="word " * 500))
    assert transcript.verticalScrollBar().value() == place
    assert not transcript.is_at_end()


def test_ones_own_message_always_leads_to_the_end(transcript: Transcript) -> None:
    transcript.set_messages(talk(20))
    transcript.verticalScrollBar().setValue(0)
    transcript.append(MessageItem("mine", "user", "A question"))
    assert end_is_seen(transcript)


def test_a_new_width_keeps_what_is_being_read(transcript: Transcript) -> None:
    transcript.set_messages(talk(200))
    bar = transcript.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    before = transcript._anchor()
    for width in (620, 1100, 480, 900):
        transcript.resize(width, 600)
        after = transcript._anchor()
        assert after[:2] == before[:2]
    assert abs(transcript._anchor()[2] - before[2]) <= 30


def test_a_new_width_at_the_end_stays_at_the_end(transcript: Transcript) -> None:
    transcript.set_messages(talk(50))
    for size in ((500, 600), (1200, 300), (900, 900)):
        transcript.resize(*size)
        assert end_is_seen(transcript)


def test_a_message_can_be_brought_to_the_top(transcript: Transcript) -> None:
    transcript.set_messages(talk(200))
    transcript.scroll_to_message("61")
    view = transcript.view_of("61")
    assert view is not None
    assert 0 <= view.y() <= 12
    transcript.scroll_to_message("unknown")


# --- growing ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_cost_of_a_piece_does_not_grow_with_the_reply(transcript: Transcript) -> None:
    unit = REPLY + "\nAnd some more words to read here.\n\n"

    def seconds_per_piece(length: int) -> float:
        best = float("inf")
        for _ in range(2):
            item = MessageItem("new", "assistant", "", state="growing")
            transcript.set_messages([MessageItem("q", "user", "Go"), item])
            text = unit * (length // len(unit))
            transcript.update_last(replace(item, text=text))
            view = transcript.view_of("new")
            assert view is not None
            while view._reading_timer.isActive():
                QApplication.processEvents()
            began = time.perf_counter()
            for _ in range(60):
                text += "some words "
                transcript.update_last(replace(item, text=text))
                QApplication.processEvents()
            best = min(best, (time.perf_counter() - began) / 60)
        return best

    early, late = seconds_per_piece(2_000), seconds_per_piece(120_000)
    assert late < early * 3 + 0.002


def test_a_reply_grows_out_of_sight_too(transcript: Transcript) -> None:
    transcript.set_messages(talk(60))
    item = MessageItem("new", "assistant", "", state="growing")
    transcript.append(item)
    transcript.verticalScrollBar().setValue(0)
    for count in range(1, 30):
        transcript.update_last(replace(item, text="A line.\n\n" * count))
    transcript.update_last(replace(item, text="A line.\n\n" * 30, state="complete", footer="26 s"))
    transcript.scroll_to_end()
    view = transcript.view_of("new")
    assert view is not None
    assert len(view.stack()) == 30
    assert view.isVisible()


def test_nothing_jumps_when_a_reply_ends(transcript: Transcript) -> None:
    transcript.set_messages(talk(6))
    item = MessageItem("new", "assistant", REPLY + "Last", state="growing", status="Writing")
    transcript.append(item)
    before, height = tops(transcript), transcript.verticalScrollBar().maximum()
    transcript.update_last(replace(item, state="complete", status="", footer="15 words a second"))
    assert moves(before, tops(transcript), 0) == []
    assert transcript.verticalScrollBar().maximum() == height


def test_opening_the_thinking_keeps_the_line_under_the_pointer(transcript: Transcript, qtbot: QtBot) -> None:
    transcript.set_messages(
        [*talk(20), MessageItem("t", "assistant", "Answer " * 50, thinking="Hm.\n\n" * 30, thinking_seconds=4)]
    )
    view = transcript.view_of("t")
    assert view is not None
    toggle = view.findChildren(ThinkingToggle)[0]
    before = toggle.mapTo(transcript, QPoint(0, 0))
    qtbot.mouseClick(toggle, Qt.MouseButton.LeftButton)
    assert toggle.mapTo(transcript, QPoint(0, 0)) == before
    assert toggle.isChecked()
    transcript.verticalScrollBar().setValue(0)
    transcript.scroll_to_message("t")
    again = transcript.view_of("t")
    assert again is not None
    assert again.findChildren(ThinkingToggle)[0].isChecked(), "open stays open while one scrolls"


def test_an_unknown_message_is_a_mistake(transcript: Transcript) -> None:
    with pytest.raises(KeyError):
        transcript.update_message(MessageItem("x", "user", "Hi"))


# --- signals, keyboard, look --------------------------------------------------------------------------------------


def test_what_is_asked_in_a_message_is_told_with_its_id(transcript: Transcript, qtbot: QtBot) -> None:
    transcript.set_messages([MessageItem("q", "user", "Go"), MessageItem("r", "assistant", "Hi", state="stopped")])
    view = transcript.view_of("r")
    assert view is not None
    copy, again, go_on = view.controls()
    for control, signal in (
        (copy, transcript.copy_requested),
        (again, transcript.regenerate_requested),
        (go_on, transcript.continue_requested),
    ):
        with qtbot.waitSignal(signal) as asked:
            qtbot.mouseClick(control, Qt.MouseButton.LeftButton)
        assert asked.args == ["r"]
    own = transcript.view_of("q")
    assert own is not None
    with qtbot.waitSignal(transcript.edit_requested) as asked:
        own.edit_requested.emit("q")
    assert asked.args == ["q"]
    with qtbot.waitSignal(transcript.link_activated):
        view.link_activated.emit("https://example.org")


def test_entries_reach_the_replies_that_come_later(transcript: Transcript) -> None:
    transcript.set_messages(talk(2))
    transcript.set_reply_entries([MenuEntry("a", "Show the numbers")])
    transcript.append(MessageItem("new", "assistant", "Hi"))
    for message_id in ("1", "new"):
        view = transcript.view_of(message_id)
        assert view is not None
        assert view.controls()[-1].accessibleName() == "More"


def test_keys_scroll(transcript: Transcript, qtbot: QtBot) -> None:
    transcript.set_messages(talk(200))
    bar = transcript.verticalScrollBar()
    transcript.setFocus()
    qtbot.keyClick(transcript, Qt.Key.Key_Home)
    assert bar.value() == 0
    qtbot.keyClick(transcript, Qt.Key.Key_PageDown)
    assert bar.value() == bar.pageStep()
    qtbot.keyClick(transcript, Qt.Key.Key_PageUp)
    assert bar.value() == 0
    qtbot.keyClick(transcript, Qt.Key.Key_Down)
    assert bar.value() == bar.singleStep()
    qtbot.keyClick(transcript, Qt.Key.Key_End)
    assert end_is_seen(transcript)
    assert transcript.is_at_end()


def test_tab_goes_through_the_messages_from_top_to_bottom(transcript: Transcript, qtbot: QtBot) -> None:
    items = [MessageItem(str(number), "assistant", f"```\n{number}\n```\n\nText") for number in range(60)]
    transcript.set_messages(items)
    bar = transcript.verticalScrollBar()
    for place in (bar.maximum() // 2, 0, bar.maximum() // 3):
        bar.setValue(place)
    transcript.setFocus()
    heights = []
    for _ in range(8):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        focused = QApplication.focusWidget()
        assert isinstance(focused, Button)
        heights.append(focused.mapTo(transcript, QPoint(0, 0)).y())
    assert heights == sorted(heights)


def test_tab_reaches_code_that_came_while_the_reply_grew(
    transcript: Transcript, look: ThemeController, qtbot: QtBot
) -> None:
    item = MessageItem("r", "assistant", "Look:", state="growing")
    transcript.set_messages([item])
    transcript.update_last(replace(item, text="Look:\n\n```\ncode\n```\n\nDone", state="complete"))
    look.set_appearance("dark")
    transcript.setFocus()
    names = []
    for _ in range(3):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        focused = QApplication.focusWidget()
        assert focused is not None
        names.append(focused.accessibleName())
    assert names == ["Copy code", "Copy reply", "Write again"]


def test_selecting_in_one_message_ends_the_selection_in_another(transcript: Transcript) -> None:
    transcript.set_messages([MessageItem("q", "user", "Go"), MessageItem("r", "assistant", "Hi")])
    own, reply = transcript.view_of("q"), transcript.view_of("r")
    assert own is not None
    assert reply is not None
    own.selection.select_all()
    assert transcript.selected_text() == "Go"
    reply.selection.select_all()
    assert transcript.selected_text() == "Hi"


def test_light_turns_dark_in_place(transcript: Transcript, look: ThemeController) -> None:
    transcript.set_messages(talk(100))
    bar = transcript.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    before = tops(transcript)
    assert transcript.grab().toImage().pixelColor(3, 300).name().upper() == LIGHT.background
    look.set_appearance("dark")
    assert tops(transcript) == before
    picture = transcript.grab().toImage()
    assert picture.pixelColor(3, 300).lightness() < 60
    bright = sum(picture.pixelColor(x, y).lightness() > 180 for x in range(0, 880, 3) for y in range(0, 600, 3))
    assert 0 < bright < 6_000, "light letters on dark ground"


def test_larger_text_keeps_the_place_and_lays_out_anew(
    transcript: Transcript, look: ThemeController, qtbot: QtBot
) -> None:
    transcript.set_messages(talk(100))
    bar = transcript.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    index, block, _ = transcript._anchor()
    look.set_text_scale(1.5)
    qtbot.waitUntil(lambda: not transcript._look_timer.isActive(), timeout=2_000)
    assert transcript._anchor()[:2] == (index, block)
    view = transcript._views[index]
    assert view.stack().block(block).scale == 1.5


@pytest.mark.parametrize(
    "text",
    [
        "x" * 4_000,
        "你好世界" * 600,
        "👩‍👩‍👧‍👦" * 400,
        "مرحبا بالعالم " * 200,
        "```\n" + "y" * 5_000 + "\n```",
        "| " + " | ".join(["z" * 80] * 12) + " |\n" + "|---" * 12 + "|",
        "- " * 40 + "deep",
        "> " * 60 + "deep",
        "#" * 6 + " " + "heading " * 80,
        "\u202e reversed \u200b\u0000 control",
        "![x](https://example.org/" + "a" * 3_000 + ")",
        "<div>" * 300,
    ],
    ids=lambda text: text[:12].encode("unicode-escape").decode(),
)
@pytest.mark.parametrize("width", [300, 900])
def test_difficult_texts_stay_inside_the_column(transcript: Transcript, text: str, width: int) -> None:
    transcript.resize(width, 600)
    transcript.set_messages([MessageItem("q", "user", text), MessageItem("r", "assistant", text)])
    for place in (0, transcript.verticalScrollBar().maximum()):
        transcript.verticalScrollBar().setValue(place)
        picture = transcript.viewport().grab().toImage()
        background = LIGHT.background
        for y in range(0, picture.height(), 5):
            assert picture.pixelColor(6, y).name().upper() == background
    for message_id in transcript.visible_ids():
        view = transcript.view_of(message_id)
        assert view is not None
        assert view.width() == transcript.viewport().width()
        for control in view.controls():
            assert control.geometry().right() <= view.width()
