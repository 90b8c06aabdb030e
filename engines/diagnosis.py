"""Why a child process died, in the user's words: exit status and last lines of stderr in, an error out.

Pure functions, no processes. What is said here is shown to people, so it promises only what is so: the conversation
is stored by the app and is not touched by the death of an engine.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engines.errors import (
    EngineCrashedError,
    EngineError,
    EngineStartError,
    ModelFileError,
    NotEnoughMemoryError,
)

Activity = Literal["starting", "planning", "loading", "waiting", "replying"]
"""What the process was doing when it ended."""

KEPT = "Your conversation is kept."
_ACTIVITIES: dict[Activity, str] = {
    "starting": "while it started",
    "planning": "while it planned the model's memory",
    "loading": "while it loaded the model",
    "waiting": "while it was idle",
    "replying": "while it wrote a reply",
}

_MEMORY_LINES = re.compile(
    r"bad_alloc|cannot allocate memory|out of memory|(failed|unable) to allocate|alloc\w* failed"
    r"|failed to (create|init\w*) [\w ]*buffer|OutOf(Device|Host)Memory|Insufficient Memory|MemoryError",
    re.IGNORECASE,
)
_GPU_TIMEOUT_LINES = re.compile(
    r"GPU (Timeout|Hang)|CallbackErrorTimeout|CallbackErrorHang|InnocentVictim|ImpactingInteractivity"
    r"|DEVICE_LOST|ErrorDeviceLost|launch timed out",
    re.IGNORECASE,
)
_LIBRARY_LINES = re.compile(
    r"error while loading shared libraries|cannot open shared object file|Library not loaded|DLL load failed"
    r"|Failed to load shared library|version `?GLIBC\w*_[\d.]+'? not found|(ModuleNotFound|Import)Error:",
    re.IGNORECASE,
)
_LIBRARY_NAME = re.compile(r"(lib[\w+.-]+\.(?:so|dylib)[\w.]*|[\w+-]+\.dll)", re.IGNORECASE)

_WINDOWS_STATUS: dict[int, tuple[str, str]] = {
    0xC0000005: ("SIGSEGV", "access violation"),
    0xC0000006: ("SIGBUS", "in-page error"),
    0xC0000017: ("MEMORY", "no memory"),
    0xC000001D: ("SIGILL", "illegal instruction"),
    0xC00000FD: ("SIGSEGV", "stack overflow"),
    0xC000012D: ("MEMORY", "commitment limit"),
    0xC0000135: ("LIBRARY", "a DLL was not found"),
    0xC0000139: ("LIBRARY", "a DLL does not fit"),
    0xC0000142: ("LIBRARY", "a DLL did not start"),
    0xC0000374: ("SIGSEGV", "heap corruption"),
    0xC0000409: ("SIGABRT", "fast fail"),
}


@dataclass(frozen=True, slots=True)
class _Words:
    error: type[EngineError]
    title: str
    advice: str


_NO_MEMORY = _Words(
    NotEnoughMemoryError,
    "The computer ran out of memory {activity}.",
    "Close other apps, or choose a smaller model or a smaller context.",
)
_KILLED = _Words(
    NotEnoughMemoryError,
    "The system ended the engine {activity}, most likely because memory ran out.",
    "Close other apps, or choose a smaller model or a smaller context.",
)
_GPU_TIMEOUT = _Words(
    EngineCrashedError,
    "The graphics processor did not answer in time {activity}.",
    "Close apps that use the graphics processor and try again; a smaller model or context is easier on it.",
)
_LIBRARY = _Words(
    EngineStartError,
    "A part of the engine is missing on this computer or does not fit it.",
    "Install Snug again.",
)
_PROTOCOL = _Words(
    EngineCrashedError,
    "The engine sent something that Snug does not understand, and was stopped {activity}.",
    "Try again. If it happens again, restart Snug.",
)
_ASSERTION = _Words(
    EngineCrashedError,
    "The engine found a fault in its own work and stopped {activity}.",
    "Try again. If it happens again with this model, download the model again or choose another one.",
)
_EXITED = _Words(
    EngineCrashedError,
    "The engine ended unexpectedly {activity}.",
    "Try again. If it happens again, restart Snug.",
)
_BY_SIGNAL: dict[str, _Words] = {
    "MEMORY": _NO_MEMORY,
    "LIBRARY": _LIBRARY,
    "SIGKILL": _KILLED,
    "SIGILL": _Words(
        EngineCrashedError,
        "This build of the engine does not suit this processor.",
        "Install the build of Snug that is made for this processor.",
    ),
    "SIGSEGV": _Words(
        EngineCrashedError,
        "The engine crashed {activity}.",
        "Try again. If it happens again with this model, choose another model or a smaller context.",
    ),
    "SIGBUS": _Words(
        ModelFileError,
        "The model file could not be read any more {activity}.",
        "Check that its drive is connected and not full; if the file is damaged, download the model again.",
    ),
    "SIGABRT": _ASSERTION,
    "SIGFPE": _ASSERTION,
    "SIGTRAP": _ASSERTION,
    "SIGTERM": _Words(
        EngineCrashedError,
        "Another program ended the engine {activity}.",
        "Try again.",
    ),
    "SIGHUP": _Words(
        EngineCrashedError,
        "The engine was ended together with its session {activity}.",
        "Try again.",
    ),
}


def diagnose(
    *,
    returncode: int,
    signal_name: str | None,
    stderr_tail: Sequence[str],
    activity: Activity,
    protocol_error: str | None = None,
    platform: str = sys.platform,
) -> EngineError:
    """The error to show for a child that ended without being asked to."""
    status, plain_status = _status(returncode, signal_name, platform)
    words = _choose(status, "\n".join(stderr_tail), activity, protocol_error)
    advice = words.advice
    if words is _LIBRARY and (name := _LIBRARY_NAME.search("\n".join(stderr_tail))):
        advice = f"Install Snug again. The missing part is {name.group(1)}."
    lines = [f"Engine process: {plain_status}, {_ACTIVITIES[activity]}"]
    if protocol_error is not None:
        lines.append(f"Not a message: {protocol_error}")
    if stderr_tail:
        lines += ["Last lines of its output:", *stderr_tail]
    title = words.title.format(activity=_ACTIVITIES[activity])
    if activity != "planning":  # nobody was talking to it
        advice = f"{advice} {KEPT}"
    return words.error(title, advice, "\n".join(lines))


def after_second_crash(error: EngineError) -> EngineError:
    """The same error for a model that has crashed again: Snug stops trying and says what could help."""
    hint = "It happened twice, so Snug does not try again by itself: choose a smaller model or a smaller context."
    return type(error)(error.title, f"{hint} {error.advice}", error.details)


def explain_missing_library(engine_name: str, reason: str) -> EngineStartError:
    """The error for an engine whose library cannot be imported."""
    name = _LIBRARY_NAME.search(reason)
    missing = f" The missing part is {name.group(1)}." if name and _LIBRARY_LINES.search(reason) else ""
    return EngineStartError(
        f"The engine {engine_name} cannot run on this computer because a part of it does not load.",
        f"Install Snug again.{missing}",
        reason,
    )


def explain_no_process(details: str) -> EngineStartError:
    """The error for a process that the system did not start."""
    return EngineStartError("The engine process could not be started.", "Install Snug again.", details)


def explain_no_hello(timeout_seconds: float) -> EngineStartError:
    """The error for a process that was started and said nothing."""
    return EngineStartError(
        "The engine did not start in time.",
        "Close other apps and try again; a very busy computer or a virus scanner can hold it up.",
        f"no hello within {timeout_seconds:.0f} s",
    )


def explain_wrong_protocol(details: str) -> EngineStartError:
    """The error for a process whose first line is not what this version expects."""
    return EngineStartError(
        "The engine belongs to another version of Snug, probably because Snug was updated while it was open.",
        "Please restart Snug.",
        details,
    )


def _choose(status: str | None, text: str, activity: Activity, protocol_error: str | None) -> _Words:
    # The cause that the engine itself wrote down is better evidence than the way in which it then ended.
    if status not in ("SIGKILL", "SIGILL", "SIGBUS", "SIGTERM", "SIGHUP"):
        if _MEMORY_LINES.search(text):
            return _NO_MEMORY
        if _GPU_TIMEOUT_LINES.search(text):
            return _GPU_TIMEOUT
        if activity in ("starting", "planning", "loading") and status is None and _LIBRARY_LINES.search(text):
            return _LIBRARY
    if protocol_error is not None and status in (None, "SIGKILL"):
        # SIGKILL is then our own answer to the line.
        return _PROTOCOL
    if status is None:
        return _EXITED
    return _BY_SIGNAL.get(status, _EXITED)


def _status(returncode: int, signal_name: str | None, platform: str) -> tuple[str | None, str]:
    """The kind of end, as a POSIX signal name where there is one, and the end in words."""
    if signal_name is not None:
        return signal_name, f"stopped by {signal_name}"
    if platform == "win32":
        code = returncode & 0xFFFFFFFF
        if code in _WINDOWS_STATUS:
            kind, name = _WINDOWS_STATUS[code]
            return kind, f"exit status 0x{code:08X} ({name})"
        return None, f"exit status {returncode} (0x{code:08X})"
    if returncode > 128 and (name_of := _signal_of_shell_status(returncode)) is not None:
        # A launcher between us and the engine reports the signal of its child in this way.
        return name_of, f"exit status {returncode} ({name_of})"
    return None, f"exit status {returncode}"


def _signal_of_shell_status(returncode: int) -> str | None:
    try:
        return signal.Signals(returncode - 128).name
    except ValueError:
        return None
