"""How much memory saved states of earlier turns may take. One rule for the engine that keeps them and the fit that
counts them.

Models whose cache cannot be rolled back (recurrent, hybrid, sliding window) keep a state at the end of each user turn,
so that an edited message does not cost reading everything again (engines.backends.llama.prefix_cache).
"""

from __future__ import annotations

MEBIBYTE = 1024 * 1024
LARGEST_STATE_BYTES = 256 * MEBIBYTE
"""A larger state is not worth its memory: the prompt is read again instead."""
SMALL_BUDGET_BYTES = 64 * MEBIBYTE
LARGE_BUDGET_BYTES = 256 * MEBIBYTE
WANTED_STATES = 4
MOST_STATES = 32


def budget_bytes(state_bytes: int) -> int:
    """What all states together may take, for a model with states of this size: four of them, but at least 64 MiB and
    at most 256 MiB, and never more than 32 states. 0: none are kept.
    """
    if not 0 < state_bytes <= LARGEST_STATE_BYTES:
        return 0
    return min(LARGE_BUDGET_BYTES, max(SMALL_BUDGET_BYTES, WANTED_STATES * state_bytes), MOST_STATES * state_bytes)


def peak_bytes(state_bytes: int) -> int:
    """The budget, and one more state while it is being saved."""
    budget = budget_bytes(state_bytes)
    return budget + state_bytes if budget else 0
