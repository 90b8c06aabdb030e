"""Pure steps of a turn: what a model is sent of a conversation, and how an error is kept beside a reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from desktop.core.conversations.values import StoredMessage
from engines.base import ChatMessage
from engines.errors import EngineError


@dataclass(frozen=True, slots=True)
class ToldError:
    """What the user was told about a reply."""

    title: str = ""
    advice: str = ""
    details: str = ""


def chat_messages(
    branch: Sequence[StoredMessage], reply: StoredMessage, system_prompt: str, *, is_continued: bool
) -> tuple[ChatMessage, ...]:
    """What the model gets to read before it writes `reply`.

    A turn that brought no reply is left out with its question: two messages of the same side in a row confuse
    templates.
    """
    before: list[StoredMessage] = []
    for message in branch:
        if message.id == reply.id:
            break
        if message.role == "assistant" and not message.text:
            if before and before[-1].role == "user":
                before.pop()
            continue
        before.append(message)
    messages = [message.as_chat_message() for message in before]
    if system_prompt:
        messages.insert(0, ChatMessage("system", system_prompt))
    if is_continued:
        messages.append(reply.as_chat_message())
    return tuple(messages)


def error_text(error: EngineError) -> str:
    """The error as it is kept beside a reply: title, advice, details, each from a line of its own."""
    return "\n".join((error.title, error.advice, error.details)).strip()


def told_error(text: str) -> ToldError:
    """What `error_text` kept."""
    title, _, rest = text.partition("\n")
    advice, _, details = rest.partition("\n")
    return ToldError(title, advice, details)
