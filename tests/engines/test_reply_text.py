"""Pieces never end inside a character, an emoji or a stop string, however the tokens cut the bytes."""

from __future__ import annotations

import random

import pytest

from engines.base import Piece
from engines.reasoning import THINK
from engines.reply_text import ReplyText

FAMILY = "👩‍👩‍👧‍👦"
HARD = f"Grüße {FAMILY} und 👍🏽, 🇩🇪🇫🇷, 1️⃣, ❤️, हिन्दी, 你好世界。 ☕️ 🏴󠁧󠁢󠁳󠁣󠁴󠁿 ok"
WHOLE = [FAMILY, "👍🏽", "🇩🇪", "🇫🇷", "1️⃣", "❤️", "हि", "न्", "☕️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]


def run(chunks: list[bytes], **options: object) -> list[Piece]:
    reply = ReplyText(**options)  # type: ignore[arg-type]
    return [piece for chunk in chunks for piece in reply.feed(chunk)] + reply.flush()


def chunked(data: bytes, chance: random.Random) -> list[bytes]:
    chunks = []
    while data:
        size = chance.randint(1, 5)
        chunks.append(data[:size])
        data = data[size:]
    return chunks


@pytest.mark.parametrize("seed", range(40))
def test_no_character_and_no_emoji_is_ever_split(seed: int) -> None:
    pieces = run(chunked(HARD.encode(), random.Random(seed)))
    assert "".join(piece.text for piece in pieces) == HARD
    position = 0
    inside = {
        place
        for whole in WHOLE
        for start in [HARD.index(whole)]
        for place in range(start + 1, start + len(whole))
    }  # fmt: skip
    for piece in pieces:
        position += len(piece.text)
        assert position not in inside, f"cut inside {HARD[max(0, position - 3) : position + 3]!r}"


def test_plain_text_is_not_held_back() -> None:
    reply = ReplyText()
    assert [piece.text for piece in reply.feed(b"Hello,")] == ["Hello,"]
    assert [piece.text for piece in reply.feed("世".encode())] == ["世"]


def test_a_character_that_is_not_whole_at_the_end_is_left_out() -> None:
    assert run([b"a", b"\xf0\x9f"]) == [Piece("a")]


def test_bytes_that_are_no_character_in_the_middle_are_marked() -> None:
    assert "".join(piece.text for piece in run([b"a\xff", b"b"])) == "a\ufffdb"


@pytest.mark.parametrize("seed", range(10))
def test_a_stop_string_is_cut_out_however_it_arrives(seed: int) -> None:
    pieces = run(chunked(b"One, two###three", random.Random(seed)), stop=("###",))
    assert "".join(piece.text for piece in pieces) == "One, two"


def test_the_first_of_several_stop_strings_wins_and_nothing_follows() -> None:
    reply = ReplyText(("END", "\n\n"))
    first = reply.feed(b"a\n\nbEND")
    assert (first, reply.stopped) == ([Piece("a")], True)
    assert reply.feed(b"more") == []
    assert reply.flush() == []


def test_the_beginning_of_a_stop_string_is_shown_when_it_does_not_go_on() -> None:
    assert "".join(piece.text for piece in run([b"a##", b"b"], stop=("###",))) == "a##b"


def test_a_stop_string_inside_the_reasoning_does_not_count() -> None:
    pieces = run([b"<think>\nx END y</think>", b"answer END rest"], stop=("END",), reasoning=THINK)
    assert [(piece.kind, piece.text) for piece in pieces] == [("thinking", "x END y"), ("text", "answer ")]


def test_an_endless_run_of_joiners_is_shown_after_a_while() -> None:
    reply = ReplyText()
    shown = [piece for _ in range(200) for piece in reply.feed("👩\u200d".encode())]
    assert shown
