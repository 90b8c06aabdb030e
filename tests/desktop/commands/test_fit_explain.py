from __future__ import annotations

import re
from dataclasses import replace

import pytest

from desktop.commands.fit_explain import Judged, explanation
from engines.base import LoadSettings
from engines.fit.values import ALONE, TERMS, CachePart, Correction, ModelFacts, Running, Wish
from engines.fit.verdict import judge
from engines.hardware.machine import Gpu, Machine
from engines.hardware.profiles import find_profile


def explained(
    facts: ModelFacts,
    machine: Machine,
    *,
    correction: Correction | None = None,
    running: Running = ALONE,
    width: int = 100,
) -> str:
    correction = correction or Correction()
    verdict = judge(facts, machine, Wish(context_tokens=8192), running, correction=correction)
    return "\n".join(explanation(Judged(facts, machine, verdict, correction, running), width=width))


def bytes_in(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) bytes +[\d.]+ [MG]B$", text, re.MULTILINE)]


def test_the_terms_add_up_to_the_total(facts: ModelFacts, here: Machine) -> None:
    first_sum = explained(facts, here).split("\n\n", maxsplit=1)[0]
    *terms, total = bytes_in(first_sum)

    assert first_sum.startswith("Main memory, computed\n  weights ")
    assert sum(terms) == total
    assert 3 * 10**9 in terms and 2 * 2 * 1024 * 32 * 8192 in terms


def test_every_term_that_is_not_nothing_is_listed(facts: ModelFacts, here: Machine) -> None:
    everything = replace(
        facts,
        geometry=replace(
            facts.geometry,
            state_bytes=1_000_000,
            needs_checkpoints=True,
            caches=(
                CachePart(name="full", layers=8, key_width=512, value_width=512),
                CachePart(name="window", layers=24, key_width=512, value_width=512, window_tokens=1024),
                CachePart(name="compressed", layers=4, key_width=512, value_width=0, divisor=4),
            ),
        ),
        weights=replace(facts.weights, expert_bytes=2 * 10**9, packable_bytes=(("Q4_K", 10**9),)),
    )
    verdict = judge(everything, here, Wish(context_tokens=8192))
    main = replace(verdict.placement.main, projector_bytes=5)
    missing = [term for term in TERMS if not getattr(main, term)]
    assert missing == [], "this test is about all of them"
    full = replace(verdict, placement=replace(verdict.placement, main=main))

    said = "\n".join(explanation(Judged(everything, here, full, Correction(), ALONE), width=100))

    labels = ("weights", "second copy of weights", "context", "recurrent state", "working buffers", "output",
              "saved states", "pictures", "vocabulary", "engine process")  # fmt: skip
    assert all(f"\n  {label} " in said for label in labels)
    assert "of the last 1,024 tokens and one batch only" in " ".join(said.split())
    assert "512 (keys only) values per 4 tokens" in " ".join(said.split())
    assert "2.0 GB of it are experts" in said


def test_limits_are_shown_with_what_is_kept_free(facts: ModelFacts, here: Machine) -> None:
    said = explained(facts, here, running=Running(held_bytes=10**9))

    for row in ("kept free ", "the system ", "= for models ", "available right now ", "other Snug's models ", "left "):
        assert f"\n  {row}" in said


def test_a_card_and_a_shared_gpu_have_limits_of_their_own(facts: ModelFacts, here: Machine) -> None:
    card = Gpu(
        name="RTX", vendor="nvidia", kind="discrete", memory_total_bytes=12 * 10**9, memory_free_bytes=11 * 10**9
    )
    on_card = explained(facts, replace(here, gpus=(card,)))
    on_mac = explained(facts, find_profile("mac-mini-m4-16"))

    assert "The card's memory, computed" in on_card
    assert "What models may use of the card" in on_card
    assert "what the driver calls free" not in on_card.split("What models may use of the card")[0]
    assert "What models may use of the GPU's part of memory" in on_mac
    assert "the system's limit" in on_mac
    assert "right now" not in on_mac


def test_speed_names_its_basis_and_learning_its_source(facts: ModelFacts, here: Machine) -> None:
    plain = explained(facts, here)
    taught = explained(facts, here, correction=Correction(memory_extra_bytes=34_000_000, decode_measured=9.0, loads=2))

    assert re.search(r"writes +about [\d.]+ tokens/s, [\d.]+ to [\d.]+: \S", plain)
    assert "Nothing yet: no model was loaded with this engine here." in plain
    assert "because earlier loads here took more" in " ".join(taught.split())
    assert "+34 MB of memory" in taught
    assert "9.0 tokens/s" in taught


def test_without_a_bandwidth_the_speed_is_not_known(facts: ModelFacts, here: Machine) -> None:
    assert "writes       not known yet" in explained(facts, replace(here, bandwidth=None))


def test_what_the_engine_planned_is_said_to_be_its_own(facts: ModelFacts, here: Machine) -> None:
    verdict = judge(facts, here, Wish(context_tokens=8192))
    main = replace(verdict.placement.main, source="dry_run")
    planned = replace(
        verdict, placement=replace(verdict.placement, main=main), settings=LoadSettings(context_tokens=8192)
    )

    said = "\n".join(explanation(Judged(facts, here, planned, Correction(), ALONE), width=100))

    assert said.startswith("Main memory, as the engine plans it")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_lines_keep_to_the_width(facts: ModelFacts, here: Machine, width: int) -> None:
    assert max(len(line) for line in explained(facts, here, width=width).splitlines()) <= max(width, 66)
