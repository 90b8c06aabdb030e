"""Reads the header of a safetensors file: tensor names, types, shapes, sizes. Never reads weights.

A file begins with the header's length (8 bytes, little-endian), then the header as one JSON object, then the data,
without gaps. Format and rules: the safetensors project's README and its reference reader. A header may come from a
file or from the first bytes of one that is still far away. What it may claim is bounded before anything is decoded.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from engines.errors import ModelFileError
from engines.formats.gguf import HeaderIncomplete

MAXIMUM_HEADER_BYTES = 32 * 1024 * 1024
"""The reference reader takes 100 MB; a shard with ten thousand tensors has about 1 MB."""
MAXIMUM_TENSORS = 200_000
MAXIMUM_TENSOR_VALUES = 1 << 48
LENGTH_BYTES = 8

_DTYPE_BITS: dict[str, int] = {
    # Source: enum Dtype of the safetensors project, 0.7.
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
    "U64": 64,
}  # fmt: skip

_MOST: dict[bytes, int] = {b"{": 2 * MAXIMUM_TENSORS, b'":': 1_000_000, b",": 4_000_000, b"[": 1_000_000}
"""How often a structural character may occur: what decoding costs is bounded before anything is decoded."""

_Size = Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_TENSOR_VALUES)]
_Offset = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as it lies in a file."""

    name: str
    dtype: str
    """As written in the file: BF16, U32, ..."""
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """What a safetensors file says about itself; the tensors in the order of their data."""

    tensors: tuple[StoredTensor, ...]
    metadata: dict[str, str]
    header_bytes: int
    """Of the beginning of the file up to the data, the length included."""
    file_bytes: int


class _Entry(msgspec.Struct):
    """A tensor in the JSON. The free metadata among them fits too, as none of these fields."""

    dtype: str = ""
    shape: Annotated[tuple[_Size, ...], msgspec.Meta(max_length=16)] = ()
    data_offsets: tuple[_Offset, _Offset] | None = None


class _Metadata(msgspec.Struct):
    texts: dict[str, str] | None = msgspec.field(default_factory=dict, name="__metadata__")
    """Null is what mlx writes where nobody gave any."""


def read_header(path: Path) -> SafetensorsHeader:
    """Reads the header of one safetensors file.

    Raises: ModelFileError if it is missing, unreadable, not safetensors, damaged or not whole.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _not_safetensors(path, "not a file")  # a pipe would be waited for
        with path.open("rb") as file:
            data = file.read(LENGTH_BYTES)
            try:
                return parse_header(data, status.st_size, path)
            except HeaderIncomplete as incomplete:
                data += file.read(incomplete.needed_bytes - len(data))
            try:
                return parse_header(data, status.st_size, path)
            except HeaderIncomplete:  # it became shorter while it was read
                raise _damaged(path, "the file ends inside its header") from None
    except FileNotFoundError:
        raise ModelFileError(
            "A file of the model is not there.",
            "It may have been moved or deleted, or its drive is not connected. Download it again.",
            str(path),
        ) from None
    except OSError as error:
        raise ModelFileError(
            "A file of the model cannot be read.",
            "Check that you may open it and that its drive is connected.",
            f"{path}: {error.strerror or error}",
        ) from None


def parse_header(data: bytes, file_bytes: int, path: Path) -> SafetensorsHeader:
    """The header of a file of `file_bytes` that begins with `data`; `path` is what errors call it.

    Raises: HeaderIncomplete when `data` ends inside the header (the length comes first, so it asks at most twice);
    ModelFileError like `read_header`.
    """
    if file_bytes < LENGTH_BYTES + 2:
        raise _not_safetensors(path, f"{file_bytes} bytes")
    if len(data) < LENGTH_BYTES:
        raise HeaderIncomplete(LENGTH_BYTES)
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    end = LENGTH_BYTES + length
    if length < 2 or end > MAXIMUM_HEADER_BYTES or data[LENGTH_BYTES : LENGTH_BYTES + 1] not in (b"{", b""):
        raise _not_safetensors(path, f"a header of {length} bytes")
    if end > file_bytes:
        raise _damaged(path, "the file ends inside its header")
    if end > len(data):
        raise HeaderIncomplete(end)
    text = data[LENGTH_BYTES:end]
    try:
        check_bounds(text)
        entries = msgspec.json.decode(text, type=dict[str, _Entry | None])
        metadata = msgspec.json.decode(text, type=_Metadata).texts or {}
        entries.pop("__metadata__", None)
        tensors = _tensors(_without_nulls(entries), file_bytes - end)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    return SafetensorsHeader(tensors, metadata, end, file_bytes)


def _without_nulls(entries: dict[str, _Entry | None]) -> dict[str, _Entry]:
    for name, entry in entries.items():
        if entry is None:
            raise ValueError(f"tensor {name[:80]!r} is null")
    return {name: entry for name, entry in entries.items() if entry is not None}


def check_bounds(text: bytes) -> None:
    """Raises ValueError for JSON with more objects, keys or items than any model's has."""
    for character, most in _MOST.items():
        if text.count(character) > most:
            raise ValueError(f"more than {most} times {character.decode()!r} in a header")


def _tensors(entries: dict[str, _Entry], data_bytes: int) -> tuple[StoredTensor, ...]:
    """The tensors in the order of their data, which must follow each other without a gap up to the file's end.

    That also finds a name that stands there twice: the JSON reader keeps one of the two, and the other's data is a gap.
    """
    if len(entries) > MAXIMUM_TENSORS:
        raise ValueError(f"{len(entries)} tensors")
    placed: list[tuple[int, int, StoredTensor]] = []
    for name, entry in entries.items():
        if entry.data_offsets is None:
            raise ValueError(f"tensor {name[:80]!r} has no place in the data")
        begin, end = entry.data_offsets
        placed.append((begin, end, StoredTensor(name, entry.dtype, entry.shape, _size_bytes(name, entry, end - begin))))
    placed.sort(key=lambda item: item[:2])
    expected = 0
    for begin, end, tensor in placed:
        if begin != expected:
            raise ValueError(f"tensor {tensor.name[:80]!r} begins at {begin} instead of {expected}")
        expected = end
    if expected != data_bytes:
        raise ValueError(f"its tensors end at byte {expected} of the data, the file at {data_bytes}")
    return tuple(tensor for _, _, tensor in placed)


def _size_bytes(name: str, entry: _Entry, size_bytes: int) -> int:
    values = 1
    for size in entry.shape:
        values *= size
        if values > MAXIMUM_TENSOR_VALUES:
            raise ValueError(f"tensor {name[:80]!r} has impossible dimensions")
    bits = _DTYPE_BITS.get(entry.dtype)
    if size_bytes < 0 or (bits is not None and values * bits != size_bytes * 8):
        raise ValueError(f"tensor {name[:80]!r} takes {size_bytes} bytes, which its shape does not")
    return size_bytes


def _not_safetensors(path: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        "This file is not a safetensors file.",
        "If it was downloaded, download it again.",
        f"{path}: {reason}",
    )


def _damaged(path: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        "A file of the model is damaged or incomplete.", "Download it again.", f"{path}: {reason[:500]}"
    )
