"""From token bytes to pieces of a reply: UTF-8, reasoning, stop strings, whole characters. Nothing native.

What a piece may not do: end inside a UTF-8 sequence, inside an emoji (skin tones, joined families, flags, keycaps),
or between a letter and its marks in scripts that write with marks. What might still grow is held back until the next
token.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Sequence

from engines.base import Piece, PieceKind
from engines.reasoning import ReasoningFormat, ReasoningSplitter

_ZERO_WIDTH_JOINER = "\u200d"
_LONGEST_CLUSTER = 64


class ReplyText:
    """Turns the bytes of one token after another into pieces, and notices stop strings.

    Stop strings are looked for in the answer, not in the reasoning; the string itself is not part of the reply.
    """

    def __init__(
        self,
        stop: Sequence[str] = (),
        reasoning: ReasoningFormat | None = None,
        *,
        starts_inside_thinking: bool = False,
    ) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._splitter = ReasoningSplitter(reasoning, starts_inside=starts_inside_thinking)
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self._held_kind: PieceKind = "text"
        self.stopped = False
        """A stop string has appeared: nothing more will come."""

    def feed(self, data: bytes) -> list[Piece]:
        """Takes the bytes of one token; returns what can be shown now."""
        if self.stopped:
            return []
        return self._collect(self._splitter.feed(self._decoder.decode(data)))

    def flush(self) -> list[Piece]:
        """The rest, at the end of the reply.

        Bytes of a character that is not whole are left out: a reply that was stopped between the two tokens of an
        emoji shows nothing for it, and goes on with a whole one when it is continued.
        """
        if self.stopped:
            return []
        pieces = self._collect(self._splitter.flush())
        if self._held and not self.stopped:
            pieces.append(Piece(self._held, self._held_kind))
            self._held = ""
        return pieces

    def _collect(self, stretches: list[tuple[PieceKind, str]]) -> list[Piece]:
        pieces: list[Piece] = []
        for kind, text in stretches:
            if kind != self._held_kind and self._held:
                pieces.append(Piece(self._held, self._held_kind))
                self._held = ""
            self._held_kind = kind
            self._held += text
            if kind == "text" and self._cut_at_stop():
                if self._held:
                    pieces.append(Piece(self._held, kind))
                self._held = ""
                return pieces
            ready = self._ready_length()
            if ready:
                pieces.append(Piece(self._held[:ready], kind))
                self._held = self._held[ready:]
        return pieces

    def _cut_at_stop(self) -> bool:
        positions = [position for text in self._stop if (position := self._held.find(text)) >= 0]
        if positions:
            self._held = self._held[: min(positions)]
            self.stopped = True
        return self.stopped

    def _ready_length(self) -> int:
        ready = len(self._held)
        if self._held_kind == "text":
            for stop in self._stop:
                for length in range(min(len(stop) - 1, len(self._held)), 0, -1):
                    if stop.startswith(self._held[-length:]):
                        ready = min(ready, len(self._held) - length)
                        break
        return _whole_characters(self._held[:ready])


def _whole_characters(text: str) -> int:
    """How much of `text` can be shown without cutting a character that the next token may extend."""
    if not text:
        return 0
    last = text[-1]
    if (last < "\x80" and last not in "#*0123456789") or _stands_alone(last):
        return len(text)
    start = _last_cluster_start(text)
    return start if len(text) - start <= _LONGEST_CLUSTER else len(text)


def _stands_alone(character: str) -> bool:
    """Letters of scripts whose characters are written without marks: waiting for one would only delay them."""
    return "\u4e00" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" or "\u3000" <= character <= "\u30ff"


def _extends(character: str) -> bool:
    code = ord(character)
    return (
        character == _ZERO_WIDTH_JOINER
        or unicodedata.category(character) in ("Mn", "Mc", "Me")
        or 0x1F3FB <= code <= 0x1F3FF
        or 0xE0020 <= code <= 0xE007F
    )


def _is_regional(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF


def _last_cluster_start(text: str) -> int:
    position = len(text) - 1
    while position > 0:
        if _extends(text[position]) or text[position - 1] == _ZERO_WIDTH_JOINER:
            position -= 1
            continue
        if _is_regional(text[position]):
            run = position
            while run > 0 and _is_regional(text[run - 1]):
                run -= 1
            return position - (position - run) % 2
        break
    return position
