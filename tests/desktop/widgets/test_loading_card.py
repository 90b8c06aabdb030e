from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button
from desktop.widgets.cards import ProgressLine
from desktop.widgets.loading_card import LoadingCard, ProgressCard
from desktop.widgets.memory_bar import MemoryBar, MemoryPart, MemoryState
from desktop.widgets.text import Text


def words(card: QWidget) -> list[str]:
    return [text.text() for text in card.findChildren(Text)]


def test_loading_says_what_how_far_and_shows_the_block_that_grows(show: Callable[..., QWidget]) -> None:
    card = LoadingCard()
    state = MemoryState(16, (MemoryPart("other", 4), MemoryPart("weights", 3)))
    card.set_state("Starting Qwen3.5 9B", "3.4 of 6.0 GB, about 3 s", state)
    show(card, 584, 84)
    assert words(card) == ["Starting Qwen3.5 9B", "3.4 of 6.0 GB, about 3 s"]
    bar = card.findChild(MemoryBar)
    assert isinstance(bar, MemoryBar)
    assert bar.state() is state
    assert card.sizeHint().height() == 84


def test_stop_is_offered_only_when_the_page_says_so(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    for card in (LoadingCard(), ProgressCard()):
        show(card, 584, 90)
        (stop,) = card.findChildren(Button)
        assert not stop.isVisible()
        card.set_stoppable(True)
        assert stop.isVisible()
        with qtbot.waitSignal(card.stop_requested):
            qtbot.mouseClick(stop, Qt.MouseButton.LeftButton)


def test_progress_fills_its_line(show: Callable[..., QWidget]) -> None:
    card = ProgressCard()
    card.set_state("Reading your file: page 14 of 40", "about 1 min", 0.35)
    show(card, 584, 60)
    line = card.findChild(ProgressLine)
    assert isinstance(line, ProgressLine)
    assert line.share() == 0.35
    assert words(card) == ["Reading your file: page 14 of 40", "about 1 min"]


def test_a_long_title_gives_way_to_the_figures(show: Callable[..., QWidget]) -> None:
    card = LoadingCard()
    card.set_state("Starting a model with a very long name " * 3, "3.4 of 6.0 GB", MemoryState(16))
    show(card, 400, 84)
    detail = next(text for text in card.findChildren(Text) if text.text() == "3.4 of 6.0 GB")
    assert detail.width() >= detail.sizeHint().width()
