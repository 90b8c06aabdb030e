from __future__ import annotations

from dataclasses import replace

import pytest

from desktop.commands.fit_text import (
    counted,
    display_width,
    engine_name,
    fit_line,
    labelled,
    machine_line,
    padded,
    rate,
    settings_words,
    short_verdict,
    shortened,
    source_words,
    speed_range,
    verdict_block,
    wrapped,
    writing_words,
)
from engines.base import LoadSettings
from engines.fit.sizes import gigabytes
from engines.fit.values import ALONE, Correction, ModelFacts, SpeedRange, Wish
from engines.fit.verdict import judge
from engines.hardware.machine import Gpu, Machine
from engines.hardware.profiles import find_profile

MEASURED = SpeedRange(low=7.25, likely=7.25, high=7.25, source="measured")
PREDICTED = SpeedRange(low=61.0, likely=83.0, high=92.0, source="prediction")


def block(facts: ModelFacts, machine: Machine, wish: Wish | None = None, correction: Correction | None = None) -> str:
    correction = correction or Correction()
    verdict = judge(facts, machine, wish or Wish(), correction=correction)
    return "\n".join(verdict_block(facts, machine, verdict, correction, width=100))


def test_one_line_says_it_all(facts: ModelFacts, here: Machine) -> None:
    verdict = judge(facts, here, Wish(context_tokens=8192))

    needed, speed = gigabytes(verdict.pools[0].needed_bytes), rate(verdict.decode.likely) if verdict.decode else ""
    assert fit_line(verdict) == (
        f"Fits: about {needed} of 16.0 GB, context 8,192 tokens, about {speed} tokens/s (predicted)."
    )


def test_a_figure_of_the_engine_itself_is_not_called_about(facts: ModelFacts, here: Machine) -> None:
    verdict = judge(facts, here, Wish(context_tokens=8192))
    planned = replace(
        verdict, placement=replace(verdict.placement, main=replace(verdict.placement.main, source="dry_run"))
    )

    assert fit_line(planned).startswith(f"Fits: {gigabytes(verdict.pools[0].needed_bytes)} of 16.0 GB, ")
    assert source_words(planned, here) == "checked with the engine"


def test_a_described_computer_is_never_exact(facts: ModelFacts) -> None:
    mac = find_profile("mac-mini-m4-16")
    said = block(facts, mac)

    assert said.startswith("Fits (computed for a described computer, so nothing here is exact)")
    assert "about " in said
    assert "right now" not in said


def test_a_verdict_in_full_has_memory_context_speed_and_disk(facts: ModelFacts, here: Machine) -> None:
    said = block(facts, here, Wish(context_tokens=8192))

    assert said.startswith("Fits (computed from the model's shape)\n  memory       about ")
    assert "\n  context      8,192 tokens (at most " in said
    assert "made for 131,072" in said
    assert "\n  runs on      CPU\n  writes       about " in said
    assert "\n  on disk      3.0 GB" in said
    assert "Needs" not in said


def test_why_it_cannot_run_comes_first(facts: ModelFacts, here: Machine) -> None:
    huge = replace(facts, weights=replace(facts.weights, total_bytes=10**11), file_bytes=10**11)
    said = block(huge, here)

    title, reason = said.splitlines()[:2]
    assert title.startswith("Cannot run here (")
    assert reason.startswith("Needs ")
    assert "writes" not in said


def test_what_is_refused_has_no_figures_of_memory(facts: ModelFacts, here: Machine) -> None:
    text = block(replace(facts, unsupported="It is a poem."), here)

    assert "It is a poem." in text
    assert "memory" not in text


def test_right_now_is_left_out_where_it_looks_the_same(facts: ModelFacts, here: Machine) -> None:
    free = replace(here, memory_available_bytes=here.memory_total_bytes)
    limit_bytes = judge(facts, free).pools[0].limit_bytes
    kept_bytes = here.memory_available_bytes - judge(facts, here).pools[0].limit_now_bytes
    almost = replace(here, memory_available_bytes=limit_bytes + kept_bytes - 1)

    assert judge(facts, almost).pools[0].limit_now_bytes == limit_bytes - 1
    assert "right now" not in next(line for line in block(facts, almost).splitlines() if "memory" in line)
    assert "right now" in next(line for line in block(facts, here).splitlines() if "memory" in line)


def test_one_is_not_many() -> None:
    assert (counted(1, "core"), counted(6000, "core")) == ("1 core", "6,000 cores")


def test_a_computer_that_is_busy_now_is_said_in_the_title(facts: ModelFacts, here: Machine) -> None:
    busy = replace(here, memory_available_bytes=3 * 10**9)
    verdict = judge(facts, busy, Wish(), ALONE)

    assert block(facts, busy).startswith("Fits, but not right now (")
    assert short_verdict(verdict) == "fits, not now"


def test_a_correction_is_shown_with_the_way_to_forget_it(facts: ModelFacts, here: Machine) -> None:
    corrected = block(facts, here, correction=Correction(memory_extra_bytes=34_000_000, decode_factor=0.9, loads=12))
    confirmed = block(facts, here, correction=Correction(loads=12))

    assert "Corrected by 12 loads on this computer: +34 MB of memory, 0.9 times the predicted speed." in " ".join(
        corrected.split()
    )
    assert "snug fit --reset-learning" in " ".join(corrected.split())
    assert "corrected by earlier chats" in corrected
    assert "--reset-learning" not in confirmed


def test_what_writes_slower_than_people_read_is_called_slow(facts: ModelFacts, here: Machine) -> None:
    slow = judge(facts, here, correction=Correction(decode_measured=4.0))
    quick = judge(facts, here, correction=Correction(decode_measured=8.0))

    assert (short_verdict(slow), short_verdict(quick)) == ("fits, slow", "fits")
    assert "4.0 tokens/s, measured here, slower than people read" in block(
        facts, here, None, Correction(decode_measured=4.0)
    )


@pytest.mark.parametrize(
    ("speed", "short", "long"),
    [
        (None, "speed not known yet", "not known yet"),
        (MEASURED, "7.2 tokens/s (measured here)", "7.2 tokens/s, measured here"),
        (PREDICTED, "about 83 tokens/s (predicted)", "about 83 tokens/s (61 to 92)"),
        (
            replace(PREDICTED, source="corrected"),
            "about 83 tokens/s (predicted, corrected by earlier chats)",
            "about 83 tokens/s (61 to 92, corrected by earlier chats)",
        ),
    ],
)
def test_a_speed_says_how_it_is_known(speed: SpeedRange | None, short: str, long: str) -> None:
    assert (writing_words(speed), speed_range(speed)) == (short, long)


@pytest.mark.parametrize(
    ("value", "words"), [(0.94, "0.9"), (7.25, "7.2"), (83.4, "83"), (166.0, "170"), (1266.0, "1,300")]
)
def test_a_rate_has_two_digits(value: float, words: str) -> None:
    assert rate(value) == words


def test_engines_go_by_their_names() -> None:
    assert (engine_name("llama"), engine_name("mlx"), engine_name("of tomorrow")) == ("llama.cpp", "MLX", "of tomorrow")


def test_a_computer_in_one_line(here: Machine) -> None:
    card = Gpu(name="RTX 4070", vendor="nvidia", kind="discrete", memory_total_bytes=12 * 10**9)

    assert machine_line(here) == "Test computer; 12.0 GB of 16.0 GB of memory available now; no GPU"
    assert machine_line(replace(here, gpus=(card,))).endswith("available now; RTX 4070 with 12.0 GB")
    assert "; the GPU may use " in machine_line(find_profile("mac-mini-m4-16"))


def test_choices_beyond_the_ordinary_are_named() -> None:
    assert settings_words(LoadSettings()) == ""
    chosen = LoadSettings(kv_type="q8_0", gpu_layers=20, expert_layers_on_cpu=3)
    assert settings_words(chosen) == ("context kept as q8_0, 20 layers on the GPU, experts of 3 layers in main memory")


def test_chinese_takes_two_columns_and_marks_none() -> None:
    assert [display_width(text) for text in ("abc", "装得下", "e\u0301")] == [3, 6, 1]
    assert padded("模型", 6) == "模型  "
    assert padded("模型", 6, right=True) == "  模型"
    assert shortened("模型模型", 5) == "模型…"
    assert shortened("short", 5) == "short"


def test_lines_are_broken_between_words_only() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("unbreakable", 3) == ["unbreakable"]
    assert wrapped("模型 模型", 4) == ["模型", "模型"]
    assert list(labelled("memory", "word " * 12 + "end", 50))[1].startswith(" " * 15)
