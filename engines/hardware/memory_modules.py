"""Memory modules as the firmware lists them (SMBIOS type 17), and the bandwidth that follows from them.

Two sources carry the same list: the SMBIOS table itself (Windows gives it to everybody, Linux to root) and udev's
database (Linux, to everybody, from systemd 248 on). Reads no file and asks nobody.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engines.hardware.asking import complete_lines
from engines.hardware.machine import Bandwidth

_KINDS = {
    0x18: "DDR3", 0x1A: "DDR4", 0x1B: "LPDDR", 0x1C: "LPDDR2", 0x1D: "LPDDR3", 0x1E: "LPDDR4", 0x22: "DDR5",
    0x23: "LPDDR5",
}  # fmt: skip
"""DMTF DSP0134 (SMBIOS reference), table of memory device types."""
_WIDEST_SOLDERED_BITS = 256
"""No consumer chip has a wider bus of LPDDR; firmware that counts a package twice is not believed."""
_UNLABELLED_CHANNELS = 2
_CHANNEL = re.compile(r"channel[ _-]?([a-p]|\d{1,2})(?![a-z0-9])", re.IGNORECASE)
_SLOT = re.compile(r"dimm[ _-]?([a-p])\d?(?![a-z0-9])", re.IGNORECASE)
_CONTROLLER = re.compile(r"(?:controller|proc(?:essor)?|cpu|\bp)[ _-]?(\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MemoryModule:
    """One module, or one soldered package."""

    kind: str
    megatransfers: int
    """Millions of transfers a second, as configured."""
    width_bits: int
    locator: str = ""
    bank: str = ""

    @property
    def channel(self) -> str:
        """The channel it sits on, as its labels say; empty when they do not."""
        for label in (f"{self.bank} {self.locator}", self.locator):
            match = _CHANNEL.search(label) or _SLOT.search(label)
            if match is not None:
                owner = _CONTROLLER.search(f"{self.locator} {self.bank}")
                return f"{owner[1] if owner else ''}{match[1].lower()}"
        return ""


def bandwidth(modules: Sequence[MemoryModule]) -> Bandwidth | None:
    """Bus width times transfer rate, the theoretical figure; None when the list does not say enough.

    Channels are those that the labels name. Modules without telling labels: two channels from two modules on, which is
    how they are installed. The slowest module sets the rate.
    """
    usable = [module for module in modules if module.megatransfers > 0 and module.width_bits > 0 and module.kind]
    if not usable or len(usable) != len(modules):
        return None
    rate = min(module.megatransfers for module in usable)
    width = _width_bits(usable)
    return Bandwidth(
        bytes_per_second=rate * 1_000_000 * width // 8,
        source="table",
        note=f"{usable[0].kind}-{rate}, {width} bit, by the firmware's list of memory modules",
    )


def _width_bits(modules: Sequence[MemoryModule]) -> int:
    if any(module.kind.startswith("LPDDR") or module.width_bits < 64 for module in modules):
        return min(sum(module.width_bits for module in modules), _WIDEST_SOLDERED_BITS)
    widths: dict[str, int] = {}
    for module in modules:
        widths[module.channel] = max(module.width_bits, widths.get(module.channel, 0))
    if "" in widths:
        return max(widths.values()) * min(_UNLABELLED_CHANNELS, len(modules))
    return sum(widths.values())


def parse_udev(text: str) -> tuple[MemoryModule, ...]:
    """The modules in udev's record of the DMI device (`/run/udev/data/+dmi:id`)."""
    slots: dict[str, dict[str, str]] = {}
    for line in complete_lines(text):
        match = re.fullmatch(r"(?:E:)?MEMORY_DEVICE_(\d{1,3})_([A-Z_]+)=(.*)", line)
        if match is not None:
            slots.setdefault(match[1], {})[match[2]] = match[3].strip()
    return tuple(
        MemoryModule(
            kind=slot.get("TYPE", ""),
            megatransfers=_number(slot.get("CONFIGURED_SPEED_MTS") or slot.get("SPEED_MTS")),
            width_bits=_number(slot.get("DATA_WIDTH")),
            locator=slot.get("LOCATOR", ""),
            bank=slot.get("BANK_LOCATOR", ""),
        )
        for slot in slots.values()
        if _number(slot.get("SIZE")) > 0
    )


def parse_smbios(table: bytes) -> tuple[MemoryModule, ...]:
    """The modules in an SMBIOS structure table (DMTF DSP0134, type 17); empty slots are left out."""
    return tuple(
        module for structure, texts in _structures(table) if (module := _memory_device(structure, texts)) is not None
    )


def parse_windows_smbios(raw: bytes) -> tuple[MemoryModule, ...]:
    """The same in what GetSystemFirmwareTable("RSMB") gives: 8 bytes (versions, length), then the table."""
    if len(raw) < 8:
        return ()
    (length,) = struct.unpack_from("<I", raw, 4)
    return parse_smbios(raw[8 : 8 + length])


def _structures(table: bytes) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Each structure with the strings that follow it, up to the first that is cut."""
    at = 0
    while at + 4 <= len(table):
        length = table[at + 1]
        end = table.find(b"\0\0", at + length)
        if length < 4 or end < 0:
            return
        texts = tuple(text.decode("latin-1").strip() for text in table[at + length : end].split(b"\0"))
        yield table[at : at + length], texts
        at = end + 2


def _memory_device(structure: bytes, texts: tuple[str, ...]) -> MemoryModule | None:
    if structure[0] != 17 or len(structure) < 0x17:
        return None
    size, width = _word(structure, 0x0C), _word(structure, 0x0A)
    if size in (0, 0xFFFF):
        return None
    rate = _word(structure, 0x20) or _word(structure, 0x15)
    if rate == 0xFFFF:
        rate = _long(structure, 0x58) or _long(structure, 0x54)
    return MemoryModule(
        kind=_KINDS.get(structure[0x12], ""),
        megatransfers=rate,
        width_bits=0 if width == 0xFFFF else width,
        locator=_text(texts, structure[0x10]),
        bank=_text(texts, structure[0x11]),
    )


def _word(structure: bytes, offset: int) -> int:
    return int.from_bytes(structure[offset : offset + 2], "little") if offset + 2 <= len(structure) else 0


def _long(structure: bytes, offset: int) -> int:
    return int.from_bytes(structure[offset : offset + 4], "little") if offset + 4 <= len(structure) else 0


def _text(texts: tuple[str, ...], number: int) -> str:
    return texts[number - 1] if 0 < number <= len(texts) else ""


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 20 else 0
