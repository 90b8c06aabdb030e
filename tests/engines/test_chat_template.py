"""Our rendering of chat templates equals transformers'; a template cannot do harm."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engines.base import ChatMessage
from engines.chat_template import ChatTemplate
from engines.errors import ChatTemplateError
from engines.formats.gguf import read_header

TINY = Path(__file__).parents[1] / "data" / "tiny_models"
MODELS = ["qwen3", "qwen35moe", "nemotron_h_moe", "gemma4", "gpt-oss", "deepseek4"]

CONVERSATIONS: dict[str, tuple[ChatMessage, ...]] = {
    "one turn": (ChatMessage("user", "Hi"),),
    "system prompt": (ChatMessage("system", "Be brief."), ChatMessage("user", "Why is the sky blue?")),
    "three turns": (
        ChatMessage("user", "Name a fruit."),
        ChatMessage("assistant", "An apple."),
        ChatMessage("user", 'Another & <b>bold</b> "one"  \n\n 你好 👩‍👩‍👧'),
        ChatMessage("assistant", "  A pear.\n"),
        ChatMessage("user", "{{ 7 * 7 }} {% if x %}"),
    ),
    "with earlier reasoning": (
        ChatMessage("user", "2+2?"),
        ChatMessage("assistant", "4", thinking="Two and two."),
        ChatMessage("user", "And 3+3?"),
    ),
}


@pytest.fixture(scope="module")
def reference() -> Any:
    """transformers' own renderer."""
    from transformers.utils.chat_template_utils import render_jinja_template

    return render_jinja_template


def transformers_renders(reference: Any, source: str, messages: tuple[ChatMessage, ...], **variables: Any) -> str:
    chat = []
    for message in messages:
        entry = {"role": message.role, "content": message.content}
        if message.thinking:
            entry |= {"reasoning_content": message.thinking, "thinking": message.thinking}
        chat.append(entry)
    rendered, *_ = reference([chat], chat_template=source, **variables)
    return str(rendered[0])


def template_of(model: str) -> tuple[str, dict[str, str]]:
    header = read_header(TINY / f"{model}.gguf")
    return header.text("tokenizer.chat_template"), {"bos_token": "<bos>", "eos_token": "<eos>"}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("thinking", [None, True, False])
def test_rendering_equals_transformers(reference: Any, model: str, conversation: str, thinking: bool | None) -> None:
    source, tokens = template_of(model)
    messages = CONVERSATIONS[conversation]
    extra = {} if thinking is None else {"enable_thinking": thinking}
    expected = transformers_renders(reference, source, messages, add_generation_prompt=True, **tokens, **extra)
    assert ChatTemplate(source, **tokens).render(messages, thinking=thinking) == expected


@pytest.mark.model
@pytest.mark.parametrize("conversation", ["one turn", "system prompt", "three turns"])
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_the_starter_model_s_rendering_equals_transformers(
    reference: Any, smollm2_path: Path, conversation: str, add_generation_prompt: bool
) -> None:
    source = read_header(smollm2_path).text("tokenizer.chat_template")
    messages = CONVERSATIONS[conversation]
    tokens = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    expected = transformers_renders(reference, source, messages, add_generation_prompt=add_generation_prompt, **tokens)
    template = ChatTemplate(source, **tokens)
    assert template.render(messages, add_generation_prompt=add_generation_prompt) == expected


def test_json_and_generation_blocks_and_loop_controls_are_as_in_transformers(reference: Any) -> None:
    source = (
        "{%- for message in messages %}\n    {%- if loop.index > 2 %}{% break %}{% endif %}"
        "{% generation %}{{ message | tojson }}{% endgeneration %}\n{%- endfor %} "
        "{{ {'é<': [1, none]} | tojson(indent=2) }}"
    )
    messages = CONVERSATIONS["three turns"]
    assert ChatTemplate(source).render(messages) == transformers_renders(reference, source, messages)


def test_the_date_of_today_comes_from_the_clock() -> None:
    template = ChatTemplate("{{ strftime_now('%Y-%m-%d') }}", now=lambda: datetime(2026, 11, 23, tzinfo=UTC))
    assert template.render(CONVERSATIONS["one turn"]) == "2026-11-23"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ 'a' * 1000000000 }}",
        "{{ (messages * 900000000) | length }}",
        "{{ 10 ** 100000000 }}",
        "{{ '%100000000d' % 1 }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ raise_exception('no') }}",
        "{{ undefined.attribute.of.nothing }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_hostile_or_faulty_template_ends_in_one_kind_of_error(source: str) -> None:
    with pytest.raises(ChatTemplateError) as caught:
        ChatTemplate(source).render(CONVERSATIONS["one turn"])
    assert caught.value.title
    assert caught.value.advice
    assert caught.value.details


def test_an_endless_template_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.chat_template.MAXIMUM_SECONDS", 0.2)
    nested = "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"
    started = time.monotonic()
    with pytest.raises(ChatTemplateError, match="does not accept"):
        ChatTemplate(nested).render(CONVERSATIONS["one turn"])
    assert time.monotonic() - started < 30


def test_a_template_that_is_not_jinja_is_faulty() -> None:
    with pytest.raises(ChatTemplateError, match="faulty"):
        ChatTemplate("{% if %}")


def test_a_refused_system_role_moves_into_the_first_user_message() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "[{{ m.role }}] {{ m.content }}{% endfor %}"
    )
    assert ChatTemplate(source).render(CONVERSATIONS["system prompt"]) == "[user] Be brief.\n\nWhy is the sky blue?"


def test_a_model_without_a_template_gets_a_plain_transcript() -> None:
    template = ChatTemplate(None)
    assert not template.is_models_own
    assert template.render(CONVERSATIONS["one turn"]) == "User: Hi\n\nAssistant:"


@pytest.mark.parametrize("model", MODELS)
def test_an_unfinished_reply_is_continued_after_its_last_word(model: str) -> None:
    source, tokens = template_of(model)
    template = ChatTemplate(source, **tokens)
    asked = CONVERSATIONS["one turn"]
    prompt = template.render_unfinished((*asked, ChatMessage("assistant", "The first half", thinking="Hm.")))
    assert prompt.startswith(template.render(asked))
    assert prompt.endswith("The first half")
    assert prompt.index("Hm.") < prompt.index("The first half")


def test_an_unfinished_thought_is_continued_inside_the_thought() -> None:
    source, tokens = template_of("qwen3")
    prompt = ChatTemplate(source, **tokens).render_unfinished(
        (*CONVERSATIONS["one turn"], ChatMessage("assistant", "", thinking="Let me"))
    )
    assert prompt.endswith("<think>\nLet me")


def test_a_switch_for_thinking_is_found() -> None:
    assert ChatTemplate(template_of("qwen3")[0]).can_switch_thinking
    assert not ChatTemplate(template_of("gpt-oss")[0]).can_switch_thinking
