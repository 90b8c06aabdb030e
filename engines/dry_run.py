"""Asks an engine what a load would allocate, in a child process of its own: nothing is read, next to nothing allocated.

A child, because odd metadata makes native libraries abort, and because a GPU's runtime that was only asked is gone
with it. Blocking, so for background threads. What the answer means for a machine is the fit's business.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from pathlib import Path

from engines.base import DryRun, LoadSettings
from engines.client import engine_command
from engines.diagnosis import diagnose, explain_no_process, explain_wrong_protocol
from engines.errors import EngineError, EngineStartError, from_code
from engines.process import OFFLINE_ENVIRONMENT, ProcessEnded, WorkerProcess
from engines.protocol import (
    PROTOCOL_VERSION,
    Failed,
    FromEngine,
    Hello,
    MemoryPlan,
    PlanMemory,
    Shutdown,
    decode_from_engine,
)

DEFAULT_TIMEOUT_S = 60.0
_REQUEST_ID = 1
# Without it ggml starts a debugger on itself when it aborts, which takes seconds and can hang.
_ENVIRONMENT = {**OFFLINE_ENVIRONMENT, "GGML_NO_BACKTRACE": "1"}


def plan(
    engine_id: str,
    path: Path,
    settings: Sequence[LoadSettings],
    timeout_s: float = DEFAULT_TIMEOUT_S,
    *,
    command: Sequence[str] | None = None,
) -> tuple[DryRun, ...]:
    """One answer for each of `settings`, in their order; refused ones carry their problem.

    `path` may be a header followed by a hole of the right length. Raises EngineError: of its own kind when the model is
    damaged or not supported, EngineCrashedError when planning ended the process, EngineStartError when there is no
    process or no answer within `timeout_s` seconds (it is killed then).
    """
    news: queue.SimpleQueue[FromEngine | ProcessEnded] = queue.SimpleQueue()
    process: WorkerProcess[FromEngine] = WorkerProcess(
        command=list(command) if command is not None else engine_command(),
        decode=decode_from_engine,
        on_message=news.put,
        on_ended=news.put,
        name="dry-run",
        environment=_ENVIRONMENT,
    )
    try:
        process.start()
    except OSError as error:
        raise explain_no_process(str(error)) from error
    answered = False
    try:
        process.send(
            PlanMemory(
                request_id=_REQUEST_ID, engine=engine_id, model_path=str(path.absolute()), settings=tuple(settings)
            )
        )
        plans = _wait(news, time.monotonic() + timeout_s, timeout_s)
        answered = True
    finally:
        if not answered:
            process.kill()
        process.stop(ask=Shutdown())
    if len(plans) != len(settings):
        raise _no_plan(f"{len(plans)} answers for {len(settings)} settings")
    return plans


def _wait(news: queue.SimpleQueue[FromEngine | ProcessEnded], deadline: float, timeout_s: float) -> tuple[DryRun, ...]:
    while True:
        try:
            event = news.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise EngineStartError(
                "The engine did not plan this model's memory in time.",
                "Try again when the computer is less busy; until then Snug estimates.",
                f"no plan within {timeout_s:.0f} s",
            ) from None
        match event:
            case Hello(protocol=protocol):
                if protocol != PROTOCOL_VERSION:
                    raise explain_wrong_protocol(f"protocol {protocol}, expected {PROTOCOL_VERSION}")
            case MemoryPlan(plans=plans):
                return plans
            case Failed(code=code, title=title, advice=advice, details=details):
                raise from_code(code, title, advice, details)
            case ProcessEnded():
                raise diagnose(
                    returncode=event.returncode,
                    signal_name=event.signal_name,
                    stderr_tail=event.stderr_tail,
                    activity="planning",
                    protocol_error=event.protocol_error,
                )
            case _:
                raise _no_plan(f"unexpected message: {type(event).__name__}")


def _no_plan(details: str) -> EngineError:
    return EngineError("The engine gave no plan of this model's memory.", "Until then Snug estimates.", details)
