from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QWidget

from desktop.widgets.block_stack import BlockStack
from desktop.widgets.buttons import Button
from desktop.widgets.markdown import Leaf, Run, parse_leaves
from desktop.widgets.markdown_stream import MarkdownStream
from desktop.widgets.theme import LIGHT, ThemeController

WIDTH = 720.0


@pytest.fixture(autouse=True)
def _fonts(look: ThemeController) -> None:
    del look


def stack_of(text: str) -> BlockStack:
    stack = BlockStack(LIGHT, 1.0)
    stack.set_leaves(parse_leaves(text))
    stack.set_width(WIDTH)
    return stack


def paragraphs(count: int) -> str:
    return "\n\n".join(f"Paragraph {number} " + "word " * 40 for number in range(count))


def test_measuring_what_is_seen_makes_the_height_true() -> None:
    stack = stack_of("# a\n\nb\n\n- c\n- d\n\n```\ne\n```")
    stack.ensure(0, 10_000)
    assert stack.height == (28 + 4) + (23 + 8) + (23 + 1) + (23 + 8) + 68


def test_only_what_is_seen_is_measured() -> None:
    stack = stack_of(paragraphs(400))
    stack.ensure(0, 600)
    assert 0 < stack.layout_count < 20
    assert stack.measured_at(0, 600) == 0
    assert stack.measured_at(5_000, 5_600) == -1


def test_a_wrong_estimate_is_told() -> None:
    stack = stack_of("iiii " * 2_000)
    assert stack.ensure(0, 600)
    assert not stack.ensure(0, 600)


def test_frozen_blocks_are_not_laid_out_again_while_a_reply_grows() -> None:
    stack, stream = BlockStack(LIGHT, 1.0), MarkdownStream()
    stack.set_width(WIDTH)
    text = "# Title\n\nFirst paragraph.\n\n- one\n- two\n\n```python\nx = 1\n```\n\nLast"
    first = stream.update(text, is_complete=False)
    stack.set_leaves(stream.leaves, first, is_growing=True)
    stack.ensure(0, 2_000)
    before = [stack.block(index) for index in range(len(stack))]
    for piece in (" words", " and more", "\n\nNext", " one"):
        text += piece
        first = stream.update(text, is_complete=False)
        stack.set_leaves(stream.leaves, first, is_growing=True)
    after = [stack.block(index) for index in range(len(stack))]
    assert [one is other for one, other in zip(before, after, strict=False)] == [True] * 5 + [False]


def test_a_growing_code_block_stays_the_same_block() -> None:
    stack = BlockStack(LIGHT, 1.0)
    stack.set_width(WIDTH)
    stack.set_leaves([Leaf("code", text="a", space_after_px=10)], is_growing=True)
    first = stack.block(0)
    height = stack.height
    stack.set_leaves([Leaf("code", text="a\nb", space_after_px=10)], is_growing=True)
    assert stack.block(0) is first
    assert stack.height == height + 20


def test_leaves_can_become_fewer() -> None:
    stack = stack_of("a\n\nb\n\nc")
    stack.ensure(0, 500)
    stack.set_leaves(parse_leaves("a"))
    stack.ensure(0, 500)
    assert len(stack) == 1
    assert stack.height == stack_of("a").height


def test_the_space_after_the_last_block_does_not_depend_on_how_it_came() -> None:
    text = "a\n\n```\nb\n```\n\n- c\n- d\n\n```\ne\n```"
    stack, stream = BlockStack(LIGHT, 1.0), MarkdownStream()
    stack.set_width(WIDTH)
    for end in range(0, len(text) + 1, 3):
        first = stream.update(text[:end], is_complete=False)
        stack.set_leaves(stream.leaves, first, is_growing=True)
        stack.ensure(0, 2_000)
    first = stream.update(text, is_complete=True)
    stack.set_leaves(stream.leaves, first)
    stack.ensure(0, 2_000)
    whole = stack_of(text)
    whole.ensure(0, 2_000)
    assert stack.height == whole.height


def test_a_new_width_measures_again_what_is_seen() -> None:
    stack = stack_of(paragraphs(3))
    stack.ensure(0, 10_000)
    wide = stack.height
    stack.set_width(300)
    stack.ensure(0, 10_000)
    assert stack.height > wide * 1.5
    stack.set_width(WIDTH)
    stack.ensure(0, 10_000)
    assert stack.height == wide


def test_blocks_far_away_are_given_back_and_come_again(show: Callable[..., QWidget]) -> None:
    host = show(QWidget(), 720, 400)
    stack = stack_of(paragraphs(300))
    for top in range(0, 20_000, 400):
        stack.ensure(top, top + 400)
        stack.place(host, QPointF(0, -top), top, top + 400)
    assert len(stack._alive) < 80
    height = stack.height
    stack.ensure(0, 400)
    stack.place(host, QPointF(0, 0), 0, 400)
    assert stack.height == height


def test_controls_exist_only_for_blocks_on_screen(show: Callable[..., QWidget]) -> None:
    host = show(QWidget(), 720, 400)
    stack = stack_of("```\na\n```\n\n" * 50)
    stack.ensure(0, 400)
    stack.place(host, QPointF(0, 0), 0, 400)
    first, last = stack.attached_range()
    assert (first, last) == (0, 6)
    assert len([button for button in host.findChildren(Button) if button.isVisible()]) == 6
    stack.detach()
    assert not [button for button in host.findChildren(Button) if button.isVisible()]


def test_positions_reach_over_blocks_and_copy_as_markdown() -> None:
    stack = stack_of("First\n\n- one\n- two\n\nLast")
    stack.ensure(0, 500)
    start = stack.position_at(QPointF(0, 5))
    end = stack.position_at(QPointF(700, 500))
    assert (start, end) == ((0, 0), (3, 4))
    assert end == stack.end()
    assert stack.copied_text(start, end) == "First\n\n- one\n- two\n\nLast"
    assert stack.copied_text((0, 1), (1, 1)) == "irst\n\n- o"


def test_everything_is_drawn_within_the_clip() -> None:
    stack = stack_of(paragraphs(50) + "\n\n> quote\n>\n> > deeper")
    image = QImage(720, 300, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    stack.ensure(0, 300)
    stack.draw(painter, QPointF(0, 0), QRectF(0, 0, 720, 300), ((0, 3), (1, 5)))
    painter.end()
    assert len(stack._alive) < 12


def test_a_quotes_bar_is_drawn_beside_it() -> None:
    stack = stack_of("> a\n>\n> b")
    stack.ensure(0, 200)
    image = QImage(720, 100, QImage.Format.Format_RGB32)
    image.fill(0xFFFFFF)
    painter = QPainter(image)
    stack.draw(painter, QPointF(0, 0), QRectF(0, 0, 720, 100))
    painter.end()
    colors = [image.pixelColor(1, y).name().upper() for y in range(stack.height - 8)]
    assert set(colors) == {LIGHT.trough_line}, "one bar without a gap"


def test_an_empty_stack_does_nothing() -> None:
    stack = BlockStack(LIGHT, 1.0)
    stack.set_width(WIDTH)
    assert stack.height == 0
    assert not stack.ensure(0, 100)
    assert stack.visible(0, 100) == (0, 0)
    stack.set_leaves([Leaf("paragraph", runs=(Run("x"),))])
    assert len(stack) == 1
