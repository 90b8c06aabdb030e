"""The promise: "fits" is never said where an independent oracle exceeds what the machine may use.

The oracle shares nothing with the fit's arithmetic: memory is what the engine itself planned (live for 240 of the
triples, recorded for the rest), limits are computed here anew. Machines are drawn so that the limit lies close to
the need, on both sides; a term that was forgotten in the sum makes these tests fail, which is shown term by term.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from engines import dry_run
from engines.base import DryRun, LoadSettings
from engines.checkpoints import LARGEST_STATE_BYTES, peak_bytes
from engines.fit import memory, verdict
from engines.fit.facts import from_gguf
from engines.fit.geometry import from_metadata
from engines.fit.values import TERMS, DryRunAnchors, ModelFacts, Placement, Verdict, Weights, Wish
from engines.formats.gguf import read_headers
from engines.hardware.machine import Gpu, Machine, Processor

DATA = Path(__file__).parents[2] / "data"
RECORDED: list[dict[str, Any]] = json.loads((DATA / "fit" / "recorded_parts.json").read_text())["models"]
GIB = 1024**3
MIB = 1024**2
PROCESSOR = Processor(name="CPU", architecture="x86_64", features=("avx2", "avx512f"))


@dataclass(frozen=True)
class Truth:
    """One load as it really is: what the engine says, and the little that it does not count (facts/fit.md A.8)."""

    facts: ModelFacts
    settings: LoadSettings
    weights_bytes: int
    repacked_bytes: int
    context_bytes: int
    """KV cache and state."""
    compute_bytes: int
    process_bytes: int
    checkpoint_bytes: int
    plan: DryRun | None = None

    @property
    def projector_bytes(self) -> int:
        """With its buffers, as the engine said for a SigLIP tower (facts/fit.md A.7)."""
        return int(self.facts.projector_bytes * 931.8 / 810.5)

    @property
    def total_bytes(self) -> int:
        vocabulary = self.facts.geometry.vocabulary
        output = vocabulary * 4
        tables = 10 * 10**6 + vocabulary * 125
        return (
            self.weights_bytes + self.repacked_bytes + self.context_bytes + self.compute_bytes + self.process_bytes
            + self.checkpoint_bytes + self.projector_bytes + output + tables
        )  # fmt: skip


def recorded_truths() -> Iterator[Truth]:
    """Models of the catalogue's real sizes, as metadata; their weights are whatever a build has, here 1 to 20 GB."""
    chance = random.Random(1)
    for model in RECORDED:
        metadata = {key: tuple(value) if isinstance(value, list) else value for key, value in model["metadata"].items()}
        geometry = from_metadata(model["architecture"], metadata)
        windows = sum(
            part.layers * (part.key_width + part.value_width) * 2 * 512
            for part in geometry.caches
            if part.window_tokens is not None
        )
        for run in model["runs"]:
            if "problem" in run:
                continue
            weights = run.get("weights_bytes", chance.randrange(10**9, 20 * 10**9))
            repacked = run.get("repacked_bytes", chance.choice([0, weights // 2]))
            facts = ModelFacts(
                name=model["name"],
                engine="llama",
                quantization="Q4_0",
                geometry=geometry,
                weights=Weights(total_bytes=weights, exact=True, packable_bytes=(("Q4_0", repacked),)),
                file_bytes=weights,
                projector_bytes=chance.choice([0, 0, 900 * MIB]),
            )
            yield Truth(
                facts=facts,
                settings=LoadSettings(
                    context_tokens=run["planned_context_tokens"],
                    kv_type=run["kv_type"],
                    flash_attention=run["flash_attention"],
                    batch_tokens=run["batch_tokens"],
                    gpu_layers=0,
                ),
                weights_bytes=weights,
                repacked_bytes=repacked,
                context_bytes=run["context_bytes"],
                compute_bytes=run["compute_bytes"],
                process_bytes=52 * MIB,  # measured by the engine process before any model, here 50 to 53 MiB
                checkpoint_bytes=peak_bytes(min(geometry.state_bytes + windows, LARGEST_STATE_BYTES)),
            )


def live_truths(paths: list[Path]) -> Iterator[Truth]:
    """Real files, planned now by the engine in a process of its own."""
    chance = random.Random(2)
    per_file = -(-240 // len(paths))
    for path in paths:
        facts = from_gguf(read_headers(path))
        settings = []
        while len(settings) < per_file:
            kv_type = chance.choice(("f16", "f16", "q8_0"))
            flash = chance.choice((None, True, False))
            if memory.refusal(facts.geometry, kv_type, flash):
                continue
            context = chance.randrange(256, facts.geometry.trained_context_tokens or 8192)
            settings.append(
                LoadSettings(
                    context_tokens=min(context, 40_000),
                    kv_type=kv_type,
                    flash_attention=flash,
                    gpu_layers=0,
                    repack=chance.choice((True, False)),
                )
            )
        for wanted, plan in zip(settings, dry_run.plan("llama", path, settings, timeout_s=300), strict=True):
            assert not plan.problem and plan.source == "breakdown"
            packed = sum(b.weights_bytes for b in plan.buffers if b.name in memory.PACKED_BUFFERS)
            yield Truth(
                facts=facts,
                settings=wanted,
                weights_bytes=facts.weights.total_bytes,  # the mapped file, whole and once
                repacked_bytes=packed,
                context_bytes=sum(b.context_bytes for b in plan.buffers),
                compute_bytes=sum(b.compute_bytes for b in plan.buffers),
                process_bytes=plan.process_bytes,
                checkpoint_bytes=0,
                plan=plan,
            )


def pc(limit_bytes: int) -> Machine:
    """A PC of which Snug may use so much: a tenth is kept free, 1.5 GiB are the system's. Computed here, not there."""
    total = int((limit_bytes + 1.5 * GIB) / 0.9)
    if total // 10 < GIB:
        total = int(limit_bytes + 2.5 * GIB)
    return Machine(name="PC", system="linux", processor=PROCESSOR, memory_total_bytes=total)


def mac(limit_bytes: int) -> Machine:
    """A Mac whose GPU may use so much: 92 % of its limit."""
    gpu = Gpu(name="GPU", vendor="apple", kind="integrated", shared_limit_bytes=int(limit_bytes / 0.92))
    return Machine(
        name="Mac", system="macos", processor=PROCESSOR, memory_total_bytes=2 * limit_bytes + 16 * GIB, gpus=(gpu,)
    )


def ask(truth: Truth, machine: Machine, anchors: DryRunAnchors | None = None) -> Verdict:
    wish = Wish(
        context_tokens=truth.settings.context_tokens,
        kv_type=truth.settings.kv_type,
        flash_attention=truth.settings.flash_attention,
        batch_tokens=truth.settings.batch_tokens,
        gpu_layers=0 if not machine.gpus else None,
        vision=True,
    )
    return verdict.judge(truth.facts, machine, wish, anchors=anchors)


def exceeds_memory(truth: Truth, answer: Verdict, limit_bytes: int) -> bool:
    """Whether a load as the verdict says would take more than the limit of a PC."""
    repacked = truth.repacked_bytes if answer.settings.repack else 0
    return truth.total_bytes - truth.repacked_bytes + repacked > limit_bytes


def exceeds_gpu(truth: Truth, limit_bytes: int) -> bool:
    on_gpu = truth.weights_bytes + truth.context_bytes + truth.compute_bytes + truth.projector_bytes
    return on_gpu > limit_bytes


def drawn_limit(chance: random.Random, need: int) -> int:
    """Close to the need, mostly: where a mistake would show."""
    spread = chance.choice([5 * MIB, 50 * MIB, 500 * MIB, need])
    return max(64 * MIB, need + chance.randrange(-spread, spread))


def wrong_verdicts(truths: list[Truth], count: int, seed: int) -> tuple[int, int, int]:
    """Asks `count` times; answers how often "fits" was wrong, how often it was said, how often it was not."""
    chance = random.Random(seed)
    wrong = said = refused = 0
    for _ in range(count):
        truth = chance.choice(truths)
        on_mac = chance.random() < 0.3 and truth.plan is None
        need = truth.total_bytes if not on_mac else truth.weights_bytes + truth.context_bytes + truth.compute_bytes
        limit = drawn_limit(chance, need)
        answer = ask(truth, mac(limit) if on_mac else pc(limit))
        if answer.kind == "fits":
            said += 1
            wrong += exceeds_gpu(truth, limit) if on_mac else exceeds_memory(truth, answer, limit)
        else:
            refused += 1
    return wrong, said, refused


def test_of_760_triples_of_real_sizes_none_fits_wrongly() -> None:
    wrong, said, refused = wrong_verdicts(list(recorded_truths()), 760, seed=11)
    assert wrong == 0
    assert said > 150 and refused > 150


@pytest.fixture(scope="module")
def live(smollm2_path: Path, gemma3_path: Path) -> list[Truth]:
    tiny = sorted((DATA / "tiny_models").glob("*.gguf"))
    return list(live_truths([*tiny, smollm2_path, gemma3_path]))


@pytest.mark.slow
@pytest.mark.model
def test_of_240_triples_planned_by_the_engine_now_none_fits_wrongly(live: list[Truth]) -> None:
    chance = random.Random(12)
    wrong = said = refused = 0
    for truth in live:
        assert len(live) >= 240
        limit = drawn_limit(chance, truth.total_bytes)
        answer = ask(truth, pc(limit))
        if answer.kind == "fits":
            said += 1
            wrong += exceeds_memory(truth, answer, limit)
        else:
            refused += 1
    assert wrong == 0
    assert said > 40 and refused > 40


def exactly(truth: Truth) -> DryRunAnchors:
    """The truth as the engine's plan, so that no slack of the arithmetic hides a term."""
    machine = pc(64 * GIB)
    placed = memory.placement(truth.facts, machine, truth.settings)
    state = truth.facts.geometry.state_bytes
    vocabulary = truth.facts.geometry.vocabulary
    main = replace(
        placed.main,
        weights_bytes=truth.weights_bytes,
        repacked_bytes=truth.repacked_bytes,
        context_bytes=truth.context_bytes - state,
        compute_bytes=truth.compute_bytes,
        process_bytes=truth.process_bytes,
        checkpoint_bytes=truth.checkpoint_bytes,
        projector_bytes=truth.projector_bytes,
        output_bytes=vocabulary * 4,
        vocabulary_bytes=10 * 10**6 + vocabulary * 125,
        source="dry_run",
    )
    context = truth.settings.context_tokens or 0
    exact = Placement(main=main)
    return DryRunAnchors(
        settings=truth.settings, low_context_tokens=context, low=exact, high_context_tokens=context, high=exact
    )


def forgetting(term: str) -> Callable[..., Placement]:
    """`memory.between` with one term left out of the sum."""
    between = memory.between

    def with_a_hole(anchors: DryRunAnchors, facts: ModelFacts, context_tokens: int) -> Placement:
        placed = between(anchors, facts, context_tokens)
        return replace(placed, main=placed.main.without(term))

    return with_a_hole


def wrong_with_exact_parts(seed: int) -> int:
    chance = random.Random(seed)
    wrong = 0
    for truth in recorded_truths():
        limit = truth.total_bytes - chance.choice([1, 10_000, 100_000])
        answer = ask(truth, pc(limit), exactly(truth))
        wrong += answer.kind == "fits" and answer.settings.repack and exceeds_memory(truth, answer, limit)
        assert ask(truth, pc(truth.total_bytes + MIB), exactly(truth)).kind == "fits"
    return wrong


def test_a_sum_of_exact_parts_is_refused_for_a_missing_byte() -> None:
    assert wrong_with_exact_parts(13) == 0


@pytest.mark.parametrize("term", TERMS)
def test_leaving_out_any_one_term_is_noticed(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "between", forgetting(term))
    assert wrong_with_exact_parts(13) > 0


@pytest.mark.parametrize("term", sorted(set(TERMS) - {"output_bytes"}))
def test_leaving_out_a_term_of_the_arithmetic_is_noticed_too(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """(All but the megabyte of logits, which is less than the bound of the compute buffer has to spare.)"""
    placement = memory.placement

    def with_a_hole(*arguments: Any) -> Placement:
        placed = placement(*arguments)
        return replace(placed, main=placed.main.without(term))

    monkeypatch.setattr(memory, "placement", with_a_hole)
    wrong = 0
    for truth in recorded_truths():
        limit = truth.total_bytes - 1
        answer = ask(truth, pc(limit))
        wrong += answer.kind == "fits" and exceeds_memory(truth, answer, limit)
    assert wrong > 0


def fixed(truth: Truth, machine: Machine, context_tokens: int) -> bool:
    settings = replace(truth.settings, context_tokens=context_tokens)
    pools = verdict.limits.pools(machine, memory.placement(truth.facts, machine, settings), verdict.ALONE)
    return all(pool.fits for pool in pools)


def test_for_fixed_settings_more_memory_and_less_context_never_hurt() -> None:
    chance = random.Random(14)
    truths = list(recorded_truths())
    for _ in range(200):
        truth = chance.choice(truths)
        limit = drawn_limit(chance, truth.total_bytes)
        contexts = sorted(chance.randrange(256, 140_000) for _ in range(8))
        fits = [fixed(truth, pc(limit), context) for context in contexts]
        assert fits == sorted(fits, reverse=True)
        grown = [fixed(truth, pc(limit + more * 300 * MIB), contexts[4]) for more in range(6)]
        assert grown == sorted(grown)
