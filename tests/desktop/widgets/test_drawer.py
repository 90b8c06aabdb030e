"""The side bar of a narrow window."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QWidget

from desktop.widgets.drawer import Drawer


@pytest.fixture
def owner(qtbot: Any) -> QWidget:
    made = QWidget()
    qtbot.addWidget(made)
    made.resize(800, 600)
    made.show()
    return made


def test_content_lies_over_its_owner_at_the_left_edge(owner: QWidget) -> None:
    drawer, content = Drawer(owner), QLabel("content")
    assert drawer.isHidden()
    drawer.open_with(content)
    assert drawer.geometry() == owner.rect()
    assert content.isVisible()
    assert (content.x(), content.y(), content.height()) == (0, 0, 600)
    owner.resize(700, 500)
    assert content.height() == 500


def test_click_beside_the_content_closes_it(owner: QWidget, qtbot: Any) -> None:
    drawer = Drawer(owner)
    drawer.open_with(QLabel("content"))
    with qtbot.waitSignal(drawer.closed):
        QTest.mouseClick(drawer, Qt.MouseButton.LeftButton, pos=QPoint(700, 300))
    assert drawer.isHidden()


def test_closing_twice_tells_once(owner: QWidget) -> None:
    drawer = Drawer(owner)
    told: list[bool] = []
    drawer.closed.connect(lambda: told.append(True))
    drawer.close_drawer()
    drawer.open_with(QLabel("content"))
    drawer.close_drawer()
    drawer.close_drawer()
    assert told == [True]
