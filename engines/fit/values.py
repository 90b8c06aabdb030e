"""What goes into a fit and what comes out of it. Frozen values; sizes are bytes, contexts tokens, speeds tokens/second.

ModelFacts (one build of a model)  ┐
Machine    (one computer)          ├─ verdict.judge ─→ Verdict
Wish, Running, Correction          ┘
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engines.base import KvType, LoadSettings

Source = Literal["arithmetic", "dry_run", "measured"]
"""Where a memory figure comes from: our formulas, the engine's own plan without allocating, or a real load."""

CacheName = Literal["full", "window", "compressed", "indexer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePart:
    """Layers that keep the same amount per cell. Widths are values (not bytes) per cell and layer."""

    name: CacheName
    layers: int
    key_width: int
    value_width: int
    """0: keys only (MLA, DeepSeek V4)."""
    window_tokens: int | None = None
    """Sliding window: cells = min(context, window + micro-batch), else as many as `divisor` leaves of the context."""
    divisor: int = 1
    """One cell stands for this many tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The shape of a model: all that caches, buffers and speed depend on, beside the weights themselves."""

    architecture: str
    layers: int
    embedding_width: int
    vocabulary: int
    trained_context_tokens: int
    caches: tuple[CachePart, ...] = ()
    state_bytes: int = 0
    """Recurrent, convolution and compressor state of one sequence; F32, whatever the context (facts/fit.md A.3)."""
    attention_heads: int = 0
    """The largest count of any layer."""
    feed_forward_width: int = 0
    """The widest of any layer; for a mixture of experts, experts in use times their width."""
    experts: int = 0
    experts_used: int = 0
    only_f16_cache: bool = False
    """The engine, or its answers, break with any other KV type (deepseek4)."""
    needs_checkpoints: bool = False
    """The cache cannot be rolled back, so states of earlier turns are kept (engines.backends.llama.prefix_cache)."""
    extra: dict[str, int] = field(default_factory=dict)
    """Further figures that single architectures' buffers depend on, by the GGUF key without its architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of one build, in bytes."""

    total_bytes: int
    exact: bool
    """From the tensor list; False: from the sizes of the files or an estimate."""
    embedding_bytes: int = 0
    """The token embedding table: a row is read per token, not the table."""
    tied: bool = False
    """The output uses the embedding table: read whole per token, and on a GPU there a second time."""
    lazy_bytes: int = 0
    """Per-layer embedding tables, of which single rows are read."""
    expert_bytes: int = 0
    """Routed experts of all layers."""
    expert_layer_bytes: tuple[int, ...] = ()
    """The routed experts of each layer; empty when unknown."""
    layer_bytes: tuple[int, ...] = ()
    """Each layer's bytes, routed experts included; empty when unknown (then: evenly)."""
    packable_bytes: tuple[tuple[str, int], ...] = ()
    """Tensor type and bytes of the matrices that a processor may copy into its own layout (`engines.fit.memory`);
    the type "*" stands for weights whose types are not known."""
    header_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One build of one model, as far as the fit must know it."""

    name: str
    engine: str
    """Id of the registry."""
    quantization: str
    geometry: Geometry
    weights: Weights
    file_bytes: int
    parameters: int | None = None
    active_parameters: int | None = None
    projector_bytes: int = 0
    """A vision projector that is loaded beside it."""
    quantization_types: tuple[str, ...] = ()
    """Names of the tensor types inside, for the question whether the engine knows them; empty when unknown."""
    source: Literal["catalogue", "header"] = "header"
    model_type: str = ""
    """MLX: `model_type` of config.json."""
    unsupported: str = ""
    """Why the file's own contents rule it out, in words (for example MLX configs that this version reads wrongly)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asked for; None leaves the choice to the fit. A number that was asked for is never changed
    silently: if it does not fit, the verdict says so and names what does.
    """

    context_tokens: int | None = None
    kv_type: KvType | None = None
    flash_attention: bool | None = None
    gpu_layers: int | None = None
    expert_layers_on_cpu: int | None = None
    batch_tokens: int = 512
    vision: bool = False
    """Load the vision projector beside the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What else holds memory for models: leases of other Snug processes, not yet in the system's "available"."""

    held_bytes: int = 0
    freed_bytes: int = 0
    """What is given back first: the model that this very process would eject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryParts:
    """The sum for one kind of memory, term by term."""

    weights_bytes: int = 0
    repacked_bytes: int = 0
    """Second copy of weights in the processor's own layout."""
    context_bytes: int = 0
    """KV cache of every kind."""
    state_bytes: int = 0
    """Recurrent state."""
    compute_bytes: int = 0
    output_bytes: int = 0
    """Logits that are handed out."""
    checkpoint_bytes: int = 0
    """Saved states of earlier turns."""
    projector_bytes: int = 0
    vocabulary_bytes: int = 0
    process_bytes: int = 0
    """The engine process itself: interpreter, libraries, graph; on a GPU its runtime's own context."""
    source: Source = "arithmetic"

    @property
    def total_bytes(self) -> int:
        """All terms (written out: a slider asks for this on every move)."""
        return (
            self.weights_bytes
            + self.repacked_bytes
            + self.context_bytes
            + self.state_bytes
            + self.compute_bytes
            + self.output_bytes
            + self.checkpoint_bytes
            + self.projector_bytes
            + self.vocabulary_bytes
            + self.process_bytes
        )

    def without(self, term: str) -> MemoryParts:
        """The same sum with one term left out."""
        changes: dict[str, Any] = {term: 0}
        return replace(self, **changes)


TERMS: tuple[str, ...] = (
    "weights_bytes", "repacked_bytes", "context_bytes", "state_bytes", "compute_bytes", "output_bytes",
    "checkpoint_bytes", "projector_bytes", "vocabulary_bytes", "process_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The sum, split over where it lies. `gpu` is None where nothing lies on a GPU or memory is shared."""

    main: MemoryParts
    gpu: MemoryParts | None = None
    gpu_share_bytes: int = 0
    """Unified memory: what of `main` counts against the GPU's limit."""

    @property
    def total_bytes(self) -> int:
        """Both together."""
        return self.main.total_bytes + (self.gpu.total_bytes if self.gpu is not None else 0)


PoolName = Literal["memory", "gpu_limit", "card"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """One limit that must hold: main memory, what a GPU may use of it, or a card's own memory."""

    name: PoolName
    needed_bytes: int
    limit_bytes: int
    """What Snug may use of it when nothing but the system runs; margin already taken off."""
    limit_now_bytes: int
    """The same with the programs that run now."""
    total_bytes: int
    margin_bytes: int
    """Left free on purpose, inside `total_bytes`."""
    others_bytes: int = 0
    """What other programs take now (a profile: what is assumed)."""

    @property
    def fits(self) -> bool:
        """When nothing but the system runs."""
        return self.needed_bytes <= self.limit_bytes

    @property
    def fits_now(self) -> bool:
        """With what runs now."""
        return self.needed_bytes <= self.limit_now_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRange:
    """A prediction is always a range; a measured figure has low = likely = high."""

    low: float
    likely: float
    high: float
    source: Literal["prediction", "measured", "corrected"]
    basis: str = ""
    """Where it comes from, in words."""


VerdictKind = Literal["fits", "less_context", "streams", "cannot", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer. `kind` is for a computer on which nothing else runs, `kind_now` for this moment."""

    kind: VerdictKind
    kind_now: VerdictKind
    settings: LoadSettings
    """What to load it with; of no meaning for "cannot"."""
    context_tokens: int
    largest_context_tokens: int
    """The most that fits when nothing else runs; 0 if none does."""
    largest_context_now_tokens: int
    placement: Placement
    pools: tuple[PoolUse, ...]
    decode: SpeedRange | None
    prefill: SpeedRange | None
    disk_needed_bytes: int
    reasons: tuple[str, ...]
    """Whole sentences, the most important first."""
    device: str = ""
    """"CPU", the GPU's name, or both: "RTX 4070 and CPU"."""
    is_refused: bool = False
    """Cannot run whatever the memory: no engine knows it, or it takes no such settings."""

    @property
    def margin_bytes(self) -> int:
        """How much the tightest limit leaves over; negative: how much is missing."""
        return min((pool.limit_bytes - pool.needed_bytes for pool in self.pools), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunAnchors:
    """What the engine planned at two contexts with otherwise the same settings; between them figures are linear
    (facts/fit.md, design: a slider uses arithmetic anchored at two dry-run points).
    """

    settings: LoadSettings
    low_context_tokens: int
    low: Placement
    high_context_tokens: int
    high: Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What earlier loads and chats of this machine taught. Neutral by default. See `calibration`."""

    memory_extra_bytes: int = 0
    """Added to the process term: how much more than predicted was used. Never negative."""
    decode_factor: float | None = None
    """Measured over predicted, for models of the same engine."""
    prefill_factor: float | None = None
    decode_measured: float | None = None
    """This very build on this machine, tokens/second."""
    prefill_measured: float | None = None
    loads: int = 0
    """How many loads stand behind it."""


NO_WISH = Wish()
ALONE = Running()
UNCORRECTED = Correction()
