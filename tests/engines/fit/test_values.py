"""The small derived figures of the fit's values."""

from __future__ import annotations

import pytest

from engines.base import LoadSettings
from engines.fit.values import ALONE, NO_WISH, TERMS, UNCORRECTED, MemoryParts, Placement, PoolUse, Verdict

SUM = MemoryParts(weights_bytes=100, context_bytes=20, process_bytes=3)


def pool(needed: int, limit: int, now: int) -> PoolUse:
    return PoolUse(
        name="memory", needed_bytes=needed, limit_bytes=limit, limit_now_bytes=now, total_bytes=1000, margin_bytes=10
    )


def verdict(*pools: PoolUse) -> Verdict:
    return Verdict(
        kind="fits",
        kind_now="fits",
        settings=LoadSettings(),
        context_tokens=4096,
        largest_context_tokens=4096,
        largest_context_now_tokens=4096,
        placement=Placement(main=SUM),
        pools=pools,
        decode=None,
        prefill=None,
        disk_needed_bytes=0,
        reasons=(),
    )


def test_a_sum_is_all_its_terms_and_one_less_without_one() -> None:
    assert SUM.total_bytes == 123
    assert SUM.without("context_bytes").total_bytes == 103
    assert all(SUM.without(term).total_bytes <= SUM.total_bytes for term in TERMS)


def test_a_placement_on_a_card_is_both_sums() -> None:
    assert Placement(main=SUM).total_bytes == 123
    assert Placement(main=SUM, gpu=MemoryParts(weights_bytes=7)).total_bytes == 130


@pytest.mark.parametrize(("needed", "fits", "fits_now"), [(50, True, True), (51, True, False), (101, False, False)])
def test_a_limit_holds_up_to_the_last_byte(needed: int, fits: bool, fits_now: bool) -> None:
    found = pool(needed, 100, 50)
    assert (found.fits, found.fits_now) == (fits, fits_now)


def test_the_margin_of_a_verdict_is_that_of_its_tightest_limit() -> None:
    assert verdict(pool(50, 100, 100), pool(90, 95, 95)).margin_bytes == 5
    assert verdict(pool(120, 100, 100), pool(0, 500, 500)).margin_bytes == -20
    assert verdict().margin_bytes == 0


def test_what_nobody_said_changes_nothing() -> None:
    assert NO_WISH.context_tokens is None and not NO_WISH.vision
    assert ALONE.held_bytes == ALONE.freed_bytes == 0
    assert UNCORRECTED.memory_extra_bytes == 0 and UNCORRECTED.decode_factor is None
