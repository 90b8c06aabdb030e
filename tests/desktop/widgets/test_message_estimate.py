from __future__ import annotations

import pytest

from desktop.widgets.message_estimate import estimate_height, estimate_lines
from desktop.widgets.theme import ThemeController
from desktop.widgets.transcript_model import MessageItem


@pytest.mark.parametrize(
    ("text", "lines"), [("", 1), ("a", 1), ("a" * 100, 10), ("a\nb\nc", 3), ("a" * 50 + "\n" + "b" * 50, 11)]
)
def test_lines_are_guessed_from_length_and_line_ends(text: str, lines: int) -> None:
    assert abs(estimate_lines(text, 10) - lines) <= 1


def test_more_text_is_higher_and_a_narrow_column_too(look: ThemeController) -> None:
    del look
    short, long = MessageItem("1", "assistant", "word " * 20), MessageItem("2", "assistant", "word " * 200)
    assert estimate_height(short, 720) < estimate_height(long, 720) < estimate_height(long, 300)


def test_thinking_and_the_bubble_count(look: ThemeController) -> None:
    del look
    plain = MessageItem("1", "assistant", "word")
    assert estimate_height(MessageItem("1", "assistant", "word", thinking="x"), 720) == estimate_height(plain, 720) + 32
    assert estimate_height(MessageItem("1", "user", "word"), 720) == 65


def test_larger_text_is_higher(look: ThemeController) -> None:
    item = MessageItem("1", "assistant", "word " * 100)
    before = estimate_height(item, 720)
    look.set_text_scale(2.0)
    assert estimate_height(item, 720) > 2 * before
