"""The memory sum, term by term, by arithmetic: caches exact, weights exact from a header, buffers as upper bounds.

The engine's own plan (`engines.dry_run`) replaces these terms where it can be had; `from_plan` puts it into the same
form, and `between` reads off a context between two plans. Formulas: facts/fit.md A.1 to A.8, from llama.cpp's source;
caches and states are compared byte for byte with the engine in the tests.
"""

from __future__ import annotations

import math
from dataclasses import replace

from engines import checkpoints
from engines.base import DryRun, KvType, LoadSettings
from engines.fit import compute
from engines.fit.values import CachePart, DryRunAnchors, Geometry, MemoryParts, ModelFacts, Placement, Weights
from engines.hardware.machine import Gpu, Machine

CONTEXT_STEP_TOKENS = 256
"""The engine rounds every context, window and compressed cache up to this."""

_BLOCKS: dict[KvType, tuple[int, int]] = {
    # values per block, bytes per block (ggml's table of type traits)
    "f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q8_0": (32, 34), "q5_1": (32, 24), "q5_0": (32, 22),
    "q4_1": (32, 20), "q4_0": (32, 18),
}  # fmt: skip

PACKED_BUFFERS = frozenset({"CPU_REPACK", "AMX", "CPU_KLEIDIAI"})
"""Names of the engine's buffers that hold weights in the processor's own layout."""

AMX_EXTRA_SHARE = 8
"""AMX stores a scale with each block: 4 bytes more for 34 of a Q8_0 block, less for the others (ggml-cpu amx/mmq.cpp,
get_row_size)."""
PROJECTOR_BUFFER_SHARE = 6
"""A projector works in buffers of up to a sixth of its weights (SigLIP: 121 of 811 MiB, facts/fit.md A.7)."""

GPU_RUNTIME_BYTES = 250 * 1024 * 1024
"""What a GPU's runtime takes of a card for itself. Assumed, not measured here: gguf-parser-go counts as much for CUDA
(facts/fit.md A.8)."""
GPU_HOST_BYTES = 300 * 1024 * 1024
"""What the same runtime takes of main memory. Assumed."""

_X86_AVX2 = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
_X86_AVX512 = frozenset({"Q2_K"})
_X86_AMX = frozenset({"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"})
_ARM = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4", "Q8_0", "Q1_0"})


def refusal(geometry: Geometry, kv_type: KvType, flash_attention: bool | None) -> str:
    """Why the engine, or its answers, do not take this combination; empty when it is fine.

    Sources: llama-context.cpp (a quantized V cache needs flash attention), llama-kv-cache.cpp (rows in whole blocks),
    public reports for deepseek4 (facts/engine-traps.md).
    """
    if geometry.only_f16_cache and kv_type != "f16":
        return f"Models of this kind ({geometry.architecture}) answer rightly only with an f16 cache."
    if _BLOCKS[kv_type][0] > 1 and flash_attention is False:
        return f"A {kv_type} cache needs flash attention, which was switched off."
    block = _BLOCKS[kv_type][0]
    if any(part.key_width % block or part.value_width % block for part in geometry.caches):
        return f"This model's cache cannot be stored as {kv_type}: its rows are not whole blocks of {block}."
    return ""


def planned_weights_bytes(facts: ModelFacts) -> int:
    """What a plan without memory mapping says of the weights. Gemma 3n and 4 make the output matrix before the table
    it is tied to, so the plan holds that table twice; a mapped file holds it once (llama.cpp, models/gemma4.cpp).
    """
    twice = facts.weights.tied and facts.geometry.architecture in {"gemma4", "gemma3n"}
    return facts.weights.total_bytes + (facts.weights.embedding_bytes if twice else 0)


def rounded_context(context_tokens: int) -> int:
    """The context that the engine makes of it."""
    return -(-context_tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS or CONTEXT_STEP_TOKENS


def context_bytes(
    geometry: Geometry, context_tokens: int, kv_type: KvType, batch_tokens: int, flash_attention: bool | None
) -> int:
    """Every KV cache of one sequence, exactly as the engine allocates it (swa_full off, unified)."""
    return sum(
        cache_bytes(part, context_tokens, kv_type, batch_tokens, _padded_width(geometry, flash_attention))
        for part in geometry.caches
    )


def cache_bytes(
    part: CachePart, context_tokens: int, kv_type: KvType, batch_tokens: int, padded_value_width: int | None = None
) -> int:
    """One kind of cache. `padded_value_width`: without flash attention V is as wide as the widest layer."""
    context = rounded_context(context_tokens)
    if part.window_tokens is not None:
        cells = rounded_context(min(context, part.window_tokens + min(batch_tokens, context)))
    else:
        cells = rounded_context(-(-context // part.divisor))
    value_width = part.value_width
    if value_width and padded_value_width is not None:
        value_width = padded_value_width
    values_per_block, block_bytes = _BLOCKS[kv_type]
    keys = part.key_width // values_per_block * block_bytes
    values = value_width // values_per_block * block_bytes
    return part.layers * (keys + values) * cells


def checkpoint_bytes(geometry: Geometry, context_tokens: int, kv_type: KvType, batch_tokens: int) -> int:
    """What saved states of earlier turns may take at most: a state is the recurrent part and the windows.

    How much of a window is saved depends on the conversation, so the most expensive size up to the whole is counted.
    """
    windows = [part for part in geometry.caches if part.window_tokens is not None]
    if not windows and not geometry.needs_checkpoints:
        return 0
    state = geometry.state_bytes + sum(cache_bytes(part, context_tokens, kv_type, batch_tokens) for part in windows)
    return checkpoints.peak_bytes(min(state, checkpoints.LARGEST_STATE_BYTES))


def repacked_bytes(weights: Weights, features: tuple[str, ...]) -> int:
    """What the processor's own layout of weights takes beside the mapped file; an upper bound.

    Source: ggml-cpu repack.cpp of llama.cpp 0c1e57098 (which types on which instruction sets) and the AMX buffer.
    """
    types: set[str] = set()
    known = set(features)
    if known & {"avx2", "avx512f"}:
        types |= _X86_AVX2
    if "avx512f" in known:
        types |= _X86_AVX512
    if "amx_int8" in known:
        types |= _X86_AMX
    if known & {"dotprod", "asimddp", "i8mm", "neon", "asimd"}:
        types |= _ARM
    copied = sum(size for name, size in weights.packable_bytes if types and (name in types or name == "*"))
    if "amx_int8" in known:
        copied += copied // AMX_EXTRA_SHARE
    return copied


def placement(facts: ModelFacts, machine: Machine, settings: LoadSettings) -> Placement:
    """The sum for a load with `settings` on `machine`. `settings.context_tokens` must be given."""
    card = machine.card
    if facts.engine == "mlx":
        from engines.fit import mlx

        parts = mlx.parts(
            facts,
            settings.context_tokens or 0,
            kv_bits=mlx.kv_bits_of(settings.kv_type),
            prefill_step=settings.batch_tokens,
        )
        return Placement(main=parts, gpu_share_bytes=parts.total_bytes)
    if machine.unified_gpu is not None and settings.gpu_layers != 0:
        return _unified(facts, machine.unified_gpu, settings)
    if card is not None and settings.gpu_layers != 0:
        return _on_card(facts, machine, settings)
    return Placement(main=_on_processor(facts, machine, settings))


def _terms(facts: ModelFacts, settings: LoadSettings) -> MemoryParts:
    """The terms that do not depend on where they lie."""
    geometry = facts.geometry
    context, batch = settings.context_tokens or 0, settings.batch_tokens
    flash = settings.flash_attention is not False
    return MemoryParts(
        weights_bytes=facts.weights.total_bytes,
        context_bytes=context_bytes(geometry, context, settings.kv_type, batch, settings.flash_attention),
        state_bytes=geometry.state_bytes,
        compute_bytes=compute.compute_bytes(
            geometry,
            context_tokens=rounded_context(context),
            batch_tokens=min(batch, rounded_context(context)),
            flash_attention=flash,
            kv_type=settings.kv_type,
        ),
        output_bytes=compute.output_bytes(geometry),
        checkpoint_bytes=checkpoint_bytes(geometry, context, settings.kv_type, batch),
        projector_bytes=facts.projector_bytes + facts.projector_bytes // PROJECTOR_BUFFER_SHARE,
        vocabulary_bytes=compute.vocabulary_bytes(geometry),
        process_bytes=compute.PROCESS_BYTES + compute.graph_bytes(geometry, batch),
    )


def _on_processor(facts: ModelFacts, machine: Machine, settings: LoadSettings) -> MemoryParts:
    parts = _terms(facts, settings)
    if not settings.repack:
        return parts
    return replace(parts, repacked_bytes=repacked_bytes(facts.weights, machine.processor.features))


def _unified(facts: ModelFacts, gpu: Gpu, settings: LoadSettings) -> Placement:
    """All layers on a GPU that computes on main memory. A tied embedding table is held twice (facts/fit.md A.1),
    except by Metal, which maps the file's pages for both.
    """
    parts = _terms(facts, settings)
    if facts.weights.tied and gpu.vendor != "apple":
        parts = replace(parts, weights_bytes=parts.weights_bytes + facts.weights.embedding_bytes)
    if gpu.vendor != "apple":
        parts = replace(parts, process_bytes=parts.process_bytes + GPU_RUNTIME_BYTES)
    share = parts.weights_bytes + parts.context_bytes + parts.state_bytes + parts.compute_bytes + parts.projector_bytes
    return Placement(main=parts, gpu_share_bytes=share)


def _on_card(facts: ModelFacts, machine: Machine, settings: LoadSettings) -> Placement:
    """Layers split between a card's memory and main memory; what is uncertain is counted on both sides.

    Of n GPU layers the first is the output, the others are the model's last n - 1 (llama-model.cpp, i_gpu_start).
    """
    whole = _terms(facts, settings)
    weights, layers = facts.weights, facts.geometry.layers
    inside = layers if settings.gpu_layers < 0 else min(settings.gpu_layers - 1, layers)
    share = inside / layers
    dense = layers - facts.geometry.extra.get("expert_layers", layers)
    dense = max(dense, facts.geometry.extra.get("leading_dense_block_count", 0))
    on_card = _weights_on_card(weights, layers, inside, settings.expert_layers_on_cpu, dense)
    in_main = weights.total_bytes - on_card
    if weights.tied:
        on_card += weights.embedding_bytes  # the output matrix is a copy of the table, which itself stays outside
    # The layers on the card may be those with the larger caches: one heaviest layer more than their share.
    heaviest = _heaviest_cache(facts, settings)
    card_context = min(whole.context_bytes, round(whole.context_bytes * share) + heaviest)
    main_context = 0 if inside >= layers else whole.context_bytes - round(whole.context_bytes * share)
    gpu = MemoryParts(
        weights_bytes=on_card,
        context_bytes=card_context,
        state_bytes=whole.state_bytes,
        compute_bytes=whole.compute_bytes,
        projector_bytes=whole.projector_bytes,
        process_bytes=GPU_RUNTIME_BYTES,
    )
    splits = in_main > weights.embedding_bytes + weights.lazy_bytes + whole.output_bytes
    main = replace(
        whole,
        weights_bytes=in_main,
        context_bytes=main_context + (heaviest if main_context else 0),
        state_bytes=whole.state_bytes if inside < layers else 0,
        compute_bytes=whole.compute_bytes if splits else whole.compute_bytes // 4,
        projector_bytes=0,
        process_bytes=whole.process_bytes + GPU_HOST_BYTES,
    )
    if splits and settings.repack:
        packed = repacked_bytes(weights, machine.processor.features)
        main = replace(main, repacked_bytes=min(packed, in_main))
    return Placement(main=main, gpu=gpu)


def _weights_on_card(weights: Weights, layers: int, inside: int, expert_layers_on_cpu: int, dense: int) -> int:
    """The last `inside` layers and the output; less the experts that stay outside.

    Without each layer's experts, all `dense` layers are taken to be among those asked for: fewer bytes stay outside.
    """
    body = weights.total_bytes - weights.embedding_bytes - weights.lazy_bytes
    per_layer = weights.layer_bytes or (body // layers,) * layers
    output = max(0, body - sum(per_layer))
    first = layers - inside
    on_card = sum(per_layer[first:]) + output
    if expert_layers_on_cpu and weights.expert_bytes:
        if weights.expert_layer_bytes:
            on_card -= sum(weights.expert_layer_bytes[first:expert_layers_on_cpu])
        else:
            outside = max(0, min(expert_layers_on_cpu, layers) - first - dense)
            on_card -= weights.expert_bytes * outside // max(1, layers - dense)
    return max(0, on_card)


def _heaviest_cache(facts: ModelFacts, settings: LoadSettings) -> int:
    batch, context = settings.batch_tokens, settings.context_tokens or 0
    sizes = (
        cache_bytes(part, context, settings.kv_type, batch, _padded_width(facts.geometry, settings.flash_attention))
        // max(1, part.layers)
        for part in facts.geometry.caches
    )
    return max(sizes, default=0)


def _padded_width(geometry: Geometry, flash_attention: bool | None) -> int | None:
    return geometry.extra.get("padded_value_width") if flash_attention is False else None


def from_plan(arithmetic: Placement, plan: DryRun, geometry: Geometry) -> Placement:
    """The engine's own figures in place of the arithmetic; what the engine does not count stays as it was.

    Buffers that are not in main memory are the GPU's. The mapped file is counted whole, once, and weights in the
    processor's own layout beside it. A plan read from the log does not say where weights lie: they stay as computed,
    and beside a card the whole plan is left aside.
    """
    from_log = plan.source == "log"
    if from_log and arithmetic.gpu is not None:
        return arithmetic
    host = [buffer for buffer in plan.buffers if buffer.is_host or buffer.name.startswith("CPU")]
    device = [buffer for buffer in plan.buffers if buffer not in host]
    packed = sum(buffer.weights_bytes for buffer in host if buffer.name in PACKED_BUFFERS)
    context = sum(buffer.context_bytes for buffer in host)
    state = min(geometry.state_bytes, context)
    main = arithmetic.main
    is_whole = arithmetic.gpu is None
    measured = plan.process_bytes - compute.PROCESS_BYTES if plan.process_bytes > 0 else 0
    main = replace(
        main,
        weights_bytes=main.weights_bytes if is_whole else sum(buffer.weights_bytes for buffer in host),
        repacked_bytes=main.repacked_bytes if from_log else packed,
        context_bytes=context - state if context else 0,
        state_bytes=state,
        compute_bytes=sum(buffer.compute_bytes for buffer in host),
        process_bytes=main.process_bytes + measured,
        source="dry_run",
    )
    if not device:
        return Placement(main=main)
    weights = sum(buffer.weights_bytes for buffer in device)
    device_context = sum(buffer.context_bytes for buffer in device)
    device_compute = sum(buffer.compute_bytes for buffer in device)
    if arithmetic.gpu is None:  # a GPU on main memory: everything is in one place
        main = replace(
            main,
            context_bytes=max(0, context + device_context - geometry.state_bytes),
            state_bytes=geometry.state_bytes,
            compute_bytes=main.compute_bytes + device_compute,
        )
        share = arithmetic.main.weights_bytes if from_log else weights
        return Placement(main=main, gpu_share_bytes=share + device_context + device_compute)
    gpu = replace(
        arithmetic.gpu,
        weights_bytes=weights,
        context_bytes=max(0, device_context - geometry.state_bytes),
        state_bytes=min(geometry.state_bytes, device_context),
        compute_bytes=device_compute,
        source="dry_run",
    )
    return Placement(main=main, gpu=gpu)


def between(anchors: DryRunAnchors, facts: ModelFacts, context_tokens: int) -> Placement:
    """The sum at a context between two that the engine planned.

    Caches are computed (exact, and not a straight line: windows and compressed caches grow in steps); buffers lie on
    the line through both plans. Should the engine have planned other caches than computed, the difference is added.
    Below the lower anchor its own buffers are counted, which are more.
    """
    low, high = anchors.low_context_tokens, anchors.high_context_tokens
    share = 0.0 if high <= low else max(0.0, (rounded_context(context_tokens) - low) / (high - low))
    main = _line(anchors.low.main, anchors.high.main, share)
    gpu = None
    if anchors.low.gpu is not None and anchors.high.gpu is not None:
        gpu = _line(anchors.low.gpu, anchors.high.gpu, share)
        return Placement(main=main, gpu=gpu)
    settings = replace(anchors.settings, context_tokens=context_tokens)
    surplus = max(
        0,
        anchors.low.main.context_bytes - _context_of(facts, replace(settings, context_tokens=low)),
        anchors.high.main.context_bytes - _context_of(facts, replace(settings, context_tokens=high)),
    )
    main = replace(main, context_bytes=_context_of(facts, settings) + surplus)
    fixed_share = anchors.high.gpu_share_bytes - anchors.high.main.context_bytes - anchors.high.main.compute_bytes
    gpu_share = fixed_share + main.context_bytes + main.compute_bytes if anchors.high.gpu_share_bytes else 0
    return Placement(main=main, gpu_share_bytes=gpu_share)


def _context_of(facts: ModelFacts, settings: LoadSettings) -> int:
    return context_bytes(
        facts.geometry,
        settings.context_tokens or 0,
        settings.kv_type,
        settings.batch_tokens,
        settings.flash_attention,
    )


def _line(low: MemoryParts, high: MemoryParts, share: float) -> MemoryParts:
    return replace(
        high,
        context_bytes=_on_line(low.context_bytes, high.context_bytes, share),
        compute_bytes=_on_line(low.compute_bytes, high.compute_bytes, share),
        checkpoint_bytes=max(low.checkpoint_bytes, high.checkpoint_bytes),
    )


def _on_line(low: int, high: int, share: float) -> int:
    return low + math.ceil((high - low) * share)
