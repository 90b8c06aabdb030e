"""The shape of a model from config.json: published models by their known figures, and the same model in both forms."""

from __future__ import annotations

from typing import Any

import pytest

from engines.errors import UnsupportedModelError
from engines.fit import mlx_config
from engines.fit.geometry import from_metadata
from engines.fit.known_models import MLX_MODEL_TYPES
from engines.fit.mlx_config import geometry_of_config
from engines.fit.values import CachePart, Geometry
from engines.formats.gguf import Value

GEMMA_26B = {
    "model_type": "gemma4",
    "vocab_size": 262_144,
    "text_config": {
        "hidden_size": 2816,
        "intermediate_size": 2112,
        "num_hidden_layers": 30,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "num_global_key_value_heads": 2,
        "attention_k_eq_v": True,
        "head_dim": 256,
        "global_head_dim": 512,
        "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 0,
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
        "enable_moe_block": True,
        "num_experts": 128,
        "top_k_experts": 8,
        "moe_intermediate_size": 704,
        "max_position_embeddings": 262_144,
    },
}
GEMMA_26B_GGUF: dict[str, Value] = {
    "block_count": 30,
    "embedding_length": 2816,
    "feed_forward_length": 2112,
    "attention.head_count": 16,
    "attention.head_count_kv": tuple([8, 8, 8, 8, 8, 2] * 5),
    "attention.key_length": 512,
    "attention.value_length": 512,
    "attention.key_length_swa": 256,
    "attention.value_length_swa": 256,
    "attention.sliding_window": 1024,
    "attention.sliding_window_pattern": tuple([True] * 5 + [False]) * 5,
    "attention.shared_kv_layers": 0,
    "expert_count": 128,
    "expert_used_count": 8,
    "expert_feed_forward_length": 704,
    "context_length": 262_144,
    "vocabulary": 262_144,
}
QWEN36_35B = {
    "model_type": "qwen3_5_moe",
    "text_config": {
        "hidden_size": 2048,
        "num_hidden_layers": 40,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "linear_num_value_heads": 32,
        "linear_num_key_heads": 16,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "full_attention_interval": 4,
        "num_experts": 256,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
        "vocab_size": 248_320,
        "max_position_embeddings": 262_144,
    },
}
QWEN36_35B_GGUF: dict[str, Value] = {
    "block_count": 40,
    "embedding_length": 2048,
    "attention.head_count": 16,
    "attention.head_count_kv": 2,
    "attention.key_length": 256,
    "attention.value_length": 256,
    "full_attention_interval": 4,
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 4096,
    "ssm.state_size": 128,
    "ssm.group_count": 16,
    "expert_count": 256,
    "expert_used_count": 8,
    "expert_feed_forward_length": 512,
    "expert_shared_feed_forward_length": 512,
    "context_length": 262_144,
    "vocabulary": 248_320,
}
GPT_OSS_20B = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "sliding_window": 128,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "vocab_size": 201_088,
    "max_position_embeddings": 131_072,
}
GPT_OSS_20B_GGUF: dict[str, Value] = {
    "block_count": 24,
    "embedding_length": 2880,
    "attention.head_count": 64,
    "attention.head_count_kv": 8,
    "attention.key_length": 64,
    "attention.value_length": 64,
    "attention.sliding_window": 128,
    "expert_count": 32,
    "expert_used_count": 4,
    "expert_feed_forward_length": 2880,
    "context_length": 131_072,
    "vocabulary": 201_088,
}
NEMOTRON_NANO = {
    "model_type": "nemotron_h",
    "hidden_size": 2688,
    "intermediate_size": 1856,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "conv_kernel": 4,
    "n_routed_experts": 128,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 1856,
    "moe_shared_expert_intermediate_size": 3712,
    "vocab_size": 131_072,
    "max_position_embeddings": 262_144,
}


def growth(geometry: Geometry) -> tuple[int, int]:
    """Bytes per token of the full caches, and per position of the windows, at two bytes a value."""
    full = sum(
        part.layers * (part.key_width + part.value_width) * 2 for part in geometry.caches if part.window_tokens is None
    )
    windows = sum(
        part.layers * (part.key_width + part.value_width) * 2 for part in geometry.caches if part.window_tokens
    )
    return full, windows


@pytest.mark.parametrize(
    ("config", "full", "windows"),
    [
        (GEMMA_26B, 20_480, 204_800),
        (QWEN36_35B, 20_480, 0),
        (GPT_OSS_20B, 24_576, 24_576),
        (NEMOTRON_NANO, 6_144, 0),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else None,
)
def test_cache_of_published_models_costs_what_is_known(config: dict[str, Any], full: int, windows: int) -> None:
    """facts/models.md 1.2, which agrees with reports from the field."""
    assert growth(geometry_of_config(config)) == (full, windows)


@pytest.mark.parametrize(
    ("config", "architecture", "metadata"),
    [
        (GEMMA_26B, "gemma4", GEMMA_26B_GGUF),
        (QWEN36_35B, "qwen35moe", QWEN36_35B_GGUF),
        (GPT_OSS_20B, "gpt-oss", GPT_OSS_20B_GGUF),
    ],
    ids=["gemma4", "qwen35moe", "gpt-oss"],
)
def test_same_model_has_the_same_shape_in_both_forms(
    config: dict[str, Any], architecture: str, metadata: dict[str, Value]
) -> None:
    ours, other = geometry_of_config(config), from_metadata(architecture, metadata)

    def sorted_caches(geometry: Geometry) -> list[CachePart]:
        return sorted(geometry.caches, key=lambda part: (part.name, part.key_width))

    assert sorted_caches(ours) == sorted_caches(other)
    for name in (
        "layers", "embedding_width", "vocabulary", "trained_context_tokens", "attention_heads", "experts",
        "experts_used", "needs_checkpoints",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(other, name), name
    assert ours.state_bytes <= other.state_bytes, "MLX keeps the convolution's state in two bytes a value"
    assert ours.state_bytes >= 0.95 * other.state_bytes


def test_state_of_qwen3_next_is_the_measured_one() -> None:
    """facts/fit.md A.9: 77,266,944 bytes for Qwen3-Next 80B, measured with mlx-lm (the same layers, 36 of 48)."""
    text = {
        "num_hidden_layers": 48,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "hidden_size": 2048,
        "num_attention_heads": 16,
        "linear_num_value_heads": 32,
        "linear_num_key_heads": 16,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "vocab_size": 151_936,
    }
    assert geometry_of_config({"model_type": "qwen3_5", "text_config": text}).state_bytes == 77_266_944


def test_shared_layers_of_gemma_have_no_cache() -> None:
    text = {
        "hidden_size": 2560,
        "num_hidden_layers": 42,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "num_kv_shared_layers": 18,
        "sliding_window_pattern": 6,
    }
    geometry = geometry_of_config({"model_type": "gemma4", "text_config": text})
    assert sum(part.layers for part in geometry.caches) == 24
    assert growth(geometry) == (16_384, 40_960)
    assert geometry.vocabulary == 262_144, "the default of mlx-lm"
    assert geometry.feed_forward_width == 2 * 6144, "layers that share are twice as wide"


def test_types_of_layers_win_over_the_pattern() -> None:
    types = ["full_attention"] * 20 + ["sliding_attention"] * 10
    geometry = geometry_of_config({**GEMMA_26B, "text_config": {**_text(GEMMA_26B), "layer_types": types}})
    assert {part.name: part.layers for part in geometry.caches} == {"full": 20, "window": 10}


def test_nemotron_pattern_may_be_a_list_of_names() -> None:
    names = {"M": "mamba", "*": "attention", "E": "moe"}
    pattern = [names[letter] for letter in str(NEMOTRON_NANO["hybrid_override_pattern"])]
    config = {key: value for key, value in NEMOTRON_NANO.items() if key != "hybrid_override_pattern"}
    assert geometry_of_config({**config, "layers_block_type": pattern}) == geometry_of_config(NEMOTRON_NANO)
    with pytest.raises(UnsupportedModelError):
        geometry_of_config({**config, "layers_block_type": ["mamba", "telepathy"]})
    with pytest.raises(UnsupportedModelError):
        geometry_of_config(config)


def test_values_of_a_float32_model_are_twice_as_large() -> None:
    wide, narrow = geometry_of_config({**QWEN36_35B, "dtype": "float32"}), geometry_of_config(QWEN36_35B)
    assert wide.extra[mlx_config.VALUE_BYTES_KEY] == 4
    assert narrow.extra[mlx_config.VALUE_BYTES_KEY] == 2
    assert wide.state_bytes > narrow.state_bytes


def test_what_is_covered_is_known_to_mlx() -> None:
    assert mlx_config.COVERED <= MLX_MODEL_TYPES


def _text(config: dict[str, Any]) -> dict[str, Any]:
    inner = config["text_config"]
    assert isinstance(inner, dict)
    return inner


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": None},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": "many"},
        {"num_attention_heads": 0},
        {"num_attention_heads": True},
        {"hidden_size": -1},
        {"vocab_size": 1 << 60},
        {"layer_types": 3},
        {"layer_types": ["full_attention"]},
        {"head_dim": 2.5},
    ],
    ids=str,
)
def test_senseless_figures_are_refused(change: dict[str, object]) -> None:
    config = {"model_type": "gemma4_text", "vocab_size": 1000, **_text(GEMMA_26B), **change}
    with pytest.raises(UnsupportedModelError) as caught:
        geometry_of_config(config)
    assert caught.value.title.endswith(".")
    assert len(caught.value.details) < 300


@pytest.mark.parametrize("config", [{}, {"model_type": 3}, {"model_type": "rwkv7"}, {"model_type": "x" * 10_000}])
def test_unknown_types_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(UnsupportedModelError):
        geometry_of_config(config)
