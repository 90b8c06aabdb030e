"""Text to tokens and back."""

from __future__ import annotations

from typing import Any

import pytest

TEXTS = ["Hello, world.", " leading and trailing ", "你好 👩‍👩‍👧 é", "line\nline\r\n\ttab", "a" * 5000, ""]


@pytest.mark.model
@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_the_tokens_are_the_bytes_of_the_text(load: Any, smollm2_path: Any, text: str) -> None:
    tokens = load(smollm2_path, context_tokens=256)._loop.tokens
    numbers = tokens.tokenize(text, with_special=False)
    assert b"".join(tokens.bytes_of(number) for number in numbers) == text.encode()


@pytest.mark.model
def test_control_tokens_are_read_only_where_asked_and_never_shown(load: Any, smollm2_path: Any) -> None:
    tokens = load(smollm2_path, context_tokens=256)._loop.tokens
    (control,) = tokens.tokenize("<|im_end|>", with_special=True)
    assert tokens.ends_reply(control)
    assert tokens.bytes_of(control) == b""
    assert tokens.text_of_control(control) == "<|im_end|>"
    assert len(tokens.tokenize("<|im_end|>", with_special=False)) > 1


def test_control_tokens_around_reasoning_are_shown_to_the_splitter(load: Any, tiny: Any) -> None:
    tokens = load(tiny("nemotron_h_moe"))._loop.tokens
    (mark,) = tokens.tokenize("<think>", with_special=True)
    assert tokens.bytes_of(mark) == b"<think>"


def test_no_second_begin_of_text_is_added(load: Any, tiny: Any) -> None:
    tokens = load(tiny("gemma4"))._loop.tokens
    begin = tokens.tokenize(tokens.begin_of_text(), with_special=True)
    assert len(begin) == 1
    assert tokens.tokenize(tokens.begin_of_text() + "Hi", with_special=True).count(begin[0]) == 1


def test_lone_surrogates_do_not_stop_the_tokenizer(load: Any, tiny: Any) -> None:
    assert load(tiny("qwen3"))._loop.tokens.tokenize("a\ud800b", with_special=True)
