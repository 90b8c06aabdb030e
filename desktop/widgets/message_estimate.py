"""How high a message will be, guessed from its text without reading the Markdown. Wrong by design, and cheap."""

from __future__ import annotations

from desktop.widgets.theme import scaled
from desktop.widgets.transcript_model import MessageItem

_CHARACTER_PX = 8
_BUBBLE_PX = 560
_LINE_PX = 23
_AROUND_BUBBLE_PX = 42
_AROUND_REPLY_PX = 44
_THINKING_PX = 32


def estimate_height(item: MessageItem, column_px: float) -> int:
    """A guess for a column of this width, at the present text size."""
    width = min(column_px, scaled(_BUBBLE_PX)) if item.role == "user" else column_px
    characters = max(10, int(width / scaled(_CHARACTER_PX)))
    height = scaled(_LINE_PX) * estimate_lines(item.text, characters)
    if item.role == "user":
        return height + _AROUND_BUBBLE_PX
    return height + _AROUND_REPLY_PX + (scaled(_THINKING_PX) if item.thinking else 0)


def estimate_lines(text: str, characters_a_line: int) -> int:
    """Lines of a text; every line end leaves half a line empty on average."""
    ends = text.count("\n")
    return max(1, ends + 1, round(len(text) / characters_a_line + ends / 2))
