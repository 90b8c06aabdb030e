from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QGuiApplication, QImage, QPainter
from PySide6.QtWidgets import QScrollBar, QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets import code_block
from desktop.widgets.buttons import Button
from desktop.widgets.code_block import CodeBlock
from desktop.widgets.highlight import highlight_lines
from desktop.widgets.markdown import Leaf
from desktop.widgets.theme import LIGHT, ThemeController, code_font

CODE = "def f(x):\n    return 12  # why"


@pytest.fixture(autouse=True)
def _fonts(look: ThemeController) -> None:
    del look


def block(text: str = CODE, language: str = "python", width: float = 720.0) -> CodeBlock:
    made = CodeBlock(Leaf("code", language=language, text=text), LIGHT, 1.0)
    made.measure(width)
    return made


def drawn(code: CodeBlock, selection: tuple[int, int] | None = None) -> QImage:
    image = QImage(720, int(code.height), QImage.Format.Format_RGB32)
    image.fill(QColor(LIGHT.background))
    painter = QPainter(image)
    code.draw(painter, QPointF(0, 0), QRectF(image.rect()), selection)
    painter.end()
    return image


def colors_in(image: QImage, rect: tuple[int, int, int, int]) -> set[str]:
    left, top, right, bottom = rect
    return {image.pixelColor(x, y).name().upper() for x in range(left, right) for y in range(top, bottom)}


def grown(code: CodeBlock, text: str) -> bool:
    return code.update_leaf(replace(code.leaf, text=text))


def test_a_card_is_as_high_as_its_head_and_lines() -> None:
    assert block().height == 30 + 2 * 20 + 16 + 2


def test_code_is_coloured_from_the_theme() -> None:
    image = drawn(block("███ = 1\n# ████", "python"))
    assert image.pixelColor(300, 10).name().upper() == LIGHT.code_ground
    assert LIGHT.code_comment in colors_in(image, (13, 58, 100, 80))


def test_growing_code_equals_code_that_was_there_at_once() -> None:
    text = "\n".join(f"value_{number} = f({number}, 'x')  # comment" for number in range(130))
    code = block("")
    for end in range(0, len(text), 37):
        assert grown(code, text[:end])
    assert grown(code, text)
    whole = block(text)
    assert code.measure(720) == whole.measure(720)
    assert code.length == whole.length == len(text)
    assert code._stretches == whole._stretches
    assert code._starts == whole._starts


def test_a_growing_block_lays_out_only_the_line_that_grows() -> None:
    code = block("\n".join(["x = 1"] * 10))
    drawn(code)
    first = code._layouts[0]
    grown(code, code.leaf.text + "2")
    drawn(code)
    assert code._layouts[0] is first
    assert code._lines[-1] == "x = 12"


def test_a_long_string_is_put_right_when_the_code_is_complete() -> None:
    text = 'x = """\n' + "\n".join(["plain words"] * 90) + '\n"""'
    code = block("")
    for end in range(0, len(text), 50):
        grown(code, text[:end])
    grown(code, text)
    code.freeze()
    assert code._stretches == highlight_lines(text, "python")


def test_another_text_is_not_taken_as_growth() -> None:
    code = block("abc")
    assert not grown(code, "abX")
    assert not code.update_leaf(replace(code.leaf, language="js"))
    assert not code.update_leaf(Leaf("paragraph"))


def test_only_lines_on_screen_are_laid_out() -> None:
    code = block("\n".join(f"line {number}" for number in range(5_000)), "")
    image = QImage(720, 200, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    code.draw(painter, QPointF(0, -40_000), QRectF(image.rect()), None)
    painter.end()
    assert len(code._layouts) <= 12
    assert min(code._layouts) > 1_900


def test_a_long_line_scrolls_within_the_card(show: Callable[..., QWidget]) -> None:
    host = show(QWidget(), 720, 200)
    code = block("x" * 300)
    code.attach(host, QPointF(0, 0))
    (bar,) = host.findChildren(QScrollBar)
    assert bar.maximum() > 1_000
    assert code.position_at(QPointF(13, 50)) == 0
    code.scroll_sideways(10_000)
    assert code.position_at(QPointF(715, 50)) == 300
    code.detach()


def test_copy_takes_exactly_the_code(
    show: Callable[..., QWidget], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_block, "_COPIED_MS", 30)
    host = show(QWidget(), 720, 200)
    code = block("\tif a:\n\n  <b>")
    code.attach(host, QPointF(0, 0))
    (button,) = host.findChildren(Button)
    assert code.controls() == [button]
    assert button.accessibleName() == "Copy code"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "\tif a:\n\n  <b>"
    assert button.text() == "Copied"
    qtbot.waitUntil(lambda: button.text() == "Copy", timeout=2_000)
    assert button.geometry().right() < 720
    code.detach()
    assert code.controls() == []


def test_positions_and_copied_text_agree() -> None:
    code = block("ab\n你👍c")
    assert code.length == 3 + 4
    assert code.copied_text(0, code.length) == "ab\n你👍c"
    assert code.copied_text(4, 6) == "👍"
    assert code.position_at(QPointF(-50, 45)) == 0
    assert code.position_at(QPointF(700, 45)) == 2
    assert code.position_at(QPointF(700, 500)) == code.length
    assert code.plain() == "ab\n你👍c"


def test_a_selection_over_lines_is_seen_on_each() -> None:
    image = drawn(block("aaaa\n\nbbbb", ""), (2, 8))
    for top in (40, 60, 80):
        assert LIGHT.soft_line in colors_in(image, (13, top, 80, top + 16))
    assert LIGHT.soft_line not in colors_in(drawn(block("aaaa\nbbbb", ""), (0, 4)), (13, 62, 80, 76))


def test_code_without_a_language_is_called_code() -> None:
    assert block("x", "")._label() == "Code"
    assert block("x", "js")._label() == "JavaScript"
    assert not block().is_text_at(QPointF(20, 10))
    assert block().is_text_at(QPointF(20, 45))


def test_tabs_and_wide_letters_are_measured() -> None:
    plain, tabbed, wide = block("x" * 10), block("\t" * 40), block("你" * 60)
    assert plain._widest < tabbed._widest
    # How wide depends on the system's fonts for Chinese, and on whether it has one.
    one = QFontMetricsF(code_font()).horizontalAdvance("你")
    assert wide._widest == pytest.approx(60 * one, rel=0.05)
