"""What the fit service tells: every model with its builds and verdicts, as judged for one computer. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from engines.catalog import CatalogBuild, CatalogModel
from engines.fit.values import ModelFacts, Placement, PoolUse, Verdict
from engines.hardware.machine import Machine
from engines.library import InstalledModel


@dataclass(frozen=True, slots=True)
class BuildFit:
    """One form of a model: a build of the catalogue, a file on this disk, or both."""

    id: str
    """Unique within its model."""
    quantization: str
    build: CatalogBuild | None = None
    installed: InstalledModel | None = None
    facts: ModelFacts | None = None
    """None while its size or shape is not known."""
    verdict: Verdict | None = None
    problem: str = ""
    """Why there are no facts, in words."""

    @property
    def size_bytes(self) -> int | None:
        """On disk."""
        if self.installed is not None and self.installed.size_bytes:
            return self.installed.size_bytes
        if self.facts is not None:
            return self.facts.file_bytes
        return self.build.size_bytes if self.build is not None else None


@dataclass(frozen=True, slots=True)
class ModelFit:
    """One model with all its forms; the one at `best` is what to take here."""

    id: str
    name: str
    builds: tuple[BuildFit, ...]
    best: int = 0
    model: CatalogModel | None = None
    """None for a file that the catalogue does not know."""

    @property
    def best_build(self) -> BuildFit:
        """The form to show first."""
        return self.builds[self.best]

    @property
    def is_installed(self) -> bool:
        """Any of its forms is on this disk."""
        return any(build.installed is not None for build in self.builds)

    def find(self, build_id: str) -> BuildFit | None:
        """The form with this id."""
        return next((build for build in self.builds if build.id == build_id), None)


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything judged for one computer, the most useful model first."""

    machine: Machine
    models: tuple[ModelFit, ...] = ()
    recommended_id: str = ""
    """Empty where nothing can be recommended."""
    reason: str = ""
    """Why this one, or why none, in a sentence."""

    @property
    def is_here(self) -> bool:
        """The computer that Snug runs on, not a described one."""
        return not self.machine.is_profile

    def find(self, model_id: str) -> ModelFit | None:
        """The model with this id."""
        return next((model for model in self.models if model.id == model_id), None)

    def fit_of(self, installed: InstalledModel) -> BuildFit | None:
        """What was judged about a file on this disk."""
        builds = (build for model in self.models for build in model.builds)
        return next(
            (build for build in builds if build.installed is not None and build.installed.path == installed.path), None
        )


@dataclass(frozen=True, slots=True)
class MemorySum:
    """What a load with one context would take, and the limits that it is held against."""

    context_tokens: int
    placement: Placement
    pools: tuple[PoolUse, ...]

    @property
    def fits(self) -> bool:
        """When nothing but the system runs."""
        return all(pool.fits for pool in self.pools)

    @property
    def fits_now(self) -> bool:
        """With what runs now."""
        return all(pool.fits_now for pool in self.pools)
