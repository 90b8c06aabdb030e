"""What llama.cpp plans is what it allocates, to the byte, and costs nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.backends.llama import dry_run
from engines.backends.llama.breakdown import LoggedSizes, read_breakdown
from engines.backends.llama.engine import LlamaEngine
from engines.base import BufferUse, DryRun, LoadSettings
from engines.errors import ModelFileError, UnsupportedModelError
from engines.formats.gguf import read_header
from engines.formats.sparse import write_sparse

TINY_MODELS = ["qwen3", "qwen35moe", "nemotron_h_moe", "gemma4", "gpt-oss", "deepseek4"]
MIB = 1024 * 1024
SETTINGS = tuple(
    LoadSettings(context_tokens=context, threads=1, kv_type=kv_type, flash_attention=flash)
    for context in (512, 4096)
    for kv_type, flash in (("f16", None), ("f16", False), ("q8_0", True), ("q8_0", False))
)


@pytest.fixture
def engine() -> Iterator[LlamaEngine]:
    made = LlamaEngine()
    yield made
    made.close()


def sums(buffers: tuple[BufferUse, ...]) -> tuple[int, int]:
    return sum(buffer.context_bytes for buffer in buffers), sum(buffer.compute_bytes for buffer in buffers)


def load_for_real(engine: LlamaEngine, path: Path, settings: LoadSettings) -> tuple[BufferUse, ...]:
    engine.load(path, settings, lambda _share: True)
    assert engine._context is not None
    buffers = read_breakdown(engine._context.handle)
    engine.close()
    assert buffers is not None
    return buffers


@pytest.mark.parametrize("model", TINY_MODELS)
def test_what_is_planned_is_what_is_allocated(engine: LlamaEngine, tiny: Any, model: str) -> None:
    plans = engine.dry_run(tiny(model), SETTINGS)
    assert [plan.settings for plan in plans] == list(SETTINGS)
    answered = [plan for plan in plans if not plan.problem]
    assert len(answered) == (4 if model == "deepseek4" else 6)
    for plan in answered:
        real = load_for_real(engine, tiny(model), plan.settings)
        assert plan.source == "breakdown"
        assert sums(plan.buffers) == sums(real), plan.settings
        assert plan.context_tokens == plan.settings.context_tokens
        packed = {buffer.name: buffer.weights_bytes for buffer in (*plan.buffers, *real)}
        assert {b.weights_bytes for b in real if b.name == "CPU_REPACK"} == {packed.get("CPU_REPACK", 0)}


@pytest.mark.parametrize("model", TINY_MODELS)
def test_weights_are_planned_to_the_byte_where_nothing_is_repacked(engine: LlamaEngine, tiny: Any, model: str) -> None:
    settings = LoadSettings(context_tokens=512, threads=1, repack=False)
    (plan,) = engine.dry_run(tiny(model), (settings,))
    real = load_for_real(engine, tiny(model), settings)
    assert {buffer.name for buffer in plan.buffers} == {"CPU"}
    planned, allocated = (sum(b.weights_bytes for b in buffers) for buffers in (plan.buffers, real))
    # Gemma 4's output is its embedding table once more; a mapped file holds both in the same pages.
    header = read_header(tiny(model))
    table = next(t.size_bytes or 0 for t in header.tensors if t.name == "token_embd.weight")
    assert planned - allocated == (table if model == "gemma4" else 0)


@pytest.mark.model
def test_real_models_are_planned_exactly(engine: LlamaEngine, smollm2_path: Path, gemma3_path: Path) -> None:
    for path in (smollm2_path, gemma3_path):
        settings = LoadSettings(context_tokens=2048, threads=1, repack=False)
        (plan,) = engine.dry_run(path, (settings,))
        real = load_for_real(engine, path, settings)
        assert (plan.source, sums(plan.buffers)) == ("breakdown", sums(real))
        assert sum(b.weights_bytes for b in plan.buffers) == sum(b.weights_bytes for b in real)
        assert plan.vocabulary in (49_152, 262_144)


@pytest.mark.model
def test_the_header_alone_gives_the_same_numbers(engine: LlamaEngine, gemma3_path: Path, tmp_path: Path) -> None:
    header = read_header(gemma3_path)
    hollow = tmp_path / gemma3_path.name
    with gemma3_path.open("rb") as file:
        write_sparse(file.read(header.data_start_bytes), header.file_bytes, hollow)
    whole, alone = (engine.dry_run(path, SETTINGS) for path in (gemma3_path, hollow))
    assert [replace(plan, process_bytes=0) for plan in whole] == [replace(plan, process_bytes=0) for plan in alone]


def test_nothing_stays_allocated(engine: LlamaEngine, tiny: Any) -> None:
    engine.dry_run(tiny("gpt-oss"), SETTINGS)
    process = psutil.Process()
    before = process.memory_info().rss
    for _ in range(20):
        plans = engine.dry_run(tiny("gpt-oss"), (LoadSettings(context_tokens=4096, flash_attention=False),))
    planned = sum(sums(plans[0].buffers))
    assert planned > 40 * MIB
    assert process.memory_info().rss - before < planned / 4
    assert engine._model is None
    assert engine._context is None


def test_a_loaded_model_stays_loaded(engine: LlamaEngine, tiny: Any) -> None:
    engine.load(tiny("qwen3"), LoadSettings(context_tokens=512, threads=1), lambda _share: True)
    engine.dry_run(tiny("gpt-oss"), (LoadSettings(),))
    assert engine.count_tokens("still there") > 0


def test_refused_settings_are_answered_and_the_others_too(engine: LlamaEngine, tiny: Any) -> None:
    settings = (
        LoadSettings(kv_type="q8_0", flash_attention=False),
        LoadSettings(kv_type="q8_0"),
        LoadSettings(),
    )
    refused, quantized, plain = engine.dry_run(tiny("qwen3"), settings)
    assert "flash attention" in refused.problem
    assert (refused.buffers, refused.context_tokens) == ((), 0)
    assert sums(quantized.buffers)[0] == sums(plain.buffers)[0] * 34 // 64
    plans = engine.dry_run(tiny("deepseek4"), settings)
    assert [bool(plan.problem) for plan in plans] == [True, True, False]
    assert "f16" in plans[1].problem


def test_what_the_engine_itself_refuses_is_a_problem_and_not_a_lack_of_memory(
    engine: LlamaEngine, tiny: Any, tmp_path: Path
) -> None:
    # Heads half as wide and twice as many: the same tensors, but a row of 16 values is not a whole block of 32. The
    # engine says so in its log and makes no context.
    data = tiny("nemotron_h_moe").read_bytes()
    for key, value in (("key_length", 16), ("value_length", 16), ("head_count", 8)):
        data = patched(data, f"nemotron_h_moe.attention.{key}", value)
    data = patched(data, "nemotron_h_moe.rope.dimension_count", 16)
    kv_heads = struct.pack("<7I", 0, 0, 0, 2, 0, 0, 0)
    assert data.count(kv_heads) == 1
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(data.replace(kv_heads, struct.pack("<7I", 0, 0, 0, 4, 0, 0, 0)))
    refused, plain = engine.dry_run(odd, (LoadSettings(kv_type="q8_0"), LoadSettings()))
    assert "with these settings" in refused.problem
    assert "enough memory" not in refused.problem
    assert plain.problem == ""
    with pytest.raises(UnsupportedModelError, match="with these settings") as caught:
        engine.load(odd, LoadSettings(threads=1, kv_type="q8_0"), lambda _share: True)
    assert "does not divide" in caught.value.details


def patched(data: bytes, key: str, value: int) -> bytes:
    """The same file with another number (uint32) under `key`."""
    name = key.encode()
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
    assert struct.unpack_from("<I", data, at) == (4,)
    return data[: at + 4] + struct.pack("<I", value) + data[at + 8 :]


@pytest.mark.parametrize("model", ["qwen35moe", "gpt-oss"])
def test_experts_on_the_processor_change_nothing_where_there_is_no_other(
    engine: LlamaEngine, tiny: Any, model: str
) -> None:
    plain, apart = engine.dry_run(tiny(model), (LoadSettings(), LoadSettings(expert_layers_on_cpu=2)))
    assert plain.buffers == apart.buffers
    engine.load(tiny(model), LoadSettings(context_tokens=512, threads=1, expert_layers_on_cpu=4), lambda _share: True)
    assert engine.count_tokens("loads") > 0


def test_without_the_breakdown_the_log_answers(engine: LlamaEngine, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = engine.dry_run(tiny("deepseek4"), (LoadSettings(),))
    monkeypatch.setattr(dry_run, "read_breakdown", lambda _handle: None)
    assert_close(exact, engine.dry_run(tiny("deepseek4"), (LoadSettings(),)))


def test_a_breakdown_that_contradicts_the_log_is_not_used(
    engine: LlamaEngine, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = engine.dry_run(tiny("qwen35moe"), (LoadSettings(),))
    monkeypatch.setattr(LoggedSizes, "agrees_with", lambda *_: False)
    assert_close(exact, engine.dry_run(tiny("qwen35moe"), (LoadSettings(),)))


def assert_close(exact: tuple[DryRun, ...], logged: tuple[DryRun, ...]) -> None:
    for ours, rough in zip(exact, logged, strict=True):
        assert (ours.source, rough.source) == ("breakdown", "log")
        for precise, rounded in zip(sums(ours.buffers), sums(rough.buffers), strict=True):
            assert precise <= rounded + 4096
            assert rounded <= precise + 0.1 * MIB
        assert sum(b.weights_bytes for b in rough.buffers) >= 0.9 * sum(b.weights_bytes for b in ours.buffers)


def test_a_model_that_cannot_be_read_is_an_error(engine: LlamaEngine, tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        engine.dry_run(tmp_path / "nothing.gguf", (LoadSettings(),))
    unknown = tmp_path / "unknown.gguf"
    unknown.write_bytes(tiny("qwen3").read_bytes().replace(b"qwen3", b"qwen9"))
    with pytest.raises(UnsupportedModelError):
        engine.dry_run(unknown, (LoadSettings(),))
