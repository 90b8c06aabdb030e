"""Catalogue files beside the shipped one: the user's own models.toml, and files that were imported.

Lenient where `engines.catalog` is strict: what cannot be read is left out and said in a sentence, everything else is
used. Shipped entries always win, then the user's own, then imported files by name. Reads and copies small local files;
never touches the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.catalog import (
    FILE_NAME,
    Catalog,
    CatalogError,
    CatalogModel,
    NameRegister,
    Origin,
    label_of,
    parse_entries,
    read_model,
)
from engines.shared_files import write_whole

IMPORTED_DIRECTORY_NAME = "catalogues"
MAXIMUM_FILE_BYTES = 4 * 1024 * 1024
MAXIMUM_FILES = 100
MAXIMUM_ENTRIES = 2000
"""Of one file. Far above what a person writes; a list this long would make every start slow."""

_ENDING = ".toml"
_ODD_CHARACTERS = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class ImportedCatalog:
    """What `import_catalog` did: where the copy lies, and what is now known from it."""

    path: Path
    models: tuple[CatalogModel, ...]
    problems: tuple[str, ...]
    """Sentences about entries that were left out."""


def load_with_own(shipped: Catalog, directory: Path) -> tuple[Catalog, tuple[str, ...]]:
    """The shipped entries, followed by those of `directory`/models.toml and `directory`/catalogues/*.toml.

    The second value says in whole sentences what was left out and why. Never raises: files that are not there are no
    problem, and files that cannot be read are one.
    """
    register = NameRegister()
    for model in shipped.models:
        register.claim(model)
    models, problems = list(shipped.models), list[str]()
    for path, origin in _own_files(directory, problems):
        found, said = _read_file(path, origin, register)
        models += found
        problems += said
    return Catalog(models=tuple(models)), tuple(problems)


def import_catalog(source: Path, shipped: Catalog, directory: Path) -> ImportedCatalog:
    """Copies a catalogue file into `directory`/catalogues, if at least one of its entries can be used.

    A file imported earlier under the same name is replaced. Raises CatalogError when nothing in the file can be used,
    or it cannot be read or copied.
    """
    folder = directory / IMPORTED_DIRECTORY_NAME
    target = folder / f"{_ODD_CHARACTERS.sub('-', source.stem).strip('.-') or 'catalogue'}{_ENDING}"
    register = NameRegister()
    for model in shipped.models:
        register.claim(model)
    models, problems = _read_file(source, "imported", register)
    if not models:
        raise CatalogError(
            f"Nothing in {source.name} can be used.",
            "Ask whoever made the file for a current one." if problems else "It lists no models.",
            "\n".join((str(source), *problems)),
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(target, source.read_bytes())
    except OSError as error:
        raise CatalogError(
            f"{source.name} could not be copied.", f"Look whether {folder} can be written to.", str(error)
        ) from None
    return ImportedCatalog(target, models, problems)


def _own_files(directory: Path, problems: list[str]) -> Iterator[tuple[Path, Origin]]:
    """The user's own file, then the imported ones by name; a folder that cannot be listed becomes a problem."""
    own = directory / FILE_NAME
    if own.exists():
        yield own, "user"
    folder = directory / IMPORTED_DIRECTORY_NAME
    try:
        imported = sorted(path for path in folder.iterdir() if path.suffix.casefold() == _ENDING)
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(f"The folder of imported lists, {folder}, cannot be read ({error.strerror}).")
        return
    for path in imported[:MAXIMUM_FILES]:
        yield path, "imported"
    if len(imported) > MAXIMUM_FILES:
        problems.append(f"Only the first {MAXIMUM_FILES} of {len(imported)} imported lists in {folder} were read.")


def _read_file(path: Path, origin: Origin, register: NameRegister) -> tuple[tuple[CatalogModel, ...], tuple[str, ...]]:
    try:
        entries = parse_entries(_read_text(path))
    except OSError as error:
        return (), (f"{path.name} cannot be read ({error.strerror or error}).",)
    except ValueError as error:
        return (), (f"{path.name} was left out: {error}.",)
    models: list[CatalogModel] = []
    problems: list[str] = []
    for number, entry in enumerate(entries[:MAXIMUM_ENTRIES], start=1):
        where = f"{path.name}, {label_of(entry, number)}"
        try:
            model = read_model(entry, origin)
        except ValueError as error:
            problems.append(f"{where}, was left out: {error}.")
            continue
        if model.starter:
            model = msgspec.structs.replace(model, starter=False)
            problems.append(f"{where}: only Snug's own list names a starter; the entry is used without that.")
        if conflict := register.claim(model):
            problems.append(f"{where}, was left out: {conflict}.")
            continue
        models.append(model)
    if len(entries) > MAXIMUM_ENTRIES:
        problems.append(f"Only the first {MAXIMUM_ENTRIES} of {len(entries)} entries of {path.name} were read.")
    return tuple(models), tuple(problems)


def _read_text(path: Path) -> str:
    """Raises OSError, or ValueError for what is no text or too long."""
    with path.open("rb") as file:
        data = file.read(MAXIMUM_FILE_BYTES + 1)
    if len(data) > MAXIMUM_FILE_BYTES:
        raise ValueError(f"it is larger than {MAXIMUM_FILE_BYTES // 1024**2} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
