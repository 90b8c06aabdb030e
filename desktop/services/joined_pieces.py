"""Pieces of a reply on their way to the screen: gathered on one thread, taken in larger strokes on another."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engines.base import PieceKind


class JoinedPieces:
    """What has arrived since the last look. `on_first` is called, on the adding thread, when there is news again."""

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self._lock = threading.Lock()
        self._text: list[str] = []
        self._thinking: list[str] = []

    def add(self, text: str, kind: PieceKind) -> None:
        """One more piece. Cheap: this is called for every token."""
        with self._lock:
            is_first = not self._text and not self._thinking
            (self._thinking if kind == "thinking" else self._text).append(text)
        if is_first:
            self._on_first()

    def take(self) -> tuple[str, str]:
        """Text and thinking; they are the caller's now."""
        with self._lock:
            joined = "".join(self._text), "".join(self._thinking)
            self._text.clear()
            self._thinking.clear()
        return joined
