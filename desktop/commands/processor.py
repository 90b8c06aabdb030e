"""What processor this is and what it can do, for a report. Asking the system is separate from reading its answer."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_TELLING_FEATURES = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
"""Those that decide how fast a model runs, by their Linux names."""
_MAC_FEATURES = {
    "avx1.0": "avx",
    "sse4.2": "sse4_2",
    "fma": "fma",
    "f16c": "f16c",
    "avx2": "avx2",
    "avx512f": "avx512f",
    "feat_dotprod": "asimddp",
    "feat_i8mm": "i8mm",
    "feat_bf16": "bf16",
    "feat_sme": "sme",
}
_WINDOWS_FEATURES = {38: "sse4_2", 39: "avx", 40: "avx2", 41: "avx512f", 43: "asimddp"}
"""Numbers of IsProcessorFeaturePresent."""
_ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Processor:
    """One processor as a report shows it. None: the system does not say."""

    name: str
    machine: str
    physical_cores: int | None
    logical_cores: int | None
    usable_cores: int | None
    """What this process may use: a container or `taskset` can allow less than there is."""
    features: tuple[str, ...]


def read_processor() -> Processor:
    """Never raises: what cannot be found out is left out."""
    if sys.platform == "linux":
        name, features = parse_linux(_read(Path("/proc/cpuinfo")))
    elif sys.platform == "darwin":
        name, features = parse_macos(_ask_sysctl())
    else:
        name, features = platform.processor(), _windows_features()
    return Processor(
        name=name or platform.processor() or platform.machine(),
        machine=platform.machine(),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(logical=True),
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        features=features,
    )


def parse_linux(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    """Name and features in what /proc/cpuinfo says of the first core."""
    first = cpuinfo.split("\n\n", 1)[0]
    fields = dict(re.findall(r"^([^\n:]*?)\s*:\s*(.*)$", first, re.MULTILINE))
    present = set((fields.get("flags") or fields.get("Features") or "").split())
    return fields.get("model name", ""), tuple(name for name in _TELLING_FEATURES if name in present)


def parse_macos(sysctl: str) -> tuple[str, tuple[str, ...]]:
    """Name and features in what `sysctl machdep.cpu hw.optional` says."""
    fields = dict(re.findall(r"^([^\s:]+): (.*)$", sysctl, re.MULTILINE))
    words: set[str] = set()
    for key in ("machdep.cpu.features", "machdep.cpu.leaf7_features"):
        words.update(fields.get(key, "").lower().split())
    words.update(key.rpartition(".")[2].lower() for key, value in fields.items() if value == "1")
    present = {_MAC_FEATURES[word] for word in words if word in _MAC_FEATURES}
    return fields.get("machdep.cpu.brand_string", ""), tuple(name for name in _TELLING_FEATURES if name in present)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a container may hide it
        return ""


def _ask_sysctl() -> str:
    command = ["/usr/sbin/sysctl", "machdep.cpu", "hw.optional"]
    try:
        # It also complains about the names that this kind of Mac does not have.
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout


def _windows_features() -> tuple[str, ...]:
    if sys.platform == "win32":
        import ctypes

        is_present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        return tuple(name for number, name in _WINDOWS_FEATURES.items() if is_present(number))
    else:  # noqa: RET505 - mypy reads the branches of a platform apart only in this form
        return ()
