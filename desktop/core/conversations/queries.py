"""The SQL of conversations: plain functions on a connection, called by the store's owner thread only."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from desktop.core.conversations.title import title_from
from desktop.core.conversations.values import Conversation, MessageState, Place, StoredMessage
from desktop.core.errors import NotFoundError
from engines.base import GenerationOptions, Role, Usage

Value = TypeVar("Value")

_CONVERSATION_COLUMNS = "id, title, title_by_user, created_at, updated_at, deleted_at, active_message_id, draft"
_MESSAGE_COLUMNS = (
    "number, id, conversation_id, parent_id, role, text, thinking, state, reason, error, model_name, model_path,"
    " engine, usage, options, created_at, finished_at"
)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. Takes the write lock at once: taking it halfway would fail instead of wait."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors (disk full) SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def create_conversation(connection: sqlite3.Connection, title: str) -> Conversation:
    """A conversation without messages; a given title counts as the user's."""
    conversation_id = uuid.uuid4().hex
    now = time.time()
    connection.execute(
        "INSERT INTO conversations (id, title, title_by_user, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
        (conversation_id, title, bool(title), now, now),
    )
    return get_conversation(connection, conversation_id)


def get_conversation(connection: sqlite3.Connection, conversation_id: str) -> Conversation:
    """Raises NotFoundError."""
    row = connection.execute(
        f"SELECT {_CONVERSATION_COLUMNS} FROM conversations WHERE id = ?",  # noqa: S608 - column names are ours
        (conversation_id,),
    ).fetchone()
    if row is None:
        raise NotFoundError("This conversation does not exist any more.")
    return _conversation(row)


def list_conversations(connection: sqlite3.Connection, search: str, in_bin: bool) -> tuple[Conversation, ...]:
    """The last used first. `search` looks for its words in titles, whatever their case."""
    rows = connection.execute(
        f"SELECT {_CONVERSATION_COLUMNS} FROM conversations"  # noqa: S608
        f" WHERE deleted_at IS {'NOT ' if in_bin else ''}NULL ORDER BY updated_at DESC, number DESC"
    )
    words = search.casefold().split()
    # Compared here and not in SQL: SQLite knows upper and lower case of English only.
    return tuple(_conversation(row) for row in rows if all(word in row[1].casefold() for word in words))


def update_conversation(connection: sqlite3.Connection, conversation_id: str, **columns: object) -> None:
    """Sets columns. Raises NotFoundError."""
    assignments = ", ".join(f"{column} = ?" for column in columns)
    cursor = connection.execute(
        f"UPDATE conversations SET {assignments} WHERE id = ?",  # noqa: S608 - column names are ours
        (*columns.values(), conversation_id),
    )
    if cursor.rowcount == 0:
        raise NotFoundError("This conversation does not exist any more.")


def erase_conversation(connection: sqlite3.Connection, conversation_id: str) -> None:
    """Removes a conversation and its messages for good."""
    connection.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))


def add_message(
    connection: sqlite3.Connection,
    conversation_id: str,
    *,
    role: Role,
    parent: str | Place,
    text: str = "",
    state: MessageState = "complete",
    model_name: str = "",
    model_path: str = "",
    engine: str = "",
    options: GenerationOptions | None = None,
    owner: tuple[int, float] | None = None,
) -> StoredMessage:
    """Adds a message and makes it the last one that is shown; names a nameless conversation after it."""
    conversation = get_conversation(connection, conversation_id)
    message_id = uuid.uuid4().hex
    now = time.time()
    pid, started_at = owner or (None, None)
    connection.execute(
        "INSERT INTO messages (id, conversation_id, parent_id, role, text, state, model_name, model_path, engine,"
        " options, created_at, finished_at, owner_pid, owner_started_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message_id,
            conversation_id,
            _parent_id(connection, conversation, parent),
            role,
            text,
            state,
            model_name,
            model_path,
            engine,
            _json(options),
            now,
            None if state == "growing" else now,
            pid,
            started_at,
        ),
    )
    changes: dict[str, object] = {"active_message_id": message_id, "updated_at": now}
    if role == "user" and not conversation.title and not conversation.title_by_user:
        changes["title"] = title_from(text)
    update_conversation(connection, conversation_id, **changes)
    return get_message(connection, message_id)


def get_message(connection: sqlite3.Connection, message_id: str) -> StoredMessage:
    """One message, with the parts of a growing reply joined. Raises NotFoundError."""
    row = connection.execute(
        f"SELECT {_MESSAGE_COLUMNS} FROM messages WHERE id = ?",  # noqa: S608 - column names are ours
        (message_id,),
    ).fetchone()
    if row is None:
        raise NotFoundError("This message does not exist any more.")
    siblings = connection.execute(
        "SELECT id FROM messages WHERE conversation_id = ? AND parent_id IS ? ORDER BY number", (row[2], row[3])
    )
    return _message(connection, row, tuple(sibling for (sibling,) in siblings))


def load_messages(connection: sqlite3.Connection, conversation_id: str) -> tuple[StoredMessage, ...]:
    """The messages that are shown, the first one first. Raises NotFoundError."""
    conversation = get_conversation(connection, conversation_id)
    if conversation.active_message_id is None:
        return ()
    rows = connection.execute(
        f"""
        WITH RECURSIVE path (path_id, path_parent_id, depth) AS (
            SELECT id, parent_id, 0 FROM messages WHERE id = ?
            UNION ALL
            SELECT messages.id, messages.parent_id, depth + 1 FROM messages JOIN path ON messages.id = path_parent_id
        )
        SELECT {_MESSAGE_COLUMNS} FROM path JOIN messages ON messages.id = path_id ORDER BY depth DESC
        """,  # noqa: S608
        (conversation.active_message_id,),
    ).fetchall()
    siblings: dict[str | None, list[str]] = {}
    for parent_id, message_id in connection.execute(
        "SELECT parent_id, id FROM messages WHERE conversation_id = ? ORDER BY number", (conversation_id,)
    ):
        siblings.setdefault(parent_id, []).append(message_id)
    return tuple(_message(connection, row, tuple(siblings[row[3]])) for row in rows)


def newest_descendant(connection: sqlite3.Connection, message_id: str) -> str:
    """The end of the branch that begins with this message, following the newest child each time."""
    while True:
        child = connection.execute(
            "SELECT id FROM messages WHERE parent_id = ? ORDER BY number DESC LIMIT 1", (message_id,)
        ).fetchone()
        if child is None:
            return message_id
        message_id = child[0]


def append_part(
    connection: sqlite3.Connection, message_id: str, text: str, thinking: str, owner: tuple[int, float]
) -> bool:
    """Adds text to a growing reply; answers False when the message is gone."""
    # Another process took us for dead (the clock was set, the machine slept): the reply is ours again.
    connection.execute(
        "UPDATE messages SET state = 'growing', finished_at = NULL, owner_pid = ?, owner_started_at = ?"
        " WHERE id = ? AND state != 'growing'",
        (*owner, message_id),
    )
    cursor = connection.execute(
        "INSERT INTO reply_parts (message_number, number, text, thinking)"
        " SELECT number, (SELECT COALESCE(MAX(reply_parts.number), 0) + 1 FROM reply_parts"
        " WHERE message_number = messages.number), ?, ? FROM messages WHERE id = ?",
        (text, thinking, message_id),
    )
    return cursor.rowcount > 0


def growing_replies(connection: sqlite3.Connection) -> list[tuple[str, int | None, float | None]]:
    """Message id, and pid and start of the process that writes it."""
    return connection.execute("SELECT id, owner_pid, owner_started_at FROM messages WHERE state = 'growing'").fetchall()


def finish_reply(
    connection: sqlite3.Connection,
    message_id: str,
    *,
    state: MessageState,
    reason: str = "",
    error: str = "",
    usage: Usage | None = None,
    only_growing: bool = False,
) -> bool:
    """Joins the parts into the message and gives it its end. Answers False when there was nothing to finish."""
    row = connection.execute(
        "SELECT number, text, thinking, state, conversation_id FROM messages WHERE id = ?", (message_id,)
    ).fetchone()
    if row is None or (only_growing and row[3] != "growing"):
        return False
    number, text, thinking, _, conversation_id = row
    more_text, more_thinking = _joined_parts(connection, number)
    now = time.time()
    connection.execute(
        "UPDATE messages SET text = ?, thinking = ?, state = ?, reason = ?, error = ?, usage = ?, finished_at = ?,"
        " owner_pid = NULL, owner_started_at = NULL WHERE number = ?",
        (text + more_text, thinking + more_thinking, state, reason, error, _json(usage), now, number),
    )
    connection.execute("DELETE FROM reply_parts WHERE message_number = ?", (number,))
    if not only_growing:
        connection.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (now, conversation_id))
    return True


def reopen_reply(connection: sqlite3.Connection, message_id: str, owner: tuple[int, float]) -> None:
    """An ended reply grows again from where it is. Raises NotFoundError."""
    cursor = connection.execute(
        "UPDATE messages SET state = 'growing', reason = '', error = '', finished_at = NULL, owner_pid = ?,"
        " owner_started_at = ? WHERE id = ? AND role = 'assistant' AND state != 'growing'",
        (*owner, message_id),
    )
    if cursor.rowcount == 0:
        raise NotFoundError("This reply does not exist any more, or is being written already.")


def _parent_id(connection: sqlite3.Connection, conversation: Conversation, parent: str | Place) -> str | None:
    match parent:
        case Place.AT_END:
            return conversation.active_message_id
        case Place.AT_START:
            return None
        case str():
            if get_message(connection, parent).conversation_id != conversation.id:
                raise NotFoundError("This message belongs to another conversation.")
            return parent


def _joined_parts(connection: sqlite3.Connection, number: int) -> tuple[str, str]:
    parts = connection.execute(
        "SELECT text, thinking FROM reply_parts WHERE message_number = ? ORDER BY number", (number,)
    ).fetchall()
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts)


def _conversation(row: tuple[Any, ...]) -> Conversation:
    conversation_id, title, title_by_user, created_at, updated_at, deleted_at, active_message_id, draft = row
    return Conversation(
        id=conversation_id,
        title=title,
        title_by_user=bool(title_by_user),
        created_at=_time(created_at),
        updated_at=_time(updated_at),
        deleted_at=None if deleted_at is None else _time(deleted_at),
        active_message_id=active_message_id,
        draft=draft,
    )


def _message(connection: sqlite3.Connection, row: tuple[Any, ...], sibling_ids: tuple[str, ...]) -> StoredMessage:
    (number, message_id, conversation_id, parent_id, role, text, thinking, state, reason, error) = row[:10]
    (model_name, model_path, engine, usage, options, created_at, finished_at) = row[10:]
    if state == "growing":
        more_text, more_thinking = _joined_parts(connection, number)
        text += more_text
        thinking += more_thinking
    return StoredMessage(
        id=message_id,
        conversation_id=conversation_id,
        parent_id=parent_id,
        role=role,
        text=text,
        thinking=thinking,
        state=state,
        reason=reason,
        error=error,
        model_name=model_name,
        model_path=model_path,
        engine=engine,
        usage=_from_json(usage, Usage),
        options=_from_json(options, GenerationOptions),
        created_at=_time(created_at),
        finished_at=None if finished_at is None else _time(finished_at),
        sibling_ids=sibling_ids,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _json(value: Usage | GenerationOptions | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _from_json(text: str | None, kind: type[Value]) -> Value | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError:
        # Written by a version whose figures were of another kind. The message counts, its figures do not.
        return None
