from __future__ import annotations

import re

from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from desktop.widgets.style_sheet import build_style_sheet
from desktop.widgets.theme import DARK, LIGHT, ThemeController


def test_every_colour_in_the_sheet_is_a_token() -> None:
    for theme in (LIGHT, DARK):
        sheet = build_style_sheet(theme.colors(), 1.0)
        assert "$" not in sheet
        assert set(re.findall(r"#[0-9A-Fa-f]{6}", sheet)) <= set(theme.colors().values())


def test_text_sizes_and_least_heights_grow_with_the_text() -> None:
    plain, large = build_style_sheet(LIGHT.colors(), 1.0), build_style_sheet(LIGHT.colors(), 2.0)
    assert "font-size: 13px" in plain
    assert "font-size: 26px" in large
    assert "min-height: 34px" in plain
    assert "min-height: 68px" in large


def test_a_field_is_36_high_and_its_hint_can_be_read(look: ThemeController, qtbot: QtBot) -> None:
    field = QLineEdit()
    qtbot.addWidget(field)
    field.ensurePolished()
    assert field.sizeHint().height() == 36
    assert field.palette().placeholderText().color().name().upper() == LIGHT.ink3
    look.set_text_scale(1.5)
    assert field.sizeHint().height() >= 53
