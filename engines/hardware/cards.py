"""Cards with a driver of their own to ask: NVIDIA through its library or nvidia-smi, Huawei's NPUs through npu-smi.

Only finds them; whether an engine can compute on one is the registry's knowledge. Sizes are bytes. Nothing raises:
what a card does not say is None, and sentences for people come back beside the cards.
"""

from __future__ import annotations

import csv
import ctypes
import re
import sys
from dataclasses import dataclass, replace
from typing import Any

from engines.hardware import bandwidth
from engines.hardware.asking import complete_lines, find_program, run_program
from engines.hardware.machine import Bandwidth, Gpu

MEBIBYTE = 1024**2

_SMI_COLUMNS = "name,memory.total,memory.free,driver_version,display_active"
_NVML_TEXT_BYTES = 96
_NVML_CLOCK_MEMORY = 2
_MOST_CARDS = 64


@dataclass(frozen=True, slots=True)
class Found:
    """Cards, and what could not be found out about them."""

    gpus: tuple[Gpu, ...] = ()
    unknown: tuple[str, ...] = ()


# --------------------------------------------------------------------------------------------------------- NVIDIA


def read_nvidia(memory_total_bytes: int | None) -> Found:
    """NVIDIA's cards: by the driver's library, else by nvidia-smi. `memory_total_bytes` is main memory's."""
    library = _load_nvml()
    gpus = read_nvml(library) if library is not None else ()
    if not gpus:
        program = find_program("nvidia-smi")
        if program is None:
            return Found()
        gpus = parse_nvidia_smi(run_program([program, f"--query-gpu={_SMI_COLUMNS}", "--format=csv"]))
    return with_shared_memory(gpus, memory_total_bytes)


def with_shared_memory(gpus: tuple[Gpu, ...], memory_total_bytes: int | None) -> Found:
    """Chips that say nothing of memory of their own, such as GB10, compute on main memory (facts/fit.md C.2)."""
    found: list[Gpu] = []
    unknown: list[str] = []
    for gpu in gpus:
        if gpu.memory_total_bytes is None and re.search(r"\bGB10\b|\bThor\b|\bOrin\b", gpu.name):
            found.append(replace(gpu, kind="integrated", shared_limit_bytes=memory_total_bytes))
            unknown.append(f"{gpu.name} shares the main memory and names no limit of its own; all of it is assumed.")
            continue
        found.append(gpu)
        if gpu.memory_total_bytes is None:
            unknown.append(f"How much memory {gpu.name} has was not found out, so it is not counted.")
        elif gpu.bandwidth is None:
            unknown.append(f"How fast the memory of {gpu.name} is was not found out.")
    return Found(tuple(found), tuple(unknown))


def _load_nvml() -> ctypes.CDLL | None:
    name = {"win32": "nvml.dll", "linux": "libnvidia-ml.so.1"}.get(sys.platform)
    if name is None:
        return None
    try:
        return ctypes.CDLL(name)
    except OSError:  # no NVIDIA driver here
        return None


class _NvmlMemory(ctypes.Structure):
    """`nvmlMemory_t` of nvml.h."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def read_nvml(library: Any) -> tuple[Gpu, ...]:
    """Asks NVML (its C functions, as in NVIDIA's nvml.h; each answers 0 for success).

    `library` has those functions as attributes. A function that this driver lacks leaves its figure out.
    """
    if _call(library, "nvmlInit_v2") != 0:
        return ()
    try:
        count = ctypes.c_uint()
        if _call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count)) != 0:
            return ()
        driver = _nvml_text(library, "nvmlSystemGetDriverVersion")
        found = (_nvml_card(library, index, driver) for index in range(min(count.value, _MOST_CARDS)))
        return tuple(gpu for gpu in found if gpu is not None)
    finally:
        _call(library, "nvmlShutdown")


def _nvml_card(library: Any, index: int, driver: str) -> Gpu | None:
    handle = ctypes.c_void_p()
    if _call(library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle)) != 0:
        return None
    memory = _NvmlMemory()
    has_memory = _call(library, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory)) == 0 and memory.total > 0
    name = _nvml_text(library, "nvmlDeviceGetName", handle) or "NVIDIA GPU"
    total = memory.total if has_memory else None
    width = _nvml_number(library, "nvmlDeviceGetMemoryBusWidth", handle)
    clock = _nvml_number(library, "nvmlDeviceGetMaxClockInfo", handle, ctypes.c_int(_NVML_CLOCK_MEMORY))
    display = _nvml_number(library, "nvmlDeviceGetDisplayActive", handle)
    return Gpu(
        name=name,
        vendor="nvidia",
        kind="discrete",
        memory_total_bytes=total,
        memory_free_bytes=min(memory.free, memory.total) if has_memory else None,
        bandwidth=bandwidth.for_gpu(name, total) or nvidia_bandwidth(width, clock),
        drives_display=None if display is None else bool(display),
        driver=driver,
    )


def nvidia_bandwidth(width_bits: int | None, clock_mhz: int | None) -> Bandwidth | None:
    """Bus width times twice the memory clock that NVML names: GDDR6, GDDR6X, GDDR7 and HBM alike.

    Checked against data sheets: RTX 4090 384 bit, 10501 MHz: 1008 GB/s; A100 5120 bit, 1215 MHz: 1555 GB/s.
    """
    if not width_bits or not clock_mhz:
        return None
    return Bandwidth(
        bytes_per_second=2 * clock_mhz * 1_000_000 * width_bits // 8,
        source="table",
        note=f"{width_bits} bit at {clock_mhz} MHz, by the driver",
    )


def _call(library: Any, name: str, *arguments: object) -> int:
    """A function's answer; -1 when the driver has no such function or refuses the call."""
    try:
        return int(getattr(library, name)(*arguments))
    except (AttributeError, OSError, ctypes.ArgumentError):
        return -1


def _nvml_text(library: Any, name: str, *handle: ctypes.c_void_p) -> str:
    buffer = ctypes.create_string_buffer(_NVML_TEXT_BYTES)
    if _call(library, name, *handle, buffer, ctypes.c_uint(_NVML_TEXT_BYTES)) != 0:
        return ""
    return buffer.value.decode("utf-8", "replace").strip()


def _nvml_number(library: Any, name: str, *arguments: object) -> int | None:
    number = ctypes.c_uint()
    if _call(library, name, *arguments, ctypes.byref(number)) != 0:
        return None
    return number.value


def parse_nvidia_smi(text: str) -> tuple[Gpu, ...]:
    """The cards in `nvidia-smi --query-gpu=... --format=csv`: any columns in any order, as long as name is there."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(complete_lines(text))]
    if not rows or "name" not in (header := [cell.split(" [")[0] for cell in rows[0]]):
        return ()
    found = []
    for row in rows[1:][:_MOST_CARDS]:
        if len(row) != len(header):
            continue
        cells = dict(zip(header, row, strict=True))
        total, free = _mebibytes(cells.get("memory.total")), _mebibytes(cells.get("memory.free"))
        found.append(
            Gpu(
                name=cells["name"],
                vendor="nvidia",
                kind="discrete",
                memory_total_bytes=total,
                memory_free_bytes=free if total is not None else None,
                bandwidth=bandwidth.for_gpu(cells["name"], total),
                drives_display={"Enabled": True, "Disabled": False}.get(cells.get("display_active", "")),
                driver=cells.get("driver_version", ""),
            )
        )
    return tuple(found)


def _mebibytes(text: str | None) -> int | None:
    match = re.fullmatch(r"(\d{1,9})(?: MiB)?", text or "")
    return int(match[1]) * MEBIBYTE if match is not None and int(match[1]) > 0 else None


# -------------------------------------------------------------------------------------------------- Huawei Ascend


def read_ascend() -> Found:
    """Huawei's NPUs, by npu-smi."""
    program = find_program("npu-smi")
    return Found(parse_npu_smi(run_program([program, "info"]))) if program is not None else Found()


def parse_npu_smi(text: str) -> tuple[Gpu, ...]:
    """The chips in the table of `npu-smi info`: two lines each, the second with memory as "used / total" in MB."""
    found: list[Gpu] = []
    name = ""
    version = re.search(r"npu-smi (\S+)", text)
    for line in complete_lines(text):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 3 or not line.rstrip().endswith("|"):
            name = ""
            continue
        first = re.fullmatch(r"\d+\s+(\S*[A-Za-z]\S*|\d+\S*[A-Za-z]\S*)", cells[0])
        if first is not None:
            name = first[1]
            continue
        pairs = re.findall(r"(\d+)\s*/\s*(\d+)", cells[2])
        if name and pairs and int(pairs[-1][1]) > 0:
            used, total = (int(figure) * MEBIBYTE for figure in pairs[-1])
            found.append(
                Gpu(
                    name=name if name.lower().startswith("ascend") else f"Ascend {name}",
                    vendor="huawei",
                    kind="discrete",
                    memory_total_bytes=total,
                    memory_free_bytes=max(0, total - used),
                    drives_display=False,
                    driver=version[1] if version is not None else "",
                )
            )
        name = ""
    return tuple(found[:_MOST_CARDS])
