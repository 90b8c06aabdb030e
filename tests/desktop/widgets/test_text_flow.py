from __future__ import annotations

import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QImage, QPainter

from desktop.widgets.markdown import LINE_BREAK, Run
from desktop.widgets.text_flow import TextFlow, body_style, utf16_length, utf16_slice
from desktop.widgets.theme import LIGHT, ThemeController


@pytest.fixture(autouse=True)
def _fonts(look: ThemeController) -> None:
    del look


def flow(*runs: Run, **style: float) -> TextFlow:
    return TextFlow(runs, body_style(LIGHT, 1.0, **style))  # type: ignore[arg-type]


def drawn(text: TextFlow, selection: tuple[int, int] | None = None) -> QImage:
    image = QImage(400, 100, QImage.Format.Format_RGB32)
    image.fill(QColor(LIGHT.background))
    painter = QPainter(image)
    text.draw(painter, QPointF(0, 0), selection)
    painter.end()
    return image


def test_lines_stand_at_the_designs_heights() -> None:
    text = flow(Run("word " * 40))
    assert text.layout(10_000) == 23
    assert text.layout(300) % 23 == 0
    assert text.layout(300) > 46


def test_chinese_and_emoji_do_not_make_lines_higher() -> None:
    assert flow(Run("你好，世界 👍🏽 مرحبا")).layout(10_000) == 23  # noqa: RUF001


def test_a_word_longer_than_the_line_is_broken() -> None:
    text = flow(Run("x" * 500))
    assert text.layout(200) > 23
    assert text.natural_width() <= 200


def test_a_hard_break_breaks_the_line() -> None:
    assert flow(Run(f"a{LINE_BREAK}b")).layout(1_000) == 46


def test_nothing_is_still_a_line_high() -> None:
    assert flow().layout(100) == 23
    assert flow().position_at(QPointF(5, 5)) == 0


def test_positions_and_rectangles_agree() -> None:
    text = flow(Run("Hello "), Run("bold", bold=True), Run(" world"))
    text.layout(1_000)
    for position in range(text.length):
        (rect,) = text.rects_of(position, position + 1)
        assert text.position_at(QPointF(rect.left() + 1, 5)) == position


def test_positions_count_as_qt_does_behind_an_emoji() -> None:
    text = flow(Run("a👍b"))
    assert text.length == utf16_length("a👍b") == 4
    assert utf16_slice("a👍b", 1, 3) == "👍"
    assert utf16_slice("abc", 1, 2) == "b"


def test_only_the_link_under_the_pointer_answers() -> None:
    text = flow(Run("👍 see "), Run("here", link="https://example.org"), Run(" and there"))
    text.layout(1_000)
    (rect,) = text.rects_of(utf16_length("👍 see "), utf16_length("👍 see here"))
    assert text.link_at(rect.center()) == "https://example.org"
    assert text.link_at(QPointF(1, 5)) == ""
    assert text.link_at(QPointF(rect.right() + 20, 5)) == ""


def test_a_selection_is_drawn_behind_the_words() -> None:
    text = flow(Run("Hello world"))
    text.layout(400)
    (rect,) = text.rects_of(0, 5)
    image = drawn(text, (0, 5))
    assert image.pixelColor(int(rect.right()) - 1, 1).name().upper() == LIGHT.soft_line
    assert image.pixelColor(int(rect.right()) + 30, 1).name().upper() == LIGHT.background


def test_code_has_a_ground() -> None:
    text = flow(Run("see "), Run("code here", code=True))
    text.layout(400)
    (rect,) = text.rects_of(4, 13)
    assert LIGHT.hover in {
        drawn(text).pixelColor(x, 5).name().upper() for x in range(int(rect.left()), int(rect.right()))
    }


def test_text_from_right_to_left_begins_at_the_right() -> None:
    text = flow(Run("مرحبا"))
    text.layout(400)
    assert min(rect.left() for rect in text.rects_of(0, 3)) > 200
    mixed = flow(Run("123 مرحبا"))
    mixed.layout(400)
    assert min(rect.left() for rect in mixed.rects_of(0, 3)) > 200
    latin = flow(Run("Hello مرحبا"))
    latin.layout(400)
    assert latin.rects_of(0, 3)[0].left() < 50


def test_least_width_is_the_longest_word() -> None:
    text = flow(Run("a longestword b"))
    assert 60 < text.least_width() < 120
