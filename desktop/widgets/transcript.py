"""The conversation: a virtual list with one widget for each message on screen.

Heights of messages that were never seen are estimates. When an estimate above the reader's eyes turns out wrong, the
scroll position moves with it, so that the text does not. It follows the end only while the reader is there.
"""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.height_index import HeightIndex
from desktop.widgets.message_estimate import estimate_height
from desktop.widgets.message_view import COLUMN_PX, SIDE_PX, MessageView
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.theme import is_size_change, scaled, text_scale
from desktop.widgets.transcript_model import MessageItem, TranscriptModel
from desktop.widgets.view_pool import ViewPool

_END_TOLERANCE_PX = 4
_TOP_SPACE_PX = 12
_PILL_ABOVE_PX = 12
_MOST_ROUNDS = 12
"""Placing repeats while estimates turn out wrong; this many rounds have always been enough."""


class Transcript(QAbstractScrollArea):
    """Shows MessageItems and keeps the reader's place.

    Signals: copy_requested, continue_requested, regenerate_requested, edit_requested (message id);
    entry_requested(message id, menu entry id); link_activated(address); at_end_changed(bool).
    """

    copy_requested = Signal(str)
    continue_requested = Signal(str)
    regenerate_requested = Signal(str)
    edit_requested = Signal(str)
    entry_requested = Signal(str, str)
    link_activated = Signal(str)
    at_end_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setProperty("focus_inside", True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalScrollBar().setSingleStep(40)
        self.setAccessibleName(self.tr("Conversation"))
        self.model = TranscriptModel(self)
        self.model.was_reset.connect(self._on_reset)
        self.model.appended.connect(self._on_appended)
        self.model.changed.connect(self._on_changed)
        self._heights = HeightIndex()
        self._pool = ViewPool(self.viewport(), self._connect)
        self._views = self._pool.views
        self._sticks = True
        self._shown: set[int] = set()
        self._controls: list[QWidget] = []
        self._is_placing = False
        self._width = 0
        self._scale = text_scale()
        self._look_timer = QTimer(self, singleShot=True, interval=0)
        self._look_timer.timeout.connect(self._on_size_changed)
        self._pill = Button(self.tr("New text below"), icon_name="down", size="small", parent=self)
        self._pill.hide()
        self._pill.clicked.connect(self.scroll_to_end)
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)

    # --- values in -------------------------------------------------------------------------------------------

    def set_messages(self, items: Iterable[MessageItem]) -> None:
        """Shows another conversation, at its end."""
        self.model.set_items(items)

    def append(self, item: MessageItem) -> None:
        """One more message; one's own always scrolls to the end."""
        self.model.append(item)

    def update_message(self, item: MessageItem) -> None:
        """A later state of a message that is there."""
        self.model.update(item)

    def update_last(self, item: MessageItem) -> None:
        """A later state of the last message, for example one more piece."""
        self.model.update(item)

    def set_reply_entries(self, entries: Iterable[MenuEntry]) -> None:
        """What "More" beneath replies offers; nothing hides the button."""
        self._pool.set_entries(tuple(entries))

    # --- the reader's place ------------------------------------------------------------------------------------

    def is_at_end(self) -> bool:
        """Whether the end is in sight and followed."""
        return self._sticks

    def scroll_to_end(self) -> None:
        """Goes to the end and follows it."""
        self._set_sticks(True)
        self._place()

    def scroll_to_message(self, message_id: str) -> None:
        """Brings the beginning of a message to the top."""
        index = self.model.index_of(message_id)
        if index is None:
            return
        self._set_sticks(False)
        self.verticalScrollBar().setValue(round(self._heights.top_of(index)))
        self._place()

    def visible_ids(self) -> list[str]:
        """Ids of the messages that have a widget on screen, in order."""
        return [self.model[index].id for index in sorted(self._views) if self._views[index].isVisibleTo(self)]

    def view_of(self, message_id: str) -> MessageView | None:
        """The widget of a message, if it is on screen."""
        index = self.model.index_of(message_id)
        return self._views.get(index) if index is not None else None

    def selected_text(self) -> str:
        """What Ctrl+C would copy."""
        return "".join(view.selection.selected_text() for _, view in sorted(self._views.items()))

    # --- events ------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        width = self.viewport().width()
        if width != self._width:
            self._change_width(width)
        else:
            self._place()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._refresh_look()
        elif is_size_change(event) and text_scale() != self._scale:
            # The parts of messages hear of it after this widget, so placing waits for them.
            self._scale = text_scale()
            self._look_timer.start()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        bar = self.verticalScrollBar()
        match event.key():
            case Qt.Key.Key_Home:
                bar.setValue(0)
            case Qt.Key.Key_End:
                self.scroll_to_end()
            case Qt.Key.Key_PageUp:
                bar.setValue(bar.value() - bar.pageStep())
            case Qt.Key.Key_PageDown | Qt.Key.Key_Space:
                bar.setValue(bar.value() + bar.pageStep())
            case _:
                super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The messages paint themselves."""

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: N802  (Qt calls it)
        """Placing is done by `_on_scrolled`."""

    # --- inside ------------------------------------------------------------------------------------------------

    def _on_reset(self) -> None:
        self._pool.clear()
        self._estimate_all()
        self._set_sticks(True)
        self._place()

    def _on_appended(self, index: int) -> None:
        item = self.model[index]
        self._heights.append(self._estimate(item))
        if item.role == "user":
            self._set_sticks(True)
        self._place()
        self._show_pill()

    def _on_changed(self, index: int) -> None:
        item = self.model[index]
        view = self._views.get(index)
        if view is None:
            self._heights.set(index, self._estimate(item))
        else:
            view.update_item(item)
            self._heights.set(index, view.content_height())
        self._place()
        self._show_pill()

    def _on_scrolled(self) -> None:
        if self._is_placing:
            return
        bar = self.verticalScrollBar()
        self._set_sticks(bar.value() >= bar.maximum() - _END_TOLERANCE_PX)
        self._place()

    def _set_sticks(self, sticks: bool) -> None:
        if sticks:
            self._pill.hide()
        if sticks != self._sticks:
            self._sticks = sticks
            self.at_end_changed.emit(sticks)

    def _show_pill(self) -> None:
        if not self._sticks and self._total() > self.verticalScrollBar().value() + self.viewport().height() + 40:
            self._pill.show()
            self._pill.raise_()
            self._place_pill()

    def _place_pill(self) -> None:
        size = self._pill.sizeHint()
        area = self.viewport().geometry()
        left = area.x() + (area.width() - size.width()) // 2
        self._pill.setGeometry(left, area.bottom() - size.height() - _PILL_ABOVE_PX, size.width(), size.height())

    def _total(self) -> int:
        return _TOP_SPACE_PX + self._heights.total()

    def _place(self, anchor: tuple[int, int] | None = None) -> None:
        """Makes, measures and moves the widgets of what is on screen.

        `anchor` is what must not move for the reader: a message and a block in it (-1: the message's beginning).
        Without it, the first thing on screen whose height is known stays where it is.
        """
        if self._is_placing or self._width <= 0:
            return
        self._is_placing = True
        try:
            bar = self.verticalScrollBar()
            page = self.viewport().height()
            value = bar.value()
            if anchor is None:
                anchor = self._first_known(value - _TOP_SPACE_PX, page)
            for _ in range(_MOST_ROUNDS):
                most = max(0, self._total() - page)
                value = most if self._sticks else min(value, most)
                before = self._top_of(anchor)
                has_changed = self._ensure(value - _TOP_SPACE_PX, page)
                value += self._top_of(anchor) - before
                if not has_changed:
                    break
            most = max(0, self._total() - page)
            bar.setRange(0, most)
            bar.setPageStep(page)
            bar.setValue(most if self._sticks else value)
            self._arrange(bar.value() - _TOP_SPACE_PX, page)
        finally:
            self._is_placing = False
        self._place_pill()

    def _first_known(self, top: int, page: int) -> tuple[int, int]:
        for index in sorted(self._shown):
            if index >= len(self.model):
                break
            message_top = self._heights.top_of(index)
            if message_top >= top + page or message_top + self._heights[index] <= top or index not in self._views:
                continue
            view = self._views[index]
            block = view.known_block(top - message_top, top - message_top + page)
            if block >= 0:
                return index, block
            if message_top >= top and not len(view.stack()):
                return index, -1
        return (self._heights.at(top), -1) if len(self.model) else (0, -1)

    def _top_of(self, anchor: tuple[int, int]) -> int:
        index, block = anchor
        if index >= len(self.model):
            return 0
        view = self._views.get(index) if block >= 0 else None
        return self._heights.top_of(index) + (view.top_of_anchor(block) if view is not None else 0)

    def _ensure(self, top: int, page: int) -> bool:
        """Measures the messages on screen; answers whether any was not as high as estimated."""
        has_changed = False
        if not len(self.model):
            return has_changed
        index = self._heights.at(top)
        while index < len(self.model) and self._heights.top_of(index) < top + page:
            message_top = self._heights.top_of(index)
            view = self._view(index)
            has_changed = view.ensure(top - message_top, top + page - message_top) or has_changed
            height = view.content_height()
            if height != self._heights[index]:
                has_changed = True
                self._heights.set(index, height)
            index += 1
        return has_changed

    def _arrange(self, top: int, page: int) -> None:
        """Moves the widgets to their places and puts aside those that nobody sees."""
        shown: set[int] = set()
        if len(self.model):
            index = self._heights.at(top)
            while index < len(self.model) and self._heights.top_of(index) < top + page:
                view = self._view(index)
                y = self._heights.top_of(index) - top
                view.setGeometry(0, y, self._width, view.content_height())
                view.place(-y, page - y)
                view.show()
                shown.add(index)
                index += 1
        for index in [index for index in self._views if index not in shown]:
            # The reply that grows keeps its widget, so that a piece costs the same out of sight.
            if self.model[index].state == "growing":
                self._views[index].hide()
            else:
                self._pool.put_aside(index)
        self._shown = shown
        self._fix_tab_order()

    def _view(self, index: int) -> MessageView:
        return self._pool.view(index, self.model[index], self._width)

    def _connect(self, view: MessageView) -> None:
        view.copy_requested.connect(self.copy_requested)
        view.continue_requested.connect(self.continue_requested)
        view.regenerate_requested.connect(self.regenerate_requested)
        view.edit_requested.connect(self.edit_requested)
        view.entry_requested.connect(self.entry_requested)
        view.link_activated.connect(self.link_activated)
        view.thinking_toggled.connect(self._on_thinking_toggled)
        view.selection_started.connect(self._on_selection_started)
        view.height_changed.connect(self._on_height_changed)

    def _on_thinking_toggled(self, message_id: str, is_open: bool) -> None:
        index = self.model.index_of(message_id)
        view = self.view_of(message_id)
        if index is None or view is None:
            return
        # Opening must not throw the reader to the end: the line that was pressed stays where it is.
        was_sticking = self._sticks and not is_open
        self._set_sticks(was_sticking)
        self._pool.open_thinking(index, self.model[index], is_open=is_open)
        self._heights.set(index, view.content_height())
        self._place((index, -1))

    def _on_height_changed(self, message_id: str) -> None:
        index = self.model.index_of(message_id)
        view = self._views.get(index) if index is not None else None
        if index is not None and view is not None:
            self._heights.set(index, view.content_height())
            self._place()

    def _on_selection_started(self, message_id: str) -> None:
        for view in self._views.values():
            if view.item().id != message_id:
                view.selection.clear()

    def _fix_tab_order(self) -> None:
        """Tab goes through the messages from top to bottom, however their widgets came to be."""
        controls = [control for index in sorted(self._shown) for control in self._views[index].controls()]
        if controls == self._controls:
            return
        self._controls = controls
        previous: QWidget = self
        for control in controls:
            QWidget.setTabOrder(previous, control)
            previous = control

    def _change_width(self, width: int) -> None:
        anchor = self._anchor() if self._width > 0 else None
        old_column = self._column()
        self._width = width
        for view in self._views.values():
            view.set_view_width(width)
        if self._column() != old_column or len(self._heights) != len(self.model):
            self._estimate_all()
            for index, view in self._views.items():
                self._heights.set(index, view.content_height())
        if anchor is None or self._sticks:
            self._place()
            return
        self._restore(anchor)
        self._place(anchor[:2])

    def _anchor(self) -> tuple[int, int, float]:
        """What stands at the top edge: message, block in it, and how far into the block the edge is."""
        top = self.verticalScrollBar().value() - _TOP_SPACE_PX
        if not len(self.model):
            return 0, 0, 0.0
        index = self._heights.at(top)
        view = self._views.get(index)
        if view is None:
            return index, -1, top - self._heights.top_of(index)
        block, offset = view.anchor_at(top - self._heights.top_of(index))
        return index, block, offset

    def _restore(self, anchor: tuple[int, int, float]) -> None:
        index, block, offset = anchor
        if index >= len(self.model):
            return
        top = self._heights.top_of(index)
        view = self._views.get(index)
        if view is not None and block >= 0:
            top += view.top_of_anchor(block)
        bar = self.verticalScrollBar()
        self._is_placing = True
        bar.setRange(0, max(0, self._total() - self.viewport().height()))
        bar.setValue(round(top + offset + _TOP_SPACE_PX))
        self._is_placing = False

    def _on_size_changed(self) -> None:
        self._estimate_all()
        self._refresh_look()

    def _refresh_look(self) -> None:
        anchor = self._anchor() if self._width > 0 else None
        for index, view in self._views.items():
            view.set_view_width(self._width)
            view.refresh_look()
            self._heights.set(index, view.content_height())
        if anchor is None or self._sticks:
            self._place()
            return
        self._restore(anchor)
        self._place(anchor[:2])

    def _column(self) -> float:
        return min(float(scaled(COLUMN_PX)), float(self._width - 2 * SIDE_PX))

    def _estimate_all(self) -> None:
        self._heights = HeightIndex(self._estimate(item) for item in self.model)

    def _estimate(self, item: MessageItem) -> int:
        return estimate_height(item, self._column())
