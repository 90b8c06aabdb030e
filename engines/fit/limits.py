"""How much of a computer's memory Snug may use: the limits that a sum is held against, with stated margins.

Our own sum is exact or an upper bound, so a margin only covers what is not ours: the system, other programs, a
driver. Every rule is named here and printed by `snug fit --explain`.
"""

from __future__ import annotations

from engines.fit.values import Placement, PoolUse, Running
from engines.hardware.machine import Gpu, Machine

MEBIBYTE = 1024**2
GIBIBYTE = 1024**3

UNIFIED_SHARE = 0.92
"""Of the GPU's limit on unified memory (facts/fit.md C.5; mlx-lm warns at 0.9 of it)."""
CARD_SHARE = 0.95
"""Of a card's memory when nobody looked at what is free: drivers reserve some (facts/fit.md A.8)."""
CARD_MARGIN_BYTES = 512 * MEBIBYTE
CARD_WITH_DISPLAY_MARGIN_BYTES = 1024 * MEBIBYTE
"""A card that draws the screen, or of which that is not known (facts/fit.md C.5)."""

_SYSTEM_BYTES = {"macos": 3 * GIBIBYTE, "windows": 3 * GIBIBYTE, "linux": 3 * GIBIBYTE // 2}
"""What the system takes when no program runs: assumed, on the careful side; a container counts none."""
_USUAL_PROGRAMS_BYTES = 3 * GIBIBYTE // 2
"""A browser and the like on a computer that nobody looked at (a profile). Assumed, only shown."""


def kept_free_bytes(machine: Machine) -> int:
    """What is left to the system and to surprises: 2 GiB where a GPU shares the memory, 4 GiB from 32 GB on; else a
    tenth, at least 1 GiB (facts/fit.md C.5).
    """
    if machine.unified_gpu is not None:
        return 4 * GIBIBYTE if machine.memory_total_bytes >= 31 * GIBIBYTE else 2 * GIBIBYTE
    return max(GIBIBYTE, machine.memory_total_bytes // 10)


def others_bytes(machine: Machine) -> int:
    """What other programs and the system take: read, or for a profile assumed."""
    if machine.memory_available_bytes is None:
        return system_bytes(machine) + _USUAL_PROGRAMS_BYTES
    return max(0, machine.memory_total_bytes - machine.memory_available_bytes)


def system_bytes(machine: Machine) -> int:
    """The system alone, with every program closed. Never more than what is taken now."""
    assumed = 0 if machine.container_limit_bytes is not None else _SYSTEM_BYTES[machine.system]
    if machine.memory_available_bytes is None:
        return assumed
    return min(assumed, max(0, machine.memory_total_bytes - machine.memory_available_bytes))


def pools(machine: Machine, placement: Placement, running: Running) -> tuple[PoolUse, ...]:
    """Every limit that must hold for this sum."""
    found = [_main_memory(machine, placement, running)]
    if placement.gpu is not None and machine.card is not None:
        found.append(_card(machine.card, placement.gpu.total_bytes))
    elif placement.gpu_share_bytes and machine.unified_gpu is not None:
        found.append(_gpu_limit(machine.unified_gpu, placement.gpu_share_bytes, running))
    return tuple(found)


def _main_memory(machine: Machine, placement: Placement, running: Running) -> PoolUse:
    kept = kept_free_bytes(machine)
    total = machine.memory_total_bytes
    idle = max(0, total - kept - system_bytes(machine))
    available = machine.memory_available_bytes
    now = idle
    if available is not None:
        now = max(0, min(available + running.freed_bytes, total) - kept - running.held_bytes)
        if machine.commit_left_bytes is not None:
            left = machine.commit_left_bytes + running.freed_bytes - running.held_bytes
            now = max(0, min(now, left - kept // 2))
        now = min(now, idle)
    return PoolUse(
        name="memory",
        needed_bytes=placement.main.total_bytes,
        limit_bytes=idle,
        limit_now_bytes=now,
        total_bytes=total,
        margin_bytes=kept,
        others_bytes=others_bytes(machine),
    )


def _gpu_limit(gpu: Gpu, needed_bytes: int, running: Running) -> PoolUse:
    total = gpu.shared_limit_bytes or 0
    limit = int(total * UNIFIED_SHARE)
    return PoolUse(
        name="gpu_limit",
        needed_bytes=needed_bytes,
        limit_bytes=limit,
        limit_now_bytes=max(0, limit - running.held_bytes),
        total_bytes=total,
        margin_bytes=total - limit,
    )


def _card(card: Gpu, needed_bytes: int) -> PoolUse:
    total = card.memory_total_bytes or 0
    margin = CARD_MARGIN_BYTES if card.drives_display is False else CARD_WITH_DISPLAY_MARGIN_BYTES
    idle = max(0, int(total * CARD_SHARE) - margin)
    now, others = idle, 0
    if card.memory_free_bytes is not None:
        others = max(0, total - card.memory_free_bytes)
        # What is given back first lies in main memory; how much of it is on the card is not known.
        now = max(0, min(card.memory_free_bytes - CARD_MARGIN_BYTES, idle))
    return PoolUse(
        name="card",
        needed_bytes=needed_bytes,
        limit_bytes=idle,
        limit_now_bytes=now,
        total_bytes=total,
        margin_bytes=margin,
        others_bytes=others,
    )
