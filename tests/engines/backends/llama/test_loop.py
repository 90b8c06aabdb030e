"""The generation loop: greedy parity with a plain loop, finish reasons, cancel at every stage, usage, reasoning."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.base import ChatMessage, GenerationOptions
from engines.errors import ContextTooSmallError

GREEDY = GenerationOptions(temperature=0, max_tokens=32)

PROMPTS = [
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain in three sentences why leaves are green.",
    "List five fruits.",
    "Write a Python function that reverses a string.",
    "Wie geht es dir? Antworte auf Deutsch.",
    "Translate to French: The house is small and the garden is big.",
    "用中文介绍一下北京。",
    "Use many emoji to describe a birthday party 🎂🎉.",
    "Tell me a story about a dog who learned to read. " * 20,
]


def user(text: str) -> tuple[ChatMessage, ...]:
    return (ChatMessage("user", text),)


def assert_equals_reference(engine: Any, loop: Any, ask: Any, prompt: str, count: int) -> None:
    messages = user(prompt)
    reply = ask(engine, messages, GenerationOptions(temperature=0, max_tokens=count))
    text = engine._loop.template.render(messages)
    expected = loop.greedy(text, count)
    assert reply.text == loop.text_of(expected)
    assert reply.outcome.usage.generated_tokens in (len(expected), len(expected) + 1)  # and the end-of-turn token
    # Token for token: the cache holds the prompt and every generated token but the last, which is not evaluated.
    generated = engine._loop.cache.tokens[len(loop.tokens_of(text)) :]
    assert generated == (expected[:-1] if reply.outcome.reason == "length" else expected)
    engine._loop.cache.forget()  # the reference reads everything, so the next prompt must as well


@pytest.mark.model
def test_a_greedy_reply_equals_a_plain_loop(load: Any, ask: Any, reference_loop: Any, smollm2_path: Path) -> None:
    assert_equals_reference(load(smollm2_path), reference_loop(smollm2_path), ask, PROMPTS[8], 48)


@pytest.mark.model
@pytest.mark.slow
def test_ten_greedy_replies_of_128_tokens_equal_a_plain_loop(
    load: Any, ask: Any, reference_loop: Any, smollm2_path: Path
) -> None:
    engine, loop = load(smollm2_path), reference_loop(smollm2_path)
    for prompt in PROMPTS:
        assert_equals_reference(engine, loop, ask, prompt, 128)


@pytest.mark.parametrize("model", ["qwen3", "qwen35moe", "nemotron_h_moe", "gemma4", "gpt-oss", "deepseek4"])
def test_every_architecture_streams_and_counts(load: Any, ask: Any, tiny: Callable[[str], Path], model: str) -> None:
    engine = load(tiny(model))
    reply = ask(engine, user("Hello, how are you?"), GREEDY)
    usage = reply.outcome.usage
    assert reply.outcome.reason in ("length", "end")
    assert usage.prompt_tokens == reply.readings[-1].total
    assert reply.readings[0].done == 0
    assert usage.context_used_tokens == usage.prompt_tokens + usage.generated_tokens - 1
    assert usage.peak_memory_bytes > 10_000_000
    assert usage.time_to_first_token_seconds is not None
    assert usage.time_to_first_token_seconds > 0


def test_the_same_conversation_and_seed_give_the_same_reply(load: Any, ask: Any, tiny: Any) -> None:
    engine = load(tiny("qwen3"))
    texts = []
    for seed in (7, 7, 8):
        engine._loop.cache.forget()
        reply = ask(engine, user("Hi"), GenerationOptions(temperature=1.5, top_p=1.0, seed=seed, max_tokens=24))
        assert reply.outcome.usage.seed == seed
        texts.append(reply.text + reply.thinking)
    assert texts[0] == texts[1] != texts[2]


def test_without_a_seed_each_reply_draws_its_own_and_says_which(load: Any, ask: Any, tiny: Any) -> None:
    engine = load(tiny("qwen3"))
    seeds = {ask(engine, user("Hi"), GenerationOptions(max_tokens=1)).outcome.usage.seed for _ in range(3)}
    assert len(seeds) == 3


def test_a_long_prompt_is_read_in_batches_with_progress(load: Any, ask: Any, tiny: Any) -> None:
    engine = load(tiny("qwen3"), batch_tokens=64)
    reply = ask(engine, user("word " * 150), GREEDY)
    done = [reading.done for reading in reply.readings]
    assert done[:3] == [0, 64, 128]
    assert done[-1] == reply.readings[-1].total == reply.outcome.usage.prompt_tokens


@pytest.mark.parametrize("calls_before_cancel", [0, 1, 2, 50, 400])
@pytest.mark.parametrize("model", ["qwen3", "qwen35moe", "gemma4"])
def test_a_cancel_at_any_moment_leaves_a_sound_engine(
    load: Any, ask: Any, tiny: Any, model: str, calls_before_cancel: int
) -> None:
    engine = load(tiny(model), batch_tokens=64)
    messages = user("word " * 150)
    counter = itertools.count()
    cancelled = ask(engine, messages, GREEDY, lambda: next(counter) >= calls_before_cancel)
    assert cancelled.outcome.reason == "cancelled"
    after = ask(engine, messages, GREEDY)
    engine._loop.cache.forget()
    fresh = ask(engine, messages, GREEDY)
    assert after.outcome.reason == fresh.outcome.reason
    if model != "gemma4":  # its random router sits on ties: another batch split may flip an expert (facts, streaming)
        assert (after.text, after.thinking) == (fresh.text, fresh.thinking)


def test_a_cancel_in_the_middle_of_a_batch_is_noticed(load: Any, ask: Any, tiny: Any) -> None:
    engine = load(tiny("qwen3"), batch_tokens=512)
    counter = itertools.count()
    reply = ask(engine, user("word " * 300), GREEDY, lambda: next(counter) >= 5)
    assert reply.outcome.reason == "cancelled"
    assert [reading.done for reading in reply.readings] == [0]
    assert engine._loop.cache.tokens == []


def test_a_reply_that_reaches_its_limit_says_length(load: Any, ask: Any, tiny: Any) -> None:
    reply = ask(load(tiny("qwen3")), user("Hi"), GenerationOptions(temperature=0, max_tokens=5))
    assert (reply.outcome.reason, reply.outcome.usage.generated_tokens) == ("length", 5)


def test_a_reply_that_fills_the_context_says_so(load: Any, ask: Any, tiny: Any) -> None:
    engine = load(tiny("qwen3"), context_tokens=256)
    reply = ask(engine, user("word " * 90), GenerationOptions(temperature=0))
    usage = reply.outcome.usage
    if reply.outcome.reason == "context":
        assert usage.prompt_tokens + usage.generated_tokens == usage.context_tokens == 256
    else:  # a random model may end its turn first
        assert reply.outcome.reason == "end"


def test_a_conversation_longer_than_the_context_is_refused_with_both_figures(load: Any, ask: Any, tiny: Any) -> None:
    engine = load(tiny("qwen3"), context_tokens=256)
    with pytest.raises(ContextTooSmallError) as caught:
        ask(engine, user("word " * 400), GREEDY)
    assert "256" in caught.value.details
    assert ask(engine, user("Hi"), GREEDY).outcome.reason in ("length", "end")


@pytest.mark.model
@pytest.mark.slow
def test_a_stop_string_ends_the_reply(load: Any, ask: Any, smollm2_path: Path) -> None:
    engine = load(smollm2_path)
    whole = ask(engine, user(PROMPTS[3]), GREEDY).text
    word = whole.split()[4]
    engine._loop.cache.forget()
    reply = ask(engine, user(PROMPTS[3]), GenerationOptions(temperature=0, max_tokens=32, stop=(word,)))
    assert reply.outcome.reason == "stop"
    assert reply.text == whole[: whole.index(word)]


@pytest.mark.model
@pytest.mark.slow
def test_a_stopped_reply_continues_where_it_ended(load: Any, ask: Any, smollm2_path: Path) -> None:
    engine = load(smollm2_path)
    messages = user(PROMPTS[2])
    first = ask(engine, messages, GenerationOptions(temperature=0, max_tokens=20))
    rest = ask(
        engine,
        (*messages, ChatMessage("assistant", first.text)),
        GenerationOptions(temperature=0, max_tokens=20, continue_last=True),
    )
    engine._loop.cache.forget()
    whole = ask(engine, messages, GenerationOptions(temperature=0, max_tokens=40))
    assert first.text + rest.text == whole.text
    assert rest.outcome.usage.reused_tokens >= first.outcome.usage.prompt_tokens


def test_an_abandoned_generation_does_not_disturb_the_next(load: Any, ask: Any, tiny: Any) -> None:
    engine = load(tiny("qwen3"))
    stream = engine.generate(user("Hello"), GREEDY, lambda: False)
    for _ in range(4):
        next(stream)
    stream.close()
    assert ask(engine, user("Hello"), GREEDY).outcome.reason in ("length", "end")


def test_reasoning_that_the_prompt_opened_comes_as_thinking(load: Any, ask: Any, tiny: Any) -> None:
    engine = load(tiny("qwen35moe"))
    reply = ask(engine, user("Hi"), GenerationOptions(temperature=0, max_tokens=12, thinking=True))
    assert reply.pieces[0].kind == "thinking"
    plain = ask(engine, user("Hi"), GenerationOptions(temperature=0, max_tokens=12, thinking=False))
    assert plain.pieces[0].kind == "text"
