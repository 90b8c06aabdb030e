"""The widgets of the messages on screen: made when needed, used again for other messages.

What a message keeps while it has no widget (its Markdown as far as it was read, whether its thinking is open) is kept
here too. Where the widgets stand is the transcript's business.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from PySide6.QtWidgets import QWidget

from desktop.widgets.message_view import MessageStreams, MessageView
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.transcript_model import MessageItem

KEPT_STREAMS = 60
"""Messages whose Markdown is kept after they left the screen."""


class ViewPool:
    """Views by the index of their message. `connect` is called once for every view that is made."""

    def __init__(self, host: QWidget, connect: Callable[[MessageView], None]) -> None:
        self._host = host
        self._connect = connect
        self.views: dict[int, MessageView] = {}
        self._spare: list[MessageView] = []
        self._streams: OrderedDict[str, MessageStreams] = OrderedDict()
        self._open_thinking: set[str] = set()
        self._entries: tuple[MenuEntry, ...] = ()

    def view(self, index: int, item: MessageItem, width: int) -> MessageView:
        """The view of a message, made or taken from the spare ones if it has none."""
        view = self.views.get(index)
        if view is None:
            view = self._spare.pop() if self._spare else self._make()
            view.set_view_width(width)
            self.views[index] = view
            self._show(view, item)
        return view

    def put_aside(self, index: int) -> None:
        """The message left the screen."""
        view = self.views.pop(index)
        view.leave_screen()
        self._spare.append(view)

    def clear(self) -> None:
        """Another conversation: nothing of this one is kept."""
        for index in list(self.views):
            self.put_aside(index)
        self._streams.clear()
        self._open_thinking.clear()

    def set_entries(self, entries: tuple[MenuEntry, ...]) -> None:
        """What "More" offers, in these views and in those to come."""
        self._entries = entries
        for view in (*self.views.values(), *self._spare):
            view.set_entries(entries)

    def open_thinking(self, index: int, item: MessageItem, *, is_open: bool) -> None:
        """Opens or folds the thinking of a message that has a view."""
        if is_open:
            self._open_thinking.add(item.id)
        else:
            self._open_thinking.discard(item.id)
        self._show(self.views[index], item)

    def _show(self, view: MessageView, item: MessageItem) -> None:
        view.show_item(item, self._streams_of(item.id), is_thinking_open=item.id in self._open_thinking)

    def _make(self) -> MessageView:
        view = MessageView(self._host)
        view.set_entries(self._entries)
        self._connect(view)
        return view

    def _streams_of(self, message_id: str) -> MessageStreams:
        streams = self._streams.pop(message_id, None) or MessageStreams()
        self._streams[message_id] = streams
        while len(self._streams) > KEPT_STREAMS:
            self._streams.popitem(last=False)
        return streams
