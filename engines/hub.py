"""Asks the model hub what a repository holds, and fetches headers of models from it: a few MB instead of many GB.

The asking happens in one child process with the hub's own client; it is started by the first question, and this is
the only way from here to the network. Blocking, for background threads; `cancel` from any other thread ends it.
Downloads of whole models are not its job.
"""

from __future__ import annotations

import itertools
import queue
import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Literal, TypeVar

from engines.errors import HubError, HubUnreachableError, UnsupportedModelError, from_code
from engines.formats.gguf import part_paths
from engines.formats.mlx_folder import CONFIG_NAME, INDEX_NAME
from engines.hub_protocol import (
    HUB_PROTOCOL_VERSION,
    FetchHeaders,
    FilesListed,
    FromHub,
    HeadersFetched,
    HubHello,
    HubProgress,
    ListFiles,
    RemoteFile,
    RemoteRepository,
    decode_from_hub,
)
from engines.process import ProcessEnded, WorkerProcess
from engines.protocol import Failed

__all__ = [
    "FetchedHeaders",
    "HubCancelled",
    "HubReader",
    "RemoteBuild",
    "RemoteFile",
    "RemoteRepository",
    "builds_of",
    "hub_command",
]

MAXIMUM_FETCHED_BYTES = 16 * 1024 * 1024
"""For one model, all its files together."""
PATIENCE_S = 60.0
"""How long nothing at all may come from the process; it tells of its progress more often."""

HUB_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_XET": "1",
    "DO_NOT_TRACK": "1",
}
"""The client asks for what the person wants to know, and for nothing else."""

_NOT_A_MODEL = re.compile(r"mmproj|imatrix|lora|adapter", re.IGNORECASE)
_SHARD = re.compile(r"model[^/]*\.safetensors")

AnswerT = TypeVar("AnswerT", FilesListed, HeadersFetched)


class HubCancelled(Exception):  # noqa: N818 - a request that was fulfilled, not an error
    """A question was cancelled. Nobody is told."""


@dataclass(frozen=True, slots=True)
class RemoteBuild:
    """One model that could be downloaded from a repository: the files that belong together."""

    name: str
    """Of the first file, or of the repository for an MLX model."""
    file_format: Literal["gguf", "mlx"]
    names: tuple[str, ...]
    """What `fetch_headers` wants to know the model by: the weights, for MLX also config and index."""
    weights_bytes: int
    """Size of the files with weights."""


@dataclass(frozen=True, slots=True)
class FetchedHeaders:
    """Where the headers lie now, in the order of the names: files of full length with a hole, JSON files whole."""

    paths: tuple[Path, ...]
    bytes_fetched: int


def builds_of(remote: RemoteRepository) -> tuple[RemoteBuild, ...]:
    """The models in a repository, smallest first. Projectors, adapters and incomplete splits are left out."""
    sizes = {file.name: file.size_bytes for file in remote.files}
    builds: list[RemoteBuild] = []
    for name in sorted(sizes):
        if not name.lower().endswith(".gguf") or _NOT_A_MODEL.search(PurePosixPath(name).name):
            continue
        parts = tuple(path.as_posix() for path in part_paths(Path(name)))
        if name == parts[0] and all(part in sizes for part in parts):
            builds.append(RemoteBuild(name, "gguf", parts, sum(sizes[part] for part in parts)))
    shards = sorted(name for name in sizes if _SHARD.fullmatch(name))
    if shards and CONFIG_NAME in sizes:
        described = tuple(name for name in (CONFIG_NAME, INDEX_NAME) if name in sizes)
        weights_bytes = sum(sizes[name] for name in shards)
        builds.append(RemoteBuild(remote.repository, "mlx", (*described, *shards), weights_bytes))
    return tuple(sorted(builds, key=lambda build: build.weights_bytes))


def hub_command() -> list[str]:
    """How the hub's process is started here: from source, or from a frozen app, whose `sys.executable` is the app."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "--hub-worker"]
    return [sys.executable, "-P", "-m", "engines.workers.hub"]


class HubReader:
    """Asks one question at a time. Use it as a context manager, or call `close`; it may be used again afterwards."""

    def __init__(
        self,
        *,
        trust_mirror: bool = False,
        command: Sequence[str] | None = None,
        log_path: Path | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._trust_mirror = trust_mirror
        self._command = list(command) if command is not None else hub_command()
        self._log_path = log_path
        self._patience_s = patience_s
        self._request_ids = itertools.count(1)
        self._one_at_a_time = threading.Lock()
        self._state = threading.Lock()
        self._busy = False
        self._cancelled = False
        self._process: WorkerProcess[FromHub] | None = None
        self._events: queue.SimpleQueue[FromHub | ProcessEnded] = queue.SimpleQueue()

    def __enter__(self) -> HubReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def list_files(self, repository: str, revision: str | None = None) -> RemoteRepository:
        """What is in a model repository, at a branch, tag or commit (None: its main branch).

        Raises: HubUnreachableError, HubNotFoundError, HubAccessError, HubBusyError, HubError; UnsupportedModelError
        for a repository without a model that Snug knows; HubCancelled.
        """
        request_id = next(self._request_ids)
        question = ListFiles(
            request_id=request_id, repository=repository, revision=revision, trust_mirror=self._trust_mirror
        )
        remote = self._ask(question, FilesListed, None).remote
        if not builds_of(remote):
            raise UnsupportedModelError(
                f"{repository} holds no model that Snug can read.",
                "Look for a repository with .gguf files, or with an MLX build.",
                f"{repository}@{remote.revision}: {len(remote.files)} files",
            )
        return remote

    def fetch_headers(
        self,
        remote: RemoteRepository,
        names: Sequence[str],
        folder: Path,
        *,
        on_progress: Callable[[int], None] | None = None,
        maximum_bytes: int = MAXIMUM_FETCHED_BYTES,
    ) -> FetchedHeaders:
        """Fetches what the files `names` (GGUF, safetensors, JSON) say about themselves into `folder`.

        The files keep their names and folders there, so that parts find each other. `on_progress` gets the bytes so
        far, from the calling thread. Raises as `list_files`, and ModelFileError for a damaged or incomplete file.
        """
        request_id = next(self._request_ids)
        question = FetchHeaders(
            request_id=request_id,
            remote=remote,
            names=tuple(names),
            folder=str(folder.absolute()),
            maximum_bytes=maximum_bytes,
            trust_mirror=self._trust_mirror,
        )
        answer = self._ask(question, HeadersFetched, on_progress)
        return FetchedHeaders(tuple(Path(path) for path in answer.paths), answer.bytes_fetched)

    def cancel(self) -> None:
        """Ends the question of the moment, whose caller gets HubCancelled. Of no effect when there is none."""
        with self._state:
            if self._busy:
                self._cancelled = True
                if self._process is not None:
                    self._process.kill()

    def close(self) -> None:
        """Ends the process. Cancels a question that is under way."""
        self.cancel()
        with self._one_at_a_time:
            self._end_process()

    def _ask(
        self,
        question: ListFiles | FetchHeaders,
        answer_type: type[AnswerT],
        on_progress: Callable[[int], None] | None,
    ) -> AnswerT:
        with self._one_at_a_time:
            with self._state:
                self._busy, self._cancelled = True, False
            try:
                self._running_process().send(question)
                answer = self._answer(question.request_id, answer_type, on_progress)
            except BaseException:
                self._end_process()  # whatever it was doing, nobody waits for it any more
                raise
            finally:
                with self._state:
                    self._busy = False
        if isinstance(answer, Failed):
            raise from_code(answer.code, answer.title, answer.advice, answer.details)
        return answer

    def _answer(
        self, request_id: int, answer_type: type[AnswerT], on_progress: Callable[[int], None] | None
    ) -> AnswerT | Failed:
        while True:
            match self._next_event():
                case HubProgress(request_id=number, bytes_fetched=bytes_fetched) if number == request_id:
                    if on_progress is not None:
                        on_progress(bytes_fetched)
                case Failed() as failed if failed.request_id == request_id:
                    return failed
                case answer if isinstance(answer, answer_type) and answer.request_id == request_id:
                    return answer
                case unexpected:
                    raise HubError(*_FAILED, f"unexpected answer: {type(unexpected).__name__}")

    def _running_process(self) -> WorkerProcess[FromHub]:
        if self._process is not None and self._process.is_alive:
            return self._process
        self._end_process()
        self._events = queue.SimpleQueue()
        process: WorkerProcess[FromHub] = WorkerProcess(
            command=self._command,
            decode=decode_from_hub,
            on_message=self._events.put,
            on_ended=self._events.put,
            name="hub",
            log_path=self._log_path,
            environment=HUB_ENVIRONMENT,
        )
        try:
            process.start()
        except OSError as error:
            raise HubError(*_FAILED, f"{self._command[0]}: {error.strerror or error}") from None
        with self._state:
            self._process = process
            if self._cancelled:
                process.kill()
        hello = self._next_event()
        if not isinstance(hello, HubHello) or hello.protocol != HUB_PROTOCOL_VERSION:
            raise HubError(
                "Snug was updated while it was running.", "Close it and start it again.", f"hub process said: {hello}"
            )
        return process

    def _next_event(self) -> FromHub:
        try:
            event = self._events.get(timeout=self._patience_s)
        except queue.Empty:
            raise HubUnreachableError(
                "The model hub does not answer.",
                "Check your internet connection and try again later.",
                f"nothing came for {self._patience_s:.0f} s",
            ) from None
        if not isinstance(event, ProcessEnded):
            return event
        with self._state:
            if self._cancelled:
                raise HubCancelled
        last_words = "\n".join(event.stderr_tail[-10:])
        raise HubError(*_FAILED, f"hub process ended ({event.signal_name or event.returncode})\n{last_words}".strip())

    def _end_process(self) -> None:
        with self._state:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.stop()


_FAILED = ("Reading from the model hub failed.", "Try again. If it happens again, report it with the details.")
