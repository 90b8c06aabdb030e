"""Which replies can go on, and what an engine sees of a message."""

from datetime import UTC, datetime

import pytest

from desktop.core.conversations.values import MessageState, StoredMessage
from engines.base import ChatMessage, Role


def _message(role: Role, state: MessageState, reason: str) -> StoredMessage:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return StoredMessage(
        id="m", conversation_id="c", parent_id=None, role=role, text="text", thinking="thought", state=state,
        reason=reason, error="", model_name="", model_path="", engine="", usage=None, options=None, created_at=now,
        finished_at=now,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("role", "state", "reason", "can_continue"),
    [
        ("assistant", "interrupted", "", True),
        ("assistant", "stopped", "cancelled", True),
        ("assistant", "failed", "", True),
        ("assistant", "complete", "length", True),
        ("assistant", "complete", "end", False),
        ("assistant", "growing", "", False),
        ("user", "complete", "", False),
    ],
)
def test_only_replies_that_were_cut_off_can_continue(
    role: Role, state: MessageState, reason: str, can_continue: bool
) -> None:
    assert _message(role, state, reason).can_continue is can_continue


def test_engine_sees_role_text_and_earlier_thinking() -> None:
    assert _message("assistant", "complete", "end").as_chat_message() == ChatMessage("assistant", "text", "thought")
