"""Damaged and hostile headers: what they are made from, how they are damaged, and what must hold for each.

Used by the suite (some thousand) and by the soak `headers` (at least 100,000). Everything follows from a seed number,
so that a case that is reported can be made again.
"""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.errors import ModelFileError, UnsupportedModelError
from engines.formats import gguf, safetensors
from tests.support import gguf_writer, safetensors_writer

TINY = Path(__file__).parents[1] / "data" / "tiny_models"
KEPT_BYTES = 8 * 1024 * 1024
"""What may be held per case beside a small multiple of the header itself (see `memory_limit_bytes`)."""

Outcome = Literal["read", "incomplete", "damaged", "unsupported"]

INTERESTING = [0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, 1 << 60, (1 << 63) - 1]
INTERESTING += [1 << 63, (1 << 64) - 1, (1 << 64) - 8, 16_000_000, 200_000, 10_000]


@dataclass(frozen=True)
class Seed:
    """A sound header, and the length of the file that it begins."""

    name: str
    data: bytes
    file_bytes: int
    parse: Callable[[bytes, int, Path], object]


def gguf_seed(path: Path) -> Seed:
    """The header of a file as it is."""
    header = gguf.read_header(path)
    with path.open("rb") as file:
        return Seed(path.stem, file.read(header.data_start_bytes), header.file_bytes, gguf.parse_header)


def shrunk_seed(path: Path, vocabulary_size: int = 200) -> Seed:
    """The same keys and tensors, written anew with a small vocabulary, so that a case takes no time."""
    header = gguf.read_header(path)
    small = gguf_writer.vocabulary(vocabulary_size)
    metadata: dict[str, object] = {}
    for key, value in header.metadata.items():
        metadata[key] = small.get(key, [1] * 100) if isinstance(value, gguf.ArrayLength) else value
    tensors = [(tensor.name, tensor.shape, 0) for tensor in header.tensors]
    data, file_bytes = gguf_writer.header(metadata, tensors)
    return Seed(f"{path.stem} with a small vocabulary", data, file_bytes, gguf.parse_header)


def part_seed() -> Seed:
    """A later part of a split model, with an alignment of its own."""
    metadata, tensors = gguf_writer.model(layers=6, width=256, vocabulary_size=300)
    data, file_bytes = gguf_writer.split({**metadata, "general.alignment": 64}, tensors, 3)[0]
    return Seed("first of three parts", data, file_bytes, gguf.parse_header)


def safetensors_seed(tensor_count: int = 120) -> Seed:
    """A shard as MLX writes it."""
    names = [f"model.layers.{number // 2}.mlp.up.{('weight', 'scales')[number % 2]}" for number in range(tensor_count)]
    data, file_bytes = safetensors_writer.sound({name: ("U32", [64, 16], 4096) for name in names})
    return Seed("safetensors", data, file_bytes, safetensors.parse_header)


def tiny_seeds() -> list[Seed]:
    return [gguf_seed(path) for path in sorted(TINY.glob("*.gguf"))] + [part_seed(), safetensors_seed()]


def mutate(seed: Seed, others: list[Seed], chance: random.Random) -> tuple[bytes, int]:
    """One damaged header and the length of the file that it is said to begin."""
    data = bytearray(seed.data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _damage(data, others, chance)
    file_bytes = seed.file_bytes
    match chance.randrange(10):
        case 0:
            file_bytes = len(data)
        case 1:
            file_bytes = chance.choice([*INTERESTING, chance.randrange(file_bytes + 1)])
        case 2:
            del data[chance.randrange(len(data) + 1) :]  # only its beginning is at hand
        case _:
            pass
    return bytes(data), file_bytes


def _damage(data: bytearray, others: list[Seed], chance: random.Random) -> None:
    size = len(data)
    if size < 32:
        return
    # Half of the damage goes where counts and lengths are dense: the first 2,000 bytes.
    place = chance.randrange(min(size, 2000)) if chance.random() < 0.5 else chance.randrange(size)
    length = min(chance.choice((1, 4, 8, 16, 100, 3000)), size - place)
    match chance.randrange(9):
        case 0:  # bits
            for _ in range(chance.randint(1, 12)):
                data[chance.randrange(size)] ^= 1 << chance.randrange(8)
        case 1:  # bytes
            for index in range(place, place + min(length, 16)):
                data[index] = chance.randrange(256)
        case 2:  # cut
            del data[place:]
        case 3:  # taken out
            del data[place : place + length]
        case 4:  # twice: also keys and tensors
            data[place:place] = data[place : place + length]
        case 5:  # from elsewhere, over what is there
            start = chance.randrange(size)
            data[place : place + length] = data[start : start + length]
        case 6:  # from another header, between what is there
            other = chance.choice(others).data
            start = chance.randrange(len(other))
            data[place:place] = other[start : start + length]
        case 7:  # counts and sizes that are huge, negative, or just at a limit
            number = struct.pack("<Q", chance.choice(INTERESTING) & 0xFFFFFFFFFFFFFFFF)[: chance.choice((4, 8))]
            data[place : place + len(number)] = number
        case _:  # the two counts at the front, and the first length after them
            place = chance.choice((8, 16, 24))
            data[place : place + 8] = struct.pack("<Q", chance.choice(INTERESTING) & 0xFFFFFFFFFFFFFFFF)


def outcome_of(seed: Seed, data: bytes, file_bytes: int) -> Outcome:
    """What reading gave. Any other exception than the promised ones, and any senseless answer, raises."""
    try:
        header = seed.parse(data, file_bytes, Path("mutated"))
    except gguf.HeaderIncomplete as incomplete:
        assert len(data) < incomplete.needed_bytes <= min(file_bytes, gguf.MAXIMUM_HEADER_BYTES)
        return "incomplete"
    except ModelFileError as error:
        assert error.title and error.advice and len(error.details) < 2000
        return "damaged"
    except UnsupportedModelError as error:
        assert error.title and error.advice and len(error.details) < 2000
        return "unsupported"
    if isinstance(header, gguf.GgufHeader):
        check_gguf(header, len(data))
    else:
        assert isinstance(header, safetensors.SafetensorsHeader)
        assert header.header_bytes + sum(tensor.size_bytes for tensor in header.tensors) == file_bytes
    return "read"


def check_gguf(header: gguf.GgufHeader, at_hand: int) -> None:
    """What may be relied on of whatever was read."""
    assert len({tensor.name for tensor in header.tensors}) == len(header.tensors) <= gguf.MAXIMUM_TENSORS
    end = 0
    for tensor in header.tensors:
        assert tensor.offset_bytes >= end and all(0 <= size <= gguf.MAXIMUM_TENSOR_VALUES for size in tensor.shape)
        end = tensor.offset_bytes + (tensor.size_bytes or 0)
    assert 0 < header.data_start_bytes <= at_hand + gguf.MAXIMUM_ALIGNMENT_BYTES
    assert header.data_start_bytes <= header.expected_bytes < 1 << 60


def memory_limit_bytes(data: bytes) -> int:
    return 40 * len(data) + KEPT_BYTES


@dataclass
class Tally:
    """What came of many cases."""

    cases: int = 0
    slowest_s: float = 0.0
    slowest: str = ""
    largest_bytes: int = 0
    largest: str = ""
    measured: int = 0

    def run(self, seeds: list[Seed], number: int, *, measure: bool) -> Outcome:
        """Makes and reads case `number`; `measure` also watches its memory, which makes it slow."""
        chance = random.Random(number)
        seed = seeds[number % len(seeds)]
        data, file_bytes = mutate(seed, seeds, chance)
        label = f"case {number} ({seed.name}, {len(data)} bytes)"
        if measure:
            tracemalloc.start()
        started = time.thread_time()
        try:
            outcome = outcome_of(seed, data, file_bytes)
        except Exception as error:
            error.add_note(label)
            raise
        finally:
            seconds = time.thread_time() - started
            peak_bytes = tracemalloc.get_traced_memory()[1] if measure else 0
            if measure:
                tracemalloc.stop()
        self.cases += 1
        if measure:
            self.measured += 1
            assert peak_bytes < memory_limit_bytes(data), f"{label} took {peak_bytes} bytes of memory"
            if peak_bytes > self.largest_bytes:
                self.largest_bytes, self.largest = peak_bytes, label
        elif seconds > self.slowest_s:
            self.slowest_s, self.slowest = seconds, label
        return outcome
