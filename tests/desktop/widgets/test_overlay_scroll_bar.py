"""A scroll bar over the edge of its area."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtWidgets import QScrollArea, QWidget

from desktop.widgets.overlay_scroll_bar import OverlayScrollBar


@pytest.fixture
def area(qtbot: Any) -> QScrollArea:
    made = QScrollArea()
    qtbot.addWidget(made)
    content = QWidget()
    content.setFixedSize(100, 2000)
    made.setWidget(content)
    made.resize(300, 400)
    made.show()
    return made


def test_it_lies_at_the_right_edge_and_takes_no_room(area: QScrollArea) -> None:
    bar = OverlayScrollBar(area)
    bar._place()
    assert area.viewport().width() >= area.width() - 2 * area.frameWidth()
    assert bar.geometry().right() == area.width() - 1
    area.resize(500, 300)
    assert (bar.geometry().right(), bar.height()) == (499, 300)


def test_both_move_together(area: QScrollArea) -> None:
    bar = OverlayScrollBar(area)
    bar.setValue(700)
    assert area.verticalScrollBar().value() == 700
    area.verticalScrollBar().setValue(300)
    assert bar.value() == 300


def test_it_is_there_only_where_there_is_something_to_scroll(area: QScrollArea, qtbot: Any) -> None:
    bar = OverlayScrollBar(area)
    qtbot.waitUntil(bar.isVisible)
    area.widget().setFixedSize(100, 100)
    qtbot.waitUntil(lambda: not bar.isVisible())
