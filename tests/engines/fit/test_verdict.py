"""What the verdict says and chooses. That it is never wrong is test_never_wrong.py."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from engines.assessor import Assessor
from engines.catalog import load_catalog
from engines.fit.facts import from_gguf
from engines.fit.values import ModelFacts, Running, Verdict, Wish
from engines.fit.verdict import judge
from engines.formats.gguf import read_headers
from engines.hardware.machine import Machine
from engines.hardware.profiles import find_profile, load_profiles

GIB = 1024**3
CATALOG = load_catalog()
PC = find_profile("pc-16")
MAC = find_profile("mac-mini-m4-16")
CARD = find_profile("pc-nvidia-12")


def build_of(model_id: str, quantization: str) -> ModelFacts:
    model = CATALOG.find(model_id)
    assert model is not None
    build = next(build for build in model.build if build.quantization == quantization and build.engine == "llama")
    facts = Assessor(CATALOG, PC).facts_of_build(model, build)
    assert facts is not None
    return facts


NINE = build_of("qwen3.5-9b", "UD-Q4_K_XL")
TWELVE = build_of("gemma-4-12b-it", "UD-Q4_K_XL (QAT)")
LARGE = build_of("qwen3.6-35b-a3b", "UD-Q4_K_XL")
FLASH = build_of("deepseek-v4-flash-0731", "UD-IQ1_S")


def said(verdict: Verdict) -> str:
    return " ".join(verdict.reasons)


def test_a_model_that_fits_says_how_much_of_what_it_takes() -> None:
    verdict = judge(NINE, MAC)
    assert (verdict.kind, verdict.kind_now) == ("fits", "fits")
    assert verdict.context_tokens == 32768 and verdict.largest_context_tokens > 65536
    assert verdict.reasons[0].startswith("Needs 8.") or "GPU" in verdict.reasons[0]
    assert verdict.decode is not None and verdict.decode.low < verdict.decode.likely < verdict.decode.high
    assert verdict.disk_needed_bytes == 5_966_095_584
    assert verdict.margin_bytes > 0


def test_a_context_that_was_asked_for_is_kept_when_it_fits() -> None:
    verdict = judge(NINE, MAC, Wish(context_tokens=12_345))
    assert verdict.kind == "fits" and verdict.context_tokens == 12_345


def test_a_context_that_does_not_fit_is_less_context_and_what_fits_is_named() -> None:
    verdict = judge(NINE, MAC, Wish(context_tokens=262_144, kv_type="f16"))
    assert verdict.kind == "less_context"
    assert 8192 < verdict.largest_context_tokens < 262_144
    assert f"{verdict.largest_context_tokens:,} tokens; 262,144 were wanted" in said(verdict)
    pool = next(pool for pool in verdict.pools if pool.name == "gpu_limit")
    assert judge(NINE, MAC, Wish(context_tokens=verdict.largest_context_tokens, kv_type="f16")).kind == "fits"
    more = Wish(context_tokens=verdict.largest_context_tokens + 256, kv_type="f16")
    assert judge(NINE, MAC, more).kind == "less_context"
    assert pool.needed_bytes <= pool.limit_bytes


def test_more_context_than_the_model_was_made_for_is_said() -> None:
    starter = CATALOG.starter
    assert starter is not None
    facts = Assessor(CATALOG, PC).facts_of_build(starter, starter.build[0])
    assert facts is not None
    verdict = judge(facts, PC, Wish(context_tokens=100_000))
    assert verdict.kind == "less_context" and verdict.context_tokens == 8192
    assert "made for a context of 8,192 tokens" in said(verdict)


def test_what_cannot_run_says_what_it_needs_and_what_there_is() -> None:
    verdict = judge(FLASH, MAC)
    assert (verdict.kind, verdict.kind_now) == ("cannot", "cannot")
    assert verdict.decode is None and verdict.largest_context_tokens == 0
    assert "even with the smallest useful context" in said(verdict)
    assert "No engine in this version can run a model by reading it from disk" in said(verdict)
    assert verdict.margin_bytes < -60 * 10**9


def test_a_smaller_cache_is_chosen_only_to_make_the_full_context_fit_and_is_said() -> None:
    for total in range(5 * 10**9, 20 * 10**9, 50_000_000):
        verdict = judge(TWELVE, replace(PC, memory_total_bytes=total))
        if verdict.kind == "fits":
            break
    assert verdict.settings.kv_type == "q8_0"
    assert "about half the size (q8_0)" in said(verdict)
    roomy = judge(TWELVE, replace(PC, memory_total_bytes=64 * GIB))
    assert roomy.settings.kv_type == "f16" and roomy.settings.repack


def test_a_refused_combination_is_refused_with_the_reason() -> None:
    verdict = judge(FLASH, find_profile("mac-m4-max-128"), Wish(kv_type="q8_0"))
    assert verdict.kind == "cannot" and "f16" in verdict.reasons[0]
    verdict = judge(NINE, MAC, Wish(kv_type="q8_0", flash_attention=False))
    assert verdict.kind == "cannot" and "flash attention" in verdict.reasons[0]
    assert verdict.is_refused and not judge(FLASH, MAC).is_refused


def test_the_second_copy_of_weights_is_given_up_before_the_model_is() -> None:
    verdict = judge(LARGE, find_profile("pc-32"))
    assert verdict.kind == "fits" and not verdict.settings.repack
    assert verdict.placement.main.repacked_bytes == 0
    assert "own layout" in said(verdict)


def test_a_card_gets_everything_or_all_but_experts_or_some_layers() -> None:
    whole = judge(build_of("qwen3.5-4b", "UD-Q4_K_XL"), CARD)
    assert whole.settings.gpu_layers == -1 and whole.settings.expert_layers_on_cpu == 0
    assert whole.device == CARD.card.name if CARD.card else False
    experts = judge(LARGE, CARD)
    assert 0 < experts.settings.expert_layers_on_cpu < 40 and experts.device.endswith("and CPU")
    assert "experts" in said(experts)
    dense = judge(build_of("qwen3.8-27b", "UD-Q4_K_XL"), CARD)
    assert 0 < dense.settings.gpu_layers < 64
    assert {pool.name for pool in dense.pools} == {"memory", "card"}


def test_layers_that_a_person_asked_for_are_kept() -> None:
    verdict = judge(NINE, CARD, Wish(gpu_layers=5))
    assert verdict.settings.gpu_layers == 5
    verdict = judge(NINE, CARD, Wish(gpu_layers=0))
    assert verdict.settings.gpu_layers == 0 and verdict.device == "CPU"


def busy(machine: Machine, free_bytes: int) -> Machine:
    return replace(machine, memory_available_bytes=free_bytes, profile="")


def test_fits_when_idle_and_fits_right_now_are_two_answers() -> None:
    verdict = judge(NINE, busy(PC, 5 * GIB))
    assert (verdict.kind, verdict.kind_now) == ("fits", "cannot")
    assert "Right now other programs take too much" in said(verdict)
    assert verdict.largest_context_now_tokens == 0


def test_right_now_with_less_context_the_context_is_what_fits_now() -> None:
    for free in range(8 * 10**9, 12 * 10**9, 100_000_000):
        verdict = judge(NINE, busy(PC, free))
        if verdict.kind_now != "cannot":
            break
    assert verdict.kind == "fits" and verdict.kind_now == "less_context"
    assert verdict.context_tokens <= verdict.largest_context_now_tokens < 8192


def test_what_another_window_holds_and_what_this_one_gives_back_are_counted() -> None:
    machine = busy(PC, 10 * GIB)
    assert judge(NINE, machine).kind_now == "fits"
    assert judge(NINE, machine, running=Running(held_bytes=6 * GIB)).kind_now == "cannot"
    assert judge(NINE, busy(PC, 4 * GIB), running=Running(freed_bytes=8 * GIB)).kind_now == "fits"


def test_what_was_learnt_makes_the_sum_larger_and_never_smaller() -> None:
    from engines.fit.values import Correction

    plain = judge(NINE, PC)
    careful = judge(NINE, PC, correction=Correction(memory_extra_bytes=50_000_000))
    assert careful.placement.total_bytes == plain.placement.total_bytes + 50_000_000


@pytest.mark.parametrize("machine", load_profiles(), ids=lambda machine: machine.profile)
def test_more_memory_never_makes_a_verdict_worse(machine: Machine) -> None:
    order = {"cannot": 0, "less_context": 1, "fits": 2}
    for facts in (NINE, TWELVE, LARGE):
        kinds = [
            order[judge(facts, replace(machine, memory_total_bytes=machine.memory_total_bytes + more * GIB)).kind]
            for more in (0, 4, 16)
        ]
        assert kinds == sorted(kinds)


def test_the_arithmetic_verdict_takes_under_a_millisecond() -> None:
    """CPU time, the best of many: what a slider pays on every move."""
    for facts, machine in [(NINE, MAC), (LARGE, PC), (TWELVE, find_profile("pc-32")), (LARGE, CARD)]:
        times = []
        for _ in range(40):
            started = time.process_time_ns()
            judge(facts, machine)
            times.append(time.process_time_ns() - started)
        assert min(times) < 1_000_000, (facts.name, machine.name)


@pytest.mark.model
def test_reading_a_real_header_and_judging_it_takes_under_200_ms(smollm2_path: Path, gemma3_path: Path) -> None:
    for path in (smollm2_path, gemma3_path):
        times = []
        for _ in range(3):
            started = time.process_time_ns()
            judge(from_gguf(read_headers(path)), PC)
            times.append(time.process_time_ns() - started)
        assert min(times) < 200_000_000
