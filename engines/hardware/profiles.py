"""Named computers, from profiles.toml beside this module: so that on any computer one can ask about another.

The head of the file says what the figures are and which assumptions stand behind them. Reads nothing else.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import msgspec

from engines.errors import EngineError
from engines.hardware.machine import Bandwidth, Gpu, GpuVendor, Machine, Processor, System
from engines.hardware.machine_file import impossible_figure
from engines.hardware.macos import working_set

FORMAT = 1
FILE = Path(__file__).with_name("profiles.toml")
MEBIBYTE = 1024**2
GIBIBYTE = 1024**3
GIGABYTE = 10**9

NOBODY_LOOKED = "Nobody has looked at this computer: what is free, its disk and its other programs are assumed."


class ProfileError(EngineError):
    """There is no computer of that name, or the shipped list has a mistake in it."""

    code = "machine_profile"


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in the file: a value that refuses keys it does not know."""


class _Chip(_Entry, frozen=True, kw_only=True):
    processor: str
    architecture: str
    physical_cores: int
    performance_cores: int
    logical_cores: int
    features: tuple[str, ...]
    bandwidth_gb_s: float
    bandwidth_note: str
    gpu: str = ""
    gpu_vendor: GpuVendor = "unknown"
    gpu_cores: int | None = None


class _Profile(_Entry, frozen=True, kw_only=True):
    id: str
    name: str
    system: System
    chip: str
    memory_gib: int
    kept_mib: int = 0
    carve_out_mib: int | None = None
    shared_mib: int | None = None
    card: str = ""
    card_mib: int = 0
    card_gb_s: float = 0.0


class _File(_Entry, frozen=True, kw_only=True):
    format: int
    chip: dict[str, _Chip]
    profile: tuple[_Profile, ...]


def load_profiles(file: Path = FILE) -> tuple[Machine, ...]:
    """Every named computer, in the order of the file. Raises ProfileError for a mistake in it."""
    try:
        content = msgspec.toml.decode(file.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError) as error:
        raise _mistake(str(error)) from error
    if content.format != FORMAT:
        raise _mistake(f"format is {content.format}, this Snug reads {FORMAT}")
    machines: dict[str, Machine] = {}
    for row in content.profile:
        chip = content.chip.get(row.chip)
        if chip is None or row.id in machines:
            raise _mistake(f"{row.id}: " + (f"there is no chip {row.chip!r}" if chip is None else "its id is taken"))
        machines[row.id] = _machine(row, chip)
        if reason := impossible_figure(machines[row.id]):
            raise _mistake(f"{row.id}: {reason}")
    return tuple(machines.values())


def find_profile(profile_id: str) -> Machine:
    """The computer of that name. Raises ProfileError, which names the nearest ones."""
    machines = {machine.profile: machine for machine in load_profiles()}
    found = machines.get(profile_id.strip().lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(profile_id.lower(), machines, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ProfileError(
        f"There is no computer named {profile_id}.", f"{hint}`snug machine --profiles` lists those that there are."
    )


def _machine(row: _Profile, chip: _Chip) -> Machine:
    speed = Bandwidth(bytes_per_second=round(chip.bandwidth_gb_s * GIGABYTE), source="table", note=chip.bandwidth_note)
    total = row.memory_gib * GIBIBYTE - row.kept_mib * MEBIBYTE
    inside = _gpu_inside(row, chip, total, speed)
    gpus = [inside] if inside is not None else []
    if row.card:
        gpus.append(_card(row))
    return Machine(
        name=row.name,
        system=row.system,
        processor=Processor(
            name=chip.processor,
            architecture=chip.architecture,
            physical_cores=chip.physical_cores,
            performance_cores=chip.performance_cores,
            logical_cores=chip.logical_cores,
            usable_cores=chip.logical_cores,
            features=chip.features,
        ),
        memory_total_bytes=total,
        bandwidth=speed,
        gpus=tuple(gpus),
        profile=row.id,
        unknown=(NOBODY_LOOKED,),
    )


def _gpu_inside(row: _Profile, chip: _Chip, total_bytes: int, speed: Bandwidth) -> Gpu | None:
    if not chip.gpu:
        return None
    limit = row.shared_mib * MEBIBYTE if row.shared_mib is not None else None
    if chip.gpu_vendor == "apple":
        limit, _ = working_set(total_bytes)
    return Gpu(
        name=chip.gpu,
        vendor=chip.gpu_vendor,
        kind="integrated",
        memory_total_bytes=row.carve_out_mib * MEBIBYTE if row.carve_out_mib is not None else None,
        shared_limit_bytes=limit,
        bandwidth=speed,
        cores=chip.gpu_cores,
        drives_display=True,
    )


def _card(row: _Profile) -> Gpu:
    return Gpu(
        name=row.card,
        vendor="nvidia",
        kind="discrete",
        memory_total_bytes=row.card_mib * MEBIBYTE,
        bandwidth=Bandwidth(
            bytes_per_second=round(row.card_gb_s * GIGABYTE),
            source="table",
            note=f"{row.card.removeprefix('NVIDIA GeForce ')}, vendor's figure",
        ),
        drives_display=True,
    )


def _mistake(reason: str) -> ProfileError:
    return ProfileError("Snug's list of computers has a mistake in it.", "Install Snug again.", reason)
