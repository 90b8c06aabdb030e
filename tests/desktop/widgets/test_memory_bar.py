from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtWidgets import QWidget

from desktop.widgets.memory_bar import MemoryBar, MemoryPart, MemoryState
from desktop.widgets.theme import DARK, LIGHT, ThemeController

PARTS = (
    MemoryPart("other", 46, "Other apps"),
    MemoryPart("weights", 60, "Qwen3.5 9B"),
    MemoryPart("context", 11),
    MemoryPart("buffers", 5),
)
STATE = MemoryState(160, PARTS, description="Other apps 4.6 GB, the model 6.0 GB")


@pytest.mark.parametrize(("size", "height"), [("mini", 10), ("page", 28), ("welcome", 56)])
def test_heights_are_the_designs(show: Callable[..., QWidget], size: str, height: int) -> None:
    bar = MemoryBar(size, STATE)  # type: ignore[arg-type]
    show(bar, 300, height)
    assert bar.sizeHint().height() == height


def test_a_blocks_width_is_its_share_of_the_memory(show: Callable[..., QWidget]) -> None:
    bar = MemoryBar("page", STATE)
    show(bar, 428, 28)
    widths = [round(rect.width()) for rect in bar.block_rects()]
    inner = 428 - 8
    assert widths == [round(inner * part.size_bytes / 160) for part in PARTS]
    lefts = [rect.left() for rect in bar.block_rects()]
    assert lefts[0] == 4
    assert lefts[1] - bar.block_rects()[0].right() == 2


def test_blocks_have_the_parts_colours_in_both_themes(show: Callable[..., QWidget], look: ThemeController) -> None:
    bar = MemoryBar("page", STATE)
    show(bar, 428, 28)
    for theme, appearance in ((LIGHT, "light"), (DARK, "dark")):
        look.set_appearance(appearance)  # type: ignore[arg-type]
        picture = bar.grab().toImage()
        for part, rect in zip(PARTS, bar.block_rects(), strict=True):
            assert picture.pixelColor(rect.center().toPoint()).name().upper() == getattr(theme, part.kind)
        assert picture.pixelColor(400, 14).name().upper() == theme.trough, "what is free stays visible"


def test_the_limit_rises_above_the_trough(show: Callable[..., QWidget]) -> None:
    bar = MemoryBar("page", MemoryState(160, PARTS, limit_bytes=145))
    show(bar, 428, 40)
    assert bar.sizeHint().height() == 40
    picture = bar.grab().toImage()
    x = round(428 * 145 / 160)
    assert picture.pixelColor(x + 1, 2).name().upper() == LIGHT.ink
    assert MemoryBar("mini", MemoryState(160, PARTS, limit_bytes=145)).sizeHint().height() == 10


def test_what_streams_stands_outside_dashed(show: Callable[..., QWidget]) -> None:
    bar = MemoryBar("page", MemoryState(160, PARTS, overflow="streams", overflow_bytes=40))
    show(bar, 400, 28)
    assert round(bar.trough_rect().width()) == 320
    picture = bar.grab().toImage()
    colors = {picture.pixelColor(x, 14).name().upper() for x in range(325, 398)}
    assert {LIGHT.disk, LIGHT.background} <= colors


def test_what_cannot_run_sticks_out_in_outline(show: Callable[..., QWidget]) -> None:
    bar = MemoryBar("page", MemoryState(160, PARTS, overflow="cannot", overflow_bytes=40))
    show(bar, 400, 28)
    picture = bar.grab().toImage()
    assert picture.pixelColor(360, 14).name().upper() == LIGHT.background
    assert LIGHT.no in {picture.pixelColor(360, y).name().upper() for y in range(28)}


def test_a_screen_reader_hears_all_parts_and_a_mini_bar_has_a_tooltip(show: Callable[..., QWidget]) -> None:
    mini, page = MemoryBar("mini", STATE), MemoryBar("page", STATE)
    show(mini, 200, 10)
    show(page, 200, 28)
    assert mini.accessibleName() == page.accessibleName() == STATE.description
    assert mini.toolTip() == STATE.description
    assert page.toolTip() == ""


@pytest.mark.parametrize(
    "state",
    [
        MemoryState(0),
        MemoryState(0, PARTS),
        MemoryState(160),
        MemoryState(160, (MemoryPart("other", 100), MemoryPart("weights", 500))),
        MemoryState(160, (MemoryPart("weights", 0),)),
    ],
)
def test_figures_that_cannot_be_are_drawn_inside_the_trough(show: Callable[..., QWidget], state: MemoryState) -> None:
    bar = MemoryBar("page", state)
    show(bar, 100, 28)
    bar.grab()
    for rect in bar.block_rects():
        assert rect.right() <= bar.trough_rect().right() + 1


def test_a_tiny_part_still_shows(show: Callable[..., QWidget]) -> None:
    bar = MemoryBar("mini", MemoryState(10**12, (MemoryPart("weights", 1),)))
    show(bar, 100, 10)
    assert bar.block_rects()[0].width() >= 1
