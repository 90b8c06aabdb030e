"""`snug fit owner/name`: a repository of the Hub judged from the header of one of its files; no model is downloaded.

The one place of the terminal that goes to the network, after saying what it will fetch. The other files of the same
model are judged by that header's shape and their own size, which is a few MB on the careful side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from desktop.commands.fit_subject import Candidate, Subject
from desktop.commands.terminal import Terminal
from engines.assessor import Assessor
from engines.errors import UnsupportedModelError
from engines.fit.sizes import gigabytes
from engines.fit.values import ModelFacts, Weights
from engines.hardware.machine import Machine
from engines.hub import HubReader, RemoteBuild, builds_of

REPOSITORY = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::(?P<word>[\w.-]+))?")
"""owner/name, and after a colon a part of the file's name: owner/name:Q4_K_M."""
_SHARE_OF_MEMORY = 0.75
_USUAL = re.compile(r"Q4_K_(M|XL)$|MXFP4|^MLX$", re.IGNORECASE)
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_QUANTIZATION = re.compile(
    r"[-._]((UD|i1)[-._])?(I?Q\d\w*|TQ\d\w*|BF16|F16|F32|FP16|MXFP4\w*|NVFP4\w*)$", re.IGNORECASE
)


def ask_hub(wanted: str, assessor: Assessor, terminal: Terminal, folder: Path) -> Subject:
    """The builds in a repository, one of them read; the header lies in `folder` afterwards.

    Raises: HubError and its kinds; ModelFileError, UnsupportedModelError for what is in the repository.
    """
    match = REPOSITORY.fullmatch(wanted)
    assert match is not None
    repository = match["repository"]
    terminal.say(
        f"Asking the Hub about {repository}: the list of its files and the beginning of one, some MB at most; no model."
    )
    with HubReader() as hub:
        remote = hub.list_files(repository)
        builds = builds_of(remote)
        if match["word"]:
            builds = _meant(builds, match["word"], repository)
        read = _to_read(builds, assessor.machine)
        fetched = hub.fetch_headers(
            remote,
            read.names,
            folder,
            on_progress=lambda size: terminal.progress(f"Reading the beginning of {read.name}: {gigabytes(size)}"),
        )
    path = fetched.paths[0] if read.file_format == "gguf" else fetched.paths[0].parent
    facts = assessor.facts_of_file(path)
    candidates = tuple(_candidates(builds, read, facts, path, repository))
    notes = [f"{gigabytes(fetched.bytes_fetched)} of {gigabytes(read.weights_bytes)} were fetched to find this out."]
    if len(candidates) > 1:
        notes.append(f"Read was {read.name}; the others are judged by the same shape and their size.")
    return Subject(repository, candidates, tuple(notes))


def _meant(builds: Sequence[RemoteBuild], word: str, repository: str) -> tuple[RemoteBuild, ...]:
    found = tuple(build for build in builds if word.casefold() in build.name.casefold())
    if not found:
        raise UnsupportedModelError(
            f"No model in {repository} has {word} in its name.",
            f"There are: {', '.join(_label(build) for build in builds)}.",
            repository,
        )
    return found


def _to_read(builds: Sequence[RemoteBuild], machine: Machine) -> RemoteBuild:
    """The build whose header is read: about four bits per weight if that has a chance here, else the largest that
    has, else the smallest.
    """
    room = machine.memory_total_bytes * _SHARE_OF_MEMORY
    if machine.card is not None:
        room += machine.card.memory_total_bytes or 0
    fitting = [build for build in builds if build.weights_bytes <= room]
    usual = [build for build in fitting if _USUAL.search(_label(build))]
    return next(iter([*usual, *reversed(fitting), *builds]))


def _candidates(
    builds: Sequence[RemoteBuild], read: RemoteBuild, facts: ModelFacts, path: Path, repository: str
) -> Iterator[Candidate]:
    for build in builds:
        name = facts.name or _stem(build)
        if build == read:
            yield Candidate(
                name=name,
                build=_label(build),
                engine=facts.engine,
                facts=facts,
                size_bytes=build.weights_bytes,
                header=path,
                repository=repository,
            )
            continue
        is_same_model = build.file_format == read.file_format == "gguf" and _stem(build) == _stem(read)
        yield Candidate(
            name=name if is_same_model else _stem(build),
            build=_label(build),
            engine="llama" if build.file_format == "gguf" else "mlx",
            facts=_resized(facts, build) if is_same_model else None,
            size_bytes=build.weights_bytes,
            repository=repository,
            problem="" if is_same_model else f"Another model; ask about it alone: {repository}:{_label(build)}",
        )


def _resized(facts: ModelFacts, build: RemoteBuild) -> ModelFacts:
    """The same shape with weights of another size: the whole file is counted, each part in proportion."""
    ratio = build.weights_bytes / max(1, facts.file_bytes)
    weights = facts.weights
    return replace(
        facts,
        quantization=_label(build),
        quantization_types=(),
        file_bytes=build.weights_bytes,
        weights=Weights(
            total_bytes=build.weights_bytes,
            exact=False,
            embedding_bytes=round(weights.embedding_bytes * ratio),
            tied=weights.tied,
            lazy_bytes=round(weights.lazy_bytes * ratio),
            expert_bytes=round(weights.expert_bytes * ratio),
            packable_bytes=(("*", max(0, build.weights_bytes - round(weights.lazy_bytes * ratio))),),
        ),
    )


def _label(build: RemoteBuild) -> str:
    """What tells a build from the others of its repository."""
    if build.file_format == "mlx":
        return "MLX"
    stem = _PART.sub("", PurePosixPath(build.name).stem)
    match = _QUANTIZATION.search(stem)
    return match[0].lstrip("-._") if match is not None else stem


def _stem(build: RemoteBuild) -> str:
    """The model's part of a file name, without quantization and number."""
    stem = _PART.sub("", PurePosixPath(build.name).stem)
    return _QUANTIZATION.sub("", stem)
