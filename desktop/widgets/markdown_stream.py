"""Markdown that grows: only the unfinished end of a text is read again with every piece.

A block that something has followed is frozen and never read again, and an open code fence is only searched for its
end. So the cost of a piece depends on the block that it lands in, not on the length of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from desktop.widgets.markdown import CARD_SPACE_PX, TIGHT_SPACE_PX, Leaf, leaves_of, parser

if TYPE_CHECKING:
    from markdown_it.token import Token

_UNDECIDED_LINE = re.compile(r"[ \t>]*(?:[-=*_+#`~$\\\[(|!]+|\d{1,9}[.)]?|[-*+] ?\[[ xX]?\]?)[ \t]*")
"""A last line that may still become anything: shown, it would flicker between a heading, a list and a rule."""
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")
LONGEST_PARAGRAPH = 8_000
"""Characters after which a paragraph without end is cut, so that a piece stays cheap."""


@dataclass(slots=True)
class _OpenFence:
    """A code block at the end of the text whose closing line has not come yet."""

    marker: str
    indent: int
    language: str
    content_start: int
    searched: int
    """Everything before this offset holds no closing line."""


class MarkdownStream:
    """The leaves of a text that only grows at its end (any other change starts over)."""

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self._text = ""
        self._is_complete = False
        self._frozen_leaves = 0
        self._frozen_offset = 0
        self._next_number: int | None = None
        self._fence: _OpenFence | None = None

    @property
    def frozen_leaves(self) -> int:
        """How many leaves will never change again."""
        return self._frozen_leaves

    @property
    def text_length(self) -> int:
        """How much of the text has been read."""
        return len(self._text)

    def update(self, text: str, *, is_complete: bool) -> int:
        """Takes the whole text as it now stands; answers the index of the first leaf that may have changed."""
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if text == self._text and is_complete == self._is_complete:
            return len(self.leaves)
        if not text.startswith(self._text):
            self._start_over()
        self._text, self._is_complete = text, is_complete
        first_changed = self._frozen_leaves
        del self.leaves[first_changed:]
        if self._fence is not None and not self._read_fence(self._fence):
            return first_changed
        self._read_tail()
        return first_changed

    def _start_over(self) -> None:
        self.leaves = []
        self._frozen_leaves = self._frozen_offset = 0
        self._next_number = None
        self._fence = None

    def _read_tail(self) -> None:
        base = self._frozen_offset
        tail = self._text[base:]
        if not self._is_complete:
            tail = _without_undecided_end(tail)
        tokens = parser().parse(tail)
        if not tokens:
            return
        starts = _line_starts(tail)
        rest = self._freeze(tokens, starts)
        if self._open_fence(rest, tail, base, starts):
            return
        rest_length = len(self._text) - self._frozen_offset
        if not self._is_complete and rest_length > LONGEST_PARAGRAPH and rest[0].type == "paragraph_open":
            self._cut_paragraph()
            return
        self.leaves.extend(self._decided(leaves_of(rest, first_number=self._next_number)))

    def _freeze(self, tokens: Sequence[Token], starts: list[int]) -> list[Token]:
        """Keeps all that something has followed, moves the start of the tail behind it, and answers the rest."""
        segments = _segments(tokens)
        last = segments[-1]
        cut_line = last[0].map[0] if last[0].map else 0
        for segment in segments[:-1]:
            self.leaves.extend(leaves_of(segment, first_number=self._next_number))
            self._next_number = None
        items = _items(last)
        if len(items) > 1:
            cut_line = self._freeze_items(last, items)
        offset = self._frozen_offset + starts[cut_line]
        if offset > self._frozen_offset:
            self._frozen_offset = offset
            self._frozen_leaves = len(self.leaves)
        return last

    def _freeze_items(self, segment: list[Token], items: list[list[Token]]) -> int:
        """Moves all items of a list but the last from `segment` to the frozen leaves; answers where that one begins."""
        opening, closing = segment[0], segment[-1]
        done = [opening, *(token for item in items[:-1] for token in item), closing]
        leaves = leaves_of(done, first_number=self._next_number)
        if leaves:
            # The list goes on, so the space of its end is not due yet.
            is_tight = all(token.hidden for token in segment if token.type == "paragraph_open" and token.level == 2)
            if is_tight and leaves[-1].kind == "paragraph":
                leaves[-1] = replace(leaves[-1], space_after_px=TIGHT_SPACE_PX)
        self.leaves.extend(leaves)
        if opening.type == "ordered_list_open":
            first = self._next_number if self._next_number is not None else int(opening.attrs.get("start", 1))
            self._next_number = first + len(items) - 1
        del segment[1 : 1 + sum(len(item) for item in items[:-1])]
        assert items[-1][0].map is not None
        return items[-1][0].map[0]

    def _decided(self, leaves: list[Leaf]) -> list[Leaf]:
        """Hides a table's head until it is known to be one; elsewhere it would jump from text to table."""
        if self._is_complete or not leaves:
            return leaves
        last = leaves[-1]
        is_table_head = last.kind == "paragraph" and last.runs and last.runs[0].text.startswith("|")
        return leaves[:-1] if is_table_head and len(last.runs[0].text) < 400 else leaves

    def _open_fence(self, segment: list[Token], tail: str, base: int, starts: list[int]) -> bool:
        """Switches to reading a fence if the tail ends in an open one."""
        token = segment[0]
        if token.type != "fence" or token.map is None or self._is_complete:
            return False
        first = token.map[0]
        head = _FENCE.match(tail, starts[first])
        if head is None or (_closes(tail[starts[token.map[1] - 1] :], token.markup) and token.map[1] - first > 1):
            return False
        if head.end() == len(tail):
            return False  # the language may still grow
        content = head.end() + 1
        language = token.info.strip().split(maxsplit=1)[0] if token.info.strip() else ""
        start = base + content
        indent = len(head[0]) - len(head[0].lstrip(" "))
        self._fence = _OpenFence(token.markup, indent, language, start, start)
        self._read_fence(self._fence)
        return True

    def _read_fence(self, fence: _OpenFence) -> bool:
        """Adds the open fence's leaf; answers whether its end was found, so that the text behind it can be read."""
        text = self._text
        position = fence.searched
        while (end := text.find("\n", position)) >= 0:
            if _closes(text[position:end], fence.marker):
                self._add_code(fence, text[fence.content_start : max(fence.content_start, position - 1)])
                self._close_fence(end + 1)
                return True
            position = end + 1
        fence.searched = position
        last_line = text[position:]
        if self._is_complete and _closes(last_line, fence.marker):
            self._add_code(fence, text[fence.content_start : max(fence.content_start, position - 1)])
            self._close_fence(len(text))
            return True
        may_close = not self._is_complete and last_line.strip() and not last_line.strip().strip(fence.marker[0])
        code = text[fence.content_start : position if may_close else len(text)]
        self._add_code(fence, code.removesuffix("\n"))
        return False

    def _close_fence(self, offset: int) -> None:
        self._fence = None
        self._frozen_offset = offset
        self._frozen_leaves = len(self.leaves)

    def _add_code(self, fence: _OpenFence, code: str) -> None:
        if fence.indent:
            code = re.sub(rf"(?m)^ {{1,{fence.indent}}}", "", code)
        self.leaves.append(Leaf("code", language=fence.language, text=code, space_after_px=CARD_SPACE_PX))

    def _cut_paragraph(self) -> None:
        """Freezes most of a paragraph that does not end; what follows goes on in the next line."""
        tail_start = self._frozen_offset
        cut = self._text.rfind(" ", tail_start, tail_start + LONGEST_PARAGRAPH)
        cut = tail_start + LONGEST_PARAGRAPH if cut < 0 else cut + 1
        leaves = leaves_of(parser().parse(self._text[tail_start:cut]), first_number=self._next_number)
        if leaves:
            leaves[-1] = replace(leaves[-1], space_after_px=0)
        self.leaves.extend(leaves)
        self._next_number = None
        self._frozen_offset = cut
        self._frozen_leaves = len(self.leaves)
        self._read_tail()


def _closes(line: str, marker: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(marker) and not stripped.strip(marker[0]) and not line.startswith("    ")


def _line_starts(text: str) -> list[int]:
    return [0, *accumulate(len(line) + 1 for line in text.split("\n"))]


def _without_undecided_end(tail: str) -> str:
    start = tail.rfind("\n") + 1
    return tail[:start] if _UNDECIDED_LINE.fullmatch(tail, start) else tail


def _segments(tokens: Sequence[Token]) -> list[list[Token]]:
    """The tokens, cut at the top level: one list for each block."""
    return _cut(tokens, 0)


def _items(segment: list[Token]) -> list[list[Token]]:
    """The items of a list, or nothing for another block."""
    if segment[0].type not in {"bullet_list_open", "ordered_list_open"}:
        return []
    return _cut(segment[1:-1], 1)


def _cut(tokens: Sequence[Token], level: int) -> list[list[Token]]:
    segments: list[list[Token]] = []
    is_open = False
    for token in tokens:
        if not is_open:
            segments.append([])
        segments[-1].append(token)
        if token.level == level and token.nesting == 1:
            is_open = True
        elif token.level == level and token.nesting == -1:
            is_open = False
    return segments
