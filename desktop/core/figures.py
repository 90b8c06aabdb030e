"""Figures as people read them: sizes, contexts, speeds. Pure, and without a language: only numbers and units."""

from __future__ import annotations

GIGABYTE = 1000**3
MEGABYTE = 1000**2
WORDS_PER_TOKEN = 0.75
"""English prose; the design's own rule (1 token is about 0.75 words)."""
TOKENS_PER_PAGE = 409.6
"""About 300 words: 32k tokens are 80 pages."""


def size_words(size_bytes: int) -> str:
    """A size such as "6.0 GB", and "98 MB" below half a gigabyte."""
    if abs(size_bytes) < GIGABYTE // 2:
        return f"{size_bytes / MEGABYTE:.0f} MB"
    return f"{size_bytes / GIGABYTE:.1f} GB"


def context_words(tokens: int) -> str:
    """A context such as "32k", "1M", and "512" where it is no whole number of thousands."""
    if tokens >= 1024**2 and tokens % 1024**2 == 0:
        return f"{tokens // 1024**2}M"
    if tokens >= 1000 and tokens % 1024 == 0:
        return f"{tokens // 1024}k"
    if tokens >= 1000:
        return f"{tokens / 1024:.1f}k".replace(".0k", "k")
    return str(tokens)


def pages_of(tokens: int) -> int:
    """How many printed pages a context holds, to two digits."""
    return rounded(tokens / TOKENS_PER_PAGE)


def rounded(value: float) -> int:
    """To two digits: 327 is 330, 2560 is 2600, 7.4 is 7."""
    whole = round(value)
    digits = len(str(abs(whole)))
    return whole if digits <= 2 else round(whole, 2 - digits)


def words_per_second(tokens_per_second: float) -> str:
    """A speed in words: "15", and "0.4" or "2.5" where a whole number would say too little."""
    words = tokens_per_second * WORDS_PER_TOKEN
    if words < 4:
        return f"{words:.1f}".removesuffix(".0")
    return f"{rounded(words):,}"
