"""What the window says, from any thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from desktop.core.errors import StorageFullError
from desktop.services.notices import Notice, NoticeAction, Notices
from engines.errors import ModelFileError


@pytest.fixture
def notices(qtbot: Any) -> Notices:
    return Notices()


def test_notice_from_another_thread_is_shown_here(notices: Notices, qtbot: Any) -> None:
    with qtbot.waitSignal(notices.shown) as shown:
        thread = threading.Thread(target=lambda: notices.show_error("It broke.", "Mend it.", "how"))
        thread.start()
        thread.join()
    notice = shown.args[0]
    assert (notice.severity, notice.title, notice.advice, notice.details) == ("error", "It broke.", "Mend it.", "how")
    assert notices.current() == (notice,)


def test_second_notice_with_the_same_key_takes_the_place_of_the_first(notices: Notices, qtbot: Any) -> None:
    notices.show_info("One", key="same")
    notices.show_warning("Two", key="same")
    notices.show_info("Other")
    qtbot.waitUntil(lambda: len(notices.current()) == 2)
    assert [notice.title for notice in notices.current()] == ["Two", "Other"]


def test_errors_say_themselves_what_happened(notices: Notices, qtbot: Any) -> None:
    notices.show_problem(ModelFileError("Gone.", "Get it again.", "path"))
    notices.show_problem(StorageFullError("Full.", "Make room."))
    qtbot.waitUntil(lambda: len(notices.current()) == 2)
    assert [(notice.title, notice.advice) for notice in notices.current()] == [
        ("Gone.", "Get it again."),
        ("Full.", "Make room."),
    ]


def test_pressed_button_does_its_work_and_takes_the_notice_away(notices: Notices, qtbot: Any) -> None:
    pressed: list[str] = []
    actions = (NoticeAction("Left", lambda: pressed.append("left")), NoticeAction("Right", lambda: pressed.append("r")))
    notices.show(Notice("key", "info", "Which way?", actions=actions))
    qtbot.waitUntil(lambda: bool(notices.current()))
    with qtbot.waitSignal(notices.removed):
        notices.press("key", "Right")
    assert pressed == ["r"]
    assert notices.current() == ()
    notices.press("key", "Right")
    assert pressed == ["r"], "what is gone cannot be pressed"


def test_unknown_key_is_no_mistake(notices: Notices, qtbot: Any) -> None:
    notices.remove("unknown")
    notices.show_info("Here", key="here")
    notices.remove("here")
    with qtbot.waitSignal(notices.removed):
        pass
    assert notices.current() == ()
