"""The messages between the app and the hub's process: strict, complete, and with a version."""

from __future__ import annotations

import dataclasses
import hashlib
import typing

import msgspec
import pytest

from engines import hub_protocol
from engines.hub_protocol import FromHub, ListFiles, RemoteFile, RemoteRepository, ToHub, decode_from_hub, decode_to_hub
from engines.protocol import Failed, Message, ProtocolError, Shutdown, encode

ODD_TEXT = 'quotes " backslash \\ newline \n separator \u2028 漢字'
VALUES: dict[object, object] = {
    int: 7,
    bool: True,
    str: ODD_TEXT,
    str | None: None,
    tuple[str, ...]: (ODD_TEXT, "b"),
    RemoteRepository: RemoteRepository("o/m", "c", (RemoteFile(ODD_TEXT, 2**45, "0" * 64), RemoteFile("b", 1))),
    int | None: None,
}
CLASSES: list[type[Message]] = [*typing.get_args(ToHub), *typing.get_args(FromHub)]


def filled(message_class: type[Message]) -> Message:
    hints = typing.get_type_hints(message_class)
    return message_class(**{field.name: VALUES[hints[field.name]] for field in msgspec.structs.fields(message_class)})


def decoder_of(message_class: type[Message]) -> typing.Callable[[bytes], Message]:
    return decode_to_hub if message_class in typing.get_args(ToHub) else decode_from_hub


@pytest.mark.parametrize("message_class", CLASSES, ids=lambda cls: cls.__name__)
def test_every_message_comes_back_as_it_was(message_class: type[Message]) -> None:
    message = filled(message_class)
    assert decoder_of(message_class)(encode(message)) == message


@pytest.mark.parametrize("message_class", CLASSES, ids=lambda cls: cls.__name__)
def test_a_message_in_the_wrong_direction_is_refused(message_class: type[Message]) -> None:
    decode = decode_from_hub if message_class in typing.get_args(ToHub) else decode_to_hub
    with pytest.raises(ProtocolError):
        decode(encode(filled(message_class)))


def test_every_message_of_the_module_has_a_direction() -> None:
    found = {
        value
        for value in vars(hub_protocol).values()
        if isinstance(value, type) and issubclass(value, Message) and value is not Message
    }
    assert found == set(CLASSES)
    assert {Shutdown, Failed} < found


@pytest.mark.parametrize("line", [b"", b"null", b"{}", b'{"kind":"gossip"}', b'{"kind":"list_files"}', b"[" * 100_000])
def test_a_line_that_is_no_message_is_refused(line: bytes) -> None:
    for decode in (decode_to_hub, decode_from_hub):
        with pytest.raises(ProtocolError) as caught:
            decode(line)
        assert caught.value.line == line[:2000].decode()


def test_unknown_fields_are_refused() -> None:
    line = encode(ListFiles(request_id=1, repository="o/m", revision=None, trust_mirror=False))
    with pytest.raises(ProtocolError):
        decode_to_hub(line.replace(b'"request_id"', b'"colour":1,"request_id"'))


def test_the_version_is_raised_with_the_messages() -> None:
    """Whoever changes a message or a value in it raises HUB_PROTOCOL_VERSION and puts the new pair here."""
    messages = {str(cls.__struct_config__.tag): [f.name for f in msgspec.structs.fields(cls)] for cls in CLASSES}
    values = {cls.__name__: [field.name for field in dataclasses.fields(cls)] for cls in (RemoteFile, RemoteRepository)}
    words = repr(sorted(messages.items()) + sorted(values.items()))
    assert (hub_protocol.HUB_PROTOCOL_VERSION, hashlib.sha256(words.encode()).hexdigest()[:12]) == (1, "d15a9bdc8313")
