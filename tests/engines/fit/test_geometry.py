"""The shape of a model from metadata. That the sums equal the engine's is tested in test_memory.py."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from engines.errors import UnsupportedModelError
from engines.fit.geometry import COVERED, from_metadata
from engines.fit.values import CachePart
from engines.formats.gguf import ArrayLength, Value

DENSE: Mapping[str, Value] = {
    "block_count": 32,
    "embedding_length": 4096,
    "feed_forward_length": 14336,
    "attention.head_count": 32,
    "attention.head_count_kv": 8,
    "context_length": 131072,
    "vocabulary": 128256,
}


def test_a_dense_model_caches_every_layer() -> None:
    geometry = from_metadata("llama", DENSE)
    assert geometry.caches == (CachePart(name="full", layers=32, key_width=1024, value_width=1024),)
    assert (geometry.layers, geometry.vocabulary, geometry.trained_context_tokens) == (32, 128256, 131072)
    assert not geometry.needs_checkpoints


def test_a_pattern_tells_window_layers_from_full_ones() -> None:
    pattern = tuple((layer + 1) % 6 != 0 for layer in range(30))
    geometry = from_metadata(
        "gemma4",
        {
            **DENSE,
            "block_count": 30,
            "attention.key_length": 512,
            "attention.value_length": 512,
            "attention.key_length_swa": 256,
            "attention.value_length_swa": 256,
            "attention.head_count_kv": tuple(2 if not windowed else 8 for windowed in pattern),
            "attention.sliding_window": 1024,
            "attention.sliding_window_pattern": pattern,
        },
    )
    assert set(geometry.caches) == {
        CachePart(name="window", layers=25, key_width=2048, value_width=2048, window_tokens=1024),
        CachePart(name="full", layers=5, key_width=1024, value_width=1024),
    }


def test_layers_that_share_a_cache_own_none() -> None:
    shared = {**DENSE, "attention.sliding_window": 512, "attention.shared_kv_layers": 18, "block_count": 42}
    pattern = tuple((layer + 1) % 6 != 0 for layer in range(42))
    geometry = from_metadata("gemma4", {**shared, "attention.sliding_window_pattern": pattern})
    assert sum(part.layers for part in geometry.caches) == 24


@pytest.mark.parametrize(("architecture", "period"), [("gemma3", 6), ("gpt-oss", 2)])
def test_a_pattern_that_is_compiled_into_the_engine_is_known(architecture: str, period: int) -> None:
    geometry = from_metadata(architecture, {**DENSE, "block_count": 24, "attention.sliding_window": 128})
    full = sum(part.layers for part in geometry.caches if part.name == "full")
    assert full == 24 // period


def test_a_hybrid_caches_its_attention_layers_and_keeps_a_state_for_the_others() -> None:
    geometry = from_metadata(
        "qwen35moe",
        {
            **DENSE,
            "block_count": 40,
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
        },
    )
    assert geometry.caches == (CachePart(name="full", layers=10, key_width=512, value_width=512),)
    assert geometry.state_bytes == 30 * 4 * (3 * (4096 + 2 * 16 * 128) + 128 * 4096)
    assert geometry.needs_checkpoints
    # 20,480 bytes a token (facts/models.md 1.2)
    assert sum(part.layers * (part.key_width + part.value_width) * 2 for part in geometry.caches) == 20_480


def test_deepseek_v4_caches_keys_in_four_ways_and_takes_only_f16() -> None:
    geometry = from_metadata(
        "deepseek4",
        {
            **DENSE,
            "block_count": 43,
            "attention.head_count_kv": 1,
            "attention.key_length": 512,
            "attention.value_length": 512,
            "attention.sliding_window": 128,
            "attention.compress_ratios": (0, 0) + (4, 128) * 20 + (4,),
            "attention.indexer.key_length": 128,
        },
    )
    per_token = sum(
        part.layers * part.key_width * 2 / part.divisor for part in geometry.caches if part.window_tokens is None
    )
    assert per_token == 6_880  # facts/models.md 1.2
    assert geometry.only_f16_cache and geometry.needs_checkpoints
    assert all(part.value_width == 0 for part in geometry.caches)


def test_nemotron_layers_without_attention_cache_nothing() -> None:
    kinds = "MEM*"
    geometry = from_metadata(
        "nemotron_h_moe",
        {
            **DENSE,
            "block_count": 4,
            "attention.head_count_kv": tuple(2 if kind == "*" else 0 for kind in kinds),
            "feed_forward_length": tuple(1856 if kind == "E" else 0 for kind in kinds),
            "attention.key_length": 128,
            "attention.value_length": 128,
            "ssm.conv_kernel": 4,
            "ssm.inner_size": 4096,
            "ssm.state_size": 128,
            "ssm.group_count": 8,
        },
    )
    assert geometry.caches == (CachePart(name="full", layers=1, key_width=256, value_width=256),)
    assert geometry.state_bytes == 2 * 4 * (3 * (4096 + 2 * 8 * 128) + 128 * 4096)


@pytest.mark.parametrize("key", ["block_count", "embedding_length"])
def test_a_missing_key_is_said_and_never_guessed(key: str) -> None:
    metadata = {name: value for name, value in DENSE.items() if name != key}
    with pytest.raises(UnsupportedModelError) as caught:
        from_metadata("llama", metadata)
    assert key in caught.value.details


@pytest.mark.parametrize("architecture", ["minimax-m3", "qwen4exp", "glm5-next", "falcon-h1", "of_tomorrow", ""])
def test_architectures_with_caches_of_their_own_are_left_to_the_engine(architecture: str) -> None:
    assert architecture not in COVERED
    with pytest.raises(UnsupportedModelError):
        from_metadata(architecture, DENSE)


def test_senseless_values_are_errors_and_nothing_else() -> None:
    """Whatever a hostile header says: a geometry with sane figures, or one clear error."""
    chance = random.Random(7)
    senseless: list[Value] = [0, -1, 1 << 62, True, "32", 0.5, (), (1, 2, "x"), ArrayLength(10**9), (1 << 50,) * 4]
    architectures = ["llama", "gemma4", "gpt-oss", "qwen35moe", "nemotron_h_moe", "deepseek4", "deepseek2", "rwkv6"]
    keys = [
        *DENSE, "attention.key_length", "attention.sliding_window", "attention.sliding_window_pattern",
        "attention.compress_ratios", "attention.indexer.key_length", "nextn_predict_layers", "ssm.conv_kernel",
        "ssm.state_size", "full_attention_interval", "attention.shared_kv_layers", "attention.recurrent_layers",
    ]  # fmt: skip
    errors = 0
    for _ in range(3000):
        metadata = dict(DENSE)
        for key in chance.sample(keys, 3):
            metadata[key] = chance.choice(senseless)
        try:
            geometry = from_metadata(chance.choice(architectures), metadata)
        except UnsupportedModelError:
            errors += 1
            continue
        assert 0 < geometry.layers <= 4096
        assert geometry.state_bytes >= 0
        assert all(part.key_width >= 0 and part.value_width >= 0 and part.layers > 0 for part in geometry.caches)
    assert 0 < errors < 3000
