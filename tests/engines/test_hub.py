"""Headers from a hub: a real server on this machine, the hub's real client in a real process, bytes counted."""

from __future__ import annotations

import json
import queue
import struct
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.errors import (
    EngineError,
    HubAccessError,
    HubBusyError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
    ModelFileError,
    UnsupportedModelError,
)
from engines.fit.facts import from_gguf
from engines.formats import gguf, mlx_folder
from engines.formats.sparse import write_sparse
from engines.hub import HubCancelled, HubReader, RemoteFile, RemoteRepository, builds_of, hub_command
from tests.support import gguf_writer, safetensors_writer
from tests.support.hub_server import COMMIT, HubServer, running_hub

SPLIT = "maker/split-model"
PARTS = 5
WHOLE = "maker/one-file"
MLX = "maker/mlx-model"
ALLOWED_BYTES = 16_000_000
TINY = Path(__file__).parents[1] / "data" / "tiny_models"


def part_name(number: int) -> str:
    return f"UD-Q4/model-{number:05}-of-{PARTS:05}.gguf"


def write_split_model(folder: Path) -> int:
    """About 20 GB in five files, with a vocabulary of 150,000; answers the size of all together."""
    metadata, tensors = gguf_writer.model(layers=46, width=7168, vocabulary_size=150_000)
    total = 0
    for number, (header, length) in enumerate(gguf_writer.split(metadata, tensors, PARTS), start=1):
        path = folder / part_name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sparse(header, length, path)
        total += length
    return total


def write_mlx_model(folder: Path) -> int:
    """About 20 GB in four shards."""
    folder.mkdir(parents=True)
    weight_map = {}
    total = 0
    for shard in range(4):
        name = f"model-{shard + 1:05}-of-00004.safetensors"
        tensors: dict[str, tuple[str, list[int], int]] = {}
        for layer in range(shard * 200, shard * 200 + 200):
            tensors[f"model.layers.{layer}.mlp.up_proj.weight"] = ("U32", [8192, 768], 8192 * 768 * 4)
            tensors[f"model.layers.{layer}.mlp.up_proj.scales"] = ("BF16", [8192, 96], 8192 * 96 * 2)
        weight_map |= dict.fromkeys(tensors, name)
        header, length = safetensors_writer.sound(tensors)
        write_sparse(header, length, folder / name)
        total += length
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "hidden_size": 6144}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "tokenizer.json").write_text("{}")
    return total


@pytest.fixture(scope="module")
def hub_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = tmp_path_factory.mktemp("hub")
    assert 19e9 < write_split_model(files / SPLIT) < 24e9
    assert 19e9 < write_mlx_model(files / MLX) < 24e9
    whole = files / WHOLE
    whole.mkdir(parents=True)
    for path in TINY.glob("*.gguf"):
        (whole / path.name).write_bytes(path.read_bytes())
    (whole / "mmproj-F16.gguf").write_bytes(b"GGUF")
    words = files / "maker" / "words-only"
    words.mkdir()
    (words / "README.md").write_text("No model.")
    return files


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
def reader(hub: HubServer) -> Iterator[HubReader]:
    with HubReader() as reader:
        yield reader


def without_path(header: gguf.GgufHeader) -> tuple[object, ...]:
    return (header.version, header.metadata, header.tensors, header.data_start_bytes, header.file_bytes)


def test_a_split_model_of_20_gb_costs_less_than_16_mb(reader: HubReader, hub: HubServer, tmp_path: Path) -> None:
    remote = reader.list_files(SPLIT)
    assert remote.revision == COMMIT
    (build,) = builds_of(remote)
    assert build.names == tuple(part_name(number) for number in range(1, PARTS + 1))
    assert build.weights_bytes > 19e9
    heard: list[int] = []
    fetched = reader.fetch_headers(remote, build.names, tmp_path / "headers", on_progress=heard.append)
    assert fetched.bytes_fetched <= hub.bytes_served < ALLOWED_BYTES
    assert heard and heard == sorted(heard) and heard[-1] <= fetched.bytes_fetched
    near = gguf.read_headers(fetched.paths[0])
    far = gguf.read_headers(hub.files / SPLIT / part_name(1))
    assert [without_path(header) for header in near] == [without_path(header) for header in far]
    assert from_gguf(near) == from_gguf(far)
    assert len(near) == PARTS and near[0].metadata["tokenizer.ggml.tokens"] == gguf.ArrayLength(150_000)
    for path, name in zip(fetched.paths, build.names, strict=True):
        assert path.stat().st_size == (hub.files / SPLIT / name).stat().st_size
    if sys.platform != "win32":
        assert sum(path.stat().st_blocks * 512 for path in fetched.paths) < ALLOWED_BYTES


def test_an_mlx_model_of_20_gb_costs_less_than_16_mb(reader: HubReader, hub: HubServer, tmp_path: Path) -> None:
    remote = reader.list_files(MLX)
    (build,) = builds_of(remote)
    assert build.file_format == "mlx" and "tokenizer.json" not in build.names
    fetched = reader.fetch_headers(remote, build.names, tmp_path / "headers")
    assert fetched.bytes_fetched <= hub.bytes_served < ALLOWED_BYTES
    near, far = mlx_folder.read_folder(tmp_path / "headers"), mlx_folder.read_folder(hub.files / MLX)
    assert (near.config, near.tensors, near.file_bytes) == (far.config, far.tensors, far.file_bytes)
    assert near.weights_bytes == far.weights_bytes > 19e9


def test_a_server_that_knows_no_ranges_is_not_read_to_the_end(
    reader: HubReader, hub: HubServer, tmp_path: Path
) -> None:
    hub.knows_ranges = False
    remote = reader.list_files(SPLIT)
    names = builds_of(remote)[0].names[:1]
    fetched = reader.fetch_headers(remote, names, tmp_path)
    # What the system's buffers hold when the connection is closed is sent, too, but never read.
    assert fetched.bytes_fetched <= 16 * 1024 * 1024
    assert hub.bytes_served < 64 * 1024 * 1024
    assert gguf.read_header(fetched.paths[0]).architecture == "qwen3"


def test_a_limit_is_kept_and_said(reader: HubReader, hub: HubServer, tmp_path: Path) -> None:
    remote = reader.list_files(SPLIT)
    served_before = hub.bytes_served
    with pytest.raises(UnsupportedModelError, match="too long"):
        reader.fetch_headers(remote, builds_of(remote)[0].names, tmp_path, maximum_bytes=3_000_000)
    assert hub.bytes_served - served_before <= 3_000_000


@pytest.mark.parametrize(("merge_bytes", "fits"), [(235, True), (275, False)])
def test_the_longest_vocabularies_just_fit(
    hub_files: Path, reader: HubReader, hub: HubServer, tmp_path: Path, merge_bytes: int, fits: bool
) -> None:
    """262k tokens and half a million merges, as in Gemma 4, make a header of about 15.5 MB."""
    metadata, tensors = gguf_writer.model(layers=2, width=256, vocabulary_size=50_000)
    metadata["tokenizer.ggml.merges"] = ["m" * merge_bytes] * 60_000
    folder = hub_files / "maker" / f"long-{merge_bytes}"
    folder.mkdir()
    header, length = gguf_writer.header(metadata, tensors)
    assert (len(header) < 16 * 1024**2) == fits and len(header) > 15_000_000
    write_sparse(header, length, folder / "long.gguf")
    remote = reader.list_files(f"maker/long-{merge_bytes}")
    if fits:
        fetched = reader.fetch_headers(remote, ["long.gguf"], tmp_path)
        assert gguf.read_header(fetched.paths[0]).data_start_bytes == len(header)
    else:
        with pytest.raises(UnsupportedModelError, match="too long"):
            reader.fetch_headers(remote, ["long.gguf"], tmp_path)
    assert hub.bytes_served < 16.8 * 1024**2


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(reader: HubReader, hub: HubServer, tmp_path: Path) -> None:
    hub.breaks_after_bytes["00001-of"] = 1_000_000
    remote = reader.list_files(SPLIT)
    fetched = reader.fetch_headers(remote, builds_of(remote)[0].names[:1], tmp_path)
    assert gguf.read_header(fetched.paths[0]).architecture == "qwen3"
    assert hub.bytes_served < ALLOWED_BYTES
    starts = [request.headers["range"] for request in hub.requests_to("cdn")]
    assert any(not start.startswith(("bytes=0-", "bytes=2097152-")) for start in starts)


def test_several_builds_are_told_apart(reader: HubReader, hub: HubServer, tmp_path: Path) -> None:
    remote = reader.list_files(WHOLE, revision="v1.0/a")
    assert hub.requests_to("hub")[0].path.endswith("/revision/v1.0/a")
    builds = builds_of(remote)
    assert {build.name for build in builds} == {path.name for path in TINY.glob("*.gguf")}
    assert [build.weights_bytes for build in builds] == sorted(build.weights_bytes for build in builds)
    for build in builds:
        fetched = reader.fetch_headers(remote, build.names, tmp_path)
        assert without_path(gguf.read_header(fetched.paths[0])) == without_path(gguf.read_header(TINY / build.name))


def test_incomplete_splits_and_other_files_are_no_builds() -> None:
    names = ["a-00001-of-00002.gguf", "mmproj-model.gguf", "model.safetensors", "README.md", "b-lora.gguf"]
    remote = RemoteRepository("o/m", "main", tuple(RemoteFile(name, 5) for name in names))
    assert builds_of(remote) == ()


@pytest.mark.parametrize("trusted", [False, True])
def test_a_token_goes_to_a_mirror_only_when_asked_and_never_to_the_other_host(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with HubReader(trust_mirror=trusted) as reader:
        remote = reader.list_files(SPLIT)
        reader.fetch_headers(remote, builds_of(remote)[0].names[1:2], tmp_path)
        reader.fetch_headers(reader.list_files(MLX), ["config.json"], tmp_path)
    sent = {request.headers.get("authorization") for request in hub.requests_to("hub")}
    assert sent == ({"Bearer hf_secret"} if trusted else {None})
    assert {request.headers.get("authorization") for request in hub.requests_to("cdn")} == {None}


REFUSALS: list[tuple[int, dict[str, str], type[EngineError], str]] = [
    (401, {}, HubNotFoundError, "shows no"),
    (403, {"X-Error-Code": "GatedRepo"}, HubAccessError, "want to be asked"),
    (401, {"X-Error-Code": "GatedRepo"}, HubAccessError, "want to be asked"),
    (404, {"X-Error-Code": "RevisionNotFound"}, HubNotFoundError, "no such version"),
    (404, {}, HubNotFoundError, "shows no"),
    (429, {"Retry-After": "3600"}, HubBusyError, "less often"),
    (503, {}, HubUnreachableError, "problem of its own"),
    (418, {}, HubError, "does not understand"),
    (200, {}, HubError, "does not understand"),  # JSON, but of something else
]


def test_refusals_are_told_in_words(reader: HubReader, hub: HubServer) -> None:
    for status, headers, error, words in REFUSALS:
        hub.refusals["/api/"] = (status, headers)
        with pytest.raises(error, match=words) as caught:
            reader.list_files(WHOLE)
        assert type(caught.value) is error and caught.value.advice, (status, headers)
        hub.refusals.clear()
        assert reader.list_files(WHOLE).files, "the next question is answered"


def test_what_does_not_exist_is_told_in_words(reader: HubReader, hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(HubNotFoundError, match="shows no maker/nothing"):
        reader.list_files("maker/nothing")
    with pytest.raises(HubNotFoundError, match="not the name"):
        reader.list_files("no spaces/please")
    with pytest.raises(UnsupportedModelError, match="holds no model"):
        reader.list_files("maker/words-only")
    remote = reader.list_files(WHOLE)
    with pytest.raises(HubNotFoundError, match=r"gone\.gguf"):
        reader.fetch_headers(remote, ["gone.gguf"], tmp_path)
    with pytest.raises(UnsupportedModelError, match="not a model"):
        reader.fetch_headers(reader.list_files(MLX), ["tokenizer.json", "tokenizer.bin"], tmp_path)


def test_no_network_is_told_in_words(monkeypatch: pytest.MonkeyPatch, hub: HubServer) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with HubReader() as reader, pytest.raises(HubUnreachableError, match="cannot be reached"):
        reader.list_files(WHOLE)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with HubReader() as reader, pytest.raises(HubUnreachableError, match="switched off"):
        reader.list_files(WHOLE)


def test_a_model_that_is_damaged_on_the_hub_is_told(hub_files: Path, reader: HubReader, tmp_path: Path) -> None:
    folder = hub_files / "maker" / "damaged"
    folder.mkdir(exist_ok=True)
    (folder / "cut.gguf").write_bytes((TINY / "qwen3.gguf").read_bytes()[:-1000])
    (folder / "not.gguf").write_bytes(b"PK" * 50)
    (folder / "broken.safetensors").write_bytes(struct.pack("<Q", 5) + b"{1:2}")
    remote = reader.list_files("maker/damaged")
    for name in ("cut.gguf", "not.gguf", "broken.safetensors"):
        with pytest.raises(ModelFileError, match=f"{name} is damaged or incomplete"):
            reader.fetch_headers(remote, [name], tmp_path)


def test_a_model_that_changed_meanwhile_is_told(reader: HubReader, tmp_path: Path) -> None:
    remote = reader.list_files(WHOLE)
    files = tuple(RemoteFile(file.name, file.size_bytes + 1) for file in remote.files)
    with pytest.raises(HubError, match="changed while"):
        reader.fetch_headers(RemoteRepository(WHOLE, COMMIT, files), ["qwen3.gguf"], tmp_path)


def test_cancelling_kills_the_process_and_the_next_question_starts_another(
    reader: HubReader, hub: HubServer, tmp_path: Path
) -> None:
    remote = reader.list_files(SPLIT)
    hub.hold = threading.Event()
    ends: queue.Queue[BaseException | None] = queue.Queue()

    def ask() -> None:
        try:
            reader.fetch_headers(remote, builds_of(remote)[0].names, tmp_path)
            ends.put(None)
        except HubCancelled as error:
            ends.put(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert hub.asked.wait(30)
    reader.cancel()
    assert isinstance(ends.get(timeout=30), HubCancelled)
    thread.join()
    hub.hold.set()
    assert reader.list_files(SPLIT) == remote


def test_cancelling_a_process_that_has_not_even_said_hello(tmp_path: Path) -> None:
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'started')!r}).touch(); time.sleep(600)"
    ends: queue.Queue[BaseException] = queue.Queue()
    with HubReader(command=worker_that(code)) as reader:

        def ask() -> None:
            try:
                reader.list_files(WHOLE)
            except HubCancelled as error:
                ends.put(error)

        thread = threading.Thread(target=ask)
        thread.start()
        while not (tmp_path / "started").exists():
            time.sleep(0.01)  # polls a file, which sends no signal
        reader.cancel()
        assert isinstance(ends.get(timeout=30), HubCancelled)
        thread.join()


def test_cancelling_nothing_has_no_effect(reader: HubReader) -> None:
    reader.cancel()
    assert reader.list_files(WHOLE).files
    reader.cancel()
    assert reader.list_files(WHOLE).files


def worker_that(code: str) -> list[str]:
    start = """
        import sys, time
        from engines.hub_protocol import *
        from engines.protocol import encode
        def say(message): sys.stdout.buffer.write(encode(message)); sys.stdout.flush()
    """
    return [sys.executable, "-P", "-c", textwrap.dedent(start) + textwrap.dedent(code)]


HELLO = "say(HubHello(protocol=HUB_PROTOCOL_VERSION, client_version='1'))\n"


def test_a_process_that_dies_is_an_error_with_its_last_words() -> None:
    command = worker_that(HELLO + "sys.stdin.readline(); sys.exit('out of everything')")
    with HubReader(command=command) as reader, pytest.raises(HubError, match="failed") as caught:
        reader.list_files(WHOLE)
    assert "out of everything" in caught.value.details


def test_a_process_that_is_silent_is_given_up() -> None:
    with (
        HubReader(command=worker_that(HELLO + "time.sleep(600)"), patience_s=2) as reader,
        pytest.raises(HubUnreachableError, match="does not answer"),
    ):
        reader.list_files(WHOLE)


def test_a_process_of_another_version_is_named() -> None:
    command = worker_that("say(HubHello(protocol=99, client_version='1')); time.sleep(600)")
    with HubReader(command=command) as reader, pytest.raises(HubError, match="updated"):
        reader.list_files(WHOLE)


def test_a_process_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with HubReader(command=[str(tmp_path / "nothing")]) as reader, pytest.raises(HubError, match="failed"):
        reader.list_files(WHOLE)


def test_a_built_app_starts_itself_with_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_command()[1:] == ["-P", "-m", "engines.workers.hub"]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert hub_command() == [sys.executable, "--hub-worker"]
