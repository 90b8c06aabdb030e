"""Renders a model's own chat template. A template is a program by a stranger: it runs in a sandbox, within limits.

The rendering equals transformers' `apply_chat_template` on the same messages (same Jinja settings, same helpers),
which tests compare. Nothing native, no network, no files: the source comes from the model file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from engines.base import ChatMessage
from engines.errors import ChatTemplateError
from engines.reasoning import ReasoningFormat, ends_inside_thinking, format_of_template

MAXIMUM_OUTPUT_CHARACTERS = 64 * 1024 * 1024
MAXIMUM_REPEATED_LENGTH = 1_000_000
MAXIMUM_SECONDS = 10.0

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ {'system': '', 'user': 'User: ', 'assistant': 'Assistant: '}[message['role']] + message['content'] + '\n\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""For a model without a template: a plain transcript. Such a model was not made for chat, and the app says so."""


class _GenerationTag(jinja2.ext.Extension):
    """Accepts transformers' `{% generation %}` blocks; they mark the assistant's words for training, nothing more."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it as an instance variable

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node | list[jinja2.nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Refuses, beside what Jinja's sandbox refuses, expressions that make a huge value from a short one."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for value, times in ((left, right), (right, left)):
                repeats = isinstance(value, (str, list, tuple)) and isinstance(times, int)
                if repeats and len(value) * times > MAXIMUM_REPEATED_LENGTH:
                    raise jinja2.exceptions.SecurityError("a repeated value would be too long")
        if operator == "**" and isinstance(right, (int, float)) and abs(right) > 64:
            raise jinja2.exceptions.SecurityError("an exponent is too large")
        if operator == "%" and isinstance(left, str) and any(len(run) > 4 for run in _digit_runs(left)):
            raise jinja2.exceptions.SecurityError("a field is too wide")
        return super().call_binop(context, operator, left, right)


def _digit_runs(text: str) -> list[str]:
    return "".join(character if character.isdigit() else " " for character in text).split()


def _raise_exception(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: Jinja's own filter escapes HTML characters, which no model was trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class ChatTemplate:
    """One model's template, compiled once.

    `now` is asked for templates that print today's date.
    Raises ChatTemplateError when the template is not valid Jinja.
    """

    def __init__(
        self,
        source: str | None,
        *,
        bos_token: str = "",
        eos_token: str = "",
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.is_models_own = bool(source)
        self.source = source or PLAIN_TEMPLATE
        self.reasoning: ReasoningFormat | None = format_of_template(self.source)
        self.can_switch_thinking = "enable_thinking" in self.source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        environment = _Sandbox(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, jinja2.ext.loopcontrols],
            autoescape=False,  # a prompt is not HTML
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        clock = now or (lambda: datetime.now().astimezone())
        environment.globals["strftime_now"] = lambda form: clock().strftime(form)
        try:
            self._template = environment.from_string(self.source)
        except (jinja2.exceptions.TemplateError, RecursionError) as error:
            raise ChatTemplateError(
                "This model's chat template is faulty.",
                "Look for another build of this model.",
                f"{type(error).__name__}: {error}",
            ) from None

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        thinking: bool | None = None,
    ) -> str:
        """The prompt for these messages.

        A system prompt goes to the front of the first user message where the template refuses the system role.

        Raises: ChatTemplateError with the template's own words.
        """
        try:
            return self._render(messages, add_generation_prompt, thinking)
        except ChatTemplateError:
            merged = _without_system_role(messages)
            if merged is None:
                raise
            return self._render(merged, add_generation_prompt, thinking)

    def render_unfinished(self, messages: Sequence[ChatMessage], *, thinking: bool | None = None) -> str:
        """The prompt that lets the model go on with the last message, an unfinished reply of the assistant."""
        last = messages[-1]
        prompt = self.render(messages[:-1], thinking=thinking)
        if self.reasoning is None:
            return prompt + last.content
        inside = ends_inside_thinking(self.reasoning, prompt)
        if last.thinking and not inside:
            prompt += self.reasoning.opening[0] + ("\n" if self.reasoning.name == "think" else "")
            inside = True
        prompt += last.thinking
        if last.content:
            if inside:
                prompt += self._close_thinking(last.thinking)
            prompt += last.content
        return prompt

    def _close_thinking(self, thinking: str) -> str:
        assert self.reasoning is not None
        if self.reasoning.name == "harmony":
            return "<|end|><|start|>assistant" + self.reasoning.closing[0]
        if self.reasoning.name == "gemma-channel":
            return self.reasoning.closing[0]
        return ("" if thinking.endswith("\n") else "\n") + self.reasoning.closing[0] + "\n\n"

    def _render(self, messages: Sequence[ChatMessage], add_generation_prompt: bool, thinking: bool | None) -> str:
        variables: dict[str, Any] = dict(self._tokens)
        if thinking is not None:
            variables["enable_thinking"] = thinking
        chat = [_as_template_sees_it(message) for message in messages]
        deadline = time.monotonic() + MAXIMUM_SECONDS
        parts: list[str] = []
        length = 0
        try:
            for part in self._template.generate(
                messages=chat, tools=None, documents=None, add_generation_prompt=add_generation_prompt, **variables
            ):
                parts.append(part)
                length += len(part)
                if length > MAXIMUM_OUTPUT_CHARACTERS or time.monotonic() > deadline:
                    raise jinja2.exceptions.SecurityError("it does not come to an end")
        except Exception as error:  # noqa: BLE001
            # A stranger's program can raise anything at all; whatever it is, it ends here.
            raise ChatTemplateError(
                "This model's chat template does not accept the conversation.",
                "Start a new chat, leave out the system prompt, or choose another model.",
                f"{type(error).__name__}: {error}",
            ) from None
        return "".join(parts)


def _as_template_sees_it(message: ChatMessage) -> dict[str, str]:
    seen = {"role": message.role, "content": message.content}
    if message.thinking:
        seen["reasoning_content"] = message.thinking  # Qwen, DeepSeek, Nemotron
        seen["thinking"] = message.thinking  # gpt-oss
    return seen


def _without_system_role(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...] | None:
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return None
    first = ChatMessage("user", f"{messages[0].content}\n\n{messages[1].content}")
    return (first, *messages[2:])
