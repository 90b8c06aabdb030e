"""The engine process: loads a backend through the registry and serves one request after another.

It holds one model at a time, stays alive when that is unloaded, and leaves at once when its stdin ends. It talks to
no network and shows nothing; whatever a backend does wrong ends in exactly one final message for the request.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, assert_never

from engines.base import Engine, EngineVersions, LoadCancelled, Outcome, Piece, Reading, Usage
from engines.errors import EngineBusyError, EngineError, NotEnoughMemoryError
from engines.process import OFFLINE_ENVIRONMENT
from engines.protocol import (
    PROTOCOL_VERSION,
    Cancel,
    CancelLoad,
    CountTokens,
    DeviceList,
    Failed,
    Finished,
    Generate,
    Hello,
    ListDevices,
    Load,
    Loaded,
    Loading,
    MemoryPlan,
    PieceMessage,
    PlanMemory,
    ReadingProgress,
    Shutdown,
    ToEngine,
    TokenCount,
    Unload,
    Unloaded,
)
from engines.registry import ENGINES, create, library_version
from engines.workers.channel import Channel, leave

logger = logging.getLogger(__name__)

LOADING_INTERVAL_S = 0.05
"""Load progress is a drawing, not a record: at most 20 a second, and the last one always."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A message with the flag that a later Cancel or CancelLoad sets, already while the job still waits."""

    message: Load | Generate | CountTokens | ListDevices | PlanMemory | Unload
    cancelled: threading.Event


class EngineWorker:
    """Takes messages from the channel in one thread and works through them in another, the main one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._flags_lock = threading.Lock()
        self._request_flags: dict[int, threading.Event] = {}
        self._load_flags: list[threading.Event] = []
        self._engine: Engine | None = None

    def run(self) -> NoReturn:
        """Says hello and serves until the process ends."""
        self._channel.send(Hello(protocol=PROTOCOL_VERSION, versions=_versions()))
        self._channel.start_reading(self._on_message)
        while True:
            self._work(self._jobs.get())

    def _on_message(self, message: ToEngine) -> None:
        flag = threading.Event()
        with self._flags_lock:
            match message:
                case Cancel(request_id=request_id):
                    if request_id in self._request_flags:
                        self._request_flags[request_id].set()
                case CancelLoad():
                    for waiting in self._load_flags:
                        waiting.set()
                case Load():
                    self._load_flags.append(flag)
                    self._jobs.put(_Job(message, flag))
                case Generate(request_id=request_id) | CountTokens(request_id=request_id):
                    self._request_flags[request_id] = flag
                    self._jobs.put(_Job(message, flag))
                case ListDevices() | PlanMemory() | Unload():
                    self._jobs.put(_Job(message, flag))
                case Shutdown():
                    leave(0)
                case _:
                    assert_never(message)

    def _work(self, job: _Job) -> None:
        match job.message:
            case Load() as message:
                self._load(message, job.cancelled)
                with self._flags_lock:
                    self._load_flags.remove(job.cancelled)
            case Generate(request_id=request_id) as message:
                self._generate(message, job.cancelled.is_set)
                self._forget(request_id)
            case CountTokens(request_id=request_id) as message:
                self._count_tokens(message)
                self._forget(request_id)
            case ListDevices() as message:
                self._list_devices(message)
            case PlanMemory() as message:
                self._plan_memory(message)
            case Unload():
                self._unload()
                self._channel.send(Unloaded())
            case _:
                assert_never(job.message)

    def _forget(self, request_id: int) -> None:
        with self._flags_lock:
            self._request_flags.pop(request_id, None)

    def _unload(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            try:
                engine.close()
            except Exception:  # noqa: BLE001 - a backend that cannot close must not take the process along
                _note_traceback("closing the engine failed")

    def _load(self, message: Load, cancelled: threading.Event) -> None:
        self._unload()
        if cancelled.is_set():
            self._channel.send(Unloaded())
            return
        try:
            self._engine = create(message.engine)
            progress = _LoadProgress(self._channel, cancelled)
            model = self._engine.load(Path(message.model_path), message.settings, progress)
        except LoadCancelled:
            self._unload()
            self._channel.send(Unloaded())
        except BaseException as error:  # noqa: BLE001 - the border: whatever a backend raises becomes a message
            failed = _failed(None, error)
            self._unload()
            self._channel.send(failed)
        else:
            if cancelled.is_set():
                self._unload()
                self._channel.send(Unloaded())
            else:
                self._channel.send(Loaded(model=model))

    def _generate(self, message: Generate, is_cancelled: Callable[[], bool]) -> None:
        request_id = message.request_id
        if is_cancelled():
            self._channel.send(Finished(request_id=request_id, reason="cancelled", usage=Usage()))
            return
        if self._engine is None:
            self._channel.send(_failed(request_id, _nothing_loaded()))
            return
        end: Finished | Failed
        stream: Iterator[Reading | Piece | Outcome] | None = None
        try:
            stream = self._engine.generate(message.messages, message.options, is_cancelled)
            outcome = self._forward(request_id, stream)
            end = Finished(request_id=request_id, reason=outcome.reason, usage=outcome.usage)
        except BaseException as error:  # noqa: BLE001 - the border: whatever a backend raises becomes a message
            end = _failed(request_id, error)
        # Closed before the end is told, because the next request may follow at once.
        _close_stream(stream)
        self._channel.send(end)

    def _forward(self, request_id: int, stream: Iterator[Reading | Piece | Outcome]) -> Outcome:
        send = self._channel.send
        for item in stream:
            if isinstance(item, Piece):
                send(PieceMessage(request_id=request_id, text=item.text, piece_kind=item.kind))
            elif isinstance(item, Reading):
                send(ReadingProgress(request_id=request_id, done=item.done, total=item.total))
            elif isinstance(item, Outcome):
                return item
            else:
                raise TypeError(f"the engine yielded a {type(item).__name__}")
        raise RuntimeError("the engine ended a reply without saying how")

    def _count_tokens(self, message: CountTokens) -> None:
        try:
            if self._engine is None:
                raise _nothing_loaded()
            tokens = self._engine.count_tokens(message.text)
        except BaseException as error:  # noqa: BLE001 - the border: whatever a backend raises becomes a message
            self._channel.send(_failed(message.request_id, error))
        else:
            self._channel.send(TokenCount(request_id=message.request_id, tokens=tokens))

    def _list_devices(self, message: ListDevices) -> None:
        try:
            engine = create(message.engine)
            devices = engine.devices()
            engine.close()
        except BaseException as error:  # noqa: BLE001 - the border: whatever a backend raises becomes a message
            self._channel.send(_failed(message.request_id, error))
        else:
            self._channel.send(DeviceList(request_id=message.request_id, devices=devices))

    def _plan_memory(self, message: PlanMemory) -> None:
        self._unload()
        try:
            engine = create(message.engine)
            try:
                plans = engine.dry_run(Path(message.model_path), message.settings)
            finally:
                engine.close()
        except BaseException as error:  # noqa: BLE001 - the border: whatever a backend raises becomes a message
            self._channel.send(_failed(message.request_id, error))
        else:
            self._channel.send(MemoryPlan(request_id=message.request_id, plans=plans))


class _LoadProgress:
    """What a backend calls during a load: throttles the news and answers whether to go on."""

    def __init__(self, channel: Channel, cancelled: threading.Event) -> None:
        self._channel = channel
        self._cancelled = cancelled
        self._sent_at = 0.0
        self._sent_share = -1.0

    def __call__(self, share: float) -> bool:
        share = min(1.0, max(0.0, share))
        now = time.monotonic()
        due = now - self._sent_at >= LOADING_INTERVAL_S or share >= 1.0
        if due and share > self._sent_share:
            self._sent_at, self._sent_share = now, share
            self._channel.send(Loading(share=share))
        return not self._cancelled.is_set()


def _close_stream(stream: Iterator[Reading | Piece | Outcome] | None) -> None:
    close = getattr(stream, "close", None)
    if close is None:
        return
    try:
        close()
    except BaseException:  # noqa: BLE001 - the reply has its end already; the fault goes to the log
        _note_traceback("closing a reply failed")


def _failed(request_id: int | None, error: BaseException) -> Failed:
    if isinstance(error, MemoryError):
        error = NotEnoughMemoryError(
            "There is not enough memory for this.",
            "Close other apps, or choose a smaller model or a smaller context.",
            "".join(traceback.format_exception(error)),
        )
    elif not isinstance(error, EngineError):
        error = EngineError(
            "The engine met a fault of its own.",
            "Try again. If it happens again, restart Snug.",
            "".join(traceback.format_exception(error)),
        )
    return Failed(request_id=request_id, code=error.code, title=error.title, advice=error.advice, details=error.details)


def _nothing_loaded() -> EngineBusyError:
    return EngineBusyError("No model is loaded.", "Choose a model first.")


def _note_traceback(what: str) -> None:
    logger.warning("%s:\n%s", what, traceback.format_exc())


def _versions() -> EngineVersions:
    from importlib import metadata

    libraries = {info.library: version for info in ENGINES if (version := library_version(info)) is not None}
    try:
        own = metadata.version("snug")
    except metadata.PackageNotFoundError:
        # Run from a source tree that is not installed.
        own = "unknown"
    return EngineVersions(engine=f"snug {own}", python=platform.python_version(), libraries=libraries)


def main() -> NoReturn:
    """Runs the engine process; never returns."""
    channel = Channel.take_over()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # One thread's stack is enough to see where, and leaves room for the engine's own last words.
    faulthandler.enable(file=sys.stderr, all_threads=False)
    # The parent decides when this process ends; a Ctrl-C in its terminal is not meant for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(OFFLINE_ENVIRONMENT)
    EngineWorker(channel).run()


if __name__ == "__main__":
    main()
