"""What a person means by `snug fit MODEL|FILE|REPO`, as builds that can be judged.

Looks at files and at the catalogue. Asks the Hub only for a repository that the catalogue does not know (`fit_hub`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engines.assessor import Assessor
from engines.catalog import CatalogBuild, CatalogModel
from engines.errors import EngineError, ModelFileError
from engines.fit.support import why_unsupported
from engines.fit.values import ModelFacts
from engines.formats.mlx_folder import CONFIG_NAME
from engines.library import InstalledModel, describe_file, find_model, installed_models
from engines.registry import ENGINES

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?")
"""owner/name of the Hub, and after a colon a part of a file's name."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One build that may be meant. `facts` is None while size or shape are not known; `problem` says why."""

    name: str
    build: str
    engine: str
    facts: ModelFacts | None
    size_bytes: int | None = None
    model: CatalogModel | None = None
    catalog_build: CatalogBuild | None = None
    installed: InstalledModel | None = None
    """The file on this disk that the facts are from."""
    header: Path | None = None
    """A fetched header that the engine can plan with; not a model."""
    repository: str = ""
    problem: str = ""

    @property
    def has_engine(self) -> bool:
        """Whether an engine here runs such models at all, whatever the memory and the settings."""
        if self.facts is not None:
            return not why_unsupported(self.facts)
        if self.catalog_build is not None and self.catalog_build.unsupported:
            return False
        return any(info.id == self.engine for info in ENGINES)


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything that was meant: one model in one or several builds."""

    title: str
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()


def find_subject(wanted: str, assessor: Assessor, models_directory: Path) -> Subject | None:
    """What `wanted` means on this computer and in the catalogue; None: it looks like a repository of the Hub that the
    catalogue does not know.

    Raises: ModelFileError for a file that cannot be read and for a name that nobody knows.
    """
    path = Path(wanted).expanduser()
    if path.is_file() or (path / CONFIG_NAME).is_file():
        return of_file(path, assessor)
    catalog = assessor.catalog
    entry = catalog.find(wanted)
    if entry is not None:
        return Subject(entry.name, tuple(_of_model(entry, assessor, models_directory)))
    if _REPOSITORY.fullmatch(wanted) and not path.exists():
        known = catalog.in_repository(wanted)
        if not known:
            return None
        return Subject(wanted, tuple(of_build(model, build, assessor) for model, build in known))
    try:
        return of_file(find_model(wanted, catalog, models_directory).path, assessor)
    except ModelFileError:
        if path.exists():
            raise
        found = _called(wanted, assessor, models_directory)
        if not found:
            raise
        return found


def _called(wanted: str, assessor: Assessor, models_directory: Path) -> Subject | None:
    """The file whose header says this name, which other programs show; None: there is none.

    Raises: ModelFileError with all names, where several have the name or a part of it.
    """
    key = wanted.strip().casefold()
    local = [each for each in on_this_computer(assessor, models_directory) if each.facts is not None]
    same = [each for each in local if each.facts is not None and each.facts.name.casefold() == key]
    if len(same) == 1:
        return Subject(same[0].name, (same[0],))
    names = [model.name for model in assessor.catalog.models if key in f"{model.name}\n{model.id}".casefold()]
    names += [each.name for each in local if each in same or key in each.name.casefold()]
    different = sorted(set(names), key=str.casefold)
    if len(different) < 2:
        return None
    raise ModelFileError(
        f"{wanted} can be {len(different)} different models.", f"Name one of them: {', '.join(different)}."
    )


def of_file(path: Path, assessor: Assessor) -> Subject:
    """A model on this disk. Raises ModelFileError."""
    candidate = of_installed(describe_file(path, assessor.catalog), assessor)
    return Subject(candidate.name, (candidate,))


def on_this_computer(assessor: Assessor, models_directory: Path) -> tuple[Candidate, ...]:
    """The models on this disk; one that cannot be read has a problem, not an error."""
    found: list[Candidate] = []
    for model in installed_models(assessor.catalog, models_directory):
        try:
            if model.problem:
                raise ModelFileError(f"{model.problem[:1].upper()}{model.problem[1:]}.")
            found.append(of_installed(model, assessor))
        except EngineError as error:
            found.append(
                Candidate(
                    model.name, "", model.engine, None, size_bytes=model.size_bytes, installed=model, problem=str(error)
                )
            )
    return tuple(found)


def of_installed(model: InstalledModel, assessor: Assessor) -> Candidate:
    """A file on this disk. Raises ModelFileError, UnsupportedModelError."""
    path = model.path
    facts = assessor.facts_of_file(path)
    return Candidate(
        name=model.name,
        build=facts.quantization,
        engine=facts.engine,
        facts=facts,
        size_bytes=facts.file_bytes,
        model=model.model,
        catalog_build=model.build,
        installed=model,
    )


def of_build(model: CatalogModel, build: CatalogBuild, assessor: Assessor) -> Candidate:
    """A build of the catalogue."""
    facts = assessor.facts_of_build(model, build)
    problem = ""
    if facts is None:
        problem = "Its size or its shape is not in the catalogue yet."
    return Candidate(
        name=model.name,
        build=build.quantization,
        engine=build.engine,
        facts=facts,
        size_bytes=build.weights_bytes,
        model=model,
        catalog_build=build,
        repository=build.repository or "",
        problem=problem,
    )


def _of_model(model: CatalogModel, assessor: Assessor, models_directory: Path) -> Iterator[Candidate]:
    """Each build of a model; what is on this disk is judged by its file."""
    here = {
        (installed.build.engine, installed.build.quantization): installed
        for installed in installed_models(assessor.catalog, models_directory)
        if installed.model is not None and installed.model.id == model.id and installed.build and installed.is_complete
    }
    for build in model.build:
        installed = here.get((build.engine, build.quantization))
        yield of_installed(installed, assessor) if installed is not None else of_build(model, build, assessor)
