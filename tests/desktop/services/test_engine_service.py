"""One model and its replies on the GUI thread, with real engine processes that play scripts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtCore import QThread

from desktop.core.paths import AppPaths
from desktop.services.engine_service import UPDATE_INTERVAL_MS, EngineService
from desktop.services.engine_session import EngineChoices
from engines.base import ChatMessage, GenerationOptions
from engines.client_values import Crashed, LoadFailed, LoadingModel, Ready, Starting, Stopped
from engines.errors import EngineBusyError, EngineError, ModelInUseError, NotEnoughMemoryError
from engines.lease import Leases, read_leases
from engines.library import InstalledModel
from engines.memory import Memory

HELLO = '[[reply]]\ntext = "Hello there"'
SLOW = '[[reply]]\ntext = "one two three four "\nrepeat = 500\ntoken_seconds = 0.01'
LONG_LOAD = '[load]\nsteps = 100\nstep_seconds = 0.05\n[[reply]]\ntext = "At last"'


class Listener:
    """Everything that an engine service has said."""

    def __init__(self, service: EngineService, qtbot: Any) -> None:
        self.service = service
        self._qtbot = qtbot
        self.states: list[Any] = []
        self.text: dict[int, str] = {}
        self.updates: list[str] = []
        self.pieces: list[str] = []
        self.finished: list[tuple[int, str]] = []
        self.failed: list[tuple[int, EngineError]] = []
        self.threads: set[bool] = set()
        service.state_changed.connect(self._on_state)
        service.text_grew.connect(self._on_text)
        service.reply_finished.connect(lambda request, reason, usage: self.finished.append((request, reason)))
        service.reply_failed.connect(lambda request, error: self.failed.append((request, error)))

    def _on_state(self, state: Any) -> None:
        self.threads.add(QThread.currentThread() is self.service.thread())
        self.states.append(state)

    def _on_text(self, request: int, text: str, thinking: str) -> None:
        self.threads.add(QThread.currentThread() is self.service.thread())
        self.text[request] = self.text.get(request, "") + text
        self.updates.append(text)

    def ask(self, model: InstalledModel, **choices: Any) -> int:
        return self.service.ask(
            model,
            [ChatMessage("user", "Hello")],
            GenerationOptions(),
            lambda text, kind: self.pieces.append(text),
            EngineChoices(**choices),
        )

    def wait(self, condition: Callable[[], bool]) -> None:
        self._qtbot.waitUntil(condition, timeout=20_000)

    def wait_for_end(self, request: int) -> None:
        self.wait(lambda: any(request == number for number, _ in [*self.finished, *self.failed]))


@pytest.fixture
def make_model(write_script: Callable[..., Path]) -> Callable[..., InstalledModel]:
    def make(script: str = HELLO, size_bytes: int = 1000) -> InstalledModel:
        path = write_script(script)
        return InstalledModel(name=path.stem, path=path, size_bytes=size_bytes, engine="scripted")

    return make


@pytest.fixture
def make_listener(qtbot: Any) -> Iterator[Callable[..., Listener]]:
    made: list[EngineService] = []
    paths = AppPaths.make()
    paths.ensure()

    def make(memory: Memory | None = None, **options: Any) -> Listener:
        leases = (
            Leases(paths.leases_directory, "window", memory_now=lambda: memory)
            if memory is not None
            else Leases(paths.leases_directory, "window")
        )
        service = EngineService(leases, **options)
        made.append(service)
        return Listener(service, qtbot)

    yield make
    for service in made:
        service.close()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def leases() -> int:
    return len(read_leases(AppPaths.make().leases_directory))


def test_model_is_loaded_by_the_first_request(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener()
    assert isinstance(listener.service.state, Stopped)
    assert not children()
    request = listener.ask(make_model())
    assert listener.service.is_busy
    listener.wait_for_end(request)
    assert listener.finished == [(request, "end")]
    assert listener.text[request] == "Hello there"
    assert "".join(listener.pieces) == "Hello there"
    kinds = list(dict.fromkeys(type(state) for state in listener.states))
    assert kinds[:3] == [Starting, LoadingModel, Ready]
    assert listener.threads == {True}, "signals come on the thread of the service"
    assert leases() == 1
    assert not listener.service.is_busy


def test_second_request_is_refused_while_one_is_made(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener, model = make_listener(), make_model(SLOW)
    request = listener.ask(model)
    with pytest.raises(EngineBusyError):
        listener.ask(model)
    listener.wait(lambda: bool(listener.text))
    listener.service.stop()
    listener.wait_for_end(request)
    assert listener.finished == [(request, "cancelled")]


def test_same_process_answers_the_next_request(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener, model = make_listener(), make_model()
    listener.wait_for_end(listener.ask(model))
    (first,) = children()
    listener.wait_for_end(listener.ask(model))
    assert [child.pid for child in children()] == [first.pid]


def test_another_model_takes_the_place_of_the_first(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener()
    listener.wait_for_end(listener.ask(make_model()))
    other = make_model('[[reply]]\ntext = "Another"')
    request = listener.ask(other)
    listener.wait_for_end(request)
    assert listener.text[request] == "Another"
    assert listener.service.model == other
    assert len(children()) == 1
    assert leases() == 1


def test_screen_is_told_at_most_thirty_times_a_second_and_misses_nothing(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel], qtbot: Any
) -> None:
    listener = make_listener()
    request = listener.ask(make_model('[[reply]]\ntext = "word "\nrepeat = 600\ntoken_seconds = 0.001'))
    listener.wait(lambda: bool(listener.updates))
    before = len(listener.updates)
    qtbot.wait(10 * UPDATE_INTERVAL_MS)  # not for something to happen: this is the time that is looked at
    assert len(listener.updates) - before <= 11
    listener.wait_for_end(request)
    assert listener.text[request] == "".join(listener.pieces)
    assert len(listener.pieces) > len(listener.updates)


def test_eject_frees_process_and_lease(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener()
    listener.wait_for_end(listener.ask(make_model()))
    listener.service.eject()
    assert isinstance(listener.service.state, Stopped)
    assert listener.service.loaded is None
    listener.wait(lambda: not children() and leases() == 0)


def test_stop_at_once_keeps_the_model_in_memory(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener, model = make_listener(), make_model()
    listener.wait_for_end(listener.ask(model))
    (child,) = children()
    request = listener.ask(model)
    listener.service.stop()
    listener.wait_for_end(request)
    assert listener.finished[-1][0] == request
    assert [process.pid for process in children()] == [child.pid]
    assert isinstance(listener.service.state, Ready)


def test_eject_while_the_model_is_on_its_way_leaves_nothing_behind(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener()
    request = listener.ask(make_model(LONG_LOAD))
    listener.service.eject()  # before the process was even started
    listener.wait_for_end(request)
    assert listener.finished == [(request, "cancelled")]
    listener.wait(lambda: not children() and leases() == 0)
    assert isinstance(listener.service.state, Stopped)


def test_model_leaves_memory_after_an_idle_time(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener(idle_eject_ms=200)
    told: list[bool] = []
    listener.service.idle_ejected.connect(lambda: told.append(True))
    listener.wait_for_end(listener.ask(make_model('[[reply]]\ntext = "a b c"\ntoken_seconds = 0.15')))
    assert not told, "it was in use for longer than that"
    listener.wait(lambda: bool(told))
    assert isinstance(listener.service.state, Stopped)


def test_reply_that_does_not_heed_stop_can_be_ended_by_force(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener(stop_now_after_ms=100)
    offered: list[int] = []
    listener.service.stop_now_offered.connect(offered.append)
    script = '[[reply]]\ntext = "one two three"\n[reply.misbehaves]\nhow = "hang"\nafter_tokens = 2'
    request = listener.ask(make_model(script))
    listener.wait(lambda: bool(listener.text))
    listener.service.stop()
    listener.wait(lambda: offered == [request])
    listener.service.stop_now()
    listener.wait_for_end(request)
    assert listener.finished == [(request, "cancelled")]
    listener.wait(lambda: isinstance(listener.service.state, Ready))


def test_failed_load_gives_the_lease_back(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener()
    request = listener.ask(make_model('[load.fails]\ncode = "model_file"\ntitle = "Damaged."\n' + HELLO))
    listener.wait_for_end(request)
    assert listener.failed[0][1].title == "Damaged."
    listener.wait(lambda: isinstance(listener.service.state, LoadFailed) and leases() == 0 and not children())


def test_first_crash_restarts_and_the_second_asks(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener()
    model = make_model('[[reply]]\ntext = "one two"\n[reply.misbehaves]\nhow = "segfault"\nafter_tokens = 1')
    listener.wait_for_end(listener.ask(model))
    listener.wait(lambda: isinstance(listener.service.state, Ready))
    listener.wait_for_end(listener.ask(model))
    listener.wait(lambda: isinstance(listener.service.state, Crashed))
    assert leases() == 0 or listener.wait(lambda: leases() == 0) is None
    assert [error.code for _, error in listener.failed] == ["engine_crashed", "engine_crashed"]
    request = listener.ask(make_model())
    listener.wait_for_end(request)
    assert listener.text[request] == "Hello there", "another model works after that"


def test_too_little_memory_is_said_before_anything_is_started(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener(memory=Memory(total_bytes=8 << 30, available_bytes=1 << 30))
    model = make_model(HELLO, size_bytes=6 << 30)
    request = listener.ask(model)
    listener.wait_for_end(request)
    assert isinstance(listener.failed[0][1], NotEnoughMemoryError)
    assert not any(isinstance(state, LoadingModel) for state in listener.states)
    assert isinstance(listener.service.state, LoadFailed)
    request = listener.ask(model, anyway=True)
    listener.wait_for_end(request)
    assert listener.text[request] == "Hello there"


def test_model_of_another_process_in_the_way_is_named(
    make_listener: Callable[..., Listener],
    make_model: Callable[..., InstalledModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ModelInUseError("Held elsewhere.", "Eject it there.")

    listener = make_listener()
    monkeypatch.setattr(listener.service._keeper._leases, "take", refuse)
    request = listener.ask(make_model())
    listener.wait_for_end(request)
    assert listener.failed == [(request, listener.failed[0][1])]
    assert listener.failed[0][1].title == "Held elsewhere."


def test_fault_of_ours_ends_the_request_and_is_not_swallowed(
    make_listener: Callable[..., Listener],
    make_model: Callable[..., InstalledModel],
    monkeypatch: pytest.MonkeyPatch,
    qtbot: Any,
) -> None:
    listener = make_listener()
    monkeypatch.setattr(listener.service._keeper._leases, "take", lambda *_, **__: 1 / 0)
    with qtbot.captureExceptions() as exceptions:
        request = listener.ask(make_model())
        listener.wait_for_end(request)
    assert [kind for kind, _, _ in exceptions] == [ZeroDivisionError]
    assert listener.failed[0][1].code == "internal"


def test_load_before_the_first_message(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener, model = make_listener(), make_model()
    listener.service.load(model, EngineChoices())
    listener.wait(lambda: isinstance(listener.service.state, Ready))
    (child,) = children()
    listener.wait_for_end(listener.ask(model))
    assert [process.pid for process in children()] == [child.pid]


def test_load_without_a_request_says_why_it_failed(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    failed: list[tuple[InstalledModel, EngineError]] = []
    listener = make_listener(Memory(1 << 30, 1 << 20))
    listener.service.load_failed.connect(lambda *what: failed.append(what))
    refused = make_model()
    listener.service.load(refused, EngineChoices())
    listener.wait(lambda: bool(failed))
    assert failed[0][0] == refused
    assert isinstance(failed[0][1], NotEnoughMemoryError)
    missing = InstalledModel("gone", refused.path.with_name("gone.toml"), 1000, engine="scripted")
    listener.service.load(missing, EngineChoices(anyway=True))
    listener.wait(lambda: len(failed) == 2)
    assert failed[1][0] == missing
    listener.wait_for_end(listener.ask(missing, anyway=True))
    assert len(failed) == 2, "a request tells of its own failure"


def test_load_that_was_ejected_at_once_leaves_nothing_behind(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener()
    listener.service.load(make_model(LONG_LOAD), EngineChoices())
    listener.service.eject()
    listener.wait(listener.service._worker._work_queue.empty)
    listener.wait(lambda: not children() and leases() == 0)
    assert isinstance(listener.service.state, Stopped)


@pytest.mark.parametrize("script", [SLOW, LONG_LOAD], ids=["replying", "loading"])
def test_close_ends_everything_within_five_seconds(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel], script: str, qtbot: Any
) -> None:
    listener = make_listener()
    listener.ask(make_model(script))
    listener.wait(lambda: any(isinstance(state, LoadingModel) for state in listener.states))
    done = threading.Event()
    watchdog = threading.Timer(6.0, done.set)
    watchdog.start()
    listener.service.close()
    assert not done.is_set()
    watchdog.cancel()
    watchdog.join()
    assert not children()
    assert leases() == 0
    with pytest.raises(EngineBusyError):
        listener.ask(make_model())


def test_close_at_once_after_a_request_leaves_nothing(
    make_listener: Callable[..., Listener], make_model: Callable[..., InstalledModel]
) -> None:
    listener = make_listener()
    listener.ask(make_model(LONG_LOAD))
    listener.service.close()
    assert not children()
    assert leases() == 0
