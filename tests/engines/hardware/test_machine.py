from __future__ import annotations

from dataclasses import replace

from engines.hardware.machine import Gpu
from engines.hardware.profiles import find_profile

SMALL = Gpu(name="small", vendor="nvidia", kind="discrete", memory_total_bytes=4 << 30)
LARGE = Gpu(name="large", vendor="amd", kind="discrete", memory_total_bytes=16 << 30)
SILENT = Gpu(name="silent", vendor="intel", kind="discrete")
INSIDE = Gpu(name="inside", vendor="intel", kind="integrated", memory_total_bytes=512 << 20)
SHARING = Gpu(name="sharing", vendor="amd", kind="integrated", shared_limit_bytes=8 << 30)


def test_the_card_with_the_most_memory_is_the_one_that_counts() -> None:
    machine = replace(find_profile("pc-32"), gpus=(SILENT, SMALL, INSIDE, LARGE))
    assert machine.card == LARGE
    assert replace(machine, gpus=(SILENT, INSIDE)).card is None


def test_a_gpu_inside_counts_when_it_is_known_what_it_may_use() -> None:
    machine = replace(find_profile("pc-32"), gpus=(INSIDE, SHARING))
    assert machine.unified_gpu == SHARING
    assert replace(machine, gpus=(INSIDE,)).unified_gpu is None
    assert replace(machine, gpus=(INSIDE, LARGE, SHARING)).unified_gpu is None, "the engine uses the card alone"


def test_what_was_carved_out_for_an_apu_is_a_card_when_it_is_more_than_what_is_shared() -> None:
    carved = replace(SHARING, memory_total_bytes=96 << 30, shared_limit_bytes=16 << 30)
    machine = replace(find_profile("pc-32"), gpus=(carved,))
    assert machine.card == carved and machine.unified_gpu is None
    little = replace(carved, memory_total_bytes=512 << 20)
    machine = replace(machine, gpus=(little,))
    assert machine.card is None and machine.unified_gpu == little


def test_a_computer_on_which_nobody_looked_at_free_memory_is_a_profile() -> None:
    machine = find_profile("pc-32")
    assert machine.is_profile
    assert not replace(machine, memory_available_bytes=0).is_profile
