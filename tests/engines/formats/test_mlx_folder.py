"""Folders of MLX models: config, index and shards that agree, and everything that does not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from engines.errors import EngineError, ModelFileError, UnsupportedModelError
from engines.formats import mlx_folder
from engines.formats.mlx_folder import read_folder
from engines.formats.sparse import write_sparse
from tests.support import safetensors_writer

CONFIG = {"model_type": "qwen3", "hidden_size": 64, "quantization": {"group_size": 64, "bits": 4}}


def shard(path: Path, *names: str) -> int:
    write_sparse(*safetensors_writer.sound({name: ("U32", [64, 8], 2048) for name in names}), path)
    return path.stat().st_size


def write_folder(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    shard(folder / weight_map["a"], "a")
    shard(folder / weight_map["b"], "b", "c")
    return weight_map


def test_a_folder_is_read_with_all_its_shards(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "adapters.safetensors").write_bytes(b"not looked at")
    folder = read_folder(tmp_path)
    assert folder.config == CONFIG
    assert [tensor.name for tensor in folder.tensors] == ["a", "b", "c"]
    assert folder.weights_bytes == 3 * 2048
    assert folder.file_bytes == sum(path.stat().st_size for path in tmp_path.glob("model-*"))


def test_one_file_needs_no_index(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    size = shard(tmp_path / "model.safetensors", "a")
    folder = read_folder(tmp_path)
    assert (folder.weights_bytes, folder.file_bytes) == (2048, size)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    weight_map = write_folder(tmp_path)
    (tmp_path / weight_map["b"]).unlink()
    with pytest.raises(ModelFileError, match="not complete: model-00002-of-00002"):
        read_folder(tmp_path)


def test_an_index_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    write_folder(tmp_path)
    shard(tmp_path.parent / "model.safetensors", "z")
    index = {"weight_map": {"z": "../model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFileError, match="not complete"):
        read_folder(tmp_path)


def test_shards_and_index_must_agree(tmp_path: Path) -> None:
    weight_map = write_folder(tmp_path)
    shard(tmp_path / weight_map["a"], "other")
    with pytest.raises(ModelFileError, match="damaged") as caught:
        read_folder(tmp_path)
    assert "'a'" in caught.value.details
    shard(tmp_path / weight_map["a"], "a", "b")
    with pytest.raises(ModelFileError, match="damaged") as caught:
        read_folder(tmp_path)
    assert "'b' is there twice" in caught.value.details


def test_a_folder_without_a_model_is_unsupported(tmp_path: Path) -> None:
    for prepare in (lambda: None, lambda: (tmp_path / "config.json").write_text(json.dumps(CONFIG))):
        prepare()
        with pytest.raises(UnsupportedModelError, match="holds no model"):
            read_folder(tmp_path)
    with pytest.raises(UnsupportedModelError):
        read_folder(tmp_path / "gone")


@pytest.mark.parametrize("config", [b"{}", b'{"model_type": 5}'])
def test_a_config_that_does_not_say_what_it_is_of_is_unsupported(tmp_path: Path, config: bytes) -> None:
    write_folder(tmp_path)
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(UnsupportedModelError, match="what kind"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"a":' + b"[" * 200_000,
        b'{"a":' + b"9" * 1_000_000 + b"}",
        b" " * 33_554_433,
    ],
    ids=["empty", "null", "list", "cut", "no text", "deep", "a number of a million digits", "too long"],
)
def test_senseless_json_is_damage(tmp_path: Path, name: str, content: bytes) -> None:
    write_folder(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match="damaged"):
        read_folder(tmp_path)


def test_too_many_shards_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path)
    monkeypatch.setattr(mlx_folder, "MAXIMUM_SHARDS", 1)
    with pytest.raises(ModelFileError, match="damaged"):
        read_folder(tmp_path)


def test_random_damage_gives_an_answer_or_an_engine_error(tmp_path: Path) -> None:
    write_folder(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    chance = random.Random(3)
    outcomes = set()
    for _ in range(400):
        path = chance.choice(sorted(files))
        damaged = bytearray(files[path])
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(min(400, len(damaged)))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice((len(damaged), chance.randrange(len(damaged))))])
        try:
            read_folder(tmp_path)
            outcomes.add("read")
        except EngineError as error:
            outcomes.add(type(error).__name__)
        path.write_bytes(files[path])
    assert outcomes == {"read", "ModelFileError", "UnsupportedModelError"}
