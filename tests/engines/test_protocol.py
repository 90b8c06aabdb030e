import dataclasses
import hashlib
import math
import typing

import msgspec
import pytest

from engines import protocol
from engines.base import (
    BufferUse,
    ChatMessage,
    Device,
    DryRun,
    EngineVersions,
    GenerationOptions,
    LoadedModel,
    LoadSettings,
    Usage,
)
from engines.protocol import (
    FromEngine,
    Generate,
    Hello,
    Message,
    PieceMessage,
    ProtocolError,
    ToEngine,
    decode_from_engine,
    decode_to_engine,
    encode,
)

ODD_TEXT = 'quotes " backslash \\ newline \n null \x00 separator \u2028 漢字 👩‍👩‍👧‍👦'
MODEL = LoadedModel(
    model_name=ODD_TEXT,
    architecture="a",
    context_tokens=1,
    trained_context_tokens=2,
    weights_bytes=3,
    memory_bytes=2**40,
    threads=4,
    device="d",
    cache_kind="plain",
    has_chat_template=True,
    can_think=False,
    load_seconds=0.1,
)
VALUES: dict[object, object] = {
    int: 7,
    int | None: None,
    str: ODD_TEXT,
    float: 0.25,
    LoadSettings: LoadSettings(context_tokens=5),
    tuple[LoadSettings, ...]: (LoadSettings(), LoadSettings(kv_type="q8_0", flash_attention=True, repack=False)),
    tuple[DryRun, ...]: (
        DryRun(LoadSettings(), 512, (BufferUse("CPU", True, 1, 2, 3),), 4, 5, "breakdown"),
        DryRun(LoadSettings(), 0, (), 0, 5, "log", problem=ODD_TEXT),
    ),
    tuple[ChatMessage, ...]: (ChatMessage("system", ODD_TEXT), ChatMessage("assistant", "", thinking="t")),
    GenerationOptions: GenerationOptions(stop=("a", "b"), seed=1, thinking=False),
    EngineVersions: EngineVersions("e", "3", {"library": "1"}),
    LoadedModel: MODEL,
    Usage: Usage(prompt_tokens=3, time_to_first_token_seconds=None),
    tuple[Device, ...]: (Device(ODD_TEXT, "d", "gpu", 2**40, 1), Device("n", "d", "cpu")),
    protocol.PieceKind: "thinking",
    protocol.FinishReason: "stop",
}
CLASSES = [*typing.get_args(ToEngine), *typing.get_args(FromEngine)]


def filled(message_class: type[Message]) -> Message:
    hints = typing.get_type_hints(message_class)
    return message_class(**{field.name: VALUES[hints[field.name]] for field in msgspec.structs.fields(message_class)})


@pytest.mark.parametrize("message_class", CLASSES, ids=lambda cls: cls.__name__)
def test_every_message_comes_back_as_it_was(message_class):
    message = filled(message_class)
    line = encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    decode = decode_to_engine if message_class in typing.get_args(ToEngine) else decode_from_engine
    assert decode(line) == message


def test_every_message_of_the_module_has_a_direction():
    defined = {
        value
        for value in vars(protocol).values()
        if isinstance(value, type) and issubclass(value, Message) and value is not Message
    }
    assert defined == set(CLASSES)
    kinds = [cls.__struct_config__.tag for cls in CLASSES]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("message_class", CLASSES, ids=lambda cls: cls.__name__)
def test_a_message_in_the_wrong_direction_is_refused(message_class):
    decode = decode_from_engine if message_class in typing.get_args(ToEngine) else decode_to_engine
    with pytest.raises(ProtocolError):
        decode(encode(filled(message_class)))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b"plain words",
        b'{"kind":"finished"',
        b'{"kind":"gossip"}',
        b'{"kind":"loading","share":"half"}',
        b'{"kind":"loading"}',
        b'{"kind":"loading","share":0.5,"colour":"red"}',
        b'{"kind":"piece","request_id":1,"text":"a","piece_kind":"shout"}',
        b'{"kind":"piece","request_id":1.5,"text":"a","piece_kind":"text"}',
        b'{"kind":"piece","request_id":1,"text":"\xff","piece_kind":"text"}',
        b'{"kind":"loading","share":NaN}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_message_is_refused_and_shown(line):
    with pytest.raises(ProtocolError) as caught:
        decode_from_engine(line)
    assert caught.value.line == line[:2000].decode("utf-8", "replace")
    assert str(caught.value)


def test_lone_surrogates_are_replaced_instead_of_refused():
    messages = (ChatMessage("user", "broken \ud800 paste"),)
    sent = Generate(request_id=1, messages=messages, options=GenerationOptions(stop=("\udfff",)))
    arrived = decode_to_engine(encode(sent))
    assert arrived.messages[0].content == "broken ? paste"
    assert arrived.options.stop == ("?",)


def test_surrogates_in_keys_are_replaced_too():
    hello = Hello(protocol=1, versions=EngineVersions("e", "3", {"lib\ud800": "1"}))
    assert decode_from_engine(encode(hello)).versions.libraries == {"lib?": "1"}


def test_a_piece_is_small_on_the_wire():
    """It is sent for every token."""
    assert len(encode(PieceMessage(request_id=1, text=" word", piece_kind="text"))) < 80


def test_no_value_of_the_pipe_can_be_infinite_unseen():
    line = encode(protocol.Loading(share=math.inf))
    with pytest.raises(ProtocolError):
        decode_from_engine(line)


def test_the_version_is_raised_with_the_messages():
    """Whoever changes a message or a value in it raises PROTOCOL_VERSION and puts the new pair here."""
    messages = {cls.__struct_config__.tag: [field.name for field in msgspec.structs.fields(cls)] for cls in CLASSES}
    values = {
        cls.__name__: [field.name for field in dataclasses.fields(cls)]
        for cls in (
            BufferUse,
            ChatMessage,
            Device,
            DryRun,
            EngineVersions,
            GenerationOptions,
            LoadedModel,
            LoadSettings,
            Usage,
        )
    }
    words = repr(sorted(messages.items()) + sorted(values.items()))
    fingerprint = hashlib.sha256(words.encode()).hexdigest()[:12]
    assert (protocol.PROTOCOL_VERSION, fingerprint) == (3, "8f3e3b0a9865")
