"""The table of engines: id, name, where the class lives, what it reads. A new engine is one line here.

Importing this module imports no engine; `create` does, late, and is meant for the engine process only.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from engines.base import Engine, EngineInfo
from engines.diagnosis import explain_missing_library
from engines.errors import EngineStartError

ENGINES: tuple[EngineInfo, ...] = (
    EngineInfo(
        id="llama",
        name="llama.cpp",
        module="engines.backends.llama.engine",
        class_name="LlamaEngine",
        file_format="gguf",
        library="llama-cpp-python",
    ),
    EngineInfo(
        id="scripted",
        name="Scripted",
        module="engines.backends.scripted.engine",
        class_name="ScriptedEngine",
        file_format="toml",
        library="",
    ),
)


def demonstration_script() -> Path:
    """The scripted engine's own little model: shows the whole app at work where no real model is."""
    return Path(__file__).parent / "backends" / "scripted" / "demonstration.toml"


def engine_info(engine_id: str) -> EngineInfo:
    """The engine called `engine_id`. Raises EngineStartError for one that this version does not know."""
    for info in ENGINES:
        if info.id == engine_id:
            return info
    raise EngineStartError(
        "The chosen engine is not part of this version of Snug.",
        "Choose another model, or install the current version.",
        f"engine: {engine_id!r}",
    )


def engine_for_file(path: Path) -> EngineInfo | None:
    """The first engine of this platform that reads files named like `path`; None if there is none."""
    for info in ENGINES:
        if path.suffix.lower() == f".{info.file_format}" and sys.platform in info.platforms:
            return info
    return None


def library_version(info: EngineInfo) -> str | None:
    """The installed version of an engine's library, without importing it; None if it is not installed."""
    if not info.library:
        return None
    from importlib import metadata  # late: it costs the window more than this whole module

    try:
        return metadata.version(info.library)
    except metadata.PackageNotFoundError:
        return None


def is_installed(info: EngineInfo) -> bool:
    """Whether the engine can be tried here: right platform, library present. Imports nothing."""
    return sys.platform in info.platforms and (not info.library or library_version(info) is not None)


def installed() -> tuple[EngineInfo, ...]:
    """The engines that can be tried here, in the order of preference."""
    return tuple(info for info in ENGINES if is_installed(info))


def create(engine_id: str) -> Engine:
    """Imports an engine and makes one. Raises EngineStartError, also when its library does not load."""
    info = engine_info(engine_id)
    try:
        engine_class = getattr(importlib.import_module(info.module), info.class_name)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        # Bindings tell of a native library that does not load by any of the first three.
        raise explain_missing_library(info.name, f"{type(error).__name__}: {error}") from error
    engine = engine_class()
    assert isinstance(engine, Engine)
    return engine
