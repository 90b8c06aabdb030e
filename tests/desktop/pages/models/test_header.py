"""The top of the models page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from desktop.pages.models.header import ModelsHeader
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.segments import Segment


@pytest.fixture
def header(qtbot: Any) -> Iterator[ModelsHeader]:
    widget = ModelsHeader()
    qtbot.addWidget(widget)
    widget.segments.set_segments((Segment("recommended", "Recommended"), Segment("all", "All", 41)))
    widget.resize(968, 120)
    widget.show()
    yield widget


def test_computer_is_named_and_can_be_changed(header: ModelsHeader, qtbot: Any) -> None:
    assert header.change.isEnabled()
    header.set_machine("", ())
    assert not header.change.isEnabled()
    entries = (MenuEntry("here", "This computer", "check"), MenuEntry("mac", "Mac mini"))
    header.set_machine("Test computer, 16 GB", entries)
    assert header.machine_name() == "Test computer, 16 GB"
    assert header.machines() == entries
    header.change.click()
    assert header.menu.labels() == ["This computer", "Mac mini"]
    with qtbot.waitSignal(header.machine_chosen) as chosen:
        header.menu.choose("mac")
    assert chosen.args == ["mac"]
    header.menu.close()


def test_it_hands_on_what_is_done(header: ModelsHeader, qtbot: Any) -> None:
    with qtbot.waitSignal(header.search_changed) as told:
        header.search.setText("gemma")
    assert told.args == ["gemma"]
    with qtbot.waitSignal(header.file_requested):
        header.add.click()
    with qtbot.waitSignal(header.segment_chosen) as chosen:
        header.segments.choose("all")
    assert chosen.args == ["all"]


def test_narrow_windows_have_a_menu_button_and_two_lines(header: ModelsHeader, qtbot: Any) -> None:
    wide = header.heightForWidth(968)
    assert header._menu_button.isHidden()
    header.set_narrow(True)
    header.set_machine("A computer with quite a long name, 128 GB", (MenuEntry("here", "This computer"),))
    assert not header._menu_button.isHidden()
    with qtbot.waitSignal(header.menu_requested):
        header._menu_button.click()
    header.resize(660, 160)
    assert header.heightForWidth(660) > wide
    assert header.search.width() <= 240
