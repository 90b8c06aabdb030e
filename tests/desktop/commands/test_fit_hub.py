"""A repository judged from one header, with a real hub on this machine and the hub's own client in its process."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from desktop.commands.fit_hub import REPOSITORY, ask_hub
from desktop.commands.fit_subject import Candidate
from desktop.commands.terminal import Terminal
from engines.assessor import Assessor
from engines.catalog import Catalog
from engines.errors import EngineError, UnsupportedModelError
from engines.formats.sparse import write_sparse
from engines.hardware.machine import Machine
from tests.support import gguf_writer
from tests.support.hub_server import HubServer, running_hub

NAME = "maker/made-up"
REAL = "maker/tiny"
TINY = Path(__file__).parents[2] / "data" / "tiny_models" / "qwen3.gguf"
"""One that the engine really knows: the made-up ones lack tensors."""
Q4, Q8, F16, F32 = 12, 8, 1, 0


def put(folder: Path, name: str, type_id: int, *, layers: int = 24) -> int:
    metadata, tensors = gguf_writer.model(layers=layers, width=2048, vocabulary_size=20_000, type_id=type_id)
    header, length = gguf_writer.header(metadata, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    write_sparse(header, length, folder / name)
    return length


@pytest.fixture(scope="module")
def hub_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for name, type_id in (("made-up-Q4_K_M.gguf", Q4), ("made-up-Q8_0.gguf", Q8), ("made-up-F16.gguf", F16)):
        put(folder / NAME, name, type_id)
    put(folder / NAME, "draft-F32.gguf", F32, layers=2)
    (folder / REAL).mkdir(parents=True)
    (folder / REAL / "tiny-F32.gguf").write_bytes(TINY.read_bytes())
    return folder


@pytest.fixture
def hub(hub_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with running_hub(hub_files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture
def messages() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def ask(hub: HubServer, here: Machine, messages: io.StringIO, tmp_path: Path) -> Callable[[str], dict[str, Candidate]]:
    def by_build(wanted: str) -> dict[str, Candidate]:
        terminal = Terminal(None, io.StringIO(), messages, {})
        subject = ask_hub(wanted, Assessor(Catalog(), here), terminal, tmp_path)
        assert subject.notes[0].endswith(" were fetched to find this out.")
        return {candidate.build: candidate for candidate in subject.candidates}

    return by_build


def test_one_header_judges_the_whole_repository(
    ask: Callable[[str], dict[str, Candidate]], hub: HubServer, messages: io.StringIO
) -> None:
    found = ask(NAME)

    assert messages.getvalue().startswith(
        f"Asking the Hub about {NAME}: the list of its files and the beginning of one"
    )
    assert hub.bytes_served < 4_000_000
    read = found["Q4_K_M"]
    assert read.header is not None and read.facts is not None and read.facts.weights.exact
    assert read.facts.file_bytes == (hub.files / NAME / "made-up-Q4_K_M.gguf").stat().st_size
    assert [build for build, candidate in found.items() if candidate.header is not None] == ["Q4_K_M"]


def test_the_other_files_have_the_same_shape_and_their_own_size(
    ask: Callable[[str], dict[str, Candidate]], hub: HubServer, here: Machine
) -> None:
    found = ask(NAME)
    other, read = found["F16"].facts, found["Q4_K_M"].facts

    assert other is not None and read is not None
    assert other.geometry == read.geometry
    assert not other.weights.exact
    size = (hub.files / NAME / "made-up-F16.gguf").stat().st_size
    assert other.weights.total_bytes == other.file_bytes == size
    # On the careful side: the file's own header says a little less.
    own = Assessor(Catalog(), here).facts_of_file(hub.files / NAME / "made-up-F16.gguf")
    assert own.weights.total_bytes <= size <= own.weights.total_bytes + 4_000_000


def test_another_model_in_the_same_repository_is_not_judged_by_this_ones_shape(
    ask: Callable[[str], dict[str, Candidate]],
) -> None:
    problems = {candidate.name: candidate.problem for candidate in ask(NAME).values() if candidate.facts is None}

    assert list(problems) == ["draft"]
    assert problems["draft"].startswith("Another model; ask about it alone: ")


def test_a_part_of_the_name_chooses_the_file(ask: Callable[[str], dict[str, Candidate]]) -> None:
    (candidate,) = ask(f"{NAME}:F16").values()

    assert candidate.header is not None and candidate.header.name == "made-up-F16.gguf"
    assert candidate.facts is not None and candidate.facts.weights.exact


def test_a_file_that_is_not_there_is_said_with_those_that_are(ask: Callable[[str], dict[str, Candidate]]) -> None:
    with pytest.raises(UnsupportedModelError) as refused:
        ask(f"{NAME}:Q5_K_M")

    assert "Q4_K_M" in refused.value.advice and "F16" in refused.value.advice


def test_a_repository_that_is_not_there_is_said(ask: Callable[[str], dict[str, Candidate]]) -> None:
    with pytest.raises(EngineError, match=r"\w"):
        ask("maker/nothing")


def test_the_command_says_what_it_fetches_and_what_fits(
    hub: HubServer, snug: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = snug("fit", REAL)
    damaged = snug("fit", NAME)

    assert done.returncode == 0
    assert done.stderr.startswith("Asking the Hub about maker/tiny: ")
    assert "\nFits (checked with the engine)\n" in done.stdout
    assert " were fetched to find this out." in done.stdout
    assert damaged.returncode == 3
    assert "\nsnug: " in damaged.stderr


@pytest.mark.parametrize(
    ("text", "means"),
    [("a/b", True), ("a/b:Q4_K_M", True), ("a/b.c-d_1", True), ("a", False), ("a/b/c", False), ("../b", False)],
)
def test_what_looks_like_a_repository(text: str, means: bool) -> None:
    assert (REPOSITORY.fullmatch(text) is not None) == means
