from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from desktop.commands.chat_engine import EngineChoices, TerminalEngine
from desktop.commands.terminal import Terminal
from engines.base import ChatMessage, GenerationOptions, LoadSettings, PieceKind
from engines.catalog import Catalog
from engines.errors import NotEnoughMemoryError
from engines.lease import Leases, read_leases
from engines.library import describe_file
from engines.memory import Memory

HELLO = (ChatMessage("user", "Hello"),)
OPTIONS = GenerationOptions()

Script = Callable[..., Path]
MakeEngine = Callable[..., TerminalEngine]


class Pieces:
    """What was said, and a hook for the first piece."""

    def __init__(self, on_first: Callable[[], None] | None = None) -> None:
        self.text = ""
        self._on_first = on_first

    def __call__(self, text: str, kind: PieceKind) -> None:
        self.text += text
        on_first, self._on_first = self._on_first, None
        if on_first is not None:
            on_first()


@pytest.fixture
def leases_directory(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def make_engine(leases_directory: Path) -> Iterator[MakeEngine]:
    engines: list[TerminalEngine] = []

    def make(path: Path, *, available_bytes: int = 1 << 40, idle_eject_seconds: float = 0.0) -> TerminalEngine:
        engine = TerminalEngine(
            Terminal(None, io.StringIO(), io.StringIO(), {}),
            Leases(leases_directory, "terminal", memory_now=lambda: Memory(1 << 40, available_bytes)),
            describe_file(path, Catalog()),
            EngineChoices(LoadSettings(), log_path=None, idle_eject_seconds=idle_eject_seconds),
        )
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


def test_a_lease_is_held_from_the_start_to_the_end(
    make_engine: MakeEngine, script: Script, leases_directory: Path
) -> None:
    engine, pieces = make_engine(script()), Pieces()

    end = engine.ask(HELLO, OPTIONS, pieces, stay=True)
    (held,) = read_leases(leases_directory)
    engine.close()

    assert (end.reason, end.error, end.leave, pieces.text) == ("end", None, False, "You said: Hello")
    assert end.usage is not None and end.usage.generated_tokens == 3
    assert (held.pid, held.program, held.model_name) == (os.getpid(), "terminal", "script")
    assert read_leases(leases_directory) == ()
    engine.close()


def test_a_model_that_does_not_fit_is_an_end_and_not_a_surprise(
    make_engine: MakeEngine, script: Script, leases_directory: Path
) -> None:
    engine = make_engine(script(), available_bytes=1)

    end = engine.ask(HELLO, OPTIONS, Pieces(), stay=True)

    assert isinstance(end.error, NotEnoughMemoryError)
    assert read_leases(leases_directory) == ()
    with pytest.raises(NotEnoughMemoryError):
        engine.start()


def test_a_load_that_fails_gives_the_lease_back_and_is_tried_again(
    make_engine: MakeEngine, script: Script, leases_directory: Path
) -> None:
    path = script('format = 1\n[load.fails]\ncode = "model_file"\ntitle = "Damaged."\n[[reply]]\ntext = "x"\n')
    engine = make_engine(path)

    first = engine.ask(HELLO, OPTIONS, Pieces(), stay=True)
    after_first = read_leases(leases_directory)
    second = engine.ask(HELLO, OPTIONS, Pieces(), stay=True)
    script('format = 1\n[[reply]]\ntext = "sound again"\n')
    pieces = Pieces()
    third = engine.ask(HELLO, OPTIONS, pieces, stay=True)

    assert first.error is not None and second.error is not None
    assert first.error.title == second.error.title == "Damaged."
    assert after_first == ()
    assert (third.reason, pieces.text) == ("end", "sound again")


def test_ejecting_frees_the_memory_and_the_next_message_loads_again(
    make_engine: MakeEngine, script: Script, leases_directory: Path
) -> None:
    engine = make_engine(script())
    engine.start()
    engine.eject()

    assert read_leases(leases_directory) == ()
    assert engine.ask(HELLO, OPTIONS, Pieces(), stay=True).reason == "end"
    assert len(read_leases(leases_directory)) == 1


def test_a_model_that_nobody_uses_leaves_memory_by_itself(
    make_engine: MakeEngine,
    script: Script,
    leases_directory: Path,
    wait_until: Callable[[Callable[[], bool]], None],
) -> None:
    engine = make_engine(script(), idle_eject_seconds=0.1)

    assert engine.ask(HELLO, OPTIONS, Pieces(), stay=True).reason == "end"
    wait_until(lambda: read_leases(leases_directory) == ())

    assert engine.ask(HELLO, OPTIONS, Pieces(), stay=True).reason == "end"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a whole console")
def test_an_interrupt_stops_the_reply_and_is_nobody_elses_afterwards(make_engine: MakeEngine, script: Script) -> None:
    engine = make_engine(script('format = 1\n[[reply]]\ntext = "word "\nrepeat = 1000\ntoken_seconds = 0.01\n'))
    before = signal.getsignal(signal.SIGINT)

    staying = engine.ask(HELLO, OPTIONS, Pieces(lambda: os.kill(os.getpid(), signal.SIGINT)), stay=True)
    leaving = engine.ask(HELLO, OPTIONS, Pieces(lambda: os.kill(os.getpid(), signal.SIGINT)), stay=False)

    assert (staying.reason, staying.leave) == ("cancelled", False)
    assert (leaving.reason, leaving.leave) == ("cancelled", True)
    assert signal.getsignal(signal.SIGINT) is before
