"""Figures as people read them."""

from __future__ import annotations

import pytest

from desktop.core.figures import GIGABYTE, context_words, pages_of, rounded, size_words, words_per_second


def test_sizes_are_round() -> None:
    assert [size_words(size) for size in (0, 98_362_432, 600_000_000, 6 * GIGABYTE, -2 * GIGABYTE)] == [
        "0 MB",
        "98 MB",
        "0.6 GB",
        "6.0 GB",
        "-2.0 GB",
    ]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [(512, "512"), (4096, "4k"), (32768, "32k"), (40960, "40k"), (1048576, "1M"), (10_000, "9.8k"), (100_000, "97.7k")],
)
def test_contexts_are_said_in_thousands(tokens: int, words: str) -> None:
    assert context_words(tokens) == words


def test_pages_are_the_designs() -> None:
    """32k tokens are "about 80 pages" there."""
    assert [pages_of(tokens * 1024) for tokens in (4, 8, 32, 64, 128, 256, 1024)] == [10, 20, 80, 160, 320, 640, 2600]


@pytest.mark.parametrize(("value", "expected"), [(7.4, 7), (327, 330), (2560, 2600), (0.2, 0), (99.6, 100)])
def test_two_digits_are_enough(value: float, expected: int) -> None:
    assert rounded(value) == expected


def test_speed_is_said_in_words() -> None:
    assert [words_per_second(tokens) for tokens in (0.5, 4, 20, 400, 8000)] == ["0.4", "3", "15", "300", "6,000"]
