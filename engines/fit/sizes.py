"""Sizes for people: decimal gigabytes and megabytes, as disks and model pages count."""

from __future__ import annotations

GIGABYTE = 10**9
MEGABYTE = 10**6


def gigabytes(size_bytes: int) -> str:
    """Like "6.0 GB"; below a tenth of a gigabyte "42 MB"; hundreds without decimals."""
    if abs(size_bytes) < GIGABYTE // 10:
        return f"{size_bytes / MEGABYTE:.0f} MB"
    if abs(size_bytes) >= 100 * GIGABYTE:
        return f"{size_bytes / GIGABYTE:.0f} GB"
    return f"{size_bytes / GIGABYTE:.1f} GB"
