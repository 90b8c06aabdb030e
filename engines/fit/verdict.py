"""The verdict: will this build run on this computer, with how much context, and how fast. One pure function.

It chooses what nobody asked for (context, KV type, GPU layers, experts on the CPU, the processor's own weight layout)
and never changes what somebody asked for: then it says what would fit instead. Under a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from engines.base import KvType, LoadSettings
from engines.fit import limits, memory, speed, support
from engines.fit.sizes import gigabytes
from engines.fit.values import (
    ALONE,
    NO_WISH,
    UNCORRECTED,
    Correction,
    DryRunAnchors,
    ModelFacts,
    Placement,
    PoolUse,
    Running,
    Verdict,
    VerdictKind,
    Wish,
)
from engines.hardware.machine import Machine

FULL_CONTEXT_TOKENS = 8192
""""Fits" promises at least this much where nobody asked for more: about twenty pages. Below it is "less context"."""
SMALLEST_CONTEXT_TOKENS = 4096
"""Less than this is no conversation: "cannot run"."""
DEFAULT_CONTEXT_TOKENS = 32768
"""Chosen where it fits and nobody asked; a card is filled for it, and a recommendation must offer it. More costs memory
from the start, since the engine allocates a context whole."""
_STEPS_TOKENS = (4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576)
UNKNOWN_TRAINED_TOKENS = 131072
"""Taken for a model that does not say how long a context it was made for."""


def judge(
    facts: ModelFacts,
    machine: Machine,
    wish: Wish = NO_WISH,
    running: Running = ALONE,
    *,
    correction: Correction = UNCORRECTED,
    anchors: DryRunAnchors | None = None,
) -> Verdict:
    """The verdict. `anchors`: what the engine planned for these very settings, used instead of arithmetic."""
    if facts.projector_bytes and not wish.vision:
        facts = replace(facts, projector_bytes=0)
    judging = _Judging(facts, machine, wish, running, correction, anchors)
    bases = judging.bases()
    refused = [support.why_unsupported(facts, base) for base in bases]
    if all(refused):
        return replace(judging.cannot(bases[0], (refused[0],)), is_refused=True)
    tried = []
    for base in (base for base, why in zip(bases, refused, strict=True) if not why):
        for way in judging.ways(base):
            if judging.fits(way, judging.target_tokens):
                return judging.verdict(way)
            tried.append(way)
    with_less = max(tried, key=lambda way: judging.largest_context(way, now=False))
    if judging.largest_context(with_less, now=False) >= judging.smallest_tokens:
        return judging.verdict(with_less)
    least = min(tried, key=judging.shortage_bytes)
    return judging.cannot(least, tuple(judging.shortage(least)))


@dataclass(slots=True)
class _Judging:
    """One question on its way to a verdict. Remembers each sum it has computed."""

    facts: ModelFacts
    machine: Machine
    wish: Wish
    running: Running
    correction: Correction
    anchors: DryRunAnchors | None
    _pools: dict[LoadSettings, tuple[PoolUse, ...]] = field(default_factory=dict)
    _largest: dict[tuple[LoadSettings, bool], int] = field(default_factory=dict)

    @property
    def trained_tokens(self) -> int:
        return self.facts.geometry.trained_context_tokens or UNKNOWN_TRAINED_TOKENS

    @property
    def target_tokens(self) -> int:
        """What must fit for "fits"."""
        return min(self.wish.context_tokens or FULL_CONTEXT_TOKENS, self.trained_tokens)

    @property
    def smallest_tokens(self) -> int:
        return min(SMALLEST_CONTEXT_TOKENS, self.trained_tokens, self.target_tokens)

    def bases(self) -> list[LoadSettings]:
        """One for each KV type that may be chosen, the best first."""
        wish = self.wish
        kv_types: tuple[KvType, ...] = ("f16", "q8_0") if wish.kv_type is None else (wish.kv_type,)
        return [
            LoadSettings(batch_tokens=wish.batch_tokens, flash_attention=wish.flash_attention, kv_type=kv_type)
            for kv_type in kv_types
        ]

    def ways(self, base: LoadSettings) -> Iterator[LoadSettings]:
        """Settings without a context, the best first."""
        wish, machine = self.wish, self.machine
        if wish.gpu_layers is not None or wish.expert_layers_on_cpu is not None:
            given = -1 if wish.gpu_layers is None else min(wish.gpu_layers, self.facts.geometry.layers + 1)
            yield from _packed_or_not(
                replace(base, gpu_layers=given, expert_layers_on_cpu=wish.expert_layers_on_cpu or 0)
            )
        elif self.facts.engine == "mlx":
            yield base
        elif machine.unified_gpu is not None:
            yield base
            if machine.unified_gpu.vendor != "apple":
                yield from _packed_or_not(replace(base, gpu_layers=0))
        elif machine.card is not None:
            yield from self._ways_on_card(base)
        else:
            yield from _packed_or_not(replace(base, gpu_layers=0))

    def _ways_on_card(self, way: LoadSettings) -> Iterator[LoadSettings]:
        """All on the card; then only experts outside; then fewer layers; then none."""
        yield way
        layers = self.facts.geometry.layers
        if self.facts.weights.expert_bytes:
            outside = _least(1, layers, lambda count: self._fits_card(replace(way, expert_layers_on_cpu=count)))
            yield from _packed_or_not(replace(way, expert_layers_on_cpu=outside))
        outside = _least(1, layers, lambda count: self._fits_card(replace(way, gpu_layers=layers + 1 - count)))
        if outside < layers:
            yield from _packed_or_not(replace(way, gpu_layers=layers + 1 - outside))
        yield from _packed_or_not(replace(way, gpu_layers=0))

    def _fits_card(self, way: LoadSettings) -> bool:
        wanted = self.wish.context_tokens or DEFAULT_CONTEXT_TOKENS
        pools = self.pools(replace(way, context_tokens=min(wanted, self.trained_tokens)))
        return all(pool.fits for pool in pools if pool.name == "card")

    def placement(self, settings: LoadSettings) -> Placement:
        anchors = self.anchors
        if anchors is not None and replace(settings, context_tokens=None) == replace(
            anchors.settings, context_tokens=None
        ):
            placed = memory.between(anchors, self.facts, settings.context_tokens or 0)
        else:
            placed = memory.placement(self.facts, self.machine, settings)
        extra = self.correction.memory_extra_bytes
        if extra:
            placed = replace(placed, main=replace(placed.main, process_bytes=placed.main.process_bytes + extra))
        return placed

    def pools(self, settings: LoadSettings) -> tuple[PoolUse, ...]:
        found = self._pools.get(settings)
        if found is None:
            found = self._pools[settings] = limits.pools(self.machine, self.placement(settings), self.running)
        return found

    def fits(self, way: LoadSettings, context_tokens: int, *, now: bool = False) -> bool:
        return self._room(way, context_tokens, now=now) >= 0

    def _room(self, way: LoadSettings, context_tokens: int, *, now: bool) -> int:
        """What the tightest limit leaves; negative: what is missing."""
        return min(
            (pool.limit_now_bytes if now else pool.limit_bytes) - pool.needed_bytes
            for pool in self.pools(replace(way, context_tokens=context_tokens))
        )

    def largest_context(self, way: LoadSettings, *, now: bool) -> int:
        """The most tokens that fit, in whole steps of the engine, up to what the model was made for; 0 if none do."""
        key = (way, now and not self.machine.is_profile)  # of a profile nobody knows what runs
        if key not in self._largest:
            self._largest[key] = self._find_largest(way, now=key[1])
        return self._largest[key]

    def _find_largest(self, way: LoadSettings, *, now: bool) -> int:
        trained = self.trained_tokens
        if self.fits(way, trained, now=now):
            return trained
        low = min(self.smallest_tokens, trained)
        low_room = self._room(way, low, now=now)
        if low_room < 0:
            return 0
        high, high_room = trained, self._room(way, trained, now=now)
        while high - low > memory.CONTEXT_STEP_TOKENS:
            # The sum is nearly a straight line: aim where it meets the limit, a step to the careful side.
            aim = low + int((high - low) * low_room / (low_room - high_room))
            aim = max(low + 1, min(aim, high - 1)) // memory.CONTEXT_STEP_TOKENS * memory.CONTEXT_STEP_TOKENS
            if aim <= low:
                aim = low // memory.CONTEXT_STEP_TOKENS * memory.CONTEXT_STEP_TOKENS + memory.CONTEXT_STEP_TOKENS
            if aim >= high:
                return low
            room = self._room(way, aim, now=now)
            if room >= 0:
                low, low_room = aim, room
            else:
                high, high_room = aim, room
        return low

    def verdict(self, way: LoadSettings) -> Verdict:
        """The verdict for a way that fits with at least the smallest context."""
        largest, largest_now = (self.largest_context(way, now=now) for now in (False, True))
        context = self._chosen_context(largest, largest_now)
        settings = replace(way, context_tokens=context)
        said = tuple(self._sayings(settings, largest, largest_now))
        return self._assemble(settings, (self._kind(largest), self._kind(largest_now)), (largest, largest_now), said)

    def cannot(self, way: LoadSettings, reasons: tuple[str, ...]) -> Verdict:
        """The verdict for a model that does not run here; the sum is that of the smallest context."""
        settings = replace(way, context_tokens=self.smallest_tokens)
        return self._assemble(settings, ("cannot", "cannot"), (0, 0), reasons)

    def _kind(self, largest: int) -> VerdictKind:
        wanted = self.wish.context_tokens
        if largest < self.smallest_tokens or largest == 0:
            return "cannot"
        if largest < self.target_tokens or (wanted is not None and wanted > self.trained_tokens):
            return "less_context"
        return "fits"

    def _chosen_context(self, largest: int, largest_now: int) -> int:
        """What was asked for if it fits; else the largest usual step up to the default, right now if possible."""
        room = largest_now if largest_now >= self.smallest_tokens else largest
        if self.wish.context_tokens is not None:
            return min(self.wish.context_tokens, room)
        steps = [step for step in _STEPS_TOKENS if step <= min(room, DEFAULT_CONTEXT_TOKENS)]
        return min(max(steps, default=room), room)

    def _assemble(
        self,
        settings: LoadSettings,
        kinds: tuple[VerdictKind, VerdictKind],
        largest_tokens: tuple[int, int],
        reasons: tuple[str, ...],
    ) -> Verdict:
        runs = kinds[0] != "cannot"
        decode = speed.decode_speed(self.facts, self.machine, settings, correction=self.correction) if runs else None
        prefill = speed.prefill_speed(self.facts, self.machine, settings, correction=self.correction) if runs else None
        return Verdict(
            kind=kinds[0],
            kind_now=kinds[1],
            settings=settings,
            context_tokens=settings.context_tokens or 0,
            largest_context_tokens=largest_tokens[0],
            largest_context_now_tokens=largest_tokens[1],
            placement=self.placement(settings),
            pools=self.pools(settings),
            decode=decode,
            prefill=prefill,
            disk_needed_bytes=self.facts.file_bytes + self.facts.projector_bytes,
            reasons=reasons,
            device=self._device(settings),
        )

    def _device(self, settings: LoadSettings) -> str:
        if settings.gpu_layers == 0:
            return "CPU"
        if self.machine.unified_gpu is not None:
            return self.machine.unified_gpu.name
        if self.machine.card is None:
            return "CPU"
        is_split = settings.expert_layers_on_cpu > 0 or settings.gpu_layers > 0
        return f"{self.machine.card.name} and CPU" if is_split else self.machine.card.name

    def _sayings(self, settings: LoadSettings, largest: int, largest_now: int) -> Iterator[str]:
        pools = self.pools(settings)
        tightest = min(pools, key=lambda pool: pool.limit_bytes - pool.needed_bytes)
        yield (
            f"Needs {gigabytes(tightest.needed_bytes)} of {_pool_words(tightest)}; "
            f"models may use {gigabytes(tightest.limit_bytes)}."
        )
        wanted = self.wish.context_tokens
        if wanted is not None and wanted > self.trained_tokens:
            yield f"The model was made for a context of {self.trained_tokens:,} tokens, not {wanted:,}."
        elif largest < self.target_tokens:
            yield f"The most context that fits is {largest:,} tokens; {self.target_tokens:,} were wanted."
        if largest_now < self.smallest_tokens:
            busy = max(pools, key=lambda pool: pool.needed_bytes - pool.limit_now_bytes)
            missing = busy.needed_bytes - busy.limit_now_bytes
            yield f"Right now other programs take too much: {gigabytes(missing)} more must be free. Close some first."
        elif largest_now < min(largest, self.target_tokens):
            yield f"Right now other programs leave room for {largest_now:,} tokens."
        yield from _choices(settings, self.wish)

    def shortage_bytes(self, way: LoadSettings) -> int:
        """What is missing of the tightest limit even with the smallest context."""
        return -self._room(way, self.smallest_tokens, now=False)

    def shortage(self, way: LoadSettings) -> Iterator[str]:
        """Why it cannot run, in figures."""
        pools = self.pools(replace(way, context_tokens=self.smallest_tokens))
        worst = max(pools, key=lambda pool: pool.needed_bytes - pool.limit_bytes)
        yield (
            f"Needs {gigabytes(worst.needed_bytes)} even with the smallest useful context. {_has_words(worst)}, and "
            f"models may use {gigabytes(worst.limit_bytes)} of it."
        )
        yield "No engine in this version can run a model by reading it from disk piece by piece."


def _choices(settings: LoadSettings, wish: Wish) -> Iterator[str]:
    """What the fit chose beyond the ordinary."""
    if wish.kv_type is None and settings.kv_type != "f16":
        yield f"The context is kept at about half the size ({settings.kv_type}) to make room; answers barely change."
    if settings.expert_layers_on_cpu and wish.expert_layers_on_cpu is None:
        yield f"The experts of {settings.expert_layers_on_cpu} layers stay in main memory, the rest is on the card."
    elif settings.gpu_layers > 0 and wish.gpu_layers is None:
        yield f"{settings.gpu_layers - 1} layers are on the card, the others in main memory."
    if not settings.repack:
        yield "The processor works on the file's own layout of the weights, which is slower and takes less memory."


def _pool_words(pool: PoolUse) -> str:
    match pool.name:
        case "memory":
            return "memory"
        case "gpu_limit":
            return "what the GPU may use of memory"
        case "card":
            return "the card's memory"


def _packed_or_not(way: LoadSettings) -> Iterator[LoadSettings]:
    """With the processor's own copy of the weights, and without it."""
    yield way
    yield replace(way, repack=False)


def _has_words(pool: PoolUse) -> str:
    total = gigabytes(pool.total_bytes)
    match pool.name:
        case "memory":
            return f"This computer has {total} of memory"
        case "gpu_limit":
            return f"Of this computer's memory the GPU may use {total}"
        case "card":
            return f"The card has {total}"


def _least(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest count from `low` to `high` for which `holds`, which is monotonic; `high` if none does."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
