"""Bars and slider of one model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from desktop.pages.models.memory_panel import MemoryPanel
from desktop.pages.models.words import PoolPicture, Saying, context_steps
from desktop.widgets.legend import LegendEntry
from desktop.widgets.memory_bar import MemoryPart, MemoryState


def picture(title: str) -> PoolPicture:
    bar = MemoryState(16, (MemoryPart("weights", 6),), description=title)
    return PoolPicture(title, "6.0 of 16 GB", bar, "1.5 GB kept", (LegendEntry("weights", "Weights", "6.0"),))


@pytest.fixture
def panel(qtbot: Any) -> Iterator[MemoryPanel]:
    widget = MemoryPanel()
    qtbot.addWidget(widget)
    widget.resize(514, 200)
    widget.show()
    yield widget


def test_one_bar_or_two(panel: MemoryPanel) -> None:
    assert panel.bars() == []
    panel.show_pictures((picture("Card"), picture("Main")), Saying(""))
    assert [bar.accessibleName() for bar in panel.bars()] == ["Card", "Main"]
    panel.show_pictures((picture("Memory"),), Saying("Too much.", "no"))
    assert [bar.accessibleName() for bar in panel.bars()] == ["Memory"]
    assert panel.saying() == "Too much."


def test_slider_speaks_when_it_is_moved(panel: MemoryPanel, qtbot: Any) -> None:
    panel.set_steps(context_steps(131072), 32768, 65536)
    assert panel.slider.tokens() == 32768
    with qtbot.waitSignal(panel.tokens_changed) as told:
        panel.slider.setValue(4)
    assert told.args == [65536]
