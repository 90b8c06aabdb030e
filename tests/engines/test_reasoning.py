"""Reasoning is cut out of a reply at its markers, however the tokens split them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.formats.gguf import read_header
from engines.reasoning import (
    BRACKET_THINK,
    GEMMA_CHANNEL,
    HARMONY,
    THINK,
    ReasoningFormat,
    ReasoningSplitter,
    ends_inside_thinking,
    format_of_template,
)

TINY = Path(__file__).parents[1] / "data" / "tiny_models"


def split(parts: list[str], reasoning: ReasoningFormat | None, *, starts_inside: bool = False) -> dict[str, str]:
    splitter = ReasoningSplitter(reasoning, starts_inside=starts_inside)
    stretches = [stretch for part in parts for stretch in splitter.feed(part)] + splitter.flush()
    return {kind: "".join(text for one, text in stretches if one == kind) for kind in ("thinking", "text")}


TWO_THOUGHTS = (
    "<|channel|>analysis<|message|>One.<|end|><|start|>assistant<|channel|>analysis<|message|>Two.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Done"
)

CASES = [
    (THINK, "<think>\nHm, 2 < 3.\n</think>\n\nThree.", "Hm, 2 < 3.\n", "Three.", False),
    (THINK, "Hm.\n</think>\n\nThree.", "Hm.\n", "Three.", True),
    (THINK, "Use the <think> tag.", "", "Use the <think> tag.", False),
    (THINK, "<think></think>Ok", "", "Ok", False),
    (THINK, "<think>never closed", "never closed", "", False),
    (BRACKET_THINK, "[THINK]a[/THINK]b [1]", "a", "b [1]", False),
    (HARMONY, "<|channel|>analysis<|message|>Let me see.<|end|><|start|>assistant<|channel|>final<|message|>Hello",
     "Let me see.", "Hello", False),
    (HARMONY, "<|channel|>final<|message|>Hello", "", "Hello", False),
    (HARMONY, TWO_THOUGHTS, "One.Two.", "Done", False),
    (GEMMA_CHANNEL, "<|channel>thought\nHm.\n<channel|>Hello", "Hm.\n", "Hello", False),
    (None, "<think>no such model</think>", "", "<think>no such model</think>", False),
]  # fmt: skip


@pytest.mark.parametrize(("reasoning", "reply", "thinking", "text", "inside"), CASES)
@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_markers_are_found_however_they_are_split(
    reasoning: ReasoningFormat | None, reply: str, thinking: str, text: str, inside: bool, step: int
) -> None:
    parts = [reply[start : start + step] for start in range(0, len(reply), step)]
    assert split(parts, reasoning, starts_inside=inside) == {"thinking": thinking, "text": text}


def test_a_part_of_a_marker_is_never_shown() -> None:
    splitter = ReasoningSplitter(THINK)
    shown: list[str] = []
    for character in "<think>a</think>b":
        shown += [text for _, text in splitter.feed(character)]
    shown += [text for _, text in splitter.flush()]
    assert shown == ["a", "b"]


def test_what_only_looks_like_a_marker_is_shown_in_the_end() -> None:
    assert split(["a <", "think"], THINK) == {"thinking": "", "text": "a <think"}


@pytest.mark.parametrize(
    ("model", "expected"),
    [("qwen3", THINK), ("qwen35moe", THINK), ("nemotron_h_moe", THINK), ("deepseek4", THINK), ("gpt-oss", HARMONY),
     ("gemma4", GEMMA_CHANNEL)],
)  # fmt: skip
def test_the_format_is_found_in_the_model_s_template(model: str, expected: ReasoningFormat) -> None:
    assert format_of_template(read_header(TINY / f"{model}.gguf").text("tokenizer.chat_template")) is expected


@pytest.mark.model
def test_a_model_without_reasoning_has_no_format(smollm2_path: Path) -> None:
    assert format_of_template(read_header(smollm2_path).text("tokenizer.chat_template")) is None


def test_a_prompt_may_have_opened_the_reasoning() -> None:
    assert ends_inside_thinking(THINK, "<|im_start|>assistant\n<think>\n")
    assert not ends_inside_thinking(THINK, "<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not ends_inside_thinking(None, "<think>")
