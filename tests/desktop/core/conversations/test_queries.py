"""The SQL: trees, joined parts, and rows that other versions wrote."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from desktop.core.conversations import queries
from desktop.core.conversations.opening import open_database
from desktop.core.conversations.values import Conversation, Place
from desktop.core.errors import NotFoundError
from engines.base import GenerationOptions, Usage

OWNER = (1, 2.0)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection, _ = open_database(tmp_path / "conversations.db", tmp_path / "backups")
    with closing(connection):
        yield connection


@pytest.fixture
def conversation(connection: sqlite3.Connection) -> Conversation:
    return queries.create_conversation(connection, "")


def _add(connection: sqlite3.Connection, conversation: Conversation, text: str, parent: str | Place) -> str:
    return queries.add_message(connection, conversation.id, role="user", parent=parent, text=text).id


def test_failed_transaction_leaves_nothing(connection: sqlite3.Connection) -> None:
    with pytest.raises(NotFoundError), queries.transaction(connection):
        queries.create_conversation(connection, "half done")
        queries.get_conversation(connection, "none")
    assert queries.list_conversations(connection, "", in_bin=False) == ()
    assert not connection.in_transaction


def test_path_of_thousands_of_messages_is_loaded_in_order(
    connection: sqlite3.Connection, conversation: Conversation
) -> None:
    with queries.transaction(connection):
        for number in range(3_000):
            _add(connection, conversation, str(number), Place.AT_END)
    messages = queries.load_messages(connection, conversation.id)
    assert [message.text for message in messages] == [str(number) for number in range(3_000)]
    assert all(message.sibling_ids == (message.id,) for message in messages)


def test_branch_is_followed_to_its_newest_end(connection: sqlite3.Connection, conversation: Conversation) -> None:
    root = _add(connection, conversation, "root", Place.AT_START)
    old = _add(connection, conversation, "old", root)
    _add(connection, conversation, "old's child", old)
    new = _add(connection, conversation, "new", root)
    newest = _add(connection, conversation, "new's newest child", new)
    assert queries.newest_descendant(connection, root) == newest
    assert queries.newest_descendant(connection, newest) == newest


def test_parts_are_joined_once_and_then_gone(connection: sqlite3.Connection, conversation: Conversation) -> None:
    reply = queries.add_message(
        connection, conversation.id, role="assistant", parent=Place.AT_END, state="growing", owner=OWNER
    )
    for number in range(12):  # more than nine: sorted as numbers, not as text
        assert queries.append_part(connection, reply.id, f"{number} ", "", OWNER)
    assert queries.finish_reply(connection, reply.id, state="complete")
    expected = "".join(f"{number} " for number in range(12))
    assert queries.get_message(connection, reply.id).text == expected
    assert queries.finish_reply(connection, reply.id, state="complete")
    assert queries.get_message(connection, reply.id).text == expected
    assert connection.execute("SELECT COUNT(*) FROM reply_parts").fetchone() == (0,)


def test_message_that_is_gone_takes_no_text_and_no_end(connection: sqlite3.Connection) -> None:
    assert not queries.append_part(connection, "none", "text", "", OWNER)
    assert not queries.finish_reply(connection, "none", state="complete")


def test_only_an_ended_reply_can_be_reopened(connection: sqlite3.Connection, conversation: Conversation) -> None:
    question = _add(connection, conversation, "question", Place.AT_END)
    with pytest.raises(NotFoundError):
        queries.reopen_reply(connection, question, OWNER)


def test_figures_of_another_version_do_not_hide_a_message(
    connection: sqlite3.Connection, conversation: Conversation
) -> None:
    message = _add(connection, conversation, "kept", Place.AT_END)
    rows = [
        ('{"prompt_tokens": 3, "invented_later": 1}', Usage(prompt_tokens=3)),
        ('{"prompt_tokens": "many"}', None),
        ("not JSON", None),
    ]
    for usage, expected in rows:
        connection.execute("UPDATE messages SET usage = ?, options = ?", (usage, '{"temperature": 0.5}'))
        found = queries.get_message(connection, message)
        assert (found.text, found.usage, found.options) == ("kept", expected, GenerationOptions(temperature=0.5))


def test_impossible_states_and_roles_are_refused_by_the_file_itself(
    connection: sqlite3.Connection, conversation: Conversation
) -> None:
    message = _add(connection, conversation, "text", Place.AT_END)
    for column in ("role", "state"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(f"UPDATE messages SET {column} = 'odd' WHERE id = ?", (message,))


def test_erasing_takes_messages_and_parts_along(connection: sqlite3.Connection, conversation: Conversation) -> None:
    _add(connection, conversation, "question", Place.AT_END)
    reply = queries.add_message(
        connection, conversation.id, role="assistant", parent=Place.AT_END, state="growing", owner=OWNER
    )
    queries.append_part(connection, reply.id, "text", "", OWNER)
    queries.erase_conversation(connection, conversation.id)
    for table in ("conversations", "messages", "reply_parts"):
        assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)
