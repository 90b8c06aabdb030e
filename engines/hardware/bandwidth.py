"""How fast memory is read: from tables by chip, from what firmware and driver say, or measured. Bytes per second.

The tables hold vendors' figures, collected in facts/fit.md D.3 (Apple, AMD, Intel, Qualcomm and NVIDIA product pages).
They are what the memory could do at best; what a model gets of it is the business of `engines.fit.speed`.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import re
import time
from collections.abc import Sequence

import psutil

from engines.errors import EngineError
from engines.hardware import memory_modules
from engines.hardware.machine import Bandwidth
from engines.hardware.memory_modules import MemoryModule

GIGABYTE = 10**9
_TABLE = "vendor's figure"

_APPLE: dict[str, tuple[tuple[int, int], ...]] = {
    "M1": ((0, 68),), "M1 Pro": ((0, 200),), "M1 Max": ((0, 400),), "M1 Ultra": ((0, 800),),
    "M2": ((0, 100),), "M2 Pro": ((0, 200),), "M2 Max": ((0, 400),), "M2 Ultra": ((0, 800),),
    "M3": ((0, 100),), "M3 Pro": ((0, 150),), "M3 Max": ((0, 300), (40, 400)), "M3 Ultra": ((0, 819),),
    "M4": ((0, 120),), "M4 Pro": ((0, 273),), "M4 Max": ((0, 410), (40, 546)),
    "M5": ((0, 153),), "M5 Pro": ((0, 307),), "M5 Max": ((0, 460), (40, 614)),
}  # fmt: skip
"""GB/s from so many GPU cores on: the name alone does not tell the two kinds of a Max chip apart."""

_PROCESSORS: tuple[tuple[str, int, str], ...] = (
    (r"ryzen ai max\+? (?:pro )?(?:395|392|390|388|385|380)", 256, "Ryzen AI Max, LPDDR5X-8000, 256 bit"),
    (r"ryzen ai 9 (?:hx )?(?:pro )?(?:365|370|375)", 120, "Ryzen AI 9, LPDDR5X-7500, 128 bit"),
    (r"ryzen [3579] (?:pro )?(?:7840|8840|7640|8640)", 90, "Ryzen 7040 and 8040, DDR5-5600, both channels filled"),
    (r"core\(?(?:tm)?\)? ultra [579] 2\d\dv", 136, "Intel Lunar Lake, LPDDR5X-8533, 128 bit"),
    (r"core\(?(?:tm)?\)? ultra [579] 2[2-8]5h", 120, "Intel Arrow Lake H, LPDDR5X-7467, 128 bit"),
    (r"snapdragon\(?r?\)? x2 elite extreme|\bx2e96", 228, "Snapdragon X2 Elite Extreme"),
    (r"snapdragon\(?r?\)? x(?: elite| plus)?(?![0-9a-z])|\bx1[ep]?-?\d\d", 135, "Snapdragon X, LPDDR5X-8448, 128 bit"),
    (r"\bgb10\b", 273, "NVIDIA GB10"),
)

_GPUS: dict[str, tuple[int, int | None]] = {
    "rtx 3060": (360, 12), "rtx 3070": (448, 8), "rtx 3080": (760, 10), "rtx 3090": (936, 24),
    "rtx 4060": (272, 8), "rtx 4070": (504, 12), "rtx 4070 ti super": (672, 16), "rtx 4080": (717, 16),
    "rtx 4090": (1008, 24),
    "rtx 5060 ti": (448, None), "rtx 5070": (672, 12), "rtx 5070 ti": (896, 16), "rtx 5080": (960, 16),
    "rtx 5090": (1792, 32),
    "rx 6800 xt": (512, 16), "rx 7800 xt": (624, 16), "rx 7900 xt": (800, 20), "rx 7900 xtx": (960, 24),
    "rx 9070 xt": (640, 16),
    "arc a770": (560, None), "arc b580": (456, 12),
    "t4": (320, None), "h100 80gb hbm3": (3350, 80), "h200": (4800, 141),
    "a100-sxm4-40gb": (1555, 40), "a100-pcie-40gb": (1555, 40), "a100-sxm4-80gb": (2039, 80),
}  # fmt: skip
"""GB/s and, where the name also belongs to other variants, the memory in GB that this row is for."""
_NOT_A_NAME = re.compile(
    r"\(r\)|\(tm\)|\b(nvidia|geforce|amd|ati|radeon|intel|tesla|quadro|graphics|corporation)\b", re.IGNORECASE
)
_NAME_SEPARATOR = re.compile(r"\s*/\s*")

_MEASURED_BYTES = 128 * 1024 * 1024
"""Per buffer: two of them are larger than the caches of any desktop processor."""
_SMALLEST_MEASURED_BYTES = 16 * 1024 * 1024
_ROUNDS = 5
_MOST_THREADS = 4


def for_processor(name: str, *, gpu_cores: int | None = None, modules: Sequence[MemoryModule] = ()) -> Bandwidth | None:
    """Of main memory, by the processor's name; None for one that is not in the table.

    What the firmware says of the memory modules (`modules`) goes first, because most processors take several kinds.
    An Apple chip that exists with two bandwidths and whose GPU cores are not known gets the lower one.
    """
    apple = re.search(r"\bapple (m\d(?: (?:pro|max|ultra))?)\b", name, re.IGNORECASE)
    if apple is not None:
        return _of_apple(apple[1], gpu_cores)
    listed = memory_modules.bandwidth(modules)
    if listed is not None:
        return listed
    for pattern, gigabytes, note in _PROCESSORS:
        if re.search(pattern, name, re.IGNORECASE):
            return Bandwidth(bytes_per_second=gigabytes * GIGABYTE, source="table", note=f"{note}, {_TABLE}")
    return None


def for_gpu(name: str, memory_total_bytes: int | None = None) -> Bandwidth | None:
    """Of a card's own memory, by its name; None for one that is not in the table (as are all notebook variants).

    A name that stands for several cards ("RX 7900 XT/7900 XTX") gets the slowest that its memory leaves.
    """
    found = [
        (gigabytes, row)
        for row in _card_names(name)
        if row in _GPUS
        for gigabytes, memory in (_GPUS[row],)
        if _is_about(memory, memory_total_bytes)
    ]
    if not found:
        return None
    gigabytes, row = min(found)
    return Bandwidth(
        bytes_per_second=gigabytes * GIGABYTE, source="table", note=f"{row.upper().replace(' TI', ' Ti')}, {_TABLE}"
    )


def measure_memory(size_bytes: int = _MEASURED_BYTES) -> Bandwidth:
    """Measures what the processor's cores reach together; takes about half a second and twice `size_bytes` of memory.

    Up to four threads copy one buffer into another, both far larger than the caches; what is read and what is written
    both count, and the best of five rounds is taken. It is what programs get, not what the modules could do, so it is
    below the figure of a table. Raises EngineError where there is not enough memory to measure.
    """
    size = min(size_bytes, psutil.virtual_memory().available // 8)
    threads = max(1, min(_MOST_THREADS, os.cpu_count() or 1))
    size -= size % (4096 * threads)
    if size < min(size_bytes, _SMALLEST_MEASURED_BYTES) or size <= 0:
        raise EngineError("There is not enough free memory to measure its speed.", "Close some programs and try again.")
    source, target = (ctypes.c_char * size)(), (ctypes.c_char * size)()
    ctypes.memset(source, 1, size)
    ctypes.memset(target, 2, size)
    best_s = min(_copy_seconds(source, target, threads) for _ in range(_ROUNDS))
    return Bandwidth(
        bytes_per_second=int(2 * size / best_s),
        source="measured",
        note=f"copying memory with {threads} threads, reading and writing counted",
    )


def _copy_seconds(source: ctypes.Array[ctypes.c_char], target: ctypes.Array[ctypes.c_char], threads: int) -> float:
    part = len(source) // threads
    begin, end = ctypes.addressof(source), ctypes.addressof(target)

    def copy(number: int) -> None:
        ctypes.memmove(end + number * part, begin + number * part, part)  # lets go of the interpreter's lock

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        started_at = time.perf_counter()
        for _ in pool.map(copy, range(threads)):
            pass
        return max(time.perf_counter() - started_at, 1e-9)


def _of_apple(chip: str, gpu_cores: int | None) -> Bandwidth | None:
    words = chip.split()
    chip = " ".join([words[0].upper(), *(word.capitalize() for word in words[1:])])
    rows = _APPLE.get(chip)
    if rows is None:
        return None
    gigabytes = max(figure for cores, figure in rows if cores <= (gpu_cores or 0))
    note = f"Apple {chip}, {_TABLE}"
    if len(rows) > 1:
        note += f", {gpu_cores} GPU cores" if gpu_cores else ", the lower of two because the GPU's cores are not known"
    return Bandwidth(bytes_per_second=gigabytes * GIGABYTE, source="table", note=note)


def _card_names(name: str) -> list[str]:
    """The names in one: "Radeon RX 7900 XT/7900 XTX" gives "rx 7900 xt" and "rx 7900 xtx"."""
    plain = " ".join(_NOT_A_NAME.sub(" ", name).lower().split())
    first, *others = _NAME_SEPARATOR.split(plain)
    family = first.split(" ")[0]
    return [first, *(other if other.startswith(family) else f"{family} {other}" for other in others)]


def _is_about(memory_gigabytes: int | None, memory_total_bytes: int | None) -> bool:
    """Drivers report somewhat less than what is printed on the box."""
    if memory_gigabytes is None or memory_total_bytes is None:
        return True
    return 0.9 <= memory_total_bytes / (memory_gigabytes * 1024**3) <= 1.03
