"""How a model is loaded in the window: the verdict at the moment of the load, and what was learned from it afterwards.

Used by several threads of the window: the engine's lane asks for plans, background threads note what was measured.
What is decided, and in which words, is `engines.load_planning`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engines.assessor import Assessor
from engines.base import LoadedModel, LoadSettings, Usage
from engines.lease import Leases
from engines.library import InstalledModel
from engines.load_planning import FaceWords, LoadNotes, LoadPlan, LoadWish, is_judged, plan_load
from engines.memory import Memory, estimate_needed_bytes, read_memory

WORDS = FaceWords(less_context="{tokens:,} tokens fit{when}: choose less on the Models page, or close other programs")


def estimated_plan(model: InstalledModel, settings: LoadSettings, *, anyway: bool = False) -> LoadPlan:
    """Without a verdict: the settings as they are, and a need from the size of the file alone."""
    del anyway
    return LoadPlan(settings, estimate_needed_bytes(model.size_bytes))


class LoadPlanner:
    """Plans loads and notes what came of them."""

    def __init__(
        self,
        make_assessor: Callable[[], Assessor],
        wish_for: Callable[[Path], LoadWish],
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
        self._notes: LoadNotes | None = None

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
        wish = replace(self._wish_for(model.path), threads=settings.threads)
        plan = plan_load(model, self._for_this_moment(), self._leases, wish, WORDS, anyway=anyway)
        if plan.judgement is None:
            plan = replace(plan, settings=settings)
        with self._lock:
            self._planned[model.path] = plan
        return plan

    def _for_this_moment(self) -> Assessor:
        # Looked at anew, all of it: free memory of a card and what can be committed move, too.
        assessor = self.look()
        now = self._memory_now()
        return assessor.for_machine(replace(assessor.machine, memory_available_bytes=now.available_bytes))

    # What came of it

    def note_load(self, model: InstalledModel, loaded: LoadedModel) -> None:
        """A model stands in memory."""
        with self._lock:
            plan = self._planned.get(model.path)
            book = self._assessor.book if self._assessor is not None else None
            if book is None:
                return
            if self._notes is None:
                self._notes = LoadNotes(book)
            self._notes.begin(plan)
            self._notes.note_load(loaded)

    def note_reply(self, usage: Usage) -> None:
        """A reply of the model in memory has ended."""
        with self._lock:
            if self._notes is not None:
                self._notes.note_reply(usage)
