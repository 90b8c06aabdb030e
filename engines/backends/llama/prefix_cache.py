"""Reuse of what the model has already read: which tokens lie in the KV cache, and how to go back to a shared prefix.

Three kinds of cache behave differently (facts, engine-traps):

- plain: any tail can be removed;
- sliding window: removing a tail *succeeds* although the window before it may be gone already, so what is left is
  checked against the window;
- recurrent and hybrid: nothing can be removed. A small partial state, saved at the end of each user turn, is put back.

Where neither removing nor restoring leads to a sound state, everything is read again: slower, never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engines import checkpoints


class CacheMemory(Protocol):
    """The part of a native context that the cache logic needs."""

    def clear(self) -> None: ...
    def remove_from(self, position: int) -> bool: ...
    def first_position(self) -> int: ...
    def last_position(self) -> int: ...
    def partial_state_bytes(self) -> int: ...
    def save_partial_state(self) -> bytearray: ...
    def restore_partial_state(self, state: bytearray) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    length: int
    state: bytearray


class PrefixCache:
    """Knows the tokens in the cache. `tokens` always equals what the native memory holds."""

    def __init__(self, memory: CacheMemory, *, sliding_window_tokens: int, is_recurrent: bool) -> None:
        self._memory = memory
        self._window = sliding_window_tokens
        self._is_recurrent = is_recurrent
        self._checkpoints: list[_Checkpoint] = []
        self.tokens: list[int] = []

    @property
    def kind(self) -> str:
        """plain, sliding_window or recurrent."""
        if self._is_recurrent:
            return "recurrent"
        return "sliding_window" if self._window > 0 else "plain"

    @property
    def needs_checkpoints(self) -> bool:
        """Whether a rollback may need a saved state."""
        return self._is_recurrent or self._window > 0

    def keep_prefix_of(self, prompt: list[int]) -> int:
        """Brings the cache to a prefix of `prompt` and says how long it is: at most all but the last token.

        The last token is always left to be read, since its logits are needed.
        """
        shared = min(common_prefix_length(self.tokens, prompt), len(prompt) - 1)
        return self.rewind(shared)

    def rewind(self, length: int) -> int:
        """Goes back to the first `length` tokens, or to fewer where the cache cannot; returns how many are left."""
        if length == len(self.tokens) and self._memory.last_position() == length - 1:
            return length
        if length > 0 and self._memory.remove_from(length) and self._is_sound(length):
            return self._now(length)
        for checkpoint in reversed(self._checkpoints):
            if checkpoint.length <= length and self._restore(checkpoint):
                return self._now(checkpoint.length)
        self._memory.clear()
        return self._now(0)

    def add(self, tokens: list[int]) -> None:
        """Tokens that were just evaluated."""
        self.tokens += tokens

    def add_one(self, token: int) -> None:
        """A token that was just evaluated."""
        self.tokens.append(token)

    def checkpoint(self) -> None:
        """Saves the state here, so that a later turn can come back. The oldest go to make room (`checkpoints`)."""
        length = len(self.tokens)
        if not self.needs_checkpoints or any(point.length == length for point in self._checkpoints):
            return
        size = self._memory.partial_state_bytes()
        budget = checkpoints.budget_bytes(size)
        if budget == 0:
            return  # too large to be worth its memory, and not even made
        while self._checkpoints and (
            len(self._checkpoints) >= checkpoints.MOST_STATES
            or sum(len(point.state) for point in self._checkpoints) + size > budget
        ):
            self._checkpoints.pop(0)
        state = self._memory.save_partial_state()
        if state:
            self._checkpoints.append(_Checkpoint(length, state))

    def forget(self) -> None:
        """Empties everything."""
        self._memory.clear()
        self._now(0)

    def _now(self, length: int) -> int:
        del self.tokens[length:]
        self._checkpoints = [point for point in self._checkpoints if point.length <= length]
        return length

    def _restore(self, checkpoint: _Checkpoint) -> bool:
        if not self._memory.restore_partial_state(checkpoint.state):
            return False
        self._memory.remove_from(checkpoint.length)
        return self._is_sound(checkpoint.length)

    def _is_sound(self, length: int) -> bool:
        """Whether the memory really ends after `length` tokens and still holds the window before that point."""
        if self._memory.last_position() != length - 1:
            return False
        if self._is_recurrent or self._window <= 0:
            return True
        first = self._memory.first_position()
        return 0 <= first <= max(0, length - self._window)


def common_prefix_length(first: list[int], second: list[int]) -> int:
    """How many tokens two lists have in common at their beginning."""
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    low, high = 0, limit
    while low < high:  # bisection over slice comparisons, which run in C
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
