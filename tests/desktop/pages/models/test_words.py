"""Verdicts in words and bars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from desktop.pages.models.words import (
    bits_of,
    build_detail,
    build_name,
    context_in_full,
    context_saying,
    context_steps,
    grouped,
    pictures,
    speed_details,
    speed_words,
)
from desktop.services.assessing import judge_at
from desktop.services.fit_values import BuildFit, MemorySum
from engines.assessor import Assessor
from engines.base import LoadSettings
from engines.catalog import CatalogBuild, load_catalog
from engines.fit.values import MemoryParts, Placement, PoolUse, Running, SpeedRange, Verdict
from engines.hardware.profiles import find_profile
from engines.library import InstalledModel

GIGABYTE = 10**9
PARTS = MemoryParts(
    weights_bytes=6 * GIGABYTE,
    context_bytes=GIGABYTE,
    state_bytes=GIGABYTE // 10,
    compute_bytes=4 * GIGABYTE // 10,
    process_bytes=GIGABYTE // 10,
)


def pool(total_gb: float = 16.0, others_gb: float = 4.6, needed: int = PARTS.total_bytes) -> PoolUse:
    total = int(total_gb * GIGABYTE)
    margin = 3 * GIGABYTE // 2
    return PoolUse(
        name="memory",
        needed_bytes=needed,
        limit_bytes=total - margin,
        limit_now_bytes=total - margin - int(others_gb * GIGABYTE),
        total_bytes=total,
        margin_bytes=margin,
        others_bytes=int(others_gb * GIGABYTE),
    )


def sum_of(*pools: PoolUse, gpu: MemoryParts | None = None) -> MemorySum:
    return MemorySum(32768, Placement(main=PARTS, gpu=gpu), pools)


def verdict_of(kind: str = "fits", largest: int = 131072, largest_now: int = 65536, kv_type: str = "f16") -> Verdict:
    return Verdict(
        kind=kind,  # type: ignore[arg-type]
        kind_now=kind,  # type: ignore[arg-type]
        settings=LoadSettings(kv_type=kv_type),  # type: ignore[arg-type]
        context_tokens=32768,
        largest_context_tokens=largest,
        largest_context_now_tokens=largest_now,
        placement=Placement(main=PARTS),
        pools=(pool(),),
        decode=None,
        prefill=None,
        disk_needed_bytes=0,
        reasons=(),
    )


def test_speed_is_about_where_it_is_predicted_and_bare_where_it_is_measured() -> None:
    predicted = SpeedRange(low=14, likely=20, high=26, source="prediction")
    measured = SpeedRange(low=20, likely=20, high=20, source="measured")
    assert speed_words(predicted) == "about 15 words/s"
    assert speed_words(measured) == "15 words/s"
    assert speed_words(None) == ""
    crawling = SpeedRange(low=1, likely=1.2, high=2, source="prediction")
    assert speed_words(crawling) == "about 0.9 words/s, slow"
    assert speed_words(replace(crawling, source="measured")) == "0.9 words/s, slow"
    assert speed_details(predicted) == "14 to 26 tokens/s"
    assert speed_details(measured) == "20 tokens/s"
    assert speed_details(SpeedRange(low=0.5, likely=0.7, high=1.2, source="prediction")) == "0.5 to 1.2 tokens/s"
    assert speed_details(None) == "Not known yet"


def test_steps_go_from_4k_to_what_the_model_was_made_for() -> None:
    assert [step.label for step in context_steps(131072)] == ["4k", "8k", "16k", "32k", "64k", "128k"]
    assert context_steps(131072)[3].words == "32k, about 80 pages"
    assert [step.label for step in context_steps(40960)][-2:] == ["32k", "40k"]
    assert [step.label for step in context_steps(2048)] == ["2k"]
    assert context_steps(1048576)[-1].label == "1M"
    assert context_steps(34000)[-1].tokens == 32768, "two steps that are nearly the same would be one too many"
    assert context_in_full(1048576) == "1M, about 2,600 pages"


def test_what_is_said_of_a_context() -> None:
    fits = sum_of(pool(others_gb=1))
    assert context_saying(fits, verdict_of()).words == ""
    assert "half the size" in context_saying(fits, verdict_of(kv_type="q8_0")).words
    busy = sum_of(pool(others_gb=9))
    saying = context_saying(busy, verdict_of())
    assert (saying.words, saying.tone) == ("Fits once other apps make room. Right now 64k is the most.", "less")
    saying = context_saying(busy, verdict_of(largest_now=0))
    assert saying.words == "Fits once other apps make room: 2.1 GB more must be free."
    assert context_saying(busy, verdict_of(), in_use=True).words == ""
    assumed = sum_of(replace(pool(others_gb=9), limit_now_bytes=14 * GIGABYTE))
    assert context_saying(assumed, verdict_of()).words == "Fits when other apps are closed."
    tight = sum_of(pool(total_gb=8))
    saying = context_saying(tight, verdict_of(largest=16384))
    assert (saying.words, saying.tone) == ("Too much for this computer: 16k is the most that fits.", "no")
    assert context_saying(tight, verdict_of("cannot")).words == "Even the smallest context does not fit."
    refused = replace(verdict_of("cannot"), is_refused=True, reasons=("No engine reads it.", "Another."))
    saying = context_saying(fits, refused)
    assert (saying.words, saying.tone) == ("No engine reads it.", "no")


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        ("Q4_K_M", 4), ("UD-Q5_K_XL", 5), ("IQ2_XXS", 2), ("UD-IQ1_S", 1), ("Q8_0", 8), ("BF16", 16), ("F32", 32),
        ("MXFP4", 4), ("4bit", 4), ("4-bit DWQ", 4), ("bf16", 16), ("QAT Q4_0", 4), ("", None), ("odd", None),
    ],
)  # fmt: skip
def test_bits_are_read_from_the_name(quantization: str, bits: int | None) -> None:
    assert bits_of(quantization) == bits


@pytest.mark.parametrize(
    ("quantization", "name"),
    [("Q3_K_M", "Compact"), ("Q4_K_M", "Balanced"), ("Q5_K_M", "Precise"), ("Q6_K", "More precise"),
     ("Q8_0", "Nearly original"), ("BF16", "Original"), ("odd", "odd"), ("", "As it is")],
)  # fmt: skip
def test_forms_are_called_by_how_precise_they_are(quantization: str, name: str) -> None:
    assert build_name(BuildFit("a", quantization)) == name


def test_catalogues_bits_go_before_the_name() -> None:
    build = CatalogBuild(engine="mlx", quantization="4bit", repository="a/b", bits=4)
    assert build_detail(BuildFit("a", "4bit", build)) == "4-bit, MLX"
    assert build_detail(BuildFit("a", "UD-Q4_K_XL")) == "4-bit, UD-Q4_K_XL"
    assert build_detail(BuildFit("a", "odd", installed=InstalledModel("m", Path("m"), 1))) == "odd"


def test_bar_has_the_designs_parts_in_order() -> None:
    (picture,) = pictures(sum_of(pool()))
    assert picture.title == "Memory when running"
    assert picture.amount == "12.2 of 16 GB"
    assert [part.kind for part in picture.bar.parts] == ["other", "weights", "context", "buffers"]
    assert picture.bar.limit_bytes == 14.5 * GIGABYTE
    assert picture.bar.overflow == "none"
    assert picture.caption == "1.5 GB kept for the system"
    assert [(entry.label, entry.figure) for entry in picture.legend] == [
        ("Other apps", "4.6"),
        ("Weights", "6.0"),
        ("Context", "1.1"),
        ("Buffers", "0.5"),
        ("Free", "3.8 GB"),
    ]
    assert picture.bar.description.startswith("Memory when running: 12.2 of 16 GB, Other apps 4.6, Weights 6.0")


def test_what_sticks_out_is_missing() -> None:
    (picture,) = pictures(sum_of(pool(total_gb=8)))
    assert picture.bar.overflow == "cannot"
    assert picture.bar.overflow_bytes == 4.2 * GIGABYTE
    assert (picture.legend[-1].label, picture.legend[-1].figure) == ("Missing", "4.2 GB")


def test_second_copy_of_the_weights_is_spoken_of() -> None:
    (picture,) = pictures(sum_of(pool()))
    assert picture.note == ""
    parts = replace(PARTS, repacked_bytes=GIGABYTE)
    (picture,) = pictures(MemorySum(4096, Placement(main=parts), (pool(needed=parts.total_bytes),)))
    assert picture.note == "Weights include a second copy in the processor's own layout."


def test_small_parts_have_their_units() -> None:
    small = MemoryParts(weights_bytes=98_000_000, context_bytes=20_000_000)
    (picture,) = pictures(MemorySum(4096, Placement(main=small), (pool(needed=small.total_bytes),)))
    assert [entry.figure for entry in picture.legend] == ["4.6 GB", "98 MB", "20 MB", "0 MB", "11.3 GB"]


def test_a_card_has_a_bar_of_its_own_above_main_memory() -> None:
    assessor = Assessor(load_catalog(), find_profile("pc-nvidia-12"))
    facts = next(
        entry.facts
        for entry in assessor.recommendation().ranked
        if entry.facts is not None and entry.verdict is not None and entry.verdict.placement.gpu is not None
    )
    _, sum_ = judge_at(assessor, facts, 8192, Running())
    card, main = pictures(sum_)
    assert card.title == "Memory of the graphics card"
    assert main.title == "Main memory"
    assert card.caption.endswith("kept free")
    assert sum(part.size_bytes for part in card.bar.parts) <= card.bar.total_bytes


def test_limit_of_the_gpu_is_said_where_it_is_the_tighter_one() -> None:
    gpu = PoolUse(
        name="gpu_limit",
        needed_bytes=8 * GIGABYTE,
        limit_bytes=9 * GIGABYTE,
        limit_now_bytes=9 * GIGABYTE,
        total_bytes=10 * GIGABYTE,
        margin_bytes=GIGABYTE,
    )
    (picture,) = pictures(sum_of(pool(), gpu))
    assert picture.caption == "the GPU may use 9.0 GB, this takes 8.0 GB"


def test_every_term_is_in_one_of_the_three_parts() -> None:
    assert sum(grouped(PARTS)) == PARTS.total_bytes
    assert grouped(PARTS) == (6 * GIGABYTE, 11 * GIGABYTE // 10, 5 * GIGABYTE // 10)
