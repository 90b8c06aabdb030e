"""For the tests of engines: scripts for the scripted engine, real clients, and a recorder of their events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from engines.base import ChatMessage, GenerationOptions, LoadSettings
from engines.client import ClientEvent, ClientState, EngineClient, RequestFailed, StateChanged
from engines.protocol import Finished, PieceMessage, ReadingProgress

WAIT_S = 30.0


class EventRecorder:
    """Keeps the events of a client and lets a test wait for one, without ever sleeping."""

    def __init__(self) -> None:
        self.events: list[ClientEvent] = []
        self.threads: set[str] = set()
        self._news = threading.Condition()

    def __call__(self, event: ClientEvent) -> None:
        with self._news:
            self.events.append(event)
            self.threads.add(threading.current_thread().name)
            self._news.notify_all()

    def wait(self, wanted: Callable[[ClientEvent], bool], *, after: int = 0, timeout_s: float = WAIT_S) -> ClientEvent:
        """The first event from index `after` on that is wanted."""
        with self._news:
            assert self._news.wait_for(lambda: any(wanted(event) for event in self.events[after:]), timeout_s), (
                f"did not come within {timeout_s} s; came: {self.events[-5:]}"
            )
            return next(event for event in self.events[after:] if wanted(event))

    def wait_state(self, *types: type, after: int = 0, timeout_s: float = WAIT_S) -> Any:
        """The first state of one of these types from index `after` on."""
        event = self.wait(
            lambda event: isinstance(event, StateChanged) and isinstance(event.state, types),
            after=after,
            timeout_s=timeout_s,
        )
        assert isinstance(event, StateChanged)
        return event.state

    def end_of(self, request_id: int, timeout_s: float = WAIT_S) -> Finished | RequestFailed:
        """The end of a request, once it has come."""
        event = self.wait(lambda event: self._is_end(event, request_id), timeout_s=timeout_s)
        assert isinstance(event, Finished | RequestFailed)
        return event

    def first_piece(self, request_id: int) -> PieceMessage:
        event = self.wait(lambda event: isinstance(event, PieceMessage) and event.request_id == request_id)
        assert isinstance(event, PieceMessage)
        return event

    def first_reading(self, request_id: int) -> ReadingProgress:
        event = self.wait(lambda event: isinstance(event, ReadingProgress) and event.request_id == request_id)
        assert isinstance(event, ReadingProgress)
        return event

    def ends(self, request_id: int) -> list[ClientEvent]:
        """All ends of a request so far; a good client gives exactly one."""
        return [event for event in self.snapshot() if self._is_end(event, request_id)]

    def pieces(self, request_id: int) -> list[PieceMessage]:
        return [e for e in self.snapshot() if isinstance(e, PieceMessage) and e.request_id == request_id]

    def text(self, request_id: int, kind: str = "text") -> str:
        return "".join(piece.text for piece in self.pieces(request_id) if piece.piece_kind == kind)

    def states(self) -> list[ClientState]:
        return [event.state for event in self.snapshot() if isinstance(event, StateChanged)]

    def snapshot(self) -> list[ClientEvent]:
        with self._news:
            return list(self.events)

    @staticmethod
    def _is_end(event: ClientEvent, request_id: int) -> bool:
        return isinstance(event, Finished | RequestFailed) and event.request_id == request_id


class MakeClient(Protocol):
    """Makes a client that is closed at the end of the test."""

    def __call__(self, model: str | Path, **options: Any) -> tuple[EngineClient, EventRecorder]: ...


@pytest.fixture
def write_script(tmp_path: Path) -> Callable[..., Path]:
    """`write_script('[[reply]]\\ntext = "Hello"')` gives the path of such a script."""
    count = 0

    def write(body: str, path: Path | None = None) -> Path:
        nonlocal count
        count += 1
        script = path or tmp_path / f"script-{count}.toml"
        script.write_text("format = 1\n" + body, encoding="utf-8")
        return script

    return write


@pytest.fixture
def make_client(write_script: Callable[..., Path]) -> Iterator[MakeClient]:
    """Makes clients of the scripted engine; the model is a path, or the text of a script."""
    clients: list[EngineClient] = []

    def make(model: str | Path, **options: Any) -> tuple[EngineClient, EventRecorder]:
        recorder = EventRecorder()
        arguments = {"engine": "scripted", "settings": LoadSettings(), "on_event": recorder} | options
        path = write_script(model) if isinstance(model, str) else model
        client = EngineClient(model_path=path, **arguments)
        clients.append(client)
        return client, recorder

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def ask() -> Callable[..., int]:
    """`ask(client, "first", "second")` sends a conversation of so many user turns and returns the request id."""

    def send(client: EngineClient, *turns: str, **options: Any) -> int:
        messages: list[ChatMessage] = []
        for turn in turns:
            if messages:
                messages.append(ChatMessage("assistant", "So be it."))
            messages.append(ChatMessage("user", turn))
        return client.generate(messages, GenerationOptions(**options))

    return send


@pytest.fixture
def engine_process_of() -> Callable[[EngineClient], psutil.Process]:
    """The child process of a client that is running."""

    def find(client: EngineClient) -> psutil.Process:
        process = client._process
        assert process is not None and process.pid is not None
        return psutil.Process(process.pid)

    return find


@pytest.fixture
def wait_until_gone() -> Callable[[int], None]:
    """Waits until a process has ended. A zombie has: where nobody asks for its status it stays in the table."""

    def wait(pid: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                if psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                    return
            except psutil.NoSuchProcess:
                return
            assert time.monotonic() < deadline, f"process {pid} lives on"
            time.sleep(0.01)  # the system sends no news of processes that are not our children

    return wait


@pytest.fixture(scope="session")
def recorder_class() -> type[EventRecorder]:
    """For clients that a fixture or a test makes by itself."""
    return EventRecorder
