from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtWidgets import QWidget

from desktop.widgets.message_view import MessageView
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.transcript_model import MessageItem
from desktop.widgets.view_pool import KEPT_STREAMS, ViewPool

WIDTH = 900


class Pool(ViewPool):
    """A pool that remembers which views it made."""

    def __init__(self, host: QWidget) -> None:
        self.made: list[MessageView] = []
        super().__init__(host, self.made.append)


@pytest.fixture
def pool(show: Callable[..., QWidget]) -> Pool:
    host = show(QWidget(), WIDTH, 600)
    made = Pool(host)
    made.host = host  # type: ignore[attr-defined]
    return made


def item(number: int, text: str = "Text", **more: str) -> MessageItem:
    return MessageItem(str(number), "assistant", text, **more)  # type: ignore[arg-type]


def test_a_message_keeps_its_view_while_it_is_on_screen(pool: Pool) -> None:
    first = pool.view(0, item(0), WIDTH)
    assert pool.view(0, item(0), WIDTH) is first
    assert pool.made == [first]


def test_a_view_that_was_put_aside_shows_the_next_message(pool: Pool) -> None:
    first = pool.view(0, item(0), WIDTH)
    pool.put_aside(0)
    assert not first.isVisible()
    assert pool.view(7, item(7, "Other"), WIDTH) is first
    assert first.item().text == "Other"
    assert list(pool.views) == [7]


def test_what_was_read_is_not_read_again(pool: Pool) -> None:
    pool.view(0, item(0), WIDTH)
    streams = pool._streams_of("0")
    assert len(streams.text.leaves) == 1
    pool.put_aside(0)
    pool.view(0, item(0), WIDTH)
    assert pool._streams_of("0") is streams
    for number in range(1, KEPT_STREAMS + 2):
        pool._streams_of(str(number))
    assert pool._streams_of("0") is not streams, "only the newest are kept"


def test_open_thinking_is_remembered_without_a_view(pool: Pool) -> None:
    thought = item(0, thinking="Hm.")
    view = pool.view(0, thought, WIDTH)
    pool.open_thinking(0, thought, is_open=True)
    assert len(view.stack()) == 2
    pool.put_aside(0)
    assert len(pool.view(0, thought, WIDTH).stack()) == 2
    pool.open_thinking(0, thought, is_open=False)
    assert len(pool.view(0, thought, WIDTH).stack()) == 1


def test_another_conversation_starts_clean(pool: Pool) -> None:
    thought = item(0, thinking="Hm.")
    pool.view(0, thought, WIDTH)
    pool.open_thinking(0, thought, is_open=True)
    pool.clear()
    assert not pool.views
    assert len(pool.view(0, thought, WIDTH).stack()) == 1
    assert len(pool.made) == 1


def test_entries_reach_spare_and_new_views(pool: Pool) -> None:
    pool.view(0, item(0), WIDTH)
    pool.put_aside(0)
    pool.set_entries((MenuEntry("a", "Show the numbers"),))
    for number in (0, 1):
        names = [control.accessibleName() for control in pool.view(number, item(number), WIDTH).controls()]
        assert names[-1] == "More"
