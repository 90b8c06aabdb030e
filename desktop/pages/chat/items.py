"""Stored messages and live replies in the words of the screen. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from PySide6.QtCore import QCoreApplication

from desktop.core.conversations.values import StoredMessage
from desktop.services.chat_service import LiveReply
from desktop.services.turn_values import told_error
from desktop.widgets.message_parts import FOOTER_SEPARATOR
from desktop.widgets.transcript_model import MessageItem
from engines.base import Usage

_WORDS_PER_TOKEN = 0.75
_SAMPLE_CHARACTERS = 600
"""Enough to know how many words a text of this kind has: a conversation of 10,000 messages opens at once."""
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")  # noqa: RUF001 - the typographic apostrophe is meant
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def _tr(text: str) -> str:
    return QCoreApplication.translate("ChatPage", text)


def stored_item(message: StoredMessage, thinking_seconds: float | None = None) -> MessageItem:
    """A message as it lies on disk."""
    if message.role == "user":
        return MessageItem(message.id, "user", message.text)
    told = told_error(message.error)
    item = MessageItem(
        id=message.id,
        role="assistant",
        text=message.text,
        thinking=message.thinking,
        thinking_seconds=thinking_seconds,
        footer=footer_of(message),
        error_title=told.title,
        error_advice=told.advice,
        error_details=told.details,
    )
    match message.state:
        case "growing":
            return replace(item, state="growing", status=_tr("Being written in another Snug"))
        case "failed" if message.text:
            # Something went wrong in its middle: what is there is kept and can be continued.
            return replace(item, state="interrupted")
        case "complete" if message.reason == "length":
            return replace(item, state="stopped")
        case "complete" | "stopped" | "interrupted" | "failed":
            return replace(item, state=message.state)
        case _:
            assert_never(message.state)


def live_item(live: LiveReply, *, is_slow: bool) -> MessageItem:
    """A reply in the making. `is_slow`: the present phase has lasted long enough to be named."""
    item = stored_item(live.message, live.thinking_seconds)
    return replace(item, state="growing", status=status_of(live) if is_slow else "", footer="", error_title="")


def status_of(live: LiveReply) -> str:
    """What happens now. Starting and loading have a card of their own."""
    match live.phase:
        case "starting" | "loading" | "writing":
            return ""
        case "reading" if live.share is not None and live.share < 1:
            return _tr("Reading your message: {percent} %").format(percent=round(live.share * 100))
        case "reading":
            return _tr("Reading your message")
        case "stopping":
            return _tr("Stopping")
        case _:
            assert_never(live.phase)


def footer_of(message: StoredMessage) -> str:
    """Beneath a reply: "15 words a second · 26 s · Qwen3.5 9B"."""
    parts: list[str] = []
    if message.reason == "length":
        parts.append(_tr("the longest allowed reply"))
    if message.reason == "context":
        parts.append(_tr("the space of this conversation is full"))
    usage = message.usage
    if usage is not None:
        rate = words_per_second(message.text + message.thinking, usage)
        if rate is not None:
            parts.append(_tr("{rate} words a second").format(rate=_figure(rate)))
        parts.append(_tr("{seconds} s").format(seconds=_figure(usage.prefill_seconds + usage.decode_seconds)))
    if message.model_name:
        parts.append(message.model_name)
    if len(message.sibling_ids) > 1 and message.id in message.sibling_ids:
        number = message.sibling_ids.index(message.id) + 1
        parts.append(_tr("version {number} of {count}").format(number=number, count=len(message.sibling_ids)))
    return FOOTER_SEPARATOR.join(parts)


def words_per_second(text: str, usage: Usage) -> float | None:
    """Words of this very reply per second; where its words cannot be counted, by the usual share of words to tokens."""
    tokens_per_second = usage.decode_tokens_per_second
    if tokens_per_second is None:
        return None
    sample = text[:_SAMPLE_CHARACTERS]
    words = round(count_words(sample) * len(text) / len(sample)) if sample else 0
    share = words / usage.generated_tokens if 0 < words <= usage.generated_tokens else _WORDS_PER_TOKEN
    return tokens_per_second * share


def count_words(text: str) -> int:
    """Words; of Chinese, Japanese and Korean, characters."""
    if text.isascii():
        return len(_WORD.findall(text))
    wide = len(_WIDE.findall(text))
    return wide + len(_WORD.findall(_WIDE.sub(" ", text)))


def usage_details(message: StoredMessage) -> str:
    """The second level: tokens, rates, what was read and remembered, the seed."""
    usage = message.usage
    if usage is None:
        return _tr("There are no figures for this reply.")
    parts = [_tr("{count} tokens").format(count=f"{usage.generated_tokens:,}")]
    if usage.decode_tokens_per_second is not None:
        parts.append(_tr("{rate} tokens a second").format(rate=f"{usage.decode_tokens_per_second:.1f}"))
    if usage.time_to_first_token_seconds is not None:
        parts.append(_tr("first token after {seconds} s").format(seconds=f"{usage.time_to_first_token_seconds:.2f}"))
    read = usage.prompt_tokens - usage.reused_tokens
    parts.append(_tr("{count} tokens read").format(count=f"{read:,}"))
    if usage.prefill_tokens_per_second is not None:
        parts[-1] += _tr(" at {rate} a second").format(rate=f"{usage.prefill_tokens_per_second:.0f}")
    if usage.reused_tokens:
        parts.append(_tr("{count} more remembered").format(count=f"{usage.reused_tokens:,}"))
    parts.append(
        _tr("space {used} of {whole} tokens").format(
            used=f"{usage.context_used_tokens:,}", whole=f"{usage.context_tokens:,}"
        )
    )
    parts.append(_tr("seed {seed}").format(seed=usage.seed))
    return FOOTER_SEPARATOR.join(parts)


def used_share(messages: Sequence[StoredMessage]) -> float | None:
    """How full the context was after the last reply that has figures; None where none has."""
    for message in reversed(messages):
        usage = message.usage
        if usage is not None and usage.context_tokens > 0:
            return usage.context_used_tokens / usage.context_tokens
    return None


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
