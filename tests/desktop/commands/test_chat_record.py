from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from desktop.commands.chat_engine import ReplyEnd
from desktop.commands.chat_record import ChatRecord
from desktop.core.conversations.store import Store
from desktop.core.conversations.values import StoredMessage
from desktop.core.errors import StorageError
from engines.base import GenerationOptions, Usage
from engines.errors import ContextTooSmallError, EngineCrashedError
from engines.library import InstalledModel

MODEL = InstalledModel(name="Tiny", path=Path("tiny.gguf"), size_bytes=1)
OPTIONS = GenerationOptions(temperature=0.5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "conversations.db")
    yield store
    store.close()


def refuse(problem: StorageError) -> None:
    raise AssertionError(problem)


def conversations(store: Store) -> list[tuple[StoredMessage, ...]]:
    return [store.load_messages(each.id).result(10) for each in store.list_conversations().result(10)]


def turn(record: ChatRecord, question: str, end: ReplyEnd) -> None:
    record.begin_turn(question, MODEL, OPTIONS)
    record.add("hm", "thinking")
    record.add("well", "text")
    record.end_turn(end)


def test_a_turn_is_kept_with_what_answered_it(store: Store) -> None:
    turn(ChatRecord(store, refuse), "Why?", ReplyEnd("end", Usage(generated_tokens=2)))

    ((question, answer),) = conversations(store)
    assert (question.role, question.text) == ("user", "Why?")
    assert (answer.text, answer.thinking, answer.state, answer.reason) == ("well", "hm", "complete", "end")
    assert (answer.model_name, answer.engine, answer.options) == ("Tiny", "llama", OPTIONS)
    assert answer.usage == Usage(generated_tokens=2)
    assert answer.parent_id == question.id


@pytest.mark.parametrize(
    ("end", "state", "error"),
    [
        (ReplyEnd("length", Usage()), "complete", ""),
        (ReplyEnd("cancelled", Usage()), "stopped", ""),
        (
            ReplyEnd(None, None, EngineCrashedError("It crashed.", "Try again.")),
            "interrupted",
            "It crashed. Try again.",
        ),
        (ReplyEnd(None, None, ContextTooSmallError("Too long.")), "failed", "Too long."),
    ],
)
def test_every_end_of_a_reply_is_told_apart(store: Store, end: ReplyEnd, state: str, error: str) -> None:
    turn(ChatRecord(store, refuse), "Why?", end)

    ((_, answer),) = conversations(store)
    assert (answer.state, answer.error) == (state, error)


def test_turns_belong_together_until_a_new_conversation_begins(store: Store) -> None:
    record = ChatRecord(store, refuse)
    for question in ("one", "two"):
        turn(record, question, ReplyEnd("end", None))
    record.begin_conversation()
    record.begin_conversation()
    turn(record, "three", ReplyEnd("end", None))

    assert [[message.text for message in each] for each in conversations(store)] == [
        ["three", "well"],
        ["one", "well", "two", "well"],
    ]


def test_without_a_store_nothing_is_kept() -> None:
    record = ChatRecord(None, refuse)

    turn(record, "Why?", ReplyEnd("end", None))
    record.close()

    assert not record.is_saving


def test_what_cannot_be_kept_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "conversations.db").mkdir()
    problems: list[StorageError] = []
    record = ChatRecord(Store(tmp_path / "conversations.db"), problems.append)
    assert record.is_saving

    turn(record, "one", ReplyEnd("end", None))
    turn(record, "two", ReplyEnd("end", None))
    record.close()

    assert len(problems) == 1
    assert not record.is_saving
