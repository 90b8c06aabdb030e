"""Every message between the app and the process that talks to the model hub, and the values in them.

The same rules as in `engines.protocol`: one JSON object a line, strict decoding, and whoever changes a message raises
HUB_PROTOCOL_VERSION. A request is answered by any number of `HubProgress` and exactly one answer of its own or
`Failed`. There is no message that cancels: the process is killed.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from engines.protocol import Failed, Message, Shutdown, decode_line

HUB_PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository."""

    name: str
    """With its folders, separated by slashes."""
    size_bytes: int
    sha256: str | None = None
    """Of the content; the hub knows it for large files only."""


@dataclass(frozen=True, slots=True)
class RemoteRepository:
    """What lies in a repository at one moment."""

    repository: str
    revision: str
    """The commit, also where a branch was asked for: what is fetched later belongs to the same moment."""
    files: tuple[RemoteFile, ...]


class ListFiles(Message, frozen=True, tag="list_files"):
    """What is in a repository. Answered by `FilesListed` or `Failed`."""

    request_id: int
    repository: str
    revision: str | None
    trust_mirror: bool
    """Send the person's token also where HF_ENDPOINT names another host than the hub's own."""


class FetchHeaders(Message, frozen=True, tag="fetch_headers"):
    """Write the headers of `names` into `folder`, as files of full length. Answered by `HeadersFetched` or `Failed`."""

    request_id: int
    remote: RemoteRepository
    names: tuple[str, ...]
    folder: str
    maximum_bytes: int
    """How much may come over the network for all of them together."""
    trust_mirror: bool


class HubHello(Message, frozen=True, tag="hub_hello"):
    """The first line of a process."""

    protocol: int
    client_version: str


class HubProgress(Message, frozen=True, tag="hub_progress"):
    """Bytes that have come over the network for a request so far."""

    request_id: int
    bytes_fetched: int


class FilesListed(Message, frozen=True, tag="files_listed"):
    """Answer to `ListFiles`."""

    request_id: int
    remote: RemoteRepository


class HeadersFetched(Message, frozen=True, tag="headers_fetched"):
    """Answer to `FetchHeaders`: one path for each name, in that order."""

    request_id: int
    paths: tuple[str, ...]
    bytes_fetched: int


ToHub = ListFiles | FetchHeaders | Shutdown
FromHub = HubHello | HubProgress | FilesListed | HeadersFetched | Failed

_to_hub: msgspec.json.Decoder[ToHub] = msgspec.json.Decoder(ToHub)
_from_hub: msgspec.json.Decoder[FromHub] = msgspec.json.Decoder(FromHub)


def decode_to_hub(line: bytes) -> ToHub:
    """A line that the app sent. Raises ProtocolError."""
    return decode_line(_to_hub, line)


def decode_from_hub(line: bytes) -> FromHub:
    """A line that the hub's process sent. Raises ProtocolError."""
    return decode_line(_from_hub, line)
