from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.buttons import Button, IconButton
from desktop.widgets.theme import DARK, LIGHT, ThemeController


@pytest.mark.parametrize(("size", "height"), [("normal", 36), ("small", 30), ("big", 48), ("tiny", 26)])
def test_heights_are_the_designs(show: Callable[..., QWidget], size: str, height: int) -> None:
    button = Button("Install", size=size)  # type: ignore[arg-type]
    show(button)
    assert button.sizeHint().height() == height
    assert button.focusPolicy() == Qt.FocusPolicy.StrongFocus


def test_an_icon_button_can_be_hit_and_says_what_it_does(show: Callable[..., QWidget]) -> None:
    button = IconButton("copy", "Copy reply", size="small")
    show(button)
    assert button.sizeHint().width() >= 32
    assert button.sizeHint().height() >= 32
    assert button.accessibleName() == "Copy reply"
    assert button.toolTip() == "Copy reply"


@pytest.mark.parametrize(
    ("kind", "enabled", "role"),
    [
        ("primary", True, "accent"),
        ("primary", False, "hover"),
        ("normal", True, "surface"),
        ("danger", True, "surface"),
    ],
)
def test_grounds_are_tokens_in_both_themes(
    show: Callable[..., QWidget], look: ThemeController, kind: str, enabled: bool, role: str
) -> None:
    button = Button("Install", kind=kind)  # type: ignore[arg-type]
    button.setEnabled(enabled)
    show(button, 120, 36)
    for theme, appearance in ((LIGHT, "light"), (DARK, "dark")):
        look.set_appearance(appearance)  # type: ignore[arg-type]
        ground = button.grab().toImage().pixelColor(8, 18).name().upper()
        assert ground == getattr(theme, role)


def test_the_pointer_changes_the_ground(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    page = QWidget()
    button = Button("Install", kind="primary", parent=page)
    button.move(50, 50)
    show(page, 300, 200)
    qtbot.mouseMove(page, QPoint(5, 5))
    qtbot.mouseMove(button)
    qtbot.waitUntil(
        lambda: button.grab().toImage().pixelColor(8, 18).name().upper() == LIGHT.accent_hover, timeout=2000
    )
    qtbot.mouseMove(page, QPoint(5, 5))
    qtbot.waitUntil(lambda: button.grab().toImage().pixelColor(8, 18).name().upper() == LIGHT.accent, timeout=2000)


def test_a_button_is_pressed_by_the_keyboard(show: Callable[..., QWidget], qtbot: QtBot) -> None:
    button = Button("Install")
    show(button)
    button.setFocus()
    with qtbot.waitSignal(button.clicked):
        qtbot.keyClick(button, Qt.Key.Key_Space)


def test_larger_text_makes_a_larger_button(show: Callable[..., QWidget], look: ThemeController) -> None:
    button = Button("Install", icon_name="download")
    show(button)
    before = button.sizeHint()
    look.set_text_scale(1.5)
    assert button.sizeHint().height() == 54
    assert button.sizeHint().width() > before.width()


def test_kind_and_icon_can_change(show: Callable[..., QWidget]) -> None:
    button = Button(icon_name="send", kind="primary")
    show(button)
    button.set_icon_name("stop")
    button.set_kind("normal")
    assert button.icon_name() == "stop"
    assert button.grab().toImage().pixelColor(5, 18).name().upper() == LIGHT.surface


def test_icon_may_stand_at_the_end(show: Callable[..., QWidget]) -> None:
    button = Button("Change", icon_name="down", icon_at_end=True)
    show(button)
    button.resize(button.sizeHint())
    picture = button.grab().toImage()
    middle = button.height() // 2

    def is_drawn(left: int, right: int) -> bool:
        ground = picture.pixelColor(left, 3)
        return any(
            picture.pixelColor(x, y) != ground for x in range(left, right) for y in range(middle - 5, middle + 6)
        )

    width = button.width()
    assert is_drawn(width - 30, width - 8)
    assert not is_drawn(width - 39, width - 33), "the gap between the words and the drawing"
