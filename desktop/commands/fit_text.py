"""A verdict in words for a terminal. Pure: values in, lines out; nothing is printed here.

A prediction says "about", what was measured stands bare, and nothing about a described machine is called exact.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from engines.base import LoadSettings
from engines.fit import calibration
from engines.fit.sizes import gigabytes
from engines.fit.speed import READING_TOKENS_PER_SECOND
from engines.fit.values import Correction, ModelFacts, PoolUse, SpeedRange, Verdict, VerdictKind
from engines.hardware.machine import Machine
from engines.registry import ENGINES

LABEL_WIDTH = 13
_SAID_BY_THE_FIGURES = "Needs "
"""How the reason begins that repeats the row about memory."""


def verdict_words(kind: VerdictKind) -> str:
    """The verdict as the window's badges say it."""
    match kind:
        case "fits":
            return "Fits"
        case "less_context":
            return "Fits with less context"
        case "streams":
            return "Streams from disk"
        case "cannot":
            return "Cannot run here"
        case "unknown":
            return "Not known yet"
        case _:
            assert_never(kind)


def short_verdict(verdict: Verdict) -> str:
    """For a table: one or two words, with "not now" where other programs are in the way, else "slow"."""
    words = {"fits": "fits", "less_context": "less context", "streams": "from disk", "cannot": "cannot"}
    said = words.get(verdict.kind, "not known")
    if is_only_not_now(verdict):
        return f"{said}, not now"
    return f"{said}, slow" if is_slow(verdict) else said


def is_only_not_now(verdict: Verdict) -> bool:
    """It would run here, were it not for the programs that run at the moment."""
    return verdict.kind != "cannot" and verdict.kind_now == "cannot"


def is_slow(verdict: Verdict) -> bool:
    """It writes more slowly than people read."""
    return verdict.decode is not None and verdict.decode.likely < READING_TOKENS_PER_SECOND


def tightest(verdict: Verdict) -> PoolUse:
    """The limit that leaves least, in which a person should think."""
    return min(verdict.pools, key=lambda pool: pool.limit_bytes - pool.needed_bytes)


def fit_line(verdict: Verdict) -> str:
    """The whole verdict in one line, as `snug chat` says it before it loads."""
    pool = tightest(verdict)
    needs = f"{_needed(pool, verdict.placement.main.source == 'dry_run')} of {gigabytes(pool.total_bytes)}"
    if pool.name == "card":
        needs += " on the card"
    said = verdict_words(verdict.kind)
    return f"{said}: {needs}, context {verdict.context_tokens:,} tokens, {writing_words(verdict.decode)}."


def writing_words(speed: SpeedRange | None) -> str:
    """How fast it writes, and how that is known."""
    if speed is None:
        return "speed not known yet"
    match speed.source:
        case "prediction":
            return f"about {rate(speed.likely)} tokens/s (predicted)"
        case "corrected":
            return f"about {rate(speed.likely)} tokens/s (predicted, corrected by earlier chats)"
        case "measured":
            return f"{rate(speed.likely)} tokens/s (measured here)"
        case _:
            assert_never(speed.source)


def speed_range(speed: SpeedRange | None) -> str:
    """A speed with its range: "about 80 tokens/s (60 to 90)"; a measured one has none."""
    if speed is None:
        return "not known yet"
    if speed.source == "measured":
        return f"{rate(speed.likely)} tokens/s, measured here"
    corrected = ", corrected by earlier chats" if speed.source == "corrected" else ""
    return f"about {rate(speed.likely)} tokens/s ({rate(speed.low)} to {rate(speed.high)}{corrected})"


def _writing_value(verdict: Verdict) -> str:
    return speed_range(verdict.decode) + (", slower than people read" if is_slow(verdict) else "")


def rate(tokens_per_second: float) -> str:
    """To two digits, since no prediction knows a third: "7.2", "80", "1,300"."""
    if tokens_per_second < 10:
        return f"{tokens_per_second:.1f}"
    digits = len(str(int(tokens_per_second)))
    return f"{round(tokens_per_second, 2 - digits):,.0f}"


def counted(number: int, noun: str) -> str:
    """Like "1 core" and "6,000 cores"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def engine_name(engine_id: str) -> str:
    """The engine's name for people; an engine that this version lacks goes by its id."""
    return next((info.name for info in ENGINES if info.id == engine_id), {"mlx": "MLX"}.get(engine_id, engine_id))


def machine_line(machine: Machine) -> str:
    """The computer in one line. Its name says the memory as it is sold, the rest counts decimally."""
    total = gigabytes(machine.memory_total_bytes)
    parts = [machine.name]
    if machine.memory_available_bytes is not None:
        parts.append(f"{gigabytes(machine.memory_available_bytes)} of {total} of memory available now")
    else:
        parts.append(f"{total} of memory")
    if machine.card is not None:
        parts.append(f"{machine.card.name} with {gigabytes(machine.card.memory_total_bytes or 0)}")
    elif machine.unified_gpu is not None:
        parts.append(f"the GPU may use {gigabytes(machine.unified_gpu.shared_limit_bytes or 0)} of it")
    elif not machine.gpus:
        parts.append("no GPU")
    return "; ".join(parts)


def source_words(verdict: Verdict, machine: Machine) -> str:
    """Where the memory figures come from."""
    if machine.is_profile:
        return "computed for a described computer, so nothing here is exact"
    match verdict.placement.main.source:
        case "arithmetic":
            return "computed from the model's shape"
        case "dry_run":
            return "checked with the engine"
        case "measured":
            return "measured"
        case _:
            assert_never(verdict.placement.main.source)


def verdict_block(
    facts: ModelFacts, machine: Machine, verdict: Verdict, correction: Correction, *, width: int
) -> Iterator[str]:
    """One build's verdict with its figures and reasons, line by line."""
    now = ", but not right now" if is_only_not_now(verdict) else ""
    yield f"{verdict_words(verdict.kind)}{now} ({source_words(verdict, machine)})"
    if verdict.kind == "cannot":
        yield from _reasons(verdict, width)
        yield ""
    for label, value in _rows(facts, machine, verdict):
        yield from labelled(label, value, width)
    further = [] if verdict.kind == "cannot" else list(_reasons(verdict, width))
    if replace(correction, loads=0) != Correction():
        further += wrapped(f"{calibration.describe(correction)} snug fit --reset-learning forgets that.", width)
    if further:
        yield ""
        yield from further


def _reasons(verdict: Verdict, width: int) -> Iterator[str]:
    for reason in verdict.reasons:
        if verdict.kind == "cannot" or not reason.startswith(_SAID_BY_THE_FIGURES):
            yield from wrapped(reason, width)


def labelled(label: str, value: str, width: int) -> Iterator[str]:
    """A row of a report; what does not fit goes on below its value."""
    first, *rest = wrapped(value, max(24, width - LABEL_WIDTH - 2))
    yield f"  {label:<{LABEL_WIDTH}}{first}"
    for line in rest:
        yield f"  {'':<{LABEL_WIDTH}}{line}"


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, cut between words (wide characters count double)."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and display_width(lines[-1]) + 1 + display_width(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def display_width(text: str) -> int:
    """Columns that the text takes on a terminal: Chinese characters take two, combining marks none."""
    return sum(_columns(character) for character in text)


def shortened(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis where something is missing."""
    if display_width(text) <= width:
        return text
    kept = ""
    for character in text:
        if display_width(kept) + _columns(character) > width - 1:
            break
        kept += character
    return f"{kept}…"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text filled up with spaces to `width` columns."""
    space = " " * max(0, width - display_width(text))
    return space + text if right else text + space


def settings_words(settings: LoadSettings) -> str:
    """What the fit chose beyond the context, where it is not the ordinary; "" where it is."""
    parts: list[str] = []
    if settings.kv_type != "f16":
        parts.append(f"context kept as {settings.kv_type}")
    if settings.gpu_layers > 0:
        parts.append(f"{counted(settings.gpu_layers, 'layer')} on the GPU")
    if settings.expert_layers_on_cpu:
        parts.append(f"experts of {counted(settings.expert_layers_on_cpu, 'layer')} in main memory")
    return ", ".join(parts)


def _rows(facts: ModelFacts, machine: Machine, verdict: Verdict) -> Iterator[tuple[str, str]]:
    for pool in () if verdict.is_refused else verdict.pools:  # more memory would not help
        yield pool_label(pool), _pool_value(pool, machine, verdict)
    if verdict.kind != "cannot":
        yield "context", _context_value(facts, verdict, machine)
        choices = settings_words(verdict.settings)
        yield "runs on", verdict.device + (f"; {choices}" if choices else "")
        yield "writes", _writing_value(verdict)
        yield "reads", speed_range(verdict.prefill)
    if verdict.disk_needed_bytes:
        yield "on disk", gigabytes(verdict.disk_needed_bytes)


def pool_label(pool: PoolUse) -> str:
    """The limit's name at the left of a row."""
    return {"memory": "memory", "gpu_limit": "for the GPU", "card": "on the card"}[pool.name]


def _pool_value(pool: PoolUse, machine: Machine, verdict: Verdict) -> str:
    needed = _needed(pool, not machine.is_profile and verdict.placement.main.source == "dry_run")
    said = f"{needed} of {gigabytes(pool.total_bytes)}; models may use {gigabytes(pool.limit_bytes)}"
    now = gigabytes(pool.limit_now_bytes)
    if machine.is_profile or now == gigabytes(pool.limit_bytes):
        return said
    return f"{said}, right now {now}"


def _needed(pool: PoolUse, is_exact: bool) -> str:
    return gigabytes(pool.needed_bytes) if is_exact else f"about {gigabytes(pool.needed_bytes)}"


def _context_value(facts: ModelFacts, verdict: Verdict, machine: Machine) -> str:
    trained, largest = facts.geometry.trained_context_tokens, verdict.largest_context_tokens
    limits: list[str] = []
    if verdict.context_tokens == trained:
        limits.append("all that it was made for")
    else:
        limits.append(f"at most {largest:,} fit" if largest != trained else f"all {trained:,} would fit")
        if trained > largest:
            limits.append(f"made for {trained:,}")
    if not machine.is_profile and verdict.largest_context_now_tokens != largest:
        limits.append(f"right now {verdict.largest_context_now_tokens:,}")
    return f"{verdict.context_tokens:,} tokens ({', '.join(limits)})"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
