"""A message's blocks one under the other; only those near the screen are measured and kept.

The stack is used by MessageView and knows nothing of what stands around the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QWidget

from desktop.widgets.blocks import Block, BubbleBlock, RuleBlock, TextBlock
from desktop.widgets.code_block import CodeBlock
from desktop.widgets.height_index import HeightIndex
from desktop.widgets.markdown import Leaf, plain_text
from desktop.widgets.table_block import TableBlock
from desktop.widgets.theme import Theme

StackPosition = tuple[int, int]
"""A block's index and a position in it."""
_BAR_WIDTH_PX = 3
_KEPT_SCREENS = 3
"""Blocks further away than this many screens give their layouts back."""


class BlockStack:
    """Leaves in, pixels out."""

    def __init__(self, theme: Theme, scale: float) -> None:
        self._theme = theme
        self._scale = scale
        self._leaves: list[Leaf] = []
        self._blocks: list[Block | None] = []
        self._heights = HeightIndex()
        self._measured: list[bool] = []
        self._width = 0.0
        self._attached: set[int] = set()
        self._alive: set[int] = set()
        """Blocks that exist; the others are only leaves and heights."""
        self._growing = -1
        self.layout_count = 0
        """Rises whenever a block that was only estimated gets its height; the picture is another then."""

    def __len__(self) -> int:
        return len(self._leaves)

    @property
    def height(self) -> int:
        """Height of everything, partly estimated."""
        return self._heights.total()

    def set_leaves(self, leaves: Sequence[Leaf], first_changed: int = 0, *, is_growing: bool = False) -> None:
        """Shows `leaves`; those before `first_changed` are known to be what they were."""
        last_was_growing, old_last = self._growing, len(self._leaves) - 1
        keep = min(first_changed, len(self._leaves))
        for index in range(keep, len(leaves)):
            leaf = leaves[index]
            if index >= len(self._leaves):
                self._leaves.append(leaf)
                self._blocks.append(None)
                self._heights.append(self._estimate(leaf))
                self._measured.append(False)
            elif self._leaves[index] != leaf:
                self._replace(index, leaf)
        if len(leaves) < len(self._leaves):
            self._truncate(len(leaves))
        self._growing = len(leaves) - 1 if is_growing else -1
        if 0 <= last_was_growing < len(self._blocks) and last_was_growing != self._growing:
            grown = self._blocks[last_was_growing]
            if isinstance(grown, CodeBlock):
                grown.freeze()
        for index in {old_last, len(self._leaves) - 1}:
            if 0 <= index < len(self._leaves) and (self._measured[index] or self._growing == index):
                self._measure_if_possible(index)

    def set_width(self, width: float) -> None:
        """Another width: heights so far become estimates."""
        if width != self._width:
            if self._width > 0:
                ratio = self._width / width
                for index in range(len(self._leaves)):
                    if self._leaves[index].kind == "paragraph":
                        self._heights.set(index, self._heights[index] * ratio)
            else:
                for index, leaf in enumerate(self._leaves):
                    self._heights.set(index, self._estimate(leaf, width))
            self._width = width
            self._measured = [False] * len(self._leaves)

    def ensure(self, top: float, bottom: float) -> bool:
        """Measures what lies between `top` and `bottom`; answers whether any height was not as estimated."""
        has_changed = False
        if not self._leaves:
            return has_changed
        index = self._heights.at(top)
        while index < len(self._leaves) and self._heights.top_of(index) < bottom:
            if not self._measured[index]:
                before = self._heights[index]
                self._measure(index)
                self.layout_count += 1
                has_changed = has_changed or self._heights[index] != before
            index += 1
        return has_changed

    def measured_at(self, top: float, bottom: float) -> int:
        """The first block between `top` and `bottom` whose height is known, or -1."""
        first, last = self.visible(top, bottom)
        return next((index for index in range(first, min(last, len(self._leaves))) if self._measured[index]), -1)

    def place(self, host: QWidget, origin: QPointF, top: float, bottom: float) -> None:
        """Puts the controls of visible blocks where they belong and lets go of blocks far away."""
        first, last = self.visible(top, bottom)
        for index in self._attached - set(range(first, last)):
            block = self._blocks[index] if index < len(self._blocks) else None
            if block is not None:
                block.detach()
        self._attached = set()
        for index in range(first, last):
            self._block(index).attach(host, origin + QPointF(0, self._heights.top_of(index)))
            self._attached.add(index)
        self._release_far_blocks(top, bottom)

    def detach(self) -> None:
        """The message left the screen."""
        for index in self._attached:
            block = self._blocks[index] if index < len(self._blocks) else None
            if block is not None:
                block.detach()
        self._attached = set()

    def attached_range(self) -> tuple[int, int]:
        """The range of blocks that were placed last."""
        return (min(self._attached), max(self._attached) + 1) if self._attached else (0, 0)

    def visible(self, top: float, bottom: float) -> tuple[int, int]:
        """The range of blocks between `top` and `bottom`."""
        if not self._leaves or bottom <= 0 or top >= self.height:
            return 0, 0
        return self._heights.at(max(0.0, top)), self._heights.at(bottom - 1) + 1

    def draw(
        self,
        painter: QPainter,
        origin: QPointF,
        clip: QRectF,
        selection: tuple[StackPosition, StackPosition] | None = None,
    ) -> None:
        """Draws what meets `clip` (in the painter's coordinates)."""
        first, last = self.visible(clip.top() - origin.y(), clip.bottom() - origin.y())
        for index in range(first, last):
            block = self._block(index)
            at = origin + QPointF(0, self._heights.top_of(index))
            self._draw_quote_bars(painter, index, at)
            block.draw(painter, at, clip, self._selection_in(index, selection))

    def block_at(self, y: float) -> tuple[int, Block, float]:
        """The block at `y`: its index, itself and its top."""
        index = self._heights.at(y)
        return index, self._block(index), self._heights.top_of(index)

    def position_at(self, point: QPointF) -> StackPosition:
        """The position nearest to `point`."""
        index, block, top = self.block_at(point.y())
        return index, block.position_at(point - QPointF(0, top))

    def block(self, index: int) -> Block:
        """The block at `index`, made and measured if need be."""
        return self._block(index)

    def end(self) -> StackPosition:
        """The position behind everything."""
        last = len(self._leaves) - 1
        return last, self._block(last).length

    def copied_text(self, start: StackPosition, end: StackPosition) -> str:
        """What copying from `start` to `end` puts on the clipboard."""
        parts: list[str] = []
        for index in range(start[0], end[0] + 1):
            block = self._block(index)
            first = start[1] if index == start[0] else 0
            last = end[1] if index == end[0] else block.length
            parts.append(block.copied_text(first, last))
            if index < end[0]:
                parts.append("\n" if self._leaves[index].space_after_px <= 1 else "\n\n")
        return "".join(parts)

    def top_of(self, index: int) -> int:
        """Where a block begins."""
        return self._heights.top_of(index)

    def _block(self, index: int) -> Block:
        block = self._blocks[index]
        if block is None:
            block = self._make(self._leaves[index], is_first=index == 0)
            self._blocks[index] = block
            self._alive.add(index)
            if self._width > 0:
                self._heights.set(index, block.measure(self._width) + self._space_after(index))
                self._measured[index] = True
        return block

    def _make(self, leaf: Leaf, *, is_first: bool) -> Block:
        match leaf.kind:
            case "code":
                return CodeBlock(leaf, self._theme, self._scale)
            case "table":
                return TableBlock(leaf, self._theme, self._scale)
            case "rule":
                return RuleBlock(leaf, self._theme, self._scale)
            case "paragraph" | "heading":
                return TextBlock(leaf, self._theme, self._scale, is_first=is_first)
            case "bubble":
                return BubbleBlock(leaf, self._theme, self._scale)

    def _replace(self, index: int, leaf: Leaf) -> None:
        block = self._blocks[index]
        self._leaves[index] = leaf
        if block is not None and isinstance(block, CodeBlock) and block.update_leaf(leaf):
            self._measure(index)
            return
        if block is not None:
            block.detach()
            self._attached.discard(index)
        self._blocks[index] = None
        if block is not None and self._width > 0:
            # It was on screen or near: measured at once, so that a growing text never flickers between two heights.
            self._measure(index)
        else:
            self._heights.set(index, self._estimate(leaf))
            self._measured[index] = False

    def _measure_if_possible(self, index: int) -> None:
        if self._width > 0:
            self._measure(index)

    def _measure(self, index: int) -> None:
        block = self._block(index)
        self._heights.set(index, block.measure(self._width) + self._space_after(index))
        self._measured[index] = True

    def _truncate(self, count: int) -> None:
        for index in range(count, len(self._leaves)):
            block = self._blocks[index]
            if block is not None:
                block.detach()
            self._attached.discard(index)
        del self._leaves[count:], self._blocks[count:], self._measured[count:]
        self._heights.truncate(count)

    def _release_far_blocks(self, top: float, bottom: float) -> None:
        margin = (bottom - top) * _KEPT_SCREENS
        first, last = self.visible(top - margin, bottom + margin)
        for index in [index for index in self._alive if not first <= index < last and index != self._growing]:
            if index < len(self._blocks):
                self._blocks[index] = None
            self._alive.discard(index)

    def _selection_in(
        self, index: int, selection: tuple[StackPosition, StackPosition] | None
    ) -> tuple[int, int] | None:
        if selection is None:
            return None
        start, end = selection
        if not start[0] <= index <= end[0]:
            return None
        first = start[1] if index == start[0] else 0
        last = end[1] if index == end[0] else self._block(index).length + 1
        return (first, last) if last > first else None

    def _space_after(self, index: int) -> float:
        # A card at the end brings its own edge; the space after it belongs to what follows.
        if index == len(self._leaves) - 1 and self._leaves[index].kind == "code":
            return 0.0
        return self._leaves[index].space_after_px * self._scale

    def _draw_quote_bars(self, painter: QPainter, index: int, at: QPointF) -> None:
        leaf = self._leaves[index]
        if not leaf.quote_bars_px:
            return
        height = self._heights[index]
        following = self._leaves[index + 1] if index + 1 < len(self._leaves) else None
        for number, bar in enumerate(leaf.quote_bars_px):
            goes_on = following is not None and len(following.quote_bars_px) > number
            length = height if goes_on else height - self._space_after(index)
            painter.fillRect(QRectF(at.x() + bar * self._scale, at.y(), _BAR_WIDTH_PX, length), self._theme.trough_line)

    def _estimate(self, leaf: Leaf, width: float | None = None) -> float:
        width = (width if width is not None else self._width) or 720.0
        space = leaf.space_after_px * self._scale
        if leaf.kind == "code":
            return (46 + 20 * (leaf.text.count("\n") + 1)) * self._scale + space
        if leaf.kind == "table":
            return 29 * len(leaf.rows) * self._scale + space
        characters_a_line = max(8.0, (width - leaf.indent_px) / (7.4 * self._scale))
        lines = max(1, -(-len(plain_text(leaf.runs)) // int(characters_a_line)))
        return 23 * lines * self._scale + space
