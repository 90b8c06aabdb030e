"""The fit as the faces use it: files and catalogue entries in, verdicts out. What window and terminal share.

Reads headers (in milliseconds), keeps what it read, and asks the engine for its own plan where a file is there. The
judging itself is in `engines.fit`. Not for the window's main thread: reading a header may take a tenth of a second,
and `refine` starts an engine process.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from engines import dry_run
from engines.base import LoadSettings
from engines.calibration_book import CalibrationBook
from engines.catalog import Catalog, CatalogBuild, CatalogModel
from engines.errors import UnsupportedModelError
from engines.fit import memory, mlx
from engines.fit import verdict as verdicts
from engines.fit.facts import from_catalogue, from_gguf
from engines.fit.recommend import Recommendation, rank, recommend
from engines.fit.values import ALONE, NO_WISH, Correction, DryRunAnchors, ModelFacts, Running, Verdict, Wish
from engines.formats import gguf
from engines.formats.mlx_folder import read_folder
from engines.hardware.machine import Machine
from engines.registry import ENGINES
from engines.usable_gpus import installed_backends, with_usable_gpus

_KEPT_FILES = 64


@dataclass(frozen=True, slots=True)
class _Read:
    size_bytes: int
    modified_ns: int
    facts: ModelFacts


class Assessor:
    """Judges models for one machine. Safe to use from several threads."""

    def __init__(self, catalog: Catalog, machine: Machine, book: CalibrationBook | None = None) -> None:
        self.catalog = catalog
        self.machine = with_usable_gpus(machine, installed_backends())
        self.book = book
        self._lock = threading.Lock()
        self._files: dict[Path, _Read] = {}
        self._anchors: dict[tuple[tuple[str, str, int, int], LoadSettings], DryRunAnchors] = {}

    def for_machine(self, machine: Machine) -> Assessor:
        """The same for another machine, or for the same one as it is now."""
        other = Assessor(self.catalog, machine, self.book)
        other._lock, other._files = self._lock, self._files  # what one of them reads, both know
        if not machine.is_profile and not self.machine.is_profile:
            other._anchors = self._anchors
        return other

    def facts_of_file(self, path: Path) -> ModelFacts:
        """What the header of a GGUF file (with its other parts), or an MLX folder, says.

        Raises: ModelFileError, UnsupportedModelError.
        """
        stamp = _stamp(path)
        with self._lock:
            known = self._files.get(path)
        if known is not None and stamp == (known.size_bytes, known.modified_ns):
            return known.facts
        facts = self._read(path)
        if stamp is not None:
            with self._lock:
                while len(self._files) >= _KEPT_FILES:
                    del self._files[next(iter(self._files))]
                self._files[path] = _Read(*stamp, facts)
        return facts

    def _read(self, path: Path) -> ModelFacts:
        if path.is_dir():
            facts = mlx.facts(read_folder(path))
            if facts.unsupported or facts.engine in _engines():
                return facts
            return replace(facts, unsupported=_no_engine(facts.engine))
        headers = gguf.read_headers(path)
        for header in headers:
            gguf.check_complete(header)
        entry = self.catalog.owner_of(path.name)
        facts = from_gguf(headers, entry[0].name if entry is not None else "")
        if entry is None:
            return facts
        return replace(facts, quantization=entry[1].quantization, active_parameters=entry[0].active_parameters)

    def facts_of_build(self, model: CatalogModel, build: CatalogBuild) -> ModelFacts | None:
        """What the catalogue says of a build that is not here; None while too little is known."""
        try:
            facts = from_catalogue(model, build)
        except UnsupportedModelError:
            return None
        if facts is None:
            return None
        engines = _engines()
        if facts.unsupported and build.alternative is not None:
            return replace(facts, unsupported=f"{facts.unsupported} {build.alternative} works instead.")
        if facts.unsupported or build.engine in engines:
            return facts
        other = next((each for each in model.build if each.engine in engines and not each.unsupported), None)
        way_out = f" There is a {other.quantization} build for llama.cpp." if other is not None else ""
        return replace(facts, unsupported=_no_engine(build.engine) + way_out)

    def judge(self, facts: ModelFacts, wish: Wish = NO_WISH, running: Running = ALONE) -> Verdict:
        """The verdict, with what this machine taught, and with the engine's plan where `refine` fetched it."""
        correction = self.correction(facts)
        first = verdicts.judge(facts, self.machine, wish, running, correction=correction)
        anchors = self._known_anchors(facts, first.settings)
        if anchors is None:
            return first
        return verdicts.judge(facts, self.machine, wish, running, correction=correction, anchors=anchors)

    def correction(self, facts: ModelFacts) -> Correction:
        """What earlier loads on this machine taught; neutral for another machine."""
        if self.book is None or self.machine.is_profile:
            return Correction()
        return self.book.correction_for(facts, self.machine)

    def refine(
        self, path: Path, facts: ModelFacts, verdict: Verdict, wish: Wish = NO_WISH, running: Running = ALONE
    ) -> Verdict:
        """The verdict again, from what the engine itself plans to allocate. Takes a second or two.

        For another machine's profile, and where the engine cannot plan, the verdict stays arithmetic. Raises:
        EngineError when the engine does not get as far as a plan (a damaged file, for example).
        """
        if self.machine.is_profile or facts.engine != "llama" or verdict.kind == "cannot":
            return verdict
        anchors = self._plan(path, facts, verdict.settings)
        if anchors is None:
            return verdict
        with self._lock:
            self._anchors[facts_key(facts), _without_context(verdict.settings)] = anchors
        return self.judge(facts, wish, running)

    def _plan(self, path: Path, facts: ModelFacts, settings: LoadSettings) -> DryRunAnchors | None:
        trained = facts.geometry.trained_context_tokens or verdicts.UNKNOWN_TRAINED_TOKENS
        # Above the widest window caches grow along a straight line, which is what lies between two plans.
        windows = (part.window_tokens or 0 for part in facts.geometry.caches)
        bend = memory.rounded_context(max(windows, default=0) + settings.batch_tokens)
        low = min(max(verdicts.SMALLEST_CONTEXT_TOKENS, bend), trained)
        high = max(low, trained)
        wanted = tuple(replace(settings, context_tokens=context) for context in (low, high))
        plans = dry_run.plan(facts.engine, path, wanted)
        if len(plans) != 2 or any(plan.problem or not plan.buffers for plan in plans):
            return None
        placed = [
            memory.from_plan(memory.placement(facts, self.machine, plan_settings), plan, facts.geometry)
            for plan_settings, plan in zip(wanted, plans, strict=True)
        ]
        return DryRunAnchors(
            settings=settings,
            low_context_tokens=plans[0].context_tokens,
            low=placed[0],
            high_context_tokens=plans[1].context_tokens,
            high=placed[1],
        )

    def _known_anchors(self, facts: ModelFacts, settings: LoadSettings) -> DryRunAnchors | None:
        with self._lock:
            return self._anchors.get((facts_key(facts), _without_context(settings)))

    def recommendation(self, wish: Wish = NO_WISH, running: Running = ALONE) -> Recommendation:
        """The whole catalogue judged, and the one to install."""

        def judge(model: CatalogModel, build: CatalogBuild) -> tuple[ModelFacts | None, Verdict | None]:
            facts = self.facts_of_build(model, build)
            return facts, self.judge(facts, wish, running) if facts is not None else None

        return recommend(rank(self.catalog, judge), self.machine)


def facts_key(facts: ModelFacts) -> tuple[str, str, int, int]:
    """Tells builds apart, for what is remembered about them."""
    return facts.name, facts.quantization, facts.file_bytes, facts.weights.total_bytes


def _without_context(settings: LoadSettings) -> LoadSettings:
    return replace(settings, context_tokens=None)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # whoever reads it says why
        return None
    return status.st_size, status.st_mtime_ns


def _engines() -> frozenset[str]:
    return frozenset(info.id for info in ENGINES)


def _no_engine(engine: str) -> str:
    name = {"mlx": "MLX"}.get(engine, engine)
    return f"This version of Snug has no engine for {name} models yet."
