"""Loading and closing; the streaming itself is in test_loop."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.backends.llama.engine import LlamaEngine, _device_name, default_threads
from engines.backends.llama.parameters import DEFAULT_CONTEXT_TOKENS
from engines.base import Device, LoadCancelled, LoadedModel, LoadSettings
from engines.errors import EngineError, ModelFileError, UnsupportedModelError


def load_once(path: Path, settings: LoadSettings | None = None) -> LoadedModel:
    engine = LlamaEngine()
    try:
        return engine.load(path, settings or LoadSettings(threads=1), lambda _share: True)
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("model", "cache_kind", "can_think"),
    [("qwen3", "plain", True), ("qwen35moe", "recurrent", True), ("gemma4", "sliding_window", True),
     ("gpt-oss", "sliding_window", False), ("deepseek4", "recurrent", True)],
)  # fmt: skip
def test_what_was_loaded_is_told(tiny: Any, model: str, cache_kind: str, can_think: bool) -> None:
    loaded = load_once(tiny(model))
    assert loaded.model_name.startswith("Tiny")
    assert (loaded.cache_kind, loaded.can_think, loaded.has_chat_template) == (cache_kind, can_think, True)
    assert 0 < loaded.weights_bytes < 2_000_000
    assert loaded.memory_bytes > loaded.weights_bytes
    assert loaded.load_seconds > 0
    assert loaded.threads == 1


@pytest.mark.parametrize(("wanted", "got"), [(512, 512), (None, 4096), (100_000, 4096)])
def test_the_context_never_exceeds_what_the_model_was_trained_for(tiny: Any, wanted: int | None, got: int) -> None:
    loaded = load_once(tiny("qwen3"), LoadSettings(context_tokens=wanted, threads=1))
    assert (loaded.context_tokens, loaded.trained_context_tokens) == (got, 4096)


def test_the_default_context_is_bounded(tiny: Any) -> None:
    assert load_once(tiny("nemotron_h_moe")).context_tokens == DEFAULT_CONTEXT_TOKENS


@pytest.mark.model
def test_progress_goes_from_nothing_to_all(smollm2_path: Path) -> None:
    shares: list[float] = []
    engine = LlamaEngine()
    engine.load(smollm2_path, LoadSettings(threads=1, context_tokens=256), lambda share: shares.append(share) is None)
    engine.close()
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


@pytest.mark.model
def test_a_load_can_be_cancelled(smollm2_path: Path) -> None:
    engine = LlamaEngine()
    with pytest.raises(LoadCancelled):
        engine.load(smollm2_path, LoadSettings(threads=1), lambda share: share < 0.1)
    engine.close()


def test_closing_twice_is_harmless_and_frees_the_model(tiny: Any) -> None:
    engine = LlamaEngine()
    engine.load(tiny("qwen3"), LoadSettings(threads=1), lambda _share: True)
    assert engine.count_tokens("two words") > 0
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="No model"):
        engine.count_tokens("x")


def test_a_second_load_replaces_the_first(tiny: Any) -> None:
    engine = LlamaEngine()
    for model in ("qwen3", "gemma4"):
        loaded = engine.load(tiny(model), LoadSettings(threads=1), lambda _share: True)
    assert loaded.architecture == "gemma4"
    engine.close()


def test_loading_again_and_again_does_not_grow(tiny: Any) -> None:
    sizes = []
    for _ in range(12):
        load_once(tiny("qwen3"), LoadSettings(threads=1, context_tokens=512))
        sizes.append(psutil.Process().memory_info().rss)
    assert sizes[-1] - sizes[4] < 16_000_000


def test_a_damaged_file_is_refused_before_the_native_parser(tmp_path: Path, tiny: Any) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny("qwen3").read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="incomplete"):
        load_once(path)


def test_an_architecture_that_llama_cpp_does_not_know(tmp_path: Path, tiny: Any) -> None:
    path = tmp_path / "future.gguf"
    # Same length, so that every offset in the file stays right.
    path.write_bytes(tiny("qwen3").read_bytes().replace(b"qwen3", b"qwen9"))
    with pytest.raises(UnsupportedModelError) as caught:
        load_once(path)
    assert "qwen9" in caught.value.details


def test_a_path_with_spaces_and_chinese_characters(tmp_path: Path, tiny: Any) -> None:
    path = tmp_path / "模型 文件" / "tiny model é.gguf"
    path.parent.mkdir()
    shutil.copyfile(tiny("qwen3"), path)
    assert load_once(path).architecture == "qwen3"


def test_one_core_is_left_free(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    for cores, threads in ((1, 1), (2, 1), (8, 7), (None, 1)):
        monkeypatch.setattr(psutil, "cpu_count", lambda logical=True, cores=cores: cores)
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        assert default_threads() == threads


def test_the_devices_of_the_build_are_listed_without_a_model() -> None:
    devices = LlamaEngine().devices()
    assert any(device.kind == "cpu" and device.name for device in devices)
    assert all(device.memory_total_bytes >= device.memory_free_bytes >= 0 for device in devices)


@pytest.mark.parametrize(
    ("kinds", "gpu_layers", "expected"),
    [(["cpu"], -1, "CPU"), (["gpu", "cpu"], -1, "gpu 0"), (["gpu", "cpu"], 0, "CPU"), (["cpu", "gpu"], 5, "gpu 1")],
)
def test_the_device_that_does_the_work_is_named(kinds: list[Any], gpu_layers: int, expected: str) -> None:
    devices = tuple(Device(f"{kind}{number}", f"{kind} {number}", kind) for number, kind in enumerate(kinds))
    assert _device_name(devices, gpu_layers) == expected
