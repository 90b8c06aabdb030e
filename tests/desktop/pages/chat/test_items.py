"""Stored messages and live replies in the words of the screen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from desktop.core.conversations.values import StoredMessage
from desktop.pages.chat.items import (
    count_words,
    footer_of,
    live_item,
    status_of,
    stored_item,
    usage_details,
    used_share,
    words_per_second,
)
from desktop.services.chat_service import LiveReply
from desktop.widgets.message_parts import FOOTER_SEPARATOR
from engines.base import Usage

USAGE = Usage(
    prompt_tokens=120,
    reused_tokens=100,
    generated_tokens=5,
    context_used_tokens=1024,
    context_tokens=4096,
    prefill_seconds=2.0,
    decode_seconds=0.5,
    time_to_first_token_seconds=2.1,
    seed=7,
)


def reply(**changes: Any) -> StoredMessage:
    values: dict[str, Any] = {
        "id": "r",
        "conversation_id": "c",
        "parent_id": "u",
        "role": "assistant",
        "text": "It is quite so.",
        "thinking": "",
        "state": "complete",
        "reason": "end",
        "error": "",
        "model_name": "Qwen3.5 9B",
        "model_path": "",
        "engine": "llama",
        "usage": USAGE,
        "options": None,
        "created_at": datetime.now(UTC),
        "finished_at": None,
    }
    return StoredMessage(**(values | changes))


def test_footer_says_words_seconds_and_model() -> None:
    # Four words in five tokens, eight tokens a second.
    assert footer_of(reply()) == FOOTER_SEPARATOR.join(("6.4 words a second", "2.5 s", "Qwen3.5 9B"))
    assert footer_of(reply(usage=None)) == "Qwen3.5 9B"


def test_footer_names_limits_and_versions() -> None:
    assert footer_of(reply(usage=None, reason="length")).startswith("the longest allowed reply")
    assert footer_of(reply(usage=None, reason="context")).startswith("the space of this conversation is full")
    assert footer_of(reply(usage=None, sibling_ids=("q", "r", "s"))).endswith("version 2 of 3")
    assert "version" not in footer_of(reply(sibling_ids=("r",)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("It's a well-known fact.", 4),
        ("一个测试", 4),
        ("用 Python 写", 3),
        ("```\nx = 1\n```", 2),
        ("— … !", 0),
    ],
)
def test_words_are_counted_in_latin_and_in_chinese(text: str, words: int) -> None:
    assert count_words(text) == words


def test_words_that_cannot_be_of_this_run_fall_back_to_the_usual_share() -> None:
    # A continued reply has more words than its last run has tokens.
    assert words_per_second("word " * 50, USAGE) == pytest.approx(8 * 0.75)
    assert words_per_second("one", Usage(generated_tokens=1)) is None


def test_states_are_shown_for_what_they_are() -> None:
    assert stored_item(reply(state="stopped")).state == "stopped"
    assert stored_item(reply(state="interrupted")).state == "interrupted"
    assert stored_item(reply(state="failed", text="")).state == "failed"
    assert stored_item(reply(state="failed")).state == "interrupted", "its text can be continued"
    assert stored_item(reply(reason="length")).state == "stopped", "it can be continued too"
    assert stored_item(reply(role="user")).role == "user"
    growing = stored_item(reply(state="growing"))
    assert (growing.state, growing.status) == ("growing", "Being written in another Snug")


def test_error_stands_in_its_parts() -> None:
    item = stored_item(reply(state="failed", text="", error="Gone.\nGet it.\nline 1\nline 2"))
    assert (item.error_title, item.error_advice, item.error_details) == ("Gone.", "Get it.", "line 1\nline 2")


def test_status_is_named_only_when_it_lasts() -> None:
    live = LiveReply(reply(state="growing"), phase="reading", share=0.4)
    assert live_item(live, is_slow=False).status == ""
    assert live_item(live, is_slow=True).status == "Reading your message: 40 %"
    assert live_item(live, is_slow=True).footer == ""


def test_every_phase_has_its_words() -> None:
    message = reply(state="growing")
    assert status_of(LiveReply(message, "starting")) == ""
    assert status_of(LiveReply(message, "loading", 0.5)) == ""
    assert status_of(LiveReply(message, "reading")) == "Reading your message"
    assert status_of(LiveReply(message, "reading", 1.0)) == "Reading your message"
    assert status_of(LiveReply(message, "writing")) == ""
    assert status_of(LiveReply(message, "stopping")) == "Stopping"


def test_details_are_in_tokens() -> None:
    details = usage_details(reply())
    for part in ("5 tokens", "8.0 tokens a second", "first token after 2.10 s", "20 tokens read at 10 a second",
                 "100 more remembered", "space 1,024 of 4,096 tokens", "seed 7"):  # fmt: skip
        assert part in details
    assert usage_details(reply(usage=None)) == "There are no figures for this reply."


def test_space_is_that_of_the_last_reply_with_figures() -> None:
    assert used_share([]) is None
    assert used_share([reply(), reply(role="user", usage=None), reply(usage=None)]) == 0.25
