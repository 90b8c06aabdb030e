"""The errors that a person can meet, each with a title, advice and details. Standard library only.

Every error that crosses a process border or reaches a screen is an `EngineError`: foreign exceptions (operating
system, native library, template) end at their border module and are turned into one of these. Cancelling is not an
error and has no class here.
"""

from __future__ import annotations

from typing import ClassVar


class EngineError(Exception):
    """Something that a person is told: what happened (title), what to do (advice), what to copy (details).

    `code` names the kind of error on the wire; subclasses set it. A plain `EngineError` is an internal fault.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, title: str, advice: str = "", details: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.advice = advice
        self.details = details

    def __str__(self) -> str:
        return f"{self.title} {self.advice}".strip()


class ModelFileError(EngineError):
    """The model file is missing, unreadable, incomplete or damaged."""

    code = "model_file"


class UnsupportedModelError(EngineError):
    """The file is sound, but this engine version cannot run what is in it."""

    code = "unsupported_model"


class NotEnoughMemoryError(EngineError):
    """The model, its context or its working space does not fit into memory now."""

    code = "not_enough_memory"


class ContextTooSmallError(EngineError):
    """The conversation is longer than the context that the model was loaded with."""

    code = "context_too_small"


class ChatTemplateError(EngineError):
    """The model's own chat template refused the conversation or misbehaved."""

    code = "chat_template"


class EngineStartError(EngineError):
    """The engine process did not start, or speaks another protocol version."""

    code = "engine_start"


class EngineCrashedError(EngineError):
    """The engine process ended without being asked to."""

    code = "engine_crashed"


class EngineBusyError(EngineError):
    """A request arrived while another one had not ended, or before a model was loaded."""

    code = "engine_busy"


class ModelInUseError(EngineError):
    """Another process holds so much memory for a model that this one does not fit beside it."""

    code = "model_in_use"


class HubError(EngineError):
    """The model hub, or whoever stands in for it, gave an answer that is of no use."""

    code = "hub"


class HubUnreachableError(HubError):
    """No connection to the model hub: no network, a wall in between, offline by setting, or it is down."""

    code = "hub_unreachable"


class HubNotFoundError(HubError):
    """The model hub has no such repository, revision or file, or does not show it to this person."""

    code = "hub_not_found"


class HubAccessError(HubError):
    """The repository is private, or its authors want to be asked first."""

    code = "hub_access"


class HubBusyError(HubError):
    """The model hub wants to be asked less often."""

    code = "hub_busy"


_CLASSES: dict[str, type[EngineError]] = {
    cls.code: cls
    for cls in (
        EngineError,
        ModelFileError,
        UnsupportedModelError,
        NotEnoughMemoryError,
        ContextTooSmallError,
        ChatTemplateError,
        EngineStartError,
        EngineCrashedError,
        EngineBusyError,
        ModelInUseError,
        HubError,
        HubUnreachableError,
        HubNotFoundError,
        HubAccessError,
        HubBusyError,
    )
}


def from_code(code: str, title: str, advice: str, details: str) -> EngineError:
    """The error that `code` names; an unknown code gives a plain `EngineError`."""
    return _CLASSES.get(code, EngineError)(title, advice, details)
