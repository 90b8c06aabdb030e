"""One recommendation for each shipped machine, with its arithmetic and a floor of speed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.assessor import Assessor
from engines.catalog import Catalog, load_catalog
from engines.fit.recommend import LEAST_BITS, Recommendation, best_build
from engines.fit.speed import READING_TOKENS_PER_SECOND
from engines.fit.verdict import DEFAULT_CONTEXT_TOKENS
from engines.hardware.machine import Machine
from engines.hardware.profiles import find_profile, load_profiles

GIB = 1024**3
CATALOG = load_catalog()

# machine: model, build, engine, context, GB of memory (card, then main), tokens/s at least (pessimistic).
EXPECTED = {
    "mac-mini-m4-16": ("qwen3.5-9b", "UD-Q5_K_XL", "llama", 32768, (8.4,), 10),
    "mac-mini-m4-24": ("gemma-4-26b-a4b-it", "UD-Q4_K_XL (QAT)", "llama", 32768, (16.0,), 24),
    "mac-mini-m4-32": ("gemma-4-26b-a4b-it", "UD-Q4_K_XL (QAT)", "llama", 32768, (16.0,), 24),
    "mac-mini-m4-pro-24": ("gemma-4-26b-a4b-it", "UD-Q4_K_XL (QAT)", "llama", 32768, (16.0,), 44),
    "mac-mini-m4-pro-48": ("qwen3.6-35b-a3b", "UD-Q5_K_XL", "llama", 32768, (27.9,), 30),
    "mac-mini-m4-pro-64": ("qwen3.6-35b-a3b", "UD-Q6_K_XL", "llama", 32768, (33.1,), 27),
    "macbook-air-m3-16": ("qwen3.5-9b", "UD-Q5_K_XL", "llama", 32768, (8.4,), 8),
    "macbook-air-m3-24": ("gemma-4-26b-a4b-it", "UD-Q4_K_XL (QAT)", "llama", 32768, (16.0,), 20),
    "macbook-air-m4-16": ("qwen3.5-9b", "UD-Q5_K_XL", "llama", 32768, (8.4,), 10),
    "macbook-air-m4-24": ("gemma-4-26b-a4b-it", "UD-Q4_K_XL (QAT)", "llama", 32768, (16.0,), 24),
    "macbook-air-m5-16": ("qwen3.5-9b", "UD-Q5_K_XL", "llama", 32768, (8.4,), 12),
    "macbook-air-m5-24": ("gemma-4-26b-a4b-it", "UD-Q4_K_XL (QAT)", "llama", 32768, (16.0,), 30),
    "mac-m4-max-36": ("qwen3.6-35b-a3b", "UD-Q4_K_XL", "llama", 32768, (23.7,), 41),
    "mac-m4-max-64": ("qwen3.6-35b-a3b", "UD-Q6_K_XL", "llama", 32768, (33.1,), 40),
    "mac-m4-max-128": ("qwen3.6-35b-a3b", "UD-Q6_K_XL", "llama", 32768, (33.1,), 40),
    "ryzen-ai-max-395-64": ("qwen3.6-35b-a3b", "UD-Q4_K_XL", "llama", 32768, (23.9,), 33),
    "ryzen-ai-max-395-128": ("qwen3.6-35b-a3b", "UD-Q6_K_XL", "llama", 32768, (33.4,), 27),
    "snapdragon-x-16": ("qwen3.5-9b", "UD-Q5_K_XL", "llama", 32768, (8.4,), 8),
    "snapdragon-x-32": ("qwen3.6-35b-a3b", "UD-Q4_K_XL", "llama", 32768, (23.7,), 20),
    "pc-16": ("gemma-4-e4b-it", "UD-Q4_K_XL (QAT)", "llama", 32768, (7.9,), 8),
    "pc-32": ("qwen3.6-35b-a3b", "UD-Q4_K_XL", "llama", 32768, (23.7,), 13),
    "pc-nvidia-8": ("qwen3.6-35b-a3b", "UD-Q4_K_XL", "llama", 32768, (7.1, 17.3), 29),
    "pc-nvidia-12": ("qwen3.6-35b-a3b", "UD-Q4_K_XL", "llama", 32768, (10.7, 26.4), 27),
    "pc-nvidia-16": ("qwen3.6-35b-a3b", "UD-Q4_K_XL", "llama", 32768, (14.9, 18.1), 46),
    "pc-nvidia-24": ("qwen3.6-35b-a3b", "UD-Q4_K_XL", "llama", 32768, (23.2, 1.1), 58),
}


def recommended(machine: Machine, catalog: Catalog = CATALOG) -> Recommendation:
    return Assessor(catalog, machine).recommendation()


def test_the_table_names_every_shipped_machine() -> None:
    assert {machine.profile for machine in load_profiles()} == set(EXPECTED)


@pytest.mark.parametrize("profile", EXPECTED)
def test_each_machine_gets_the_expected_model(profile: str) -> None:
    model, quantization, engine, context, gigabytes, floor = EXPECTED[profile]
    choice = recommended(find_profile(profile)).choice
    assert choice is not None and choice.verdict is not None and choice.verdict.decode is not None
    verdict = choice.verdict
    sums = [verdict.placement.main.total_bytes]
    if verdict.placement.gpu is not None:
        sums.insert(0, verdict.placement.gpu.total_bytes)
    assert (choice.model.id, choice.build.quantization, choice.build.engine) == (model, quantization, engine)
    assert verdict.context_tokens == context
    assert [total / 1e9 for total in sums] == pytest.approx(list(gigabytes), abs=0.1)
    assert verdict.decode.low >= floor
    assert all(pool.fits for pool in verdict.pools)


@pytest.mark.parametrize("profile", EXPECTED)
def test_what_is_recommended_always_fits_is_readable_and_precise_enough(profile: str) -> None:
    choice = recommended(find_profile(profile)).choice
    assert choice is not None and choice.verdict is not None and choice.verdict.decode is not None
    assert choice.verdict.kind == "fits"
    assert choice.verdict.largest_context_tokens >= DEFAULT_CONTEXT_TOKENS
    assert choice.verdict.decode.low > READING_TOKENS_PER_SECOND > 5
    assert (choice.build.bits or 0) >= LEAST_BITS


@pytest.mark.parametrize("profile", [profile for profile in EXPECTED if not profile.endswith("-128")])
def test_v4_flash_below_128_gb_never_fits(profile: str) -> None:
    for entry in recommended(find_profile(profile)).ranked:
        if entry.model.id.startswith("deepseek-v4"):
            assert entry.verdict is None or entry.verdict.kind == "cannot", entry.build.quantization


def test_the_mlx_build_of_gemma_26b_does_not_fit_a_24_gb_mac_and_is_refused_before_that_without_an_engine() -> None:
    ranked = recommended(find_profile("mac-mini-m4-24")).ranked
    verdicts = [
        entry.verdict for entry in ranked if entry.model.id == "gemma-4-26b-a4b-it" and entry.build.engine == "mlx"
    ]
    assert verdicts and all(verdict is None or verdict.kind != "fits" for verdict in verdicts)


def test_a_model_that_no_engine_can_load_is_refused_with_the_reason_and_what_works() -> None:
    ranked = recommended(find_profile("mac-m4-max-128")).ranked
    refused = [
        entry for entry in ranked if entry.build.repository == "mlx-community/DeepSeek-V4-Flash-4bit" and entry.verdict
    ]
    assert refused
    for entry in refused:
        assert entry.verdict is not None and entry.verdict.kind == "cannot"
        reason = entry.verdict.reasons[0]
        assert "mlx-lm" in reason and "DeepSeek V4" in reason
        assert "unsloth/DeepSeek-V4-Flash-0731-GGUF works instead" in reason


def test_a_computer_too_small_for_everything_gets_the_starter_and_a_tiny_one_nothing() -> None:
    pc = find_profile("pc-16")
    small = recommended(replace(pc, memory_total_bytes=5 * GIB))
    assert small.choice is not None and small.choice.model.starter
    assert "None of the larger models" in small.reason
    tiny = recommended(replace(pc, memory_total_bytes=1 * GIB))
    assert tiny.choice is None and "None of the known models" in tiny.reason


def test_where_nobody_knows_the_speed_that_is_the_reason_and_not_the_size() -> None:
    unmeasured = recommended(replace(find_profile("pc-16"), bandwidth=None))
    assert unmeasured.choice is not None and unmeasured.choice.model.starter
    assert "not known" in unmeasured.reason


def test_the_reason_names_memory_speed_and_the_stronger_one_that_it_is_not() -> None:
    reason = recommended(find_profile("mac-mini-m4-16")).reason
    assert "8.0 GB" in reason and "words a second" in reason
    assert "is stronger, but" in reason


def test_everything_is_ranked_and_what_fits_comes_first() -> None:
    ranked = recommended(find_profile("mac-mini-m4-24")).ranked
    assert len(ranked) == sum(len(model.build) for model in CATALOG.models)
    kinds = [entry.verdict.kind if entry.verdict else "unknown" for entry in ranked]
    order = ["fits", "less_context", "streams", "unknown", "cannot"]
    assert kinds == sorted(kinds, key=order.index)


def test_the_build_to_offer_first_is_the_recommended_kind_and_never_none() -> None:
    ranked = recommended(find_profile("mac-mini-m4-16")).ranked
    nine = best_build(entry for entry in ranked if entry.model.id == "qwen3.5-9b")
    assert nine is not None and nine.build.quantization == "UD-Q5_K_XL"
    large = best_build(entry for entry in ranked if entry.model.id == "qwen3.6-35b-a3b")
    assert large is not None and large.verdict is not None and large.verdict.kind == "cannot"
