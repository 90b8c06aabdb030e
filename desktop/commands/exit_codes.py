"""What `snug` answers to the shell. The table in docs/terminal.md says the same to users; a test compares the two."""

from __future__ import annotations

from enum import IntEnum

from engines.errors import (
    EngineCrashedError,
    EngineError,
    EngineStartError,
    ModelFileError,
    ModelInUseError,
    NotEnoughMemoryError,
    UnsupportedModelError,
)


class ExitCode(IntEnum):
    """One number for each kind of end."""

    OK = 0
    ERROR = 1
    USAGE = 2
    MODEL = 3
    """Not found, damaged, or not for this engine."""
    MEMORY = 4
    ENGINE = 5
    """The engine process crashed or did not start."""
    IN_USE = 6
    """Another Snug process is in the way."""
    DOES_NOT_FIT = 7
    """The answer of `snug fit`: not on this computer, whatever else runs."""
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    """Nobody reads the output any more, as after `| head`."""


def exit_code_for(error: Exception) -> ExitCode:
    """The number for an error that ends a command."""
    match error:
        case ModelFileError() | UnsupportedModelError():
            return ExitCode.MODEL
        case NotEnoughMemoryError():
            return ExitCode.MEMORY
        case EngineCrashedError() | EngineStartError():
            return ExitCode.ENGINE
        case ModelInUseError():
            return ExitCode.IN_USE
        case EngineError():
            return ExitCode.ERROR
        case _:
            return ExitCode.ERROR
