from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from engines.hardware.cards import (
    nvidia_bandwidth,
    parse_npu_smi,
    parse_nvidia_smi,
    read_ascend,
    read_nvidia,
    read_nvml,
    with_shared_memory,
)
from engines.hardware.machine import Gpu

MIB = 1024**2
NOT_SUPPORTED = 3


def nvml(**replaced: Any) -> SimpleNamespace:
    """NVML as C code would answer through its pointers: one RTX 4090 on whose output a screen hangs."""

    def put(pointer: Any, value: int) -> int:
        pointer._obj.value = value
        return 0

    def write(buffer: Any, size: Any, text: bytes) -> int:
        assert size.value > len(text)
        buffer.value = text
        return 0

    def memory(_handle: Any, pointer: Any) -> int:
        pointer._obj.total, pointer._obj.free, pointer._obj.used = 24564 * MIB, 23000 * MIB, 1564 * MIB
        return 0

    functions: dict[str, Callable[..., int]] = {
        "nvmlInit_v2": lambda: 0,
        "nvmlShutdown": lambda: 0,
        "nvmlDeviceGetCount_v2": lambda count: put(count, 1),
        "nvmlSystemGetDriverVersion": lambda buffer, size: write(buffer, size, b"580.95.05"),
        "nvmlDeviceGetHandleByIndex_v2": lambda index, handle: put(handle, 1000 + index.value),
        "nvmlDeviceGetName": lambda handle, buffer, size: write(buffer, size, b"NVIDIA GeForce RTX 4090"),
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetMemoryBusWidth": lambda handle, width: put(width, 384),
        "nvmlDeviceGetMaxClockInfo": lambda handle, kind, clock: put(clock, 10501),
        "nvmlDeviceGetDisplayActive": lambda handle, active: put(active, 1),
    }
    functions.update(replaced)
    return SimpleNamespace(**{name: function for name, function in functions.items() if function is not None})


def test_the_driver_describes_its_card() -> None:
    (card,) = read_nvml(nvml())
    assert card.name == "NVIDIA GeForce RTX 4090"
    assert (card.memory_total_bytes, card.memory_free_bytes) == (24564 * MIB, 23000 * MIB)
    assert (card.driver, card.drives_display, card.kind, card.vendor) == ("580.95.05", True, "discrete", "nvidia")
    assert card.bandwidth is not None
    assert card.bandwidth.bytes_per_second == 1008 * 10**9


def test_a_card_that_is_in_no_table_gets_the_drivers_own_figures() -> None:
    def name(_handle: Any, buffer: Any, _size: Any) -> int:
        buffer.value = b"NVIDIA GeForce RTX 4070 Laptop GPU"
        return 0

    (card,) = read_nvml(nvml(nvmlDeviceGetName=name))
    assert card.bandwidth is not None
    assert card.bandwidth.note == "384 bit at 10501 MHz, by the driver"
    assert card.bandwidth.bytes_per_second == 1_008_096_000_000


@pytest.mark.parametrize(
    ("width", "clock", "gigabytes"),
    [(384, 10501, 1008), (5120, 1215, 1555), (256, 7001, 448), (512, 14001, 1792), (256, 5001, 320)],
)
def test_bus_and_clock_agree_with_data_sheets(width: int, clock: int, gigabytes: int) -> None:
    speed = nvidia_bandwidth(width, clock)
    assert speed is not None
    assert abs(speed.bytes_per_second / 10**9 - gigabytes) < 1


@pytest.mark.parametrize(
    "missing",
    ["nvmlSystemGetDriverVersion", "nvmlDeviceGetName", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryBusWidth",
     "nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetDisplayActive", "nvmlShutdown"],
)  # fmt: skip
def test_a_function_that_the_driver_lacks_leaves_its_figure_out(missing: str) -> None:
    (card,) = read_nvml(nvml(**{missing: None}))
    (refused,) = read_nvml(nvml(**{missing: lambda *_: NOT_SUPPORTED}))
    assert card == refused
    assert (card.memory_total_bytes is None) == (missing == "nvmlDeviceGetMemoryInfo")
    assert (card.drives_display is None) == (missing == "nvmlDeviceGetDisplayActive")


@pytest.mark.parametrize("missing", ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2"])
def test_a_driver_that_does_not_answer_has_no_cards(missing: str) -> None:
    assert read_nvml(nvml(**{missing: None})) == ()
    assert read_nvml(nvml(**{missing: lambda *_: 999})) == ()


def test_the_arguments_reach_real_c_code() -> None:
    """The calls are made through ctypes: one function of the right shape is real."""
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint))

    def width(handle: int, pointer: Any) -> int:
        assert handle == 1000
        pointer[0] = 256
        return 0

    (card,) = read_nvml(nvml(nvmlDeviceGetMemoryBusWidth=prototype(width)))
    assert card.bandwidth is not None
    assert read_nvml(nvml(nvmlDeviceGetMemoryBusWidth=ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)))


def test_nvidia_smi_lists_cards(sample: Callable[[str], str]) -> None:
    first, second, laptop = parse_nvidia_smi(sample("nvidia_smi_cards.csv"))
    assert (first.memory_total_bytes, first.memory_free_bytes) == (32607 * MIB, 3283 * MIB)
    assert (first.drives_display, second.drives_display) == (False, True)
    assert second.driver == "580.95.05"
    assert second.bandwidth is not None
    assert second.bandwidth.bytes_per_second == 360 * 10**9
    assert laptop.bandwidth is None


def test_a_chip_without_memory_of_its_own_shares_the_machines(sample: Callable[[str], str]) -> None:
    (gb10,) = parse_nvidia_smi(sample("nvidia_smi_gb10.csv"))
    assert gb10.memory_total_bytes is None
    found = with_shared_memory((gb10,), 128 << 30)
    assert found.gpus[0].kind == "integrated"
    assert found.gpus[0].shared_limit_bytes == 128 << 30
    assert "all of it is assumed" in found.unknown[0]


def test_what_a_card_does_not_say_is_said() -> None:
    silent = Gpu(name="NVIDIA X", vendor="nvidia", kind="discrete")
    assert "not counted" in with_shared_memory((silent,), 1).unknown[0]
    slow = Gpu(name="NVIDIA Y", vendor="nvidia", kind="discrete", memory_total_bytes=1)
    assert "How fast" in with_shared_memory((slow,), 1).unknown[0]


def test_ascend_chips_are_listed(sample: Callable[[str], str]) -> None:
    first, second = parse_npu_smi(sample("npu_smi_910b4.txt"))
    assert (first.name, first.vendor, first.driver) == ("Ascend 910B4-1", "huawei", "25.2.0")
    assert (first.memory_total_bytes, first.memory_free_bytes) == (65536 * MIB, (65536 - 3197) * MIB)
    assert second == first
    names = [gpu.name for gpu in parse_npu_smi(sample("npu_smi_910_two_chips.txt"))]
    assert names == ["Ascend910", "Ascend910"]


@pytest.mark.parametrize(
    ("name", "parse"),
    [
        ("nvidia_smi_cards.csv", parse_nvidia_smi),
        ("nvidia_smi_gb10.csv", parse_nvidia_smi),
        ("npu_smi_910b4.txt", parse_npu_smi),
        ("npu_smi_910_two_chips.txt", parse_npu_smi),
    ],
)
def test_a_list_that_is_cut_has_only_whole_cards_and_damage_is_no_error(
    name: str,
    parse: Callable[[str], tuple[Gpu, ...]],
    sample: Callable[[str], str],
    cuts: Callable[[str], Iterator[str]],
    damaged: Callable[[str], Iterator[str]],
) -> None:
    whole = parse(sample(name))
    assert whole
    for part in cuts(sample(name)):
        found = parse(part)
        assert found == whole[: len(found)]
    for bad in damaged(sample(name)):
        assert all(gpu.memory_total_bytes is None or gpu.memory_total_bytes > 0 for gpu in parse(bad))
    assert parse("") == ()


def test_asking_this_computer_raises_nothing() -> None:
    for gpu in (*read_nvidia(1 << 34).gpus, *read_ascend().gpus):
        assert gpu.name
