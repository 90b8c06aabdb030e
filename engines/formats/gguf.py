"""Reads the header of a GGUF file: metadata, tensor list, and whether the file is whole. Never reads weights.

The native parser aborts the process on some odd files, so a file is looked over here first. Everything is bounded:
a hostile header costs neither memory nor time. Format: the GGUF specification of the ggml project, versions 2 and 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engines.errors import ModelFileError, UnsupportedModelError

MAGIC = b"GGUF"
MAXIMUM_TENSORS = 200_000
MAXIMUM_KEYS = 10_000
MAXIMUM_STRING_BYTES = 64 * 1024 * 1024
MAXIMUM_ARRAY_ITEMS = 16_000_000
KEPT_ARRAY_ITEMS = 64
"""Longer arrays (vocabularies, merges) are skipped and stand in the metadata as their length."""

Scalar = int | float | bool | str

_SCALARS: dict[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9

_BLOCKS: dict[int, tuple[int, int]] = {
    # ggml type: (values per block, bytes per block). Source: ggml.c, table of type traits, as of GGUF v3.
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArrayLength:
    """Stands in the metadata for an array that is too long to keep."""

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
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class _Reader:
    """Reads little-endian values and never past the end of the file."""

    def __init__(self, file: BinaryIO, file_bytes: int) -> None:
        self._file = file
        self._file_bytes = file_bytes

    def take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise EOFError
        return data

    def skip(self, count: int) -> None:
        if count < 0 or self._file.tell() + count > self._file_bytes:
            raise EOFError
        self._file.seek(count, 1)

    def u32(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def u64(self) -> int:
        return int(struct.unpack("<Q", self.take(8))[0])

    def string(self) -> str:
        length = self.u64()
        if length > MAXIMUM_STRING_BYTES:
            raise ValueError("a text in the header is too long")
        return self.take(length).decode("utf-8", "replace")

    def value(self, type_id: int) -> Value:
        if type_id == _STRING:
            return self.string()
        if type_id == _ARRAY:
            return self._array()
        return self._scalar(type_id)

    def _scalar(self, type_id: int) -> Scalar:
        code = _SCALARS.get(type_id)
        if code is None:
            raise ValueError(f"a metadata value has the unknown type {type_id}")
        result: Scalar = struct.unpack(code, self.take(struct.calcsize(code)))[0]
        return result

    def _array(self) -> Value:
        type_id, items = self.u32(), self.u64()
        if items > MAXIMUM_ARRAY_ITEMS or type_id == _ARRAY:
            raise ValueError("an array in the header is too long or nested")
        if items <= KEPT_ARRAY_ITEMS:
            return tuple(self.string() if type_id == _STRING else self._scalar(type_id) for _ in range(items))
        if type_id == _STRING:
            for _ in range(items):
                self.skip(self.u64())
        else:
            code = _SCALARS.get(type_id)
            if code is None:
                raise ValueError(f"a metadata array has the unknown type {type_id}")
            self.skip(struct.calcsize(code) * items)
        return ArrayLength(items)

    def tensor(self) -> TensorInfo:
        name = self.string()
        dimensions = self.u32()
        if dimensions > 4:
            raise ValueError(f"tensor {name[:80]!r} has {dimensions} dimensions")
        shape = tuple(self.u64() for _ in range(dimensions))
        type_id, offset = self.u32(), self.u64()
        return TensorInfo(name, shape, type_id, offset, _tensor_bytes(shape, type_id))


def _tensor_bytes(shape: tuple[int, ...], type_id: int) -> int | None:
    block = _BLOCKS.get(type_id)
    if block is None:
        return None
    values = 1
    for size in shape:
        values *= size
    return values // block[0] * block[1]


def read_header(path: Path) -> GgufHeader:
    """Reads the header of one GGUF file.

    Raises: ModelFileError if the file is missing, unreadable, not GGUF or damaged; UnsupportedModelError for a version
    that this program does not know.
    """
    try:
        file_bytes = path.stat().st_size
        with path.open("rb") as file:
            return _read(path, file, file_bytes)
    except FileNotFoundError:
        raise ModelFileError(
            "The model file is not there.",
            "It may have been moved or deleted, or its drive is not connected. Choose it again or download it again.",
            str(path),
        ) from None
    except EOFError:
        raise _damaged(path, "the file ends inside its header") from None
    except (ValueError, struct.error, OverflowError) as error:
        raise _damaged(path, str(error)) from None
    except OSError as error:
        raise ModelFileError(
            "The model file cannot be read.",
            "Check that you may open it and that its drive is connected.",
            f"{path}: {error.strerror or error}",
        ) from None


def _read(path: Path, file: BinaryIO, file_bytes: int) -> GgufHeader:
    reader = _Reader(file, file_bytes)
    if file_bytes < 24 or reader.take(4) != MAGIC:
        raise ModelFileError(
            "This file is not a GGUF model.",
            "Snug opens models in the GGUF format. If it was downloaded, download it again.",
            f"{path}: {file_bytes} bytes, does not begin with GGUF",
        )
    version = reader.u32()
    if version not in (2, 3):
        raise UnsupportedModelError(
            "This GGUF file has a version that Snug cannot read.",
            "Look for a newer build of this model, or for a newer Snug.",
            f"{path}: GGUF version {version}",
        )
    tensor_count, key_count = reader.u64(), reader.u64()
    if tensor_count > MAXIMUM_TENSORS or key_count > MAXIMUM_KEYS:
        raise ValueError(f"it claims {tensor_count} tensors and {key_count} keys")
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = reader.string()
        metadata[key] = reader.value(reader.u32())
    tensors = tuple(reader.tensor() for _ in range(tensor_count))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment > 1 << 20:
        raise ValueError("its alignment is not a sensible number")
    start = -(-file.tell() // alignment) * alignment
    return GgufHeader(path, version, metadata, tensors, start, file_bytes)


def check_complete(header: GgufHeader) -> None:
    """Raises ModelFileError when the file is shorter than its own tensor list says."""
    missing = header.expected_bytes - header.file_bytes
    if missing > 0:
        raise ModelFileError(
            "The model file is incomplete.",
            "The download was probably cut off. Download it again.",
            f"{header.path}: {header.file_bytes} bytes, at least {header.expected_bytes} expected ({missing} missing)",
        )


def _damaged(path: Path, reason: str) -> ModelFileError:
    return ModelFileError("The model file is damaged.", "Download it again.", f"{path}: {reason}")
