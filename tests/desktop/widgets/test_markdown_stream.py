from __future__ import annotations

import random
import time

import pytest

from desktop.widgets.markdown import parse_leaves, plain_text
from desktop.widgets.markdown_stream import LONGEST_PARAGRAPH, MarkdownStream

TEXT = """# Title

Hello **bold** and *it* `code` [link](http://a.b) https://x.y/z.

- one
- two
  continued
  - nested
- [x] done

1. first
2. second
   ```python
   x = 1
   ```
3. third

> quote
> more
>
> - q

| a | b |
|---|--:|
| 1 | 2 |

```python
def f():
    return "``"
```

Then $x^2$ costs $5 and $6, \\(a+b\\):

\\[
E = mc^2
\\]

<b>raw</b> 你好 👍🏽

1. a

2. b

---

End
====

~~~
tildes
~~~
  ```js
  indented()
  ```
last
"""


def grow(text: str, chance: random.Random) -> list[str]:
    """The states of a text that arrives in pieces."""
    states, end = [], 0
    while end < len(text):
        end = min(len(text), end + chance.choice([1, 2, 3, 5, 8, 13, 40]))
        states.append(text[:end])
    return states


@pytest.mark.parametrize("seed", range(12))
def test_a_text_in_pieces_ends_as_the_whole_text_does(seed: int) -> None:
    stream = MarkdownStream()
    for state in grow(TEXT, random.Random(seed)):
        stream.update(state, is_complete=False)
    stream.update(TEXT, is_complete=True)
    assert stream.leaves == parse_leaves(TEXT)


@pytest.mark.parametrize("seed", range(6))
def test_at_every_moment_it_shows_what_a_fresh_reading_would(seed: int) -> None:
    stream = MarkdownStream()
    for state in grow(TEXT, random.Random(seed)):
        stream.update(state, is_complete=False)
        fresh = MarkdownStream()
        fresh.update(state, is_complete=False)
        assert stream.leaves == fresh.leaves


@pytest.mark.parametrize("seed", range(6))
def test_frozen_leaves_never_change_and_the_first_change_is_told(seed: int) -> None:
    stream, before, frozen = MarkdownStream(), [], 0
    for state in grow(TEXT, random.Random(seed)):
        first = stream.update(state, is_complete=False)
        assert first >= frozen
        assert stream.leaves[:first] == before[:first]
        assert stream.frozen_leaves >= frozen
        before, frozen = list(stream.leaves), stream.frozen_leaves
    assert frozen > 10


def test_a_half_open_fence_is_code_at_once() -> None:
    stream = MarkdownStream()
    stream.update("Look:\n\n```python\nprint(1", is_complete=False)
    assert (stream.leaves[-1].kind, stream.leaves[-1].text) == ("code", "print(1")
    stream.update("Look:\n\n```python\nprint(1)\n``", is_complete=False)
    assert stream.leaves[-1].text == "print(1)", "the fence that comes is not shown as code"
    stream.update("Look:\n\n```python\nprint(1)\n```\nDone", is_complete=False)
    assert [leaf.kind for leaf in stream.leaves] == ["paragraph", "code", "paragraph"]


def test_a_fence_inside_a_longer_fence_is_code() -> None:
    text = "````md\n```python\nx\n```\n````\nafter"
    stream = MarkdownStream()
    for end in range(len(text) + 1):
        stream.update(text[:end], is_complete=False)
    assert [leaf.kind for leaf in stream.leaves] == ["code", "paragraph"]
    assert stream.leaves[0].text == "```python\nx\n```"


@pytest.mark.parametrize("end", ["-", "==", "#", "1", "1.", "*", "**", "`", "``", "> ", "- [", "- [x]", "|", "$$"])
def test_an_end_that_may_become_anything_waits(end: str) -> None:
    stream = MarkdownStream()
    stream.update("Some words\n" + end, is_complete=False)
    assert [(leaf.kind, plain_text(leaf.runs)) for leaf in stream.leaves] == [("paragraph", "Some words")]
    stream.update("Some words\n" + end, is_complete=True)
    assert stream.leaves == parse_leaves("Some words\n" + end)


def test_a_table_appears_as_a_table() -> None:
    text = "| a | b |\n|---|---|\n| 1 | 2 |"
    kinds = []
    stream = MarkdownStream()
    for end in range(1, len(text) + 1):
        stream.update(text[:end], is_complete=False)
        kinds.append([leaf.kind for leaf in stream.leaves])
    assert ["paragraph"] not in kinds
    assert kinds[-1] == ["table"]


def test_numbers_go_on_across_frozen_items() -> None:
    text = "".join(f"1. item {number}\n" for number in range(30))
    stream = MarkdownStream()
    for end in range(0, len(text), 7):
        stream.update(text[:end], is_complete=False)
    stream.update(text, is_complete=True)
    assert [leaf.marker for leaf in stream.leaves] == [f"{number}." for number in range(1, 31)]


def test_another_text_starts_over() -> None:
    stream = MarkdownStream()
    stream.update("# One\n\ntwo\n\nthree", is_complete=False)
    assert stream.update("Else", is_complete=True) == 0
    assert stream.leaves == parse_leaves("Else")


def test_the_same_text_again_changes_nothing() -> None:
    stream = MarkdownStream()
    stream.update("a\n\nb", is_complete=True)
    assert stream.update("a\n\nb", is_complete=True) == 2


def test_line_ends_of_windows_are_line_ends() -> None:
    stream = MarkdownStream()
    for state in grow(TEXT.replace("\n", "\r\n"), random.Random(3)):
        stream.update(state, is_complete=False)
    stream.update(TEXT.replace("\n", "\r\n"), is_complete=True)
    assert stream.leaves == parse_leaves(TEXT)


def test_a_paragraph_without_end_is_cut_so_that_pieces_stay_cheap() -> None:
    text = "word " * (LONGEST_PARAGRAPH // 2)
    stream = MarkdownStream()
    stream.update(text, is_complete=False)
    assert len(stream.leaves) >= 2
    assert stream.leaves[0].space_after_px == 0
    assert "".join(plain_text(leaf.runs) + " " for leaf in stream.leaves).split() == text.split()


@pytest.mark.parametrize("step", [3_000, 12_000, 50_000])
def test_large_pieces_end_as_the_whole_text_does(step: int) -> None:
    text = TEXT * 100
    stream = MarkdownStream()
    for end in range(0, len(text), step):
        stream.update(text[:end], is_complete=False)
    stream.update(text, is_complete=True)
    assert stream.leaves == parse_leaves(text)


def seconds_per_piece(text: str, start: int, count: int) -> float:
    """The cheaper of two readings, because the machine is shared."""
    best = float("inf")
    for _ in range(2):
        stream = MarkdownStream()
        stream.update(text[:start], is_complete=False)
        began = time.perf_counter()
        for number in range(1, count + 1):
            stream.update(text[: start + number * 20], is_complete=False)
        best = min(best, (time.perf_counter() - began) / count)
    return best


@pytest.mark.parametrize("unit", [TEXT, "x = compute(1)  # comment\n"], ids=["mixed", "one code block"])
@pytest.mark.slow
def test_a_piece_costs_the_same_at_the_end_of_a_long_reply(unit: str) -> None:
    text = ("" if unit is TEXT else "```python\n") + unit * (150_000 // len(unit))
    early, late = seconds_per_piece(text, 2_000, 60), seconds_per_piece(text, 140_000, 60)
    # Reading everything again would take hundreds of times as long; comparing 150,000 characters is allowed.
    assert late < early * 4 + 0.001
