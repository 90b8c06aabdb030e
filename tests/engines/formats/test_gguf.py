"""The GGUF header reader: sound files, every kind of damage, hostile headers. No weights are read."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from engines.errors import EngineError, ModelFileError, UnsupportedModelError
from engines.formats.gguf import ArrayLength, check_complete, read_header

TINY = Path(__file__).parents[2] / "data" / "tiny_models"


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def gguf(*, version: int = 3, tensors: int = 0, keys: int = 1, body: bytes = b"") -> bytes:
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
        read_header(write(tmp_path, gguf(version=4)))


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
    path = write(tmp_path, gguf(keys=2, body=body))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="damaged"):
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_absurd_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="damaged"):
        read_header(write(tmp_path, gguf(tensors=1 << 40)))


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
