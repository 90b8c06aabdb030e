"""The services of the app, wired as in `desktop.app`, on a profile of the test's own and with the scripted engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication

from desktop.core.conversations.store import Store
from desktop.core.conversations.values import StoredMessage
from desktop.core.paths import AppPaths
from desktop.core.settings import State, save_state
from desktop.pages.base import Services
from desktop.services.background import Background
from desktop.services.chat_service import ChatService, LiveReply
from desktop.services.conversation_service import ConversationService, tell_of_problems
from desktop.services.engine_service import EngineService
from desktop.services.fit_service import FitService, make_planner
from desktop.services.memory_service import MemoryService
from desktop.services.model_service import ModelService
from desktop.services.notices import Notices
from desktop.services.profile import Profile
from engines.formats.sparse import write_sparse
from engines.hardware.detect import read_machine
from engines.hardware.machine import Bandwidth, Machine, Processor
from engines.hardware.profiles import load_profiles
from engines.lease import Leases
from engines.load_planning import held_by_others
from engines.memory import Memory, read_memory
from tests.support import gguf_writer

WAIT_MS = 20_000

HELLO_SCRIPT = """
name = "Scripted"
[[reply]]
text = "Hello from turn {turn}."
"""
SLOW_SCRIPT = """
name = "Slow"
[[reply]]
text = "one two three four five six seven eight nine ten "
repeat = 200
token_seconds = 0.02
"""


@pytest.fixture
def write_script(tmp_path: Path) -> Callable[..., Path]:
    """`write_script('[[reply]]\\ntext = "Hello"')` gives the path of such a model of the scripted engine."""
    count = 0

    def write(body: str = HELLO_SCRIPT) -> Path:
        nonlocal count
        count += 1
        path = tmp_path / f"script-{count}.toml"
        path.write_text("format = 1\n" + body, encoding="utf-8")
        return path

    return write


def memory_of(look: Callable[[], Machine]) -> Callable[[], Memory]:
    """What is free on a computer that was made up."""

    def read() -> Memory:
        machine = look()
        return Memory(machine.memory_total_bytes, machine.memory_available_bytes or 0)

    return read if look is not read_machine else read_memory


class Workbench:
    """Services that were made for one test, and what they have said so far."""

    def __init__(self, services: Services, background: Background, paths: AppPaths, qtbot: Any) -> None:
        self.services = services
        self.paths = paths
        self.background = background
        self._qtbot = qtbot
        self.added: list[StoredMessage] = []
        self.changes: list[LiveReply] = []
        self.ended: list[StoredMessage] = []
        self.is_closed = False
        services.chat.message_added.connect(self.added.append)
        services.chat.reply_changed.connect(self.changes.append)
        services.chat.reply_ended.connect(self.ended.append)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Waits until something is so."""
        self._qtbot.waitUntil(condition, timeout=WAIT_MS)

    def send(self, text: str, conversation_id: str | None = None) -> StoredMessage:
        """Sends a message and waits for the end of the reply."""
        count = len(self.ended)
        assert self.services.chat.send(conversation_id, text)
        self.wait(lambda: len(self.ended) > count)
        return self.ended[-1]

    def begin(self, text: str, conversation_id: str | None = None) -> LiveReply:
        """Sends a message and waits for the first words of the reply."""
        assert self.services.chat.send(conversation_id, text)
        self.wait(lambda: self.services.chat.live is not None and self.services.chat.live.message.text != "")
        live = self.services.chat.live
        assert live is not None
        return live

    def stored(self, message: StoredMessage) -> StoredMessage:
        """What the disk has of a message."""
        return self.services.conversations.store.get_message(message.id).result(5)

    def titles(self) -> list[str]:
        """What the window's notices say."""
        QApplication.processEvents()
        return [notice.title for notice in self.services.notices.current()]

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        services = self.services
        services.engine.close()
        services.conversations.close()
        services.memory.stop()
        services.profile.close()
        self.background.close()
        services.notices.close()


@pytest.fixture
def make_workbench(qtbot: Any, write_script: Callable[..., Path]) -> Iterator[Callable[..., Workbench]]:
    """`make_workbench(script)` makes services whose model plays `script` (text, or the path of one; None: no model)."""
    benches: list[Workbench] = []

    def make(
        script: str | Path | None = HELLO_SCRIPT, *, look: Callable[[], Machine] = read_machine, **engine_options: Any
    ) -> Workbench:
        paths = AppPaths.make()
        paths.ensure()
        if script is not None:
            model_path = write_script(script) if isinstance(script, str) else script
            save_state(paths.state_path, State().with_model_used(model_path))
        notices = Notices()
        background = Background()
        profile = Profile(paths, notices, background.run)
        on_problem, on_recovered = tell_of_problems(notices)
        store = Store(paths.database_path, on_problem=on_problem, on_recovered=on_recovered)
        conversations = ConversationService(store, notices)
        models = ModelService(profile, notices, background.run)
        leases = Leases(paths.leases_directory, "window")
        held_bytes = partial(held_by_others, leases)
        planner = make_planner(profile, leases, look, memory_now=memory_of(look))
        memory = MemoryService(background.run)
        engine = EngineService(leases, plan_load=planner.plan, **engine_options)
        fit = FitService(
            planner,
            models,
            memory,
            engine,
            profile,
            run_in_background=background.run,
            held_bytes=held_bytes,
            load_profiles=load_profiles,
        )
        services = Services(
            profile=profile,
            notices=notices,
            conversations=conversations,
            models=models,
            memory=memory,
            engine=engine,
            fit=fit,
            chat=ChatService(engine, conversations, models, profile),
        )
        bench = Workbench(services, background, paths, qtbot)
        benches.append(bench)
        models.refresh()
        bench.wait(lambda: models.was_read)
        return bench

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def computer() -> Machine:
    """A computer that somebody looked at: 16 GB, of which 12 are free."""
    return Machine(
        name="Test computer, 16 GB",
        system="linux",
        processor=Processor(name="Test processor", architecture="x86_64", physical_cores=4, features=("avx2",)),
        memory_total_bytes=16 * 10**9,
        memory_available_bytes=12 * 10**9,
        bandwidth=Bandwidth(bytes_per_second=50 * 10**9, source="table"),
    )


@pytest.fixture
def write_model() -> Callable[..., Path]:
    """`write_model(path, layers=32)` writes a sound header with a hole of the right length behind it."""

    def write(path: Path, **shape: int) -> Path:
        metadata, tensors = gguf_writer.model(**{"layers": 32, "width": 1024, "vocabulary_size": 300, **shape})
        header, length = gguf_writer.header(metadata, tensors)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sparse(header, length, path)
        return path

    return write


@pytest.fixture
def workbench(make_workbench: Callable[..., Workbench]) -> Workbench:
    """Services whose model says hello."""
    return make_workbench()
