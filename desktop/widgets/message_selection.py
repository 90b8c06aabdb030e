"""Selecting text within a message: mouse, keyboard and clipboard. One helper for each MessageView."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, Qt, QTextBoundaryFinder
from PySide6.QtGui import QContextMenuEvent, QCursor, QGuiApplication, QKeyEvent, QKeySequence, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from desktop.widgets.block_stack import StackPosition
from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.text_flow import utf16_length

if TYPE_CHECKING:
    from desktop.widgets.message_view import MessageView


class MessageSelection(QObject):
    """Filters the events of its view; holds the selection as two positions in the view's stack."""

    def __init__(self, view: MessageView) -> None:
        super().__init__(view)
        self._view = view
        self._anchor: StackPosition | None = None
        self._cursor: StackPosition | None = None
        self._pressed_at: QPointF | None = None
        self._menu: PopupMenu | None = None
        self._clicks = 0
        self._last_click_ms = 0
        view.installEventFilter(self)

    def clear(self) -> None:
        """Nothing is selected any more."""
        if self._anchor is not None:
            self._anchor = self._cursor = None
            self._view.update()

    def select_all(self) -> None:
        """Selects the whole message."""
        if len(self._view.stack()):
            self._anchor, self._cursor = (0, 0), self._view.stack().end()
            self._view.selection_started.emit(self._view.item().id)
            self._view.update()

    def ordered(self) -> tuple[StackPosition, StackPosition] | None:
        """The selection, first position first; None where it is empty."""
        if self._anchor is None or self._cursor is None or self._anchor == self._cursor:
            return None
        last = len(self._view.stack()) - 1
        first, second = sorted((self._anchor, self._cursor))
        return (first, second) if second[0] <= last else None

    def selected_text(self) -> str:
        """What Ctrl+C would copy."""
        selection = self.ordered()
        return self._view.stack().copied_text(*selection) if selection is not None else ""

    def copy(self) -> None:
        """Puts the selection on the clipboard."""
        text = self.selected_text()
        if text:
            QGuiApplication.clipboard().setText(text)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is not self._view:
            return False
        if isinstance(event, QMouseEvent):
            return self._on_mouse(event)
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            return self._on_key(event)
        if isinstance(event, QContextMenuEvent):
            self.show_menu(event.globalPos(), QPointF(event.pos()))
            return True
        if isinstance(event, QWheelEvent):
            return self._on_wheel(event)
        return False

    def show_menu(self, position: QPoint, point: QPointF | None = None) -> None:
        """Copy, and what else the message allows."""
        link = self._link_at(point) if point is not None else ""
        message_id = self._view.item().id
        entries = [MenuEntry("message", self.tr("Copy message"))]
        if link:
            entries.insert(0, MenuEntry("address", self.tr("Copy address")))
        if self.ordered() is not None:
            entries.insert(0, MenuEntry("selection", self.tr("Copy selection")))
        if self._view.item().role == "user":
            entries.append(MenuEntry("edit", self.tr("Edit")))

        def on_chosen(entry_id: str) -> None:
            match entry_id:
                case "selection":
                    self.copy()
                case "address":
                    QGuiApplication.clipboard().setText(link)
                case "message":
                    self._view.copy_requested.emit(message_id)
                case _:
                    self._view.edit_requested.emit(message_id)

        if self._menu is None:
            self._menu = PopupMenu(self._view)
        self._menu.open_with(entries, on_chosen, position)

    def _on_mouse(self, event: QMouseEvent) -> bool:
        point = event.position()
        match event.type():
            case QEvent.Type.MouseButtonPress | QEvent.Type.MouseButtonDblClick:
                return self._on_press(event, point)
            case QEvent.Type.MouseMove:
                if event.buttons() & Qt.MouseButton.LeftButton and self._anchor is not None and self._clicks <= 1:
                    self._cursor = self._position_at(point)
                    self._view.update()
                else:
                    self._show_pointer(point)
                return True
            case QEvent.Type.MouseButtonRelease if event.button() == Qt.MouseButton.LeftButton:
                link = self._link_at(point)
                if link and self.ordered() is None:
                    self._view.link_activated.emit(link)
                return True
            case _:
                return False

    def _on_press(self, event: QMouseEvent, point: QPointF) -> bool:
        if event.button() != Qt.MouseButton.LeftButton or not len(self._view.stack()):
            return False
        is_again = (
            self._clicks == 2
            and event.timestamp() - self._last_click_ms < QApplication.doubleClickInterval()
            and self._pressed_at is not None
            and (self._pressed_at - point).manhattanLength() < QApplication.startDragDistance()
        )
        is_double = event.type() == QEvent.Type.MouseButtonDblClick
        self._clicks = 2 if is_double else 3 if is_again else 1
        self._last_click_ms, self._pressed_at = event.timestamp(), point
        self._view.setFocus(Qt.FocusReason.MouseFocusReason)
        position = self._position_at(point)
        if self._clicks == 1 and event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self._anchor is not None:
            self._cursor = position
        elif self._clicks == 1:
            self._anchor = self._cursor = position
            self._view.selection_started.emit(self._view.item().id)
        else:
            self._select_around(position, whole_block=self._clicks == 3)
        self._view.update()
        return True

    def _select_around(self, position: StackPosition, *, whole_block: bool) -> None:
        index, offset = position
        block = self._view.stack().block(index)
        text = block.plain()
        if whole_block:
            self._anchor, self._cursor = (index, 0), (index, block.length)
            return
        finder = QTextBoundaryFinder(QTextBoundaryFinder.BoundaryType.Word, text)
        finder.setPosition(min(offset, utf16_length(text)))
        is_start = bool(finder.boundaryReasons() & QTextBoundaryFinder.BoundaryReason.StartOfItem)
        start = finder.position() if is_start else finder.toPreviousBoundary()
        finder.setPosition(max(0, start))
        end = finder.toNextBoundary()
        self._anchor, self._cursor = (index, max(0, start)), (index, end if end >= 0 else block.length)

    def _on_key(self, event: QKeyEvent) -> bool:
        if event.matches(QKeySequence.StandardKey.Copy) and self.ordered() is not None:
            self.copy()
            return True
        if event.matches(QKeySequence.StandardKey.SelectAll):
            self.select_all()
            return True
        return False

    def _on_wheel(self, event: QWheelEvent) -> bool:
        delta = event.pixelDelta() if not event.pixelDelta().isNull() else event.angleDelta()
        sideways = delta.x() or (delta.y() if self._is_shift(event) else 0)
        if abs(sideways) <= abs(delta.y()) and not self._is_shift(event):
            return False
        if not len(self._view.stack()):
            return False
        local = event.position() - self._view.text_origin()
        _, block, _ = self._view.stack().block_at(local.y())
        if block.scroll_sideways(-sideways):
            self._view.update()
            return True
        return False

    def _position_at(self, point: QPointF) -> StackPosition:
        return self._view.stack().position_at(point - self._view.text_origin())

    def _link_at(self, point: QPointF) -> str:
        stack = self._view.stack()
        local = point - self._view.text_origin()
        if not len(stack) or not 0 <= local.y() < stack.height:
            return ""
        _, block, top = stack.block_at(local.y())
        return block.link_at(local - QPointF(0, top))

    def _show_pointer(self, point: QPointF) -> None:
        stack = self._view.stack()
        local = point - self._view.text_origin()
        shape = Qt.CursorShape.ArrowCursor
        if len(stack) and 0 <= local.y() < stack.height and local.x() >= 0:
            _, block, top = stack.block_at(local.y())
            inner = local - QPointF(0, top)
            if block.link_at(inner):
                shape = Qt.CursorShape.PointingHandCursor
            elif block.is_text_at(inner):
                shape = Qt.CursorShape.IBeamCursor
        if self._view.cursor().shape() != shape:
            self._view.setCursor(QCursor(shape))

    @staticmethod
    def _is_shift(event: QWheelEvent) -> bool:
        return bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
