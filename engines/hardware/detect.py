"""The computer we are on, as a Machine: picks the system, adds cards and disk, and never raises.

What could not be found out is None in the value and a sentence in `unknown`. Takes a fraction of a second on Linux and
Windows and about as long on a Mac; every program that is asked has a time limit.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psutil

from engines.errors import EngineError
from engines.hardware import bandwidth, cards, disk, linux, macos, windows, windows_calls
from engines.hardware.machine import Bandwidth, Gpu, Machine, Processor, System
from engines.hardware.naming import machine_name, nominal_gigabytes
from engines.memory import read_memory

NO_BANDWIDTH = "How fast the main memory is was not found out; `snug machine --measure` measures it."
"""In `unknown` while nothing is known of it; to be left out by whoever fills the figure in."""


logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


def read_machine(model_folder: Path | None = None) -> Machine:
    """The computer we are on, now. `model_folder` is where models are kept: the disk that is looked at."""
    machine = _guarded(_read_system, None) or _bare_machine()
    total = machine.memory_total_bytes
    found = _guarded(lambda: cards.read_nvidia(total), cards.Found())
    ascend = _guarded(cards.read_ascend, cards.Found())
    machine = with_cards(machine, (*found.gpus, *ascend.gpus), (*found.unknown, *ascend.unknown))
    if machine.bandwidth is None:
        machine = replace(machine, unknown=(*machine.unknown, NO_BANDWIDTH))
    return replace(machine, disk=disk.read_disk(model_folder if model_folder is not None else Path.home()))


def measured(machine: Machine) -> Machine:
    """The same computer with the speed of its memory and of its disk measured; takes two or three seconds.

    A measured figure of main memory takes the place of none and of an assumed one, and stays beside that of a table
    only in words. What cannot be measured is said.
    """
    unknown = [sentence for sentence in machine.unknown if sentence != NO_BANDWIDTH]
    speed = _measure(bandwidth.measure_memory, unknown)
    place = Path(machine.disk.path) if machine.disk is not None else Path.home()
    read = _measure(lambda: disk.measure_random_read(place), unknown)
    return replace(
        machine,
        bandwidth=beside_table(machine.bandwidth, speed),
        disk=replace(machine.disk or disk.read_disk(place), random_read=read),
        unknown=tuple(unknown),
    )


def beside_table(known: Bandwidth | None, speed: Bandwidth | None) -> Bandwidth | None:
    """The figure to go by: the table's if there is one, with the measured one named beside it."""
    if known is None or speed is None or known.source != "table":
        return speed or known
    gigabytes = speed.bytes_per_second / bandwidth.GIGABYTE
    return replace(known, note=f"{known.note}; measured {gigabytes:.0f} GB/s by {speed.note}")


def with_cards(machine: Machine, gpus: tuple[Gpu, ...], unknown: tuple[str, ...] = ()) -> Machine:
    """The machine with cards that their own driver described, in place of what the system alone saw of that vendor."""
    vendors = {gpu.vendor for gpu in gpus}
    seen = [gpu for gpu in machine.gpus if gpu.vendor not in vendors]
    sentences = [
        f"{gpu.name} has no driver that says how much memory it has, so it is not counted."
        for gpu in seen
        if gpu.kind == "discrete" and gpu.vendor == "nvidia" and gpu.memory_total_bytes is None
    ]
    described = tuple(
        replace(gpu, bandwidth=gpu.bandwidth or machine.bandwidth) if gpu.kind == "integrated" else gpu for gpu in gpus
    )
    return replace(machine, gpus=(*described, *seen), unknown=(*machine.unknown, *unknown, *sentences))


def _guarded(read: Callable[[], Answer], otherwise: Answer) -> Answer:
    """A driver or a kernel that nobody has met yet may answer anything; Snug starts all the same."""
    try:
        return read()
    except Exception:  # the outermost border: what went wrong is logged, and missing in the value
        logger.exception("A part of this computer could not be read.")
        return otherwise


def _read_system() -> Machine | None:
    match sys.platform:
        case "linux":
            affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            return linux.read(affinity_cores=affinity)
        case "darwin":
            return macos.read()
        case "win32":
            return windows.describe(windows_calls.ask())
        case _:
            return None


def _bare_machine() -> Machine:
    """What psutil knows, where the system could not be asked."""
    memory = read_memory()
    name = platform.processor() or platform.machine()
    logical = psutil.cpu_count(logical=True)
    systems: dict[str, System] = {"darwin": "macos", "win32": "windows"}
    return Machine(
        name=machine_name("", name, nominal_gigabytes(memory.total_bytes)),
        system=systems.get(sys.platform, "linux"),
        system_version=platform.release(),
        processor=Processor(
            name=name,
            architecture=linux.architecture(platform.machine()),
            physical_cores=psutil.cpu_count(logical=False),
            logical_cores=logical,
            usable_cores=logical,
        ),
        memory_total_bytes=memory.total_bytes,
        memory_available_bytes=memory.available_bytes,
        container_limit_bytes=memory.cgroup.limit_bytes if memory.cgroup is not None else None,
        unknown=("This system was not asked about its processor, its GPUs and its power supply.",),
    )


def _measure(measure: Callable[[], Bandwidth], unknown: list[str]) -> Bandwidth | None:
    try:
        return measure()
    except EngineError as error:
        unknown.append(f"{error.title} {error.details}".strip())
        return None
