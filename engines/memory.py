"""How much memory there is now, and what a model needs before anybody has looked into its file.

Read anew before each load, because "available" moves. Knows nothing of GPUs, and the need is an estimate: both get
better answers from the fit once that exists; until then this errs on the side of not loading.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

MEBIBYTE = 1024**2
GIBIBYTE = 1024**3
_NO_LIMIT_BYTES = 1 << 60
"""Version 1 of cgroups writes "no limit" as the largest number of pages."""


@dataclass(frozen=True, slots=True)
class CgroupMemory:
    """The tightest memory limit that a container or a systemd unit sets on this process."""

    limit_bytes: int
    used_bytes: int
    """Without file pages that the kernel takes back when they are needed."""

    @property
    def available_bytes(self) -> int:
        """What is left below the limit."""
        return max(0, self.limit_bytes - self.used_bytes)


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of this machine at one moment, as far as this process may use it."""

    total_bytes: int
    available_bytes: int
    cgroup: CgroupMemory | None = None


def read_memory() -> Memory:
    """What the system says now, with a container's limit where there is one."""
    system = psutil.virtual_memory()
    group = read_cgroup() if sys.platform == "linux" else None
    if group is None:
        return Memory(total_bytes=system.total, available_bytes=system.available)
    return Memory(
        total_bytes=min(system.total, group.limit_bytes),
        available_bytes=min(system.available, group.available_bytes),
        cgroup=group,
    )


def peak_memory_bytes(status_file: Path = Path("/proc/self/status")) -> int:
    """The most memory that this process has had resident so far, mapped files included; 0 where nobody can tell.

    Linux: VmHWM. `ru_maxrss` begins there with the memory of the process that started this one (the kernel hands it
    over at exec), so a small engine started by a large window would look large.
    """
    if sys.platform == "linux":
        for line in _read(status_file).splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0
    elif sys.platform == "win32":  # noqa: RET505 - mypy reads the branches of a platform apart only in this form
        return int(psutil.Process().memory_info().peak_wset)
    else:
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS


def estimate_needed_bytes(file_bytes: int) -> int:
    """What a model of this file size takes in memory: an estimate, file size x 1.1 + 0.5 GiB.

    The tenth is for what the engine makes of the weights, the half GiB for a context of about 8192 tokens of a model
    up to 9B, its working space and the process. Long contexts and old attention layouts take more.
    """
    return file_bytes + file_bytes // 10 + GIBIBYTE // 2


def read_cgroup(
    group_file: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> CgroupMemory | None:
    """The tightest limit from this process's group up to the root, of either cgroup version; None without a limit."""
    tightest: CgroupMemory | None = None
    smallest_bytes = _NO_LIMIT_BYTES
    for line in _read(group_file).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            found = _walk(root, path, ("memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            found = _walk(root / "memory", path, names)
        else:
            continue
        if found is None:
            continue
        smallest_bytes = min(smallest_bytes, found.limit_bytes)
        if tightest is None or found.available_bytes < tightest.available_bytes:
            tightest = found
    return _within(smallest_bytes, tightest)


def _within(smallest_bytes: int, tightest: CgroupMemory | None) -> CgroupMemory | None:
    """The smallest limit on the way to the root, with what the tightest group leaves: they may be different groups."""
    if tightest is None:
        return None
    return CgroupMemory(smallest_bytes, max(0, smallest_bytes - tightest.available_bytes))


def _walk(root: Path, path: str, names: tuple[str, str, str]) -> CgroupMemory | None:
    limit_name, used_name, reclaimable_name = names
    folder = root / path.lstrip("/")
    if not (folder / used_name).exists():
        folder = root  # inside a container the group's own path is not mounted
    tightest: CgroupMemory | None = None
    smallest_bytes = _NO_LIMIT_BYTES
    while True:
        limit, used = _read_int(folder / limit_name), _read_int(folder / used_name)
        if limit is not None and used is not None and 0 < limit < _NO_LIMIT_BYTES:
            reclaimable = _read_statistic(folder / "memory.stat", reclaimable_name)
            found = CgroupMemory(limit_bytes=limit, used_bytes=max(0, used - reclaimable))
            smallest_bytes = min(smallest_bytes, limit)
            if tightest is None or found.available_bytes < tightest.available_bytes:
                tightest = found
        if folder == root:
            return _within(smallest_bytes, tightest)
        folder = folder.parent


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:  # the system has no such file, which is an answer too
        return ""


def _read_int(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _read_statistic(path: Path, name: str) -> int:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0
