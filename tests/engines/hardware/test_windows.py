from __future__ import annotations

import random
import struct
from dataclasses import replace

import pytest

from engines.hardware.machine import Bandwidth
from engines.hardware.windows import (
    Adapter,
    Answers,
    CoreCount,
    describe,
    find_gpus,
    parse_cores,
    parse_memory_status,
    parse_power_status,
)

GIB = 1024**3


def memory_status(
    total: int = 16 * GIB, available: int = 9 * GIB, commit: int = 20 * GIB, left: int = 11 * GIB
) -> bytes:
    return struct.pack("<II7Q", 64, 43, total, available, commit, left, 1 << 47, 1 << 46, 0)


def core(efficiency_class: int, *masks: int) -> bytes:
    """A PROCESSOR_RELATIONSHIP record, as in winnt.h."""
    groups = b"".join(struct.pack("<QHHHH", mask, number, 0, 0, 0) for number, mask in enumerate(masks))
    head = struct.pack("<BB20xH", int(any(mask.bit_count() > 1 for mask in masks)), efficiency_class, len(masks))
    return struct.pack("<II", 0, 8 + len(head) + len(groups)) + head + groups


CORES = core(1, 0b11) + core(1, 0b1100) + core(0, 1 << 4) + core(0, 1 << 5)

ANSWERS = Answers(
    memory_status=memory_status(),
    power_status=struct.pack("<BBBBII", 0, 1, 63, 1, 5000, 0xFFFFFFFF),
    cores=CORES,
    processor_name="AMD Ryzen 7 7840U w/ Radeon 780M Graphics     ",
    machine="AMD64",
    features=("avx", "avx2"),
    usable_cores=6,
    adapters=(
        Adapter("AMD Radeon 780M Graphics", "32.0.1", 512 * 1024**2),
        Adapter("AMD Radeon RX 6600", "31.0.1", 8 * GIB),
        Adapter("Microsoft Basic Display Adapter"),
    ),
    present={"AMD Radeon 780M Graphics": True, "Microsoft Basic Display Adapter": False},
    version="Windows 11 (10.0.26100)",
    product="Framework Laptop 13",
)


def test_a_windows_computer() -> None:
    machine = describe(ANSWERS)
    assert machine is not None
    assert machine.name == "Framework Laptop 13, AMD Ryzen 7 7840U, 16 GB"
    assert (machine.memory_total_bytes, machine.memory_available_bytes) == (16 * GIB, 9 * GIB)
    assert (machine.commit_left_bytes, machine.swap_total_bytes) == (11 * GIB, 4 * GIB)
    processor = machine.processor
    assert (processor.physical_cores, processor.performance_cores, processor.logical_cores) == (4, 2, 6)
    assert processor.architecture == "x86_64"
    assert (machine.power.on_mains, machine.power.battery_share, machine.power.saving) == (False, 0.63, True)
    assert machine.bandwidth is not None
    assert machine.bandwidth.bytes_per_second == 90 * 10**9
    (gpu,) = machine.gpus
    assert (gpu.name, gpu.kind, gpu.drives_display) == ("AMD Radeon 780M Graphics", "integrated", True)
    assert (gpu.memory_total_bytes, gpu.shared_limit_bytes) == (512 * 1024**2, 8 * GIB)
    assert "half of it is assumed" in machine.unknown[0]


def test_a_card_that_was_taken_out_is_not_there() -> None:
    machine = describe(ANSWERS)
    assert machine is not None
    assert all("6600" not in gpu.name for gpu in machine.gpus)


@pytest.mark.parametrize(
    ("name", "vendor", "kind", "shared"),
    [
        ("NVIDIA GeForce RTX 4070", "nvidia", "discrete", None),
        ("AMD Radeon RX 7900 XTX", "amd", "discrete", None),
        ("AMD Radeon(TM) 8060S Graphics", "amd", "integrated", 8 * GIB),
        ("AMD Radeon(TM) Graphics", "amd", "integrated", None),
        ("Intel(R) Arc(TM) A770 Graphics", "intel", "discrete", None),
        ("Intel(R) Arc(TM) 140V GPU (16GB)", "intel", "integrated", None),
        ("Intel(R) UHD Graphics 730", "intel", "integrated", None),
        ("Qualcomm(R) Adreno(TM) X1-85 GPU", "qualcomm", "integrated", None),
    ],
)
def test_kinds_of_gpus(name: str, vendor: str, kind: str, shared: int | None) -> None:
    speed = Bandwidth(bytes_per_second=1, source="measured")
    found = find_gpus((Adapter(name),), None, 16 * GIB, speed)
    (gpu,) = found.gpus
    assert (gpu.vendor, gpu.kind, gpu.shared_limit_bytes) == (vendor, kind, shared)
    assert (gpu.bandwidth == speed) == (kind == "integrated")
    assert len(found.unknown) == (0 if kind == "discrete" else 1)


def test_a_driver_that_is_listed_twice_is_one_card() -> None:
    adapters = (Adapter("AMD Radeon RX 7900 XTX", "1"), Adapter("AMD Radeon RX 7900 XTX", "2", 24 * GIB))
    (gpu,) = find_gpus(adapters, None, GIB, None).gpus
    assert (gpu.driver, gpu.memory_total_bytes) == ("2", 24 * GIB)


def test_a_card_without_a_figure_is_said() -> None:
    found = find_gpus((Adapter("AMD Radeon RX 6600"),), None, GIB, None)
    assert found.unknown == ("How fast the memory of AMD Radeon RX 6600 is was not found out.",)


def test_screens_that_are_no_gpus_are_left_out() -> None:
    adapters = (Adapter("Microsoft Remote Display Adapter"), Adapter("Parsec Virtual Display"), Adapter("Matrox G200"))
    assert find_gpus(adapters, None, GIB, None).gpus == ()


def test_memory_that_is_cut_or_impossible_is_not_known() -> None:
    raw = memory_status()
    for end in range(len(raw)):
        assert parse_memory_status(raw[:end]) is None
    assert parse_memory_status(raw + b"\0") is None
    assert parse_memory_status(bytes(64)) is None
    assert parse_memory_status(memory_status(total=1 << 62)) is None
    assert describe(replace(ANSWERS, memory_status=raw[:-1])) is None


def test_power_that_is_not_known() -> None:
    power = parse_power_status(struct.pack("<BBBBII", 1, 128, 255, 0, 0, 0))
    assert (power.on_mains, power.battery_share, power.saving) == (True, None, None)
    assert parse_power_status(struct.pack("<BBBBII", 255, 255, 255, 0, 0, 0)).on_mains is None
    assert parse_power_status(b"\1").on_mains is None


def test_cores_that_are_cut_are_not_counted() -> None:
    assert parse_cores(CORES) == CoreCount(physical=4, performance=2, logical=6)
    for end in range(len(CORES)):
        found = parse_cores(CORES[:end])
        assert found is None or found.physical < 4
    machine = describe(replace(ANSWERS, cores=CORES[:-1]))
    assert machine is not None
    assert "How many cores" in machine.unknown[0]


def test_cores_of_one_kind_are_all_performance_cores() -> None:
    assert parse_cores(core(0, 1) + core(0, 2)) == CoreCount(physical=2, performance=2, logical=2)


def test_damaged_structures_raise_nothing() -> None:
    chance = random.Random(2)
    for _ in range(2000):
        bad = bytearray(CORES)
        for _ in range(chance.randint(1, 5)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        parse_cores(bytes(bad))
        parse_power_status(chance.randbytes(12))
        describe(replace(ANSWERS, memory_status=chance.randbytes(64), firmware=chance.randbytes(200)))
