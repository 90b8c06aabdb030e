"""Every message between the app and an engine process, in both directions. One JSON object a line, UTF-8.

`kind` is the wire name. Decoding is strict: an unknown kind, a wrong type or a broken line raises `ProtocolError`,
and the reader treats it as a crash with the line in the details. Adding or changing a message raises
PROTOCOL_VERSION, so that a half-updated installation says "please restart" instead of misunderstanding itself.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from engines.base import (
    ChatMessage,
    Device,
    DryRun,
    EngineVersions,
    FinishReason,
    GenerationOptions,
    LoadedModel,
    LoadSettings,
    PieceKind,
    Usage,
)

T = TypeVar("T")

PROTOCOL_VERSION = 3
MAXIMUM_LINE_BYTES = 64 * 1024 * 1024


class ProtocolError(Exception):
    """A line that is not a message. `line` is what arrived, shortened."""

    def __init__(self, reason: str, line: bytes) -> None:
        super().__init__(reason)
        self.line = line[:2000].decode("utf-8", "replace")


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """Base of all messages."""


# To the engine


class Load(Message, frozen=True, tag="load"):
    """Load a model. Answered by any number of `Loading` and one `Loaded` or `Failed(request_id=None)`."""

    engine: str
    model_path: str
    settings: LoadSettings


class Generate(Message, frozen=True, tag="generate"):
    """Stream a reply. Answered by `Reading`s and `Piece`s and exactly one `Finished` or `Failed`."""

    request_id: int
    messages: tuple[ChatMessage, ...]
    options: GenerationOptions


class CountTokens(Message, frozen=True, tag="count_tokens"):
    """How many tokens a text is. Answered by `TokenCount` or `Failed`."""

    request_id: int
    text: str


class ListDevices(Message, frozen=True, tag="list_devices"):
    """What the installed build of an engine can compute on; needs no model. Answered by `DeviceList` or `Failed`."""

    request_id: int
    engine: str


class PlanMemory(Message, frozen=True, tag="plan_memory"):
    """What loads with each of these settings would allocate; reads no weights. Answered by `MemoryPlan` or `Failed`."""

    request_id: int
    engine: str
    model_path: str
    settings: tuple[LoadSettings, ...]


class Cancel(Message, frozen=True, tag="cancel"):
    """End a request early: a `Finished(reason="cancelled")` follows. Of no effect after its end."""

    request_id: int


class CancelLoad(Message, frozen=True, tag="cancel_load"):
    """End a load early: an `Unloaded` follows instead of `Loaded`."""


class Unload(Message, frozen=True, tag="unload"):
    """Free the model, keep the process. Answered by `Unloaded`."""


class Shutdown(Message, frozen=True, tag="shutdown"):
    """Leave, with exit status 0. The end of standard input means the same, at once."""


# From the engine


class MemoryPlan(Message, frozen=True, tag="memory_plan"):
    """One answer for each of the settings that were asked about, in their order."""

    request_id: int
    plans: tuple[DryRun, ...]


class Hello(Message, frozen=True, tag="hello"):
    """The first line of a process."""

    protocol: int
    versions: EngineVersions


class Loading(Message, frozen=True, tag="loading"):
    """Load progress, a share from 0 to 1."""

    share: float


class Loaded(Message, frozen=True, tag="loaded"):
    """The model is in memory."""

    model: LoadedModel


class Unloaded(Message, frozen=True, tag="unloaded"):
    """No model is in memory."""


class ReadingProgress(Message, frozen=True, tag="reading"):
    """Prefill progress in tokens."""

    request_id: int
    done: int
    total: int


class PieceMessage(Message, frozen=True, tag="piece"):
    """A stretch of a reply."""

    request_id: int
    text: str
    piece_kind: PieceKind


class Finished(Message, frozen=True, tag="finished"):
    """The one good end of a request."""

    request_id: int
    reason: FinishReason
    usage: Usage


class TokenCount(Message, frozen=True, tag="token_count"):
    """Answer to `CountTokens`."""

    request_id: int
    tokens: int


class DeviceList(Message, frozen=True, tag="device_list"):
    """Answer to `ListDevices`."""

    request_id: int
    devices: tuple[Device, ...]


class Failed(Message, frozen=True, tag="failed"):
    """The one bad end of a request; without a request_id, of a load."""

    request_id: int | None
    code: str
    title: str
    advice: str
    details: str


ToEngine = Load | Generate | CountTokens | ListDevices | PlanMemory | Cancel | CancelLoad | Unload | Shutdown
FromEngine = (
    Hello
    | Loading
    | Loaded
    | Unloaded
    | ReadingProgress
    | PieceMessage
    | Finished
    | TokenCount
    | DeviceList
    | MemoryPlan
    | Failed
)

_encoder = msgspec.json.Encoder()
_to_engine: msgspec.json.Decoder[ToEngine] = msgspec.json.Decoder(ToEngine)
_from_engine: msgspec.json.Decoder[FromEngine] = msgspec.json.Decoder(FromEngine)


def encode(message: Message) -> bytes:
    """One line, newline included. Lone surrogates (from broken input) are replaced, never refused."""
    try:
        return _encoder.encode(message) + b"\n"
    except UnicodeEncodeError:
        return _encoder.encode(_without_surrogates(message)) + b"\n"


def decode_to_engine(line: bytes) -> ToEngine:
    """A line that the app sent. Raises ProtocolError."""
    return decode_line(_to_engine, line)


def decode_from_engine(line: bytes) -> FromEngine:
    """A line that an engine process sent. Raises ProtocolError."""
    return decode_line(_from_engine, line)


def decode_line(decoder: msgspec.json.Decoder[T], line: bytes) -> T:
    """One message of any protocol that is spoken with a child. Raises ProtocolError."""
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error), line) from None


def _without_surrogates(message: Message) -> Message:
    def clean(value: object) -> object:
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode("utf-8")
        if isinstance(value, dict):
            return {clean(key): clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        return value

    return msgspec.convert(clean(msgspec.to_builtins(message, str_keys=True)), type(message))
