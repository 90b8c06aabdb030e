"""The safetensors header reader: sound files, the format's rules, hostile headers."""

from __future__ import annotations

import json
import os
import struct
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from engines.errors import ModelFileError
from engines.formats import safetensors
from engines.formats.gguf import HeaderIncomplete
from engines.formats.safetensors import StoredTensor, parse_header, read_header
from engines.formats.sparse import write_sparse
from tests.support.safetensors_writer import header, raw

SOUND: dict[str, object] = {
    "__metadata__": {"format": "mlx"},
    "b.weight": {"dtype": "U32", "shape": [8, 4], "data_offsets": [16, 144]},
    "a.scales": {"dtype": "BF16", "shape": [8], "data_offsets": [0, 16]},
    "empty": {"dtype": "F32", "shape": [0], "data_offsets": [144, 144]},
    "scalar": {"dtype": "F32", "shape": [], "data_offsets": [144, 148]},
}


def test_a_sound_file_is_read_in_the_order_of_its_data(tmp_path: Path) -> None:
    data = header(SOUND)
    path = tmp_path / "模型.safetensors"
    path.write_bytes(data + bytes(148))
    found = read_header(path)
    assert found.tensors == (
        StoredTensor("a.scales", "BF16", (8,), 16),
        StoredTensor("b.weight", "U32", (8, 4), 128),
        StoredTensor("empty", "F32", (0,), 0),
        StoredTensor("scalar", "F32", (), 4),
    )
    assert found.metadata == {"format": "mlx"}
    assert (found.header_bytes, found.file_bytes) == (len(data), len(data) + 148)


def test_metadata_of_nothing_is_what_mlx_writes_by_itself() -> None:
    data = header({**SOUND, "__metadata__": None})
    assert parse_header(data, len(data) + 148, Path("plain")).metadata == {}


def test_the_padding_of_a_header_is_allowed() -> None:
    data = raw(json.dumps(SOUND).encode() + b"   ")
    assert len(parse_header(data, len(data) + 148, Path("padded")).tensors) == 4


def test_the_first_bytes_say_how_many_are_needed(tmp_path: Path) -> None:
    data = header(SOUND)
    for at_hand in range(len(data)):
        with pytest.raises(HeaderIncomplete) as caught:
            parse_header(data[:at_hand], len(data) + 148, Path("far"))
        assert caught.value.needed_bytes == (8 if at_hand < 8 else len(data))
    path = tmp_path / "near.safetensors"
    write_sparse(data, len(data) + 148, path)
    assert read_header(path) == parse_header(data, len(data) + 148, path)


def test_half_bytes_are_counted_and_unknown_types_taken_as_they_say() -> None:
    entries = {
        "four": {"dtype": "F4", "shape": [6], "data_offsets": [0, 3]},
        "six": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [3, 6]},
        "new": {"dtype": "F7_FUTURE", "shape": [4], "data_offsets": [6, 99]},
    }
    data = header(entries)
    sizes = [tensor.size_bytes for tensor in parse_header(data, len(data) + 99, Path("x")).tensors]
    assert sizes == [3, 3, 93]


def one(**changes: object) -> dict[str, object]:
    return {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changes}}


DAMAGES: dict[str, object] = {
    "of null": {"a": None},
    "of another size": one(dtype="F16"),
    "with a gap before": one(data_offsets=[4, 20]),
    "backwards": one(data_offsets=[16, 0]),
    "with negative places": one(data_offsets=[-16, 0]),
    "with negative dimensions": one(shape=[-4]),
    "with impossible dimensions": one(shape=[1 << 48, 1 << 48]),
    "with huge numbers": one(shape=[10**30]),
    "with fractions": one(shape=[4.5]),
    "with no place": {"a": {"dtype": "F32", "shape": [4]}},
    "of seventeen dimensions": one(shape=[1] * 17),
    "too short for the file": one(shape=[2], data_offsets=[0, 8]),
    "not a tensor": {"a": 5},
    "on each other": {**one(), "b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
    "metadata of numbers": {**one(), "__metadata__": {"a": 1}},
    "a name twice": b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    b'"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
    "no JSON": b"{not json}",
    "deep": b"{" + b'"a":{' * 100_000,
    "not text": b'{"\xff\xfe":1}',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_an_error(damage: str) -> None:
    what = DAMAGES[damage]
    data = raw(what) if isinstance(what, bytes) else header(what)
    with pytest.raises(ModelFileError, match="damaged") as caught:
        parse_header(data, len(data) + 16, Path("damaged"))
    assert len(caught.value.details) < 1000


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04" + bytes(100), struct.pack("<Q", 1 << 63) + b"{", b"\0" * 50])
def test_another_format_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="not a safetensors"):
        read_header(path)


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not there"):
        read_header(tmp_path / "gone.safetensors")
    with pytest.raises(ModelFileError):
        read_header(tmp_path)
    path = tmp_path / "cut.safetensors"
    path.write_bytes(header(SOUND)[:-5])
    with pytest.raises(ModelFileError, match="incomplete"):
        read_header(path)
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.safetensors")
        with pytest.raises(ModelFileError, match="not a safetensors"):
            read_header(tmp_path / "pipe.safetensors")


HUGE = 6_000_000
HOSTILE = {
    "objects": b'{"a":{' + b"}," * HUGE,
    "keys": b'{"a":1' + b"".join(b',"%x":""' % number for number in range(1_200_000)) + b"}",
    "items": b'{"a":{"shape":[' + b"1," * HUGE + b"1]}}",
    "lists": b'{"a":' + b"[" * HUGE + b"}",
    "metadata": b'{"__metadata__":{' + b'"a":"",' * 1_200_000 + b'"a":""}}',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_headers_are_refused_before_they_cost_anything(kind: str) -> None:
    data = raw(HOSTILE[kind])
    started = time.process_time()
    with pytest.raises(ModelFileError, match="damaged"):
        parse_header(data, len(data) + 16, Path("hostile"))
    assert time.process_time() - started < 5
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            parse_header(data, len(data) + 16, Path("hostile"))
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + 1_000_000
    finally:
        tracemalloc.stop()


def test_a_header_beyond_the_limit_is_not_even_asked_for() -> None:
    data = struct.pack("<Q", safetensors.MAXIMUM_HEADER_BYTES) + b"{"
    with pytest.raises(ModelFileError, match="not a safetensors"):
        parse_header(data, 1 << 40, Path("long"))
