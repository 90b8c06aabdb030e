"""Titles: plain, one line, short, whole words."""

import pytest

from desktop.core.conversations.title import TITLE_CHARACTERS, title_from


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello there", "Hello there"),
        ("\n\n  # A **bold** heading  \nand more", "A bold heading"),
        ("- [ ] buy *milk*", "buy milk"),
        ("> quoted `code` here", "quoted code here"),
        ("1. first\n2. second", "first"),
        ("See [the page](https://example.org/a_b) and ![a cat](cat.png)", "See the page and a cat"),
        ("```python\nprint('hi')\n```", "print('hi')"),
        ("---\nafter the rule", "after the rule"),
        ("<b>tags</b> go, 1 < 2 stays", "tags go, 1 < 2 stays"),
        ("snake_case_name and 2*3*4 stay", "snake_case_name and 2*3*4 stay"),
        ("~~old~~ _new_ ***both***", "old new both"),
        ("two\u202ewrong\u0007 ways", "twowrong ways"),
        ("请介绍一下北京", "请介绍一下北京"),
        ("", ""),
        ("\n \n---\n```\n```", ""),
    ],
)
def test_title_is_the_first_line_without_markdown(text: str, title: str) -> None:
    assert title_from(text) == title


def test_long_line_is_shortened_at_a_word() -> None:
    title = title_from("Please explain to me in simple words, how a refrigerator works and why it hums at night")
    assert title == "Please explain to me in simple words, how a refrigerator…"
    assert len(title) <= TITLE_CHARACTERS


def test_comma_before_the_cut_goes_too() -> None:
    assert title_from("a" * 40 + " and then some, " + "b" * 40) == "a" * 40 + " and then some…"


def test_text_without_spaces_is_cut_between_characters() -> None:
    title = title_from("请" * 200)
    assert title == "请" * (TITLE_CHARACTERS - 1) + "…"


@pytest.mark.parametrize("cluster", ["e\u0301", "👩\u200d🚀", "👍🏽", "❤\ufe0f"])
def test_cut_never_tears_a_character_apart(cluster: str) -> None:
    for shift in range(4):
        title = title_from("x" * shift + cluster * 60)
        assert title.endswith("…")
        whole = title[shift:-1]
        assert whole == cluster * (len(whole) // len(cluster))


def test_enormous_first_line_costs_nothing() -> None:
    assert len(title_from("*a" * 500_000)) <= TITLE_CHARACTERS
