"""A computer as the fit sees it: memory, what a GPU may use of it, how fast it reads, what is free. A value only.

Made by `detect`, read from a file, or one of the named profiles. What could not be found out is None, and `unknown`
says so in words. Sizes are bytes, rates are bytes per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

System = Literal["macos", "linux", "windows"]
GpuVendor = Literal["apple", "nvidia", "amd", "intel", "qualcomm", "huawei", "unknown"]
GpuKind = Literal["integrated", "discrete"]
"""integrated: computes on the machine's main memory, so memory is counted once. discrete: has memory of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """How fast memory is read, bytes per second, and where the figure comes from."""

    bytes_per_second: int
    source: Literal["table", "measured", "assumed"]
    note: str = ""
    """The row of the table, or the way of measuring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Something other than the processor that an engine can compute on."""

    name: str
    vendor: GpuVendor
    kind: GpuKind
    memory_total_bytes: int | None = None
    """Its own memory: a card's VRAM, or the carve-out of an AMD APU. None for Apple, which has none."""
    memory_free_bytes: int | None = None
    shared_limit_bytes: int | None = None
    """How much of main memory it may use: Apple's recommended working set (with iogpu.wired_limit_mb), AMD's GTT."""
    bandwidth: Bandwidth | None = None
    cores: int | None = None
    """Apple: tells apart the variants of a chip with different bandwidths."""
    drives_display: bool | None = None
    driver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """The CPU. `features` are lower-case names such as avx2, avx512f, neon, dotprod, i8mm."""

    name: str
    architecture: str
    """x86_64 or arm64."""
    physical_cores: int | None = None
    performance_cores: int | None = None
    logical_cores: int | None = None
    usable_cores: int | None = None
    """What an affinity mask or a container leaves of the logical cores."""
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The disk that models lie on."""

    path: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    random_read: Bandwidth | None = None
    """Random reads of 4 MiB blocks, past the page cache where the system allows it; None until it was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Mains or battery; speed is lower on the latter."""

    on_mains: bool | None = None
    battery_share: float | None = None
    saving: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One computer."""

    name: str
    """For people: "Mac mini, Apple M4, 16 GB"."""
    system: System
    system_version: str = ""
    processor: Processor
    memory_total_bytes: int
    """What the system can give out; below a container's limit when there is one."""
    memory_available_bytes: int | None = None
    """Right now, as the system counts it, a container's limit included. None for a profile: nobody looked."""
    container_limit_bytes: int | None = None
    commit_left_bytes: int | None = None
    """Windows: allocation fails on this, not on memory."""
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    bandwidth: Bandwidth | None = None
    """Of main memory."""
    gpus: tuple[Gpu, ...] = ()
    disk: Disk | None = None
    power: Power = Power()
    profile: str = ""
    """Id of the shipped profile, or empty for a real computer."""
    unknown: tuple[str, ...] = ()
    """What could not be found out, one sentence each."""

    @property
    def is_profile(self) -> bool:
        """Described, not looked at: no figure about it is called exact."""
        return self.memory_available_bytes is None

    @property
    def unified_gpu(self) -> Gpu | None:
        """The GPU that computes on main memory and is worth using, or None. Beside a card it is not used: llama.cpp
        takes integrated GPUs only where it finds no other (llama.cpp, list of devices).
        """
        if self.card is not None:
            return None
        return next((gpu for gpu in self.gpus if gpu.kind == "integrated" and gpu.shared_limit_bytes), None)

    @property
    def card(self) -> Gpu | None:
        """The card with the most memory of its own, or None.

        An APU of which more was carved out of main memory than it may share (a setting of its firmware) counts as a
        card with that memory: the system does not see the carved-out part as its own.
        """
        cards = [
            gpu
            for gpu in self.gpus
            if gpu.memory_total_bytes
            and (gpu.kind == "discrete" or gpu.memory_total_bytes > (gpu.shared_limit_bytes or 0) > 0)
        ]
        return max(cards, key=lambda gpu: gpu.memory_total_bytes or 0, default=None)
