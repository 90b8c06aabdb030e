"""The states of an engine client and the events that it delivers. Values only; the client itself is in `client`."""

from __future__ import annotations

from dataclasses import dataclass

from engines.base import LoadedModel
from engines.errors import EngineError
from engines.protocol import Finished, PieceMessage, ReadingProgress, TokenCount


@dataclass(frozen=True, slots=True)
class Stopped:
    """No process: before the first `start`, and after `close`."""


@dataclass(frozen=True, slots=True)
class Starting:
    """The process has been started and has not said hello."""


@dataclass(frozen=True, slots=True)
class LoadingModel:
    """The model is being loaded; `share` from 0 to 1."""

    share: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is in memory and waits for a request."""

    model: LoadedModel


@dataclass(frozen=True, slots=True)
class Generating:
    """A reply is being made."""

    model: LoadedModel
    request_id: int


@dataclass(frozen=True, slots=True)
class Stopping:
    """A reply was cancelled and has not ended yet."""

    model: LoadedModel
    request_id: int


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The process lives, but the model could not be loaded. The next `start` or `generate` tries again."""

    error: EngineError


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process died. `restarting`: the one automatic restart follows by itself."""

    error: EngineError
    restarting: bool


ClientState = Stopped | Starting | LoadingModel | Ready | Generating | Stopping | LoadFailed | Crashed


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The client's state is now `state`."""

    state: ClientState


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The one bad end of a request."""

    request_id: int
    error: EngineError


ClientEvent = StateChanged | ReadingProgress | PieceMessage | Finished | TokenCount | RequestFailed
