"""The fit of one model that is about to be loaded in the terminal: its settings, whether there is room, what it taught.

Used by `snug chat` and `snug fit --load`. Looks at the machine anew before every load, because "available" moves.
Starts no engine for the model itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from desktop.commands.fit_text import fit_line, tightest
from engines.assessor import Assessor
from engines.base import KvType, LoadedModel, LoadSettings, Usage
from engines.calibration_book import CalibrationBook
from engines.catalog import Catalog
from engines.errors import EngineError, NotEnoughMemoryError, UnsupportedModelError
from engines.fit import limits, memory, speed, support
from engines.fit.calibration import uncorrected
from engines.fit.sizes import gigabytes
from engines.fit.values import Correction, ModelFacts, Placement, Running, SpeedRange, Verdict, Wish
from engines.hardware.detect import read_machine
from engines.hardware.machine import Machine
from engines.lease import Lease, Leases, in_use_error, measure_holdings
from engines.library import InstalledModel
from engines.memory import estimate_needed_bytes
from engines.registry import engine_info

_JUDGED_FORMATS = ("gguf", "mlx")


@dataclass(frozen=True, slots=True)
class LoadWish:
    """What a person said about the load; None: nothing."""

    context_tokens: int | None = None
    """Asked for in this very call: never changed silently."""
    usual_context_tokens: int | None = None
    """From the settings, for all models: as much of it as fits."""
    kv_type: KvType | None = None
    threads: int | None = None

    def as_wish(self) -> Wish:
        """As the fit understands it."""
        return Wish(context_tokens=self.context_tokens or self.usual_context_tokens, kv_type=self.kv_type)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the fit says about one load, without corrections, for the comparison with what happens."""

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
class PreparedLoad:
    """How to load, and what to say before it."""

    settings: LoadSettings
    needed_bytes: int
    """Of main memory, for the lease."""
    line: str
    """One sentence for the person."""
    prediction: Prediction | None
    """None where the fit does not know this kind of model."""
    load_id: str


class AssessorNow:
    """An assessor of this computer as it is at the moment of each call. Headers are read once."""

    def __init__(
        self, catalog: Catalog, book: CalibrationBook, models_directory: Path, known: Assessor | None = None
    ) -> None:
        self._catalog = catalog
        self._book = book
        self._models_directory = models_directory
        self._assessor = known

    def __call__(self) -> Assessor:
        machine = self._book.with_measured(read_machine(self._models_directory))
        if self._assessor is None:
            self._assessor = Assessor(self._catalog, machine, self._book)
        else:
            self._assessor = self._assessor.for_machine(machine)
        return self._assessor


class ModelFit:
    """One model's fit, asked before each load and told after each reply. Used by one thread."""

    def __init__(
        self,
        model: InstalledModel,
        assessor_now: Callable[[], Assessor],
        leases: Leases,
        wish: LoadWish,
        book: CalibrationBook,
    ) -> None:
        self._model = model
        self._assessor_now = assessor_now
        self._leases = leases
        self._wish = wish
        self._book = book
        self._prepared: PreparedLoad | None = None
        self._loaded: LoadedModel | None = None
        self._peak_bytes = 0

    @property
    def loaded(self) -> LoadedModel | None:
        """What stood in memory at the end of the last reply."""
        return self._loaded

    @property
    def prepared(self) -> PreparedLoad | None:
        """What the last `prepare` gave."""
        return self._prepared

    def prepare(self, *, anyway: bool = False) -> PreparedLoad:
        """Judges the model now. `anyway`: also against the verdict.

        Raises: NotEnoughMemoryError, ModelInUseError, UnsupportedModelError with the reason; ModelFileError for a
        file that cannot be read.
        """
        assessor = self._assessor_now()
        try:
            facts = assessor.facts_of_file(self._model.path)
        except UnsupportedModelError:
            self._prepared = self._by_estimate()
            return self._prepared
        wish, running = self._wish.as_wish(), running_now(self._leases)
        verdict = assessor.judge(facts, wish, running)
        if verdict.settings.gpu_layers != 0:
            verdict = self._asked_engine(assessor, facts, verdict, running)
        if not anyway:
            self._require_room(assessor, facts, verdict)
        if anyway:
            verdict = forced(facts, assessor.machine, verdict, self._wish, running)
        settings = replace(verdict.settings, threads=self._wish.threads)
        self._prepared = PreparedLoad(
            settings=settings,
            needed_bytes=verdict.placement.main.total_bytes,
            line=self._line(facts, verdict),
            prediction=Prediction(facts, assessor.machine, verdict, assessor.correction(facts), settings),
            load_id=uuid.uuid4().hex,
        )
        self._peak_bytes = 0
        return self._prepared

    def note(self, loaded: LoadedModel, usage: Usage) -> None:
        """A reply has ended: what was measured is kept for the next prediction."""
        prepared, self._loaded = self._prepared, loaded
        if prepared is None or prepared.prediction is None:
            return
        prediction = prepared.prediction
        self._peak_bytes = max(self._peak_bytes, loaded.memory_bytes, usage.peak_memory_bytes)
        facts, machine, settings = prediction.facts, prediction.machine, prediction.settings
        if loaded.context_tokens <= memory.rounded_context(settings.context_tokens or 0):
            self._book.note_load(
                facts,
                machine,
                settings,
                load_id=prepared.load_id,
                predicted=prediction.placement,
                measured_bytes=self._peak_bytes,
                context_tokens=loaded.context_tokens,
            )
        self._book.note_reply(
            facts,
            machine,
            settings,
            usage,
            decode=prediction.decode(usage.context_used_tokens),
            prefill=prediction.prefill(),
        )

    def _by_estimate(self) -> PreparedLoad:
        needed_bytes = estimate_needed_bytes(self._model.size_bytes)
        trained = self._model.model.trained_context_tokens if self._model.model is not None else None
        context = self._wish.context_tokens or self._wish.usual_context_tokens or trained
        return PreparedLoad(
            settings=LoadSettings(
                context_tokens=context, kv_type=self._wish.kv_type or "f16", threads=self._wish.threads
            ),
            needed_bytes=needed_bytes,
            line=f"Snug cannot work out what this kind of model needs; about {gigabytes(needed_bytes)}, by its size.",
            prediction=None,
            load_id="",
        )

    def _asked_engine(self, assessor: Assessor, facts: ModelFacts, verdict: Verdict, running: Running) -> Verdict:
        """Whether the installed engine can use the GPU at all is known only to itself."""
        try:
            return assessor.refine(self._model.path, facts, verdict, self._wish.as_wish(), running)
        except EngineError:
            return verdict  # the load itself will say what is wrong, in full

    def _line(self, facts: ModelFacts, verdict: Verdict) -> str:
        if not all(pool.fits_now for pool in verdict.pools):
            return f"Loading although Snug says no. {shortage_words(verdict)}"
        line = fit_line(verdict)
        usual, asked = self._wish.usual_context_tokens, self._wish.context_tokens
        trained = facts.geometry.trained_context_tokens
        if trained and trained < (asked or 0):
            line += " The model was made for no more."
        elif asked is None and usual is not None and verdict.context_tokens < min(usual, trained or usual):
            line += f" That is less context than the {usual:,} tokens of your settings."
        return line

    def _require_room(self, assessor: Assessor, facts: ModelFacts, verdict: Verdict) -> None:
        """Raises unless it fits as asked, right now."""
        name = self._model.name
        if verdict.kind == "cannot":
            reason = refusal(facts, verdict)
            if reason:
                raise UnsupportedModelError(f"{name} cannot be run here.", reason, str(self._model.path))
            raise NotEnoughMemoryError(
                f"{name} does not fit on this computer.",
                f"{' '.join(verdict.reasons)} snug fit shows what fits; --anyway loads it nevertheless.",
                _figures(verdict),
            )
        wanted = self._wish.context_tokens
        trained = facts.geometry.trained_context_tokens or wanted
        if wanted is not None and trained is not None and verdict.context_tokens < min(wanted, trained):
            raise self._less_context_error(wanted, verdict)
        if verdict.kind_now == "cannot":
            holder = self._holder_in_the_way(assessor, facts)
            pool = max(verdict.pools, key=lambda pool: pool.needed_bytes - pool.limit_now_bytes)
            if holder is not None:
                raise in_use_error(name, pool.needed_bytes, pool.limit_now_bytes, holder)
            raise NotEnoughMemoryError(
                f"There is not enough free memory for {name} right now.",
                f"It needs {gigabytes(pool.needed_bytes)}, and models may use {gigabytes(pool.limit_now_bytes)} at the "
                "moment. Close other programs or choose a smaller model; --anyway loads it nevertheless.",
                _figures(verdict),
            )

    def _less_context_error(self, wanted: int, verdict: Verdict) -> NotEnoughMemoryError:
        fits_idle = verdict.largest_context_tokens >= wanted
        most = verdict.largest_context_now_tokens if fits_idle else verdict.context_tokens
        when = " right now" if fits_idle else ""
        advice = f"Say --context {most}, which fits{when}" if most else "Close other programs"
        smaller = "" if verdict.settings.kv_type != "f16" else ", or --kv q8_0 for about half the memory per token"
        return NotEnoughMemoryError(
            f"A context of {wanted:,} tokens does not fit for {self._model.name}{when}.",
            f"{advice}{smaller}; --anyway loads it nevertheless.",
            _figures(verdict),
        )

    def _holder_in_the_way(self, assessor: Assessor, facts: ModelFacts) -> Lease | None:
        """The largest model of another Snug, if this one would fit without the others."""
        holdings = measure_holdings(self._leases.others())
        if not holdings:
            return None
        freed = Running(freed_bytes=sum(min(each.counted_bytes, each.lease.size_bytes) for each in holdings))
        if assessor.judge(facts, self._wish.as_wish(), freed).kind_now == "cannot":
            return None
        return max(holdings, key=lambda each: each.lease.size_bytes).lease


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
    pool = max(verdict.pools, key=lambda pool: pool.needed_bytes - pool.limit_now_bytes)
    return (
        f"With a context of {verdict.context_tokens:,} tokens it needs {gigabytes(pool.needed_bytes)} of "
        f"{gigabytes(pool.total_bytes)}; models may use {gigabytes(pool.limit_now_bytes)} now and "
        f"{gigabytes(pool.limit_bytes)} with other programs closed."
    )


def is_judged(model: InstalledModel) -> bool:
    """Whether the fit knows what to make of such a model; the scripted engine's little scripts need no memory."""
    return engine_info(model.engine).file_format in _JUDGED_FORMATS


def running_now(leases: Leases) -> Running:
    """What other Snug processes hold, or are about to take, that the system still calls available."""
    return Running(held_bytes=sum(holding.outstanding_bytes for holding in measure_holdings(leases.others())))


def refusal(facts: ModelFacts, verdict: Verdict) -> str:
    """Why it cannot run whatever the memory: no engine for it, or a combination that the engine refuses; else ""."""
    settings = verdict.settings
    return (
        facts.unsupported
        or support.why_unsupported(facts, settings)
        or memory.refusal(facts.geometry, settings.kv_type, settings.flash_attention)
    )


def _figures(verdict: Verdict) -> str:
    pool = tightest(verdict)
    return (
        f"needed {pool.needed_bytes:,} bytes of {pool.total_bytes:,} ({pool.name}); models may use "
        f"{pool.limit_bytes:,}, right now {pool.limit_now_bytes:,}; context {verdict.context_tokens:,} tokens"
    )
