from __future__ import annotations

import re
from dataclasses import fields

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase, QFontInfo, QFontMetricsF, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from desktop.widgets.text import Text
from desktop.widgets.theme import (
    DARK,
    LIGHT,
    Theme,
    ThemeController,
    code_font,
    is_tabular,
    make_palette,
    scaled,
    text_font,
    text_scale,
    theme_of,
)


def luminance(color: str) -> float:
    channels = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_every_token_is_a_colour(theme: Theme) -> None:
    for role, color in theme.colors().items():
        assert re.fullmatch(r"#[0-9A-F]{6}", color), role
    assert len(theme.colors()) == len(fields(Theme)) - 1


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("ink", "background"),
        ("ink2", "background"),
        ("ink3", "background"),
        ("ink3", "side"),
        ("ink3", "surface"),
        ("ink", "soft"),
        ("ink", "soft_line"),
        ("on_accent", "accent"),
        ("on_accent", "accent_hover"),
        ("accent", "background"),
        ("ok", "ok_ground"),
        ("less", "less_ground"),
        ("disk", "disk_ground"),
        ("no", "no_ground"),
        ("ink", "no_ground"),
        ("code_keyword", "code_ground"),
        ("code_string", "code_ground"),
        ("code_number", "code_ground"),
        ("code_comment", "code_ground"),
        ("code_function", "code_ground"),
        ("less", "surface"),
    ],
)
def test_text_can_be_read_on_its_ground(theme: Theme, ink: str, ground: str) -> None:
    assert contrast(getattr(theme, ink), getattr(theme, ground)) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("part", ["weights", "context", "buffers", "other"])
def test_blocks_stand_out_from_the_trough(theme: Theme, part: str) -> None:
    assert contrast(getattr(theme, part), theme.trough) >= 3


def test_widgets_follow_light_and_dark_at_run_time(look: ThemeController, qtbot: object) -> None:
    seen: list[Theme] = []
    look.theme_changed.connect(seen.append)
    widget = QWidget()
    assert theme_of(widget) is LIGHT
    look.set_appearance("dark")
    assert theme_of(widget) is DARK
    look.set_appearance("dark")
    look.set_appearance("light")
    assert theme_of(widget) is LIGHT
    assert seen == [DARK, LIGHT]
    widget.deleteLater()


def test_system_appearance_follows_the_systems_signal(look: ThemeController, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hints:
        scheme = Qt.ColorScheme.Dark

        def colorScheme(self) -> Qt.ColorScheme:
            return self.scheme

    hints = Hints()
    monkeypatch.setattr(QApplication, "styleHints", lambda _self: hints)
    look.set_appearance("system")
    assert look.theme is DARK
    hints.scheme = Qt.ColorScheme.Light
    look._on_color_scheme_changed()
    assert look.theme is LIGHT
    hints.scheme = Qt.ColorScheme.Unknown
    assert look.theme is LIGHT, "a system that does not say is taken as light"
    look.set_appearance("dark")
    hints.scheme = Qt.ColorScheme.Light
    look._on_color_scheme_changed()
    assert look.theme is DARK, "a choice of one's own wins over the system"


def test_the_systems_signal_is_connected(look: ThemeController) -> None:
    seen: list[Theme] = []
    look.theme_changed.connect(seen.append)
    look.set_appearance("system")
    before = len(seen)
    QApplication.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Dark)
    assert len(seen) == before, "the system still says light, so nothing is painted again"


def test_text_size_reaches_fonts_and_lengths(look: ThemeController) -> None:
    assert text_scale() == 1.0
    look.set_text_scale(1.5)
    assert text_scale() == 1.5
    assert scaled(20) == 30
    assert text_font(14).pixelSize() == 21
    look.set_text_scale(9)
    assert look.scale == 2.0


def test_our_fonts_are_loaded_in_all_their_weights(look: ThemeController) -> None:
    del look
    assert {"Inter", "Inter Display", "JetBrains Mono"} <= set(QFontDatabase.families())
    widths = set()
    for weight in (400, 500, 600):
        font = text_font(14, weight)
        assert QFontInfo(font).family() == "Inter"
        assert QFontInfo(font).weight() == weight
        widths.add(round(QFontInfo(font).pixelSize()))
    assert QFontInfo(code_font()).family() == "JetBrains Mono"


def test_figures_have_one_width_where_they_are_asked_to_and_hyphens_never_tear_words(look: ThemeController) -> None:
    del look
    tabular, plain = QFontMetricsF(text_font(14, tabular=True)), QFontMetricsF(text_font(14))
    assert tabular.horizontalAdvance("1") == tabular.horizontalAdvance("8")
    assert plain.horizontalAdvance("1") < plain.horizontalAdvance("8")
    assert plain.horizontalAdvance("-") < tabular.horizontalAdvance("-")
    assert is_tabular("3.8 GB free")
    assert not is_tabular("SmolLM2-135M")
    hint = QFontMetricsF(Text("SmolLM2-135M", "hint").font()).horizontalAdvance("-")
    assert hint < QFontMetricsF(text_font(12, tabular=True)).horizontalAdvance("-")
    assert QFontMetricsF(QApplication.font()).horizontalAdvance("-") < tabular.horizontalAdvance("-")


def test_disabled_text_in_the_palette_is_hint_coloured() -> None:
    palette = make_palette(LIGHT)
    disabled = palette.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
    assert disabled.name().upper() == LIGHT.ink3
