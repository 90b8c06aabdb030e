"""Verdicts in words, bars and sums. Pure functions; every sentence of the models page that has figures in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication

from desktop.core.figures import context_words, pages_of, size_words, words_per_second
from desktop.services.fit_values import BuildFit, MemorySum
from desktop.widgets.context_slider import ContextStep
from desktop.widgets.legend import LegendEntry
from desktop.widgets.memory_bar import MemoryPart, MemoryState
from desktop.widgets.text import Tone
from engines.fit.speed import READING_TOKENS_PER_SECOND
from engines.fit.values import MemoryParts, PoolUse, SpeedRange, Verdict

GIGABYTE = 1000**3
_LEAST_FIGURE_BYTES = 50 * 1000**2
"""Below it a tenth of a gigabyte says nothing."""
STEPS_TOKENS = tuple(4096 << power for power in range(9))
"""4k to 1M."""


def tr(text: str) -> str:
    """A sentence of the models page in the user's language."""
    return QCoreApplication.translate("ModelsPage", text)


@dataclass(frozen=True, slots=True)
class PoolPicture:
    """One memory with all that is shown of it."""

    title: str
    amount: str
    """"12.2 of 16 GB"."""
    bar: MemoryState
    caption: str
    legend: tuple[LegendEntry, ...]
    note: str = ""
    """What the legend's words leave out."""


@dataclass(frozen=True, slots=True)
class Saying:
    """A sentence and its colour."""

    words: str
    tone: Tone = "ink2"


# Speeds and contexts


def speed_words(speed: SpeedRange | None) -> str:
    """Such as "about 15 words/s"; a measured figure stands bare, an unknown one is empty, a slow one says so."""
    if speed is None:
        return ""
    words = words_per_second(speed.likely)
    if is_slow(speed):
        sentence = tr("{words} words/s, slow") if speed.source == "measured" else tr("about {words} words/s, slow")
    else:
        sentence = tr("{words} words/s") if speed.source == "measured" else tr("about {words} words/s")
    return sentence.format(words=words)


def is_slow(speed: SpeedRange | None) -> bool:
    """Slower than people read; of an unknown speed nothing is said."""
    return speed is not None and speed.likely < READING_TOKENS_PER_SECOND


def speed_details(speed: SpeedRange | None) -> str:
    """The same in tokens, with its range."""
    if speed is None:
        return tr("Not known yet")
    if speed.source == "measured" or speed.low == speed.high:
        return tr("{likely} tokens/s").format(likely=_rate(speed.likely))
    return tr("{low} to {high} tokens/s").format(low=_rate(speed.low), high=_rate(speed.high))


def context_steps(trained_tokens: int) -> tuple[ContextStep, ...]:
    """The slider's places: 4k and doubling, up to what the model was made for."""
    tokens = [step for step in STEPS_TOKENS if step <= trained_tokens]
    if not tokens or trained_tokens >= tokens[-1] * 5 // 4:
        tokens.append(trained_tokens)
    return tuple(ContextStep(step, context_words(step), context_in_full(step)) for step in tokens)


def context_in_full(tokens: int) -> str:
    """Such as "32k, about 80 pages"."""
    return tr("{context}, about {pages} pages").format(context=context_words(tokens), pages=f"{pages_of(tokens):,}")


def context_saying(sum_: MemorySum, verdict: Verdict, *, in_use: bool = False) -> Saying:
    """What is to be said about the context that the slider stands at; empty when all is well.

    `in_use`: the model is in memory already, so what is free now says nothing about it.
    """
    if verdict.is_refused and verdict.reasons:
        return Saying(verdict.reasons[0], "no")
    if verdict.kind == "cannot":
        return Saying(tr("Even the smallest context does not fit."), "no")
    if not sum_.fits:
        most = context_words(verdict.largest_context_tokens)
        return Saying(tr("Too much for this computer: {most} is the most that fits.").format(most=most), "no")
    if sum_.fits_now and not in_use and any(map(_is_past_the_line, sum_.pools)):
        return Saying(tr("Fits when other apps are closed."), "less")
    if sum_.fits_now or in_use:
        is_halved = verdict.settings.kv_type == "q8_0"
        return Saying(tr("Kept at half the size to make room; answers barely change.") if is_halved else "")
    missing = max(pool.needed_bytes - pool.limit_now_bytes for pool in sum_.pools)
    if verdict.largest_context_now_tokens:
        most = context_words(verdict.largest_context_now_tokens)
        return Saying(tr("Fits once other apps make room. Right now {most} is the most.").format(most=most), "less")
    words = tr("Fits once other apps make room: {size} more must be free.").format(size=size_words(missing))
    return Saying(words, "less")


def _is_past_the_line(pool: PoolUse) -> bool:
    """Of a described computer it is only assumed what other apps take: they decide nothing, but the bar shows them."""
    return pool.others_bytes + pool.needed_bytes > pool.total_bytes - pool.margin_bytes


# Builds


def build_name(fit: BuildFit) -> str:
    """What a form is called: how precise it is."""
    bits = _bits(fit)
    if bits is None:
        return fit.quantization or tr("As it is")
    if bits < 4:
        return tr("Compact")
    if bits < 5:
        return tr("Balanced")
    if bits < 6:
        return tr("Precise")
    if bits < 8:
        return tr("More precise")
    return tr("Nearly original") if bits < 16 else tr("Original")


def build_detail(fit: BuildFit) -> str:
    """The small line: bits, the author's name for it, and the engine where that is not the usual one."""
    bits = _bits(fit)
    words = tr("{bits}-bit").format(bits=bits) if bits is not None else ""
    engine = fit.build.engine if fit.build is not None else ""
    name = "" if fit.quantization.casefold() == f"{bits}bit" else fit.quantization
    return ", ".join(word for word in (words, name, "MLX" if engine == "mlx" else "") if word)


def bits_of(quantization: str) -> int | None:
    """The bits of a weight that a name such as Q4_K_M, MXFP4, bf16 or 4bit speaks of; None if it names none."""
    name = quantization.upper()
    match = re.search(r"(?:^|[^A-Z])I?Q(\d)(?!\d)", name) or re.search(r"(?:MXFP|NVFP|FP|INT)(\d+)", name)
    match = match or re.search(r"(\d+)[-_ ]?BIT", name) or re.search(r"B?F(16|32)", name)
    return int(match[1]) if match is not None else None


def _bits(fit: BuildFit) -> int | None:
    known = fit.build.bits if fit.build is not None else None
    return known if known is not None else bits_of(fit.quantization)


# Memory in bars


def pictures(sum_: MemorySum) -> tuple[PoolPicture, ...]:
    """One picture for main memory, and one above it for a card of its own."""
    memory = next((pool for pool in sum_.pools if pool.name == "memory"), None)
    card = next((pool for pool in sum_.pools if pool.name == "card"), None)
    gpu_limit = next((pool for pool in sum_.pools if pool.name == "gpu_limit"), None)
    found = []
    if card is not None and sum_.placement.gpu is not None:
        found.append(_picture(tr("Memory of the graphics card"), card, sum_.placement.gpu))
    if memory is not None:
        title = tr("Main memory") if card is not None else tr("Memory when running")
        found.append(_picture(title, memory, sum_.placement.main, gpu_limit=gpu_limit))
    return tuple(found)


def _picture(title: str, pool: PoolUse, parts: MemoryParts, gpu_limit: PoolUse | None = None) -> PoolPicture:
    weights, context, buffers = grouped(parts)
    used = pool.others_bytes + pool.needed_bytes
    free = max(0, pool.total_bytes - used)
    excess = max(0, used - pool.total_bytes)
    all_blocks = (
        MemoryPart("other", pool.others_bytes, tr("Other apps")),
        MemoryPart("weights", weights, tr("Weights")),
        MemoryPart("context", context, tr("Context")),
        MemoryPart("buffers", buffers, tr("Buffers")),
    )
    has_units = any(0 < block.size_bytes < _LEAST_FIGURE_BYTES for block in all_blocks)
    blocks = tuple(block for block in all_blocks if block.size_bytes > 0 or block.kind != "other")
    legend = [LegendEntry(block.kind, block.label, _figure(block.size_bytes, has_units)) for block in blocks]
    if excess:
        legend.append(LegendEntry("missing", tr("Missing"), size_words(excess)))
    else:
        legend.append(LegendEntry("free", tr("Free"), size_words(free)))
    amount = tr("{used} of {total}").format(used=_figure(used, has_units), total=_total(pool.total_bytes))
    note = tr("Weights include a second copy in the processor's own layout.") if parts.repacked_bytes else ""
    bar = MemoryState(
        total_bytes=pool.total_bytes,
        parts=tuple(block for block in blocks if block.size_bytes > 0),
        limit_bytes=max(0, pool.total_bytes - pool.margin_bytes),
        overflow="cannot" if excess else "none",
        overflow_bytes=min(excess, pool.total_bytes),
        description=", ".join([f"{title}: {amount}", *(f"{entry.label} {entry.figure}" for entry in legend)]),
    )
    return PoolPicture(title, amount, bar, _caption(pool, gpu_limit), tuple(legend), note)


def grouped(parts: MemoryParts) -> tuple[int, int, int]:
    """The terms of a sum as a bar shows them: weights, context, buffers."""
    weights = parts.weights_bytes + parts.repacked_bytes + parts.projector_bytes
    context = parts.context_bytes + parts.state_bytes + parts.checkpoint_bytes
    return weights, context, parts.total_bytes - weights - context


def _caption(pool: PoolUse, gpu_limit: PoolUse | None) -> str:
    if gpu_limit is not None and gpu_limit.limit_bytes - gpu_limit.needed_bytes < pool.limit_bytes - pool.needed_bytes:
        return tr("the GPU may use {limit}, this takes {needed}").format(
            limit=size_words(gpu_limit.limit_bytes), needed=size_words(gpu_limit.needed_bytes)
        )
    kept = size_words(pool.margin_bytes)
    return (tr("{size} kept free") if pool.name == "card" else tr("{size} kept for the system")).format(size=kept)


def _figure(size_bytes: int, has_unit: bool) -> str:
    return size_words(size_bytes) if has_unit else f"{size_bytes / GIGABYTE:.1f}"


def _total(size_bytes: int) -> str:
    """Such as "16 GB" where the system counts 16 GiB or 16 GB alike; "15.4 GB" for what lies between."""
    for unit in (GIGABYTE, 1024**3):
        whole = round(size_bytes / unit)
        if whole and abs(size_bytes / unit - whole) < 0.005 * whole and unit == GIGABYTE:
            return f"{whole} GB"
    return size_words(size_bytes)


def _rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:.1f}" if tokens_per_second < 10 else f"{tokens_per_second:.0f}"
