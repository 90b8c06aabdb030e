"""The sampler chain does what its options say."""

from __future__ import annotations

from typing import Any

import pytest

from engines.backends.llama.sampler import Sampler
from engines.base import GenerationOptions


@pytest.fixture
def engine(load: Any, tiny: Any) -> Any:
    """A tiny model with logits of one evaluated token."""
    engine = load(tiny("qwen3"))
    engine._context.decode_token(5)
    return engine


def draw(engine: Any, options: GenerationOptions, recent: list[int], count: int) -> list[int]:
    with Sampler(engine._model, options, recent) as sampler:
        return [sampler.sample(engine._context) for _ in range(count)]


def test_temperature_zero_always_takes_the_best(engine: Any, logits: Any) -> None:
    best = int(logits(engine).argmax())
    assert draw(engine, GenerationOptions(temperature=0), [], 5) == [best] * 5


def test_top_k_one_is_greedy_at_any_temperature(engine: Any, logits: Any) -> None:
    best = int(logits(engine).argmax())
    assert draw(engine, GenerationOptions(temperature=5, top_k=1, seed=1), [], 5) == [best] * 5


def test_top_k_limits_what_can_be_drawn(engine: Any, logits: Any) -> None:
    best_three = set(logits(engine).argsort()[-3:].tolist())
    options = GenerationOptions(temperature=10, top_k=3, top_p=1, min_p=0, seed=3)
    assert set(draw(engine, options, [], 200)) == best_three


def test_a_tiny_top_p_and_a_high_min_p_leave_the_best(engine: Any, logits: Any) -> None:
    best = int(logits(engine).argmax())
    assert set(draw(engine, GenerationOptions(temperature=1, top_p=1e-6, seed=1), [], 20)) == {best}
    assert set(draw(engine, GenerationOptions(temperature=1, min_p=0.999999, seed=1), [], 20)) == {best}


def test_the_seed_decides_the_draw(engine: Any) -> None:
    options = {"temperature": 3.0, "top_p": 1.0, "min_p": 0.0, "top_k": 0}
    first = draw(engine, GenerationOptions(seed=11, **options), [], 30)
    assert first == draw(engine, GenerationOptions(seed=11, **options), [], 30)
    assert first != draw(engine, GenerationOptions(seed=12, **options), [], 30)


def test_a_repetition_penalty_counts_what_a_continued_reply_has_said(engine: Any, logits: Any) -> None:
    order = logits(engine).argsort()[::-1].tolist()
    options = GenerationOptions(temperature=0, repeat_penalty=1000.0)
    assert draw(engine, options, [order[0]], 1) != [order[0]]
    assert draw(engine, GenerationOptions(temperature=0, presence_penalty=1000.0), order[:2], 1) == [order[2]]


def test_penalties_look_back_only_as_far_as_asked(engine: Any, logits: Any) -> None:
    order = logits(engine).argsort()[::-1].tolist()
    options = GenerationOptions(temperature=0, presence_penalty=1000.0, repeat_last_tokens=1)
    assert draw(engine, options, [order[0], order[5]], 1) == [order[0]]


def test_without_a_seed_one_is_drawn_and_told(engine: Any) -> None:
    with Sampler(engine._model, GenerationOptions(), []) as one, Sampler(engine._model, GenerationOptions(), []) as two:
        assert one.seed != two.seed
