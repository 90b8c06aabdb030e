"""One model in one engine process, as its user sees it: a state, requests, events, and a policy for crashes.

`EngineClient` is thread-safe and knows no Qt. All its methods but `close` return at once. Events come in order and
one at a time, from one thread of the client, and the callback may call any method. It does not choose a model and
does not store a conversation.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from engines.base import ChatMessage, EngineVersions, FinishReason, GenerationOptions, LoadedModel, LoadSettings, Usage
from engines.client_values import (
    ClientEvent,
    ClientState,
    Crashed,
    Generating,
    LoadFailed,
    LoadingModel,
    Ready,
    RequestFailed,
    Starting,
    StateChanged,
    Stopped,
    Stopping,
)
from engines.diagnosis import (
    Activity,
    after_second_crash,
    diagnose,
    explain_no_hello,
    explain_no_process,
    explain_wrong_protocol,
)
from engines.errors import EngineBusyError, EngineError, from_code
from engines.event_lane import EventLane
from engines.process import OFFLINE_ENVIRONMENT, ProcessEnded, WorkerProcess
from engines.protocol import (
    PROTOCOL_VERSION,
    Cancel,
    CountTokens,
    DeviceList,
    Failed,
    Finished,
    FromEngine,
    Generate,
    Hello,
    Load,
    Loaded,
    Loading,
    MemoryPlan,
    PieceMessage,
    ReadingProgress,
    Shutdown,
    TokenCount,
    Unloaded,
    decode_from_engine,
)

__all__ = [
    "ClientEvent",
    "ClientState",
    "Crashed",
    "EngineClient",
    "Generating",
    "LoadFailed",
    "LoadingModel",
    "Ready",
    "RequestFailed",
    "Starting",
    "StateChanged",
    "Stopped",
    "Stopping",
    "engine_command",
]

logger = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 60.0
GOOD_AFTER_S = 10.0
"""A start counts as good when the model has been in memory for so long; a crash after that is a first crash again."""


@dataclass(slots=True)
class _Request:
    """The one request of the moment. `sent`: the engine has it; otherwise it waits for the model."""

    message: Generate
    sent: bool = False


class EngineClient:
    """Keeps one model loaded in one child process and passes requests to it, one at a time."""

    def __init__(
        self,
        *,
        engine: str,
        model_path: Path,
        settings: LoadSettings,
        on_event: Callable[[ClientEvent], None],
        log_path: Path | None = None,
        working_directory: Path | None = None,
        command: Sequence[str] | None = None,
        hello_timeout_s: float = HELLO_TIMEOUT_S,
        good_after_s: float = GOOD_AFTER_S,
    ) -> None:
        self._load_message = Load(engine=engine, model_path=str(model_path.absolute()), settings=settings)
        self._on_event = on_event
        self._log_path = log_path
        self._working_directory = working_directory
        self._command = list(command) if command is not None else engine_command()
        self._hello_timeout_s = hello_timeout_s
        self._good_after_s = good_after_s
        # Never held while an event is delivered or a process is waited for.
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._closed.set()
        self._state: ClientState = Stopped()
        self._versions: EngineVersions | None = None
        self._request: _Request | None = None
        self._counts: set[int] = set()
        self._request_ids = itertools.count(1)
        self._process: WorkerProcess[FromEngine] | None = None
        self._former: WorkerProcess[FromEngine] | None = None
        self._lane: EventLane[ClientEvent] | None = None
        self._former_lane: EventLane[ClientEvent] | None = None
        self._hello_deadline: float | None = None
        self._loaded_at: float | None = None
        self._restarted = False
        self._reload_asked = False

    @property
    def state(self) -> ClientState:
        """The state now; the events may still be on their way to it."""
        return self._state

    @property
    def versions(self) -> EngineVersions | None:
        """What the engine process said about itself; None before it did."""
        return self._versions

    def start(self) -> None:
        """Starts the process and the load of the model. Of no effect where that is under way or done."""
        with self._lock:
            self._check_not_closing()
            match self._state:
                case LoadFailed() if self._process is not None:
                    self._send_load(self._process)
                case Stopped() | LoadFailed() | Crashed():
                    self._start_process()
                case Starting() | LoadingModel() | Ready() | Generating() | Stopping():
                    pass
                case _:
                    assert_never(self._state)

    def generate(self, messages: Sequence[ChatMessage], options: GenerationOptions) -> int:
        """Asks for a reply and returns its request id. Starts the engine where that is needed.

        A request that comes before the model is loaded waits for it. Raises EngineBusyError while another request
        has not ended.
        """
        with self._lock:
            self._check_not_closing()
            if self._request is not None:
                raise EngineBusyError(
                    "The model is still busy with the last message.", "Wait for its end, or stop it first."
                )
            request_id = next(self._request_ids)
            message = Generate(request_id=request_id, messages=tuple(messages), options=options)
            self._request = _Request(message)
            if isinstance(self._state, Ready):
                self._send_request(self._state.model)
            else:
                self.start()
            return request_id

    def count_tokens(self, text: str) -> int:
        """Asks how many tokens `text` is; a TokenCount or RequestFailed with the returned id follows.

        Raises EngineBusyError unless a model is loaded. While a reply is being made the answer waits for its end.
        """
        with self._lock:
            if self._process is None or not isinstance(self._state, Ready | Generating | Stopping):
                raise EngineBusyError("No model is loaded.", "Choose a model first.")
            request_id = next(self._request_ids)
            self._counts.add(request_id)
            self._process.send(CountTokens(request_id=request_id, text=text))
            return request_id

    def cancel(self) -> None:
        """Ends the request of the moment early, if there is one; Finished(reason="cancelled") follows."""
        with self._lock:
            request = self._request
            if request is None:
                return
            if not request.sent:
                self._finish_request("cancelled")
            elif self._process is not None and isinstance(self._state, Generating):
                self._process.send(Cancel(request_id=request.message.request_id))
                self._set_state(Stopping(self._state.model, self._state.request_id))

    def stop_now(self) -> None:
        """Kills the process, for a reply that does not heed `cancel`, and loads the model again."""
        with self._lock:
            if self._process is None or self._reload_asked:
                return
            self._reload_asked = True
            if isinstance(self._state, Generating):
                self._set_state(Stopping(self._state.model, self._state.request_id))
            self._process.kill()

    def close(self) -> None:
        """Ejects the model: ends the process and the request of the moment, waits for both, at most about 5 s.

        Afterwards no event comes any more. Calling it again is harmless; `start` begins anew.
        """
        with self._lock:
            lane = self._lane
            if lane is None:
                return
            first = self._closed.is_set()
            if first:
                self._closed.clear()
                process, self._process = self._process, None
                former, self._former = self._former, None
                self._set_hello_deadline(None)
                self._finish_request("cancelled")
                self._fail_counts(_ejected())
        if not first:
            if not lane.is_current_thread:
                self._closed.wait(6.0)
            return
        if process is not None:
            process.stop(ask=Shutdown())
        if former is not None:
            former.join(1.0)
        with self._lock:
            self._set_state(Stopped())
            self._lane = None
            self._former_lane = lane if lane.is_current_thread else None
            self._loaded_at = None
            self._restarted = False
            self._reload_asked = False
            lane.finish()
        lane.join(2.0)
        self._closed.set()

    # Everything below runs under the lock.

    def _set_state(self, state: ClientState) -> None:
        self._state = state
        self._emit(StateChanged(state))

    def _emit(self, event: ClientEvent) -> None:
        if self._lane is not None:
            self._lane.put(event)

    def _check_not_closing(self) -> None:
        if not self._closed.is_set():
            raise EngineBusyError("The model is just being ejected.", "Try again in a moment.")

    def _ensure_lane(self) -> None:
        if self._lane is None:
            former, self._former_lane = self._former_lane, None
            self._lane = EventLane(
                self._on_event,
                lambda: self._hello_deadline,
                self._on_hello_overdue,
                former=former,
                name="snug-engine-events",
            )
            self._lane.start()

    def _set_hello_deadline(self, at: float | None) -> None:
        self._hello_deadline = at
        if self._lane is not None:
            self._lane.look_at_deadline()

    def _start_process(self) -> None:
        self._ensure_lane()
        self._loaded_at = None
        self._reload_asked = False
        process: WorkerProcess[FromEngine] = WorkerProcess(
            command=self._command,
            decode=decode_from_engine,
            on_message=lambda message: self._on_message(process, message),
            on_ended=lambda ended: self._on_ended(process, ended),
            working_directory=self._working_directory,
            log_path=self._log_path,
            environment=OFFLINE_ENVIRONMENT,
        )
        self._set_state(Starting())
        self._process = process
        try:
            process.start()
        except OSError as error:
            self._process = None
            self._give_up(explain_no_process(str(error)))
            return
        self._set_hello_deadline(time.monotonic() + self._hello_timeout_s)

    def _send_load(self, process: WorkerProcess[FromEngine]) -> None:
        process.send(self._load_message)
        self._set_state(LoadingModel(0.0))

    def _send_request(self, model: LoadedModel) -> None:
        assert self._request is not None and self._process is not None
        self._request.sent = True
        self._process.send(self._request.message)
        self._set_state(Generating(model, self._request.message.request_id))

    def _finish_request(self, reason: FinishReason) -> None:
        request, self._request = self._request, None
        if request is not None:
            self._emit(Finished(request_id=request.message.request_id, reason=reason, usage=Usage()))

    def _fail_request(self, error: EngineError) -> None:
        request, self._request = self._request, None
        if request is not None:
            self._emit(RequestFailed(request.message.request_id, error))

    def _fail_counts(self, error: EngineError) -> None:
        for request_id in sorted(self._counts):
            self._emit(RequestFailed(request_id, error))
        self._counts.clear()

    def _give_up(self, error: EngineError) -> None:
        """Ends in Crashed, without a restart; the requests end with the same error."""
        self._fail_request(error)
        self._fail_counts(error)
        self._set_state(Crashed(error, restarting=False))

    def _end_of_work(self) -> None:
        """After a reply: back to Ready."""
        self._request = None
        if isinstance(self._state, Generating | Stopping):
            self._set_state(Ready(self._state.model))

    # Called by the reader thread of a process.

    def _on_message(self, process: WorkerProcess[FromEngine], message: FromEngine) -> None:
        with self._lock:
            if process is not self._process:
                return
            match message:
                case PieceMessage(request_id=request_id) | ReadingProgress(request_id=request_id):
                    if self._is_current(request_id):
                        self._emit(message)
                case Finished(request_id=request_id):
                    if self._is_current(request_id):
                        self._emit(message)
                        self._end_of_work()
                case Failed():
                    self._on_failed(message)
                case Hello():
                    self._on_hello(process, message)
                case Loading(share=share):
                    if isinstance(self._state, LoadingModel):
                        self._set_state(LoadingModel(share))
                case Loaded(model=model):
                    self._on_loaded(model)
                case TokenCount(request_id=request_id):
                    if request_id in self._counts:
                        self._counts.discard(request_id)
                        self._emit(message)
                case DeviceList() | MemoryPlan():
                    logger.debug("the engine answered what nobody asked")
                case Unloaded():
                    # This client ends the process instead of unloading, so nobody asked.
                    logger.debug("the engine unloaded by itself")
                case _:
                    assert_never(message)

    def _is_current(self, request_id: int) -> bool:
        request = self._request
        return request is not None and request.sent and request.message.request_id == request_id

    def _on_hello(self, process: WorkerProcess[FromEngine], message: Hello) -> None:
        self._set_hello_deadline(None)
        self._versions = message.versions
        if message.protocol == PROTOCOL_VERSION:
            self._send_load(process)
            return
        self._drop_process(process)
        self._give_up(explain_wrong_protocol(f"protocol {message.protocol}, expected {PROTOCOL_VERSION}"))

    def _on_loaded(self, model: LoadedModel) -> None:
        if not isinstance(self._state, LoadingModel):
            return
        self._loaded_at = time.monotonic()
        self._set_state(Ready(model))
        if self._request is not None:
            self._send_request(model)

    def _on_failed(self, message: Failed) -> None:
        error = from_code(message.code, message.title, message.advice, message.details)
        if message.request_id is None:
            if isinstance(self._state, LoadingModel):
                self._fail_request(error)
                self._set_state(LoadFailed(error))
        elif message.request_id in self._counts:
            self._counts.discard(message.request_id)
            self._emit(RequestFailed(message.request_id, error))
        elif self._is_current(message.request_id):
            self._emit(RequestFailed(message.request_id, error))
            self._end_of_work()

    def _on_ended(self, process: WorkerProcess[FromEngine], ended: ProcessEnded) -> None:
        with self._lock:
            if process is not self._process or self._lane is None:
                return
            self._process = None
            self._former = process
            self._set_hello_deadline(None)
            logger.info("engine process ended: status %d %s", ended.returncode, ended.signal_name or "")
            if isinstance(self._state, LoadFailed):
                # There was nothing in it to lose; the next start makes a new one.
                return
            if self._reload_asked:
                self._finish_request("cancelled")
                self._fail_counts(_ejected())
                self._start_process()
            else:
                self._on_crash(ended)

    def _on_crash(self, ended: ProcessEnded) -> None:
        if ended.protocol_error is not None and isinstance(self._state, Starting):
            self._give_up(explain_wrong_protocol(ended.protocol_error))
            return
        error = diagnose(
            returncode=ended.returncode,
            signal_name=ended.signal_name,
            stderr_tail=ended.stderr_tail,
            activity=self._activity(),
            protocol_error=ended.protocol_error,
        )
        if self._loaded_at is not None and time.monotonic() - self._loaded_at >= self._good_after_s:
            self._restarted = False
        if self._restarted:
            self._give_up(after_second_crash(error))
            return
        self._restarted = True
        self._fail_counts(error)
        if self._request is not None and self._request.sent:
            self._fail_request(error)
        # A request that still waited for the model goes on waiting: the engine has not seen it.
        self._set_state(Crashed(error, restarting=True))
        self._start_process()

    def _activity(self) -> Activity:
        match self._state:
            case Starting():
                return "starting"
            case LoadingModel():
                return "loading"
            case Generating() | Stopping():
                return "replying"
            case Stopped() | Ready() | LoadFailed() | Crashed():
                return "waiting"
            case _:
                assert_never(self._state)

    def _drop_process(self, process: WorkerProcess[FromEngine]) -> None:
        """Kills a process and stops listening to it; its threads are seen off by `close`."""
        process.kill()
        self._process = None
        self._former = process

    # Called by the event lane.

    def _on_hello_overdue(self) -> None:
        with self._lock:
            process, deadline = self._process, self._hello_deadline
            if process is None or deadline is None or time.monotonic() < deadline:
                return
            self._set_hello_deadline(None)
            self._drop_process(process)
            self._give_up(explain_no_hello(self._hello_timeout_s))


def engine_command() -> list[str]:
    """How an engine process is started here: from source, or from a frozen app, whose `sys.executable` is the app."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "--engine-worker"]
    return [sys.executable, "-P", "-m", "engines.workers.engine"]


def _ejected() -> EngineBusyError:
    return EngineBusyError("The model was ejected before the answer came.", "Ask again when it is loaded.")
