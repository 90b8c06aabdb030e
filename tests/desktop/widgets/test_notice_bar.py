from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button
from desktop.widgets.notice_bar import Notice, NoticeAction, NoticeBar, NoticeView, Severity
from desktop.widgets.theme import LIGHT

MEMORY = Notice(
    "memory",
    "error",
    "The model stopped: the computer ran out of memory.",
    "Your conversation is saved. Close other apps, or continue with less context.",
    details="SIGKILL, last lines",
    actions=(NoticeAction("less", "Continue with less"),),
)


@pytest.fixture
def bar(show: Callable[..., QWidget]) -> NoticeBar:
    page = QWidget()
    widget = NoticeBar(page)
    widget.setGeometry(0, 0, 600, 300)
    show(page, 600, 300)
    widget._page = page  # type: ignore[attr-defined]
    return widget


def views(bar: NoticeBar) -> list[NoticeView]:
    QApplication.processEvents()  # a layout shows what was added to it in the next turn
    found = [view for view in bar.findChildren(NoticeView) if view.isVisible()]
    return sorted(found, key=lambda view: view.y())


def button(view: QWidget, name: str) -> Button:
    return next(one for one in view.findChildren(Button) if name in {one.text(), one.accessibleName()})


def test_it_takes_no_room_without_notices(bar: NoticeBar) -> None:
    assert not bar.isVisible()
    bar.show_notice(MEMORY)
    assert bar.isVisible()
    bar.remove("memory")
    assert not bar.isVisible()
    bar.remove("memory")


def test_a_notice_with_the_same_key_takes_the_firsts_place(bar: NoticeBar) -> None:
    bar.show_notice(MEMORY)
    bar.show_notice(Notice("disk", "warning", "The disk is nearly full."))
    bar.show_notice(Notice("memory", "ok", "The model is back."))
    assert bar.keys() == ["memory", "disk"]
    assert [view.notice().title for view in views(bar)] == ["The model is back.", "The disk is nearly full."]


def test_the_same_notice_again_changes_nothing(bar: NoticeBar) -> None:
    bar.show_notice(MEMORY)
    (before,) = views(bar)
    bar.show_notice(MEMORY)
    assert views(bar) == [before]


def test_an_action_is_told_with_its_notice(bar: NoticeBar, qtbot: QtBot) -> None:
    bar.show_notice(MEMORY)
    with qtbot.waitSignal(bar.action_requested) as asked:
        qtbot.mouseClick(button(bar, "Continue with less"), Qt.MouseButton.LeftButton)
    assert asked.args == ["memory", "less"]
    assert bar.keys() == ["memory"], "whether it goes is up to whoever acts"


def test_closing_removes_and_tells(bar: NoticeBar, qtbot: QtBot) -> None:
    bar.show_notice(MEMORY)
    with qtbot.waitSignal(bar.closed) as closed:
        qtbot.mouseClick(button(bar, "Close"), Qt.MouseButton.LeftButton)
    assert closed.args == ["memory"]
    QApplication.processEvents()
    assert bar.keys() == []


def test_details_are_copied_never_shown(bar: NoticeBar, qtbot: QtBot) -> None:
    bar.show_notice(MEMORY)
    qtbot.mouseClick(button(bar, "Copy details"), Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == f"{MEMORY.title}\n\n{MEMORY.advice}\n\nSIGKILL, last lines"
    bar.show_notice(Notice("plain", "info", "Nothing more to say.", closable=False))
    plain = views(bar)[-1]
    assert plain.findChildren(Button) == []


def test_it_is_spoken_as_title_and_advice(bar: NoticeBar) -> None:
    bar.show_notice(MEMORY)
    assert views(bar)[0].accessibleName() == f"{MEMORY.title} {MEMORY.advice}"


@pytest.mark.parametrize(
    ("severity", "ground"),
    [("error", "no_ground"), ("warning", "less_ground"), ("ok", "ok_ground"), ("info", "disk_ground")],
)
def test_each_severity_has_its_ground(bar: NoticeBar, severity: Severity, ground: str) -> None:
    bar.show_notice(Notice("x", severity, "Title"))
    (view,) = views(bar)
    assert view.grab().toImage().pixelColor(view.width() // 2, 3).name().upper() == getattr(LIGHT, ground)


def test_long_words_wrap_beside_the_buttons(bar: NoticeBar) -> None:
    bar.show_notice(Notice("x", "error", "word " * 40, "advice " * 60, actions=(NoticeAction("a", "Do it"),)))
    QApplication.processEvents()
    (view,) = views(bar)
    assert view.width() <= 600
    assert view.height() > 100
    assert button(view, "Do it").geometry().right() < 600
