"""A Linux computer: /proc, /sys and udev's database, read below a root that tests replace, and turned into a Machine.

Knows nothing of NVIDIA's and Huawei's cards (`cards`) and of the disk (`disk`). Nothing raises.
"""

from __future__ import annotations

import math
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from engines.hardware import bandwidth, linux_cards, memory_modules
from engines.hardware.asking import complete_lines, read_bytes, read_number, read_text
from engines.hardware.machine import Machine, Power, Processor
from engines.hardware.naming import machine_name, nominal_gigabytes
from engines.memory import read_cgroup

KIBIBYTE = 1024

_FEATURES = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("sve", "sve2", "sme", "i8mm", "bf16"),
)
_ARM_FEATURES = {"asimd": "neon", "asimdhp": "fp16", "asimddp": "dotprod"}
"""What Linux calls otherwise than the rest of the world."""
_PARTS = {("0x51", "0x001"): "Qualcomm Oryon", ("0x51", "0x002"): "Qualcomm Oryon"}
_MAKERS = {"0x41": "Arm", "0x48": "HiSilicon", "0x51": "Qualcomm", "0x61": "Apple", "0xc0": "Ampere"}
"""ARM cores have no name in /proc/cpuinfo, only an implementer and a part number."""
_FULL_CAPACITY = 0.7
"""A core with so much of the fastest one's capacity counts as a performance core."""
_PLACEHOLDERS = re.compile(
    r"to be filled|default string|system product|system manufacturer|not specified|^none$|o\.e\.m"
)


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """What /proc/meminfo says, in bytes."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessorText:
    """What /proc/cpuinfo says."""

    name: str = ""
    features: tuple[str, ...] = ()
    physical_cores: int | None = None
    logical_cores: int | None = None


def read(root: Path = Path("/"), *, affinity_cores: int | None = None) -> Machine | None:
    """The computer below `root`; None when not even its memory is known.

    `affinity_cores` is how many cores this process's affinity mask leaves.
    """
    memory = parse_meminfo(read_text(root / "proc/meminfo"))
    if memory.total_bytes is None:
        return None
    processor = _processor(root, affinity_cores)
    modules = memory_modules.parse_udev(read_text(root / "run/udev/data/+dmi:id"))
    if not modules:
        modules = memory_modules.parse_smbios(read_bytes(root / "sys/firmware/dmi/tables/DMI"))
    speed = bandwidth.for_processor(processor.name, modules=modules)
    graphics = linux_cards.read(root, processor.name, speed)
    group = read_cgroup(root / "proc/self/cgroup", root / "sys/fs/cgroup")
    limit = group.limit_bytes if group is not None and group.limit_bytes < memory.total_bytes else None
    available = memory.available_bytes
    if group is not None and available is not None:
        available = min(available, group.available_bytes)
    unknown = list(graphics.unknown)
    if memory.available_bytes is None:
        unknown.append("How much memory is free now was not found out.")
    if processor.performance_cores is None:
        unknown.append("How many cores the processor has was not found out.")
    swap_total, swap_free = memory.swap_total_bytes, memory.swap_free_bytes
    return Machine(
        name=machine_name(_product(root), processor.name, nominal_gigabytes(memory.total_bytes)),
        system="linux",
        system_version=_system_version(root),
        processor=processor,
        memory_total_bytes=min(memory.total_bytes, limit or memory.total_bytes),
        memory_available_bytes=available,
        container_limit_bytes=limit,
        swap_total_bytes=swap_total,
        swap_used_bytes=None if swap_total is None or swap_free is None else max(0, swap_total - swap_free),
        bandwidth=speed,
        gpus=graphics.gpus,
        power=read_power(root),
        unknown=tuple(unknown),
    )


def parse_meminfo(text: str) -> MemoryFigures:
    """The four lines of /proc/meminfo that matter here."""
    lines = (re.fullmatch(r"(\w+):\s+(\d{1,15}) kB", line) for line in complete_lines(text))
    figures = {match[1]: int(match[2]) * KIBIBYTE for match in lines if match is not None}
    return MemoryFigures(
        total_bytes=figures.get("MemTotal") or None,
        available_bytes=figures.get("MemAvailable"),
        swap_total_bytes=figures.get("SwapTotal"),
        swap_free_bytes=figures.get("SwapFree"),
    )


def parse_cpuinfo(text: str) -> ProcessorText:
    """Name, features and core counts in /proc/cpuinfo, of x86 and of ARM."""
    lines = (re.fullmatch(r"([^:]*?)\s*:\s*(.*?)\s*", line) for line in complete_lines(text))
    pairs = [(match[1], match[2]) for match in lines if match is not None]
    first: dict[str, str] = {}
    for key, value in pairs:
        first.setdefault(key, value)
    packages = {value for key, value in pairs if key == "physical id"}
    cores = first.get("cpu cores", "")
    present = set((first.get("flags") or first.get("Features") or "").split())
    maker, part = first.get("CPU implementer", ""), first.get("CPU part", "")
    return ProcessorText(
        name=first.get("model name") or _PARTS.get((maker, part)) or _MAKERS.get(maker, ""),
        features=tuple(sorted({_ARM_FEATURES.get(word, word) for word in present} & _known_features())),
        physical_cores=int(cores) * max(1, len(packages)) if re.fullmatch(r"[1-9]\d{0,3}", cores) else None,
        logical_cores=sum(1 for key, value in pairs if key == "processor" and value.isdecimal()) or None,
    )


def _known_features() -> set[str]:
    return {*_FEATURES, *_ARM_FEATURES.values()}


def _processor(root: Path, affinity_cores: int | None) -> Processor:
    text = parse_cpuinfo(read_text(root / "proc/cpuinfo"))
    cores = _cores(root)
    physical = len(set(cores.values())) or text.physical_cores
    logical = text.logical_cores or len(cores) or None
    usable = [figure for figure in (affinity_cores, _quota_cores(root), logical) if figure]
    return Processor(
        name=_chip_of_device_tree(root) or text.name or platform.machine(),
        architecture=architecture(platform.machine(), text.features),
        physical_cores=physical,
        performance_cores=_performance_cores(root, cores) or physical,
        logical_cores=logical,
        usable_cores=min(usable, default=None),
        features=text.features,
    )


def architecture(machine: str, features: tuple[str, ...] = ()) -> str:
    """x86_64 or arm64, whatever the system calls it; the features win, because they come from the same text."""
    if "neon" in features:
        return "arm64"
    if features:
        return "x86_64"
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(machine.lower(), machine.lower())


def _cores(root: Path) -> dict[int, tuple[int, int]]:
    """For each logical core, which physical one it is: package and core number."""
    found = {}
    for folder in root.glob("sys/devices/system/cpu/cpu[0-9]*"):
        core = read_number(folder / "topology/core_id")
        if folder.name[3:].isdecimal() and core is not None:
            found[int(folder.name[3:])] = (read_number(folder / "topology/physical_package_id") or 0, core)
    return found


def _performance_cores(root: Path, cores: dict[int, tuple[int, int]]) -> int | None:
    """The fast ones of a processor with two kinds of cores: Intel's own list, or ARM's capacities."""
    listed = parse_core_list(read_text(root / "sys/devices/cpu_core/cpus"))
    fast = {cores[number] for number in listed if number in cores}
    if fast:
        return len(fast)
    capacities = {
        core: capacity
        for number, core in cores.items()
        if (capacity := read_number(root / f"sys/devices/system/cpu/cpu{number}/cpu_capacity")) is not None
    }
    if not capacities:
        return None
    return sum(1 for capacity in capacities.values() if capacity >= _FULL_CAPACITY * max(capacities.values()))


def parse_core_list(text: str) -> tuple[int, ...]:
    """The kernel's way to write a set of cores: "0-3,8"."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if match is None:
            return ()
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(numbers)


def _quota_cores(root: Path) -> int | None:
    """How many cores' worth of time a container or unit may use, rounded up; None without such a limit."""
    groups, smallest = read_text(root / "proc/self/cgroup"), math.inf
    for line in groups.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        folder = top / path.lstrip("/")
        while folder.is_relative_to(top) and ".." not in folder.parts:
            smallest = min(smallest, _quota(folder))
            folder = folder.parent
    return max(1, math.ceil(smallest)) if smallest < math.inf else None


def _quota(folder: Path) -> float:
    words = read_text(folder / "cpu.max").split()
    if not words:
        words = [read_text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        return math.inf
    return int(words[0]) / int(words[1])


def read_power(root: Path) -> Power:
    """Mains or battery. A computer without a battery runs on mains; a mouse's battery is none of the computer's."""
    folder = root / "sys/class/power_supply"
    if not folder.is_dir():
        return Power()
    mains: list[bool] = []
    shares: list[float] = []
    for supply in sorted(folder.iterdir()):
        kind = read_text(supply / "type").strip()
        if read_text(supply / "scope").strip() == "Device":
            continue
        if kind in ("Mains", "USB"):
            mains.append(read_number(supply / "online") == 1)
        elif kind == "Battery":
            share = read_number(supply / "capacity")
            shares.append(min(share, 100) / 100 if share is not None else -1.0)
    known = [share for share in shares if share >= 0]
    profile = read_text(root / "sys/firmware/acpi/platform_profile").strip()
    return Power(
        on_mains=any(mains) if mains else (None if shares else True),
        battery_share=sum(known) / len(known) if known else None,
        saving=profile == "low-power" if profile else None,
    )


def _chip_of_device_tree(root: Path) -> str:
    """ARM computers name their chip here: "qcom,x1e80100" is a Snapdragon X Elite."""
    names = read_text(root / "proc/device-tree/compatible")
    if re.search(r"qcom,x1e", names):
        return "Qualcomm Snapdragon X Elite"
    if re.search(r"qcom,x1p", names):
        return "Qualcomm Snapdragon X Plus"
    return "Qualcomm Snapdragon X2" if re.search(r"qcom,(?:x2|glymur)", names) else ""


def _product(root: Path) -> str:
    dmi = root / "sys/class/dmi/id"
    vendor, product = (read_text(dmi / name).strip() for name in ("sys_vendor", "product_name"))
    if vendor.upper() == "LENOVO":
        product = read_text(dmi / "product_version").strip() or product
    words = [word for word in (vendor, product) if word and not _PLACEHOLDERS.search(word.lower())]
    if len(words) == 2 and words[1].lower().startswith(words[0].split()[0].lower()):
        words = words[1:]
    return " ".join(words) or read_text(root / "proc/device-tree/model").strip("\0\n ")


def _system_version(root: Path) -> str:
    names = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text(root / "etc/os-release"), re.MULTILINE)
    kernel = read_text(root / "proc/sys/kernel/osrelease").strip()
    return ", ".join(part for part in (names[1] if names else "", f"kernel {kernel}" if kernel else "") if part)
