from __future__ import annotations

import argparse

import pytest

from desktop.commands.arguments import context_tokens, whole_number


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("8192", 8192), ("32k", 32768), ("128K", 131072), ("1M", 1048576), ("8,192", 8192), (" 4096 ", 4096)],
)
def test_a_context_may_be_said_in_thousands(text: str, tokens: int) -> None:
    assert context_tokens(text) == tokens


@pytest.mark.parametrize("text", ["", "many", "12", "-4096", "99M", "8.19", "32kb", "1e6"])
def test_what_is_no_context_is_refused_in_words(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"(is not a number of tokens|tokens is not between)"):
        context_tokens(text)


def test_a_whole_number_has_a_least_value() -> None:
    assert whole_number(3)("3") == 3
    with pytest.raises(argparse.ArgumentTypeError, match="2 is below 3"):
        whole_number(3)("2")
    with pytest.raises(argparse.ArgumentTypeError, match="'x' is not a whole number"):
        whole_number(3)("x")
