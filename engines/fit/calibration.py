"""What earlier loads and chats of this computer teach the next prediction. Pure: records in, a `Correction` out.

Compared is always what was *predicted without any correction* with what was measured, for one computer and one build
of an engine: another version of the library begins anew. Records hold no text, no file name and no model name; a build
of a model is known by its architecture and its exact size. Reading and writing is for `engines.calibration_book`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated

from msgspec import Meta

from engines.base import LoadSettings, Usage
from engines.fit.values import Correction, ModelFacts, Placement, SpeedRange
from engines.hardware.machine import Bandwidth, Machine

GIBIBYTE = 1024**3
MEGABYTE = 1000**2

LOADS_LOOKED_AT = 20
"""The excess is the largest of so many latest loads: an old one is forgotten at last, a single one is not."""
REPLIES_LOOKED_AT = 9
"""Of one build. The median of nine stays where it is when four of them ran on battery or beside other work."""
CARRIED_EXCESS_BYTES = 512 * 1024**2
"""What one build may teach about *another* one is the engine process's overhead, which does not grow with the model."""
LEAST_FACTOR, GREATEST_FACTOR = 0.2, 3.0
SIMILAR_SIZE = 4
"""A build teaches others at most so many times larger or smaller: the work per layer decides how fast a tiny model is,
and memory how fast a large one is."""
LEAST_GENERATED_TOKENS = 16
LEAST_READ_TOKENS = 128
"""Shorter prompts measure the start of a batch, not the speed of reading."""
SHALLOW_TOKENS = 4096
"""Deeper into a conversation a model is slower; those speeds count only where there are no others."""

Bytes = Annotated[int, Meta(ge=0, le=1 << 60)]
Tokens = Annotated[int, Meta(ge=0, le=1 << 40)]
Rate = Annotated[float, Meta(gt=0, le=1e9)]
Name = Annotated[str, Meta(max_length=300)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRecord:
    """One model that was in memory: the peak of its engine process, predicted and measured."""

    id: Name
    """Of the load. The peak grows while a model is in memory, so a later note replaces the earlier one."""
    at: float
    """Unix time; for people, nothing is decided by it."""
    machine: Name
    engine: Name
    """Id and version of the engine's library."""
    build: Name
    context_tokens: Tokens
    kv_type: Name
    offload: Name
    in_main_memory: bool
    """Nothing lay on a card. Otherwise the process also shows file pages that were only passed on to the card, and
    its peak says nothing about what had to fit."""
    predicted_bytes: Bytes
    measured_bytes: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRecord:
    """One reply that was long enough to measure: tokens per second, predicted and measured."""

    at: float
    machine: Name
    engine: Name
    build: Name
    file_bytes: Bytes
    offload: Name
    depth_tokens: Tokens
    """Context in use at the end of the reply."""
    decode_predicted: Rate | None = None
    decode_measured: Rate | None = None
    prefill_predicted: Rate | None = None
    prefill_measured: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthRecord:
    """How fast main memory was found to be, where no table knows it."""

    at: float
    machine: Name
    bytes_per_second: Annotated[int, Meta(gt=0, le=1 << 50)]
    note: Name = ""


@dataclass(frozen=True, slots=True)
class Records:
    """Everything that is known, the latest last."""

    loads: tuple[LoadRecord, ...] = ()
    replies: tuple[ReplyRecord, ...] = ()
    bandwidths: tuple[BandwidthRecord, ...] = ()


def machine_key(machine: Machine) -> str:
    """Which computer a record is about: processor, GPUs, memory in whole GiB (it varies by a few MB with firmware)."""
    memory = f"{round(machine.memory_total_bytes / GIBIBYTE)} GiB"
    names = [machine.processor.name, *(gpu.name for gpu in machine.gpus), memory]
    return " | ".join(" ".join(name.split()) for name in names)[:300]


def build_key(facts: ModelFacts) -> str:
    """Which build a record is about. Two fine-tunes of one model in one quantization are the same here, and rightly:
    they need the same memory and run at the same speed.
    """
    return f"{facts.geometry.architecture}:{facts.file_bytes}"[:300]


def engine_key(engine_id: str, library_version: str | None) -> str:
    """Which build of an engine a record is about."""
    return f"{engine_id} {library_version or '?'}"[:300]


def offload_key(settings: LoadSettings) -> str:
    """How a model was split between processor and GPU."""
    return f"{settings.gpu_layers}/{settings.expert_layers_on_cpu}"


def load_record(
    facts: ModelFacts,
    machine: Machine,
    settings: LoadSettings,
    *,
    load_id: str,
    at: float,
    library_version: str | None,
    predicted: Placement,
    measured_bytes: int,
    context_tokens: int,
) -> LoadRecord:
    """The record of one load. `predicted` is the placement without any correction."""
    return LoadRecord(
        id=load_id,
        at=at,
        machine=machine_key(machine),
        engine=engine_key(facts.engine, library_version),
        build=build_key(facts),
        context_tokens=context_tokens,
        kv_type=settings.kv_type,
        offload=offload_key(settings),
        in_main_memory=predicted.gpu is None,
        predicted_bytes=predicted.main.total_bytes,
        measured_bytes=max(0, measured_bytes),
    )


def reply_record(
    facts: ModelFacts,
    machine: Machine,
    settings: LoadSettings,
    *,
    at: float,
    library_version: str | None,
    usage: Usage,
    decode: SpeedRange | None,
    prefill: SpeedRange | None,
) -> ReplyRecord | None:
    """The record of one reply, or None if it was too short to measure anything. Speeds as predicted, not corrected."""
    decode_measured = usage.decode_tokens_per_second if usage.generated_tokens >= LEAST_GENERATED_TOKENS else None
    read_tokens = usage.prompt_tokens - usage.reused_tokens
    prefill_measured = usage.prefill_tokens_per_second if read_tokens >= LEAST_READ_TOKENS else None
    if decode_measured is None and prefill_measured is None:
        return None
    return ReplyRecord(
        at=at,
        machine=machine_key(machine),
        engine=engine_key(facts.engine, library_version),
        build=build_key(facts),
        file_bytes=facts.file_bytes,
        offload=offload_key(settings),
        depth_tokens=usage.context_used_tokens,
        decode_predicted=decode.likely if decode is not None else None,
        decode_measured=decode_measured,
        prefill_predicted=prefill.likely if prefill is not None else None,
        prefill_measured=prefill_measured,
    )


def correction(
    records: Records,
    facts: ModelFacts,
    machine: Machine,
    *,
    library_version: str | None,
    settings: LoadSettings | None = None,
) -> Correction:
    """What the records say about loading `facts` on `machine`. Neutral for a profile and where nothing is known.

    Memory can only become more careful: the largest excess of measured over predicted, of this build as it is and of
    other builds up to `CARRIED_EXCESS_BYTES`; less than predicted teaches nothing, because a short chat does not touch
    all that a long one needs. The factors of speed are medians over builds of about this size of the medians of each.
    `settings` say which split between processor and GPU the measured speed must have had; None: the one used last.
    """
    if machine.is_profile:
        return Correction()
    where = (machine_key(machine), engine_key(facts.engine, library_version))
    loads = [record for record in records.loads if (record.machine, record.engine) == where]
    replies = [record for record in records.replies if (record.machine, record.engine) == where]
    build = build_key(facts)
    similar = [record for record in replies if _is_similar(record.file_bytes, facts.file_bytes)]
    own = [record for record in replies if record.build == build]
    offload = offload_key(settings) if settings is not None else (own[-1].offload if own else "")
    own = [record for record in own if record.offload == offload]
    return Correction(
        memory_extra_bytes=_memory_extra(loads, build),
        decode_factor=_factor((record.build, record.decode_predicted, record.decode_measured) for record in similar),
        prefill_factor=_factor((record.build, record.prefill_predicted, record.prefill_measured) for record in similar),
        decode_measured=_typical([(record.depth_tokens, record.decode_measured) for record in own]),
        prefill_measured=_typical([(record.depth_tokens, record.prefill_measured) for record in own]),
        loads=len(loads),
    )


def measured_bandwidths(records: Records, machine: Machine) -> tuple[Bandwidth, ...]:
    """What was measured of this computer's memory, the fastest first: a slow figure was taken beside other work."""
    rates = {
        record.bytes_per_second: record.note for record in records.bandwidths if record.machine == machine_key(machine)
    }
    return tuple(
        Bandwidth(bytes_per_second=rate, source="measured", note=rates[rate]) for rate in sorted(rates, reverse=True)
    )


def uncorrected(placement: Placement, correction_: Correction) -> Placement:
    """A placement as it was predicted before the correction was added to its process term."""
    main = placement.main
    extra = min(correction_.memory_extra_bytes, main.process_bytes)
    return replace(placement, main=replace(main, process_bytes=main.process_bytes - extra))


def describe(correction_: Correction) -> str:
    """The correction in one sentence, or "" when there is none."""
    parts: list[str] = []
    if correction_.memory_extra_bytes:
        parts.append(f"+{max(1, round(correction_.memory_extra_bytes / MEGABYTE)):,} MB of memory")
    if correction_.decode_measured is not None:
        parts.append(f"speed as measured, {_rate(correction_.decode_measured)} tokens/s")
    elif correction_.decode_factor is not None:
        parts.append(f"{correction_.decode_factor:.2g} times the predicted speed")
    if not parts and not correction_.loads:
        return ""
    loads = f"{correction_.loads:,} load{'' if correction_.loads == 1 else 's'} on this computer"
    if not parts:
        return f"Confirmed by {loads}: no more memory than predicted."
    return f"Corrected by {loads}: {', '.join(parts)}."


def _memory_extra(loads: Sequence[LoadRecord], build: str) -> int:
    comparable = [record for record in loads if record.in_main_memory]
    own = [record for record in comparable if record.build == build][-LOADS_LOOKED_AT:]
    own_excess = max((_excess(record) for record in own), default=0)
    any_excess = max((_excess(record) for record in comparable[-LOADS_LOOKED_AT:]), default=0)
    return max(own_excess, min(any_excess, CARRIED_EXCESS_BYTES))


def _excess(record: LoadRecord) -> int:
    return max(0, record.measured_bytes - record.predicted_bytes)


def _factor(compared: Iterable[tuple[str, float | None, float | None]]) -> float | None:
    ratios: dict[str, list[float]] = {}
    for build, predicted, measured in compared:
        if predicted is not None and measured is not None:
            ratios.setdefault(build, []).append(_bounded(measured / predicted))
    if not ratios:
        return None
    return median(median(of_build[-REPLIES_LOOKED_AT:]) for of_build in ratios.values())


def _is_similar(size_bytes: int, other_bytes: int) -> bool:
    return size_bytes <= SIMILAR_SIZE * other_bytes and other_bytes <= SIMILAR_SIZE * size_bytes


def _bounded(factor: float) -> float:
    return min(GREATEST_FACTOR, max(LEAST_FACTOR, factor))


def _typical(measured: Sequence[tuple[int, float | None]]) -> float | None:
    """The median speed at small depth, of the latest replies; of all depths where there are no shallow ones."""
    known = [(depth, rate) for depth, rate in measured if rate is not None]
    shallow = [rate for depth, rate in known if depth <= SHALLOW_TOKENS] or [rate for _, rate in known]
    return median(shallow[-REPLIES_LOOKED_AT:]) if shallow else None


def _rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:.0f}" if tokens_per_second >= 10 else f"{tokens_per_second:.1f}"
