"""The store of conversations: every call returns a future at once, one thread of its own does the work.

Promise: what `append_reply` was given is on disk 250 ms later, whatever happens to this process. Futures carry a
`StorageError` when something fails; their callbacks run on the store's thread and must not wait for another future.
"""

from __future__ import annotations

import atexit
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from desktop.core.conversations import opening, queries
from desktop.core.conversations.owner import OwnerThread
from desktop.core.conversations.replies import FLUSH_SECONDS, RETRY_SECONDS, ReplyEnd, ReplyWriter, storable
from desktop.core.conversations.values import Conversation, EndState, OpenReport, Place, StoredMessage
from desktop.core.errors import StorageError
from engines.base import GenerationOptions, Role, Usage

Result = TypeVar("Result")

CLOSE_SECONDS = 10.0

log = logging.getLogger(__name__)


class Store:
    """The conversations of one profile. Thread-safe; several processes may have the same file open."""

    opened: Future[OpenReport]
    """What was found and done while opening, or why it failed (then every call fails with the same error)."""

    def __init__(
        self,
        database_path: Path,
        *,
        backup_directory: Path | None = None,
        on_problem: Callable[[StorageError], None] | None = None,
        on_recovered: Callable[[], None] | None = None,
    ) -> None:
        """Returns at once; the file is opened on the store's thread.

        `on_problem` is told, on that thread, when a reply cannot be written (it stays in memory and is tried again),
        and `on_recovered` when it has been written after all.
        """
        self.opened = Future()
        self._database_path = database_path
        self._backup_directory = backup_directory or database_path.parent / "backups"
        self._replies = ReplyWriter(database_path, on_problem=on_problem, on_recovered=on_recovered)
        self._owner = OwnerThread(
            database_path,
            open_connection=self._open_connection,
            tick=self._replies.write,
            last_words=self._replies.end_all,
        )
        atexit.register(self.close)

    # Conversations

    def create_conversation(self, title: str = "") -> Future[Conversation]:
        """A new, empty conversation; without a title it is named after its first message."""
        return self._write(lambda connection: queries.create_conversation(connection, storable(title)))

    def get_conversation(self, conversation_id: str) -> Future[Conversation]:
        """One conversation, also from the bin."""
        return self._owner.submit(lambda connection: queries.get_conversation(connection, conversation_id))

    def list_conversations(self, search: str = "", *, in_bin: bool = False) -> Future[tuple[Conversation, ...]]:
        """The last used first; with all the words of `search` in their titles."""
        return self._owner.submit(lambda connection: queries.list_conversations(connection, search, in_bin))

    def rename(self, conversation_id: str, title: str) -> Future[Conversation]:
        """Gives it the user's name. An empty one gives the naming back to Snug."""
        title = storable(title)
        return self._change(conversation_id, title=title, title_by_user=bool(title))

    def save_draft(self, conversation_id: str, draft: str) -> Future[Conversation]:
        """Keeps what was typed and not sent."""
        return self._change(conversation_id, draft=storable(draft))

    def delete(self, conversation_id: str) -> Future[Conversation]:
        """Puts it into the bin."""
        return self._change(conversation_id, deleted_at=time.time())

    def restore(self, conversation_id: str) -> Future[Conversation]:
        """Takes it out of the bin."""
        return self._change(conversation_id, deleted_at=None)

    def erase(self, conversation_id: str) -> Future[None]:
        """Removes it for good, from the bin or not."""
        return self._write(lambda connection: queries.erase_conversation(connection, conversation_id))

    # Messages

    def load_messages(self, conversation_id: str) -> Future[tuple[StoredMessage, ...]]:
        """The branch that is shown, the first message first."""
        return self._owner.submit(
            lambda connection: tuple(
                self._replies.completed(message) for message in queries.load_messages(connection, conversation_id)
            )
        )

    def get_message(self, message_id: str) -> Future[StoredMessage]:
        """One message."""
        return self._owner.submit(
            lambda connection: self._replies.completed(queries.get_message(connection, message_id))
        )

    def add_message(
        self, conversation_id: str, role: Role, text: str, *, parent: str | Place = Place.AT_END
    ) -> Future[StoredMessage]:
        """A complete message. Under an earlier `parent` it begins a new branch, which is then shown."""
        text = storable(text)
        return self._write(
            lambda connection: queries.add_message(connection, conversation_id, role=role, parent=parent, text=text)
        )

    def choose_branch(self, message_id: str) -> Future[Conversation]:
        """Shows the branch that goes through this message, to its newest end."""

        def work(connection: sqlite3.Connection) -> Conversation:
            conversation_id = queries.get_message(connection, message_id).conversation_id
            end_id = queries.newest_descendant(connection, message_id)
            queries.update_conversation(connection, conversation_id, active_message_id=end_id)
            return queries.get_conversation(connection, conversation_id)

        return self._write(work)

    # Replies

    def begin_reply(
        self,
        conversation_id: str,
        *,
        parent: str | Place = Place.AT_END,
        model_name: str = "",
        model_path: str = "",
        engine: str = "",
        options: GenerationOptions | None = None,
    ) -> Future[StoredMessage]:
        """An empty reply that grows by `append_reply` under the message's id."""

        def work(connection: sqlite3.Connection) -> StoredMessage:
            message = queries.add_message(
                connection,
                conversation_id,
                role="assistant",
                parent=parent,
                state="growing",
                model_name=storable(model_name),
                model_path=storable(model_path),
                engine=engine,
                options=options,
                owner=self._replies.owner,
            )
            self._replies.begun(message.id)
            return message

        return self._write(work)

    def reopen_reply(self, message_id: str) -> Future[StoredMessage]:
        """A reply that was cut off grows again, from where it is."""
        self._replies.expect(message_id)

        def work(connection: sqlite3.Connection) -> StoredMessage:
            try:
                with queries.transaction(connection):
                    queries.reopen_reply(connection, message_id, self._replies.owner)
            except BaseException:
                self._replies.not_begun(message_id)
                raise
            self._replies.begun(message_id)
            return queries.get_message(connection, message_id)

        return self._owner.submit(work)

    def append_reply(self, message_id: str, text: str, thinking: str = "") -> None:
        """Adds to a growing reply. Never waits; the text is on disk within 250 ms."""
        self._replies.append(message_id, text, thinking)
        self._owner.wake_within(FLUSH_SECONDS)

    def finish_reply(
        self,
        message_id: str,
        state: EndState,
        reason: str = "",
        usage: Usage | None = None,
        *,
        error: str = "",
    ) -> Future[StoredMessage]:
        """The end of a growing reply. `reason` is the engine's finish reason, `error` what the user was told.

        When it cannot be written now, the future fails and the store goes on trying.
        """
        end = ReplyEnd(state=state, reason=reason, error=storable(error), usage=usage)

        def work(connection: sqlite3.Connection) -> StoredMessage:
            self._replies.finish(connection, message_id, end)
            return queries.get_message(connection, message_id)

        future = self._owner.submit(work)
        self._owner.wake_within(RETRY_SECONDS)
        return future

    def recover_interrupted(self) -> Future[int]:
        """Marks replies whose process died as interrupted; answers how many. Opening does this by itself."""
        return self._owner.submit(opening.interrupt_orphans)

    def close(self) -> None:
        """Writes what is left, marks this process's growing replies as interrupted, and ends the thread.

        Calling it twice is harmless; so is forgetting it, as long as the interpreter ends in an orderly way.
        """
        atexit.unregister(self.close)
        if not self._owner.close(CLOSE_SECONDS):
            log.info("The store is still writing while it is being closed")

    def _open_connection(self) -> sqlite3.Connection:
        try:
            self._replies.start(opening.own_identity())
            connection, report = opening.open_database(self._database_path, self._backup_directory)
        except BaseException as error:
            self.opened.set_exception(error)
            raise
        self.opened.set_result(report)
        return connection

    def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Future[Result]:
        def in_transaction(connection: sqlite3.Connection) -> Result:
            with queries.transaction(connection):
                return work(connection)

        return self._owner.submit(in_transaction)

    def _change(self, conversation_id: str, **columns: object) -> Future[Conversation]:
        def work(connection: sqlite3.Connection) -> Conversation:
            queries.update_conversation(connection, conversation_id, **columns)
            return queries.get_conversation(connection, conversation_id)

        return self._write(work)
