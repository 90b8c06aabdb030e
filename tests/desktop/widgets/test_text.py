from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QColor
from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.widgets.text import ROLES, Text
from desktop.widgets.theme import DARK, LIGHT, ThemeController


def has_color(widget: QWidget, color: str) -> bool:
    image = widget.grab().toImage()
    return any(image.pixelColor(x, y) == QColor(color) for x in range(image.width()) for y in range(image.height()))


def test_one_line_is_as_high_as_its_role_says(show: Callable[..., QWidget]) -> None:
    for role, (_, line, _, _) in ROLES.items():
        text = Text("Some words", role)
        show(text)
        assert text.sizeHint().height() == line


def test_a_paragraph_wraps_at_the_designs_line_height(show: Callable[..., QWidget]) -> None:
    text = Text("word " * 50, "secondary", wrap=True)
    show(text, 200, 300)
    assert text.heightForWidth(200) % 18 == 0
    assert text.heightForWidth(200) > text.heightForWidth(400) > 18


def test_a_wrapped_text_gets_its_height_from_a_layout(show: Callable[..., QWidget]) -> None:
    page = QWidget()
    column = QVBoxLayout(page)
    text = Text("word " * 40, wrap=True)
    column.addWidget(text)
    column.addStretch(1)
    show(page, 240, 400)
    assert text.height() >= text.heightForWidth(text.width())


def test_a_line_that_is_too_long_ends_in_dots_and_tells_the_whole_in_its_tooltip(show: Callable[..., QWidget]) -> None:
    text = Text("A title that is much longer than the room it has", elide=True)
    show(text, 100, 30)
    assert text.toolTip() == text.full_text()
    text.resize(600, 30)
    assert text.toolTip() == ""
    assert text.minimumSizeHint().width() == 0


def test_the_tone_is_a_token_in_both_themes(show: Callable[..., QWidget], look: ThemeController) -> None:
    text = Text("███", "section", "less")
    show(text, 120, 40)
    assert has_color(text, LIGHT.less)
    look.set_appearance("dark")
    assert has_color(text, DARK.less)
    text.set_tone("ink")
    assert has_color(text, DARK.ink)


def test_a_paragraph_changes_its_colour_with_the_theme(show: Callable[..., QWidget], look: ThemeController) -> None:
    text = Text("███ ███", "section", wrap=True)
    show(text, 120, 60)
    assert has_color(text, LIGHT.ink)
    look.set_appearance("dark")
    assert has_color(text, DARK.ink)


def test_markup_is_shown_as_it_is_written(show: Callable[..., QWidget]) -> None:
    text = Text("<b>not bold</b>")
    show(text)
    assert text.text() == "<b>not bold</b>"
    assert text.sizeHint().width() > Text("not bold").sizeHint().width()


def test_larger_text_makes_a_higher_line(show: Callable[..., QWidget], look: ThemeController) -> None:
    text = Text("Words")
    show(text)
    look.set_text_scale(2.0)
    assert text.sizeHint().height() == 40
    assert text.font().pixelSize() == 28
