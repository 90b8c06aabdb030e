"""The shape of a model from an MLX folder's config.json: which layers cache what. Follows mlx-lm 0.32.2.

The same values as `engines.fit.geometry` makes from GGUF metadata, with the model type as architecture. Sources: the
`make_cache` and the argument classes of mlx_lm/models/{qwen3_5,gemma4_text,nemotron_h,gpt_oss,llama,...}.py, defaults
included; checked byte for byte against mlx-lm itself in the tests. Does not judge whether mlx-lm knows a type: that is
`engines.fit.support`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engines.errors import UnsupportedModelError
from engines.fit.values import CachePart, Geometry

STATE_VALUE_BYTES = 4
"""Recurrent state is F32 (mlx_lm gated_delta.py, ssm.py); the convolution's is in the model's own type."""
VALUE_BYTES_KEY = "mlx.value_bytes"
"""In `Geometry.extra`: bytes of a value of activations and caches (2; 4 for a model in F32)."""
MIXER_WIDTH_KEY = "mlx.mixer_width"
"""In `Geometry.extra`: F32 values per token that a recurrent layer works with while a prompt is read."""
KEY_LENGTH_KEY = "attention.key_length"
"""In `Geometry.extra`, as in GGUF metadata: the largest head."""

_MAXIMUM_NUMBER = 1 << 40
_MAXIMUM_LAYERS = 4096
_WRAPPED = "text_config"

_PLAIN = frozenset(
    {"qwen2", "qwen3", "qwen3_moe", "mistral", "mixtral", "phi3", "smollm3", "seed_oss", "granite", "olmo2"}
)
"""A `KVCache` on every layer (their classes in mlx-lm have no `make_cache`)."""


@dataclass(slots=True)
class _Layers:
    """What was found, layer by layer: (key width, value width, window or None) of each cache, and recurrent state."""

    caches: list[tuple[int, int, int | None]] = field(default_factory=list)
    state_bytes: int = 0
    feed_forward_width: int = 0
    experts: int = 0
    experts_used: int = 0
    extra: dict[str, int] = field(default_factory=dict)


class _Config:
    """Reads numbers out of a config and refuses what cannot be one."""

    def __init__(self, config: Mapping[str, object], model_type: str) -> None:
        self.values = config
        self.model_type = model_type

    def number(self, key: str, default: int | None = None, *, minimum: int = 0) -> int:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise _not_covered(self.model_type, f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= _MAXIMUM_NUMBER:
            raise _not_covered(self.model_type, f"{key} is {str(value)[:80]}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.values.get(key, default)
        return value if isinstance(value, bool) else default

    def names(self, key: str) -> Sequence[str] | None:
        """A list of words (or a string, as a list of its letters), or None."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            value = list(value)
        if not isinstance(value, list) or len(value) > _MAXIMUM_LAYERS:
            raise _not_covered(self.model_type, f"{key} is no list of layers")
        return [str(name) for name in value]

    @property
    def layers(self) -> int:
        return self.number("num_hidden_layers", minimum=1)

    @property
    def heads(self) -> int:
        return self.number("num_attention_heads", minimum=1)

    def head_width(self, default: int | None = None) -> int:
        return self.number("head_dim", default or self.number("hidden_size", minimum=1) // self.heads, minimum=1)

    @property
    def value_bytes(self) -> int:
        name = self.values.get("dtype", self.values.get("torch_dtype"))
        return 4 if name == "float32" else 2


def geometry_of_config(config: Mapping[str, object]) -> Geometry:
    """The geometry of the text part of a model.

    Raises: UnsupportedModelError for a model type that these formulas do not describe, and for missing or senseless
    figures.
    """
    model_type = str(config.get("model_type", ""))
    read = _READERS.get(model_type)
    if read is None:
        raise _not_covered(model_type, "its caches are not described here")
    inner = config.get(_WRAPPED)
    text = _Config(inner if isinstance(inner, Mapping) else config, model_type)
    if text.values is not config:
        outer = {key: config[key] for key in ("dtype", "torch_dtype") if key in config}
        if model_type in {"gemma4", "gemma4_unified"}:
            outer["vocab_size"] = config.get("vocab_size", 262_144)
        text = _Config({**text.values, **outer}, model_type)
    if text.values.get("num_hidden_layers") is not None and text.layers > _MAXIMUM_LAYERS:
        raise _not_covered(model_type, f"{text.layers} layers")
    found = read(text)
    counted = Counter(found.caches)
    recurrent = found.state_bytes > 0
    return Geometry(
        architecture=model_type,
        layers=_layer_count(text),
        embedding_width=text.number("hidden_size", minimum=1),
        vocabulary=text.number("vocab_size", minimum=1),
        trained_context_tokens=text.number("max_position_embeddings", 0),
        caches=tuple(
            CachePart(
                name="full" if window is None else "window",
                layers=layers,
                key_width=key_width,
                value_width=value_width,
                window_tokens=window,
            )
            for (key_width, value_width, window), layers in counted.items()
        ),
        state_bytes=found.state_bytes,
        attention_heads=text.heads,
        feed_forward_width=found.feed_forward_width,
        experts=found.experts,
        experts_used=found.experts_used,
        needs_checkpoints=recurrent,
        extra={VALUE_BYTES_KEY: text.value_bytes, **found.extra},
    )


def _plain(text: _Config) -> _Layers:
    """Llama and its kin: keys and values of every layer; some with windows, some with experts."""
    heads = text.number("num_key_value_heads", text.heads, minimum=1)
    width = heads * text.head_width()
    found = _Layers(extra={KEY_LENGTH_KEY: text.head_width()})
    window = None
    types = text.names("layer_types") if text.model_type == "llama" else None
    if types is not None and any(kind != "full_attention" for kind in types):
        window = text.number("sliding_window", minimum=1)
    for layer in range(text.layers):
        is_window = types is not None and layer < len(types) and types[layer] != "full_attention"
        found.caches.append((width, width, window if is_window else None))
    experts = text.number("num_experts", text.number("num_local_experts", 0))
    used = text.number("num_experts_per_tok", 0) if experts else 0
    dense = text.number("intermediate_size", 0)
    found.experts, found.experts_used = experts, used
    found.feed_forward_width = max(dense, used * text.number("moe_intermediate_size", dense if experts else 0))
    return found


def _qwen35(text: _Config) -> _Layers:
    """Gated delta net on three layers of four: convolution state and a square F32 state per value head."""
    key_heads, value_heads = text.number("linear_num_key_heads", 16), text.number("linear_num_value_heads", 64)
    key_length, value_length = text.number("linear_key_head_dim", 192), text.number("linear_value_head_dim", 128)
    convolution_width = 2 * key_heads * key_length + value_heads * value_length
    kept = max(0, text.number("linear_conv_kernel_dim", 4) - 1)
    state = value_heads * value_length * key_length * STATE_VALUE_BYTES
    interval = text.number("full_attention_interval", 4, minimum=1)
    width = text.number("num_key_value_heads", 8, minimum=1) * text.head_width()
    mixer_width = 2 * convolution_width + 2 * value_heads * (key_length + value_length)
    found = _Layers(extra={KEY_LENGTH_KEY: text.head_width(), MIXER_WIDTH_KEY: mixer_width})
    for layer in range(text.layers):
        if (layer + 1) % interval:
            found.state_bytes += kept * convolution_width * text.value_bytes + state
        else:
            found.caches.append((width, width, None))
    found.experts = text.number("num_experts", 0)
    found.experts_used = text.number("num_experts_per_tok", 0) if found.experts else 0
    found.feed_forward_width = text.number("intermediate_size", 0)
    if found.experts:
        shared = text.number("shared_expert_intermediate_size", 0)
        found.feed_forward_width = found.experts_used * text.number("moe_intermediate_size", 0) + shared
    return found


def _gemma4(text: _Config) -> _Layers:
    """Windows and full layers with heads of different size; the last layers read the caches of earlier ones."""
    layers = text.number("num_hidden_layers", 35, minimum=1)
    shared = text.number("num_kv_shared_layers", 20)
    head, global_head = text.number("head_dim", 256, minimum=1), text.number("global_head_dim", 512)
    heads = text.number("num_key_value_heads", 1, minimum=1)
    global_heads = heads
    if text.flag("attention_k_eq_v", default=False):
        global_heads = text.number("num_global_key_value_heads", heads, minimum=1)
    period = text.number("sliding_window_pattern", 5, minimum=1)
    types = text.names("layer_types") or [
        "sliding_attention" if (layer + 1) % period else "full_attention" for layer in range(layers)
    ]
    if len(types) < layers:
        raise _not_covered(text.model_type, "layer_types is shorter than the layers")
    window = text.number("sliding_window", 512, minimum=1)
    found = _Layers(extra={KEY_LENGTH_KEY: max(head, global_head)})
    for kind in types[: max(0, layers - shared)]:
        is_full = kind == "full_attention"
        width = global_heads * (global_head or head) if is_full else heads * head
        found.caches.append((width, width, None if is_full else window))
    dense = text.number("intermediate_size", 6144)
    found.feed_forward_width = dense * (2 if shared and text.flag("use_double_wide_mlp", default=True) else 1)
    if text.flag("enable_moe_block", default=False):
        found.experts, found.experts_used = text.number("num_experts", 0), text.number("top_k_experts", 0)
        found.feed_forward_width += found.experts_used * text.number("moe_intermediate_size", 0)
    found.extra["embedding_length_per_layer_input"] = text.number("hidden_size_per_layer_input", 256)
    return found


_NEMOTRON_KINDS = {
    "M": "M", "*": "*", "E": "E", "-": "-", "mamba": "M", "linear_attention": "M", "conv": "M", "attention": "*",
    "full_attention": "*", "moe": "E", "mlp": "-",
}  # fmt: skip


def _nemotron_kinds(text: _Config) -> list[str]:
    names = text.names("hybrid_override_pattern") or text.names("layers_block_type") or text.names("layer_types")
    if not names:
        raise _not_covered(text.model_type, "its pattern of layers is missing")
    unknown = sorted(set(names) - _NEMOTRON_KINDS.keys())
    if unknown:
        raise _not_covered(text.model_type, f"layers of the kind {unknown[0][:40]}")
    return [_NEMOTRON_KINDS[name] for name in names]


def _nemotron(text: _Config) -> _Layers:
    """Mamba 2 layers with a state, attention layers with a cache, MLP and expert layers with neither."""
    kinds = _nemotron_kinds(text)
    inner = text.number("mamba_num_heads") * text.number("mamba_head_dim")
    state = text.number("ssm_state_size")
    convolution_width = inner + 2 * text.number("n_groups") * state
    per_layer = max(0, text.number("conv_kernel") - 1) * convolution_width * text.value_bytes
    per_layer += inner * state * STATE_VALUE_BYTES
    width = text.number("num_key_value_heads", minimum=1) * text.head_width()
    # Surrogate attention of 256 tokens at a time (ssm.py: step), and keys and queries repeated for every head.
    mixer_width = 3 * inner + 2 * convolution_width + text.number("mamba_num_heads") * (2 * state + 4 * 256)
    found = _Layers(extra={KEY_LENGTH_KEY: text.head_width(), MIXER_WIDTH_KEY: mixer_width})
    found.caches = [(width, width, None)] * kinds.count("*")
    found.state_bytes = per_layer * kinds.count("M")
    found.feed_forward_width = text.number("intermediate_size", 0)
    if "E" in kinds:
        found.experts, found.experts_used = text.number("n_routed_experts", 0), text.number("num_experts_per_tok", 0)
        shared = text.number("moe_shared_expert_intermediate_size", 0)
        found.feed_forward_width = found.experts_used * text.number("moe_intermediate_size", 0) + shared
    return found


def _gpt_oss(text: _Config) -> _Layers:
    """Windows and full layers in turn, experts everywhere."""
    layers = text.number("num_hidden_layers", 36, minimum=1)
    head = text.number("head_dim", 64, minimum=1)
    width = text.number("num_key_value_heads", 8, minimum=1) * head
    window = text.number("sliding_window", 128, minimum=1)
    types = text.names("layer_types") or ["sliding_attention", "full_attention"] * (layers // 2)
    used = text.number("num_experts_per_tok", 4)
    return _Layers(
        caches=[(width, width, None if kind == "full_attention" else window) for kind in types],
        feed_forward_width=used * text.number("intermediate_size", 2880),
        experts=text.number("num_local_experts", 128),
        experts_used=used,
        extra={KEY_LENGTH_KEY: head},
    )


def _layer_count(text: _Config) -> int:
    return (
        len(_nemotron_kinds(text)) if text.model_type == "nemotron_h" else text.number("num_hidden_layers", minimum=1)
    )


_READERS: Mapping[str, Callable[[_Config], _Layers]] = {
    **dict.fromkeys(_PLAIN, _plain),
    "llama": _plain,
    "qwen3_5": _qwen35,
    "qwen3_5_moe": _qwen35,
    "gemma4": _gemma4,
    "gemma4_text": _gemma4,
    "gemma4_unified": _gemma4,
    "nemotron_h": _nemotron,
    "gpt_oss": _gpt_oss,
}

COVERED = frozenset(_READERS)
"""Model types that can be computed."""


def _not_covered(model_type: str, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "How much memory this model needs cannot be computed from its description.",
        "Choose a build of it as a GGUF file, or another model.",
        f"{model_type[:80] or 'no model type'}: {reason}",
    )
