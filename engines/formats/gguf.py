"""Reads the header of a GGUF file: metadata, tensor list, and whether the file is whole. Never reads weights.

The native parser aborts the process on some odd files, so a file is looked over here first. A header may come from a
file or from the first bytes of one that is still far away (`parse_header`). Everything is bounded: at most
MAXIMUM_HEADER_BYTES are looked at, each byte a fixed number of times, and what is kept has its own limits, so a
hostile header costs neither memory nor time. Format: the GGUF specification of the ggml project, versions 2 and 3;
where that is silent, the checks of ggml's own reader (gguf.cpp) hold.
"""

from __future__ import annotations

import re
import stat
import struct
from pathlib import Path
from typing import NoReturn

from engines.errors import ModelFileError, UnsupportedModelError
from engines.formats.gguf_values import TYPE_NAMES, TYPES, ArrayLength, GgufHeader, Scalar, TensorInfo, Value

__all__ = [
    "TYPE_NAMES",
    "ArrayLength",
    "GgufHeader",
    "HeaderIncomplete",
    "Scalar",
    "TensorInfo",
    "Value",
    "check_complete",
    "check_parts",
    "parse_header",
    "part_paths",
    "read_header",
    "read_headers",
]

MAGIC = b"GGUF"
MAXIMUM_HEADER_BYTES = 32 * 1024 * 1024
"""A vocabulary of 262k entries with its scores makes 6.2 MiB, with half a million merges about 15 MiB."""
MAXIMUM_TENSORS = 200_000
MAXIMUM_KEYS = 10_000
MAXIMUM_NAME_BYTES = 1024
"""Of a key or a tensor. (The engine takes 63 bytes for a tensor.)"""
MAXIMUM_ARRAY_ITEMS = 16_000_000
MAXIMUM_TENSOR_VALUES = 1 << 48
MAXIMUM_OFFSET_BYTES = 1 << 50
MAXIMUM_ALIGNMENT_BYTES = 1 << 20
KEPT_TEXT_BYTES = 1024 * 1024
"""Longer texts stand in the metadata as their length; chat templates are a tenth of this."""
KEPT_TEXTS = 64
"""Longer arrays of texts (vocabularies, merges) stand in the metadata as their length."""
KEPT_NUMBERS = 4096
"""Longer arrays of numbers (scores, token types) stand in the metadata as their length."""
KEPT_IN_ALL = 4 * 1024 * 1024
"""Bytes of texts and arrays that are kept of one header; what comes after that stands as its length."""

_SCALARS: dict[int, struct.Struct] = {
    type_id: struct.Struct(code)
    for type_id, code in {
        0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
    }.items()
}  # fmt: skip
_U32, _U64 = _SCALARS[4], _SCALARS[10]
_STRING, _ARRAY = 8, 9
_SMALLEST_KEY_BYTES = 8 + 4 + 1
_SMALLEST_TENSOR_BYTES = 8 + 4 + 4 + 8
_FIRST_READ_BYTES = 8 * 1024 * 1024
_LEAST_STEP_BYTES = 1024 * 1024
_PART_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.gguf)", re.IGNORECASE)


class HeaderIncomplete(Exception):  # noqa: N818 - not an error: the beginning was simply too short
    """The bytes at hand end inside the header. Ask again with the first `needed_bytes` of the file."""

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(f"the first {needed_bytes} bytes are needed")
        self.needed_bytes = needed_bytes


def read_header(path: Path) -> GgufHeader:
    """Reads the header of one GGUF file.

    Raises: ModelFileError if the file is missing, unreadable, not GGUF or damaged; UnsupportedModelError for a version
    that this program does not know.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _not_gguf(path, "not a file")  # a pipe would be waited for
        with path.open("rb") as file:
            data = file.read(min(_FIRST_READ_BYTES, status.st_size))
            while True:
                try:
                    return parse_header(data, status.st_size, path)
                except HeaderIncomplete as incomplete:
                    wanted_bytes = min(max(incomplete.needed_bytes, 2 * len(data)), MAXIMUM_HEADER_BYTES)
                    more = file.read(wanted_bytes - len(data))
                    if not more:  # it became shorter while it was read
                        raise _damaged(path, "the file ends inside its header") from None
                    data += more
    except FileNotFoundError:
        raise ModelFileError(
            "The model file is not there.",
            "It may have been moved or deleted, or its drive is not connected. Choose it again or download it again.",
            str(path),
        ) from None
    except OSError as error:
        raise ModelFileError(
            "The model file cannot be read.",
            "Check that you may open it and that its drive is connected.",
            f"{path}: {error.strerror or error}",
        ) from None


def read_headers(path: Path) -> tuple[GgufHeader, ...]:
    """Reads the headers of all parts of a model, first one first; a model in one file is one part.

    `path` may be any of the parts; all have to lie in the same folder. Raises as `read_header`, and ModelFileError
    for a part that is missing or that belongs to another model.
    """
    paths = part_paths(path)
    missing = [part for part in paths if not part.exists()]
    if missing and len(missing) < len(paths):
        raise ModelFileError(
            f"The model is not complete: {len(missing)} of its {len(paths)} files {_is_or_are(missing)} missing.",
            "Put all its files into the same folder, or download the missing ones.",
            f"missing: {missing[0]}",
        )
    headers = tuple(read_header(part) for part in paths)
    check_parts(headers)
    return headers


def part_paths(path: Path) -> tuple[Path, ...]:
    """All files of a split model by the name of one (`…-00001-of-00003.gguf`), first one first; else just `path`."""
    match = _PART_NAME.fullmatch(path.name)
    if match is None or not 1 <= int(match["number"]) <= int(match["count"]):
        return (path,)
    count = int(match["count"])
    return tuple(
        path.with_name(f"{match['stem']}-{number:05}-of-{count:05}{match['ending']}") for number in range(1, count + 1)
    )


def check_parts(headers: tuple[GgufHeader, ...]) -> None:
    """Raises ModelFileError unless these are all parts of one model, in order, by what they say themselves."""
    names: set[str] = set()
    for number, header in enumerate(headers):
        said_count = header.whole_number("split.count") or 1
        said_number = header.whole_number("split.no") or 0
        if said_count != len(headers) or (said_count > 1 and said_number != number):
            raise ModelFileError(
                "These files do not belong together, or have been renamed.",
                "Download the model again, and keep the names of its files.",
                f"{header.path}: says it is part {said_number + 1} of {said_count}, "
                f"stands as part {number + 1} of {len(headers)}",
            )
        for tensor in header.tensors:
            if tensor.name in names:
                raise _damaged(header.path, f"tensor {tensor.name[:80]!r} is there twice")
            names.add(tensor.name)
    promised = headers[0].whole_number("split.tensors.count")
    if len(headers) > 1 and promised is not None and promised != len(names):
        raise _damaged(headers[0].path, f"its parts hold {len(names)} tensors instead of {promised}")


def parse_header(data: bytes, file_bytes: int, path: Path) -> GgufHeader:
    """The header of a file of `file_bytes` that begins with `data`; `path` is what errors and the result call it.

    Raises: HeaderIncomplete when `data` ends inside the header; ModelFileError and UnsupportedModelError like
    `read_header`. Time and memory grow with `data`, at most with MAXIMUM_HEADER_BYTES of it.
    """
    if file_bytes < 24 or data[:4] != MAGIC[: len(data)]:
        raise _not_gguf(path, f"{file_bytes} bytes, does not begin with GGUF")
    try:
        return _Parser(data, file_bytes).header(path)
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def check_complete(header: GgufHeader) -> None:
    """Raises ModelFileError when the file is shorter than its own tensor list says."""
    missing = header.expected_bytes - header.file_bytes
    if missing > 0:
        raise ModelFileError(
            "The model file is incomplete.",
            "The download was probably cut off. Download it again.",
            f"{header.path}: {header.file_bytes} bytes, at least {header.expected_bytes} expected ({missing} missing)",
        )


class _Parser:
    """Walks over the bytes once. Damage is a ValueError, the end of the bytes at hand a HeaderIncomplete."""

    def __init__(self, data: bytes, file_bytes: int) -> None:
        self._data = data
        self._file_bytes = file_bytes
        self._position = 4
        self._room_bytes = KEPT_IN_ALL

    def header(self, path: Path) -> GgufHeader:
        version = self._number(_U32)
        if version not in (2, 3):
            raise _unsupported_version(path, version)
        tensor_count, key_count = self._number(_U64), self._number(_U64)
        if (
            tensor_count > MAXIMUM_TENSORS
            or key_count > MAXIMUM_KEYS
            or tensor_count * _SMALLEST_TENSOR_BYTES + key_count * _SMALLEST_KEY_BYTES > self._file_bytes
        ):
            raise ValueError(f"it claims {tensor_count} tensors and {key_count} keys")
        metadata: dict[str, Value] = {}
        for _ in range(key_count):
            key = self._name()
            if key in metadata:
                raise ValueError(f"the key {key[:80]!r} is there twice")
            metadata[key] = self._value(self._number(_U32))
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not _is_alignment(alignment):
            raise ValueError("its alignment is not a sensible number")
        tensors = self._tensors(tensor_count, alignment)
        start = -(-self._position // alignment) * alignment
        return GgufHeader(path, version, metadata, tensors, start, self._file_bytes)

    def _reach(self, end: int) -> None:
        """Makes sure that the bytes up to `end` are at hand."""
        if end > len(self._data):
            self._ask_for(end)

    def _ask_for(self, end: int, likely_end: int = 0) -> NoReturn:
        at_hand = len(self._data)
        if end > self._file_bytes:
            raise ValueError("the file ends inside its header")
        if end > MAXIMUM_HEADER_BYTES:
            raise ValueError(f"its header is longer than {MAXIMUM_HEADER_BYTES // 1024**2} MiB")
        # A step that is not tiny, so that it takes few of them, and not a doubling: bytes may come over a network.
        step_end = at_hand + max(_LEAST_STEP_BYTES, at_hand // 4)
        raise HeaderIncomplete(min(max(end, likely_end, step_end), self._file_bytes, MAXIMUM_HEADER_BYTES))

    def _number(self, code: struct.Struct) -> int:
        return int(self._scalar(code))

    def _scalar(self, code: struct.Struct) -> int | float | bool:
        start = self._position
        self._reach(start + code.size)
        self._position = start + code.size
        value: int | float | bool = code.unpack_from(self._data, start)[0]
        return value

    def _skip(self, count: int) -> int:
        """Passes over `count` bytes and answers where they begin."""
        start = self._position
        self._reach(start + count)
        self._position = start + count
        return start

    def _name(self) -> str:
        length = self._number(_U64)
        if length > MAXIMUM_NAME_BYTES:
            raise ValueError("a name in the header is too long")
        start = self._skip(length)
        return self._data[start : start + length].decode("utf-8", "replace")

    def _text(self) -> str | ArrayLength:
        length = self._number(_U64)
        start = self._skip(length)
        if not self._keeps(length, KEPT_TEXT_BYTES):
            return ArrayLength(length)
        return self._data[start : start + length].decode("utf-8", "replace")

    def _keeps(self, size: int, limit: int) -> bool:
        if size > limit or size > self._room_bytes:
            return False
        self._room_bytes -= size
        return True

    def _value(self, type_id: int) -> Value:
        if type_id == _STRING:
            return self._text()
        if type_id == _ARRAY:
            return self._array()
        code = _SCALARS.get(type_id)
        if code is None:
            raise ValueError(f"a metadata value has the unknown type {type_id}")
        return self._scalar(code)

    def _array(self) -> Value:
        type_id, items = self._number(_U32), self._number(_U64)
        if items > MAXIMUM_ARRAY_ITEMS or type_id == _ARRAY:
            raise ValueError("an array in the header is too long or nested")
        if type_id == _STRING:
            return self._texts(items)
        code = _SCALARS.get(type_id)
        if code is None:
            raise ValueError(f"a metadata array has the unknown type {type_id}")
        start = self._skip(code.size * items)
        # A number is an object of some 32 bytes, whatever it takes in the file.
        if items > KEPT_NUMBERS or not self._keeps(32 * items, KEPT_IN_ALL):
            return ArrayLength(items)
        values: tuple[Scalar, ...] = struct.unpack_from(f"<{items}{code.format[-1:]}", self._data, start)
        return values

    def _texts(self, items: int) -> Value:
        start = self._position
        self._reach(start + 8 * items)
        self._skip_texts(items)
        if items > KEPT_TEXTS or not self._keeps(self._position - start, KEPT_TEXT_BYTES):
            return ArrayLength(items)
        end, self._position = self._position, start
        texts: list[Scalar] = []
        for _ in range(items):
            length = self._number(_U64)
            begin = self._skip(length)
            texts.append(self._data[begin : begin + length].decode("utf-8", "replace"))
        assert self._position == end
        return tuple(texts)

    def _skip_texts(self, items: int) -> None:
        """A vocabulary: this loop is where a header's reading time goes, so it does nothing but hop."""
        data, length_at, position = self._data, _U64.unpack_from, self._position
        done = 0
        try:
            for done in range(items):  # noqa: B007 - how far it came is what the handler wants to know
                position += 8 + length_at(data, position)[0]
        except (struct.error, OverflowError, IndexError):
            # The hop before went beyond what is at hand, or beyond anything.
            average_bytes = (min(position, len(data)) - self._position) / max(done, 1)
            self._ask_for(position + 8, int(position + average_bytes * (items - done)))
        self._reach(position)
        self._position = position

    def _tensors(self, count: int, alignment: int) -> tuple[TensorInfo, ...]:
        """The tensor list; like the engine it wants the data in the list's order, aligned, one after the other."""
        tensors: list[TensorInfo] = []
        names: set[str] = set()
        free_from = 0
        for _ in range(count):
            tensor = self._tensor()
            if tensor.name in names:
                raise ValueError(f"tensor {tensor.name[:80]!r} is there twice")
            offset = tensor.offset_bytes
            if offset % alignment or offset < free_from or offset > MAXIMUM_OFFSET_BYTES:
                raise ValueError(f"tensor {tensor.name[:80]!r} lies at the impossible place {offset}")
            names.add(tensor.name)
            tensors.append(tensor)
            free_from = offset + (tensor.size_bytes or 0)
        return tuple(tensors)

    def _tensor(self) -> TensorInfo:
        name = self._name()
        dimensions = self._number(_U32)
        if dimensions > 4:
            raise ValueError(f"tensor {name[:80]!r} has {dimensions} dimensions")
        start = self._skip(8 * dimensions)
        shape: tuple[int, ...] = struct.unpack_from(f"<{dimensions}Q", self._data, start)
        values = 1
        for size in shape:
            values *= size
            if size > MAXIMUM_TENSOR_VALUES or values > MAXIMUM_TENSOR_VALUES:
                raise ValueError(f"tensor {name[:80]!r} has impossible dimensions")
        type_id, offset = self._number(_U32), self._number(_U64)
        return TensorInfo(name, shape, type_id, offset, _tensor_bytes(name, shape, values, type_id))


def _tensor_bytes(name: str, shape: tuple[int, ...], values: int, type_id: int) -> int | None:
    known = TYPES.get(type_id)
    if known is None:
        return None
    _, block_values, block_bytes = known
    if (shape[0] if shape else 1) % block_values:
        raise ValueError(f"the rows of tensor {name[:80]!r} are not whole blocks")
    return values // block_values * block_bytes


def _is_alignment(number: int) -> bool:
    return 0 < number <= MAXIMUM_ALIGNMENT_BYTES and number & (number - 1) == 0


def _is_or_are(things: list[Path]) -> str:
    return "is" if len(things) == 1 else "are"


def _unsupported_version(path: Path, version: int) -> UnsupportedModelError:
    if version & 0xFFFF == 0:
        return UnsupportedModelError(
            "This GGUF file was made for computers with another byte order (big-endian).",
            "Look for a usual build of this model.",
            f"{path}: version bytes {version:#010x}",
        )
    return UnsupportedModelError(
        "This GGUF file has a version that Snug cannot read.",
        "Look for a newer build of this model, or for a newer Snug.",
        f"{path}: GGUF version {version}",
    )


def _not_gguf(path: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        "This file is not a GGUF model.",
        "Snug opens models in the GGUF format. If it was downloaded, download it again.",
        f"{path}: {reason}",
    )


def _damaged(path: Path, reason: str) -> ModelFileError:
    return ModelFileError("The model file is damaged.", "Download it again.", f"{path}: {reason}")
