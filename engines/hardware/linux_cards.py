"""GPUs that Linux shows in /sys/class/drm: AMD, Intel, Qualcomm; of NVIDIA's only that they are there.

Only finds them, as `cards` does. Everything is read below a root that tests replace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engines.hardware import bandwidth
from engines.hardware.asking import read_number, read_text
from engines.hardware.cards import Found
from engines.hardware.machine import Bandwidth, Gpu

GIBIBYTE = 1024**3

_MOST_CARDS = 64
_WORTHWHILE_UNITS = 8
"""Compute units from which AMD's graphics inside a processor beat its cores; desktop Ryzens have two."""
_WORTHWHILE_NAME = re.compile(r"radeon[^0-9]*(?:6[68]0m|7[468]0m|8[4-9]0m|80[4-6]0s)", re.IGNORECASE)
_VIRTUAL_VENDORS = {0x1AF4, 0x15AD, 0x1234, 0x1414, 0x1B36, 0x80EE}
"""Virtual machines' screens (virtio, VMware, Bochs, Hyper-V, QXL, VirtualBox): nothing to compute on."""


@dataclass(frozen=True, slots=True)
class _Card:
    """One /sys/class/drm/cardN."""

    folder: Path
    device: Path
    vendor: int
    product: int
    uevent: dict[str, str] = field(default_factory=dict)

    @property
    def on_first_bus(self) -> bool:
        """What is part of the processor sits there; what is plugged in sits behind a bridge."""
        return self.uevent.get("PCI_SLOT_NAME", "").startswith("0000:00:")


def read(root: Path, processor_name: str, memory_bandwidth: Bandwidth | None) -> Found:
    """GPUs that Linux shows below `root`/sys/class/drm. NVIDIA's come without memory: only their driver knows it."""
    gpus: list[Gpu] = []
    unknown: list[str] = []
    for card in _linux_cards(root):
        match card.vendor:
            case 0x1002:
                found = _amd(root, card, processor_name, memory_bandwidth)
            case 0x8086:
                found = _intel(root, card)
            case 0x10DE:
                found = Found((Gpu(name=_named(root, card, "NVIDIA"), vendor="nvidia", kind="discrete"),))
            case _:
                found = _other(card)
        gpus += found.gpus
        unknown += found.unknown
    return Found(tuple(gpus), tuple(unknown))


def _linux_cards(root: Path) -> Iterator[_Card]:
    drm = root / "sys/class/drm"
    try:
        folders = sorted(path for path in drm.iterdir() if re.fullmatch(r"card\d+", path.name))
    except OSError:  # no graphics at all, as on servers and in containers
        return
    for folder in folders[:_MOST_CARDS]:
        device = folder / "device"
        uevent = dict(line.split("=", 1) for line in read_text(device / "uevent").splitlines() if "=" in line)
        vendor = _hexadecimal(read_text(device / "vendor"))
        if vendor not in _VIRTUAL_VENDORS:
            yield _Card(folder, device, vendor, _hexadecimal(read_text(device / "device")), uevent)


def _amd(root: Path, card: _Card, processor_name: str, memory_bandwidth: Bandwidth | None) -> Found:
    vram, used = read_number(card.device / "mem_info_vram_total"), read_number(card.device / "mem_info_vram_used")
    free = None if vram is None else max(0, vram - (used or 0))
    if (card.device / "mem_busy_percent").exists():  # amdgpu shows this file for cards only, never for an APU
        name = _named(root, card, "AMD")
        speed = bandwidth.for_gpu(name, vram)
        gpu = Gpu(
            name=name,
            vendor="amd",
            kind="discrete",
            memory_total_bytes=vram,
            memory_free_bytes=free,
            bandwidth=speed,
            drives_display=_drives_display(card),
            driver=card.uevent.get("DRIVER", ""),
        )
        return Found((gpu,), () if speed else (f"How fast the memory of {name} is was not found out.",))
    inside = re.search(r"(?:w/|with)\s*(Radeon.*)", processor_name)
    name = f"AMD {inside[1].strip()}" if inside is not None else _named(root, card, "AMD")
    units = _amd_units(root, card)
    is_worthwhile = units >= _WORTHWHILE_UNITS if units is not None else bool(_WORTHWHILE_NAME.search(name))
    gpu = Gpu(
        name=name,
        vendor="amd",
        kind="integrated",
        memory_total_bytes=vram,
        memory_free_bytes=free,
        shared_limit_bytes=_shared_with_amd(root, card) if is_worthwhile else None,
        bandwidth=memory_bandwidth,
        cores=units,
        drives_display=_drives_display(card),
        driver=card.uevent.get("DRIVER", ""),
    )
    return Found((gpu,), () if is_worthwhile else (f"{name} is too small to help and is not counted.",))


def _shared_with_amd(root: Path, card: _Card) -> int | None:
    """What the driver may take of main memory (GTT), below what the kernel allows all of them (ttm.pages_limit)."""
    limits = [read_number(card.device / "mem_info_gtt_total")]
    pages = read_number(root / "sys/module/ttm/parameters/pages_limit")
    limits.append(pages * 4096 if pages else None)
    return min((limit for limit in limits if limit), default=None)


def _amd_units(root: Path, card: _Card) -> int | None:
    """Compute units, from the node of the kernel's compute driver (KFD) that is this very product."""
    for node in sorted(root.glob("sys/class/kfd/kfd/topology/nodes/*/properties")):
        words = (line.split() for line in read_text(node).splitlines())
        figures = {word[0]: int(word[1]) for word in words if len(word) == 2 and word[1].isdecimal()}
        per_unit = figures.get("simd_per_cu", 0)
        if figures.get("device_id") == card.product and per_unit and figures.get("simd_count"):
            return figures["simd_count"] // per_unit
    return None


def _intel(root: Path, card: _Card) -> Found:
    name = _named(root, card, "Intel")
    if card.on_first_bus:
        gpu = Gpu(name=name, vendor="intel", kind="integrated", driver=card.uevent.get("DRIVER", ""))
        return Found((gpu,), (f"How much memory {name} may use is not known, so it is not counted.",))
    total = _largest_window_bytes(card)
    gpu = Gpu(
        name=name,
        vendor="intel",
        kind="discrete",
        memory_total_bytes=total,
        bandwidth=bandwidth.for_gpu(name, total),
        drives_display=_drives_display(card),
        driver=card.uevent.get("DRIVER", ""),
    )
    note = f"How much memory of {name} is free is not shown by its driver."
    if total is None:
        note = f"How much memory {name} has was not found out, so it is not counted."
    return Found((gpu,), (note,))


def _largest_window_bytes(card: _Card) -> int | None:
    """The memory window of the card: all of its memory where "resizable BAR" is on, else too small to be meant."""
    largest = 0
    for line in read_text(card.device / "resource").splitlines():
        words = [_hexadecimal(word) for word in line.split()]
        if len(words) == 3 and words[1] > words[0] > 0:
            largest = max(largest, words[1] - words[0] + 1)
    return largest if largest >= GIBIBYTE else None


def _other(card: _Card) -> Found:
    driver = card.uevent.get("DRIVER", "")
    if driver.startswith("msm"):
        gpu = Gpu(name="Qualcomm Adreno", vendor="qualcomm", kind="integrated", driver=driver)
        return Found((gpu,), ("How much memory the Adreno GPU may use is not known, so it is not counted.",))
    return Found()


def _named(root: Path, card: _Card, vendor: str) -> str:
    """By the system's list of PCI devices, where there is one."""
    for path in ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids"):
        name = find_pci_name(read_text(root / path), card.vendor, card.product)
        if name:
            return name if name.startswith(vendor) else f"{vendor} {name}"
    return f"{vendor} GPU {card.product:04x}"


def find_pci_name(text: str, vendor: int, product: int) -> str:
    """The marketing name (in brackets), else the chip's, from the text of pci.ids; empty when it is not listed."""
    section = re.search(rf"^{vendor:04x} .*\n((?:[\t#].*\n|\n)*)", text, re.MULTILINE)
    line = re.search(rf"^\t{product:04x}  (.+)$", section[1], re.MULTILINE) if section is not None else None
    if line is None:
        return ""
    bracket = re.search(r"\[([^\]]+)\]", line[1])
    return (bracket[1] if bracket is not None else line[1]).strip()


def _drives_display(card: _Card) -> bool:
    outputs = card.folder.parent.glob(f"{card.folder.name}-*/status")
    return any(read_text(status).strip() == "connected" for status in outputs)


def _hexadecimal(text: str) -> int:
    word = text.strip().removeprefix("0x")
    return int(word, 16) if re.fullmatch(r"[0-9a-fA-F]{1,16}", word) else 0
