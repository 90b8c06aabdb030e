"""For the tests of the terminal: scripts, the real `snug` in a child process, and one behind a pseudo terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.fit.values import CachePart, Geometry, ModelFacts, Weights
from engines.hardware.machine import Bandwidth, Machine, Processor

SNUG = (sys.executable, "-m", "desktop")
WAIT_S = 30.0

_IN_ITS_OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

ECHO = """
format = 1
name = "Echo"
[[reply]]
text = "You said: {user}"
"""
SLOW = """
format = 1
name = "Slow"
[[reply]]
text = "first word and then very many more "
repeat = 100
token_seconds = 0.02
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """Writes a script for the scripted engine and answers its path."""

    def write(text: str = ECHO, name: str = "script.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def snug() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `snug` to its end; standard input is empty (the null device) unless `typed` is piped in."""

    def run(
        *arguments: object, typed: str | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SNUG, *map(str, arguments)],
            input=typed,
            stdin=subprocess.DEVNULL if typed is None else None,
            capture_output=True,
            encoding="utf-8",
            timeout=WAIT_S,
            env={**os.environ, **(environment or {})},
            check=False,
        )

    return run


class TerminalRun:
    """`snug` behind a pseudo terminal: what it shows, and what a person types."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        import pty

        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_ITS_OWN_TERMINAL, *SNUG, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", **environment},
            start_new_session=True,
        )
        os.close(slave)
        self._news = threading.Condition()
        self._shown = b""
        self._seen = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def screen(self) -> str:
        """Everything that was shown so far."""
        with self._news:
            return self._shown.decode("utf-8").replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        """Waits until `text` has been shown after what was waited for before."""
        shown = self._comes(text, WAIT_S)
        assert shown, f"{text!r} was not shown; the screen has {self.screen!r}"

    def _comes(self, text: str, timeout_s: float) -> bool:
        wanted = text.encode().replace(b"\n", b"\r\n")
        with self._news:
            found = self._news.wait_for(lambda: wanted in self._shown[self._seen :], timeout_s)
            if found:
                self._seen = self._shown.index(wanted, self._seen) + len(wanted)
        return found

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def press_interrupt(self) -> None:
        self.type("\x03")

    def interrupt_until(self, text: str) -> None:
        """Presses Ctrl-C as a person does: again, when nothing happens.

        WORKAROUND(python/cpython, Modules/readline.c, readline_until_enter_or_signal): a signal that arrives between
        a key and the next wait for one is noticed only with the next key.
        """
        for _ in range(5):
            self.press_interrupt()
            if self._comes(text, 4.0):
                return
        raise AssertionError(f"{text!r} was not shown; the screen has {self.screen!r}")

    def press_end(self) -> None:
        self.type("\x04")

    def status(self) -> int:
        """Waits for the end."""
        status = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._reader.join(WAIT_S)
        os.close(self.master)

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                chunk = b""
            with self._news:
                self._shown += chunk
                self._news.notify_all()
            if not chunk:
                return


@pytest.fixture
def terminal() -> Iterator[Callable[..., TerminalRun]]:
    """Starts `snug` behind a pseudo terminal."""
    if sys.platform == "win32":
        pytest.skip("Windows has no pseudo terminals that Python can open")
    runs: list[TerminalRun] = []

    def start(*arguments: object, environment: dict[str, str] | None = None) -> TerminalRun:
        runs.append(TerminalRun([str(argument) for argument in arguments], environment or {}))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Polls a condition outside of this process that sends no news."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.01)

    return wait


@pytest.fixture
def huge_model(tmp_path: Path) -> Path:
    """A sound GGUF of about 9 TB: a header, and a hole of the right length. No computer has room for it."""
    from engines.formats.sparse import write_sparse
    from tests.support import gguf_writer

    metadata, tensors = gguf_writer.model(layers=100, width=98304, vocabulary_size=1000)
    header, length = gguf_writer.header(metadata, tensors)
    path = tmp_path / "huge.gguf"
    path.parent.mkdir(exist_ok=True)
    try:
        write_sparse(header, length, path)
    except OSError as error:
        pytest.skip(f"this disk cannot hold a file of {length:,} bytes with nothing in it ({error.strerror})")
    assert length > 10**12
    return path


@pytest.fixture
def here() -> Machine:
    """A computer that somebody looked at: 16 GB, of which 12 are free."""
    return Machine(
        name="Test computer",
        system="linux",
        processor=Processor(name="Test processor", architecture="x86_64", physical_cores=4, features=("avx2",)),
        memory_total_bytes=16 * 10**9,
        memory_available_bytes=12 * 10**9,
        bandwidth=Bandwidth(bytes_per_second=50 * 10**9, source="table"),
    )


@pytest.fixture
def facts() -> ModelFacts:
    """A dense model of five billion parameters in four bits, made for 131,072 tokens; 128 KiB of context per token."""
    return ModelFacts(
        name="Middle 5B",
        engine="llama",
        quantization="Q4_K_M",
        geometry=Geometry(
            architecture="llama",
            layers=32,
            embedding_width=4096,
            vocabulary=32_000,
            trained_context_tokens=131_072,
            caches=(CachePart(name="full", layers=32, key_width=1024, value_width=1024),),
            attention_heads=32,
            feed_forward_width=11_008,
        ),
        weights=Weights(total_bytes=3 * 10**9, exact=True, embedding_bytes=80_000_000),
        file_bytes=3 * 10**9,
        parameters=5 * 10**9,
    )
