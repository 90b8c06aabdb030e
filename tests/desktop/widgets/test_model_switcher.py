from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.memory_bar import MemoryBar, MemoryPart, MemoryState
from desktop.widgets.model_switcher import ModelSwitcher
from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.theme import DARK, LIGHT, ThemeController, text_font

MEMORY = MemoryState(16, (MemoryPart("weights", 6),), description="The model 6 GB of 16 GB")


@pytest.fixture
def switcher(show: Callable[..., QWidget]) -> ModelSwitcher:
    widget = ModelSwitcher()
    widget.set_model("Qwen3.5 9B", "7.6 GB in memory", MEMORY)
    show(widget)
    widget.resize(widget.sizeHint())
    return widget


def bar(switcher: ModelSwitcher) -> MemoryBar:
    found = switcher.findChild(MemoryBar)
    assert isinstance(found, MemoryBar)
    return found


def test_it_names_model_and_memory(switcher: ModelSwitcher) -> None:
    assert switcher.accessibleName() == "Model: Qwen3.5 9B, 7.6 GB in memory"
    assert switcher.toolTip() == MEMORY.description
    assert switcher.height() == 40
    assert bar(switcher).width() == 132


@pytest.mark.parametrize("detail", ["7.6 GB in memory", "Loading 40 %", "Not loaded", "0.1 GB in memory", "mmmmmm"])
def test_at_its_own_width_nothing_is_cut(switcher: ModelSwitcher, detail: str) -> None:
    for name in ("Qwen3.5 9B", "SmolLM2 135M", "i"):
        switcher.set_model(name, detail, MEMORY)
        switcher.resize(switcher.sizeHint())
        room = bar(switcher).x() - 12 - switcher._text_left()
        for text, font in ((name, text_font(14, 600)), (detail, text_font(12))):
            assert QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, room) == text


def test_with_little_room_the_bar_shortens_and_then_goes(switcher: ModelSwitcher) -> None:
    full = switcher.sizeHint().width()
    switcher.resize(full - 40, 40)
    assert bar(switcher).isVisible()
    assert bar(switcher).width() == 84
    switcher.resize(full - 120, 40)
    assert not bar(switcher).isVisible()
    switcher.resize(switcher.minimumSizeHint())
    switcher.grab()


def test_a_model_that_is_not_loaded_has_no_bar(switcher: ModelSwitcher) -> None:
    width = switcher.sizeHint().width()
    switcher.set_model("Qwen3.5 9B", "Not loaded")
    assert not bar(switcher).isVisible()
    assert switcher.sizeHint().width() < width
    assert switcher.toolTip() == ""


def test_a_very_long_name_does_not_fill_the_header(switcher: ModelSwitcher) -> None:
    switcher.set_model("A model with a name that goes on and on and on " * 4, "Not loaded")
    assert switcher.sizeHint().width() < 400


def test_it_opens_the_choices_by_mouse_and_keyboard(switcher: ModelSwitcher, qtbot: QtBot) -> None:
    switcher.set_entries([MenuEntry("a", "SmolLM2"), MenuEntry("b", "Eject", enabled=False)])
    menu = switcher.findChildren(PopupMenu)[0]
    qtbot.mouseClick(switcher, Qt.MouseButton.LeftButton)
    assert menu.labels() == ["SmolLM2", "Eject"]
    with qtbot.waitSignal(switcher.entry_chosen) as chosen:
        menu.choose("a")
    assert chosen.args == ["a"]
    menu.close()
    switcher.setFocus()
    qtbot.keyClick(switcher, Qt.Key.Key_Space)
    assert menu.isVisible()
    menu.close()


def test_without_choices_it_only_says_that_it_was_pressed(switcher: ModelSwitcher, qtbot: QtBot) -> None:
    with qtbot.waitSignal(switcher.clicked):
        qtbot.mouseClick(switcher, Qt.MouseButton.LeftButton)
    assert not switcher.findChildren(PopupMenu)[0].isVisible()


def test_it_follows_theme_and_text_size(switcher: ModelSwitcher, look: ThemeController) -> None:
    assert switcher.grab().toImage().pixelColor(8, 20).name().upper() == LIGHT.surface
    look.set_appearance("dark")
    assert switcher.grab().toImage().pixelColor(8, 20).name().upper() == DARK.surface
    look.set_text_scale(1.5)
    assert switcher.sizeHint().height() == 60
