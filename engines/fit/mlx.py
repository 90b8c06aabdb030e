"""The memory sum of a model under mlx-lm: weights from the tensor list, caches by the arithmetic of its cache classes.

Follows mlx-lm 0.32.2 (models/cache.py, generate.py, each model's `sanitize`) and mlx 0.32.4; weights and caches are
compared byte for byte with the real classes in the tests. Working space is an upper bound. Nothing here was measured on
a Mac: what is assumed says so. Imports no mlx.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from engines.base import KvType
from engines.errors import UnsupportedModelError
from engines.fit import support
from engines.fit.mlx_config import COVERED, KEY_LENGTH_KEY, MIXER_WIDTH_KEY, VALUE_BYTES_KEY, geometry_of_config
from engines.fit.values import CachePart, Geometry, MemoryParts, ModelFacts, Weights

__all__ = ["cache_bytes", "facts", "geometry_of_config", "kv_bits_of", "parts"]

CACHE_STEP_TOKENS = 256
"""`KVCache.step`: a cache grows by whole steps."""
QUANTIZED_FROM_TOKENS = 5000
"""`quantized_kv_start`: up to here a cache that will be quantized is kept in full."""
QUANTIZED_GROUP = 64
PREFILL_STEP_TOKENS = 2048
"""mlx-lm's own `prefill_step_size`; Snug may pass a smaller one."""

BUFFER_CACHE_BYTES = 256 * 1024 * 1024
"""Freed buffers that mlx keeps. Its own limit is the whole memory limit, so Snug's engine has to set this one
(mx.set_cache_limit); the fit counts on it."""
PROCESS_BYTES = 400 * 1024 * 1024
"""Interpreter, mlx, mlx-lm and transformers, Metal's own. Assumed: on Linux without Metal it was 65 MiB and more with a
tokenizer."""
VOCABULARY_ENTRY_BYTES = 600
"""A token in the tables of the `tokenizers` library with merges. 250 measured for words alone; the rest assumed."""
PAGE_BYTES = 16 * 1024
"""Metal gives a buffer of more than a page whole pages (mlx backend/metal/allocator.cpp)."""
PAGES_KEY = "mlx.page_rounding_bytes"
"""In `Geometry.extra`: what rounding up to pages adds to the weights."""

_STEPS_IN_FLIGHT = 4
"""Layers whose working space exists at once: mlx encodes ahead of the GPU, and buffers live until their commands are
done. Public peaks stand at about three (mlx-lm pull 1569: Qwen3-4B 4-bit, prompt of 2048: 3.30 GB)."""
_FUSED_HEADS = frozenset({64, 72, 80, 96, 128})
"""Head sizes for which Metal's attention writes no score matrix while a prompt is read; 256, though it has a kernel, is
sent the long way round (mlx backend/metal/scaled_dot_product_attention.cpp, use_fallback)."""

_LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,5})\.")
_EXPERTS = re.compile(r"\.(?:switch_mlp|switch_glu|experts)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:embed_tokens|embeddings|wte)\.(?:weight|scales|biases)$")
_LAZY_EMBEDDING = re.compile(r"(?:^|\.)embed_tokens_per_layer\.")
_OUTPUT = re.compile(r"(?:^|\.)lm_head\.")
_SHARED_CACHE = re.compile(r"layers\.(\d{1,5})\.self_attn\.(?:k_proj|v_proj|k_norm)")

_GEMMA4_DROPPED = (
    "vision_tower", "multi_modal_projector", "audio_tower", "embed_audio", "embed_vision", "vision_embedder",
)  # fmt: skip
_GEMMA4_DROPPED_INSIDE = ("self_attn.rotary_emb", "input_max", "input_min", "output_max", "output_min")


class Tensor(Protocol):
    """One stored tensor (engines.formats.safetensors.StoredTensor)."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def size_bytes(self) -> int: ...


class Folder(Protocol):
    """A model folder (engines.formats.mlx_folder.MlxFolder)."""

    @property
    def path(self) -> Path: ...
    @property
    def config(self) -> Mapping[str, object]: ...
    @property
    def tensors(self) -> Sequence[Tensor]: ...
    @property
    def file_bytes(self) -> int: ...


def facts(folder: Folder) -> ModelFacts:
    """The facts of a model folder.

    Raises: UnsupportedModelError for a model that mlx-lm does not run, with the reason, or that cannot be computed.
    """
    model_type = str(folder.config.get("model_type", ""))
    problem = support.problem_of_config(folder.config)
    if problem and model_type not in COVERED:
        title, _, advice = problem.partition(". ")
        raise UnsupportedModelError(f"{title}.", advice or "Choose another build of this model.", str(folder.path))
    geometry = geometry_of_config(folder.config)
    kept = [tensor for tensor in folder.tensors if not _is_dropped(tensor.name, folder.config)]
    parameters, active = _parameters(kept, folder.config, geometry)
    weights = _weights(kept, geometry)
    geometry.extra[PAGES_KEY] = sum(_rounded_up(tensor.size_bytes) - tensor.size_bytes for tensor in kept)
    return ModelFacts(
        name=folder.path.name,
        engine="mlx",
        quantization=_quantization(folder.config),
        geometry=geometry,
        weights=weights,
        file_bytes=folder.file_bytes,
        parameters=parameters,
        active_parameters=active,
        quantization_types=tuple(sorted({tensor.dtype for tensor in kept})),
        source="header",
        model_type=model_type,
        unsupported=problem,
    )


def kv_bits_of(kv_type: KvType) -> int | None:
    """`kv_bits` for a cache type; None: mlx-lm keeps the cache in the model's own type."""
    return {"q8_0": 8, "q4_0": 4}.get(kv_type)


def cache_bytes(geometry: Geometry, context_tokens: int, kv_bits: int | None = None) -> int:
    """What all caches hold after a prompt of `context_tokens` was read in steps of whole 256 tokens: their `nbytes`.

    A full cache has whole steps. A window keeps what was read until it is full, with up to a step in advance (a cell
    less where the last step of the prompt is a single token). A quantized one has `kv_bits` per value, and scale and
    bias per group; before `QUANTIZED_FROM_TOKENS` it is not quantized yet.
    """
    is_quantized = kv_bits is not None and context_tokens >= QUANTIZED_FROM_TOKENS
    return sum(
        part.layers * _cells(part, context_tokens) * _cell_bytes(geometry, part, kv_bits if is_quantized else None)
        for part in geometry.caches
    )


def parts(
    facts: ModelFacts,
    context_tokens: int,
    *,
    kv_bits: int | None = None,
    prefill_step: int = PREFILL_STEP_TOKENS,
) -> MemoryParts:
    """The sum at its peak, with `context_tokens` in the cache and prompts read in steps of `prefill_step`.

    On unified memory all of it counts against the GPU's limit but the process itself.
    """
    geometry = facts.geometry
    step = max(1, min(prefill_step, context_tokens))
    return MemoryParts(
        weights_bytes=facts.weights.total_bytes + geometry.extra.get(PAGES_KEY, 0),
        context_bytes=_peak_cache_bytes(geometry, context_tokens, step, kv_bits),
        state_bytes=geometry.state_bytes,
        compute_bytes=_workspace_bytes(geometry, context_tokens, step, is_quantized=kv_bits is not None)
        + _growth_bytes(geometry, context_tokens, step, kv_bits)
        + BUFFER_CACHE_BYTES,
        output_bytes=4 * geometry.vocabulary * 4,  # logits and their logarithms, of this token and of the next
        vocabulary_bytes=VOCABULARY_ENTRY_BYTES * geometry.vocabulary,
        process_bytes=PROCESS_BYTES,
    )


def _cells(part: CachePart, tokens: int) -> int:
    if part.window_tokens is None:
        return _steps(tokens)
    return min(tokens + CACHE_STEP_TOKENS - 1, part.window_tokens)


def _steps(tokens: int) -> int:
    return -(-tokens // CACHE_STEP_TOKENS) * CACHE_STEP_TOKENS


def _cell_bytes(geometry: Geometry, part: CachePart, kv_bits: int | None) -> int:
    """One cell of one layer. Only full caches can be quantized (`RotatingKVCache.to_quantized` raises)."""
    values = part.key_width + part.value_width
    value_bytes = geometry.extra.get(VALUE_BYTES_KEY, 2)
    if kv_bits is None or part.window_tokens is not None:
        return values * value_bytes
    return values * kv_bits // 8 + values // QUANTIZED_GROUP * 2 * value_bytes


def _peak_cache_bytes(geometry: Geometry, tokens: int, step: int, kv_bits: int | None) -> int:
    """Windows are larger while a prompt is read (`max_size - 1 + step`), and a cache that will be quantized is in full
    until the first step that ends beyond the limit.
    """
    total = 0
    for part in geometry.caches:
        cells, cell_bytes = _cells(part, tokens), _cell_bytes(geometry, part, kv_bits)
        if part.window_tokens is not None:
            cells = max(cells, min(tokens, part.window_tokens - 1 + step))
            total += part.layers * cells * cell_bytes
            continue
        size = cells * cell_bytes
        if kv_bits is not None:
            in_full = _steps(min(tokens, QUANTIZED_FROM_TOKENS - 1 + step)) * _cell_bytes(geometry, part, None)
            size = max(size, in_full)
        total += part.layers * size
    return total


def _growth_bytes(geometry: Geometry, tokens: int, step: int, kv_bits: int | None) -> int:
    """A cache grows into a new buffer: old and new exist together, for the layers in flight. Later turns begin in the
    middle of a step, which can leave a step's worth of cells beside those in use.
    """
    heaviest, slack = 0, 0
    for part in geometry.caches:
        cell_bytes = _cell_bytes(geometry, part, None)
        if part.window_tokens is not None:
            heaviest = max(heaviest, min(tokens, part.window_tokens - 1 + step) * cell_bytes)
        else:
            if kv_bits is not None and tokens > QUANTIZED_FROM_TOKENS - 1 + step:
                grown = tokens * _cell_bytes(geometry, part, kv_bits)
                grown = max(grown, (QUANTIZED_FROM_TOKENS - 1 + step) * cell_bytes)
            else:
                grown = tokens * cell_bytes
            heaviest = max(heaviest, grown)
            slack += part.layers * (step + CACHE_STEP_TOKENS) * cell_bytes
    return _STEPS_IN_FLIGHT * heaviest + slack


def _workspace_bytes(geometry: Geometry, tokens: int, step: int, *, is_quantized: bool) -> int:
    """Activations of the layers in flight while a step of the prompt is read, and their attention scores where no
    kernel works without writing them down. Upper bound; facts/fit.md A.9 has the proportions.
    """
    value_bytes = geometry.extra.get(VALUE_BYTES_KEY, 2)
    head = geometry.extra.get(KEY_LENGTH_KEY, 0)
    widest_cache = max((part.key_width + part.value_width for part in geometry.caches), default=0)
    width = (
        6 * geometry.embedding_width
        + 2 * geometry.attention_heads * (head or geometry.embedding_width // max(1, geometry.attention_heads))
        + 2 * widest_cache
        + 3 * geometry.feed_forward_width
    )
    if geometry.experts:
        # Every token once for each of its experts on the way in, out, and weighted in F32.
        width += geometry.experts_used * geometry.embedding_width * 4
    layer = step * (width * value_bytes + geometry.extra.get(MIXER_WIDTH_KEY, 0) * 4)
    scores = 0
    for part in geometry.caches:
        cells = tokens if part.window_tokens is None else min(tokens, part.window_tokens - 1 + step)
        if is_quantized or head not in _FUSED_HEADS:
            scores = max(scores, geometry.attention_heads * step * cells * value_bytes)
        elif part.window_tokens is not None:
            scores = max(scores, step * cells)  # the mask of a window, a byte each
    return _STEPS_IN_FLIGHT * (layer + scores)


def _rounded_up(size_bytes: int) -> int:
    return size_bytes if size_bytes <= PAGE_BYTES else -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def _text(config: Mapping[str, object]) -> Mapping[str, object]:
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def _is_dropped(name: str, config: Mapping[str, object]) -> bool:
    """Whether mlx-lm leaves this tensor out when it loads the model (each model's `sanitize`)."""
    text = _text(config)
    is_tied_output = text.get("tie_word_embeddings") is True and name.endswith("lm_head.weight")
    match config.get("model_type"):
        case "qwen3_5" | "qwen3_5_moe":
            return name.startswith(("vision_tower", "model.visual")) or "mtp." in name
        case "gemma4" | "gemma4_text" | "gemma4_unified":
            bare = name.removeprefix("model.")
            if bare.startswith(_GEMMA4_DROPPED) or any(word in name for word in _GEMMA4_DROPPED_INSIDE):
                return True
            layers, shared = text.get("num_hidden_layers", 35), text.get("num_kv_shared_layers", 20)
            found = _SHARED_CACHE.search(name)
            return (
                found is not None
                and isinstance(layers, int)
                and isinstance(shared, int)
                and int(found[1]) >= layers - shared
            )
        case "nemotron_h":
            return name.startswith("mtp.")
        case "gpt_oss":
            return False
        case _:
            return is_tied_output or "rotary_emb.inv_freq" in name


def _weights(tensors: Sequence[Tensor], geometry: Geometry) -> Weights:
    sums: Counter[str] = Counter()
    layers: Counter[int] = Counter()
    for tensor in tensors:
        size = tensor.size_bytes
        sums["total"] += size
        layer = _LAYER.search(tensor.name)
        if layer is not None:
            layers[int(layer[1])] += size
        if _EXPERTS.search(tensor.name) is not None and geometry.experts:
            sums["experts"] += size
        elif _LAZY_EMBEDDING.search(tensor.name) is not None:
            sums["lazy"] += size
        elif _EMBEDDING.search(tensor.name) is not None:
            sums["embedding"] += size
        elif _OUTPUT.search(tensor.name) is not None:
            sums["output"] += size
    return Weights(
        total_bytes=sums["total"],
        exact=True,
        embedding_bytes=sums["embedding"],
        tied=sums["output"] == 0,
        lazy_bytes=sums["lazy"],
        expert_bytes=sums["experts"],
        layer_bytes=tuple(layers[layer] for layer in range(geometry.layers)),
    )


def _parameters(
    tensors: Sequence[Tensor], config: Mapping[str, object], geometry: Geometry
) -> tuple[int | None, int | None]:
    """All and active parameters, without scales and biases; None where a quantized tensor's bits are not known."""
    total, in_experts = 0, 0
    names = {tensor.name for tensor in tensors}
    for tensor in tensors:
        stem, _, kind = tensor.name.rpartition(".")
        if kind in {"scales", "biases"} and f"{stem}.weight" in names:
            continue
        count = 1
        for size in tensor.shape:
            count *= size
        if tensor.dtype == "U32":
            bits = _bits_of(stem, config)
            if bits is None:
                return None, None
            count = count * 32 // bits
        total += count
        if _EXPERTS.search(tensor.name) is not None:
            in_experts += count
    if not geometry.experts:
        return total, None
    return total, total - in_experts + in_experts * geometry.experts_used // geometry.experts


def _quantization_settings(config: Mapping[str, object]) -> Mapping[str, object]:
    for key in ("quantization", "quantization_config"):
        value = config.get(key)
        if isinstance(value, Mapping):
            return value
    return {}


def _bits_of(stem: str, config: Mapping[str, object]) -> int | None:
    settings = _quantization_settings(config)
    own = settings.get(stem)
    bits = own.get("bits") if isinstance(own, Mapping) else settings.get("bits")
    return bits if isinstance(bits, int) and not isinstance(bits, bool) and 0 < bits <= 32 else None


def _quantization(config: Mapping[str, object]) -> str:
    """How people call it: "4-bit", "MXFP4", or "not quantized"."""
    settings = _quantization_settings(config)
    mode, bits = settings.get("mode"), settings.get("bits")
    if isinstance(mode, str) and mode != "affine":
        return mode.upper()[:20]
    return f"{bits}-bit" if isinstance(bits, int) else "not quantized"
