"""The tables of what the engines know agree with the engines that are installed."""

from __future__ import annotations

import ast
import re
from importlib import metadata, util
from pathlib import Path

import pytest

from engines.fit import known_models as known


def folder_of(module: str) -> Path:
    """Where an installed package lies, found without importing it."""
    spec = util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{module} is not installed here (it has no wheel for this platform)")
    return Path(next(iter(spec.submodule_search_locations)))


def test_every_architecture_is_a_word_of_the_installed_library() -> None:
    libraries = [path for path in (folder_of("llama_cpp") / "lib").glob("*llama*") if path.is_file()]
    words: set[bytes] = set()
    for library in libraries:
        words.update(re.findall(rb"(?<![ -~])[a-z0-9_.\-]{2,24}(?=\0)", library.read_bytes()))
    architectures = known.LLAMA_ARCHITECTURES | known.LLAMA_NOT_FOR_CHAT.keys()
    # A compiler may keep one copy of a word that another one ends with, or write short words as numbers.
    missing = {
        name for name in architectures if len(name) > 7 and not any(word.endswith(name.encode()) for word in words)
    }
    assert not missing
    assert not any(word.endswith(b"deepseek41") for word in words), "the table needs an update"


def test_versions_are_the_pinned_ones() -> None:
    assert f"llama-cpp-python {metadata.version('llama-cpp-python')}" == known.LLAMA_VERSION
    folder_of("mlx_lm")
    assert f"mlx-lm {metadata.version('mlx-lm')}" == known.MLX_VERSION


def test_no_architecture_is_both_for_chat_and_not() -> None:
    assert not known.LLAMA_ARCHITECTURES & known.LLAMA_NOT_FOR_CHAT.keys()
    assert all(reason.endswith(".") for reason in known.LLAMA_NOT_FOR_CHAT.values())


def test_model_types_are_those_of_the_installed_mlx_lm() -> None:
    found = set()
    for path in (folder_of("mlx_lm") / "models").glob("*.py"):
        names = set()
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in node.names}
        if {"Model", "ModelArgs"} <= names:
            found.add(path.stem)
    assert found == known.MLX_MODULES


def test_other_names_are_those_of_the_installed_mlx_lm() -> None:
    source = (folder_of("mlx_lm") / "utils.py").read_text("utf-8")
    remapping = next(
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODEL_REMAPPING"
    )
    assert ast.literal_eval(remapping) == known.MLX_OTHER_NAMES


def test_names_of_the_two_worlds_lead_to_known_models() -> None:
    assert set(known.GGUF_OF_MLX.values()) <= known.LLAMA_ARCHITECTURES
    assert known.MLX_OF_GGUF.keys() <= known.LLAMA_ARCHITECTURES
    unknown_to_mlx = set(known.MLX_OF_GGUF.values()) - known.MLX_MODEL_TYPES
    assert unknown_to_mlx == {"deepseek_v4", "qwen4_exp"}
