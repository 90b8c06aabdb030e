"""One model from its lease to its end, and the keeper that opens and closes such sessions. No signals, no GUI thread.

Opening and closing wait for locks, processes and threads, so `SessionKeeper` is used on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from desktop.services.load_planner import estimated_plan
from engines.base import LoadSettings
from engines.client import EngineClient
from engines.client_values import ClientEvent
from engines.lease import HeldLease, Leases
from engines.library import InstalledModel
from engines.load_planning import LoadPlan


@dataclass(frozen=True, slots=True)
class EngineChoices:
    """How a model is run."""

    load_settings: LoadSettings = field(default_factory=LoadSettings)
    anyway: bool = False
    """Load even when the memory does not seem to suffice."""


class PlanLoad(Protocol):
    """Judges a model at the moment of its load (`LoadPlanner.plan`). Raises EngineError when it must not be loaded."""

    def __call__(self, model: InstalledModel, settings: LoadSettings, *, anyway: bool = False) -> LoadPlan: ...


@dataclass(frozen=True, slots=True, eq=False)
class EngineSession:
    """One model that is in memory, or may be."""

    model: InstalledModel
    client: EngineClient
    lease: HeldLease
    ticket: int
    """Which wish it fulfils: whoever asked may have changed their mind meanwhile."""


class SessionKeeper:
    """Keeps at most one session. All calls from one thread."""

    def __init__(
        self,
        leases: Leases,
        *,
        log_path: Callable[[], Path] | None = None,
        working_directory: Path | None = None,
        plan_load: PlanLoad = estimated_plan,
    ) -> None:
        self._leases = leases
        self._plan_load = plan_load
        self._log_path = log_path
        self._working_directory = working_directory
        self._opened: EngineSession | None = None

    def open(
        self,
        model: InstalledModel,
        choices: EngineChoices,
        ticket: int,
        on_event: Callable[[EngineSession, ClientEvent], None],
    ) -> EngineSession:
        """Takes the lease and makes a client, which is not started yet. Closes what was open before.

        `on_event` is called on the client's event thread.

        Raises: ModelInUseError, NotEnoughMemoryError, UnsupportedModelError, ModelFileError, EngineError.
        """
        self.shut_all()
        plan = self._plan_load(model, choices.load_settings, anyway=choices.anyway)
        lease = self._leases.take(model.name, model.path, plan.needed_bytes, anyway=choices.anyway)
        sessions: list[EngineSession] = []
        client = EngineClient(
            engine=model.engine,
            model_path=model.path,
            settings=plan.settings,
            on_event=lambda event: on_event(sessions[0], event),
            log_path=self._log_path() if self._log_path is not None else None,
            working_directory=self._working_directory,
        )
        session = EngineSession(model, client, lease, ticket)
        sessions.append(session)
        self._opened = session
        return session

    def shut(self, session: EngineSession) -> None:
        """Ends the process, if this session is still the one that is open, and gives the lease back."""
        if session is self._opened:
            self.shut_all()

    def shut_all(self) -> None:
        """Ends what is open, if anything is. Takes at most about 5 s, when the process does not heed."""
        session, self._opened = self._opened, None
        if session is not None:
            session.client.close()
            session.lease.release()
