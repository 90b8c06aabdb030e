"""Sizes in words."""

from __future__ import annotations

import pytest

from engines.fit.sizes import gigabytes


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 MB"),
        (42_000_000, "42 MB"),
        (5_966_095_584, "6.0 GB"),
        (14_249_045_120, "14.2 GB"),
        (166_878_536_440, "167 GB"),
    ],
)
def test_sizes_are_decimal_and_short(size_bytes: int, words: str) -> None:
    assert gigabytes(size_bytes) == words


def test_what_is_missing_keeps_its_sign() -> None:
    assert gigabytes(-2_500_000_000) == "-2.5 GB"
