"""The GGUF header reader: sound files, every kind of damage, hostile headers. No weights are read."""

from __future__ import annotations

import os
import random
import struct
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from engines.errors import EngineError, ModelFileError, UnsupportedModelError
from engines.formats import gguf
from engines.formats.gguf import (
    ArrayLength,
    HeaderIncomplete,
    check_complete,
    parse_header,
    part_paths,
    read_header,
    read_headers,
)
from engines.formats.sparse import write_sparse
from tests.soak.mutations import Tally, tiny_seeds
from tests.support import gguf_writer
from tests.support.gguf_writer import Typed

TINY = Path(__file__).parents[2] / "data" / "tiny_models"


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def small(*, version: int = 3, tensors: int = 0, keys: int = 1, body: bytes = b"") -> bytes:
    architecture = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + architecture + body + bytes(64)


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "模型 model.gguf"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("path", sorted(TINY.glob("*.gguf")), ids=lambda path: path.stem)
def test_sizes_of_real_files_add_up_to_the_file(path: Path) -> None:
    header = read_header(path)
    check_complete(header)
    assert header.tensors
    assert 0 <= header.file_bytes - header.expected_bytes < 64
    assert header.number("context_length")
    assert isinstance(header.metadata["tokenizer.ggml.tokens"], ArrayLength)


@pytest.mark.model
def test_the_starter_model_is_whole(smollm2_path: Path) -> None:
    header = read_header(smollm2_path)
    assert (header.architecture, header.number("context_length")) == ("llama", 8192)
    assert header.expected_bytes == header.file_bytes


@pytest.mark.parametrize("kept_bytes", [0, 3, 4, 23, 24, 200, 4000])
def test_a_file_cut_off_inside_its_header_is_damaged(tmp_path: Path, kept_bytes: int) -> None:
    whole = (TINY / "qwen3.gguf").read_bytes()
    with pytest.raises(ModelFileError) as caught:
        read_header(write(tmp_path, whole[:kept_bytes]))
    assert caught.value.title in ("The model file is damaged.", "This file is not a GGUF model.")
    assert "ownload" in caught.value.advice


def test_a_file_cut_off_inside_its_weights_is_incomplete(tmp_path: Path) -> None:
    whole = (TINY / "qwen3.gguf").read_bytes()
    header = read_header(write(tmp_path, whole[:-1000]))
    with pytest.raises(ModelFileError, match="incomplete") as caught:
        check_complete(header)
    assert "missing" in caught.value.details


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not there"):
        read_header(tmp_path / "gone.gguf")


def test_a_folder_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        read_header(tmp_path)


def test_another_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not a GGUF"):
        read_header(write(tmp_path, b"PK\x03\x04" + bytes(100)))


def test_an_unknown_version_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError):
        read_header(write(tmp_path, small(version=4)))


@pytest.mark.parametrize(
    "body",
    [
        text("k") + struct.pack("<I", 8) + struct.pack("<Q", 1 << 62),  # a text of 4 exabytes
        text("k") + struct.pack("<IIQ", 9, 4, 1 << 60),  # an array that no memory holds
        text("k") + struct.pack("<IIQ", 9, 9, 3),  # an array of arrays
        text("k") + struct.pack("<I", 77),  # an unknown type
    ],
)
def test_hostile_headers_cost_no_memory(tmp_path: Path, body: bytes) -> None:
    path = write(tmp_path, small(keys=2, body=body))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="damaged"):
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_absurd_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="damaged"):
        read_header(write(tmp_path, small(tensors=1 << 40)))


def test_random_damage_gives_an_answer_or_an_engine_error(tmp_path: Path) -> None:
    whole = bytearray((TINY / "qwen3.gguf").read_bytes()[:40_000])
    chance = random.Random(5)
    path = tmp_path / "damaged.gguf"
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 12)):
            damaged[chance.randrange(len(damaged) if chance.random() < 0.3 else 2000)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            check_complete(read_header(path))
            outcomes.add("read")
        except EngineError as error:
            outcomes.add(type(error).__name__)
    assert "ModelFileError" in outcomes


@pytest.mark.model
def test_a_real_header_of_262k_tokens_is_read_in_a_blink(gemma3_path: Path) -> None:
    """The whole judgement may take 200 ms; 30 ms are usual here."""
    times = []
    for _ in range(5):
        started = time.process_time()
        header = read_header(gemma3_path)
        times.append(time.process_time() - started)
    assert header.expected_bytes == header.file_bytes and header.data_start_bytes > 6_000_000
    assert min(times) < 0.15


# ------------------------------------------------------------------------------------------- values and limits


def written(
    tmp_path: Path, metadata: dict[str, object], tensors: list[gguf_writer.Tensor] | None = None
) -> gguf.GgufHeader:
    """What our reader makes of a header that the tests' own writer wrote."""
    path = tmp_path / "written.gguf"
    write_sparse(*gguf_writer.header({"general.architecture": "llama", **metadata}, tensors or []), path)
    return read_header(path)


def test_every_kind_of_value_comes_back(tmp_path: Path) -> None:
    metadata: dict[str, object] = {
        "u8": Typed(0, "B", 200), "i8": Typed(1, "b", -7), "u16": Typed(2, "H", 60_000), "i16": Typed(3, "h", -3),
        "u32": 7, "i32": -5, "f32": 0.5, "bool": True, "text": "模型", "empty": "", "u64": Typed(10, "Q", 1 << 63),
        "i64": Typed(11, "q", -(1 << 63)), "f64": Typed(12, "d", 1e300), "bools": [True, False, True],
        "texts": ["a", "", "c"], "numbers": Typed(5, "i", [3, -1, 2]), "none": [],
    }  # fmt: skip
    found = written(tmp_path, metadata).metadata
    expected = {key: item.value if isinstance(item, Typed) else item for key, item in metadata.items()}
    for key, value in expected.items():
        assert found[key] == (tuple(value) if isinstance(value, list) else value), key
    bools = found["bools"]
    assert isinstance(bools, tuple) and all(type(item) is bool for item in bools)


def test_numbers_are_kept_up_to_4096_and_texts_up_to_64(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        {
            "n4096": Typed(5, "i", range(4096)), "n4097": Typed(5, "i", range(4097)),
            "t64": ["a"] * 64, "t65": ["a"] * 65, "long": "x" * (gguf.KEPT_TEXT_BYTES + 1),
        },
    ).metadata  # fmt: skip
    assert found["n4096"] == tuple(range(4096)) and found["t64"] == ("a",) * 64
    assert (found["n4097"], found["t65"]) == (ArrayLength(4097), ArrayLength(65))
    assert found["long"] == ArrayLength(gguf.KEPT_TEXT_BYTES + 1)


DAMAGES: dict[str, tuple[dict[str, object], list[gguf_writer.Tensor], str]] = {
    "a name twice": ({}, [("a", (32,), 0), ("a", (32,), 0)], "'a' is there twice"),
    "a gap of half a block": ({}, [("a", (100,), 12)], "whole blocks"),
    "too many values": ({}, [("a", (1 << 40, 1 << 40), 24)], "impossible dimensions"),
    "too many values in turn": ({}, [("a", (1 << 20, 1 << 20, 1 << 20), 24)], "impossible dimensions"),
    "negative": ({}, [("a", ((1 << 64) - 32,), 24)], "impossible dimensions"),
    "five dimensions": ({}, [("a", (1, 1, 1, 1, 1), 0)], "5 dimensions"),
    "alignment of a third": ({"general.alignment": 33}, [], "alignment"),
    "alignment of nothing": ({"general.alignment": Typed(4, "I", 0)}, [], "alignment"),
    "alignment of a gigabyte": ({"general.alignment": 1 << 30}, [], "alignment"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_senseless_header_is_damaged_and_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str
) -> None:
    metadata, tensors, words = DAMAGES[damage]
    monkeypatch.setitem(gguf_writer.BLOCKS, 24, (1, 0))  # the writer has to count to nothing sensible
    if metadata:
        monkeypatch.setattr(gguf_writer, "tensor_bytes", lambda _shape, _type: 0)
        parts = gguf_writer.text("general.alignment") + gguf_writer.value(metadata["general.alignment"])
        data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + parts
    else:
        data, _ = gguf_writer.header({}, tensors)
    with pytest.raises(ModelFileError, match="damaged") as caught:
        read_header(write(tmp_path, data))
    assert words in caught.value.details


def test_a_key_twice_is_damaged(tmp_path: Path) -> None:
    body = text("general.architecture") + gguf_writer.value("qwen3")
    with pytest.raises(ModelFileError) as caught:
        read_header(write(tmp_path, small(keys=2, body=body)))
    assert "'general.architecture' is there twice" in caught.value.details


@pytest.mark.parametrize("offset", [16, 33, 64, 1 << 60, (1 << 64) - 32])
def test_tensors_lie_aligned_in_order_and_not_on_each_other(tmp_path: Path, offset: int) -> None:
    data, length = gguf_writer.header({}, [("a", (32,), 0), ("b", (32,), 0)])
    (expected,) = struct.unpack("<Q", data[data.index(b"b", 30) + 17 :][:8])
    place = data.index(b"b", 30) + 1 + 4 + 8 + 4
    assert expected == 128
    moved = data[:place] + struct.pack("<Q", offset) + data[place + 8 :]
    with pytest.raises(ModelFileError) as caught:
        parse_header(moved, length, Path("moved"))
    assert "impossible place" in caught.value.details


def test_a_type_from_the_future_has_no_size_and_is_no_damage(tmp_path: Path) -> None:
    data, _ = gguf_writer.header({}, [("a", (32,), 0)])
    place = data.index(b"a", 24) + 1 + 4 + 8
    (tensor,) = read_header(write(tmp_path, data[:place] + struct.pack("<I", 99) + data[place + 4 :])).tensors
    assert (tensor.type_id, tensor.size_bytes) == (99, None)


def test_a_file_for_other_computers_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="byte order"):
        read_header(write(tmp_path, b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(64)))


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe is no file there")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match="not a GGUF"):
        read_header(path)


# ------------------------------------------------------------------------------------------ the first bytes only


def test_the_first_bytes_say_how_many_more_are_needed(tmp_path: Path) -> None:
    data, file_bytes = gguf_writer.header(*gguf_writer.model(layers=4, width=256, vocabulary_size=150_000))
    at_hand, asked = 64 * 1024, 0
    while True:
        try:
            header = parse_header(data[:at_hand], file_bytes, Path("far.gguf"))
            break
        except HeaderIncomplete as incomplete:
            assert at_hand < incomplete.needed_bytes <= file_bytes
            at_hand, asked = incomplete.needed_bytes, asked + 1
    assert asked < 10 and at_hand < 1.5 * len(data)
    path = tmp_path / "near.gguf"
    write_sparse(data, file_bytes, path)
    near = read_header(path)
    assert (near.metadata, near.tensors, near.expected_bytes) == (header.metadata, header.tensors, file_bytes)


@pytest.mark.parametrize("path", sorted(TINY.glob("*.gguf")), ids=lambda path: path.stem)
def test_every_beginning_asks_for_more_and_no_more_than_there_is(path: Path) -> None:
    whole = read_header(path)
    data = path.read_bytes()[: whole.data_start_bytes]
    for at_hand in [*range(40), *range(40, len(data) - 100, 997), len(data) - 100]:
        with pytest.raises(HeaderIncomplete) as caught:
            parse_header(data[:at_hand], whole.file_bytes, path)
        assert at_hand < caught.value.needed_bytes <= whole.file_bytes
    assert parse_header(data, whole.file_bytes, path) == whole


# ---------------------------------------------------------------------------------------------------------- parts


def write_parts(folder: Path, parts: int = 3) -> list[Path]:
    metadata, tensors = gguf_writer.model(layers=4, width=256, vocabulary_size=100)
    paths = [folder / f"m-{number:05}-of-{parts:05}.gguf" for number in range(1, parts + 1)]
    for path, (data, length) in zip(paths, gguf_writer.split(metadata, tensors, parts), strict=True):
        write_sparse(data, length, path)
    return paths


def test_parts_are_found_from_any_of_them(tmp_path: Path) -> None:
    paths = write_parts(tmp_path)
    for path in paths:
        headers = read_headers(path)
        assert [header.path for header in headers] == paths
    names = [tensor.name for header in headers for tensor in header.tensors]
    assert headers[0].architecture == "qwen3" and len(names) == len(set(names)) == 4 * 9 + 3
    assert part_paths(tmp_path / "m.gguf") == (tmp_path / "m.gguf",)
    assert part_paths(tmp_path / "m-00004-of-00003.gguf") == (tmp_path / "m-00004-of-00003.gguf",)
    assert len(read_headers(TINY / "qwen3.gguf")) == 1


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    paths = write_parts(tmp_path)
    paths[1].unlink()
    with pytest.raises(ModelFileError, match="1 of its 3 files is missing") as caught:
        read_headers(paths[0])
    assert paths[1].name in caught.value.details
    for path in (paths[0], paths[2]):
        path.unlink()
    with pytest.raises(ModelFileError, match="not there"):
        read_headers(paths[0])


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    paths = write_parts(tmp_path)
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(paths[0].read_bytes())
    with pytest.raises(ModelFileError, match="renamed"):
        read_headers(renamed)
    first, second = paths[0].read_bytes(), paths[1].read_bytes()
    paths[0].write_bytes(second)
    paths[1].write_bytes(first)
    with pytest.raises(ModelFileError, match="do not belong together"):
        read_headers(paths[0])


def test_a_tensor_in_two_parts_or_in_none_is_damage(tmp_path: Path) -> None:
    said = [{"split.no": Typed(2, "H", n), "split.count": Typed(2, "H", 2)} for n in (0, 1)]
    count: dict[str, object] = {"split.tensors.count": 3}
    paths = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for names, words in ((("a", "a"), "'a' is there twice"), (("a", "b"), "2 tensors instead of 3")):
        for path, keys, name in zip(paths, said, names, strict=True):
            write_sparse(*gguf_writer.header({**keys, **count}, [(name, (32,), 0)]), path)
        with pytest.raises(ModelFileError) as caught:
            read_headers(paths[0])
        assert words in caught.value.details


# ------------------------------------------------------------------------------------------------ hostile headers


def counts(tensors: int, keys: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys)


def empty_texts() -> bytes:
    items = (gguf.MAXIMUM_HEADER_BYTES - 1000) // 8
    return counts(0, 1) + text("k") + struct.pack("<IIQ", 9, 8, items) + bytes(8 * items)


def many_tensors() -> bytes:
    tensors = [struct.pack("<Q6sIIQ", 6, b"%06x" % number, 0, 24, 32 * number) for number in range(200_000)]
    return counts(200_000, 0) + b"".join(tensors)


def many_arrays() -> bytes:
    array = struct.pack("<IIQ", 9, 4, 4096) + os.urandom(4 * 4096)
    return counts(0, 1900) + b"".join(text(f"{number:04}") + array for number in range(1900))


def many_texts() -> bytes:
    value = struct.pack("<I", 8) + text("x" * 900_000)
    return counts(0, 35) + b"".join(text(f"{number:04}") + value for number in range(35))


@pytest.mark.slow
@pytest.mark.parametrize("make", [empty_texts, many_tensors, many_arrays, many_texts])
def test_the_worst_headers_that_are_allowed_stay_bounded(make: object) -> None:
    """Not damaged, only made to be as slow and large as possible: seconds and megabytes, not minutes and gigabytes."""
    assert callable(make)
    data = make() + bytes(64)
    assert len(data) < gguf.MAXIMUM_HEADER_BYTES + 64
    started = time.process_time()
    header = parse_header(data, 1 << 40, Path("worst"))
    assert time.process_time() - started < 10
    assert header.metadata or len(header.tensors) == 200_000
    del header
    tracemalloc.start()
    try:
        parse_header(data, 1 << 40, Path("worst"))
        assert tracemalloc.get_traced_memory()[1] < (100_000_000 if make is many_tensors else 12_000_000)
    finally:
        tracemalloc.stop()


def test_a_header_that_never_ends_is_given_up() -> None:
    data = counts(0, 1) + text("k") + struct.pack("<IIQ", 9, 4, 15_000_000)
    with pytest.raises(ModelFileError) as caught:
        parse_header(data, 1 << 40, Path("endless"))
    assert "longer than 32 MiB" in caught.value.details


def test_three_thousand_damaged_headers_give_an_answer_or_an_error() -> None:
    """More of the same, and longer, in the soak: python -m tests.soak headers."""
    seeds = tiny_seeds()
    tally = Tally()
    outcomes = Counter(tally.run(seeds, number, measure=number % 20 == 0) for number in range(1_000_000, 1_003_000))
    assert outcomes["damaged"] > 1000 and outcomes["read"] > 50 and outcomes["incomplete"] > 50
    assert tally.measured == 150 and tally.slowest_s < 2
