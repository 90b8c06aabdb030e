"""How a model is loaded, and whether: the verdict at the moment of the load, and what was learned from it afterwards.

Used by several threads of the window: the engine's lane asks for plans, background threads note what was measured.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from engines.assessor import Assessor
from engines.base import LoadedModel, LoadSettings, Usage
from engines.errors import EngineError, NotEnoughMemoryError, UnsupportedModelError
from engines.fit import memory, speed
from engines.fit.calibration import uncorrected
from engines.fit.values import ModelFacts, Placement, Running, Verdict, Wish
from engines.lease import Lease, Leases, in_use_error, measure_holdings
from engines.library import InstalledModel
from engines.memory import Memory, estimate_needed_bytes, read_memory
from engines.registry import engine_info


@dataclass(frozen=True, slots=True)
class ContextWish:
    """What the user said about a model's context; None: nothing."""

    asked_tokens: int | None = None
    """For this very model: never changed silently."""
    usual_tokens: int | None = None
    """From the settings, for all models: as much of it as fits."""

    def as_wish(self) -> Wish:
        """As the fit understands it."""
        return Wish(context_tokens=self.asked_tokens or self.usual_tokens)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a model is to be loaded with, and the main memory that is to be set aside for it."""

    settings: LoadSettings
    needed_bytes: int
    facts: ModelFacts | None = None
    """None, as all that follows, where the fit does not know this kind of model."""
    verdict: Verdict | None = None
    predicted: Placement | None = None
    """Without what earlier loads taught."""


@dataclass(slots=True)
class _Load:
    """A model that this process has, or had, in memory."""

    id: str
    plan: LoadPlan
    context_tokens: int
    peak_bytes: int = 0


def estimated_plan(model: InstalledModel, settings: LoadSettings, *, anyway: bool = False) -> LoadPlan:
    """Without a verdict: the settings as they are, and a need from the size of the file alone."""
    del anyway
    return LoadPlan(settings, estimate_needed_bytes(model.size_bytes))


def held_by_others(leases: Leases) -> int:
    """What other Snug processes hold, or are about to take, and the system still calls available."""
    return sum(holding.outstanding_bytes for holding in measure_holdings(leases.others()))


def is_judged(model: InstalledModel) -> bool:
    """Whether the fit has something to say: the scripted engine's little scripts need no memory."""
    return engine_info(model.engine).library != ""


class LoadPlanner:
    """Plans loads and notes what came of them."""

    def __init__(
        self,
        make_assessor: Callable[[], Assessor],
        wish_for: Callable[[Path], ContextWish],
        leases: Leases,
        *,
        memory_now: Callable[[], Memory] = read_memory,
    ) -> None:
        """`make_assessor` looks at this machine; `wish_for` says what the user wants of a file. Both are called on
        other threads.
        """
        self._make_assessor = make_assessor
        self._wish_for = wish_for
        self._leases = leases
        self._memory_now = memory_now
        self._lock = threading.Lock()
        self._assessor: Assessor | None = None
        self._planned: dict[Path, LoadPlan] = {}
        self._load: _Load | None = None

    def look(self) -> Assessor:
        """Looks at this machine anew; takes up to a second. Raises EngineError."""
        assessor = self._make_assessor()
        with self._lock:
            if self._assessor is not None:
                assessor = self._assessor.for_machine(assessor.machine)
            self._assessor = assessor
        return assessor

    def plan(self, model: InstalledModel, settings: LoadSettings, *, anyway: bool = False) -> LoadPlan:
        """The verdict for this moment, made into settings.

        Raises: ModelFileError; unless `anyway` also NotEnoughMemoryError, ModelInUseError, UnsupportedModelError.
        """
        if not is_judged(model):
            return estimated_plan(model, settings)
        assessor = self._for_this_moment()
        try:
            facts = assessor.facts_of_file(model.path)
        except UnsupportedModelError:
            return estimated_plan(model, settings)  # not covered by the arithmetic: the engine may know it
        context = self._wish_for(model.path)
        running = Running(held_bytes=held_by_others(self._leases))
        verdict = assessor.judge(facts, context.as_wish(), running)
        if verdict.settings.gpu_layers != 0:
            verdict = _asked_engine(assessor, model.path, verdict, context=context, running=running)
        if not anyway:
            self._require_room(assessor, model, facts, verdict, context)
        tokens = verdict.context_tokens
        if anyway:
            trained = facts.geometry.trained_context_tokens or tokens
            tokens = min(context.asked_tokens or tokens, max(trained, tokens))
        chosen = replace(verdict.settings, context_tokens=tokens, threads=settings.threads)
        predicted = uncorrected(verdict.placement, assessor.correction(facts))
        plan = LoadPlan(chosen, verdict.placement.main.total_bytes, facts, verdict, predicted)
        with self._lock:
            self._planned[model.path] = plan
        return plan

    def _for_this_moment(self) -> Assessor:
        with self._lock:
            assessor = self._assessor
        if assessor is None:
            assessor = self.look()
        now = self._memory_now()
        return assessor.for_machine(replace(assessor.machine, memory_available_bytes=now.available_bytes))

    def _require_room(
        self, assessor: Assessor, model: InstalledModel, facts: ModelFacts, verdict: Verdict, context: ContextWish
    ) -> None:
        """Raises unless it fits as asked, right now."""
        details = _figures(verdict)
        reasons = " ".join(verdict.reasons)
        if verdict.kind == "cannot" and is_refused(verdict):
            raise UnsupportedModelError(f"{model.name} cannot run here.", reasons, details)
        if verdict.kind == "cannot":
            raise NotEnoughMemoryError(f"{model.name} does not fit into this computer's memory.", reasons, details)
        if verdict.kind_now == "cannot":
            holder = self._holder_in_the_way(assessor, facts, context)
            pool = max(verdict.pools, key=lambda pool: pool.needed_bytes - pool.limit_now_bytes)
            if holder is not None:
                raise in_use_error(model.name, pool.needed_bytes, pool.limit_now_bytes, holder)
            raise NotEnoughMemoryError(f"There is not enough free memory for {model.name}.", reasons, details)
        asked = min(context.asked_tokens or 0, facts.geometry.trained_context_tokens or context.asked_tokens or 0)
        if verdict.context_tokens < asked:
            raise NotEnoughMemoryError(
                f"{model.name} does not fit right now with a context of {asked:,} tokens.",
                f"{verdict.context_tokens:,} tokens fit. Choose less on the Models page, or close other programs.",
                details,
            )

    def _holder_in_the_way(self, assessor: Assessor, facts: ModelFacts, context: ContextWish) -> Lease | None:
        """The largest model of another Snug, if this one would fit without the others."""
        holdings = measure_holdings(self._leases.others())
        if not holdings:
            return None
        freed = Running(freed_bytes=sum(min(each.counted_bytes, each.lease.size_bytes) for each in holdings))
        if assessor.judge(facts, context.as_wish(), freed).kind_now == "cannot":
            return None
        return max(holdings, key=lambda each: each.lease.size_bytes).lease

    # What came of it

    def note_load(self, model: InstalledModel, loaded: LoadedModel) -> None:
        """A model stands in memory."""
        with self._lock:
            plan = self._planned.get(model.path)
            self._load = _Load(uuid.uuid4().hex, plan, loaded.context_tokens) if plan is not None else None
            load = self._load
        if load is not None:
            self._note_peak(load, loaded.memory_bytes)

    def note_reply(self, usage: Usage) -> None:
        """A reply of the model in memory has ended."""
        with self._lock:
            load, assessor = self._load, self._assessor
        if load is None or assessor is None or assessor.book is None or load.plan.facts is None:
            return
        if usage.peak_memory_bytes > load.peak_bytes:
            self._note_peak(load, usage.peak_memory_bytes)
        facts, machine, settings = load.plan.facts, assessor.machine, load.plan.settings
        assessor.book.note_reply(
            facts,
            machine,
            settings,
            usage,
            decode=speed.decode_speed(facts, machine, settings, depth_tokens=usage.context_used_tokens),
            prefill=speed.prefill_speed(facts, machine, settings),
        )

    def _note_peak(self, load: _Load, measured_bytes: int) -> None:
        load.peak_bytes = measured_bytes
        with self._lock:
            assessor = self._assessor
        plan = load.plan
        if assessor is None or assessor.book is None or plan.facts is None or plan.predicted is None:
            return
        if load.context_tokens > memory.rounded_context(plan.settings.context_tokens or 0):
            return  # the engine took more than was planned: not this prediction's fault
        assessor.book.note_load(
            plan.facts,
            assessor.machine,
            plan.settings,
            load_id=load.id,
            predicted=plan.predicted,
            measured_bytes=measured_bytes,
            context_tokens=load.context_tokens,
        )


def is_refused(verdict: Verdict) -> bool:
    """It cannot run whatever the memory: no engine for it, or a combination that the engine refuses."""
    return verdict.kind == "cannot" and all(pool.fits for pool in verdict.pools)


def _asked_engine(
    assessor: Assessor, path: Path, verdict: Verdict, *, context: ContextWish, running: Running
) -> Verdict:
    """Whether the installed engine can use the GPU at all is known only to itself."""
    try:
        return assessor.refine(path, assessor.facts_of_file(path), verdict, context.as_wish(), running)
    except EngineError:
        return verdict  # the load itself will say what is wrong, in full


def _figures(verdict: Verdict) -> str:
    pools = (
        f"{pool.name}: needed {pool.needed_bytes:,} bytes of {pool.total_bytes:,}, may use {pool.limit_bytes:,}, "
        f"right now {pool.limit_now_bytes:,}"
        for pool in verdict.pools
    )
    return f"context {verdict.context_tokens:,} tokens; {'; '.join(pools)}"
