"""What an engine cannot run is refused in words before a byte of it is downloaded, and with what to use instead."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines.base import KvType, LoadSettings
from engines.catalog import load_catalog
from engines.fit import support
from engines.fit.values import CachePart, Geometry, ModelFacts, Weights

FULL = CachePart(name="full", layers=4, key_width=256, value_width=256)
WINDOW = CachePart(name="window", layers=4, key_width=256, value_width=256, window_tokens=128)


def model(architecture: str, engine: str = "llama", *caches: CachePart, **changes: Any) -> ModelFacts:
    """A build of some model of this architecture."""
    geometry = Geometry(
        architecture=architecture,
        layers=4,
        embedding_width=256,
        vocabulary=1000,
        trained_context_tokens=4096,
        caches=caches or (FULL,),
        only_f16_cache=architecture == "deepseek4",
    )
    facts = ModelFacts(
        name="A model",
        engine=engine,
        quantization="Q4_K",
        geometry=geometry,
        weights=Weights(total_bytes=1000, exact=True),
        file_bytes=1000,
        quantization_types=("F32", "Q4_K"),
    )
    return dataclasses.replace(facts, **changes)


def assert_is_advice(sentence: str) -> None:
    assert sentence.endswith(".")
    assert sentence.count(". ") >= 1, "what happened, and what to do"
    assert "!" not in sentence
    assert len(sentence) < 320


@pytest.mark.parametrize("architecture", ["qwen3", "gemma4", "qwen35moe", "deepseek4", "nemotron_h_moe", "gpt-oss"])
def test_what_llama_knows_is_not_refused(architecture: str) -> None:
    assert support.why_unsupported(model(architecture), LoadSettings()) == ""


def test_unknown_architecture_is_refused_with_the_version() -> None:
    reason = support.why_unsupported(model("deepseek41"))
    assert "deepseek41" in reason
    assert "llama-cpp-python 0.3.36" in reason
    assert_is_advice(reason)


@pytest.mark.parametrize(
    ("architecture", "words"),
    [("bert", "searching"), ("eagle3", "helper"), ("qwen3tts", "sound"), ("llada", "diffusion"), ("t5", "encoder")],
)
def test_what_is_not_for_chat_is_refused(architecture: str, words: str) -> None:
    reason = support.why_unsupported(model(architecture))
    assert words in reason
    assert "not made for chat" in reason
    assert_is_advice(reason)


@pytest.mark.parametrize(("type_name", "words"), [("type 143", "PTQ1_0 of PrismML"), ("type 200", "number type 200")])
def test_unknown_tensor_type_is_refused_by_name(type_name: str, words: str) -> None:
    reason = support.why_unsupported(model("qwen35", quantization_types=("F32", type_name)))
    assert words in reason
    assert "qwen35" in reason
    assert "0.3.36" in reason
    assert_is_advice(reason)


def test_quantized_cache_without_flash_attention_is_refused() -> None:
    off = LoadSettings(kv_type="q8_0", flash_attention=False)
    assert "flash attention" in support.why_unsupported(model("qwen3"), off)
    assert support.why_unsupported(model("qwen3"), dataclasses.replace(off, flash_attention=None)) == ""


def test_deepseek4_takes_only_f16() -> None:
    assert "f16" in support.why_unsupported(model("deepseek4"), LoadSettings(kv_type="q8_0"))


def test_what_the_file_itself_rules_out_comes_first() -> None:
    assert support.why_unsupported(model("nonsense", unsupported="It is broken. Look elsewhere.")) == (
        "It is broken. Look elsewhere."
    )


def test_other_engines_are_not_judged() -> None:
    assert support.why_unsupported(model("anything", "scripted")) == ""


def test_deepseek_v4_for_mlx_is_refused_and_the_gguf_named() -> None:
    reason = support.problem_of_config({"model_type": "deepseek_v4", "quantization": {"bits": 4, "group_size": 64}})
    assert "mlx-lm 0.32.2" in reason
    assert "deepseek_v4" in reason
    assert "GGUF" in reason
    assert_is_advice(reason)
    of_catalogue = model("deepseek4", "mlx")
    assert support.why_unsupported(of_catalogue) == reason, "known by the catalogue's architecture alone"


@pytest.mark.parametrize("model_type", ["qwen4_exp", "glm5_next", "nonsense"])
def test_other_model_types_that_mlx_lacks_are_refused(model_type: str) -> None:
    reason = support.problem_of_config({"model_type": model_type})
    assert model_type in reason
    assert ("GGUF" in reason) == (model_type == "qwen4_exp")
    assert_is_advice(reason)


@pytest.mark.parametrize("nested", [True, False])
def test_released_deepseek_v41_is_refused_for_its_engram_layers(nested: bool) -> None:
    config: dict[str, object] = {"model_type": "deepseek_v41"}
    layers: dict[str, object] = {"engram_layer_ids": [1, 14]}
    config |= {"text_config": layers} if nested else layers
    reason = support.problem_of_config(config)
    assert "engram" in reason
    assert_is_advice(reason)
    assert support.problem_of_config({"model_type": "deepseek_v41", "engram_layer_ids": []}) == ""


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt_oss", "rope_parameters": {"rope_theta": 150000.0, "rope_type": "yarn"}},
        {"model_type": "gemma4", "text_config": {"per_layer_config": {}}},
        {"model_type": "gemma4_text", "per_layer_config": {}},
    ],
)
def test_configs_that_mlx_reads_wrongly_are_refused(config: dict[str, object]) -> None:
    reason = support.problem_of_config(config)
    assert "as its author published it" in reason
    assert_is_advice(reason)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt_oss", "rope_theta": 150000, "rope_scaling": {"rope_type": "yarn"}},
        {"model_type": "gemma4", "text_config": {"rope_parameters": {"full_attention": {}}}},
        {"model_type": "qwen3_5_moe", "text_config": {"rope_parameters": {}}, "quantization": {"bits": 4}},
        {"model_type": "gemma4_unified"},
        {"model_type": "llama", "quantization_config": {"quant_method": "mxfp4"}},
        {
            "model_type": "llama",
            "quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
        },
        {"model_type": "llama", "quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}},
    ],
)
def test_published_configs_pass(config: dict[str, object]) -> None:
    assert support.problem_of_config(config) == ""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "compressed-tensors float-quantized"),
        ({"quant_method": "modelopt", "quantization": {"quant_algo": "FP8"}}, "ModelOpt FP8"),
        ({"quant_method": "gptq", "bits": 8}, "GPTQ with 8 bits"),
    ],
)
def test_weights_that_mlx_cannot_read_are_refused(settings: dict[str, object], words: str) -> None:
    for config in (
        {"model_type": "qwen3", "quantization_config": settings},
        {"model_type": "qwen3_5", "text_config": {"quantization_config": settings}},
    ):
        reason = support.problem_of_config(config)
        assert words in reason
        assert_is_advice(reason)


def test_foreign_program_in_a_folder_is_refused() -> None:
    assert_is_advice(support.problem_of_config({"model_type": "llama", "model_file": "model.py"}))


@pytest.mark.parametrize(
    "config", [{}, {"model_type": ""}, {"model_type": 7}, {"model_type": "llama", "text_config": 3}]
)
def test_senseless_configs_raise_nothing(config: dict[str, object]) -> None:
    reason = support.problem_of_config(config)
    assert reason == "" or reason.endswith(".")


@pytest.mark.parametrize(
    ("kv_type", "caches", "is_refused"),
    [
        ("f16", (FULL, WINDOW), False),
        ("q8_0", (FULL,), False),
        ("q4_0", (FULL,), False),
        ("q8_0", (FULL, WINDOW), True),
        ("q5_1", (FULL,), True),
    ],
)
def test_caches_that_mlx_cannot_quantize_are_refused(
    kv_type: KvType, caches: tuple[CachePart, ...], is_refused: bool
) -> None:
    reason = support.why_unsupported(model("qwen3", "mlx", *caches, model_type="qwen3"), LoadSettings(kv_type=kv_type))
    assert bool(reason) == is_refused
    if reason:
        assert_is_advice(reason)


@dataclass(frozen=True)
class Build:
    """A line of a catalogue."""

    engine: str
    quantization: str
    unsupported: str = ""


@dataclass(frozen=True)
class Entry:
    """A model of a catalogue."""

    name: str
    architecture: str
    build: tuple[Build, ...]


V4 = Entry(
    "DeepSeek V4-Flash", "deepseek4", (Build("llama", "other", "No engine reads it."), Build("llama", "UD-IQ1_S"))
)


@pytest.mark.parametrize("name", ["deepseek_v4", "deepseek4", "DeepSeek V4-Flash"])
def test_alternative_names_a_build_that_runs(name: str) -> None:
    sentence = support.alternative(name, [Entry("Other", "qwen3", (Build("llama", "Q4"),)), V4], refused_engine="mlx")
    assert sentence == "Use the GGUF build UD-IQ1_S of DeepSeek V4-Flash instead."


def test_alternative_offers_nothing_that_is_refused_as_well() -> None:
    assert support.alternative("deepseek4", [V4], refused_engine="llama") == ""
    only_mlx = Entry("DeepSeek V4-Flash", "deepseek4", (Build("mlx", "4-bit"),))
    assert support.alternative("deepseek_v4", [only_mlx], refused_engine="llama") == ""
    assert support.alternative("nonsense", [V4], refused_engine="mlx") == ""


def test_shipped_catalogue_has_the_alternative_to_the_mlx_build_of_v4() -> None:
    root = Path(__file__).resolve().parents[3]
    models = load_catalog(root / "models.toml").models
    assert "DeepSeek" in support.alternative("deepseek_v4", models, refused_engine="mlx")


def test_ascend_computes_few_kinds_of_models_itself() -> None:
    assert support.runs_well_on_cann("qwen3", ("F32", "Q8_0"))
    assert not support.runs_well_on_cann("qwen3", ("F32", "Q4_K"))
    assert not support.runs_well_on_cann("qwen35", ("F32", "Q8_0"))
