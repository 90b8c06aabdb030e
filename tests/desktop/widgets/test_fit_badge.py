from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
from PySide6.QtWidgets import QWidget

from desktop.widgets.fit_badge import FitBadge, FitKind, badge_size, fit_icon, fit_tone, fit_words
from desktop.widgets.theme import DARK, LIGHT, ThemeController
from engines.fit.values import VerdictKind

# DESIGN.md, "Verdicts": ink and ground in the light and in the dark.
COLOURS = {
    "fits": ("#1B6B57", "#E2EFE9", "#82D2B6", "#20362E"),
    "less_context": ("#805300", "#FAEED3", "#E9BC6B", "#3A2F19"),
    "streams": ("#275C8C", "#E2ECF5", "#93BFE7", "#1F2F3E"),
    "cannot": ("#A13528", "#F9E6E2", "#F29C8F", "#42251F"),
}
WORDS = {
    "fits": "Fits",
    "less_context": "Fits with less context",
    "streams": "Streams from disk",
    "cannot": "Cannot run here",
    "unknown": "Not known yet",
}


def test_there_is_a_badge_for_every_verdict() -> None:
    assert set(get_args(FitKind)) == set(get_args(VerdictKind)) == set(WORDS)


@pytest.mark.parametrize("kind", WORDS)
def test_words_are_the_designs_and_are_spoken(show: Callable[..., QWidget], kind: FitKind) -> None:
    badge = FitBadge(kind)
    show(badge)
    assert badge.accessibleName() == WORDS[kind] == fit_words(kind)
    assert fit_icon(kind).startswith("verdict-")


@pytest.mark.parametrize("kind", COLOURS)
def test_colours_are_exact_in_both_themes(show: Callable[..., QWidget], look: ThemeController, kind: FitKind) -> None:
    badge = FitBadge(kind)
    size = badge.sizeHint()
    show(badge, size.width(), size.height())
    light_ink, light_ground, dark_ink, dark_ground = COLOURS[kind]
    for theme, ink, ground in ((LIGHT, light_ink, light_ground), (DARK, dark_ink, dark_ground)):
        look.set_appearance(theme.name)
        picture = badge.grab().toImage()
        assert picture.pixelColor(3, size.height() // 2).name().upper() == ground
        assert getattr(theme, fit_tone(kind)) == ink
        colours = {picture.pixelColor(x, y).name().upper() for x in range(size.width()) for y in range(size.height())}
        assert ink in colours


def test_it_is_as_wide_as_its_words(show: Callable[..., QWidget]) -> None:
    badge = FitBadge("fits")
    show(badge)
    assert abs(badge.sizeHint().width() - 63) <= 3, "the design's picture"
    assert badge.sizeHint().height() == 24
    before = badge.sizeHint().width()
    badge.set_kind("less_context")
    assert badge.kind() == "less_context"
    assert badge.sizeHint() == badge_size("less_context")
    assert badge.sizeHint().width() > before
    assert badge.accessibleName() == "Fits with less context"


def test_it_grows_with_the_text(show: Callable[..., QWidget], look: ThemeController) -> None:
    badge = FitBadge("fits")
    show(badge)
    look.set_text_scale(2.0)
    assert badge.sizeHint().height() == 48
