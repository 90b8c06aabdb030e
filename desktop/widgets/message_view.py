"""One message on screen: bubble or reply, thinking, actions, error; selection within it and Ctrl+C.

A view is reused for other messages while scrolling. It paints its text itself and owns widgets only for what can be
pressed. Where it stands and how much of it is seen is the transcript's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from PySide6.QtCore import QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from desktop.widgets.block_stack import BlockStack
from desktop.widgets.code_block import CodeBlock
from desktop.widgets.markdown import QUOTE_STEP_PX, Leaf
from desktop.widgets.markdown_stream import MarkdownStream
from desktop.widgets.message_parts import ActionRow, ThinkingToggle
from desktop.widgets.message_selection import MessageSelection
from desktop.widgets.notice_bar import Notice, NoticeAction, NoticeView
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.theme import scaled, text_scale, theme_of
from desktop.widgets.transcript_model import MessageItem

COLUMN_PX = 720
SIDE_PX = 20
_BUBBLE_ABOVE_PX, _BUBBLE_BELOW_PX = 14, 10
_ACTIONS_ABOVE_PX, _ACTIONS_LEFT_PX, _ACTIONS_HEIGHT_PX = 6, -8, 32
_THINKING_BELOW_PX = 6
_NOTICE_ABOVE_PX = 10
_END_PX = 6
_MOST_READ_AT_ONCE = 12_000
"""Characters of Markdown; about 30 ms on a slow machine."""
_TRY_AGAIN = "try_again"


@dataclass(slots=True)
class MessageStreams:
    """The Markdown of one message as far as it has been read; outlives the view."""

    text: MarkdownStream = field(default_factory=MarkdownStream)
    thinking: MarkdownStream = field(default_factory=MarkdownStream)


class MessageView(QWidget):
    """Shows one MessageItem.

    Signals: copy_requested, continue_requested, regenerate_requested, edit_requested (message id);
    entry_requested(id, menu entry); link_activated(address); thinking_toggled(id, open); selection_started(id);
    height_changed(id), when a long text has been read further.
    """

    copy_requested = Signal(str)
    continue_requested = Signal(str)
    regenerate_requested = Signal(str)
    edit_requested = Signal(str)
    entry_requested = Signal(str, str)
    link_activated = Signal(str)
    thinking_toggled = Signal(str, bool)
    selection_started = Signal(str)
    height_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("focus_radius", -1.0)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setMouseTracking(True)
        # Growing at the end repaints the end only.
        self.setAttribute(Qt.WidgetAttribute.WA_StaticContents)
        self._item = MessageItem("", "assistant", "")
        self._streams = MessageStreams()
        self._is_thinking_open = False
        self._thinking_leaves: list[Leaf] = []
        self._stack = BlockStack(theme_of(self), text_scale())
        self._left = 0.0
        self._column = 0.0
        self._stack_top = 0.0
        self._drawn_geometry: tuple[float, ...] = ()
        self._toggle: ThinkingToggle | None = None
        self._actions: ActionRow | None = None
        self._notice: NoticeView | None = None
        self._entries: tuple[MenuEntry, ...] = ()
        self._reading_timer = QTimer(self, singleShot=True, interval=0)
        self._reading_timer.timeout.connect(self._read_on)
        self.selection = MessageSelection(self)

    # --- values in -------------------------------------------------------------------------------------------

    def item(self) -> MessageItem:
        """What is shown."""
        return self._item

    def stack(self) -> BlockStack:
        """The blocks of the text."""
        return self._stack

    def set_entries(self, entries: tuple[MenuEntry, ...]) -> None:
        """What "More" beneath a reply offers."""
        self._entries = entries
        if self._actions is not None:
            self._actions.set_entries(entries)

    def show_item(self, item: MessageItem, streams: MessageStreams, *, is_thinking_open: bool = False) -> None:
        """Shows another message."""
        self._stack.detach()
        self._item, self._streams, self._is_thinking_open = item, streams, is_thinking_open
        self._stack = BlockStack(theme_of(self), text_scale())
        self._thinking_leaves = []
        self.selection.clear()
        self._fill_stack(everything=True)
        self._show_parts()
        self._stack.set_width(self._column)
        self.update()

    def update_item(self, item: MessageItem) -> None:
        """Shows a later state of the same message; costs what has changed."""
        had_thinking = bool(self._item.thinking)
        self._item = item
        first = self._fill_stack(everything=bool(item.thinking) != had_thinking)
        self._show_parts()
        top = round(self._top_of_stack() + self._stack.top_of(min(first, len(self._stack))))
        self.update(0, top, self.width(), max(0, self.height() - top))

    def refresh_look(self) -> None:
        """Theme or text size changed."""
        self.show_item(self._item, self._streams, is_thinking_open=self._is_thinking_open)

    # --- geometry, used by the transcript ----------------------------------------------------------------------

    def set_view_width(self, width: float) -> None:
        """The width of the whole transcript; the column is centred in it."""
        column = min(float(scaled(COLUMN_PX)), max(120.0, width - 2 * SIDE_PX))
        self._left = float(round((width - column) / 2))
        if column != self._column:
            self._column = column
            self._stack.set_width(column)

    def content_height(self) -> int:
        """Height of the whole message, partly estimated."""
        if self._item.role == "user":
            return _BUBBLE_ABOVE_PX + self._stack.height + _BUBBLE_BELOW_PX
        height = self._top_of_stack() + self._stack.height
        if self._notice is not None:
            height += _NOTICE_ABOVE_PX + self._notice_height()
        return height + _ACTIONS_ABOVE_PX + scaled(_ACTIONS_HEIGHT_PX) + _END_PX

    def ensure(self, top: float, bottom: float) -> bool:
        """Measures what is seen between `top` and `bottom`; answers whether the height changed."""
        start = self._top_of_stack()
        return self._stack.ensure(top - start, bottom - start)

    def place(self, top: float, bottom: float) -> None:
        """Puts the parts where they belong; what lies between `top` and `bottom` is on screen."""
        start = self._top_of_stack()
        geometry = (self._left, start, self._column, self._stack.layout_count)
        if geometry != self._drawn_geometry:
            self._drawn_geometry = geometry
            self.update()
        self._stack_top = start
        self._stack.place(self, QPointF(self._left, start), top - start, bottom - start)
        if self._toggle is not None:
            self._toggle.move(round(self._left) - 8, 0)
            self._toggle.resize(self._toggle.sizeHint())
        y = start + self._stack.height
        if self._notice is not None:
            height = self._notice_height()
            self._notice.setGeometry(round(self._left), round(y + _NOTICE_ABOVE_PX), round(self._column), height)
            y += _NOTICE_ABOVE_PX + height
        if self._actions is not None:
            self._actions.setGeometry(
                round(self._left) + _ACTIONS_LEFT_PX,
                round(y + _ACTIONS_ABOVE_PX),
                round(self._column) - _ACTIONS_LEFT_PX,
                scaled(_ACTIONS_HEIGHT_PX),
            )

    def anchor_at(self, y: float) -> tuple[int, float]:
        """The block at `y` (-1: the message itself) and how far below its beginning `y` is."""
        start = self._top_of_stack()
        if not len(self._stack) or y < start:
            return -1, y
        index, _, top = self._stack.block_at(y - start)
        return index, y - start - top

    def known_block(self, top: float, bottom: float) -> int:
        """The first block between `top` and `bottom` whose height is known, or -1."""
        start = self._top_of_stack()
        return self._stack.measured_at(top - start, bottom - start)

    def top_of_anchor(self, block: int) -> int:
        """Where a block of the message begins."""
        return self._top_of_stack() + self._stack.top_of(min(block, len(self._stack)))

    def leave_screen(self) -> None:
        """The view is put aside for another message."""
        self._reading_timer.stop()
        self._stack.detach()
        self.hide()

    def controls(self) -> list[QWidget]:
        """What the keyboard can reach, in reading order."""
        found: list[QWidget] = [self._toggle] if self._toggle is not None else []
        first, last = self._stack.attached_range()
        for index in range(first, last):
            block = self._stack.block(index)
            if isinstance(block, CodeBlock):
                found.extend(block.controls())
        if self._actions is not None:
            found.extend(self._actions.controls())
        return found

    def text_origin(self) -> QPointF:
        """Where the stack of blocks begins."""
        return QPointF(self._left, self._stack_top)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._stack.draw(painter, self.text_origin(), QRectF(event.rect()), self.selection.ordered())

    # --- inside ------------------------------------------------------------------------------------------------

    def _fill_stack(self, *, everything: bool) -> int:
        """Gives the stack its leaves; answers the index of the first that may look different."""
        item = self._item
        if item.role == "user":
            self._stack.set_leaves([Leaf("bubble", text=item.text, space_after_px=0)])
            return 0
        is_growing = item.state == "growing"
        first = 0
        if self._is_thinking_open and item.thinking:
            changed = self._streams.thinking.update(item.thinking, is_complete=not is_growing or bool(item.text))
            first = 0 if everything else changed
            kept = self._thinking_leaves[:first]
            self._thinking_leaves = kept + [_dim(leaf) for leaf in self._streams.thinking.leaves[first:]]
        else:
            self._thinking_leaves = []
        text, is_complete = self._next_part(item.text, is_growing=is_growing)
        changed = self._streams.text.update(text, is_complete=is_complete)
        thinking_count = len(self._thinking_leaves)
        if thinking_count == 0 or (first >= thinking_count and not everything):
            first = thinking_count + (0 if everything else changed)
        leaves = self._thinking_leaves + self._streams.text.leaves if thinking_count else self._streams.text.leaves
        first = 0 if everything else first
        self._stack.set_leaves(leaves, first, is_growing=is_growing)
        return first

    def _next_part(self, text: str, *, is_growing: bool) -> tuple[str, bool]:
        """How much of a text is read now, and whether that is all of it.

        A very long reply from the store is read in parts, so that the window stays alive; the timer asks for more.
        """
        self._reading_timer.stop()
        known = self._streams.text.text_length
        if len(text) - known <= _MOST_READ_AT_ONCE:
            return text, not is_growing
        self._reading_timer.start()
        return text[: known + _MOST_READ_AT_ONCE], False

    def _read_on(self) -> None:
        self.update_item(self._item)
        self.height_changed.emit(self._item.id)

    def _show_parts(self) -> None:
        item = self._item
        is_reply = item.role == "assistant"
        self._show_toggle(is_shown=is_reply and bool(item.thinking))
        self._show_notice(is_shown=is_reply and bool(item.error_title))
        if is_reply and self._actions is None:
            self._actions = self._make_actions()
        if self._actions is not None:
            self._actions.setVisible(is_reply)
            if is_reply:
                self._actions.show_item(item)
        if item.state != "growing":
            self.setAccessibleName(self._spoken())

    def _show_toggle(self, *, is_shown: bool) -> None:
        if is_shown and self._toggle is None:
            self._toggle = ThinkingToggle(self)
            self._toggle.clicked.connect(self._on_toggle_clicked)
            self._toggle.show()
        if self._toggle is None:
            return
        if not is_shown:
            self._toggle.deleteLater()
            self._toggle.hide()
            self._toggle = None
            return
        self._toggle.setChecked(self._is_thinking_open)
        self._toggle.show_item(self._item)

    def _show_notice(self, *, is_shown: bool) -> None:
        item = self._item
        notice = Notice(
            key=item.id,
            severity="error",
            title=item.error_title,
            advice=item.error_advice,
            details=item.error_details,
            actions=(NoticeAction(_TRY_AGAIN, self.tr("Try again")),),
            closable=False,
        )
        if self._notice is not None and (not is_shown or self._notice.notice() != notice):
            self._notice.hide()
            self._notice.deleteLater()
            self._notice = None
        if is_shown and self._notice is None:
            self._notice = NoticeView(notice, self)
            self._notice.action_requested.connect(lambda message_id, _: self.regenerate_requested.emit(message_id))
            self._notice.show()

    def _make_actions(self) -> ActionRow:
        row = ActionRow(self)
        row.set_entries(self._entries)
        row.copy_clicked.connect(lambda: self.copy_requested.emit(self._item.id))
        row.again_clicked.connect(lambda: self.regenerate_requested.emit(self._item.id))
        row.continue_clicked.connect(lambda: self.continue_requested.emit(self._item.id))
        row.entry_chosen.connect(lambda entry: self.entry_requested.emit(self._item.id, entry))
        return row

    def _top_of_stack(self) -> int:
        if self._item.role == "user":
            return _BUBBLE_ABOVE_PX
        return scaled(26) + _THINKING_BELOW_PX if self._toggle is not None else 0

    def _notice_height(self) -> int:
        assert self._notice is not None
        layout = self._notice.layout()
        assert layout is not None
        return max(layout.heightForWidth(round(self._column)), self._notice.minimumSizeHint().height())

    def _spoken(self) -> str:
        who = self.tr("You") if self._item.role == "user" else self.tr("Reply")
        return f"{who}: {self._item.text}"

    def _on_toggle_clicked(self) -> None:
        self._is_thinking_open = not self._is_thinking_open
        self.thinking_toggled.emit(self._item.id, self._is_thinking_open)


def _dim(leaf: Leaf) -> Leaf:
    """A leaf of the thinking: quieter, behind a bar."""
    return replace(
        leaf,
        is_dim=True,
        indent_px=leaf.indent_px + QUOTE_STEP_PX,
        quote_bars_px=(0, *(bar + QUOTE_STEP_PX for bar in leaf.quote_bars_px)),
    )
