"""Text of growing replies that is not on disk yet. Any thread adds, the owner thread takes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Pieces:
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)

    def joined(self) -> tuple[str, str]:
        return "".join(self.text), "".join(self.thinking)


class PendingText:
    """What has arrived since the last write, by message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: dict[str, _Pieces] = {}

    def add(self, message_id: str, text: str, thinking: str) -> None:
        """Adds at the end. Cheap: this is called for every token."""
        with self._lock:
            pieces = self._pieces.setdefault(message_id, _Pieces())
            if text:
                pieces.text.append(text)
            if thinking:
                pieces.thinking.append(thinking)

    def take_all(self) -> dict[str, tuple[str, str]]:
        """All text and thinking, by message; it is the caller's now."""
        with self._lock:
            taken, self._pieces = self._pieces, {}
        return {message_id: pieces.joined() for message_id, pieces in taken.items()}

    def take(self, message_id: str) -> tuple[str, str]:
        """Text and thinking of one message; it is the caller's now."""
        with self._lock:
            pieces = self._pieces.pop(message_id, None)
        return pieces.joined() if pieces else ("", "")

    def put_back(self, message_id: str, text: str, thinking: str) -> None:
        """What could not be written comes before what has arrived since."""
        with self._lock:
            pieces = self._pieces.setdefault(message_id, _Pieces())
            pieces.text.insert(0, text)
            pieces.thinking.insert(0, thinking)

    def look(self, message_id: str) -> tuple[str, str]:
        """Text and thinking of one message, left where it is."""
        with self._lock:
            pieces = self._pieces.get(message_id)
            return pieces.joined() if pieces else ("", "")

    def __bool__(self) -> bool:
        return bool(self._pieces)


def storable(text: str) -> str:
    """Text as SQLite takes it: half characters (lone surrogates, from broken input) become question marks."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
