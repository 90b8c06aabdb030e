"""`snug fit --explain`: every term of the sum with what it is made of, every limit with its margin, where the speed
comes from, and what was learned. Pure: values in, lines out.

Sources are those of facts/fit.md: llama.cpp's own code for caches and buffers, the rows named there for speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from desktop.commands.fit_text import counted, labelled, wrapped
from engines.base import LoadSettings
from engines.fit import calibration
from engines.fit.limits import kept_free_bytes, system_bytes
from engines.fit.sizes import gigabytes
from engines.fit.values import (
    TERMS,
    CachePart,
    Correction,
    Geometry,
    MemoryParts,
    ModelFacts,
    PoolUse,
    Running,
    SpeedRange,
    Verdict,
)
from engines.hardware.machine import Machine

_LABELS = {
    "weights_bytes": "weights",
    "repacked_bytes": "second copy of weights",
    "context_bytes": "context",
    "state_bytes": "recurrent state",
    "compute_bytes": "working buffers",
    "output_bytes": "output",
    "checkpoint_bytes": "saved states",
    "projector_bytes": "pictures",
    "vocabulary_bytes": "vocabulary",
    "process_bytes": "engine process",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with everything that it was made from."""

    facts: ModelFacts
    machine: Machine
    verdict: Verdict
    correction: Correction
    running: Running


def explanation(judged: Judged, *, width: int) -> Iterator[str]:
    """The whole sum behind a verdict, line by line."""
    machine, verdict = judged.machine, judged.verdict
    for title, parts in _sums(verdict):
        yield f"{title}, {_source(parts, machine)}"
        for term in TERMS:
            if getattr(parts, term):
                yield from _term(_LABELS[term], getattr(parts, term), _note(term, judged, parts), width)
        yield from _term("= total", parts.total_bytes, "", width)
        yield ""
    for pool in verdict.pools:
        yield f"What models may use of {_pool_name(pool)}"
        yield from _limit(machine, pool, judged.running, width)
        yield ""
    yield "Speed"
    yield from _speed("writes", verdict.decode, width)
    yield from _speed("reads", verdict.prefill, width)
    yield ""
    yield "What was learned here"
    said = calibration.describe(judged.correction) or "Nothing yet: no model was loaded with this engine here."
    if machine.is_profile:
        said = "Nothing: this is a described computer. Predictions are corrected only for the one that measured them."
    for line in wrapped(said, width - 2):
        yield f"  {line}"


def _sums(verdict: Verdict) -> Iterator[tuple[str, MemoryParts]]:
    yield "Main memory", verdict.placement.main
    if verdict.placement.gpu is not None:
        yield "The card's memory", verdict.placement.gpu


def _source(parts: MemoryParts, machine: Machine) -> str:
    if machine.is_profile:
        return "computed for a described computer"
    match parts.source:
        case "arithmetic":
            return "computed"
        case "dry_run":
            return "as the engine plans it (weights, context and buffers are its own figures)"
        case "measured":
            return "measured"
        case _:
            assert_never(parts.source)


def _term(label: str, size_bytes: int, note: str, width: int) -> Iterator[str]:
    yield f"  {label:<24}{size_bytes:>18,} bytes {gigabytes(size_bytes):>9}"
    for line in wrapped(note, max(24, width - 6)) if note else ():
        yield f"      {line}"


def _note(term: str, judged: Judged, parts: MemoryParts) -> str:
    facts, settings = judged.facts, judged.verdict.settings
    geometry = facts.geometry
    match term:
        case "weights_bytes":
            return _weights_note(facts)
        case "repacked_bytes":
            return "Some weights are copied into the layout that this processor reads fastest; the file's stay mapped."
        case "context_bytes":
            return _context_note(geometry, settings)
        case "state_bytes":
            return "One sequence's recurrent state, always 32-bit, whatever the context."
        case "compute_bytes":
            flash = "off: the whole score matrix is held" if settings.flash_attention is False else "on"
            return f"For {settings.batch_tokens} prompt tokens at a time, flash attention {flash}."
        case "output_bytes":
            return f"One row of {geometry.vocabulary:,} scores of 4 bytes, and what belongs to it."
        case "checkpoint_bytes":
            return "Copies of the state at earlier turns, because this cache cannot be rolled back. At most so much."
        case "projector_bytes":
            return "The file that turns pictures into tokens, loaded beside the model."
        case "vocabulary_bytes":
            return f"Tables of {geometry.vocabulary:,} tokens: 10.5 MB and about 125 bytes each (measured)."
        case "process_bytes":
            return _process_note(parts, judged.correction)
        case _:
            return ""


def _weights_note(facts: ModelFacts) -> str:
    weights = facts.weights
    said = "The sum of all tensors in the file." if weights.exact else "The size of the files: a few MB too much."
    if weights.expert_bytes:
        said += f" {gigabytes(weights.expert_bytes)} of it are experts; all must be in memory, few are read per token."
    return said


def _context_note(geometry: Geometry, settings: LoadSettings) -> str:
    context = settings.context_tokens or 0
    kinds = "; ".join(_cache_words(part, context) for part in geometry.caches)
    return f"Keys and values as {settings.kv_type} for {context:,} tokens: {kinds}."


def _cache_words(part: CachePart, context_tokens: int) -> str:
    wide = f"{part.key_width} + {part.value_width}" if part.value_width else f"{part.key_width} (keys only)"
    said = f"{counted(part.layers, 'layer')} x {wide} values per "
    said += "token" if part.divisor == 1 else f"{part.divisor} tokens"
    if part.window_tokens is not None and part.window_tokens < context_tokens:
        said += f", of the last {part.window_tokens:,} tokens and one batch only"
    return said


def _process_note(parts: MemoryParts, correction: Correction) -> str:
    said = "Python, the engine's libraries, its graph"
    if parts.source == "dry_run":
        said += " (measured in a process without a model)"
    if correction.memory_extra_bytes:
        said += (
            f"; {gigabytes(correction.memory_extra_bytes)} of it because earlier loads here took more than predicted"
        )
    return f"{said}."


def _pool_name(pool: PoolUse) -> str:
    return {"memory": "main memory", "gpu_limit": "the GPU's part of memory", "card": "the card"}[pool.name]


def _limit(machine: Machine, pool: PoolUse, running: Running, width: int) -> Iterator[str]:
    match pool.name:
        case "memory":
            yield from _memory_limit(machine, pool, width)
        case "gpu_limit":
            note = "as such computers report it" if machine.is_profile else "as the system reports it"
            yield from _row("the system's limit", pool.total_bytes, width, note)
            yield from _row("kept free", -pool.margin_bytes, width, "8 % of it")
        case "card":
            yield from _row("on the card", pool.total_bytes, width)
            yield from _row(
                "kept free", pool.limit_bytes - pool.total_bytes, width, "a driver's reserve and the screen"
            )
    yield from _row("= for models", pool.limit_bytes, width, "" if machine.is_profile else "with other programs closed")
    yield from _right_now(machine, pool, running, width)
    yield from _row("needed", pool.needed_bytes, width)
    left = pool.limit_bytes - pool.needed_bytes
    yield from _row("left" if left >= 0 else "missing", abs(left), width)


def _memory_limit(machine: Machine, pool: PoolUse, width: int) -> Iterator[str]:
    note = "what a container's limit leaves" if machine.container_limit_bytes is not None else ""
    yield from _row("memory", pool.total_bytes, width, note)
    rule = "for the system and surprises" if machine.unified_gpu is not None else "a tenth, at least 1.1 GB"
    yield from _row("kept free", -kept_free_bytes(machine), width, rule)
    yield from _row("the system", -system_bytes(machine), width, "assumed, with every program closed")


def _right_now(machine: Machine, pool: PoolUse, running: Running, width: int) -> Iterator[str]:
    if machine.memory_available_bytes is None or pool.name == "gpu_limit":
        return
    if pool.name == "memory":
        yield from _row("available right now", machine.memory_available_bytes, width, "as the system counts it")
        if running.held_bytes:
            yield from _row("other Snug's models", -running.held_bytes, width, "taken, but still called available")
    yield from _row("= for models right now", pool.limit_now_bytes, width, "after what is kept free, at most as above")


def _row(label: str, size_bytes: int, width: int, note: str = "") -> Iterator[str]:
    sign = "- " if size_bytes < 0 else ""
    line = f"  {label:<24}{sign + gigabytes(abs(size_bytes)):>11}"
    if note and len(line) + len(note) + 2 <= width:
        yield f"{line}  {note}"
        return
    yield line
    for more in wrapped(note, max(24, width - 6)) if note else ():
        yield f"      {more}"


def _speed(label: str, speed: SpeedRange | None, width: int) -> Iterator[str]:
    if speed is None:
        yield from labelled(label, "not known yet: too little is known about this computer or this model", width)
        return
    figures = f"{speed.likely:,.1f} tokens/s"
    if speed.source != "measured":
        figures = f"about {figures}, {speed.low:,.1f} to {speed.high:,.1f}"
    yield from labelled(label, f"{figures}: {speed.basis}" if speed.basis else figures, width)
