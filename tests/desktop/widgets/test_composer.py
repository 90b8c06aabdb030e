from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QEvent, QMimeData, Qt
from PySide6.QtGui import QInputMethodEvent, QKeyEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button
from desktop.widgets.composer import MOST_LINES, Composer
from desktop.widgets.theme import ThemeController


@pytest.fixture
def composer(show: Callable[..., QWidget]) -> Composer:
    widget = Composer()
    show(widget, 700, 200)
    widget.text_field().setFocus()
    return widget


def send_button(composer: Composer) -> Button:
    return next(button for button in composer.findChildren(Button) if button.icon_name() in {"send", "stop"})


def test_enter_sends_what_is_written(composer: Composer, qtbot: QtBot) -> None:
    qtbot.keyClicks(composer.text_field(), "Hello")
    with qtbot.waitSignal(composer.submitted) as sent:
        qtbot.keyClick(composer.text_field(), Qt.Key.Key_Return)
    assert sent.args == ["Hello"]
    assert composer.text() == "Hello", "the page clears the field when it has taken the message"


def test_enter_on_the_number_pad_sends_too(composer: Composer, qtbot: QtBot) -> None:
    composer.set_text("Hello")
    with qtbot.waitSignal(composer.submitted):
        qtbot.keyClick(composer.text_field(), Qt.Key.Key_Enter, Qt.KeyboardModifier.KeypadModifier)


def test_shift_enter_breaks_the_line_and_does_not_send(composer: Composer, qtbot: QtBot) -> None:
    with qtbot.assertNotEmitted(composer.submitted):
        qtbot.keyClicks(composer.text_field(), "one")
        qtbot.keyClick(composer.text_field(), Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
        qtbot.keyClicks(composer.text_field(), "two")
    assert composer.text() == "one\ntwo"


def test_enter_of_an_input_method_never_sends(composer: Composer, qtbot: QtBot) -> None:
    field = composer.text_field()
    with qtbot.assertNotEmitted(composer.submitted):
        QApplication.sendEvent(field, QInputMethodEvent("ni hao", []))
        qtbot.keyClick(field, Qt.Key.Key_Return)
        commit = QInputMethodEvent("", [])
        commit.setCommitString("你好")
        QApplication.sendEvent(field, commit)
    assert composer.text() == "你好"
    with qtbot.waitSignal(composer.submitted) as sent:
        qtbot.keyClick(field, Qt.Key.Key_Return)
    assert sent.args == ["你好"]


def test_a_held_enter_key_does_not_send_again_and_again(composer: Composer, qtbot: QtBot) -> None:
    composer.set_text("Hello")
    repeated = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Return, Qt.KeyboardModifier.NoModifier, "\r", autorep=True)
    with qtbot.assertNotEmitted(composer.submitted):
        QApplication.sendEvent(composer.text_field(), repeated)


@pytest.mark.parametrize("text", ["", "   ", "\n \n"])
def test_nothing_but_space_is_not_sent(composer: Composer, qtbot: QtBot, text: str) -> None:
    composer.set_text(text)
    assert not send_button(composer).isEnabled()
    with qtbot.assertNotEmitted(composer.submitted):
        qtbot.keyClick(composer.text_field(), Qt.Key.Key_Return)


def test_while_a_reply_grows_the_button_stops_and_enter_keeps_the_text(composer: Composer, qtbot: QtBot) -> None:
    composer.set_text("Next question")
    composer.set_mode("replying")
    with qtbot.assertNotEmitted(composer.submitted):
        qtbot.keyClick(composer.text_field(), Qt.Key.Key_Return)
    assert composer.text() == "Next question"
    assert send_button(composer).accessibleName() == "Stop"
    with qtbot.waitSignal(composer.stop_requested):
        qtbot.mouseClick(send_button(composer), Qt.MouseButton.LeftButton)


def test_a_stop_that_takes_long_becomes_stop_now(composer: Composer, qtbot: QtBot) -> None:
    composer.set_mode("stoppable_now")
    assert send_button(composer).text() == "Stop now"
    with qtbot.waitSignal(composer.stop_now_requested), qtbot.assertNotEmitted(composer.stop_requested):
        qtbot.mouseClick(send_button(composer), Qt.MouseButton.LeftButton)


def test_off_sends_nothing(composer: Composer, qtbot: QtBot) -> None:
    composer.set_text("Hello")
    composer.set_mode("off")
    assert not send_button(composer).isEnabled()
    with qtbot.assertNotEmitted(composer.submitted):
        qtbot.keyClick(composer.text_field(), Qt.Key.Key_Return)


def test_the_field_grows_to_eight_lines_and_then_scrolls(composer: Composer) -> None:
    heights = []
    for count in (1, 2, MOST_LINES, MOST_LINES + 4):
        composer.set_text("\n".join(["line"] * count))
        QApplication.processEvents()
        heights.append(composer.text_field().height())
    assert heights == [24, 48, 24 * MOST_LINES, 24 * MOST_LINES]
    assert composer.text_field().verticalScrollBar().maximum() > 0
    composer.clear()
    QApplication.processEvents()
    assert composer.text_field().height() == 24


def test_a_long_line_wraps_and_grows_the_field(composer: Composer) -> None:
    composer.set_text("word " * 60)
    QApplication.processEvents()
    assert composer.text_field().height() >= 72


def test_only_plain_text_is_pasted(composer: Composer) -> None:
    source = QMimeData()
    source.setHtml("<b>bold</b> <img src='file:///x.png'>")
    source.setText("bold\nnext")
    composer.text_field().insertFromMimeData(source)
    assert composer.text() == "bold\nnext"
    assert composer.text_field().fontWeight() < 600
    picture_only = QMimeData()
    picture_only.setHtml("<img src='x'>")
    assert not composer.text_field().canInsertFromMimeData(picture_only) or picture_only.hasText()


def test_every_line_has_the_designs_height_after_pasting_and_clearing(composer: Composer) -> None:
    composer.set_text("a")
    composer.clear()
    source = QMimeData()
    source.setText("one\ntwo\nthree")
    composer.text_field().insertFromMimeData(source)
    assert composer.text_field().document().size().height() == 72


def test_clearing_can_be_undone(composer: Composer) -> None:
    composer.set_text("A long thought")
    composer.clear()
    composer.text_field().undo()
    assert composer.text() == "A long thought"


def test_the_meter_is_hidden_until_the_space_is_known_and_warns_at_eighty_percent(composer: Composer) -> None:
    assert not composer._space_bar.isVisible()
    composer.set_space(0.79)
    assert composer._space_percent.text() == "79 %"
    assert composer._space_percent.tone() == "ink2"
    assert [part.kind for part in composer._space_bar.state().parts] == ["context"]
    composer.set_space(0.8)
    assert composer._space_percent.tone() == "less"
    assert [part.kind for part in composer._space_bar.state().parts] == ["less"]
    assert "80 %" in composer._space_bar.accessibleName()


def test_a_share_out_of_range_is_shown_as_full_or_empty(composer: Composer) -> None:
    composer.set_space(1.4)
    assert composer._space_percent.text() == "100 %"
    composer.set_space(-1)
    assert composer._space_percent.text() == "0 %"


def test_a_narrow_composer_says_it_shorter(composer: Composer) -> None:
    composer.set_space(0.2)
    composer.resize(660, 120)
    assert composer._space_label.text() == "Space used"
    composer.resize(720, 120)
    assert composer._space_label.text() == "Space in this conversation"


def test_tab_leaves_the_field(composer: Composer, qtbot: QtBot) -> None:
    composer.set_text("Hello")
    qtbot.keyClick(composer.text_field(), Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is send_button(composer)
    assert composer.text() == "Hello"


def test_tab_goes_from_the_text_over_the_slot_to_send(composer: Composer, qtbot: QtBot) -> None:
    composer.set_text("Hello")
    extras = [Button("Add a file"), Button("Think first")]
    for extra in extras:
        composer.add_left_widget(extra)
        extra.show()
    order = []
    for _ in range(3):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        order.append(QApplication.focusWidget())
    assert order == [*extras, send_button(composer)]


def test_changes_are_told(composer: Composer, qtbot: QtBot) -> None:
    with qtbot.waitSignal(composer.text_changed) as changed:
        qtbot.keyClicks(composer.text_field(), "x")
    assert changed.args == ["x"]


def test_the_field_is_named_by_its_placeholder(composer: Composer) -> None:
    composer.set_placeholder("Ask anything")
    assert composer.text_field().accessibleName() == "Ask anything"


def test_larger_text_makes_larger_lines(composer: Composer, look: ThemeController) -> None:
    composer.set_text("one\ntwo")
    look.set_text_scale(2.0)
    QApplication.processEvents()
    assert composer.text_field().height() == 96
