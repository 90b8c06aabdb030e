from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.link_button import LinkButton
from desktop.widgets.theme import ThemeController


def test_it_is_underlined_at_any_size_and_pressed_by_keyboard(
    show: Callable[..., QWidget], look: ThemeController, qtbot: QtBot
) -> None:
    button = LinkButton("Why not?")
    show(button)
    assert button.font().underline()
    look.set_text_scale(1.5)
    assert button.font().underline()
    button.setFocus()
    with qtbot.waitSignal(button.clicked):
        QTest.keyClick(button, Qt.Key.Key_Space)
