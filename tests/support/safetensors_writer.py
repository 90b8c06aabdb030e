"""Writes safetensors headers for tests, sound ones and others. Independent of our reader."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping


def raw(text: bytes) -> bytes:
    """The beginning of a file whose header is this text."""
    return struct.pack("<Q", len(text)) + text


def header(entries: object) -> bytes:
    """The beginning of a file whose header says this."""
    return raw(json.dumps(entries).encode())


def sound(tensors: Mapping[str, tuple[str, list[int], int]]) -> tuple[bytes, int]:
    """The beginning, and the length, of a file with these tensors: name -> type, shape, bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "mlx"}}
    offset = 0
    for name, (dtype, shape, size) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    data = header(entries)
    return data, len(data) + offset
