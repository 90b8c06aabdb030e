"""What the store hands out: frozen values. Text fields stay out of `repr`, so that no log can show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Literal

from engines.base import ChatMessage, GenerationOptions, Role, Usage

MessageState = Literal["complete", "growing", "interrupted", "stopped", "failed"]
"""complete: ended by itself. growing: being written now. interrupted: the app or the engine died.
stopped: the user ended it. failed: the engine reported an error."""
EndState = Literal["complete", "interrupted", "stopped", "failed"]


class Place(Enum):
    """Where a message goes when it has no named parent."""

    AT_END = "at_end"
    """After the last message that is shown."""
    AT_START = "at_start"
    """As a (further) first message of the conversation."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One line of the side bar."""

    id: str
    title: str = field(repr=False)
    """Empty until there is a first message or a name from the user."""
    title_by_user: bool
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    """Set while it lies in the bin."""
    active_message_id: str | None
    """The last message that is shown; its parents are the ones before it."""
    draft: str = field(repr=False)
    """What was typed and not sent."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as it is on disk."""

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    text: str = field(repr=False)
    thinking: str = field(repr=False)
    state: MessageState
    reason: str
    """Why a reply ended: a FinishReason of the engine, or empty."""
    error: str
    """What the user was told when a reply failed or was cut off, or empty."""
    model_name: str
    model_path: str
    engine: str
    usage: Usage | None
    options: GenerationOptions | None
    """How the reply was sampled."""
    created_at: datetime
    finished_at: datetime | None
    sibling_ids: tuple[str, ...] = ()
    """All messages with the same parent, this one included, in the order they were made."""

    @property
    def can_continue(self) -> bool:
        """Whether this is a reply that was cut off and can go on where it ended."""
        return self.role == "assistant" and (
            self.state in ("interrupted", "stopped", "failed") or self.reason in ("length", "context")
        )

    def as_chat_message(self) -> ChatMessage:
        """The message as an engine sees it."""
        return ChatMessage(role=self.role, content=self.text, thinking=self.thinking)


@dataclass(frozen=True, slots=True)
class OpenReport:
    """What happened while the store was opened, for a notice and the log."""

    migrations: tuple[str, ...] = ()
    backup_path: Path | None = None
    """The copy from before the migrations."""
    damaged_path: Path | None = None
    """The folder where a damaged file was put aside; a new, empty one is in use."""
    interrupted_count: int = 0
    """Replies of processes that died."""
