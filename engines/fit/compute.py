"""Upper bounds of what llama.cpp allocates beside weights and caches: compute buffer, logits, vocabulary, process.

The compute buffer is the peak of the graph's living tensors, which only the scheduler knows: these formulas are fitted
to it from above. Each phase of a layer has a term, the largest phase counts, and no recorded plan of the engine lies
above the result (tests/data/fit/recorded_parts.json: 32 shapes of model, contexts from 2k to 128k, batches from 32 to
2048, CPU backend, llama.cpp 0c1e57098). The engine's own plan (`engines.dry_run`) is better where it can be had.
"""

from __future__ import annotations

from engines.base import KvType
from engines.fit.values import Geometry

_MIB = 1024 * 1024
_F32 = 4
_CELL_STEP = 256

PROCESS_BYTES = 54 * _MIB
"""The engine process before any model: interpreter and libraries (50 to 53 MiB measured, CPU build on Linux)."""

VOCABULARY_BASE_BYTES = 10 * _MIB
VOCABULARY_BYTES_PER_TOKEN = 125
"""Tables of tokens, ranks and merges. Measured: 16.3 MiB at 49,152 tokens, 41.4 MiB at 262,144 (facts/fit.md A.8)."""

_LOOP_BYTES = 12 * _MIB
"""Snug's loop with template, prompt and samplers, and what llama.cpp keeps beside its graph (measured: 2 to 10 MiB)."""
_BYTES_PER_NODE = 900
"""Room that is set aside for one node of a graph, in three graphs and the scheduler (measured: 830 to 870)."""
_LARGE_GRAPHS: dict[str, int] = {
    # Tensors per layer, rounded up. These get room for 32 nodes a tensor, or 40 a token of the batch, others for 8 a
    # tensor (llama-context.cpp, graph_max_nodes).
    "qwen3next": 20, "qwen35": 16, "qwen35moe": 22, "kimi-linear": 24, "deepseek4": 33,
}  # fmt: skip
_TENSORS_PER_LAYER = 22

_FIXED_BYTES = _MIB
"""Inputs, routing tables and the gaps that the allocator leaves in small graphs."""
_GAPS_SHARE = 32
_GAPS_SHARE_OF_GEMMA4 = 8
"""Where layers differ in size the allocator leaves gaps: in Gemma 4 of up to an eighth."""

_UNQUANTIZED: tuple[KvType, ...] = ("f32", "f16", "bf16")
_INDEXED_ARCHITECTURES = frozenset({"deepseek32", "glm-dsa"})
_DELTA_NET_ARCHITECTURES = frozenset({"qwen3next", "qwen35", "qwen35moe"})
_UNGATED_EXPERTS = frozenset({"nemotron_h", "nemotron_h_moe"})
_INDEXER_BYTES_PER_TOKEN = 10


def compute_bytes(
    geometry: Geometry, *, context_tokens: int, batch_tokens: int, flash_attention: bool, kv_type: KvType
) -> int:
    """The compute buffer of one context, in bytes, all layers on one device. Never below the engine's own plan for
    the recorded shapes, and at most a quarter or 64 MiB above it for those of the catalogue.
    """
    batch = max(1, min(batch_tokens, context_tokens))
    fixed = _FIXED_BYTES + geometry.vocabulary * _F32
    if kv_type not in _UNQUANTIZED:
        # Keys and values are turned by a fixed matrix per head size before they are quantized (llama-kv-cache.cpp).
        fixed += 2 * geometry.extra.get("attention.key_length", _head_width(geometry)) ** 2 * _F32
    if geometry.architecture == "deepseek4":
        return fixed + batch * _compressed_attention_bytes(geometry, context_tokens, batch, flash_attention)
    cells = context_tokens + _window_cells(geometry, context_tokens, batch)
    attention = _attention_values(geometry) * _F32
    # With flash attention the mask is f16; without it is F32, and the scores of all heads lie beside it.
    mask = cells * (2 if flash_attention else _F32)
    if not flash_attention:
        attention += geometry.attention_heads * context_tokens * _F32
    if geometry.architecture in _INDEXED_ARCHITECTURES:
        mask += _INDEXER_BYTES_PER_TOKEN * context_tokens
    phases = max(attention, _feed_forward_values(geometry) * _F32)
    state_phase = _recurrent_values(geometry, batch) * _F32
    return fixed + batch * mask + max(batch * phases, state_phase)


def output_bytes(geometry: Geometry) -> int:
    """The buffer that logits are handed out in: one token's (`n_outputs_max` is 1)."""
    return geometry.vocabulary * _F32


def graph_bytes(geometry: Geometry, batch_tokens: int) -> int:
    """What stands in memory about the graph itself, and Snug's own loop, once a model is loaded."""
    per_layer = _LARGE_GRAPHS.get(geometry.architecture)
    if per_layer is None:
        nodes = max(1024, 8 * _TENSORS_PER_LAYER * geometry.layers)
    else:
        nodes = max(40 * batch_tokens, 32 * per_layer * geometry.layers)
    return _LOOP_BYTES + nodes * _BYTES_PER_NODE


def vocabulary_bytes(geometry: Geometry) -> int:
    """The tokenizer's tables."""
    return VOCABULARY_BASE_BYTES + VOCABULARY_BYTES_PER_TOKEN * geometry.vocabulary


def _window_cells(geometry: Geometry, context_tokens: int, batch: int) -> int:
    """Cells of the sliding window's cache, which has a mask of its own; 0 without one."""
    window = max((part.window_tokens or 0 for part in geometry.caches), default=0)
    if not window:
        return 0
    return -(-min(context_tokens, window + batch) // _CELL_STEP) * _CELL_STEP


def _feed_forward_values(geometry: Geometry) -> int:
    """Values per token that live at the widest point of a feed-forward part, per-layer embeddings with them."""
    extra = geometry.extra
    width, used = geometry.embedding_width, geometry.experts_used
    expert_width = extra.get("expert_feed_forward_length", 0)
    gates = 1 if geometry.architecture in _UNGATED_EXPERTS else 2
    experts = used * (2 * width + gates * expert_width) + width + extra.get("expert_shared_feed_forward_length", 0)
    # A model of experts may have dense layers, or a dense part beside them; some files give no width for that.
    is_pure_mixture = used > 0 and geometry.architecture in _UNGATED_EXPERTS
    dense = 0 if is_pure_mixture else 3 * geometry.feed_forward_width + 4 * width
    dense += _per_layer_embedding_values(geometry)
    if geometry.experts and "feed_forward_length" not in extra:
        dense = min(dense, experts)
    return max(experts if used else 0, dense + _gaps(geometry, dense)) + _head_width(geometry)


def _gaps(geometry: Geometry, values: int) -> int:
    if geometry.architecture == "gemma4":
        return values // _GAPS_SHARE_OF_GEMMA4
    return values // _GAPS_SHARE if any(part.window_tokens for part in geometry.caches) else 0


def _attention_values(geometry: Geometry) -> int:
    """Values per token at the widest point of attention, the scores apart."""
    queries = geometry.attention_heads * _head_width(geometry)
    keys = max((part.key_width for part in geometry.caches), default=0)
    copies = 4 if geometry.architecture in _DELTA_NET_ARCHITECTURES else 3  # those gate their attention
    if geometry.architecture in _INDEXED_ARCHITECTURES:
        copies = 5
    values = copies * queries + 3 * geometry.embedding_width + 4 * keys + 2 * _per_layer_embedding_values(geometry)
    return values + _gaps(geometry, values)


def _per_layer_embedding_values(geometry: Geometry) -> int:
    """Gemma E2B and E4B keep an embedding of each token for each layer."""
    return geometry.extra.get("embedding_length_per_layer_input", 0) * geometry.layers


def _head_width(geometry: Geometry) -> int:
    default = geometry.embedding_width // max(1, geometry.attention_heads)
    return max(
        geometry.extra.get("attention.key_length", default), geometry.extra.get("attention.value_length", default)
    )


def _recurrent_values(geometry: Geometry, batch: int) -> int:
    """Values at the widest point of a recurrent layer, for the whole batch: its states are read and written."""
    extra = geometry.extra
    inner, state, groups = (extra.get(f"ssm.{key}", 0) for key in ("inner_size", "state_size", "group_count"))
    if not inner:
        return 0
    convolved = inner + 2 * groups * state
    layer_state = inner * state + max(0, extra.get("ssm.conv_kernel", 0) - 1) * convolved
    if geometry.architecture in _DELTA_NET_ARCHITECTURES:
        return 2 * layer_state + batch * (3 * geometry.embedding_width + 6 * inner)
    projected = inner + convolved + extra.get("ssm.time_step_rank", 0)
    return layer_state + batch * 2 * (projected + convolved + inner)


def _compressed_attention_bytes(geometry: Geometry, context_tokens: int, batch: int, flash_attention: bool) -> int:
    """DeepSeek V4, per token of the batch: hyper-connections, compressed cells, their indexer's scores and masks."""
    heads = geometry.attention_heads
    queries = heads * _head_width(geometry)
    streams = geometry.extra.get("hyper_connection.count", 1) * geometry.embedding_width
    window = _window_cells(geometry, context_tokens, batch)
    values = 3 * queries + 11 * streams // 5
    total = values * _F32 + 11 * context_tokens // 4 + 8 * window
    if flash_attention:
        return total
    scores = heads * _F32 * (window + max(_CELL_STEP, context_tokens // 4))
    return total + scores + 9 * context_tokens // 4 + 4 * window
