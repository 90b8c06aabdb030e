from __future__ import annotations

import random

import pytest

from desktop.widgets.height_index import HeightIndex


def test_positions_and_heights_agree() -> None:
    index = HeightIndex([10, 20, 30])
    assert [index.top_of(number) for number in range(4)] == [0, 10, 30, 60]
    assert [index.at(y) for y in (0, 9, 10, 29, 30, 59)] == [0, 0, 1, 1, 2, 2]
    assert index.total() == 60


def test_beyond_the_ends_is_the_first_or_the_last() -> None:
    index = HeightIndex([10, 20])
    assert index.at(-50) == 0
    assert index.at(500) == 1
    assert HeightIndex().at(3) == 0
    assert HeightIndex().total() == 0


def test_heights_are_whole_pixels_rounded_up() -> None:
    index = HeightIndex([10.2])
    index.append(0.5)
    index.set(0, 9.9)
    assert [index[0], index[1], index.total()] == [10, 1, 11]


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_adding_up_after_any_changes(seed: int) -> None:
    chance = random.Random(seed)
    heights = [chance.randrange(1, 50) for _ in range(20)]
    index = HeightIndex(heights)
    for _ in range(200):
        match chance.randrange(4):
            case 0:
                heights.append(chance.randrange(1, 50))
                index.append(heights[-1])
            case 1 if len(heights) > 3:
                count = chance.randrange(1, len(heights))
                del heights[count:]
                index.truncate(count)
            case 2:
                number = chance.randrange(len(heights))
                heights[number] = chance.randrange(1, 50)
                index.set(number, heights[number])
            case _:
                number = chance.randrange(len(heights) + 1)
                assert index.top_of(number) == sum(heights[:number])
        assert len(index) == len(heights)
    y = chance.randrange(sum(heights))
    found = index.at(y)
    assert sum(heights[:found]) <= y < sum(heights[: found + 1])
