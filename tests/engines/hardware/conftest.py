"""For the tests of the hardware: recorded answers, and answers that were cut or damaged on their way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "data" / "hardware"


@pytest.fixture
def sample() -> Callable[[str], str]:
    """The text of a recorded answer (tests/data/hardware)."""

    def read(name: str) -> str:
        return (SAMPLES / name).read_text(encoding="utf-8")

    return read


@pytest.fixture
def cuts() -> Callable[[str], Iterator[str]]:
    """Every beginning of a text; of a long one some five hundred, among them every end of a line."""

    def cut(text: str) -> Iterator[str]:
        places = set(range(0, len(text), max(1, len(text) // 500)))
        places |= {place for place, character in enumerate(text) if character == "\n"}
        return (text[:place] for place in sorted(places))

    return cut


@pytest.fixture
def damaged() -> Callable[[str], Iterator[str]]:
    """The text with a few characters replaced, doubled, moved or gone; always the same hundred."""

    def damage(text: str) -> Iterator[str]:
        chance = random.Random(text)
        for _ in range(100):
            characters = list(text)
            for _ in range(chance.randint(1, 8)):
                place = chance.randrange(len(characters))
                kind = chance.randrange(4)
                if kind == 0:
                    characters[place] = chance.choice("0129-:,|/\x00é٣ \n\t{}[]\"'")
                elif kind == 1:
                    characters[place] *= chance.choice((2, 30))
                elif kind == 2:
                    del characters[place : place + chance.randint(1, 20)]
                else:
                    characters.insert(place, characters.pop())
            yield "".join(characters)

    return damage
