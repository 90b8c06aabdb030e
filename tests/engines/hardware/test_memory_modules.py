from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

import pytest

from engines.hardware.memory_modules import (
    MemoryModule,
    bandwidth,
    parse_smbios,
    parse_udev,
    parse_windows_smbios,
)

DDR4, DDR5, LPDDR5 = 0x1A, 0x22, 0x23


def memory_device(
    *, kind: int, width: int, megatransfers: int, locator: str, bank: str, size_mb: int = 16384, long_rate: int = 0
) -> bytes:
    """One SMBIOS structure of type 17, laid out as in DMTF DSP0134 3.7."""
    structure = bytearray(0x5C)
    struct.pack_into("<BBH", structure, 0, 17, len(structure), 0x1100)
    struct.pack_into("<HHH", structure, 0x08, width, width, size_mb)
    structure[0x10], structure[0x11], structure[0x12] = 1, 2, kind
    struct.pack_into("<H", structure, 0x15, megatransfers + 100)
    struct.pack_into("<H", structure, 0x20, megatransfers)
    struct.pack_into("<I", structure, 0x58, long_rate)
    return bytes(structure) + locator.encode() + b"\0" + bank.encode() + b"\0\0"


OTHER = struct.pack("<BBH", 0, 4, 0) + b"Vendor\0\0"
EMPTY_TABLE_END = struct.pack("<BBH", 127, 4, 0) + b"\0\0"


def table(*devices: bytes) -> bytes:
    return OTHER + b"".join(devices) + EMPTY_TABLE_END


def ryzen_7950x() -> bytes:
    return table(
        memory_device(kind=2, width=0xFFFF, megatransfers=0, locator="DIMM 0", bank="P0 CHANNEL A", size_mb=0),
        memory_device(kind=DDR5, width=64, megatransfers=6000, locator="DIMM 1", bank="P0 CHANNEL A"),
        memory_device(kind=2, width=0xFFFF, megatransfers=0, locator="DIMM 0", bank="P0 CHANNEL B", size_mb=0),
        memory_device(kind=DDR5, width=64, megatransfers=6000, locator="DIMM 1", bank="P0 CHANNEL B"),
    )


def test_two_channels_of_a_desktop() -> None:
    modules = parse_smbios(ryzen_7950x())
    assert [module.channel for module in modules] == ["0a", "0b"]
    speed = bandwidth(modules)
    assert speed is not None
    assert (speed.bytes_per_second, speed.source) == (96_000_000_000, "table")
    assert "DDR5-6000, 128 bit" in speed.note


def test_soldered_packages_add_up() -> None:
    strix_halo = table(
        *(
            memory_device(kind=LPDDR5, width=32, megatransfers=8000, locator="DIMM 0", bank=f"P0 CHANNEL {letter}")
            for letter in "ABCDEFGH"
        )
    )
    speed = bandwidth(parse_smbios(strix_halo))
    assert speed is not None
    assert speed.bytes_per_second == 256_000_000_000


def test_udev_tells_everybody(sample: Callable[[str], str]) -> None:
    modules = parse_udev(sample("thinkpad_udev_dmi.txt"))
    assert [(module.kind, module.megatransfers, module.channel) for module in modules] == [
        ("DDR4", 2400, "a"),
        ("DDR4", 2400, "b"),
    ]
    speed = bandwidth(modules)
    assert speed is not None
    assert speed.bytes_per_second == 38_400_000_000


@pytest.mark.parametrize(
    ("labels", "channels"),
    [
        ((("Controller0-DIMMA2", "BANK 0"), ("Controller1-DIMMB2", "BANK 0")), 2),
        ((("Controller0-ChannelA-DIMM0", "BANK 0"), ("Controller1-ChannelA-DIMM0", "BANK 0")), 2),
        ((("ChannelA-DIMM0", ""), ("ChannelA-DIMM1", "")), 1),
        ((("DIMM_A1", ""), ("DIMM_A2", ""), ("DIMM_B1", ""), ("DIMM_B2", "")), 2),
        ((("DIMMA2", "P0_Node0_Channel0_Dimm1"), ("DIMMB2", "P0_Node0_Channel1_Dimm1")), 2),
        ((("Bottom slot", ""),), 1),
        ((("Top", ""), ("Bottom", "")), 2),
        (tuple((f"slot {number}", "") for number in range(4)), 2),
    ],
)
def test_labels_tell_the_channels(labels: tuple[tuple[str, str], ...], channels: int) -> None:
    modules = [MemoryModule("DDR4", 3200, 64, locator, bank) for locator, bank in labels]
    speed = bandwidth(modules)
    assert speed is not None
    assert speed.bytes_per_second == 25_600_000_000 * channels


def test_a_list_that_does_not_say_enough_gives_no_figure() -> None:
    assert bandwidth(()) is None
    assert bandwidth([MemoryModule("DDR4", 3200, 64), MemoryModule("", 0, 0)]) is None


def test_the_slowest_module_sets_the_rate_and_wild_widths_are_not_believed() -> None:
    speed = bandwidth([MemoryModule("DDR4", 3200, 64, "DIMM_A1"), MemoryModule("DDR4", 2133, 64, "DIMM_B1")])
    assert speed is not None
    assert speed.bytes_per_second == 2133 * 16 * 1_000_000
    wide = bandwidth([MemoryModule("LPDDR5", 6400, 64) for _ in range(8)])
    assert wide is not None
    assert wide.bytes_per_second == 6400 * 32 * 1_000_000


def test_rates_beyond_65_gigatransfers_have_a_field_of_their_own() -> None:
    raw = table(memory_device(kind=DDR5, width=64, megatransfers=0xFFFF - 100, locator="", bank="", long_rate=0))
    assert parse_smbios(raw)[0].megatransfers == 0xFFFF - 100
    device = bytearray(
        memory_device(kind=DDR5, width=64, megatransfers=0xFFFF - 100, locator="x", bank="y", long_rate=70_000)
    )
    struct.pack_into("<H", device, 0x20, 0xFFFF)
    assert parse_smbios(table(bytes(device)))[0].megatransfers == 70_000


def test_windows_gives_the_table_behind_eight_bytes() -> None:
    raw = ryzen_7950x()
    assert parse_windows_smbios(struct.pack("<BBBBI", 0, 3, 6, 0, len(raw)) + raw) == parse_smbios(raw)
    assert parse_windows_smbios(b"") == ()


def test_a_table_that_is_cut_or_damaged_gives_what_is_whole() -> None:
    raw = ryzen_7950x()
    whole = parse_smbios(raw)
    for end in range(len(raw)):
        assert parse_smbios(raw[:end]) == whole[: len(parse_smbios(raw[:end]))]
        parse_windows_smbios(raw[:end])
    chance = random.Random(1)
    for _ in range(2000):
        bad = bytearray(raw)
        for _ in range(chance.randint(1, 6)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        bandwidth(parse_smbios(bytes(bad)))


def test_a_record_of_udev_that_is_cut_or_damaged_is_no_error(
    sample: Callable[[str], str],
    cuts: Callable[[str], Iterator[str]],
    damaged: Callable[[str], Iterator[str]],
) -> None:
    text = sample("thinkpad_udev_dmi.txt")
    for part in cuts(text):
        speed = bandwidth(parse_udev(part))
        assert speed is None or speed.bytes_per_second <= 38_400_000_000 * 2667 // 2400
    for bad in damaged(text):
        bandwidth(parse_udev(bad))
