"""What fits on this computer, or on one that is asked about: judged in the background, told on the GUI thread.

Puts nothing into memory. Loading asks `planner` for a plan, so that no model is loaded without a verdict.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from desktop.core.known_models import load_known_models
from desktop.services.assessing import assess, judge_at, most_context
from desktop.services.background import RunInBackground
from desktop.services.engine_service import EngineService
from desktop.services.fit_values import Assessment, BuildFit, MemorySum
from desktop.services.load_planner import LoadPlanner
from desktop.services.memory_service import MemoryService
from desktop.services.model_service import ModelService
from desktop.services.profile import Profile
from engines.assessor import Assessor
from engines.base import LoadedModel, Usage
from engines.calibration_book import CalibrationBook
from engines.client_values import ClientState, Ready
from engines.errors import EngineError
from engines.fit.values import Running, Verdict
from engines.hardware.bandwidth import measure_memory
from engines.hardware.machine import Machine
from engines.lease import Leases
from engines.library import InstalledModel
from engines.load_planning import LoadWish
from engines.memory import Memory, read_memory

logger = logging.getLogger(__name__)

MOVED_BYTES = 256 * 1024**2
"""Memory must have moved by so much before everything is judged again."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a look at this computer gave."""

    assessor: Assessor
    profiles: tuple[Machine, ...]


class FitService(QObject):
    """Verdicts.

    Signals: assessed(Assessment) whenever something was judged; failed(EngineError) when there is nothing to judge
    with; profiles_read(tuple of Machine), once.
    """

    assessed = Signal(object)
    failed = Signal(object)
    profiles_read = Signal(object)

    def __init__(
        self,
        planner: LoadPlanner,
        models: ModelService,
        memory: MemoryService,
        engine: EngineService,
        profile: Profile,
        *,
        run_in_background: RunInBackground,
        parent: QObject | None = None,
        held_bytes: Callable[[], int] = lambda: 0,
        load_profiles: Callable[[], tuple[Machine, ...]],
    ) -> None:
        super().__init__(parent)
        self._planner = planner
        self._models = models
        self._engine = engine
        self._profile = profile
        self._run = run_in_background
        self._held_bytes = held_bytes
        self._load_profiles = load_profiles
        self._here: Assessor | None = None
        self._assessor: Assessor | None = None
        self._profiles: tuple[Machine, ...] = ()
        self._assessment: Assessment | None = None
        self._error: EngineError | None = None
        self._is_looking = False
        self._is_assessing = False
        self._is_due = False
        """Something changed while the last assessment was being made."""
        self._refining: set[str] = set()
        self._held = 0
        models.models_changed.connect(self._on_models_changed)
        memory.memory_changed.connect(self._on_memory)
        engine.state_changed.connect(self._on_engine_state)
        engine.reply_finished.connect(self._on_reply_finished)
        self._loaded: LoadedModel | None = None

    # What is

    @property
    def assessment(self) -> Assessment | None:
        """The last one; None until the computer has been looked at."""
        return self._assessment

    @property
    def error(self) -> EngineError | None:
        """Why there is none."""
        return self._error

    @property
    def profiles(self) -> tuple[Machine, ...]:
        """The computers that can be asked about."""
        return self._profiles

    @property
    def here(self) -> Machine | None:
        """The computer that Snug runs on."""
        return self._here.machine if self._here is not None else None

    def fit_of(self, model: InstalledModel) -> BuildFit | None:
        """What was judged about a file for this computer; None while another computer is asked about."""
        assessment = self._assessment
        return assessment.fit_of(model) if assessment is not None and assessment.is_here else None

    def freed_bytes(self) -> int:
        """What this Snug would give back by ejecting: without mapped weights, which count as available already."""
        loaded = self._engine.loaded
        return max(0, loaded.memory_bytes - loaded.weights_bytes) if loaded is not None else 0

    def judge_at(self, fit: BuildFit, context_tokens: int) -> tuple[Verdict, MemorySum] | None:
        """One build with one context, from arithmetic and what is known of the engine's plan; takes about 1 ms."""
        if self._assessor is None or fit.facts is None:
            return None
        freed = self.freed_bytes() if not self._assessor.machine.is_profile else 0
        return judge_at(self._assessor, fit.facts, context_tokens, self._running(), freed)

    def most_context(self, fit: BuildFit) -> int:
        """The largest context in tokens that one build can be given when nothing else runs; 0 if there is none."""
        if self._assessor is None or fit.facts is None:
            return 0
        return most_context(self._assessor, fit.facts, self._running())

    def context_for(self, path: Path) -> int | None:
        """What the user wants for a file: chosen on the models page, else in the settings, else None."""
        return chosen_context(self._profile, path) or self._profile.settings.context_tokens

    # What can be asked

    def start(self) -> None:
        """Looks at this computer and judges; later calls look again."""
        if self._is_looking:
            return
        self._is_looking = True
        self._run(self._look, self._on_looked, self._on_not_looked)

    def choose_machine(self, profile_id: str) -> None:
        """Judges for a described computer; an empty id is this one."""
        profile = next((machine for machine in self._profiles if machine.profile == profile_id), None)
        if self._here is None:
            return
        self._assessor = self._here.for_machine(profile) if profile is not None else self._here
        self._assess()

    def choose_context(self, path: Path, context_tokens: int) -> None:
        """The user wants this context for a file, now and later."""
        others = [entry for entry in self._profile.state.chosen_contexts if entry[0] != str(path)]
        self._profile.change_state(chosen_contexts=((str(path), context_tokens), *others)[:50])

    def refine(self, fit: BuildFit) -> None:
        """Asks the engine itself what a file would take, in the background; `assessed` tells what came of it."""
        assessor, facts, verdict, file = self._assessor, fit.facts, fit.verdict, fit.installed
        if assessor is None or facts is None or verdict is None or file is None or not file.is_complete:
            return
        is_known = (
            assessor.machine.is_profile or verdict.kind == "cannot" or verdict.placement.main.source != "arithmetic"
        )
        if is_known or str(file.path) in self._refining:
            return
        self._refining.add(str(file.path))
        running = self._running()
        self._run(
            lambda: assessor.refine(file.path, facts, verdict, running=running),
            lambda refined: self._on_refined(assessor, file, refined),
            partial(self._on_not_refined, file),
        )

    # In the background

    def _look(self) -> _Looked:
        assessor = self._planner.look()
        return _Looked(assessor, self._profiles or self._load_profiles())

    # What came of it

    def _on_looked(self, looked: _Looked) -> None:
        self._is_looking = False
        self._error = None
        was_here = self._assessor is None or self._assessor is self._here
        self._here = looked.assessor
        if was_here:
            self._assessor = looked.assessor
        if looked.profiles != self._profiles:
            self._profiles = looked.profiles
            self.profiles_read.emit(looked.profiles)
        self._assess()

    def _on_not_looked(self, error: Exception) -> None:
        self._is_looking = False
        self._fail(error)

    def _assess(self) -> None:
        if self._assessor is None:
            return
        if self._is_assessing:
            self._is_due = True
            return
        self._is_assessing = True
        self._is_due = False
        assessor, installed = self._assessor, self._models.models
        freed = self.freed_bytes()

        def work() -> tuple[int, Assessment]:
            held = self._held_bytes()
            running = Running(held_bytes=held, freed_bytes=freed) if not assessor.machine.is_profile else Running()
            return held, assess(assessor, installed, running)

        self._run(work, partial(self._on_assessed, assessor), self._on_not_assessed)

    def _on_assessed(self, assessor: Assessor, result: tuple[int, Assessment]) -> None:
        self._is_assessing = False
        self._held, assessment = result
        if assessor is self._assessor:
            self._assessment = assessment
            self._error = None
            self.assessed.emit(assessment)
        if self._is_due or assessor is not self._assessor:
            self._assess()

    def _on_not_assessed(self, error: Exception) -> None:
        self._is_assessing = False
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, EngineError):
            raise error
        self._error = error
        self.failed.emit(error)

    def _on_refined(self, assessor: Assessor, file: InstalledModel, verdict: Verdict) -> None:
        if verdict.placement.main.source == "arithmetic":
            return  # the engine cannot plan this one; asking again gives the same
        if assessor is not self._here:
            # Memory has moved meanwhile, and the plan is with the assessor of before: whoever looks asks again.
            self._refining.discard(str(file.path))
        if self._assessor is self._here:
            self._assess()  # the assessor keeps the plan; judging again tells it to every row of the file

    def _on_not_refined(self, file: InstalledModel, error: Exception) -> None:
        if not isinstance(error, EngineError):
            raise error
        logger.info("the engine gave no plan of %s: %s", file.path.name, error.code)

    def _running(self) -> Running:
        if self._assessor is None or self._assessor.machine.is_profile:
            return Running()
        return Running(held_bytes=self._held, freed_bytes=self.freed_bytes())

    # What the other services tell

    def _on_models_changed(self, models: object) -> None:
        del models
        self._assess()

    def _on_memory(self, memory: Memory) -> None:
        if self._here is None:
            return
        machine = self._here.machine
        moved = abs(memory.available_bytes - (machine.memory_available_bytes or 0))
        if moved < max(MOVED_BYTES, memory.total_bytes // 50):
            return
        was_here = self._assessor is self._here
        self._here = self._here.for_machine(replace(machine, memory_available_bytes=memory.available_bytes))
        if was_here:
            self._assessor = self._here
            self._assess()

    def _on_engine_state(self, state: ClientState) -> None:
        loaded = self._engine.loaded
        if loaded == self._loaded:
            return
        self._loaded = loaded
        model = self._engine.model
        if isinstance(state, Ready) and loaded is not None and model is not None:
            self._run(lambda: self._planner.note_load(model, loaded))
        self._assess()

    def _on_reply_finished(self, request: int, reason: str, usage: Usage) -> None:
        del request, reason
        if usage.context_tokens:
            self._run(lambda: self._planner.note_reply(usage))


def make_planner(
    profile: Profile, leases: Leases, look: Callable[[], Machine], *, memory_now: Callable[[], Memory] = read_memory
) -> LoadPlanner:
    """The planner of this profile: its wishes, its book, the computer that `look` sees."""

    def make_assessor() -> Assessor:
        book = CalibrationBook.load(profile.paths.calibration_path)
        machine = look()
        if book.wants_bandwidth(machine):
            _note_bandwidth(book, machine)
        return Assessor(load_known_models(profile.paths)[0], book.with_measured(machine), book)

    def wish_for(path: Path) -> LoadWish:
        return LoadWish(chosen_context(profile, path), profile.settings.context_tokens)

    return LoadPlanner(make_assessor, wish_for, leases, memory_now=memory_now)


def _note_bandwidth(book: CalibrationBook, machine: Machine) -> None:
    """Without it no speed can be said: measured in half a second where no table knows it, and kept."""
    try:
        book.note_bandwidth(machine, measure_memory())
    except EngineError as error:
        logger.info("memory bandwidth could not be measured: %s", error)


def chosen_context(profile: Profile, path: Path) -> int | None:
    """The context in tokens that was chosen for a file; None if none was."""
    return dict(profile.state.chosen_contexts).get(str(path))
