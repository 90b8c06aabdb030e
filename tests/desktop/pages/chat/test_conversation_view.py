"""The messages of one conversation, with the reply that grows in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from desktop.core.conversations.values import StoredMessage
from desktop.pages.chat.conversation_view import ConversationView
from desktop.services.chat_service import LiveReply


def message(message_id: str, parent_id: str | None, role: Any, text: str, state: Any = "complete") -> StoredMessage:
    return StoredMessage(
        id=message_id,
        conversation_id="c",
        parent_id=parent_id,
        role=role,
        text=text,
        thinking="",
        state=state,
        reason="",
        error="",
        model_name="M",
        model_path="",
        engine="",
        usage=None,
        options=None,
        created_at=datetime.now(UTC),
        finished_at=None,
    )


USER = message("1", None, "user", "Hello")
REPLY = message("2", "1", "assistant", "", "growing")


@pytest.fixture
def view(qtbot: Any) -> ConversationView:
    made = ConversationView()
    qtbot.addWidget(made)
    made.resize(800, 600)
    made.show()
    return made


def states(view: ConversationView) -> list[tuple[str, str]]:
    return [(item.text, item.state) for item in view.transcript.model]


def test_empty_chat_has_its_own_face(view: ConversationView) -> None:
    assert view.currentWidget() is not view.transcript
    assert view.add(USER, None)
    assert view.currentWidget() is view.transcript
    view.show_messages((), None)
    assert view.currentWidget() is not view.transcript


def test_reply_grows_and_ends(view: ConversationView) -> None:
    view.add(USER, None)
    live = LiveReply(REPLY)
    assert view.add(REPLY, live)
    view.show_live(LiveReply(replace(REPLY, text="Good"), phase="writing"))
    assert states(view) == [("Hello", "complete"), ("Good", "growing")]
    view.end_live(replace(REPLY, text="Good morning", state="complete"))
    assert states(view)[-1] == ("Good morning", "complete")
    assert view.messages[-1].text == "Good morning"
    last = view.last_of("assistant")
    assert last is not None
    assert last.id == "2"


def test_live_reply_is_shown_when_its_conversation_is_opened_again(view: ConversationView) -> None:
    view.show_messages((USER, REPLY), LiveReply(replace(REPLY, text="So far"), phase="writing"))
    assert states(view)[-1] == ("So far", "growing")


def test_message_of_another_branch_is_not_taken(view: ConversationView) -> None:
    view.show_messages((USER, replace(REPLY, text="Old", state="complete")), None)
    assert not view.add(message("3", "1", "assistant", "", "growing"), None)
    assert not view.add(message("4", None, "user", "Hello again"), None)


def test_reopened_reply_takes_its_own_place(view: ConversationView) -> None:
    view.show_messages((USER, replace(REPLY, text="Cut", state="interrupted")), None)
    again = replace(REPLY, text="Cut")
    assert view.add(again, LiveReply(again))
    assert states(view) == [("Hello", "complete"), ("Cut", "growing")]


def test_time_of_thinking_is_remembered(view: ConversationView) -> None:
    view.add(USER, None)
    thinking = replace(REPLY, thinking="Hm.")
    view.add(thinking, LiveReply(thinking))
    view.show_live(LiveReply(replace(thinking, text="Yes"), phase="writing", thinking_seconds=12.0))
    view.end_live(replace(thinking, text="Yes", state="complete"))
    assert view.transcript.model[1].thinking_seconds == 12.0


def test_phase_that_lasts_is_named(view: ConversationView, qtbot: Any) -> None:
    view.add(USER, None)
    view.add(REPLY, LiveReply(REPLY))
    view.show_live(LiveReply(REPLY, phase="reading", share=0.25))
    assert view.transcript.model[1].status == ""
    qtbot.waitUntil(lambda: view.transcript.model[1].status == "Reading your message: 25 %")
    view.end_live(replace(REPLY, state="stopped"))
