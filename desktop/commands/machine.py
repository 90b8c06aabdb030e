"""`snug machine`: what this computer is, as far as it matters for models; other computers by name or from a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec

from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_text import counted
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from desktop.core.settings import load_settings
from engines.calibration_book import CalibrationBook
from engines.fit.sizes import GIGABYTE, gigabytes
from engines.hardware import detect, machine_file
from engines.hardware.machine import Bandwidth, Gpu, Machine
from engines.hardware.machine_file import MachineFileError, load_machine, save_machine
from engines.hardware.profiles import find_profile, load_profiles

GIBIBYTE = 1024**3
EXAMPLES = """\
examples:
  snug machine                          this computer, for people
  snug machine --measure                and how fast its memory and its disk are; takes a few seconds
  snug machine --save desk.json         keeps it in a file, to be asked about elsewhere: snug fit --machine desk.json
  snug machine --profiles               the computers that Snug knows by name
  snug machine --profile mac-mini-m4-16 one of them, or a file

What could not be found out is said at the end. --measure writes a temporary file of at most 256 MB beside your models
and removes it again. docs/terminal.md describes the keys of --json.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `snug machine` to the command line."""
    parser = subparsers.add_parser(
        "machine",
        help="what this computer is, as far as it matters for models; other computers by name",
        description="What this computer is, as far as it matters for models.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--profiles", action="store_true", help="list the computers that Snug knows by name")
    which.add_argument("--profile", metavar="ID|FILE", help="show one of them, or a saved description, instead")
    which.add_argument(
        "--measure", action="store_true", help="measure how fast memory and disk are; takes a few seconds"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="also write the description to this file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def open_machine(arguments: argparse.Namespace, paths: AppPaths, terminal: Terminal) -> int:
    """Runs `snug machine`; answers the exit status. Raises EngineError, StorageError, BrokenPipeError."""
    if arguments.profiles:
        if arguments.save is not None:
            terminal.say_error("One computer can be saved at a time.", "Name it with --profile.")
            return ExitCode.USAGE
        _show_profiles(load_profiles(), terminal, as_json=arguments.json)
        return ExitCode.OK
    machine = _named(arguments.profile) if arguments.profile is not None else _here(arguments, paths, terminal)
    if arguments.json:
        _write_json(terminal, {"format": machine_file.FORMAT, "machine": machine})
    else:
        for line in report(machine):
            terminal.write(f"{line}\n")
    if arguments.save is not None:
        _save(machine, arguments.save)
        terminal.say(f"Saved as {arguments.save}. Anywhere else: snug fit --machine {arguments.save.name}")
    return ExitCode.OK


def _named(wanted: str) -> Machine:
    path = Path(wanted).expanduser()
    return load_machine(path) if path.is_file() else find_profile(wanted)


def _here(arguments: argparse.Namespace, paths: AppPaths, terminal: Terminal) -> Machine:
    settings, problems = load_settings(paths.settings_path)
    for problem in problems:
        terminal.say(problem)
    terminal.progress("Looking at this computer")
    machine = detect.read_machine(paths.with_models_directory(settings.models_directory).models_directory)
    book = CalibrationBook.load(paths.calibration_path)
    if not arguments.measure:
        return book.with_measured(machine)
    terminal.progress("Measuring memory and disk")
    measured = detect.measured(machine)
    if machine.bandwidth is None and measured.bandwidth is not None:
        book.note_bandwidth(machine, measured.bandwidth)
        if book.problem:
            terminal.say(book.problem)
    return measured


def _save(machine: Machine, path: Path) -> None:
    """Writes it, over an older description, and over nothing else. Raises MachineFileError."""
    if path.exists():
        try:
            load_machine(path)
        except MachineFileError as error:
            raise MachineFileError(
                f"{path.name} is there already and describes no computer, so it was left alone.",
                "Choose another name.",
                error.details,
            ) from None
    save_machine(machine, path)


def _show_profiles(machines: tuple[Machine, ...], terminal: Terminal, *, as_json: bool) -> None:
    if as_json:
        _write_json(terminal, {"format": machine_file.FORMAT, "machines": machines})
        return
    width = max(len(machine.profile) for machine in machines)
    for machine in machines:
        terminal.write(f"{machine.profile:<{width}}  {machine.name}\n")


def _write_json(terminal: Terminal, content: object) -> None:
    terminal.write(msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n")


def report(machine: Machine) -> Iterator[str]:
    """The computer for people, line by line."""
    yield machine.name
    sections = {
        "": _system(machine),
        "Processor": _processor(machine),
        "Memory": _memory(machine),
        "Graphics": _graphics(machine),
        "Disk of the models": _disk(machine),
        "Power": _power(machine),
    }
    for title, rows in sections.items():
        lines = [f"  {name:<18}{value}" for name, value in rows]
        if lines:
            yield from (line for line in ("", title) if title)
            yield from lines
    if machine.unknown:
        yield ""
        yield "To know"
        for sentence in machine.unknown:
            yield f"  {sentence}"


Rows = Iterator[tuple[str, str]]


def _system(machine: Machine) -> Rows:
    if machine.profile:
        yield "profile", machine.profile
    names = {"macos": "macOS", "linux": "Linux", "windows": "Windows"}
    yield "system", f"{names[machine.system]} {machine.system_version}".strip()


def _processor(machine: Machine) -> Rows:
    processor = machine.processor
    yield "name", f"{processor.name} ({processor.architecture})"
    if processor.physical_cores is not None:
        cores = f"{processor.physical_cores}"
        if processor.performance_cores not in (None, processor.physical_cores):
            cores += f", {processor.performance_cores} of them fast"
        if processor.usable_cores is not None and processor.usable_cores < (processor.logical_cores or 0):
            cores += f"; this process may use {processor.usable_cores} of {processor.logical_cores} logical ones"
        yield "cores", cores
    yield "features", " ".join(processor.features) or "not known"


def _memory(machine: Machine) -> Rows:
    yield "for programs", f"{gigabytes(machine.memory_total_bytes)}{_as_sold(machine.memory_total_bytes)}"
    if machine.memory_available_bytes is not None:
        yield "available now", gigabytes(machine.memory_available_bytes)
    if machine.container_limit_bytes is not None:
        yield "container limit", gigabytes(machine.container_limit_bytes)
    if machine.commit_left_bytes is not None:
        yield "can be promised", gigabytes(machine.commit_left_bytes)
    if machine.swap_total_bytes is not None:
        used = f", {gigabytes(machine.swap_used_bytes)} used" if machine.swap_used_bytes is not None else ""
        yield "swap", f"{gigabytes(machine.swap_total_bytes)}{used}" if machine.swap_total_bytes else "none"
    yield "reads", _speed(machine.bandwidth)


def _as_sold(memory_bytes: int) -> str:
    """Memory is sold in units of 1024: what is sold as 16 GB holds 17.2 billion bytes."""
    whole = round(memory_bytes / GIBIBYTE)
    return f", sold as {whole} GB" if whole and abs(memory_bytes / GIBIBYTE - whole) < 0.01 else ""


def _graphics(machine: Machine) -> Rows:
    if not machine.gpus:
        yield "", "none that models could run on"
    for gpu in machine.gpus:
        yield gpu.kind, gpu.name
        yield "", f"  {_gpu_memory(gpu)}"
        if gpu.bandwidth is not None and gpu.bandwidth != machine.bandwidth:
            yield "", f"  reads {_speed(gpu.bandwidth)}"
        details = [counted(gpu.cores, "core") if gpu.cores else "", f"driver {gpu.driver}" if gpu.driver else ""]
        details.append("drives a screen" if gpu.drives_display else "")
        if any(details):
            yield "", f"  {', '.join(detail for detail in details if detail)}"


def _gpu_memory(gpu: Gpu) -> str:
    parts = []
    if gpu.memory_total_bytes is not None:
        free = f", {gigabytes(gpu.memory_free_bytes)} free" if gpu.memory_free_bytes is not None else ""
        parts.append(f"{gigabytes(gpu.memory_total_bytes)} of its own{free}")
    if gpu.shared_limit_bytes is not None:
        parts.append(f"may use {gigabytes(gpu.shared_limit_bytes)} of the main memory")
    return "; ".join(parts) or "memory not known"


def _disk(machine: Machine) -> Rows:
    disk = machine.disk
    if disk is None:
        return
    yield "folder", disk.path
    if disk.free_bytes is not None and disk.total_bytes is not None:
        yield "free", f"{gigabytes(disk.free_bytes)} of {gigabytes(disk.total_bytes)}"
    if disk.random_read is not None:
        yield "reads", _speed(disk.random_read)


def _power(machine: Machine) -> Rows:
    power = machine.power
    if power.on_mains is not None:
        yield "source", "mains" if power.on_mains else "battery; models are slower on it"
    if power.battery_share is not None:
        yield "battery", f"{power.battery_share:.0%}"
    if power.saving:
        yield "saving", "on; models are slower with it"


def _speed(bandwidth: Bandwidth | None) -> str:
    if bandwidth is None:
        return "not known how fast"
    rate = bandwidth.bytes_per_second / GIGABYTE
    figure = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
    source = {"table": "by table", "measured": "measured", "assumed": "assumed"}[bandwidth.source]
    return f"{figure} GB/s, {source}{': ' if bandwidth.note else ''}{bandwidth.note}"
