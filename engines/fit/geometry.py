"""The shape of a model from GGUF metadata: which layers cache what. Follows llama.cpp as vendored in 0.3.36.

The same function serves a file's header and the catalogue's `[model.geometry]`: both are metadata keys without the
architecture's prefix. Sources: llama.cpp src/llama-model.cpp (hyperparameters per architecture), llama-hparams.cpp,
llama-kv-cache*.cpp and llama-memory-*.cpp; checked byte for byte against the engine (tests/engines/fit, facts/fit.md
A.2 and A.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from engines.errors import UnsupportedModelError
from engines.fit.values import CacheName, CachePart, Geometry
from engines.formats.gguf import ArrayLength, Value

STATE_VALUE_BYTES = 4
"""Recurrent, convolution and compressor states are F32, always."""

_RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
_HYBRID_BY_INTERVAL = frozenset({"qwen3next", "qwen35", "qwen35moe", "qwen4exp"})
_HYBRID_NEMOTRON = frozenset({"nemotron_h", "nemotron_h_moe"})
_HYBRID_BY_HEADS = frozenset({"jamba", "granitehybrid", "lfm2", "lfm2moe", "kimi-linear", "plamo2"})
_WINDOW_PERIODS = {
    # Compiled into llama.cpp for files without a pattern key.
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "llama4": 4, "olmo2": 4, "exaone4": 4,
}  # fmt: skip
_LLAMA4_CHUNK_TOKENS = 8192
_GEMMA3N_LAYERS_WITH_CACHE = 20
_COMPRESSED_RATIO, _HEAVILY_COMPRESSED_RATIO = 4, 128

_PLAIN = frozenset({
    # Keys and values on every layer, and nothing else (llama-model.cpp, create_memory).
    "llama", "mistral3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "phi2", "phi3", "phimoe", "granite", "granitemoe",
    "gemma", "smollm3", "olmo", "olmoe", "starcoder2", "stablelm", "internlm2", "minicpm", "command-r", "glm4",
    "seed_oss", "arcee", "apertus", "ernie4_5", "ernie4_5-moe", "hunyuan-dense", "deepseek", "baichuan", "chatglm",
})  # fmt: skip
COVERED = (
    _PLAIN
    | _RECURRENT
    | _HYBRID_BY_INTERVAL
    | _HYBRID_NEMOTRON
    | _HYBRID_BY_HEADS
    | frozenset(_WINDOW_PERIODS)
    | {"gemma4", "deepseek2", "deepseek32", "glm-dsa", "deepseek4"}
) - {"qwen4exp"}
"""Architectures that these formulas describe. Others may have caches of their own (minimax-m3, falcon-h1, glm5-next,
and whatever is new): for them nothing is computed, and the engine is asked."""


def from_metadata(architecture: str, metadata: Mapping[str, Value]) -> Geometry:
    """The geometry that `metadata` (GGUF keys without the architecture's prefix) describes.

    `vocabulary` may stand beside them; a header's caller puts it there. Raises: UnsupportedModelError when a key
    that everything depends on is missing or is no sensible number, or the architecture is not covered.
    """
    if architecture not in COVERED:
        raise _not_covered(architecture, "its caches are not known to the arithmetic")
    return _Shape(architecture, metadata).geometry()


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's own cache, before equal ones are put together."""

    name: CacheName
    key_width: int
    value_width: int
    window_tokens: int | None = None
    divisor: int = 1


class _Shape:
    """Reads the metadata layer by layer."""

    def __init__(self, architecture: str, metadata: Mapping[str, Value]) -> None:
        self._architecture = architecture
        self._metadata = metadata
        self.all_layers = self._number("block_count", minimum=1, maximum=4096)
        self.layers = self.all_layers - self._number("nextn_predict_layers", 0, maximum=self.all_layers - 1)
        self.embedding = self._number("embedding_length", minimum=1)
        self.heads = self._per_layer("attention.head_count", 0)
        self.key_value_heads = self._per_layer("attention.head_count_kv", self.heads)
        self.feed_forward = self._per_layer("feed_forward_length", 0)
        first_heads = next((heads for heads in self.heads if heads), 0)
        default_width = self.embedding // first_heads if first_heads else 0
        self.key_length = self._number("attention.key_length", default_width)
        self.value_length = self._number("attention.value_length", default_width)
        self.key_length_window = self._number("attention.key_length_swa", self.key_length)
        self.value_length_window = self._number("attention.value_length_swa", self.value_length)
        self.window = self._number("attention.sliding_window", 0)
        self.is_window_layer = self._window_layers()
        self.is_recurrent_layer = self._recurrent_layers()
        self.is_latent = self._number("attention.key_length_mla", 0) > 0

    def geometry(self) -> Geometry:
        """Everything together."""
        experts_used = self._number("expert_used_count", 0)
        expert_width = self._number("expert_feed_forward_length", 0) * experts_used
        shared_width = self._number("expert_shared_feed_forward_length", 0)
        is_compressed = self._architecture == "deepseek4"
        recurrent = sum(self.is_recurrent_layer[: self.layers])
        return Geometry(
            architecture=self._architecture,
            layers=self.all_layers,
            embedding_width=self.embedding,
            vocabulary=self._vocabulary(),
            trained_context_tokens=self._number("context_length", 0),
            caches=self._grouped(self._compressed_layers() if is_compressed else self._cached_layers()),
            state_bytes=self._compressor_bytes() if is_compressed else self._state_values() * recurrent * 4,
            attention_heads=max(self.heads, default=0),
            feed_forward_width=max(max(self.feed_forward, default=0), expert_width + shared_width),
            experts=self._number("expert_count", 0),
            experts_used=experts_used,
            only_f16_cache=is_compressed,
            needs_checkpoints=is_compressed or recurrent > 0,
            extra=self._extra(),
        )

    def _grouped(self, layers: list[_Layer]) -> tuple[CachePart, ...]:
        counted = Counter(layers)
        return tuple(
            CachePart(
                name=layer.name,
                layers=count,
                key_width=layer.key_width,
                value_width=layer.value_width,
                window_tokens=layer.window_tokens,
                divisor=layer.divisor,
            )
            for layer, count in counted.items()
        )

    def _cached_layers(self) -> list[_Layer]:
        """Attention layers that own a cache (keys and values; keys alone for latent attention)."""
        found = []
        for layer in range(min(self.all_layers, self._layers_with_cache())):
            if self.is_recurrent_layer[layer] or self._is_without_attention(layer) or layer >= self.layers:
                continue
            windowed = self.is_window_layer[layer]
            value_width = 0 if self.is_latent else self._value_width(layer)
            found.append(
                _Layer("window", self._key_width(layer), value_width, self.window)
                if windowed
                else _Layer("full", self._key_width(layer), value_width)
            )
        if self._architecture in {"deepseek32", "glm-dsa"}:
            width = self._number("attention.indexer.key_length", minimum=1)
            found += [_Layer("indexer", width, 0)] * self._indexer_layers()
        return found

    def _compressed_layers(self) -> list[_Layer]:
        """DeepSeek V4: keys alone. A window on every layer, and cells that stand for 4 or 128 tokens on most."""
        width = self._key_width(0)
        indexer_width = self._number("attention.indexer.key_length", minimum=1)
        found = [_Layer("window", width, 0, self.window)] * self.all_layers
        for ratio in self._ratios():
            if ratio == _COMPRESSED_RATIO:
                found.append(_Layer("compressed", width, 0, divisor=_COMPRESSED_RATIO))
                found.append(_Layer("indexer", indexer_width, 0, divisor=_COMPRESSED_RATIO))
            elif ratio == _HEAVILY_COMPRESSED_RATIO:
                found.append(_Layer("compressed", width, 0, divisor=_HEAVILY_COMPRESSED_RATIO))
        return found

    def _compressor_bytes(self) -> int:
        """Source: llama-kv-cache-dsv4.cpp: two states (values, scores) of 8 rows at ratio 4, of 128 at ratio 128."""
        width = self.key_length
        indexer_width = self._number("attention.indexer.key_length", minimum=1)
        light, heavy = (self._ratios().count(ratio) for ratio in (_COMPRESSED_RATIO, _HEAVILY_COMPRESSED_RATIO))
        values = light * 8 * 2 * width + heavy * 128 * width + light * 8 * 2 * indexer_width
        return STATE_VALUE_BYTES * 2 * values

    def _ratios(self) -> list[int]:
        value = self._metadata.get("attention.compress_ratios")
        if not isinstance(value, tuple):
            raise self._missing("attention.compress_ratios")
        return [int(ratio) for ratio in value[: self.layers]]

    def _state_values(self) -> int:
        """Values of recurrent and convolution state per recurrent layer."""
        convolution = self._number("ssm.conv_kernel", 0)
        inner, state = self._number("ssm.inner_size", 0), self._number("ssm.state_size", 0)
        groups = self._number("ssm.group_count", 0)
        if head_size := self._number("wkv.head_size", 0):
            return self._number("token_shift_count", 2) * self.embedding + self.embedding * head_size
        if cached := self._number("shortconv.l_cache", 0):
            return self.embedding * (cached - 1) + state * inner
        if width := self._number("kda.head_dim", 0):
            heads = max(self.heads, default=0)
            return 3 * (convolution - 1 if convolution else 3) * heads * width + width * width * heads
        return max(0, convolution - 1) * (inner + 2 * groups * state) + state * inner

    def _window_layers(self) -> list[bool]:
        if self._architecture == "deepseek4":
            return [True] * self.all_layers
        if self._architecture == "llama4":
            if self._metadata.get("attention.sliding_window") == 0:
                return [False] * self.all_layers
            self.window = _LLAMA4_CHUNK_TOKENS
        if not self.window:
            return [False] * self.all_layers
        pattern = self._metadata.get("attention.sliding_window_pattern")
        if isinstance(pattern, ArrayLength):
            raise self._missing("attention.sliding_window_pattern")
        if isinstance(pattern, tuple):
            given = [bool(flag) for flag in pattern[: self.all_layers]]
            return given + [False] * (self.all_layers - len(given))
        period = pattern if isinstance(pattern, int) else _WINDOW_PERIODS.get(self._architecture)
        if period is None:
            return [False] * self.all_layers
        return [
            layer < self.layers and (period == 0 or layer % period < period - 1) for layer in range(self.all_layers)
        ]

    def _recurrent_layers(self) -> list[bool]:
        given = self._metadata.get("attention.recurrent_layers")
        if isinstance(given, tuple):
            return [bool(flag) for flag in given[: self.all_layers]] + [False] * (self.all_layers - len(given))
        layers = range(self.all_layers)
        if self._architecture in _RECURRENT:
            return [True] * self.all_layers
        if self._architecture in _HYBRID_BY_INTERVAL:
            interval = self._number("full_attention_interval", 4, minimum=1)
            return [layer < self.layers and (layer + 1) % interval != 0 for layer in layers]
        if self._architecture in _HYBRID_NEMOTRON:
            return [
                layer < self.layers and self.key_value_heads[layer] == 0 and self.feed_forward[layer] == 0
                for layer in layers
            ]
        if self._architecture in _HYBRID_BY_HEADS:
            return [self.key_value_heads[layer] == 0 for layer in layers]
        return [False] * self.all_layers

    def _is_without_attention(self, layer: int) -> bool:
        """Nemotron's MLP and MoE layers cache nothing."""
        return self._architecture in _HYBRID_NEMOTRON and self.feed_forward[layer] != 0

    def _layers_with_cache(self) -> int:
        """Gemma's last layers read the cache of earlier ones."""
        if self._architecture == "gemma4":
            return self.all_layers - self._number("attention.shared_kv_layers", 0, maximum=self.all_layers)
        return _GEMMA3N_LAYERS_WITH_CACHE if self._architecture == "gemma3n" else self.all_layers

    def _indexer_layers(self) -> int:
        types = self._metadata.get("attention.indexer.types")
        if self._architecture == "glm-dsa" and isinstance(types, tuple):
            return sum(bool(flag) for flag in types[: self.layers])
        if self._architecture == "glm-dsa" and self._number("context_length", 0) >= 1 << 20:
            # GLM-5.2, compiled in: layers 0, 1 and 2, then every fourth.
            return sum(layer < 3 or (layer - 2) % 4 == 0 for layer in range(self.layers))
        return self.layers

    def _key_width(self, layer: int) -> int:
        length = self.key_length_window if self.is_window_layer[layer] else self.key_length
        return length * self.key_value_heads[layer]

    def _value_width(self, layer: int) -> int:
        length = self.value_length_window if self.is_window_layer[layer] else self.value_length
        return length * self.key_value_heads[layer]

    def _vocabulary(self) -> int:
        value = self._metadata.get("vocabulary", self._metadata.get("vocab_size"))
        if isinstance(value, ArrayLength):
            return value.items
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0

    def _extra(self) -> dict[str, int]:
        """What the buffers of single architectures depend on, and the width that V is padded to without flash
        attention (the widest of all layers).
        """
        widest = max((self._value_width(layer) for layer in range(self.all_layers)), default=0)
        extra = {"padded_value_width": widest}
        for key, value in self._metadata.items():
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40:
                extra[key] = value
        return extra

    def _per_layer(self, key: str, default: int | list[int]) -> list[int]:
        value = self._metadata.get(key)
        if isinstance(value, ArrayLength):
            raise self._missing(key)
        if isinstance(value, tuple):
            numbers = [self._sensible(key, item) for item in value[: self.all_layers]]
            return numbers + [numbers[-1] if numbers else 0] * (self.all_layers - len(numbers))
        if value is None:
            return list(default) if isinstance(default, list) else [default] * self.all_layers
        return [self._sensible(key, value)] * self.all_layers

    def _number(self, key: str, default: int | None = None, *, minimum: int = 0, maximum: int = 1 << 40) -> int:
        value = self._metadata.get(key, default)
        if value is None:
            raise self._missing(key)
        if isinstance(value, tuple) and value:
            value = value[0]
        number = self._sensible(key, value)
        if not minimum <= number <= maximum:
            raise _not_covered(self._architecture, f"{key} is {number}")
        return number

    def _sensible(self, key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 40:
            raise _not_covered(self._architecture, f"{key} is {value!r}")
        return value

    def _missing(self, key: str) -> UnsupportedModelError:
        return _not_covered(self._architecture, f"{key} is missing")


def _not_covered(architecture: str, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "How much memory this model needs cannot be computed from its description.",
        "Snug can ask the engine once the file is here.",
        f"{architecture}: {reason}",
    )
