"""Ranks the catalogue for a computer and names one recommendation, with its reason. Pure.

Rules, in this order: it fits with a comfortable context; it writes faster than people read even in the pessimistic
case; its weights have at least four bits; it is comfortably fast rather than just readable; it is stronger (the
catalogue's own order, see models.toml); more precise weights as long as it stays comfortably fast and leaves room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engines.catalog import Catalog, CatalogBuild, CatalogModel
from engines.fit.sizes import gigabytes
from engines.fit.speed import READING_TOKENS_PER_SECOND, words_per_second
from engines.fit.values import ModelFacts, Verdict
from engines.fit.verdict import DEFAULT_CONTEXT_TOKENS
from engines.hardware.machine import Machine

COMFORTABLE_TOKENS_PER_SECOND = 8.0
"""One and a half times reading speed, in the pessimistic case. A judgement."""
LEAST_BITS = 4.0
"""Below this, weights lose too much to recommend without having tried (facts/models.md: no independent tests)."""
ENOUGH_BITS = 6.9
"""More precise than about six bits is not worth its memory and speed where nobody asked for it."""

ROOMY_SHARE = 0.8
"""A more precise build than the smallest is recommended only where it leaves a fifth of every limit unused."""

_ORDER = {"fits": 0, "less_context": 1, "streams": 2, "unknown": 3, "cannot": 4}


@dataclass(frozen=True, slots=True)
class Ranked:
    """One build of one model, judged. `facts` and `verdict` are None while size or shape are not known."""

    model: CatalogModel
    build: CatalogBuild
    facts: ModelFacts | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One choice, or none, and everything that was judged, best first."""

    choice: Ranked | None
    reason: str
    ranked: tuple[Ranked, ...]


Judge = Callable[[CatalogModel, CatalogBuild], tuple[ModelFacts | None, Verdict | None]]


def rank(catalog: Catalog, judge: Judge) -> tuple[Ranked, ...]:
    """Every build of the catalogue: what fits first, the stronger first."""
    found = [Ranked(model, build, *judge(model, build)) for model in catalog.models for build in model.build]
    return tuple(sorted(found, key=_place))


def recommend(ranked: Sequence[Ranked], machine: Machine) -> Recommendation:
    """The one to install, from what `rank` gave."""
    good = [entry for entry in ranked if _is_good(entry)]
    choice = max(good, key=_worth, default=None)
    if choice is None:
        choice = next((entry for entry in ranked if entry.model.starter and _runs(entry)), None)
        if choice is None:
            return Recommendation(None, f"None of the known models fits {machine.name}.", tuple(ranked))
        reason = "None of the larger models fits this computer and writes faster than people read."
        if any(_runs(entry) and entry.verdict and entry.verdict.decode is None for entry in ranked):
            reason = "Larger models fit, but how fast they would be here is not known: memory was not measured yet."
        return Recommendation(choice, reason, tuple(ranked))
    return Recommendation(choice, _reason(choice, ranked), tuple(ranked))


def best_build(entries: Iterable[Ranked]) -> Ranked | None:
    """Of one model's builds the one to offer first: the recommended kind of build, else the one that comes closest."""
    builds = list(entries)
    good = [entry for entry in builds if _is_good(entry)]
    if good:
        return max(good, key=_worth)
    return min(builds, key=_nearness, default=None)


def _nearness(entry: Ranked) -> tuple[bool, int, bool, int, float]:
    """For a model of which no build is good: what runs before what does not, and there the one that lacks least."""
    verdict = entry.verdict
    if verdict is None:
        return True, _ORDER["unknown"], False, 0, 0.0
    no_engine = entry.facts is None or bool(entry.facts.unsupported)
    missing = max(0, -verdict.margin_bytes)
    return False, _ORDER[verdict.kind], no_engine, missing, abs((entry.build.bits or 0.0) - LEAST_BITS)


def _is_good(entry: Ranked) -> bool:
    verdict = entry.verdict
    if verdict is None or verdict.kind != "fits" or entry.model.starter or verdict.decode is None:
        return False
    wanted = min(DEFAULT_CONTEXT_TOKENS, entry.model.trained_context_tokens)
    if verdict.largest_context_tokens < wanted or (entry.build.bits or 0) < LEAST_BITS:
        return False
    return verdict.decode.low >= READING_TOKENS_PER_SECOND


def _runs(entry: Ranked) -> bool:
    return entry.verdict is not None and entry.verdict.kind in {"fits", "less_context"}


def _worth(entry: Ranked) -> tuple[bool, int, bool, bool, float, float]:
    verdict = entry.verdict
    assert verdict is not None and verdict.decode is not None
    comfortable = verdict.decode.low >= COMFORTABLE_TOKENS_PER_SECOND
    bits = entry.build.bits or 0.0
    roomy = all(pool.needed_bytes <= ROOMY_SHARE * pool.limit_bytes for pool in verdict.pools)
    # Enough bits is better than more; below that, more is better while it stays comfortable and leaves room.
    precise = bits if bits <= ENOUGH_BITS and comfortable and roomy else -bits
    on_gpu = verdict.settings.gpu_layers != 0
    return comfortable, entry.model.strength, on_gpu, bits <= ENOUGH_BITS, precise, verdict.decode.likely


def _place(entry: Ranked) -> tuple[int, int, float]:
    kind = entry.verdict.kind if entry.verdict is not None else "unknown"
    bits = entry.build.bits or 0.0
    return _ORDER[kind], -entry.model.strength, abs(bits - LEAST_BITS)


def _reason(choice: Ranked, ranked: Sequence[Ranked]) -> str:
    verdict = choice.verdict
    assert verdict is not None and verdict.decode is not None
    needed = min(verdict.pools, key=lambda pool: pool.limit_bytes - pool.needed_bytes).needed_bytes
    sentence = (
        f"The strongest model that fits with room for {verdict.context_tokens:,} tokens: it needs {gigabytes(needed)} "
        f"of memory and writes {_words(verdict.decode.likely)}, faster than people read."
    )
    stronger = [
        entry
        for entry in ranked
        if entry.model.strength > choice.model.strength and entry.verdict is not None and _runs(entry)
    ]
    if not stronger:
        return sentence
    other = max(stronger, key=lambda entry: entry.model.strength)
    return f"{sentence} {other.model.name} is stronger, but {_objection(other)}."


def _objection(entry: Ranked) -> str:
    verdict = entry.verdict
    assert verdict is not None
    if verdict.kind == "less_context":
        return "fits only with less context"
    if verdict.decode is None:
        return "how fast it is here is not known"
    if verdict.largest_context_tokens < DEFAULT_CONTEXT_TOKENS:
        return f"fits only with {verdict.largest_context_tokens:,} tokens of context"
    if (entry.build.bits or 0) < LEAST_BITS:
        return "fits only with weights of less than four bits"
    words = _words(verdict.decode.likely)
    return f"would write {words}" if words.startswith("less") else f"would write only {words}"


def _words(tokens_per_second: float) -> str:
    """The speed in words: "about 13 words a second"."""
    words = words_per_second(tokens_per_second)
    if words < 1:
        return "less than one word a second"
    return f"about {words:.0f} word{'' if round(words) == 1 else 's'} a second"
