"""Heights of many things in a column, with quick answers to "where is it" and "what is there"."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from math import ceil


class HeightIndex:
    """Whole pixels. Sums are made lazily from the first height that changed, so a change at the end is cheap."""

    def __init__(self, heights: Iterable[float] = ()) -> None:
        self._heights: list[int] = [ceil(height) for height in heights]
        self._sums: list[int] = [0]

    def __len__(self) -> int:
        return len(self._heights)

    def __getitem__(self, index: int) -> int:
        return self._heights[index]

    def set(self, index: int, height: float) -> None:
        """Another height at `index`."""
        if self._heights[index] != ceil(height):
            self._heights[index] = ceil(height)
            del self._sums[index + 1 :]

    def append(self, height: float) -> None:
        """One more at the end."""
        self._heights.append(ceil(height))

    def truncate(self, count: int) -> None:
        """Keeps the first `count`."""
        del self._heights[count:]
        del self._sums[count + 1 :]

    def total(self) -> int:
        """Height of everything."""
        return self.top_of(len(self._heights))

    def top_of(self, index: int) -> int:
        """Where the thing at `index` begins; `len(self)` answers the end of the last."""
        known = len(self._sums) - 1
        if known < len(self._heights):
            self._sums[known:] = accumulate(self._heights[known:], initial=self._sums[known])
        return self._sums[index]

    def at(self, y: float) -> int:
        """The index of what stands at `y`; the first or the last beyond the ends."""
        self.top_of(0)
        return min(max(bisect_right(self._sums, y) - 1, 0), max(0, len(self._heights) - 1))
