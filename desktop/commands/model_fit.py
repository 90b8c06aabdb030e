"""The fit of one model that is about to be loaded in the terminal: what to say before it, and what it taught.

Used by `snug chat` and `snug fit --load`. Looks at the machine anew before every load, because "available" moves.
Whether there is room and what to load with is `engines.load_planning`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from desktop.commands.fit_text import fit_line
from engines.assessor import Assessor
from engines.base import LoadedModel, LoadSettings, Usage
from engines.calibration_book import CalibrationBook
from engines.catalog import Catalog
from engines.fit.sizes import gigabytes
from engines.hardware.detect import read_machine
from engines.lease import Leases
from engines.library import InstalledModel
from engines.load_planning import (
    FaceWords,
    Judgement,
    LoadNotes,
    LoadPlan,
    LoadWish,
    plan_load,
    shortage_words,
)

WORDS = FaceWords(
    less_context=(
        "Say --context {tokens}, which fits{when}, or --kv q8_0 for about half the memory per token, "
        "or snug fit to see what fits"
    ),
    anyway="--anyway loads it nevertheless.",
)


@dataclass(frozen=True, slots=True)
class PreparedLoad:
    """How to load, and what to say before it."""

    plan: LoadPlan
    line: str
    """One sentence for the person."""

    @property
    def settings(self) -> LoadSettings:
        """What the engine gets."""
        return self.plan.settings

    @property
    def needed_bytes(self) -> int:
        """Of main memory, for the lease."""
        return self.plan.needed_bytes

    @property
    def prediction(self) -> Judgement | None:
        """None where the fit does not know this kind of model."""
        return self.plan.judgement


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
        self._notes = LoadNotes(book)
        self._prepared: PreparedLoad | None = None
        self._loaded: LoadedModel | None = None

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
        plan = plan_load(self._model, self._assessor_now(), self._leases, self._wish, WORDS, anyway=anyway)
        self._notes.begin(plan)
        self._prepared = PreparedLoad(plan, self._line(plan))
        return self._prepared

    def note(self, loaded: LoadedModel, usage: Usage) -> None:
        """A reply has ended: what was measured is kept for the next prediction."""
        self._loaded = loaded
        self._notes.note_load(loaded)
        self._notes.note_reply(usage)

    def _line(self, plan: LoadPlan) -> str:
        judgement = plan.judgement
        if judgement is None:
            about = gigabytes(plan.needed_bytes)
            return f"Snug cannot work out what this kind of model needs; about {about}, by its size."
        verdict = judgement.verdict
        if not all(pool.fits_now for pool in verdict.pools):
            return f"Loading although Snug says no. {shortage_words(verdict)}"
        line = fit_line(verdict)
        usual, asked = self._wish.usual_context_tokens, self._wish.context_tokens
        trained = judgement.facts.geometry.trained_context_tokens
        if trained and trained < (asked or 0):
            line += " The model was made for no more."
        elif asked is None and usual is not None and verdict.context_tokens < min(usual, trained or usual):
            line += f" That is less context than the {usual:,} tokens of your settings."
        return line
