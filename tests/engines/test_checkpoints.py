"""How much memory saved states may take."""

from __future__ import annotations

import pytest

from engines import checkpoints

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("state_bytes", "budget_bytes"),
    [
        (0, 0),
        (100_000, 32 * 100_000),  # never more than 32 states
        (8 * MEBIBYTE, 64 * MEBIBYTE),
        (48 * MEBIBYTE, 4 * 48 * MEBIBYTE),
        (200 * MEBIBYTE, 256 * MEBIBYTE),
        (257 * MEBIBYTE, 0),  # a state so large is not kept at all
    ],
)
def test_the_budget_is_a_few_states_and_bounded(state_bytes: int, budget_bytes: int) -> None:
    assert checkpoints.budget_bytes(state_bytes) == budget_bytes


def test_while_one_is_saved_one_more_is_in_memory() -> None:
    state = 8 * MEBIBYTE
    assert checkpoints.peak_bytes(state) == checkpoints.budget_bytes(state) + state
    assert checkpoints.peak_bytes(400 * MEBIBYTE) == 0


def test_the_peak_never_exceeds_the_budget_by_more_than_a_state() -> None:
    for state in range(1, 300 * MEBIBYTE, 777_777):
        assert checkpoints.peak_bytes(state) <= checkpoints.LARGE_BUDGET_BYTES + checkpoints.LARGEST_STATE_BYTES
