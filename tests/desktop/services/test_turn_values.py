"""What a model is sent of a conversation, and how errors are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from desktop.core.conversations.values import StoredMessage
from desktop.services.turn_values import ToldError, chat_messages, error_text, told_error
from engines.base import ChatMessage
from engines.errors import ModelFileError


def message(message_id: str, role: Any, text: str, **changes: Any) -> StoredMessage:
    values: dict[str, Any] = {
        "id": message_id,
        "conversation_id": "c",
        "parent_id": None,
        "role": role,
        "text": text,
        "thinking": "",
        "state": "complete",
        "reason": "",
        "error": "",
        "model_name": "",
        "model_path": "",
        "engine": "",
        "usage": None,
        "options": None,
        "created_at": datetime.now(UTC),
        "finished_at": None,
    }
    return StoredMessage(**(values | changes))


def test_everything_before_the_reply_is_sent_with_the_system_prompt_first() -> None:
    reply = message("4", "assistant", "")
    messages = (message("1", "user", "a"), message("2", "assistant", "b"), message("3", "user", "c"), reply)
    assert chat_messages(messages, reply, "Be kind", is_continued=False) == (
        ChatMessage("system", "Be kind"),
        ChatMessage("user", "a"),
        ChatMessage("assistant", "b"),
        ChatMessage("user", "c"),
    )


def test_continued_reply_comes_last() -> None:
    reply = message("2", "assistant", "Once upon", thinking="A tale.")
    messages = (message("1", "user", "a"), reply)
    assert chat_messages(messages, reply, "", is_continued=True) == (
        ChatMessage("user", "a"),
        ChatMessage("assistant", "Once upon", "A tale."),
    )


def test_turn_without_a_reply_is_left_out() -> None:
    reply = message("4", "assistant", "")
    messages = (
        message("1", "user", "lost"),
        message("2", "assistant", "", state="failed"),
        message("3", "user", "c"),
        reply,
    )
    assert chat_messages(messages, reply, "", is_continued=False) == (ChatMessage("user", "c"),)


def test_error_comes_back_as_it_was_told() -> None:
    error = ModelFileError("Gone.", "Get it.", "line one\nline two")
    assert told_error(error_text(error)) == ToldError("Gone.", "Get it.", "line one\nline two")
    assert told_error(error_text(ModelFileError("Gone."))) == ToldError("Gone.")
    assert told_error("Gone. Get it.") == ToldError("Gone. Get it."), "as the terminal writes it"
    assert told_error("") == ToldError()
