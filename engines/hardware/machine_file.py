"""A Machine as a JSON file, to be saved on one computer and asked about on another.

Strict: an unknown key, a wrong type or an impossible figure is refused in words, because a verdict about a computer
that was described wrongly is worse than none. Nothing in it names a person or a file beyond the folder of models.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import msgspec

from engines.errors import EngineError
from engines.hardware.machine import Machine

FORMAT = 1
_LARGEST_FILE_BYTES = 1024 * 1024
_LARGEST_FIGURE = 1 << 60
"""No computer has an exbibyte of anything; more is a slip or an attempt to overflow."""


class MachineFileError(EngineError):
    """The description of a computer cannot be read or written."""

    code = "machine_file"


def save_machine(machine: Machine, path: Path) -> None:
    """Writes it, whole or not at all. Raises MachineFileError."""
    text = msgspec.json.format(msgspec.json.encode({"format": FORMAT, "machine": machine}), indent=2) + b"\n"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            unfinished.write_bytes(text)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise MachineFileError(
            f"{path.name} could not be written.",
            "Choose a folder that you may write to.",
            f"{path}: {error.strerror or error}",
        ) from error


def load_machine(path: Path) -> Machine:
    """The computer that was saved, with every figure as it was then. Raises MachineFileError."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise MachineFileError(
            f"The computer described in {path.name} could not be read.",
            "Check the name; `snug machine --profiles` lists the computers that Snug knows by itself.",
            f"{path}: {getattr(error, 'strerror', None) or error}",
        ) from error
    if len(data) > _LARGEST_FILE_BYTES:
        raise _refusal(path, "the file is larger than any description of a computer")
    return parse_machine(data, path)


def parse_machine(data: bytes, path: Path) -> Machine:
    """The computer in `data`; `path` is only named in errors. Raises MachineFileError."""
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _refusal(path, str(error)) from None
    if not isinstance(raw, dict) or set(raw) - {"format", "machine"} or "machine" not in raw:
        raise _refusal(path, 'it is not an object with the keys "format" and "machine"')
    if raw.get("format") != FORMAT:
        raise _refusal(path, f"its format is {raw.get('format')!r}, this Snug reads {FORMAT}")
    try:
        machine = msgspec.convert(raw["machine"], Machine, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _refusal(path, str(error)) from None
    reason = _unknown_key(raw["machine"], msgspec.to_builtins(machine)) or impossible_figure(machine)
    if reason:
        raise _refusal(path, reason)
    return machine


def described(machine: Machine, profile: str) -> Machine:
    """The same computer as nobody looks at it now: without what was free, used or running when it was saved."""
    return dataclasses.replace(
        machine,
        profile=profile,
        memory_available_bytes=None,
        commit_left_bytes=None,
        swap_used_bytes=None,
        gpus=tuple(dataclasses.replace(gpu, memory_free_bytes=None) for gpu in machine.gpus),
    )


def impossible_figure(machine: Machine) -> str:
    """Why this can be no computer; empty when it can."""
    for name, figure in _figures("", msgspec.to_builtins(machine)):
        if not 0 <= figure < _LARGEST_FIGURE:
            return f"{name} is {figure}"
    if machine.memory_total_bytes == 0:
        return "memory_total_bytes is 0"
    if (machine.memory_available_bytes or 0) > machine.memory_total_bytes:
        return "more memory is available than there is"
    share = machine.power.battery_share
    return "battery_share is more than 1" if share is not None and share > 1 else ""


def _figures(name: str, value: Any) -> list[tuple[str, float]]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _figures(f"{name}.{key}".lstrip("."), inner)]
    if isinstance(value, (list, tuple)):
        return [found for number, inner in enumerate(value) for found in _figures(f"{name}[{number}]", inner)]
    return [(name, value)] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def _unknown_key(raw: Any, known: Any, place: str = "machine") -> str:
    """The first key that no field took: a slip that would otherwise pass for a default."""
    if isinstance(raw, dict) and isinstance(known, dict):
        for key, value in raw.items():
            if key not in known:
                return f"{place} has no key {key!r}"
            if found := _unknown_key(value, known[key], f"{place}.{key}"):
                return found
    elif isinstance(raw, list) and isinstance(known, (list, tuple)):
        for number, (value, inner) in enumerate(zip(raw, known, strict=True)):
            if found := _unknown_key(value, inner, f"{place}[{number}]"):
                return found
    return ""


def _refusal(path: Path, reason: str) -> MachineFileError:
    return MachineFileError(
        f"{path.name} does not describe a computer.",
        "Save it anew with `snug machine --save`, or mend what the details name.",
        f"{path}: {reason}",
    )
