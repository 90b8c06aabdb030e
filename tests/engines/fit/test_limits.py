"""How much of a computer Snug may use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.fit import limits
from engines.fit.values import ALONE, MemoryParts, Placement, Running
from engines.hardware.machine import Gpu, Machine, Processor

GIB = 1024**3
PC = Machine(
    name="PC",
    system="linux",
    processor=Processor(name="CPU", architecture="x86_64"),
    memory_total_bytes=16 * GIB,
    memory_available_bytes=10 * GIB,
)
APPLE = Gpu(name="Apple M4", vendor="apple", kind="integrated", shared_limit_bytes=11_453_000_000)
CARD = Gpu(
    name="RTX",
    vendor="nvidia",
    kind="discrete",
    memory_total_bytes=12 * GIB,
    memory_free_bytes=11 * GIB,
    drives_display=True,
)
SUM = Placement(main=MemoryParts(weights_bytes=5 * GIB))


def memory_pool(machine: Machine, running: Running = ALONE) -> limits.PoolUse:
    return limits.pools(machine, SUM, running)[0]


def test_a_tenth_is_kept_free_on_a_pc() -> None:
    pool = memory_pool(PC)
    assert pool.margin_bytes == 16 * GIB // 10
    assert pool.limit_now_bytes == 10 * GIB - pool.margin_bytes
    assert pool.limit_bytes == 16 * GIB - pool.margin_bytes - limits.system_bytes(PC)
    assert pool.others_bytes == 6 * GIB


def test_what_runs_now_never_makes_the_limit_larger() -> None:
    for available in range(17):
        pool = memory_pool(replace(PC, memory_available_bytes=available * GIB))
        assert pool.limit_now_bytes <= pool.limit_bytes <= pool.total_bytes - pool.margin_bytes


def test_what_another_snug_holds_is_not_there_and_what_we_eject_comes_back() -> None:
    free = memory_pool(PC).limit_now_bytes
    assert memory_pool(PC, Running(held_bytes=2 * GIB)).limit_now_bytes == free - 2 * GIB
    assert memory_pool(PC, Running(freed_bytes=1 * GIB)).limit_now_bytes == free + 1 * GIB


def test_windows_counts_what_can_be_committed() -> None:
    windows = replace(PC, system="windows", commit_left_bytes=4 * GIB)
    assert memory_pool(windows).limit_now_bytes == 4 * GIB - memory_pool(windows).margin_bytes // 2


def test_a_container_has_no_system_of_its_own() -> None:
    assert limits.system_bytes(replace(PC, container_limit_bytes=16 * GIB)) == 0
    assert limits.system_bytes(PC) > 0


def test_a_profile_gets_assumed_programs_and_the_same_limit_now_as_when_idle() -> None:
    profile = replace(PC, memory_available_bytes=None)
    pool = memory_pool(profile)
    assert pool.limit_now_bytes == pool.limit_bytes
    assert pool.others_bytes > limits.system_bytes(profile)


@pytest.mark.parametrize(("total", "kept"), [(16, 2), (24, 2), (32, 4), (128, 4)])
def test_more_is_kept_where_a_gpu_shares_the_memory(total: int, kept: int) -> None:
    mac = replace(PC, system="macos", memory_total_bytes=total * GIB, gpus=(APPLE,))
    assert limits.kept_free_bytes(mac) == kept * GIB


def test_unified_memory_is_counted_once_and_held_against_the_gpus_limit_too() -> None:
    mac = replace(PC, system="macos", gpus=(APPLE,))
    both = limits.pools(mac, replace(SUM, gpu_share_bytes=4 * GIB), ALONE)
    assert [pool.name for pool in both] == ["memory", "gpu_limit"]
    assert both[0].needed_bytes == 5 * GIB and both[1].needed_bytes == 4 * GIB
    assert both[1].limit_bytes == int(11_453_000_000 * 0.92)


def test_what_another_snug_holds_counts_against_the_gpus_limit_and_the_commit_too() -> None:
    mac = replace(PC, system="macos", gpus=(APPLE,))
    sum_ = replace(SUM, gpu_share_bytes=4 * GIB)
    free, held = (limits.pools(mac, sum_, running)[1].limit_now_bytes for running in (ALONE, Running(held_bytes=GIB)))
    assert free - held == GIB
    windows = replace(PC, system="windows", commit_left_bytes=4 * GIB)
    held_now = memory_pool(windows, Running(held_bytes=GIB)).limit_now_bytes
    assert held_now == memory_pool(windows).limit_now_bytes - GIB


def test_main_memory_that_is_given_back_makes_no_room_on_a_card() -> None:
    full = replace(CARD, memory_free_bytes=2 * GIB)
    placed = replace(SUM, gpu=MemoryParts())
    machine = replace(PC, gpus=(full,))
    pools = [limits.pools(machine, placed, running)[1] for running in (ALONE, Running(freed_bytes=8 * GIB))]
    assert pools[0] == pools[1]


def test_a_card_has_its_own_limit_from_what_its_driver_says_is_free() -> None:
    machine = replace(PC, gpus=(CARD,))
    pool = limits.pools(machine, replace(SUM, gpu=MemoryParts(weights_bytes=GIB)), ALONE)[1]
    assert pool.name == "card" and pool.needed_bytes == GIB
    assert pool.limit_bytes == int(12 * GIB * 0.95) - GIB
    assert pool.limit_now_bytes == min(11 * GIB - 512 * limits.MEBIBYTE, pool.limit_bytes)
    full = replace(CARD, memory_free_bytes=GIB // 4)
    assert limits.pools(replace(PC, gpus=(full,)), replace(SUM, gpu=MemoryParts()), ALONE)[1].limit_now_bytes == 0
