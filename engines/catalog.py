"""The models that Snug knows by name, read from models.toml into frozen values.

Strict: the shipped file is part of the program, and an error in it names the faulty entry and key. Never touches the
network and says nothing about what is on this disk (that is `engines.library`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from engines.base import GenerationOptions
from engines.errors import EngineError

FORMAT = 1
FILE_NAME = "models.toml"

_ID = re.compile(r"[a-z0-9][a-z0-9.\-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AT = re.compile(r" - at `\$(?P<path>.*)`$")


class CatalogError(EngineError):
    """models.toml is missing or has a mistake in it."""

    code = "catalog"


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in the catalogue: a value that refuses keys it does not know."""


class CarriedBy(_Entry, frozen=True, kw_only=True):
    """The Python package that brings a file."""

    package: str
    path: str
    """Inside the folder of installed packages, with forward slashes."""

    def __post_init__(self) -> None:
        _check(not _is_unsafe_path(self.path), f"path {self.path!r} leaves the package")
        _check("/" in self.path, f"path {self.path!r} names no module folder")


class CatalogFile(_Entry, frozen=True, kw_only=True):
    """One file of a build. Sizes and hashes are absent while nobody has verified them."""

    name: str
    size_bytes: int | None = None
    sha256: str | None = None
    carried_by: CarriedBy | None = None

    def __post_init__(self) -> None:
        _check(self.name != "" and "/" not in self.name and "\\" not in self.name, f"name {self.name!r} has folders")
        _check(self.size_bytes is None or self.size_bytes > 0, f"size_bytes {self.size_bytes} is not positive")
        _check(self.sha256 is None or _SHA256.fullmatch(self.sha256) is not None, "sha256 is not 64 hex digits")


class CatalogBuild(_Entry, frozen=True, kw_only=True):
    """One ready-made form of a model, for one engine."""

    engine: str
    quantization: str
    file: tuple[CatalogFile, ...]
    repository: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        _check(len(self.file) > 0, "file is empty: a build has at least one")

    @property
    def size_bytes(self) -> int | None:
        """All files together, or None while the size of one is unknown."""
        sizes = [file.size_bytes for file in self.file]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None


class Sampling(_Entry, frozen=True, kw_only=True):
    """How the author of a model says to sample it; None is: they do not say."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    source: str = ""

    def applied_to(self, options: GenerationOptions) -> GenerationOptions:
        """The options with the author's values wherever nobody chose another one than Snug's default."""
        neutral = GenerationOptions()
        advised = {name: getattr(self, name) for name in self.__struct_fields__ if name != "source"}
        changes = {
            name: value
            for name, value in advised.items()
            if value is not None and getattr(options, name) == getattr(neutral, name)
        }
        return dataclasses.replace(options, **changes)


class CatalogModel(_Entry, frozen=True, kw_only=True):
    """One model, whatever files it comes in."""

    id: str
    name: str
    author: str
    licence: str
    languages: tuple[str, ...]
    good_for: str
    architecture: str
    parameters: int
    trained_context_tokens: int
    build: tuple[CatalogBuild, ...]
    active_parameters: int | None = None
    thinking: bool = False
    tools: bool = False
    vision: bool = False
    starter: bool = False
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        _check(_ID.fullmatch(self.id) is not None, f"id {self.id!r} is not lower case letters, digits, '-' and '.'")
        _check(self.name.strip() != "", "name is empty")
        _check(len(self.build) > 0, "build is empty: a model has at least one")
        _check(self.parameters > 0, f"parameters {self.parameters} is not positive")
        _check(self.trained_context_tokens > 0, f"trained_context_tokens {self.trained_context_tokens} is not positive")


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """All entries in the order of the file."""

    models: tuple[CatalogModel, ...] = ()

    @property
    def starter(self) -> CatalogModel | None:
        """The model that comes with Snug."""
        return next((model for model in self.models if model.starter), None)

    def find(self, name: str) -> CatalogModel | None:
        """The entry with this id or display name, upper or lower case alike."""
        wanted = name.strip().casefold()
        return next((model for model in self.models if wanted in {model.id, model.name.casefold()}), None)

    def owner_of(self, file_name: str) -> tuple[CatalogModel, CatalogBuild, CatalogFile] | None:
        """The entry that a GGUF file of this name belongs to (files of other formats share names like config.json)."""
        wanted = file_name.casefold()
        entries = (entry for entry in self.files() if _has_own_name(entry[2]))
        return next((entry for entry in entries if entry[2].name.casefold() == wanted), None)

    def files(self) -> Iterator[tuple[CatalogModel, CatalogBuild, CatalogFile]]:
        """Every file with the build and the model that it belongs to."""
        for model in self.models:
            for build in model.build:
                for file in build.file:
                    yield model, build, file


def find_catalog_file() -> Path:
    """models.toml inside the package (installed, frozen), else at the root of the source tree. Raises CatalogError."""
    package = Path(__file__).resolve().parent
    for candidate in (package / FILE_NAME, package.parent / FILE_NAME):
        if candidate.is_file():
            return candidate
    raise CatalogError(
        "Snug's list of models is missing.",
        "Install Snug again.",
        f"{FILE_NAME} is neither in {package} nor in {package.parent}",
    )


def load_catalog(path: Path | None = None) -> Catalog:
    """Reads the shipped catalogue, or the one at `path`. Raises CatalogError."""
    file = find_catalog_file() if path is None else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _error(file, str(error)) from None
    return parse_catalog(text, file)


def parse_catalog(text: str, file: Path) -> Catalog:
    """The catalogue in `text`; `file` is only named in errors. Raises CatalogError."""
    try:
        raw: dict[str, Any] = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise _error(file, str(error)) from None
    unknown = sorted(set(raw) - {"format", "model"})
    if unknown:
        raise _error(file, f"unknown key {unknown[0]!r} at the top")
    if raw.get("format") != FORMAT:
        raise _error(file, f"format is {raw.get('format')!r}, this Snug reads {FORMAT}")
    entries = raw.get("model", [])
    if not isinstance(entries, list):
        raise _error(file, "model is not a list of [[model]]")
    models = tuple(_read_model(entry, number, file) for number, entry in enumerate(entries, start=1))
    _check_whole(models, file)
    return Catalog(models=models)


def _read_model(entry: object, number: int, file: Path) -> CatalogModel:
    try:
        return msgspec.convert(entry, CatalogModel)
    except msgspec.ValidationError as error:
        entry_id = entry.get("id") if isinstance(entry, dict) else None
        which = f"[[model]] number {number}" + (f" ({entry_id})" if isinstance(entry_id, str) else "")
        raise _error(file, f"{which}: {_readable(str(error))}") from None


def _check_whole(models: tuple[CatalogModel, ...], file: Path) -> None:
    """What no entry can know alone: names are unique, and there is at most one starter."""
    seen: dict[str, str] = {}
    for model in models:
        for name in {model.id, model.name.casefold()}:
            if name in seen:
                raise _error(file, f"[[model]] {model.id}: {name!r} is already the id or name of {seen[name]}")
            seen[name] = model.id
    file_names: dict[str, str] = {}
    for model, _, entry in Catalog(models=models).files():
        if not _has_own_name(entry):
            continue
        name = entry.name.casefold()
        if name in file_names:
            raise _error(file, f"[[model]] {model.id}: file {entry.name!r} already belongs to {file_names[name]}")
        file_names[name] = model.id
    starters = [model.id for model in models if model.starter]
    if len(starters) > 1:
        raise _error(file, f"[[model]] {starters[1]}: starter is already {starters[0]}")


def _readable(message: str) -> str:
    """Msgspec's sentence with the key in front: `$.build[0].engine` becomes `build[0].engine`."""
    match = _AT.search(message)
    if match is None:
        return message
    return f"{match['path'].lstrip('.')}: {message[: match.start()]}"


def _has_own_name(file: CatalogFile) -> bool:
    return file.name.casefold().endswith(".gguf")


def _error(file: Path, reason: str) -> CatalogError:
    return CatalogError("Snug's list of models has a mistake in it.", f"{file.name}: {reason}", str(file))


def _check(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _is_unsafe_path(path: str) -> bool:
    return path.startswith("/") or "\\" in path or ".." in path.split("/")
