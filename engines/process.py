"""A child process that speaks one message a line: start, send, receive, stop, and the news of its end.

Serves every kind of child (engines now, downloads later), so it knows nothing of models. It never blocks its caller
except in `stop`, which has limits, and it never raises because a child misbehaves: it reports `ProcessEnded`.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic, TypeVar

from engines.protocol import MAXIMUM_LINE_BYTES, Message, ProtocolError, encode

logger = logging.getLogger(__name__)

STDERR_TAIL_LINES = 50
STDERR_LINE_CHARACTERS = 500
LOG_BYTES = 4 * 1024 * 1024
EXIT_PATIENCE_S = 5.0
"""How long a child that has closed its output may take to end; it cannot tell us anything any more."""

OFFLINE_ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""What keeps libraries inside an engine process from asking the network."""

_CONTROL_CHARACTERS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")

ReceivedT = TypeVar("ReceivedT")


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """How a child ended. `asked_for`: by `stop` or `kill`, so it is not a crash whatever the status says."""

    returncode: int
    signal_name: str | None
    stderr_tail: tuple[str, ...]
    asked_for: bool
    protocol_error: str | None = None
    """Why a line of the child could not be understood, with that line; it was killed for it."""


class WorkerProcess(Generic[ReceivedT]):
    """One run of one child. Made, started once, ended once.

    `on_message` and then, exactly once and last, `on_ended` are called from the reader thread. Both may call `send`
    and `kill`; `stop` called there waits for the child but not for its own thread.
    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        decode: Callable[[bytes], ReceivedT],
        on_message: Callable[[ReceivedT], None],
        on_ended: Callable[[ProcessEnded], None],
        name: str = "engine",
        working_directory: Path | None = None,
        log_path: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._decode = decode
        self._on_message = on_message
        self._on_ended = on_ended
        self._name = name
        self._working_directory = working_directory
        self._log_path = log_path
        self._environment = dict(environment or {})
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr_tail = _StderrTail()
        self._exited = threading.Event()
        self._asked_for = False
        self._popen: subprocess.Popen[bytes] | None = None
        self._threads: tuple[threading.Thread, ...] = ()

    @property
    def pid(self) -> int | None:
        """The child's process id, from `start` on."""
        return self._popen.pid if self._popen is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether the child was started and has not been seen to end."""
        return self._popen is not None and not self._exited.is_set()

    def start(self) -> None:
        """Starts the child. Raises OSError when the system cannot."""
        new_session, creation_flags = _own_process_group()
        popen = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._working_directory,
            env=_child_environment(self._environment),
            start_new_session=new_session,
            creationflags=creation_flags,
        )
        self._popen = popen
        assert popen.stdin is not None and popen.stdout is not None and popen.stderr is not None
        stderr_thread = self._thread("stderr", self._drain_stderr, popen.stderr)
        # The reader is the last to start: it calls back, and what it calls may wait for the other two.
        self._threads = (
            stderr_thread,
            self._thread("writer", self._write_messages, popen.stdin),
            self._thread("reader", self._read_messages, popen, popen.stdout, stderr_thread),
        )
        for thread in self._threads:
            thread.start()

    def send(self, message: Message) -> None:
        """Queues a message. Never blocks, and is of no effect once the child has ended."""
        self._outbox.put(encode(message))

    def kill(self) -> None:
        """Ends the child at once, on purpose. `on_ended` follows."""
        self._asked_for = True
        self._signal_child(hard=True)

    def stop(
        self,
        *,
        ask: Message | None = None,
        ask_seconds: float = 2.0,
        terminate_seconds: float = 1.0,
        kill_seconds: float = 1.0,
    ) -> bool:
        """Asks the child to leave (a message and the end of its stdin), then terminates, then kills it.

        Returns whether it is gone. It can fail only for a process that the system itself cannot end now, for
        example one that waits for a dead network drive.
        """
        if self._popen is None:
            return True
        self._asked_for = True
        if ask is not None:
            self.send(ask)
        self._outbox.put(None)
        gone = self._wait_for_exit(ask_seconds)
        if not gone:
            self._signal_child(hard=False)
            gone = self._wait_for_exit(terminate_seconds)
        if not gone:
            self._signal_child(hard=True)
            gone = self._wait_for_exit(kill_seconds)
        if not gone:
            logger.error("%s process %d does not end, even when killed", self._name, self._popen.pid)
            return False
        self.join(kill_seconds)
        return True

    def join(self, timeout_s: float) -> None:
        """Waits for the threads of a child that has ended; the calling thread is left out."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout_s)

    def _thread(self, role: str, target: Callable[..., None], *arguments: object) -> threading.Thread:
        return threading.Thread(target=target, args=arguments, name=f"snug-{self._name}-{role}", daemon=True)

    def _wait_for_exit(self, timeout_s: float) -> bool:
        if threading.current_thread() not in self._threads:
            return self._exited.wait(timeout_s)
        # A callback stops its own process: the thread that would tell of the exit is this one.
        assert self._popen is not None
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _signal_child(self, *, hard: bool) -> None:
        popen = self._popen
        if popen is None:
            return
        try:
            if hard:
                popen.kill()
            else:
                popen.terminate()
        except OSError as error:
            # It ended between our look and our signal, or (Windows) is just ending.
            logger.debug("could not signal %s process: %s", self._name, error)

    def _read_messages(
        self, popen: subprocess.Popen[bytes], stdout: IO[bytes], stderr_thread: threading.Thread
    ) -> None:
        problem: str | None = None
        while line := stdout.readline(MAXIMUM_LINE_BYTES):
            try:
                if not line.endswith(b"\n"):
                    raise ProtocolError("the line is not complete", line)
                message = self._decode(line)
            except ProtocolError as error:
                problem = f"{error}: {error.line}"
                break
            self._on_message(message)
        if problem is not None:
            # It may have died in the middle of a line, or be alive and talk nonsense; both end here. A moment's
            # patience keeps the true signal of one that is dying.
            _wait_or_kill(popen, 0.5)
        else:
            _wait_or_kill(popen, EXIT_PATIENCE_S)
        stdout.close()
        self._outbox.put(None)
        self._exited.set()
        stderr_thread.join(1.0)
        asked_for = self._asked_for
        self._on_ended(
            ProcessEnded(
                returncode=popen.returncode,
                signal_name=_signal_name(popen.returncode),
                stderr_tail=self._stderr_tail.lines(),
                asked_for=asked_for,
                protocol_error=None if asked_for else problem,
            )
        )

    def _write_messages(self, stdin: IO[bytes]) -> None:
        # A write blocks when the child does not read; it ends with an error when the child does.
        try:
            while (line := self._outbox.get()) is not None:
                stdin.write(line)
                if self._outbox.empty():
                    stdin.flush()
        except OSError as error:
            logger.debug("%s process no longer reads: %s", self._name, error)
        finally:
            _close_quietly(stdin)

    def _drain_stderr(self, stderr: IO[bytes]) -> None:
        log = _open_log(self._log_path) if self._log_path is not None else None
        room_bytes = LOG_BYTES
        file_descriptor = stderr.fileno()
        while chunk := os.read(file_descriptor, 65536):
            self._stderr_tail.add(chunk)
            if log is not None and room_bytes > 0:
                room_bytes -= len(chunk)
                log = _write_log(log, chunk)
        if log is not None:
            _close_quietly(log)
        stderr.close()


class _StderrTail:
    """The last lines of a stream of bytes, in bounded memory also when the stream has no line ends at all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=STDERR_TAIL_LINES)
        self._partial = b""

    def add(self, chunk: bytes) -> None:
        *whole, partial = (self._partial + chunk).split(b"\n")
        with self._lock:
            self._lines.extend(_readable(line) for line in whole[-STDERR_TAIL_LINES:])
            self._partial = partial[: 4 * STDERR_LINE_CHARACTERS]

    def lines(self) -> tuple[str, ...]:
        with self._lock:
            last = _readable(self._partial)
            lines = [*self._lines, last] if last else list(self._lines)
        return tuple(lines[-STDERR_TAIL_LINES:])


def _readable(line: bytes) -> str:
    text = line[: 4 * STDERR_LINE_CHARACTERS].decode("utf-8", "replace").rstrip()
    return _CONTROL_CHARACTERS.sub("", text)[:STDERR_LINE_CHARACTERS]


def _own_process_group() -> tuple[bool, int]:
    """What keeps the Ctrl-C of a terminal, and on Windows a console window, away from the child."""
    if sys.platform == "win32":
        return False, subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return True, 0


def _child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **extra}
    # An empty or relative entry means "wherever the child stands", which is what -P is there to rule out.
    entries = [entry for entry in environment.pop("PYTHONPATH", "").split(os.pathsep) if entry]
    if entries:
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in entries)
    return environment


def _signal_name(returncode: int) -> str | None:
    if returncode >= 0:
        return None
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def _wait_or_kill(popen: subprocess.Popen[bytes], timeout_s: float) -> None:
    try:
        popen.wait(timeout_s)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError as error:
        # Closing flushes, and the reader of a pipe or the room on a disk may be gone.
        logger.debug("closing a stream of a child failed: %s", error)


def _open_log(path: Path) -> IO[bytes] | None:
    """Opens the log for appending; one that has grown is put aside first. A log is never worth a failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(path.name + ".1"))
        return path.open("ab", buffering=0)
    except OSError as error:
        logger.info("engine log cannot be written: %s", error)
        return None


def _write_log(log: IO[bytes], chunk: bytes) -> IO[bytes] | None:
    try:
        log.write(chunk)
    except OSError as error:
        logger.info("engine log cannot be written any more: %s", error)
        _close_quietly(log)
        return None
    return log
