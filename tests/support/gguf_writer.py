"""Writes GGUF headers for tests. Independent of our reader: it follows the specification, with `struct` alone."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144), 14: (256, 210), 30: (1, 2), 39: (32, 17)}
"""Values and bytes per block of the types that tests write."""


@dataclass(frozen=True)
class Typed:
    """A value whose number type matters; plain int, float, bool and str become u32, f32, bool and text."""

    type_id: int
    code: str
    value: int | float | Sequence[int] | Sequence[float] | Sequence[bool]


Tensor = tuple[str, Sequence[int], int]
"""Name, dimensions (fastest first), ggml type."""


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value(item: object) -> bytes:
    match item:
        case Typed(type_id, code, list() | tuple() | range() as numbers):
            return struct.pack("<IIQ", 9, type_id, len(numbers)) + struct.pack(f"<{len(numbers)}{code}", *numbers)
        case Typed(type_id, code, number):
            return struct.pack(f"<I{code}", type_id, number)
        case bool():
            return struct.pack("<I?", 7, item)
        case int():
            return struct.pack("<Ii", 5, item) if item < 0 else struct.pack("<II", 4, item)
        case float():
            return struct.pack("<If", 6, item)
        case str():
            return struct.pack("<I", 8) + text(item)
        case list() | tuple():
            return _array(item)
        case _:
            raise TypeError(item)


def _array(items: Sequence[object]) -> bytes:
    first = items[0] if items else ""
    if isinstance(first, str):
        return struct.pack("<IIQ", 9, 8, len(items)) + b"".join(text(str(item)) for item in items)
    code, type_id = ("?", 7) if isinstance(first, bool) else ("i", 5) if isinstance(first, int) else ("f", 6)
    return struct.pack("<IIQ", 9, type_id, len(items)) + struct.pack(f"<{len(items)}{code}", *items)


def tensor_bytes(shape: Sequence[int], type_id: int) -> int:
    values = 1
    for size in shape:
        values *= size
    block_values, block_bytes = BLOCKS[type_id]
    return values // block_values * block_bytes


def header(metadata: Mapping[str, object], tensors: Iterable[Tensor] = (), *, version: int = 3) -> tuple[bytes, int]:
    """The beginning of a file, padded to where the data starts, and the length of the whole file."""
    tensors = list(tensors)
    alignment = metadata.get("general.alignment", 32)
    assert isinstance(alignment, int)
    parts = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(metadata))]
    parts += [text(key) + value(item) for key, item in metadata.items()]
    offset = 0
    for name, shape, type_id in tensors:
        parts.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_id, offset))
        offset += -(-tensor_bytes(shape, type_id) // alignment) * alignment
    data = b"".join(parts)
    data += bytes(-len(data) % alignment)
    return data, len(data) + offset


def vocabulary(size: int, *, seed_word: str = "token") -> dict[str, object]:
    """A tokenizer of `size` entries, with scores, types and merges, about as long as real ones."""
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [f"{seed_word}{number}" for number in range(size)],
        "tokenizer.ggml.scores": Typed(6, "f", [float(-number) for number in range(size)]),
        "tokenizer.ggml.token_type": Typed(5, "i", [1] * size),
        "tokenizer.ggml.merges": [f"to ken{number}" for number in range(size)],
        "tokenizer.chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}" * 40,
    }


def model(layers: int, width: int, vocabulary_size: int, type_id: int = 12) -> tuple[dict[str, object], list[Tensor]]:
    """Metadata and tensors of a plain model, Qwen3 by name, whose sizes are as asked."""
    metadata: dict[str, object] = {
        "general.architecture": "qwen3",
        "general.name": "A made-up model",
        "qwen3.block_count": layers,
        "qwen3.context_length": 32768,
        "qwen3.embedding_length": width,
        "qwen3.feed_forward_length": 4 * width,
        "qwen3.attention.head_count": width // 128,
        "qwen3.attention.head_count_kv": 8,
        "qwen3.attention.key_length": 128,
        "qwen3.attention.value_length": 128,
        "qwen3.attention.layer_norm_rms_epsilon": 1e-6,
        "qwen3.rope.freq_base": 1e6,
        **vocabulary(vocabulary_size),
    }
    tensors: list[Tensor] = [("token_embd.weight", (width, vocabulary_size), type_id)]
    for layer in range(layers):
        tensors += [
            (f"blk.{layer}.attn_norm.weight", (width,), 0),
            (f"blk.{layer}.attn_q.weight", (width, width), type_id),
            (f"blk.{layer}.attn_k.weight", (width, 1024), type_id),
            (f"blk.{layer}.attn_v.weight", (width, 1024), type_id),
            (f"blk.{layer}.attn_output.weight", (width, width), type_id),
            (f"blk.{layer}.ffn_norm.weight", (width,), 0),
            (f"blk.{layer}.ffn_gate.weight", (width, 4 * width), type_id),
            (f"blk.{layer}.ffn_up.weight", (width, 4 * width), type_id),
            (f"blk.{layer}.ffn_down.weight", (4 * width, width), type_id),
        ]
    tensors += [("output_norm.weight", (width,), 0), ("output.weight", (width, vocabulary_size), type_id)]
    return metadata, tensors


def split(metadata: Mapping[str, object], tensors: Sequence[Tensor], parts: int) -> list[tuple[bytes, int]]:
    """The headers of a model in `parts` files, as llama.cpp's gguf-split writes them."""
    per_part = -(-len(tensors) // parts)
    found = []
    for number in range(parts):
        said: dict[str, object] = {} if number else dict(metadata)
        said |= {
            "split.no": Typed(2, "H", number),
            "split.count": Typed(2, "H", parts),
            "split.tensors.count": Typed(5, "i", len(tensors)),
        }
        found.append(header(said, tensors[number * per_part : (number + 1) * per_part]))
    return found
