"""How a model is loaded, and whether: the verdict at the moment of a load, and what was learned from it afterwards.

Window and terminal load through here, so that neither can load without a verdict, and both refuse alike. Starts no
engine for the model itself; looks at the machine through the assessor that it is given.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines import dry_run
from engines.assessor import Assessor
from engines.base import KvType, LoadedModel, LoadSettings, Usage
from engines.calibration_book import CalibrationBook
from engines.errors import EngineError, NotEnoughMemoryError, UnsupportedModelError
from engines.fit import limits, memory, speed, support
from engines.fit.calibration import uncorrected
from engines.fit.sizes import gigabytes
from engines.fit.values import Correction, ModelFacts, Placement, PoolUse, Running, SpeedRange, Verdict, Wish
from engines.hardware.machine import Machine
from engines.lease import Lease, Leases, in_use_error, measure_holdings
from engines.library import InstalledModel
from engines.memory import estimate_needed_bytes
from engines.registry import engine_info

UNPLANNED_BYTES = 256 * 1024 * 1024
"""What an engine does not count in its plan: vocabulary, graph, saved states of earlier turns; generously."""
_JUDGED_FORMATS = ("gguf", "mlx")


@dataclass(frozen=True, slots=True)
class LoadWish:
    """What a person said about a load; None: nothing."""

    context_tokens: int | None = None
    """Asked for, for this very model: never changed silently."""
    usual_context_tokens: int | None = None
    """From the settings, for all models: as much of it as fits."""
    kv_type: KvType | None = None
    threads: int | None = None

    def as_wish(self) -> Wish:
        """As the fit understands it."""
        return Wish(context_tokens=self.context_tokens or self.usual_context_tokens, kv_type=self.kv_type)


@dataclass(frozen=True, slots=True)
class FaceWords:
    """What a face tells people to do when something does not fit."""

    less_context: str
    """With {tokens} and {when}: "Say --context {tokens}, which fits{when}"."""
    anyway: str = ""
    """How to load against the verdict, as a whole sentence; empty where a button says it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the fit said about one load, without corrections, for the comparison with what happens."""

    facts: ModelFacts
    machine: Machine
    verdict: Verdict
    correction: Correction
    settings: LoadSettings

    @property
    def placement(self) -> Placement:
        """Memory, as predicted without what was learned."""
        return uncorrected(self.verdict.placement, self.correction)

    def decode(self, depth_tokens: int = 0) -> SpeedRange | None:
        """Tokens written per second at this depth, as predicted without what was learned."""
        return speed.decode_speed(self.facts, self.machine, self.settings, depth_tokens=depth_tokens)

    def prefill(self) -> SpeedRange | None:
        """Tokens read per second, as predicted without what was learned."""
        return speed.prefill_speed(self.facts, self.machine, self.settings)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a model is to be loaded with, and the main memory that is set aside for it."""

    settings: LoadSettings
    needed_bytes: int
    judgement: Judgement | None = None
    """None where the fit does not know this kind of model."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)

    @property
    def verdict(self) -> Verdict | None:
        """What was said, if anything."""
        return self.judgement.verdict if self.judgement is not None else None


def plan_load(
    model: InstalledModel,
    assessor: Assessor,
    leases: Leases,
    wish: LoadWish,
    words: FaceWords,
    *,
    anyway: bool = False,
) -> LoadPlan:
    """The verdict for this moment, made into settings. `anyway`: also against it, with the context that was asked for.

    Raises: ModelFileError for a file that cannot be read; unless `anyway` also NotEnoughMemoryError, ModelInUseError
    and UnsupportedModelError, with the reason.
    """
    try:
        facts = assessor.facts_of_file(model.path)
    except UnsupportedModelError:
        return _planned_by_engine(model, wish)  # not covered by the arithmetic: the engine may know it
    running = running_now(leases)
    verdict = assessor.judge(facts, wish.as_wish(), running)
    if verdict.settings.gpu_layers != 0:
        verdict = _asked_engine(assessor, model.path, facts, verdict, wish=wish, running=running)
    if anyway:
        verdict = forced(facts, assessor.machine, verdict, wish, running)
    else:
        _Room(model, assessor, leases, wish, words, facts).require(verdict)
    settings = replace(verdict.settings, threads=wish.threads)
    judgement = Judgement(facts, assessor.machine, verdict, assessor.correction(facts), settings)
    return LoadPlan(settings, verdict.placement.main.total_bytes, judgement)


def _planned_by_engine(model: InstalledModel, wish: LoadWish) -> LoadPlan:
    """The need as the engine plans it, where nothing can be computed; by the size of the file where it cannot plan."""
    plan = estimated_plan(model, wish)
    try:
        (answer,) = dry_run.plan(model.engine, model.path, (plan.settings,))
    except EngineError:
        return plan  # the load itself will say what is wrong, in full
    planned = sum(each.weights_bytes + each.context_bytes + each.compute_bytes for each in answer.buffers)
    if not planned or answer.problem:
        return plan
    return replace(plan, needed_bytes=planned + answer.process_bytes + UNPLANNED_BYTES)


def estimated_plan(model: InstalledModel, wish: LoadWish) -> LoadPlan:
    """Without a verdict: what was wished, and a need from the size of the file alone."""
    trained = model.model.trained_context_tokens if model.model is not None else None
    settings = LoadSettings(
        context_tokens=wish.context_tokens or wish.usual_context_tokens or trained,
        kv_type=wish.kv_type or "f16",
        threads=wish.threads,
    )
    return LoadPlan(settings, estimate_needed_bytes(model.size_bytes))


def is_judged(model: InstalledModel) -> bool:
    """Whether the fit knows what to make of such a model; the scripted engine's little scripts need no memory."""
    return engine_info(model.engine).file_format in _JUDGED_FORMATS


def held_by_others(leases: Leases) -> int:
    """Bytes that other Snug processes hold, or are about to take, and that the system still calls available."""
    return sum(holding.outstanding_bytes for holding in measure_holdings(leases.others()))


def running_now(leases: Leases) -> Running:
    """The same, as the fit takes it."""
    return Running(held_bytes=held_by_others(leases))


def refusal(facts: ModelFacts, verdict: Verdict) -> str:
    """Why it cannot run whatever the memory: no engine for it, or a combination that the engine refuses; else ""."""
    return support.why_unsupported(facts, verdict.settings)


def forced(facts: ModelFacts, machine: Machine, verdict: Verdict, wish: LoadWish, running: Running) -> Verdict:
    """The verdict with the settings of a load against it: with the context that was asked for, fitting or not."""
    trained = facts.geometry.trained_context_tokens
    wanted = wish.context_tokens or (wish.usual_context_tokens if verdict.kind == "cannot" else None)
    if not wanted or min(wanted, trained or wanted) <= verdict.context_tokens:
        return verdict
    context = min(wanted, trained or wanted)
    settings = replace(verdict.settings, context_tokens=context)
    placement = memory.placement(facts, machine, settings)
    return replace(
        verdict,
        settings=settings,
        context_tokens=context,
        placement=placement,
        pools=limits.pools(machine, placement, running),
    )


def shortage_words(verdict: Verdict) -> str:
    """What is missing for a load with these very settings."""
    pool = _busiest(verdict)
    return (
        f"With a context of {verdict.context_tokens:,} tokens it needs {gigabytes(pool.needed_bytes)} of "
        f"{gigabytes(pool.total_bytes)}; models may use {gigabytes(pool.limit_now_bytes)} now and "
        f"{gigabytes(pool.limit_bytes)} with other programs closed."
    )


@dataclass(frozen=True, slots=True)
class _Room:
    """Whether a load fits as asked, right now, and the error that says why not."""

    model: InstalledModel
    assessor: Assessor
    leases: Leases
    wish: LoadWish
    words: FaceWords
    facts: ModelFacts

    def require(self, verdict: Verdict) -> None:
        """Raises UnsupportedModelError, NotEnoughMemoryError or ModelInUseError."""
        if verdict.kind == "cannot":
            raise self._never(verdict)
        wanted = self.wish.context_tokens
        trained = self.facts.geometry.trained_context_tokens or wanted
        if wanted is not None and trained is not None and verdict.context_tokens < min(wanted, trained):
            raise self._less_context(wanted, verdict)
        if verdict.kind_now == "cannot":
            raise self._not_now(verdict)

    def _never(self, verdict: Verdict) -> EngineError:
        name = self.model.name
        reason = refusal(self.facts, verdict)
        if reason:
            return UnsupportedModelError(f"{name} cannot run here.", reason, str(self.model.path))
        return NotEnoughMemoryError(
            f"{name} does not fit on this computer.",
            " ".join((*verdict.reasons, self.words.anyway)).strip(),
            _figures(verdict),
        )

    def _less_context(self, wanted: int, verdict: Verdict) -> NotEnoughMemoryError:
        fits_idle = verdict.largest_context_tokens >= wanted
        most = verdict.largest_context_now_tokens if fits_idle else verdict.context_tokens
        when = " right now" if fits_idle else ""
        advice = self.words.less_context.format(tokens=most, when=when) if most else "Close other programs"
        return NotEnoughMemoryError(
            f"A context of {wanted:,} tokens does not fit for {self.model.name}{when}.",
            f"{advice}. {self.words.anyway}".strip(),
            _figures(verdict),
        )

    def _not_now(self, verdict: Verdict) -> EngineError:
        name = self.model.name
        pool = _busiest(verdict)
        holder = self._holder_in_the_way()
        if holder is not None:
            return in_use_error(name, pool.needed_bytes, pool.limit_now_bytes, holder)
        return NotEnoughMemoryError(
            f"There is not enough free memory for {name} right now.",
            f"It needs {gigabytes(pool.needed_bytes)}, and models may use {gigabytes(pool.limit_now_bytes)} at the "
            f"moment. Close other programs or choose a smaller model. {self.words.anyway}".strip(),
            _figures(verdict),
        )

    def _holder_in_the_way(self) -> Lease | None:
        """The largest model of another Snug, if this one would fit without the others."""
        holdings = measure_holdings(self.leases.others())
        if not holdings:
            return None
        freed = Running(freed_bytes=sum(min(each.counted_bytes, each.lease.size_bytes) for each in holdings))
        if self.assessor.judge(self.facts, self.wish.as_wish(), freed).kind_now == "cannot":
            return None
        return max(holdings, key=lambda each: each.lease.size_bytes).lease


class LoadNotes:
    """What came of the loads, told to the calibration book. One model at a time; used by one thread at a time."""

    def __init__(self, book: CalibrationBook) -> None:
        self._book = book
        self._plan: LoadPlan | None = None
        self._context_tokens = 0
        self._peak_bytes = 0

    def begin(self, plan: LoadPlan | None) -> None:
        """A load with this plan begins; None: one that the fit knows nothing of."""
        self._plan = plan
        self._context_tokens = self._peak_bytes = 0

    def note_load(self, loaded: LoadedModel) -> None:
        """The model stands in memory."""
        self._context_tokens = loaded.context_tokens
        self._note_peak(loaded.memory_bytes)

    def note_reply(self, usage: Usage) -> None:
        """A reply has ended."""
        self._note_peak(usage.peak_memory_bytes)
        judgement = self._plan.judgement if self._plan is not None else None
        if judgement is None:
            return
        self._book.note_reply(
            judgement.facts,
            judgement.machine,
            judgement.settings,
            usage,
            decode=judgement.decode(usage.context_used_tokens),
            prefill=judgement.prefill(),
        )

    def _note_peak(self, measured_bytes: int) -> None:
        plan = self._plan
        if plan is None or plan.judgement is None or measured_bytes <= self._peak_bytes:
            return
        self._peak_bytes = measured_bytes
        judgement = plan.judgement
        if self._context_tokens > memory.rounded_context(plan.settings.context_tokens or 0):
            return  # the engine took more than was planned: not this prediction's fault
        self._book.note_load(
            judgement.facts,
            judgement.machine,
            plan.settings,
            load_id=plan.id,
            predicted=judgement.placement,
            measured_bytes=measured_bytes,
            context_tokens=self._context_tokens,
        )


def _asked_engine(
    assessor: Assessor, path: Path, facts: ModelFacts, verdict: Verdict, *, wish: LoadWish, running: Running
) -> Verdict:
    """What really goes to a GPU is known only to the installed engine."""
    try:
        return assessor.refine(path, facts, verdict, wish.as_wish(), running)
    except EngineError:
        return verdict  # the load itself will say what is wrong, in full


def _busiest(verdict: Verdict) -> PoolUse:
    return max(verdict.pools, key=lambda pool: pool.needed_bytes - pool.limit_now_bytes)


def _figures(verdict: Verdict) -> str:
    pools = (
        f"{pool.name}: needed {pool.needed_bytes:,} bytes of {pool.total_bytes:,}, may use {pool.limit_bytes:,}, "
        f"right now {pool.limit_now_bytes:,}"
        for pool in verdict.pools
    )
    return f"context {verdict.context_tokens:,} tokens; {'; '.join(pools)}"
