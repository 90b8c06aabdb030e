"""The values of a GGUF header and the table of ggml's number types. Reading one is `engines.formats.gguf`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Scalar = int | float | bool | str

TYPES: dict[int, tuple[str, int, int]] = {
    # ggml type: (name, values per block, bytes per block). Source: ggml.h and the table of type traits in ggml.c, as
    # of the llama.cpp in llama-cpp-python 0.3.36. Numbers that are missing were taken back by ggml.
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18),
}  # fmt: skip
TYPE_NAMES: dict[int, str] = {type_id: name for type_id, (name, _, _) in TYPES.items()}


@dataclass(frozen=True, slots=True)
class ArrayLength:
    """Stands in the metadata for an array (or a text, by its bytes) that is too long to keep."""

    items: int


Value = Scalar | tuple[Scalar, ...] | ArrayLength


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: `offset_bytes` counts from the start of the data part. `size_bytes` is None for an unknown type."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset_bytes: int
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself."""

    path: Path
    version: int
    metadata: dict[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_start_bytes: int
    file_bytes: int

    @property
    def architecture(self) -> str:
        """`general.architecture`, or an empty string."""
        return self.text("general.architecture")

    @property
    def name(self) -> str:
        """The model's own name, or the file name without its ending."""
        return self.text("general.name") or self.path.stem

    @property
    def expected_bytes(self) -> int:
        """Where the last tensor ends: a complete file is at least this long."""
        return self.data_start_bytes + max(
            (tensor.offset_bytes + (tensor.size_bytes or 0) for tensor in self.tensors), default=0
        )

    def text(self, key: str) -> str:
        """A text value, or an empty string."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int | None:
        """A whole number under `<architecture>.<key>`, or None."""
        return self.whole_number(f"{self.architecture}.{key}")

    def whole_number(self, key: str) -> int | None:
        """A whole number under `key`, or None."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None
