from __future__ import annotations

import pytest
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QImage, QPainter

from desktop.widgets.blocks import Block, BubbleBlock, RuleBlock, TextBlock
from desktop.widgets.markdown import Leaf, Run, parse_leaves
from desktop.widgets.theme import LIGHT, ThemeController

WIDTH = 720.0


@pytest.fixture(autouse=True)
def _fonts(look: ThemeController) -> None:
    del look


def drawn(block: Block, selection: tuple[int, int] | None = None) -> QImage:
    image = QImage(int(WIDTH), max(1, int(block.height)), QImage.Format.Format_RGB32)
    image.fill(QColor(LIGHT.background))
    painter = QPainter(image)
    block.draw(painter, QPointF(0, 0), QRectF(image.rect()), selection)
    painter.end()
    return image


def has_ink(image: QImage, left: int, right: int, ground: str = LIGHT.background) -> bool:
    return any(
        image.pixelColor(x, y).name().upper() != ground for x in range(left, right) for y in range(image.height())
    )


def text_blocks(text: str) -> list[TextBlock]:
    blocks = [TextBlock(leaf, LIGHT, 1.0) for leaf in parse_leaves(text)]
    for block in blocks:
        block.measure(WIDTH)
    return blocks


def test_a_paragraph_is_as_high_as_its_lines() -> None:
    (block,) = text_blocks("One line")
    assert block.height == 23
    assert block.measure(50) == 46


def test_headings_have_air_above_unless_they_are_first() -> None:
    leaf = Leaf("heading", runs=(Run("Title"),), level=3)
    assert TextBlock(leaf, LIGHT, 1.0, is_first=True).measure(WIDTH) == 24
    assert TextBlock(leaf, LIGHT, 1.0).measure(WIDTH) == 32
    assert TextBlock(Leaf("heading", runs=(Run("x"),), level=6), LIGHT, 1.0, is_first=True).measure(WIDTH) == 23


@pytest.mark.parametrize("text", ["- item", "7. item", "- [ ] item", "- [x] item", "- a\n  - item"])
def test_markers_stand_in_the_indentation(text: str) -> None:
    block = text_blocks(text)[-1]
    indent = block.leaf.indent_px
    image = drawn(block)
    assert has_ink(image, indent - 19, indent - 1)
    assert block.position_at(QPointF(indent + 1, 10)) == 0


def test_copied_items_get_a_marker_that_markdown_understands() -> None:
    items = text_blocks("- a\n- [x] b\n\n1. c")
    assert [block.copied_text(0, block.length) for block in items] == ["- a", "- [x] b", "1. c"]
    assert items[0].copied_text(1, 1) == ""


def test_dim_text_is_smaller_and_quieter() -> None:
    block = TextBlock(Leaf("paragraph", runs=(Run("███"),), is_dim=True), LIGHT, 1.0)
    assert block.measure(WIDTH) == 22
    assert LIGHT.ink2 in {drawn(block).pixelColor(x, 11).name().upper() for x in range(30)}


def test_links_answer_where_they_are_drawn() -> None:
    (block,) = text_blocks("- [here](https://example.org)")
    assert block.link_at(QPointF(block.leaf.indent_px + 5, 10)) == "https://example.org"
    assert block.link_at(QPointF(2, 10)) == ""


def test_a_rule_is_a_hairline_without_text() -> None:
    block = RuleBlock(Leaf("rule"), LIGHT, 1.0)
    block.measure(WIDTH)
    assert LIGHT.line in {drawn(block).pixelColor(300, y).name().upper() for y in range(9)}
    assert block.length == 0
    assert not block.is_text_at(QPointF(10, 4))
    assert block.position_at(QPointF(10, 4)) == 0
    assert block.copied_text(0, 0) == "---"


def bubble(text: str, width: float = WIDTH) -> BubbleBlock:
    block = BubbleBlock(Leaf("bubble", text=text), LIGHT, 1.0)
    block.measure(width)
    return block


def test_a_bubble_stands_at_the_right_as_narrow_as_its_words() -> None:
    block = bubble("Hello")
    assert block.height == 41
    assert 50 < block.bubble_width < 100
    image = drawn(block)
    assert image.pixelColor(int(WIDTH) - 10, 3).name().upper() == LIGHT.soft
    assert image.pixelColor(int(WIDTH - block.bubble_width) - 5, 20).name().upper() == LIGHT.background


def test_a_bubble_is_never_wider_than_the_design_or_the_column() -> None:
    assert 520 < bubble("word " * 100).bubble_width <= 560
    assert bubble("word " * 100, width=300).bubble_width <= 300
    assert bubble("x" * 900).bubble_width <= 560


def test_a_bubble_shows_text_as_it_was_written() -> None:
    block = bubble("**not bold**\r\n\n    # indented")
    assert block.height == 3 * 23 + 18
    assert block.copied_text(0, block.length) == "**not bold**\n\n    # indented"
    assert block.plain().count("\u2028") == 2


def test_a_bubble_hits_and_selects_its_words() -> None:
    block = bubble("Hello world")
    left = WIDTH - block.bubble_width
    assert block.position_at(QPointF(left + 14, 20)) == 0
    assert block.position_at(QPointF(WIDTH - 5, 20)) == block.length
    assert block.is_text_at(QPointF(left + 5, 20))
    assert not block.is_text_at(QPointF(left - 5, 20))
    assert LIGHT.soft_line in {drawn(block, (0, 5)).pixelColor(int(left) + 16, y).name().upper() for y in range(41)}


def test_a_block_takes_only_the_leaf_it_has() -> None:
    (block,) = text_blocks("a")
    assert block.update_leaf(block.leaf)
    assert not block.update_leaf(Leaf("paragraph", runs=(Run("ab"),)))
    assert not block.scroll_sideways(10)
