"""What the scripted engine does when its script says that it misbehaves: real crashes, real hangs, real babble.

Each of them is something that a native library has been seen to do. Nothing here happens without a script.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import sys
import time
from collections.abc import Callable

from engines.backends.scripted.script import Misdeed


def misbehave(misdeed: Misdeed) -> None:
    """Does it, for real. Most of these do not return."""
    _MISDEEDS[misdeed.how](misdeed)


def _segfault(_: Misdeed) -> None:
    ctypes.string_at(0)


def _raise_signal(name: str) -> Callable[[Misdeed], None]:
    def end(_: Misdeed) -> None:
        number = getattr(signal, name, None)
        if number is None or sys.platform == "win32":
            # There are no such signals; abort is the nearest thing.
            os.abort()
        os.kill(os.getpid(), number)
        time.sleep(60)

    return end


def _raise_memory_error(_: Misdeed) -> None:
    raise MemoryError


def _raise_exception(misdeed: Misdeed) -> None:
    raise ValueError(misdeed.text)


def _hang(misdeed: Misdeed) -> None:
    time.sleep(misdeed.seconds)


def _print_from_c(misdeed: Misdeed) -> None:
    library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    library.puts(misdeed.text.encode())
    library.fflush(None)


def _write_into_pipes(data: bytes) -> None:
    # As a stray pointer may: into a pipe that is somebody else's. stdin, stdout and stderr are not meant.
    for descriptor in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, data)
        except OSError:
            # Not open, or the reading end of a pipe.
            continue


def _write_nonsense(misdeed: Misdeed) -> None:
    _write_into_pipes(misdeed.text.encode() + b"\n")


def _half_line_and_exit(misdeed: Misdeed) -> None:
    _write_into_pipes(b'{"kind":"piece","text":"' + misdeed.text.encode())
    os._exit(misdeed.status)


def _flood(misdeed: Misdeed) -> None:
    chunk = misdeed.text.encode() * max(1, 65536 // max(1, len(misdeed.text)))
    for _ in range(0, misdeed.bytes, len(chunk)):
        os.write(2, chunk)


def _nothing(_: Misdeed) -> None:
    """Seen to elsewhere."""


_MISDEEDS: dict[str, Callable[[Misdeed], object]] = {
    "segfault": _segfault,
    "abort": lambda _: os.abort(),
    "illegal_instruction": _raise_signal("SIGILL"),
    "bus_error": _raise_signal("SIGBUS"),
    "kill": _raise_signal("SIGKILL"),
    "exit": lambda misdeed: os._exit(misdeed.status),
    "memory_error": _raise_memory_error,
    "exception": _raise_exception,
    "hang": _hang,
    "print": _print_from_c,
    "half_line": _half_line_and_exit,
    "nonsense": _write_nonsense,
    "flood": _flood,
    "no_end": _nothing,
}
