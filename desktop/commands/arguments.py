"""Words of the command line that more than one command understands: numbers, contexts. For argparse; no Qt."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

LEAST_CONTEXT_TOKENS = 256
GREATEST_CONTEXT_TOKENS = 16_777_216
_CONTEXT = re.compile(r"(\d+(?:[.,]\d{3})*)\s*([km]?)", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1024, "m": 1024**2}


def whole_number(least: int) -> Callable[[str], int]:
    """Reads a whole number that is at least `least`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is below {least}")
        return number

    return parse


def context_tokens(text: str) -> int:
    """Reads a context such as 8192, 8,192, 32k or 1M; k is 1024 tokens."""
    match = _CONTEXT.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tokens, such as 8192 or 32k")
    number = int(re.sub(r"[.,]", "", match[1])) * _FACTORS[match[2].lower()]
    if not LEAST_CONTEXT_TOKENS <= number <= GREATEST_CONTEXT_TOKENS:
        raise argparse.ArgumentTypeError(
            f"{number:,} tokens is not between {LEAST_CONTEXT_TOKENS} and {GREATEST_CONTEXT_TOKENS:,}"
        )
    return number
