"""Reads what a folder of an MLX model says about itself: config.json and the headers of its shards. No weights.

Counts what mlx-lm loads: every `model*.safetensors` in the folder (its `load_model`). Fetched headers (files of full
length with a hole) read the same as a whole folder. What the config means is for `engines.fit.mlx`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engines.errors import ModelFileError, UnsupportedModelError
from engines.formats.safetensors import StoredTensor, check_bounds, read_header

CONFIG_NAME = "config.json"
INDEX_NAME = "model.safetensors.index.json"
SHARD_PATTERN = "model*.safetensors"
MAXIMUM_CONFIG_BYTES = 4 * 1024 * 1024
MAXIMUM_INDEX_BYTES = 32 * 1024 * 1024
MAXIMUM_SHARDS = 2_000


@dataclass(frozen=True, slots=True)
class MlxFolder:
    """A model in MLX's form."""

    path: Path
    config: dict[str, Any]
    """config.json, as it stands there."""
    tensors: tuple[StoredTensor, ...]
    weights_bytes: int
    """Of all tensors, also of those that mlx-lm may leave out (multi-token prediction, vision)."""
    file_bytes: int
    """Of all shards, headers included."""


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def read_folder(path: Path) -> MlxFolder:
    """Reads the config and all shard headers of a folder.

    Raises: ModelFileError for a missing, damaged or incomplete file; UnsupportedModelError for a folder that is not a
    model in this form.
    """
    config = _read_config(path / CONFIG_NAME)
    shards = _shards(path)
    index = _read_index(path / INDEX_NAME)
    missing = sorted({name for name in index.values() if name not in {shard.name for shard in shards}})
    if missing:
        raise ModelFileError(
            f"The model is not complete: {missing[0][:100]} is missing.",
            "Download the missing files of this model.",
            f"{path}: {len(missing)} files of {INDEX_NAME} are missing",
        )
    tensors: dict[str, StoredTensor] = {}
    file_bytes = 0
    for shard in shards:
        header = read_header(shard)
        file_bytes += header.file_bytes
        for tensor in header.tensors:
            if tensor.name in tensors:
                raise _damaged(shard, f"tensor {tensor.name[:80]!r} is there twice")
            tensors[tensor.name] = tensor
    absent = [name for name in index if name not in tensors]
    if absent:
        raise _damaged(path, f"{len(absent)} tensors of {INDEX_NAME} are in no file, for example {absent[0][:80]!r}")
    weights_bytes = sum(tensor.size_bytes for tensor in tensors.values())
    return MlxFolder(path, config, tuple(tensors.values()), weights_bytes, file_bytes)


def _shards(folder: Path) -> list[Path]:
    shards = sorted(path for path in folder.glob(SHARD_PATTERN) if path.is_file())
    if not shards:
        raise UnsupportedModelError(
            "This folder holds no model that Snug can read.",
            "Choose a folder with config.json and model.safetensors, or a .gguf file.",
            f"{folder}: no {SHARD_PATTERN}",
        )
    if len(shards) > MAXIMUM_SHARDS:
        raise _damaged(folder, f"{len(shards)} files of weights")
    return shards


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UnsupportedModelError(
            "This folder holds no model that Snug can read.",
            "Choose a folder with config.json and model.safetensors, or a .gguf file.",
            f"{path} is missing",
        )
    try:
        config = msgspec.json.decode(_read_bounded(path, MAXIMUM_CONFIG_BYTES), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(config.get("model_type"), str):
        raise UnsupportedModelError(
            "This folder's config.json does not say what kind of model it is.",
            "Look for another build of this model.",
            f"{path}: no model_type",
        )
    return config


def _read_index(path: Path) -> dict[str, str]:
    """Which file holds which tensor; empty where the model has one file and no index."""
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(_read_bounded(path, MAXIMUM_INDEX_BYTES), type=_Index).weight_map
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _damaged(path, str(error)) from None


def _read_bounded(path: Path, most_bytes: int) -> bytes:
    """The whole of a small file. Raises ValueError for one that is not small, ModelFileError for an unreadable one."""
    try:
        with path.open("rb") as file:
            text = file.read(most_bytes + 1)
    except OSError as error:
        raise ModelFileError(
            "A file of the model cannot be read.",
            "Check that you may open it and that its drive is connected.",
            f"{path}: {error.strerror or error}",
        ) from None
    if len(text) > most_bytes:
        raise ValueError(f"it is longer than {most_bytes} bytes")
    check_bounds(text)
    return text


def _damaged(path: Path, reason: str) -> ModelFileError:
    return ModelFileError("The model's files are damaged.", "Download the model again.", f"{path}: {reason[:500]}")
