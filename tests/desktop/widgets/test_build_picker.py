from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QRadioButton, QWidget

from desktop.widgets.build_picker import BuildChoice, BuildPicker
from desktop.widgets.theme import DARK, LIGHT, ThemeController

CHOICES = (
    BuildChoice("4", "Balanced", "6.0 GB", "4-bit, UD-Q4_K_XL", "fits"),
    BuildChoice("6", "More precise", "8.8 GB", "6-bit, UD-Q6_K_XL", "less_context"),
    BuildChoice("8", "Nearly original", "13.0 GB", "8-bit, UD-Q8_K_XL", "cannot"),
)


@pytest.fixture
def picker(show: Callable[..., QWidget]) -> BuildPicker:
    widget = BuildPicker("Version")
    widget.set_choices(CHOICES, "4")
    show(widget, 352, 200)
    return widget


def rows(picker: BuildPicker) -> list[QRadioButton]:
    return picker.findChildren(QRadioButton)


def test_every_form_says_name_size_and_verdict(picker: BuildPicker) -> None:
    assert [row.accessibleName() for row in rows(picker)] == [
        "Balanced, 6.0 GB, 4-bit, UD-Q4_K_XL, Fits",
        "More precise, 8.8 GB, 6-bit, UD-Q6_K_XL, Fits with less context",
        "Nearly original, 13.0 GB, 8-bit, UD-Q8_K_XL, Cannot run here",
    ]
    assert [row.height() for row in rows(picker)] == [46, 46, 46], "the design's rows"


def test_click_and_arrow_keys_choose(picker: BuildPicker) -> None:
    chosen: list[str] = []
    picker.chosen.connect(chosen.append)
    QTest.mouseClick(rows(picker)[1], Qt.MouseButton.LeftButton)
    assert picker.current() == "6"
    rows(picker)[1].setFocus()
    QTest.keyClick(rows(picker)[1], Qt.Key.Key_Down)
    assert picker.current() == "8"
    assert chosen == ["6", "8"]


def test_new_figures_emit_nothing_and_keep_the_rows(picker: BuildPicker) -> None:
    chosen: list[str] = []
    picker.chosen.connect(chosen.append)
    before = rows(picker)
    changed = tuple(BuildChoice(choice.id, choice.name, choice.size, choice.detail, "streams") for choice in CHOICES)
    picker.set_choices(changed, "8")
    assert rows(picker) == before
    assert picker.choices() == list(changed)
    picker.set_choices(CHOICES[:2], "6")
    assert [choice.id for choice in picker.choices()] == ["4", "6"]
    assert picker.current() == "6"
    picker.choose("4")
    assert chosen == ["4"]
    picker.set_choices((), "")
    assert picker.current() == ""


def test_badge_moves_beneath_the_words_where_there_is_no_room(
    picker: BuildPicker, show: Callable[..., QWidget], look: ThemeController
) -> None:
    picker.resize(230, 300)
    assert rows(picker)[1].height() > 46
    picker.grab()
    picker.resize(352, 300)
    assert rows(picker)[1].height() == 46
    look.set_text_scale(2.0)
    assert rows(picker)[1].height() > 2 * 46


def test_chosen_ring_has_the_accent_in_both_themes(picker: BuildPicker, look: ThemeController) -> None:
    for theme, appearance in ((LIGHT, "light"), (DARK, "dark")):
        look.set_appearance(appearance)  # type: ignore[arg-type]
        picture = rows(picker)[0].grab().toImage()
        assert picture.pixelColor(3, 23).name().upper() == theme.accent
        assert picture.pixelColor(10, 23).name().upper() == theme.surface
