"""The look that every widget is tested in, and a way to show one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from PySide6.QtGui import QCursor
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.theme import ThemeController


@pytest.fixture
def look(qapp: QApplication) -> Iterator[ThemeController]:
    """The light look at 100 %; tests may change it."""
    controller = ThemeController(qapp, "light")
    controller.apply()
    # The pointer rests beside every window, so that nothing looks as if it were hovered.
    QCursor.setPos(5000, 5000)
    yield controller
    qapp.setStyleSheet("")
    controller.deleteLater()


@pytest.fixture
def show(qtbot: QtBot, look: ThemeController) -> Callable[..., QWidget]:
    """`show(widget, width, height)` puts a widget on screen and waits until it is there."""
    del look

    def shown(widget: QWidget, width: int = 0, height: int = 0) -> QWidget:
        qtbot.addWidget(widget)
        if width and height:
            widget.resize(width, height)
        with qtbot.waitExposed(widget):
            widget.show()
        return widget

    return shown
