from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.widgets.cards import Card, Column, Hairline, ProgressLine
from desktop.widgets.theme import DARK, LIGHT, ThemeController


def test_a_card_is_a_surface_with_a_hairline(show: Callable[..., QWidget], look: ThemeController) -> None:
    card = Card()
    show(card, 100, 60)
    picture = card.grab().toImage()
    assert picture.pixelColor(50, 30).name().upper() == LIGHT.surface
    assert picture.pixelColor(50, 0).name().upper() == LIGHT.line
    look.set_appearance("dark")
    assert card.grab().toImage().pixelColor(50, 30).name().upper() == DARK.surface


def test_a_card_that_is_a_control_has_a_stronger_outline(show: Callable[..., QWidget]) -> None:
    card = Card(is_control=True)
    show(card, 100, 60)
    assert card.grab().toImage().pixelColor(50, 0).name().upper() == LIGHT.edge


def test_a_column_never_grows_beyond_the_design_and_keeps_its_sides(show: Callable[..., QWidget]) -> None:
    content = Card()
    page = QWidget()
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(Column(content))
    show(page, 1024, 100)
    assert content.width() == 720
    assert content.mapTo(page, content.rect().topLeft()).x() == 152
    page.resize(500, 100)
    layout.activate()
    assert content.width() == 460


def test_a_column_grows_with_the_text(show: Callable[..., QWidget], look: ThemeController) -> None:
    content = Card()
    column = Column(content)
    show(column, 1600, 100)
    look.set_text_scale(1.5)
    assert content.maximumWidth() == 1080


def test_a_progress_line_fills_from_the_left(show: Callable[..., QWidget]) -> None:
    line = ProgressLine()
    show(line, 200, 6)
    line.set_share(0.5)
    picture = line.grab().toImage()
    assert picture.pixelColor(60, 3).name().upper() == LIGHT.accent
    assert picture.pixelColor(150, 3).name().upper() == LIGHT.trough
    assert line.accessibleName() == "50%"
    line.set_share(7)
    assert line.share() == 1.0
    line.set_share(None)
    assert line.share() == 0.0


def test_a_hairline_is_one_pixel(show: Callable[..., QWidget]) -> None:
    line = Hairline()
    show(line, 50, 1)
    assert line.height() == 1
    assert line.grab().toImage().pixelColor(25, 0).name().upper() == LIGHT.line
