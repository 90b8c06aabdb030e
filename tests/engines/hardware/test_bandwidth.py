from __future__ import annotations

import pytest

from engines.errors import EngineError
from engines.hardware import bandwidth
from engines.hardware.bandwidth import for_gpu, for_processor, measure_memory
from engines.hardware.memory_modules import MemoryModule

GIB = 1024**3


@pytest.mark.parametrize(
    ("name", "cores", "gigabytes"),
    [
        ("Apple M1", 8, 68),
        ("Apple M1 Ultra", 64, 800),
        ("Apple M3 Pro", 18, 150),
        ("Apple M3 Max", 30, 300),
        ("Apple M3 Max", 40, 400),
        ("Apple M4", 10, 120),
        ("Apple M4 Pro", 16, 273),
        ("Apple M4 Max", 32, 410),
        ("Apple M4 Max", 40, 546),
        ("Apple M4 Max", None, 410),
        ("Apple M5 Max", 40, 614),
        ("apple m5", None, 153),
    ],
)
def test_apple_chips_are_told_apart_by_their_gpu_cores(name: str, cores: int | None, gigabytes: int) -> None:
    speed = for_processor(name, gpu_cores=cores)
    assert speed is not None
    assert speed.bytes_per_second == gigabytes * 10**9
    assert speed.source == "table"
    assert "vendor's figure" in speed.note


def test_the_lower_of_two_is_said_to_be_that() -> None:
    speed = for_processor("Apple M3 Max")
    assert speed is not None
    assert "lower of two" in speed.note


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", 256),
        ("AMD Ryzen AI 9 HX 370 w/ Radeon 890M", 120),
        ("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", 90),
        ("Intel(R) Core(TM) Ultra 7 268V", 136),
        ("Intel(R) Core(TM) Ultra 7 255H", 120),
        ("Snapdragon(R) X Elite - X1E78100 - Qualcomm(R) Oryon(TM) CPU", 135),
        ("Snapdragon(R) X - X126100 - Qualcomm(R) Oryon(TM) CPU", 135),
        ("Qualcomm Snapdragon X Elite", 135),
        ("Snapdragon(R) X2 Elite Extreme - X2E96100", 228),
    ],
)
def test_processors_with_soldered_memory_are_in_the_table(name: str, gigabytes: int) -> None:
    speed = for_processor(name)
    assert speed is not None
    assert speed.bytes_per_second == gigabytes * 10**9


@pytest.mark.parametrize(
    "name",
    ["", "Intel(R) Core(TM) i5-12400", "AMD Ryzen 7 7700 8-Core Processor", "AMD EPYC", "Apple M9", "Apple",
     "Qualcomm Snapdragon X2", "Intel(R) Core(TM) Ultra 9 285K"],
)  # fmt: skip
def test_a_processor_that_takes_any_memory_has_no_figure(name: str) -> None:
    assert for_processor(name) is None


def test_the_list_of_modules_goes_before_the_table_except_for_apple() -> None:
    one_module = [MemoryModule("DDR5", 5600, 64, "DIMM_A1")]
    speed = for_processor("AMD Ryzen 7 7840U", modules=one_module)
    assert speed is not None
    assert speed.bytes_per_second == 44_800_000_000
    apple = for_processor("Apple M4", modules=one_module)
    assert apple is not None
    assert apple.bytes_per_second == 120 * 10**9


@pytest.mark.parametrize(
    ("name", "memory", "gigabytes"),
    [
        ("NVIDIA GeForce RTX 4090", 24564 * 1024**2, 1008),
        ("NVIDIA GeForce RTX 4060", None, 272),
        ("NVIDIA GeForce RTX 5060 Ti", 16 * GIB, 448),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16376 * 1024**2, 672),
        ("Tesla T4", 15360 * 1024**2, 320),
        ("NVIDIA A100-SXM4-80GB", 80 * GIB, 2039),
        ("NVIDIA H200", 143771 * 1024**2, 4800),
        ("AMD Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M", 24560 * 1024**2, 960),
        ("AMD Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M", None, 800),
        ("AMD Radeon RX 9070/9070 XT/9070 GRE", 16 * GIB, 640),
        ("Intel(R) Arc(TM) B580 Graphics", 12 * GIB, 456),
    ],
)
def test_cards_are_in_the_table(name: str, memory: int | None, gigabytes: int) -> None:
    speed = for_gpu(name, memory)
    assert speed is not None
    assert speed.bytes_per_second == gigabytes * 10**9


@pytest.mark.parametrize(
    ("name", "memory"),
    [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16 * GIB),
        ("NVIDIA GeForce RTX 3060", 8 * GIB),
        ("NVIDIA GeForce RTX 3060 Ti", 8 * GIB),
        ("NVIDIA GeForce RTX 3080", 12 * GIB),
        ("NVIDIA GB10", None),
        ("", None),
        ("/", None),
    ],
)
def test_variants_that_share_a_name_are_not_mistaken(name: str, memory: int | None) -> None:
    assert for_gpu(name, memory) is None


def test_memory_is_measured() -> None:
    speed = measure_memory(16 * 1024**2)
    assert speed.source == "measured"
    assert "copying memory" in speed.note
    # Slower than any computer of this century, and faster than any cache.
    assert 10**8 < speed.bytes_per_second < 10**13


def test_measuring_needs_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    scarce = type("Scarce", (), {"available": 1024**2})()
    monkeypatch.setattr(bandwidth.psutil, "virtual_memory", lambda: scarce)
    with pytest.raises(EngineError, match="not enough free memory"):
        measure_memory()
