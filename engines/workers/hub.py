"""The hub's process: lists repositories and fetches the headers of models, with the hub's own client.

The only module that imports huggingface_hub, and the only process that asks the network for anything. It asks for
what it is told to, counts every byte of content, stops reading a file when it has seen enough, and gives up before
the limit it was given. It serves one request after another and leaves when its stdin ends.
"""

from __future__ import annotations

import faulthandler
import logging
import queue
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Literal, NoReturn, TypedDict, assert_never
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    get_session,
    get_token,
    hf_hub_url,
    hf_raise_for_status,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from engines.errors import (
    EngineError,
    HubError,
    ModelFileError,
    UnsupportedModelError,
)
from engines.formats import gguf, safetensors, sparse
from engines.hub_protocol import (
    HUB_PROTOCOL_VERSION,
    FetchHeaders,
    FilesListed,
    HeadersFetched,
    HubHello,
    HubProgress,
    ListFiles,
    RemoteFile,
    RemoteRepository,
    ToHub,
    decode_to_hub,
)
from engines.hub_words import Refusal, changed, explain_refusal, odd_answer, switched_off, unreachable, unusable
from engines.protocol import Failed, Shutdown
from engines.workers.channel import Channel, leave

TIMEOUT_S = 20.0
"""For connecting, and for each stretch of silence."""
ATTEMPTS = 3
"""For a file whose transfer breaks off; each goes on where the last one stopped."""
RETRY_PAUSE_S = 1.0
CHUNK_BYTES = 64 * 1024
PROGRESS_INTERVAL_S = 0.2
FIRST_GGUF_BYTES = 2 * 1024 * 1024
"""The vocabulary is in the first part of a model, and most are smaller than this …"""
FIRST_PART_BYTES = 256 * 1024
"""… the other parts have little more than their list of tensors."""
FIRST_SAFETENSORS_BYTES = 64 * 1024
MAXIMUM_FILE_BYTES = 1 << 50
OWN_HOSTS = ("huggingface.co", "hf.co")
"""Whose a person's token is."""

_TransportError: type[Exception] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
"""The base of all errors of the client's HTTP library, whose name changes with the client's version."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


class HubWorker:
    """Takes requests from the channel and works through them in order."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._requests: queue.SimpleQueue[ListFiles | FetchHeaders] = queue.SimpleQueue()

    def run(self) -> NoReturn:
        """Says hello and serves until the process ends."""
        self._channel.send(HubHello(protocol=HUB_PROTOCOL_VERSION, client_version=huggingface_hub.__version__))
        self._channel.start_reading_as(decode_to_hub, self._on_message)
        while True:
            self._work(self._requests.get())

    def _on_message(self, message: ToHub) -> None:
        match message:
            case ListFiles() | FetchHeaders():
                self._requests.put(message)
            case Shutdown():
                leave(0)
            case _:
                assert_never(message)

    def _work(self, request: ListFiles | FetchHeaders) -> None:
        number = request.request_id
        try:
            if isinstance(request, ListFiles):
                remote = list_files(request.repository, request.revision, request.trust_mirror)
                self._channel.send(FilesListed(request_id=number, remote=remote))
            else:
                progress = _Progress(
                    lambda count: self._channel.send(HubProgress(request_id=number, bytes_fetched=count))
                )
                budget = Budget(request.maximum_bytes, progress)
                paths = fetch_headers(request.remote, request.names, Path(request.folder), budget, request.trust_mirror)
                done = HeadersFetched(
                    request_id=number, paths=tuple(map(str, paths)), bytes_fetched=budget.bytes_fetched
                )
                self._channel.send(done)
        except EngineError as error:
            self._channel.send(_failed(number, error))
        except Exception as error:  # noqa: BLE001 - the border: whatever the client raises becomes a message
            traceback.print_exc()
            self._channel.send(_failed(number, odd_answer(f"{type(error).__name__}: {error}")))


class Budget:
    """Counts what comes over the network for one request, and ends it where too much would come."""

    def __init__(self, maximum_bytes: int, on_progress: Callable[[int], None] | None = None) -> None:
        self.maximum_bytes = maximum_bytes
        self.bytes_fetched = 0
        self._on_progress = on_progress

    @property
    def left_bytes(self) -> int:
        """What may still come."""
        return self.maximum_bytes - self.bytes_fetched

    def count(self, size_bytes: int) -> None:
        """Notes bytes that have come."""
        self.bytes_fetched += size_bytes
        if self._on_progress is not None:
            self._on_progress(self.bytes_fetched)

    def require(self, size_bytes: int, name: str) -> None:
        """Raises UnsupportedModelError when so much more may not come."""
        if size_bytes > self.left_bytes:
            raise UnsupportedModelError(
                "This model's description is too long to be read from the hub beforehand.",
                "Download the model to look at it, or choose another build.",
                f"{name}: {size_bytes} bytes more than {self.bytes_fetched} are over {self.maximum_bytes}",
            )


class RemoteBytes:
    """The beginning of one remote file, as far as it was asked for."""

    def __init__(self, remote: RemoteRepository, name: str, budget: Budget, trust_mirror: bool) -> None:
        self._name = name
        self._budget = budget
        self._token = token_for(constants.ENDPOINT, trust_mirror)
        url = hf_hub_url(remote.repository, name, revision=remote.revision)
        with _explained(remote.repository, name):
            found = get_hf_file_metadata(url, token=self._token, timeout=TIMEOUT_S)
        if urlsplit(url).scheme == "https" != urlsplit(found.location).scheme:
            raise odd_answer(f"{name}: sent to an open connection, {found.location[:100]}")
        listed = next((file.size_bytes for file in remote.files if file.name == name), 0)
        self.size_bytes = found.size or listed
        if not 0 <= self.size_bytes <= MAXIMUM_FILE_BYTES:
            raise odd_answer(f"{name}: {self.size_bytes} bytes")
        if listed and listed != self.size_bytes:
            raise changed(f"{self._name}: {listed} bytes in the list, {self.size_bytes} now")
        self._remote = remote
        self._location = found.location
        self._keeps_token = urlsplit(url)[:2] == urlsplit(found.location)[:2]
        self.data = bytearray()
        self._connection = ExitStack()
        self._chunks: Iterator[bytes] | None = None
        self._position = 0
        """Where in the file the next chunk of the connection lies."""

    def __enter__(self) -> RemoteBytes:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def reachable_bytes(self) -> int:
        """As far as the budget allows to read; at least one byte more than is there, so that it is noticed."""
        return len(self.data) + max(1, self._budget.left_bytes)

    def extend(self, wanted_bytes: int) -> None:
        """Makes `data` at least so long, or as long as the file."""
        wanted_bytes = min(wanted_bytes, self.size_bytes)
        for attempt in range(1, ATTEMPTS + 1):
            if len(self.data) >= wanted_bytes:
                return
            self._budget.require(wanted_bytes - len(self.data), self._name)
            try:
                with _explained(self._remote.repository, self._name, transport=attempt == ATTEMPTS):
                    self._get(wanted_bytes)
                if self._chunks is None:
                    self.close()
            except _TransportError as error:
                self.close()
                sys.stderr.write(f"{self._name}: attempt {attempt} broke off: {error}\n")
                time.sleep(RETRY_PAUSE_S)
        if len(self.data) < wanted_bytes:
            raise changed(f"{self._name}: it ended after {len(self.data)} of {wanted_bytes} bytes")

    def _get(self, wanted_bytes: int) -> None:
        chunks = self._chunks or self._open(wanted_bytes)
        for chunk in chunks:
            self._budget.count(len(chunk))
            new = chunk[max(0, len(self.data) - self._position) :]
            self._position += len(chunk)
            self.data += new[: self.size_bytes - len(self.data)]
            if len(self.data) >= wanted_bytes:
                return
            self._budget.require(1, self._name)
        self.close()

    def _open(self, wanted_bytes: int) -> Iterator[bytes]:
        """The bytes from where `data` ends up to `wanted_bytes`, or all bytes from a server that knows no ranges."""
        headers = {
            "User-Agent": "{library_name}/{library_version}".format_map(_agent()),
            "Range": f"bytes={len(self.data)}-{wanted_bytes - 1}",
            "Accept-Encoding": "identity",
        }
        if self._keeps_token and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        response = self._connection.enter_context(
            get_session().stream("GET", self._location, headers=headers, timeout=TIMEOUT_S, follow_redirects=True)
        )
        hf_raise_for_status(response)
        self._position = self._first_byte(response.status_code, response.headers.get("Content-Range", ""))
        chunks: Iterator[bytes] = response.iter_raw(CHUNK_BYTES)
        if response.status_code == 200:
            self._chunks = chunks  # what is already under way need not be asked for again
        return chunks

    def close(self) -> None:
        """Closes the connection, also in the middle of an answer of 20 GB."""
        self._chunks = None
        self._connection.close()

    def _first_byte(self, status: int, content_range: str) -> int:
        """Where in the file the answer begins: what was asked for, or 0 from a server that knows no ranges."""
        if status == 200:
            return 0
        found = _CONTENT_RANGE.fullmatch(content_range)
        if status != 206 or found is None or int(found[1]) != len(self.data):
            raise odd_answer(f"{self._name}: status {status}, range {content_range!r}")
        if found[2] != "*" and int(found[2]) != self.size_bytes:
            raise changed(f"{self._name}: {self.size_bytes} bytes announced, {found[2]} now")
        return len(self.data)


def token_for(endpoint: str, trust_mirror: bool) -> str | Literal[False]:
    """The person's token for the hub, if there is one and it may be sent to this endpoint."""
    host = urlsplit(endpoint).hostname or ""
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN or not (trust_mirror or host in OWN_HOSTS):
        return False
    return get_token() or False


def list_files(repository: str, revision: str | None, trust_mirror: bool) -> RemoteRepository:
    """Asks for the files of a repository. Raises the hub's errors of `engines.errors`."""
    api = HfApi(token=token_for(constants.ENDPOINT, trust_mirror), **_agent())
    with _explained(repository, repository):
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    files = tuple(
        RemoteFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs is not None else None)
        for file in info.siblings or ()
    )
    return RemoteRepository(repository, info.sha or revision or "main", files)


def fetch_headers(
    remote: RemoteRepository, names: tuple[str, ...], folder: Path, budget: Budget, trust_mirror: bool
) -> list[Path]:
    """Writes the headers of `names` below `folder`. Raises EngineErrors; what is already written stays."""
    paths = [local_path(folder, name) for name in names]
    for name, path in zip(names, paths, strict=True):
        parse, first_bytes = _way_to_read(name)
        with RemoteBytes(remote, name, budget, trust_mirror) as file:
            header = _read_header(file, name, parse, first_bytes)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sparse.write_sparse(header, file.size_bytes, path)
        except OSError as error:
            raise HubError(
                "What was read from the model hub could not be written to this disk.",
                "Make room, or set another folder for temporary files.",
                f"{path}: {error.strerror or error}",
            ) from None
    return paths


def local_path(folder: Path, name: str) -> Path:
    """Where a remote file lies below `folder`. Raises HubError for a name that would lead anywhere else."""
    parts = name.split("/")
    if any(part.strip(". ") == "" or part.endswith((" ", ".")) or _UNSAFE.search(part) for part in parts):
        raise HubError("A file on the model hub has a name that Snug does not use.", "", repr(name))
    return folder.joinpath(*parts)


_Parse = Callable[[bytes, int, Path], object]


def _way_to_read(name: str) -> tuple[_Parse, int | None]:
    """What finds the end of this kind of file's header, and how much to ask for first; None: all of it."""
    match name.lower().rpartition(".")[2]:
        case "gguf":
            return _parse_gguf, FIRST_PART_BYTES if _LATER_PART.search(name) else FIRST_GGUF_BYTES
        case "safetensors":
            return safetensors.parse_header, FIRST_SAFETENSORS_BYTES
        case "json":
            return lambda _data, _file_bytes, _path: None, None
        case _:
            raise UnsupportedModelError(f"{name} is not a model that Snug can read.", "Choose a .gguf file.", name)


def _read_header(file: RemoteBytes, name: str, parse: _Parse, first_bytes: int | None) -> bytes:
    """The beginning of the file that says everything: a header, or all of a JSON file."""
    if first_bytes is None:
        file.extend(file.size_bytes)
    wanted_bytes = first_bytes or 0
    while True:
        file.extend(min(wanted_bytes, file.reachable_bytes))
        try:
            parse(bytes(file.data), file.size_bytes, Path(name))
        except gguf.HeaderIncomplete as incomplete:
            wanted_bytes = incomplete.needed_bytes
        except ModelFileError as error:
            raise unusable(name, error) from None
        else:
            return bytes(file.data)


def _parse_gguf(data: bytes, file_bytes: int, path: Path) -> None:
    gguf.check_complete(gguf.parse_header(data, file_bytes, path))


class _Progress:
    """Passes a figure on, but not more often than anybody would look."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._told_at = 0.0

    def __call__(self, bytes_fetched: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_INTERVAL_S:
            self._told_at = now
            self._tell(bytes_fetched)


@contextmanager
def _explained(repository: str, name: str, *, transport: bool = True) -> Iterator[None]:
    """Turns what the client raises into an error in a person's words; broken transfers only if `transport`."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise switched_off(str(error)) from None
    except (HFValidationError, HfHubHTTPError, EntryNotFoundError) as error:
        raise _refusal(error, repository, name) from None
    except _TransportError as error:
        if not transport:
            raise
        host = urlsplit(constants.ENDPOINT).netloc
        raise unreachable(f"{host}, {name}: {type(error).__name__}: {error}") from None


def _refusal(error: Exception, repository: str, name: str) -> HubError:
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    kinds: tuple[tuple[type[Exception], Refusal], ...] = (
        (HFValidationError, "name"),
        (RevisionNotFoundError, "revision"),
        (EntryNotFoundError, "file"),
        (GatedRepoError, "gated"),  # before its base class
        (RepositoryNotFoundError, "repository"),
    )
    kind = next((kind for cls, kind in kinds if isinstance(error, cls)), None)
    return explain_refusal(kind, status, repository, name, str(error))


def _failed(request_id: int, error: EngineError) -> Failed:
    return Failed(request_id=request_id, code=error.code, title=error.title, advice=error.advice, details=error.details)


class _Agent(TypedDict):
    library_name: str
    library_version: str


def _agent() -> _Agent:
    """How the hub is told who asks."""
    try:
        version = metadata.version("snug")
    except metadata.PackageNotFoundError:
        version = "unknown"
    return _Agent(library_name="snug", library_version=version)


def main() -> NoReturn:
    """Runs the hub's process; never returns."""
    channel = Channel.take_over()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    faulthandler.enable(file=sys.stderr, all_threads=False)
    # The parent decides when this process ends; a Ctrl-C in its terminal is not meant for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    HubWorker(channel).run()


if __name__ == "__main__":
    main()
