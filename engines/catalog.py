"""The models that Snug knows by name, read from models.toml into frozen values.

Strict: the shipped file is part of the program, and an error in it names the faulty entry and key. A user's own and
imported files are read leniently by `engines.catalog_files`. Never touches the network, says nothing about what is on
this disk (that is `engines.library`) and nothing about which engines are installed (`engines.registry`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from engines.base import GenerationOptions
from engines.errors import EngineError

FORMAT = 1
FILE_NAME = "models.toml"

FileRole = Literal["weights", "projector"]
"""What a file is for: the language model itself, or what turns pictures into tokens."""
Origin = Literal["snug", "user", "imported"]
"""Who wrote an entry: Snug's authors, this user, or whoever made a file that was imported."""
GeometryValue = int | float | bool | str | tuple[int | float | bool | str, ...]

STRENGTHS = range(101)

_ID = re.compile(r"[a-z0-9][a-z0-9.\-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"\d+(\.\d+)*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")
_GEOMETRY_KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_AT = re.compile(r" - at `\$(?P<path>.*)`$")

_PRECISIONS = ((3, "Compact"), (4, "Balanced"), (5, "Precise"), (7, "More precise"), (8, "Nearly original"))
_ORIGINAL = "Original"


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
    """Exact."""
    about_bytes: int | None = None
    """Roughly, where the exact size is not verified; rounded up."""
    sha256: str | None = None
    role: FileRole = "weights"
    carried_by: CarriedBy | None = None

    def __post_init__(self) -> None:
        _check(self.name != "" and "/" not in self.name and "\\" not in self.name, f"name {self.name!r} has folders")
        _check(self.size_bytes is None or self.size_bytes > 0, f"size_bytes {self.size_bytes} is not positive")
        _check(self.about_bytes is None or self.about_bytes > 0, f"about_bytes {self.about_bytes} is not positive")
        _check(self.size_bytes is None or self.about_bytes is None, "size_bytes and about_bytes exclude each other")
        _check(self.sha256 is None or _SHA256.fullmatch(self.sha256) is not None, "sha256 is not 64 hex digits")

    @property
    def likely_bytes(self) -> int | None:
        """The exact size, else the rough one, else None."""
        return self.size_bytes if self.size_bytes is not None else self.about_bytes


class CatalogBuild(_Entry, frozen=True, kw_only=True):
    """One ready-made form of a model, for one engine."""

    engine: str
    quantization: str
    file: tuple[CatalogFile, ...] = ()
    """Empty: the repository's listing was never seen and is asked of the Hub when online."""
    bits: int | None = None
    """What the quantization's name promises per weight; embeddings and some layers have more."""
    repository: str | None = None
    revision: str | None = None
    folder: str = ""
    """Where in the repository the files lie, with forward slashes."""
    about_bytes: int | None = None
    """Everything together, roughly and rounded up, where `file` is empty."""
    engine_version: str | None = None
    """The oldest version of the engine's library that is known to run it."""
    unsupported: str = ""
    """Why no engine of Snug runs it, in words; empty for a build that runs."""
    alternative: str | None = None
    """Repository of a build that runs instead."""

    def __post_init__(self) -> None:
        _check(bool(self.file) or self.repository is not None, "a build needs its files or a repository")
        _check(not self.file or self.about_bytes is None, "about_bytes stands with the files where they are listed")
        _check(self.about_bytes is None or self.about_bytes > 0, f"about_bytes {self.about_bytes} is not positive")
        _check(not self.file or any(file.role == "weights" for file in self.file), "no file has the weights")
        _check(self.bits is None or 1 <= self.bits <= 32, f"bits {self.bits} is not between 1 and 32")
        for repository in (self.repository, self.alternative):
            good = repository is None or _REPOSITORY.fullmatch(repository) is not None
            _check(good, f"repository {repository!r} is not of the form owner/name")
        _check(self.revision is None or self.repository is not None, "revision without a repository")
        _check(not _is_unsafe_path(self.folder), f"folder {self.folder!r} leaves the repository")
        good = self.engine_version is None or _VERSION.fullmatch(self.engine_version) is not None
        _check(good, f"engine_version {self.engine_version!r} is not a version number")
        _check(self.alternative is None or self.unsupported != "", "alternative is for unsupported builds")

    @property
    def size_bytes(self) -> int | None:
        """Exact size of all files of the weights, or None while the size of one is unknown."""
        sizes = [file.size_bytes for file in self.file if file.role == "weights"]
        known = [size for size in sizes if size is not None]
        return sum(known) if sizes and len(known) == len(sizes) else None

    @property
    def weights_bytes(self) -> int | None:
        """Size of the weights, exact or rough (`is_exact_size`), or None while nothing is known."""
        if not self.file:
            return self.about_bytes
        sizes = [file.likely_bytes for file in self.file if file.role == "weights"]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    @property
    def is_exact_size(self) -> bool:
        """Whether `weights_bytes` was verified to the byte."""
        return self.size_bytes is not None

    @property
    def projector_bytes(self) -> int:
        """Size of what is loaded beside the weights for pictures, as far as it is known; 0 if there is none."""
        return sum(file.likely_bytes or 0 for file in self.file if file.role == "projector")

    @property
    def precision(self) -> str:
        """How near to the original weights, in a word for people; empty while the bits are not stated."""
        if self.bits is None:
            return ""
        return next((word for most, word in _PRECISIONS if self.bits <= most), _ORIGINAL)


class Sampling(_Entry, frozen=True, kw_only=True):
    """How the author of a model says to sample it; None is: they do not say."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        says = [name for name in self.__struct_fields__ if name != "source" and getattr(self, name) is not None]
        _check(not says or self.source != "", f"{says[0] if says else ''} has no source")

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
    strength: int = 0
    """Snug's own order of usefulness, for recommendations; a judgement, not a measurement."""
    sampling: Sampling = msgspec.field(default_factory=Sampling)
    geometry: dict[str, GeometryValue] = msgspec.field(default_factory=dict)
    """GGUF metadata keys without the architecture in front, dots kept; empty while nobody has read them."""
    geometry_source: str = ""
    origin: Origin = "snug"
    """Never in the file: who reads it knows."""

    def __post_init__(self) -> None:
        _check(_ID.fullmatch(self.id) is not None, f"id {self.id!r} is not lower case letters, digits, '-' and '.'")
        for key in ("name", "author", "licence", "good_for", "architecture"):
            _check(getattr(self, key).strip() != "", f"{key} is empty")
        _check(len(self.build) > 0, "build is empty: a model has at least one")
        _check(self.parameters > 0, f"parameters {self.parameters} is not positive")
        active = self.active_parameters
        _check(
            active is None or 0 < active <= self.parameters, f"active_parameters {active} is not a part of the total"
        )
        _check(self.trained_context_tokens > 0, f"trained_context_tokens {self.trained_context_tokens} is not positive")
        _check(self.strength in STRENGTHS, f"strength {self.strength} is not between 0 and {STRENGTHS[-1]}")
        odd = next((key for key in self.geometry if _GEOMETRY_KEY.fullmatch(key) is None), None)
        _check(odd is None, f"geometry: {odd!r} is not a metadata key")
        _check(not self.geometry or self.geometry_source != "", "geometry has no geometry_source")


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
        """The entry that a GGUF file of this name belongs to (projectors and other formats share their names)."""
        wanted = file_name.casefold()
        entries = (entry for entry in self.files() if _has_own_name(entry[2]))
        return next((entry for entry in entries if entry[2].name.casefold() == wanted), None)

    def in_repository(self, repository: str) -> tuple[tuple[CatalogModel, CatalogBuild], ...]:
        """Every build that is published there ("owner/name"), also those that no engine runs."""
        wanted = repository.strip().casefold()
        published = ((model, build) for model, build in self.builds() if build.repository is not None)
        return tuple((model, build) for model, build in published if (build.repository or "").casefold() == wanted)

    def builds(self) -> Iterator[tuple[CatalogModel, CatalogBuild]]:
        """Every build with the model that it belongs to."""
        for model in self.models:
            for build in model.build:
                yield model, build

    def files(self) -> Iterator[tuple[CatalogModel, CatalogBuild, CatalogFile]]:
        """Every file with the build and the model that it belongs to."""
        for model, build in self.builds():
            for file in build.file:
                yield model, build, file


class NameRegister:
    """What no entry can know alone: ids, names and GGUF files belong to one entry, and there is at most one starter."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self._starter = ""

    def claim(self, model: CatalogModel) -> str:
        """Takes the names of `model`, or says what it contradicts and takes nothing."""
        for name in (model.id, model.name.casefold()):
            if name in self._names:
                return f"{name!r} is already the id or name of {self._names[name]}"
        files = [file for _, _, file in Catalog(models=(model,)).files() if _has_own_name(file)]
        seen: set[str] = set()
        for file in files:
            key = file.name.casefold()
            if key in self._files or key in seen:
                return f"file {file.name!r} already belongs to {self._files.get(key, model.id)}"
            seen.add(key)
        if model.starter and self._starter:
            return f"starter is already {self._starter}"
        self._names |= dict.fromkeys((model.id, model.name.casefold()), model.id)
        self._files |= dict.fromkeys(seen, model.id)
        self._starter = model.id if model.starter else self._starter
        return ""


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
        entries = parse_entries(text)
    except ValueError as error:
        raise _error(file, str(error)) from None
    register = NameRegister()
    models: list[CatalogModel] = []
    for number, entry in enumerate(entries, start=1):
        try:
            model = read_model(entry)
        except ValueError as error:
            raise _error(file, f"{label_of(entry, number)}: {error}") from None
        if conflict := register.claim(model):
            raise _error(file, f"[[model]] {model.id}: {conflict}")
        models.append(model)
    catalog = Catalog(models=tuple(models))
    for model, build in catalog.builds():
        runs = [other for _, other in catalog.in_repository(build.alternative or "") if not other.unsupported]
        if build.alternative is not None and not runs:
            raise _error(file, f"[[model]] {model.id}: alternative {build.alternative!r} has no build that runs")
    return catalog


def parse_entries(text: str) -> list[object]:
    """The undecoded [[model]] entries of a catalogue file. Raises ValueError with the reason."""
    try:
        raw: dict[str, Any] = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    unknown = sorted(set(raw) - {"format", "model"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r} at the top")
    if raw.get("format") != FORMAT:
        raise ValueError(f"format is {raw.get('format')!r}, this Snug reads {FORMAT}")
    entries = raw.get("model", [])
    if not isinstance(entries, list):
        raise ValueError("model is not a list of [[model]]")
    return entries


def read_model(entry: object, origin: Origin = "snug") -> CatalogModel:
    """One entry as a value. Raises ValueError with the faulty key in front of the reason."""
    if isinstance(entry, dict) and "origin" in entry:
        raise ValueError("Object contains unknown field `origin`")
    try:
        model = msgspec.convert(entry, CatalogModel)
    except msgspec.ValidationError as error:
        raise ValueError(_readable(str(error))) from None
    return msgspec.structs.replace(model, origin=origin)


def label_of(entry: object, number: int) -> str:
    """How an entry is called in a message: its place in the file and, where it says one, its id."""
    entry_id = entry.get("id") if isinstance(entry, dict) else None
    return f"[[model]] number {number}" + (f" ({entry_id})" if isinstance(entry_id, str) else "")


def _readable(message: str) -> str:
    """Msgspec's sentence with the key in front: `$.build[0].engine` becomes `build[0].engine`."""
    match = _AT.search(message)
    if match is None:
        return message
    return f"{match['path'].lstrip('.')}: {message[: match.start()]}"


def _has_own_name(file: CatalogFile) -> bool:
    return file.role == "weights" and file.name.casefold().endswith(".gguf")


def _error(file: Path, reason: str) -> CatalogError:
    return CatalogError("Snug's list of models has a mistake in it.", f"{file.name}: {reason}", str(file))


def _check(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _is_unsafe_path(path: str) -> bool:
    return path.startswith("/") or "\\" in path or ".." in path.split("/")
