from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QContextMenuEvent, QGuiApplication, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.message_view import MessageStreams, MessageView
from desktop.widgets.popup_menu import PopupMenu
from desktop.widgets.transcript_model import MessageItem, MessageRole

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def make(show: Callable[..., QWidget]) -> Callable[..., MessageView]:
    def made(text: str, role: MessageRole = "assistant") -> MessageView:
        view = MessageView()
        show(view, 900, 400)
        view.set_view_width(900)
        view.show_item(MessageItem("7", role, text), MessageStreams())
        view.ensure(0, 2_000)
        view.place(0, 2_000)
        return view

    return made


def point(view: MessageView, block: int, position: int) -> QPoint:
    """Where a position of a block is drawn."""
    stack = view.stack()
    target = stack.block(block)
    for y in range(10, int(target.height) + 1, 5):
        for x in range(0, 720, 2):
            if target.position_at(QPointF(x, y)) == position:
                return (view.text_origin() + QPointF(x, stack.top_of(block) + y)).toPoint()
    raise AssertionError("no such position")


def drag(qtbot: QtBot, view: MessageView, start: QPoint, end: QPoint) -> None:
    qtbot.mousePress(view, LEFT, pos=start)
    qtbot.mouseMove(view, end)
    qtbot.mouseRelease(view, LEFT, pos=end)


def test_dragging_selects_and_ctrl_c_copies(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make("Hello world")
    drag(qtbot, view, point(view, 0, 0), point(view, 0, 5))
    assert view.selection.selected_text() == "Hello"
    qtbot.keyClick(view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == "Hello"


def test_dragging_upwards_over_blocks_selects_the_same(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make("First line\n\n- one\n- two\n\n```\ncode\n```")
    drag(qtbot, view, point(view, 3, 4), point(view, 0, 6))
    assert view.selection.selected_text() == "line\n\n- one\n- two\n\ncode"


def press(view: MessageView, kind: QEvent.Type, spot: QPoint, at_ms: int) -> None:
    event = QMouseEvent(
        kind, QPointF(spot), view.mapToGlobal(QPointF(spot)), LEFT, LEFT, Qt.KeyboardModifier.NoModifier
    )
    event.setTimestamp(at_ms)
    QApplication.sendEvent(view, event)


def test_a_double_click_takes_the_word_and_a_triple_click_the_paragraph(
    make: Callable[..., MessageView], qtbot: QtBot
) -> None:
    view = make("One simple word here")
    spot = point(view, 0, 6)
    qtbot.mouseClick(view, LEFT, pos=spot)
    press(view, QEvent.Type.MouseButtonDblClick, spot, at_ms=1_000_000)
    assert view.selection.selected_text() == "simple"
    press(view, QEvent.Type.MouseButtonPress, spot, at_ms=1_000_100)
    assert view.selection.selected_text() == "One simple word here"


def test_shift_and_a_click_extend(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make("Hello big world")
    qtbot.mouseClick(view, LEFT, pos=point(view, 0, 0))
    far = point(view, 0, 9)
    qtbot.mouseClick(view, LEFT, Qt.KeyboardModifier.ShiftModifier, pos=far + QPoint(60, 0))
    assert view.selection.selected_text().startswith("Hello big")


def test_everything_can_be_selected_by_keyboard(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make("a\n\nb")
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert view.selection.selected_text() == "a\n\nb"


def test_a_click_elsewhere_ends_the_selection(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make("Hello world and more")
    drag(qtbot, view, point(view, 0, 0), point(view, 0, 5))
    qtbot.mouseClick(view, LEFT, pos=point(view, 0, 18))
    assert view.selection.selected_text() == ""


def test_a_link_is_asked_for_only_by_a_click_on_it(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make("See [here](https://example.org) now")
    with qtbot.waitSignal(view.link_activated) as asked:
        qtbot.mouseClick(view, LEFT, pos=point(view, 0, 6))
    assert asked.args == ["https://example.org"]
    with qtbot.assertNotEmitted(view.link_activated):
        qtbot.mouseClick(view, LEFT, pos=point(view, 0, 1))
        drag(qtbot, view, point(view, 0, 4), point(view, 0, 7))


def test_the_pointer_shows_what_a_click_would_do(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    view = make("See [here](https://example.org) now\n\n---")
    for spot, shape in (
        (point(view, 0, 6), Qt.CursorShape.PointingHandCursor),
        (point(view, 0, 1), Qt.CursorShape.IBeamCursor),
        (QPoint(200, view.stack().top_of(1) + 3), Qt.CursorShape.ArrowCursor),
        (QPoint(20, 5), Qt.CursorShape.ArrowCursor),
    ):
        qtbot.mouseMove(view, spot)
        assert view.cursor().shape() == shape


def menu_texts(view: MessageView, spot: QPoint) -> list[str]:
    event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, spot, view.mapToGlobal(spot))
    QApplication.sendEvent(view, event)
    menu = next(one for one in view.findChildren(PopupMenu) if one.isVisible())
    menu.close()
    return menu.labels()


def test_the_menu_offers_what_is_possible(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    reply = make("See [here](https://example.org)")
    assert menu_texts(reply, point(reply, 0, 6)) == ["Copy address", "Copy message"]
    drag(qtbot, reply, point(reply, 0, 0), point(reply, 0, 3))
    assert menu_texts(reply, point(reply, 0, 1)) == ["Copy selection", "Copy message"]
    own = make("Hello", "user")
    assert menu_texts(own, point(own, 0, 1)) == ["Copy message", "Edit"]


def test_edit_names_the_message(make: Callable[..., MessageView], qtbot: QtBot) -> None:
    own = make("Hello", "user")
    own.selection.show_menu(QPoint(0, 0))
    menu = own.findChildren(PopupMenu)[-1]
    with qtbot.waitSignal(own.edit_requested) as asked:
        menu.choose("edit")
    assert asked.args == ["7"]
    menu.close()


def wheel(view: MessageView, spot: QPoint, sideways: int, upwards: int = 0) -> bool:
    event = QWheelEvent(
        QPointF(spot),
        view.mapToGlobal(QPointF(spot)),
        QPoint(0, 0),
        QPoint(sideways, upwards),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    event.ignore()
    return view.selection.eventFilter(view, event)


def test_the_wheel_scrolls_wide_code_sideways_and_leaves_the_rest_to_the_page(
    make: Callable[..., MessageView],
) -> None:
    view = make("```\n" + "x" * 400 + "\n```\n\ntext")
    code = point(view, 0, 5)
    assert wheel(view, code, -120)
    assert not wheel(view, code, 0, -120)
    assert not wheel(view, QPoint(200, view.stack().top_of(1) + 5), -120)


def test_a_selection_goes_when_the_message_gets_shorter(make: Callable[..., MessageView]) -> None:
    view = make("a\n\nb\n\nc")
    view.selection.select_all()
    view.update_item(MessageItem("7", "assistant", "z"))
    assert view.selection.ordered() is None or view.selection.selected_text() in {"", "z"}
    view.grab()
