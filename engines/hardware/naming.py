"""Names of computers for people: "Mac mini, Apple M4, 16 GB"."""

from __future__ import annotations

import re

GIBIBYTE = 1024**3
_CLUTTER = re.compile(
    r"\(r\)|\(tm\)|®|™|\b\d+-core\b|\bprocessor\b|\bcpu\b(?: @.*)?|@.*$|\bw/.*$|\bwith radeon.*$", re.IGNORECASE
)
_STEPS_GB = ((8, 1), (64, 2), (1 << 40, 8))
"""Up to so many GB, sizes come in such steps."""


def short_processor_name(name: str) -> str:
    """Without trademarks, core counts and the GPU inside: "AMD Ryzen 7 7700 8-Core Processor" is "AMD Ryzen 7 7700"."""
    return " ".join(_CLUTTER.sub(" ", name).split()) or name


def nominal_gigabytes(total_bytes: int) -> int:
    """The size on the box: what the system gives out is somewhat less, because firmware and kernel keep some."""
    whole = -(-total_bytes // GIBIBYTE)
    step = next(step for up_to, step in _STEPS_GB if whole <= up_to)
    return -(-whole // step) * step


def machine_name(product: str, processor: str, memory_gigabytes: int) -> str:
    """Product, processor and memory, as far as they are known."""
    parts = [product, short_processor_name(processor), f"{memory_gigabytes} GB"]
    return ", ".join(part for part in parts if part)
