"""Metadata of models of real size, as GGUF keys without the architecture's prefix, for `record.py`. Data only.

From published configurations as far as public sources had them (facts/models.md 1.2; models of llama.cpp's own source);
what matters here is that the engine builds a model of this shape and says what it would allocate.
"""

from __future__ import annotations

from typing import Any

_GEMMA4: dict[str, Any] = {
    "vocab_size": 262144,
    "attention.key_length": 512,
    "attention.value_length": 512,
    "attention.key_length_swa": 256,
    "attention.value_length_swa": 256,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "final_logit_softcapping": 30.0,
    "embedding_length_per_layer_input": 0,
    "rope.dimension_count": 512,
    "rope.dimension_count_swa": 256,
}
_QWEN35: dict[str, Any] = {
    "vocab_size": 248320,
    "context_length": 262144,
    "attention.key_length": 256,
    "attention.value_length": 256,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.dimension_count": 64,
    "rope.dimension_sections": [11, 11, 10, 0],
    "full_attention_interval": 4,
    "ssm.conv_kernel": 4,
    "ssm.state_size": 128,
    "ssm.group_count": 16,
    "ssm.time_step_rank": 32,
    "ssm.inner_size": 4096,
}
_GPT_OSS: dict[str, Any] = {
    "vocab_size": 201088,
    "context_length": 131072,
    "embedding_length": 2880,
    "feed_forward_length": 2880,
    "attention.head_count": 64,
    "attention.head_count_kv": 8,
    "attention.key_length": 64,
    "attention.value_length": 64,
    "attention.sliding_window": 128,
    "expert_used_count": 4,
    "expert_feed_forward_length": 2880,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
_QWEN3: dict[str, Any] = {
    "vocab_size": 151936,
    "context_length": 262144,
    "attention.key_length": 128,
    "attention.value_length": 128,
    "attention.layer_norm_rms_epsilon": 1e-6,
}
_NEMOTRON_LAYERS = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"

_DEEPSEEK3: dict[str, Any] = {
    "vocab_size": 129280, "context_length": 163840, "embedding_length": 7168, "block_count": 61,
    "feed_forward_length": 18432, "attention.head_count": 128, "attention.head_count_kv": 1,
    "attention.key_length": 576, "attention.value_length": 512, "attention.key_length_mla": 192,
    "attention.value_length_mla": 128, "attention.q_lora_rank": 1536, "attention.kv_lora_rank": 512,
    "rope.dimension_count": 64, "leading_dense_block_count": 3, "expert_count": 256, "expert_used_count": 8,
    "expert_feed_forward_length": 2048, "expert_shared_count": 1, "expert_gating_func": 2, "expert_group_count": 8,
    "expert_group_used_count": 4, "expert_weights_scale": 2.5, "expert_weights_norm": True,
    "attention.layer_norm_rms_epsilon": 1e-6,
}  # fmt: skip


def _every_sixth_is_full(layers: int) -> list[bool]:
    return [(layer + 1) % 6 != 0 for layer in range(layers)]


def _every_fifth_is_full(layers: int) -> list[bool]:
    return [(layer + 1) % 5 != 0 for layer in range(layers)]


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-3.1-8b": ("llama", {
        "vocab_size": 128256, "context_length": 131072, "embedding_length": 4096, "block_count": 32,
        "feed_forward_length": 14336, "attention.head_count": 32, "attention.head_count_kv": 8,
        "rope.dimension_count": 128, "attention.layer_norm_rms_epsilon": 1e-5,
    }),
    "qwen3-0.6b": ("qwen3", _QWEN3 | {
        "embedding_length": 1024, "block_count": 28, "feed_forward_length": 3072, "attention.head_count": 16,
        "attention.head_count_kv": 8,
    }),
    "qwen3-8b": ("qwen3", _QWEN3 | {
        "embedding_length": 4096, "block_count": 36, "feed_forward_length": 12288, "attention.head_count": 32,
        "attention.head_count_kv": 8,
    }),
    "qwen3-30b-a3b": ("qwen3moe", _QWEN3 | {
        "embedding_length": 2048, "block_count": 48, "feed_forward_length": 6144, "attention.head_count": 32,
        "attention.head_count_kv": 4, "expert_count": 128, "expert_used_count": 8, "expert_feed_forward_length": 768,
    }),
    "gemma-3-12b": ("gemma3", {
        "vocab_size": 262208, "context_length": 131072, "embedding_length": 3840, "block_count": 48,
        "feed_forward_length": 15360, "attention.head_count": 16, "attention.head_count_kv": 8,
        "attention.key_length": 256, "attention.value_length": 256, "attention.sliding_window": 1024,
        "attention.layer_norm_rms_epsilon": 1e-6,
    }),
    "gemma-4-e2b": ("gemma4", _GEMMA4 | {
        "context_length": 131072, "embedding_length": 1536, "block_count": 35,
        "feed_forward_length": [6144] * 15 + [12288] * 20, "attention.head_count": 8, "attention.head_count_kv": 1,
        "attention.sliding_window": 512, "attention.sliding_window_pattern": _every_fifth_is_full(35),
        "attention.shared_kv_layers": 20, "embedding_length_per_layer_input": 256,
    }),
    "gemma-4-e4b": ("gemma4", _GEMMA4 | {
        "context_length": 131072, "embedding_length": 2560, "block_count": 42, "feed_forward_length": 10240,
        "attention.head_count": 8, "attention.head_count_kv": 2, "attention.sliding_window": 512,
        "attention.sliding_window_pattern": _every_sixth_is_full(42), "attention.shared_kv_layers": 18,
        "embedding_length_per_layer_input": 256,
    }),
    "gemma-4-12b": ("gemma4", _GEMMA4 | {
        "context_length": 131072, "embedding_length": 3840, "block_count": 48, "feed_forward_length": 15360,
        "attention.head_count": 16, "attention.head_count_kv": [8, 8, 8, 8, 8, 1] * 8,
        "attention.sliding_window": 1024, "attention.sliding_window_pattern": _every_sixth_is_full(48),
    }),
    "gemma-4-26b-a4b": ("gemma4", _GEMMA4 | {
        "context_length": 262144, "embedding_length": 2816, "block_count": 30, "feed_forward_length": 2112,
        "attention.head_count": 16, "attention.head_count_kv": [8, 8, 8, 8, 8, 2] * 5,
        "attention.sliding_window": 1024, "attention.sliding_window_pattern": _every_sixth_is_full(30),
        "expert_count": 128, "expert_used_count": 8, "expert_feed_forward_length": 704,
    }),
    "gemma-4-31b": ("gemma4", _GEMMA4 | {
        "context_length": 262144, "embedding_length": 5376, "block_count": 60, "feed_forward_length": 21504,
        "attention.head_count": 32, "attention.head_count_kv": [16, 16, 16, 16, 16, 4] * 10,
        "attention.sliding_window": 1024, "attention.sliding_window_pattern": _every_sixth_is_full(60),
    }),
    "gpt-oss-20b": ("gpt-oss", _GPT_OSS | {"block_count": 24, "expert_count": 32}),
    "gpt-oss-120b": ("gpt-oss", _GPT_OSS | {"block_count": 36, "expert_count": 128}),
    "qwen3.5-4b": ("qwen35", _QWEN35 | {
        "embedding_length": 2560, "block_count": 32, "feed_forward_length": 9216, "attention.head_count": 16,
        "attention.head_count_kv": 4,
    }),
    "qwen3.5-9b": ("qwen35", _QWEN35 | {
        "embedding_length": 4096, "block_count": 32, "feed_forward_length": 12288, "attention.head_count": 16,
        "attention.head_count_kv": 4,
    }),
    "qwen3.6-27b": ("qwen35", _QWEN35 | {
        "embedding_length": 5120, "block_count": 64, "feed_forward_length": 17408, "attention.head_count": 24,
        "attention.head_count_kv": 4, "ssm.time_step_rank": 48, "ssm.inner_size": 6144,
    }),
    "qwen3.6-35b-a3b": ("qwen35moe", _QWEN35 | {
        "embedding_length": 2048, "block_count": 40, "feed_forward_length": 512, "attention.head_count": 16,
        "attention.head_count_kv": 2, "expert_count": 256, "expert_used_count": 8,
        "expert_feed_forward_length": 512, "expert_shared_feed_forward_length": 512,
    }),
    "nemotron-3-nano-30b-a3b": ("nemotron_h_moe", {
        "vocab_size": 131072, "context_length": 1048576, "embedding_length": 2688, "block_count": 52,
        "attention.head_count": 32, "attention.head_count_kv": [2 if kind == "*" else 0 for kind in _NEMOTRON_LAYERS],
        "feed_forward_length": [1856 if kind == "E" else 0 for kind in _NEMOTRON_LAYERS],
        "attention.key_length": 128, "attention.value_length": 128, "expert_count": 128, "expert_used_count": 6,
        "expert_feed_forward_length": 1856, "expert_shared_feed_forward_length": 3712, "expert_shared_count": 1,
        "expert_weights_norm": True, "expert_weights_scale": 2.5, "expert_group_count": 1,
        "expert_group_used_count": 1, "attention.layer_norm_epsilon": 1e-5, "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 128, "ssm.conv_kernel": 4, "ssm.inner_size": 4096, "ssm.state_size": 128,
        "ssm.group_count": 8, "ssm.time_step_rank": 64,
    }),
    "deepseek-v4-flash": ("deepseek4", {
        "vocab_size": 129280, "context_length": 1048576, "embedding_length": 4096, "block_count": 43,
        "feed_forward_length": 2048, "attention.head_count": 64, "attention.head_count_kv": 1,
        "attention.key_length": 512, "attention.value_length": 512, "attention.q_lora_rank": 1024,
        "rope.dimension_count": 64, "attention.sliding_window": 128, "expert_count": 256, "expert_used_count": 6,
        "expert_feed_forward_length": 2048, "expert_shared_count": 1, "expert_gating_func": 4,
        "expert_weights_scale": 1.5, "expert_weights_norm": True, "swiglu_clamp_exp": 10.0,
        "attention.indexer.head_count": 64, "attention.indexer.key_length": 128, "attention.indexer.top_k": 512,
        "attention.output_group_count": 8, "attention.output_lora_rank": 1024,
        "attention.compress_rope_freq_base": 160000.0, "attention.compress_ratios": [0, 0] + [4, 128] * 20 + [4],
        "hyper_connection.count": 4, "hyper_connection.sinkhorn_iterations": 20, "hyper_connection.epsilon": 1e-6,
        # Its first three layers route by a table of token ids, which a model without a vocabulary cannot have.
        "hash_layer_count": 0, "attention.layer_norm_rms_epsilon": 1e-6,
    }),
    "gemma-3-27b": ("gemma3", {
        "vocab_size": 262208, "context_length": 131072, "embedding_length": 5376, "block_count": 62,
        "feed_forward_length": 21504, "attention.head_count": 32, "attention.head_count_kv": 16,
        "attention.key_length": 128, "attention.value_length": 128, "attention.sliding_window": 1024,
        "attention.layer_norm_rms_epsilon": 1e-6,
    }),
    "llama-4-scout": ("llama4", {
        "vocab_size": 202048, "context_length": 10485760, "embedding_length": 5120, "block_count": 48,
        "feed_forward_length": 16384, "attention.head_count": 40, "attention.head_count_kv": 8,
        "attention.key_length": 128, "attention.value_length": 128, "rope.dimension_count": 128, "expert_count": 16,
        "expert_used_count": 1, "expert_feed_forward_length": 8192, "interleave_moe_layer_step": 1,
        "attention.layer_norm_rms_epsilon": 1e-5,
    }),
    "deepseek-v3": ("deepseek2", _DEEPSEEK3),
    "deepseek-v3.2": ("deepseek32", _DEEPSEEK3 | {
        "attention.indexer.head_count": 64, "attention.indexer.key_length": 128, "attention.indexer.top_k": 2048,
    }),
    "qwen3-next-80b-a3b": ("qwen3next", {
        "vocab_size": 151936, "context_length": 262144, "embedding_length": 2048, "block_count": 48,
        "feed_forward_length": 5120, "attention.head_count": 16, "attention.head_count_kv": 2,
        "attention.key_length": 256, "attention.value_length": 256, "rope.dimension_count": 64, "expert_count": 512,
        "expert_used_count": 10, "expert_feed_forward_length": 512, "expert_shared_feed_forward_length": 512,
        "ssm.conv_kernel": 4, "ssm.inner_size": 4096, "ssm.state_size": 128, "ssm.group_count": 16,
        "ssm.time_step_rank": 32, "attention.layer_norm_rms_epsilon": 1e-6,
    }),
}  # fmt: skip
