"""A Windows computer: raw structures of the system's functions and rows of the registry, turned into a Machine.

`describe` reads what `windows_calls.ask` asked for, on any system; nothing raises. Windows says nothing of a limit for
graphics inside a processor; half of memory, its own rule for "shared GPU memory", stands in for it, and that is said.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from engines.hardware import bandwidth, memory_modules
from engines.hardware.cards import Found
from engines.hardware.linux import architecture
from engines.hardware.machine import Bandwidth, Gpu, GpuVendor, Machine, Power, Processor
from engines.hardware.naming import machine_name, nominal_gigabytes

_RELATION_PROCESSOR_CORE = 0
_UNKNOWN_BYTE = 255
_VENDORS: tuple[tuple[str, GpuVendor], ...] = (
    ("nvidia", "nvidia"), ("geforce", "nvidia"), ("amd", "amd"), ("radeon", "amd"), ("intel", "intel"),
    ("adreno", "qualcomm"), ("qualcomm", "qualcomm"),
)  # fmt: skip
_IS_CARD = re.compile(r"\brx ?\d|\bpro w|\barc(?:\(tm\))? (?:pro )?[ab]\d|radeon vii|instinct", re.IGNORECASE)
_WORTHWHILE = re.compile(r"radeon[^0-9]*(?:6[68]0m|7[468]0m|8[4-9]0m|80[4-6]0s)", re.IGNORECASE)
_NO_ADAPTER = ("microsoft basic", "remote display", "virtual", "hyper-v", "vmware", "parsec", "iddsample")


@dataclass(frozen=True, slots=True)
class Adapter:
    """One display driver's row in the registry."""

    name: str
    driver: str = ""
    memory_bytes: int | None = None
    """HardwareInformation.qwMemorySize: a card's memory, or the carve-out of an APU."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What Windows said; empty where a function is missing."""

    memory_status: bytes = b""
    """MEMORYSTATUSEX."""
    power_status: bytes = b""
    """SYSTEM_POWER_STATUS."""
    cores: bytes = b""
    """SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX records."""
    firmware: bytes = b""
    """GetSystemFirmwareTable("RSMB")."""
    processor_name: str = ""
    machine: str = ""
    features: tuple[str, ...] = ()
    usable_cores: int | None = None
    adapters: tuple[Adapter, ...] = ()
    """Also of cards that were taken out long ago."""
    present: Mapping[str, bool] | None = None
    """Names of the display devices that are there now, and whether a screen hangs on them."""
    version: str = ""
    product: str = ""


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """GlobalMemoryStatusEx, in bytes."""

    total_bytes: int
    available_bytes: int
    page_file_bytes: int
    commit_left_bytes: int


@dataclass(frozen=True, slots=True)
class CoreCount:
    """GetLogicalProcessorInformationEx, counted."""

    physical: int
    performance: int
    logical: int


def describe(answers: Answers) -> Machine | None:
    """The computer that gave these answers; None when not even its memory is known."""
    memory = parse_memory_status(answers.memory_status)
    if memory is None:
        return None
    cores = parse_cores(answers.cores)
    processor = Processor(
        name=" ".join(answers.processor_name.split()) or answers.machine,
        architecture=architecture(answers.machine, answers.features),
        physical_cores=cores.physical if cores is not None else None,
        performance_cores=cores.performance if cores is not None else None,
        logical_cores=cores.logical if cores is not None else None,
        usable_cores=answers.usable_cores,
        features=answers.features,
    )
    modules = memory_modules.parse_windows_smbios(answers.firmware)
    speed = bandwidth.for_processor(processor.name, modules=modules)
    graphics = find_gpus(answers.adapters, answers.present, memory.total_bytes, speed)
    unknown = () if cores is not None else ("How many cores the processor has was not found out.",)
    return Machine(
        name=machine_name(answers.product, processor.name, nominal_gigabytes(memory.total_bytes)),
        system="windows",
        system_version=answers.version,
        processor=processor,
        memory_total_bytes=memory.total_bytes,
        memory_available_bytes=memory.available_bytes,
        commit_left_bytes=memory.commit_left_bytes,
        swap_total_bytes=memory.page_file_bytes,
        bandwidth=speed,
        gpus=graphics.gpus,
        power=parse_power_status(answers.power_status),
        unknown=(*unknown, *graphics.unknown),
    )


def parse_memory_status(raw: bytes) -> MemoryStatus | None:
    """MEMORYSTATUSEX: two 32-bit and seven 64-bit numbers; the page file's figures are commit limit and commit left."""
    if len(raw) != 64:
        return None
    length, _, total, available, commit, commit_left, *_ = struct.unpack("<II7Q", raw)
    if length != 64 or not 0 < total < 1 << 60:
        return None
    return MemoryStatus(total, min(available, total), max(0, commit - total), commit_left)


def parse_power_status(raw: bytes) -> Power:
    """SYSTEM_POWER_STATUS: mains, battery flags, percent, battery saver, and two times; 255 is "unknown"."""
    if len(raw) != 12:
        return Power()
    mains, flags, percent, saver, _, _ = struct.unpack("<BBBBII", raw)
    has_battery = flags not in (128, _UNKNOWN_BYTE)
    return Power(
        on_mains={0: False, 1: True}.get(mains),
        battery_share=percent / 100 if has_battery and percent <= 100 else None,
        saving=saver == 1 if has_battery else None,
    )


def parse_cores(raw: bytes) -> CoreCount | None:
    """SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX for RelationProcessorCore: one record a core, with its efficiency class
    (a higher class is a faster core) and masks of its logical processors.
    """
    classes: list[int] = []
    logical, at = 0, 0
    while at < len(raw):
        if at + 32 > len(raw):
            return None
        relation, size = struct.unpack_from("<II", raw, at)
        if size < 32 or at + size > len(raw):
            return None
        if relation == _RELATION_PROCESSOR_CORE:
            classes.append(raw[at + 9])
            (groups,) = struct.unpack_from("<H", raw, at + 30)
            for group in range(groups):
                start = at + 32 + 16 * group
                logical += int.from_bytes(raw[start : min(start + 8, at + size)], "little").bit_count()
        at += size
    if not classes:
        return None
    return CoreCount(len(classes), sum(1 for level in classes if level == max(classes)), logical or len(classes))


def find_gpus(
    adapters: tuple[Adapter, ...],
    present: Mapping[str, bool] | None,
    memory_total_bytes: int,
    memory_bandwidth: Bandwidth | None,
) -> Found:
    """The adapters that are there now. NVIDIA's come without what is free: only their driver knows it."""
    gpus: list[Gpu] = []
    unknown: list[str] = []
    for adapter in {adapter.name: adapter for adapter in adapters}.values():  # drivers are listed again when renewed
        name = " ".join(adapter.name.split())
        vendor = next((vendor for word, vendor in _VENDORS if word in name.lower()), None)
        if vendor is None or any(word in name.lower() for word in _NO_ADAPTER):
            continue
        if present is not None and adapter.name not in present:
            continue
        is_card = vendor == "nvidia" or _IS_CARD.search(name) is not None
        shared = None
        if not is_card and vendor == "amd" and _WORTHWHILE.search(name):
            shared = memory_total_bytes // 2
            unknown.append(f"How much memory {name} may use was not asked; half of it is assumed, Windows' usual rule.")
        elif not is_card:
            unknown.append(f"How much memory {name} may use is not known, so it is not counted.")
        speed = bandwidth.for_gpu(name, adapter.memory_bytes) if is_card else memory_bandwidth
        if is_card and speed is None and vendor != "nvidia":
            unknown.append(f"How fast the memory of {name} is was not found out.")
        gpus.append(
            Gpu(
                name=name,
                vendor=vendor,
                kind="discrete" if is_card else "integrated",
                memory_total_bytes=adapter.memory_bytes,
                shared_limit_bytes=shared,
                bandwidth=speed,
                drives_display=None if present is None else present[adapter.name],
                driver=adapter.driver,
            )
        )
    return Found(tuple(gpus), tuple(unknown))
