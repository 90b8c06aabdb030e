"""The list of conversations in the side bar: grouped, thousands long, with the keyboard too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import (
    QAbstractItemModel,
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QContextMenuEvent, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from desktop.widgets.icons import draw_icon
from desktop.widgets.popup_menu import MenuEntry, PopupMenu
from desktop.widgets.theme import is_size_change, scaled, text_font, theme_of

Index = QModelIndex | QPersistentModelIndex
ID_ROLE = Qt.ItemDataRole.UserRole
_ROW_PX, _HEAD_PX = 34, 34
_PAD_PX = 8
_MORE_PX = 32
_RENAME, _DELETE = "rename", "delete"


@dataclass(frozen=True, slots=True)
class ConversationEntry:
    """One conversation; `group` is the line above it, for example "Today". Equal groups stand together."""

    id: str
    title: str
    group: str = ""


class _Model(QAbstractListModel):
    """Rows are heads (text only) and conversations."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._rows: list[str | ConversationEntry] = []

    def set_entries(self, entries: Iterable[ConversationEntry]) -> None:
        self.beginResetModel()
        self._rows = []
        group = ""
        for entry in entries:
            if entry.group != group:
                group = entry.group
                self._rows.append(group)
            self._rows.append(entry)
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  (Qt's own signature)
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> str | None:
        row = self._rows[index.row()]
        text, row_id = (row, None) if isinstance(row, str) else (row.title, row.id)
        match role:
            case Qt.ItemDataRole.DisplayRole | Qt.ItemDataRole.EditRole | Qt.ItemDataRole.AccessibleTextRole:
                return text
            case Qt.ItemDataRole.ToolTipRole:
                return text if row_id is not None else None
            case _ if role == ID_ROLE:
                return row_id
            case _:
                return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        if not index.isValid() or isinstance(self._rows[index.row()], str):
            return Qt.ItemFlag.ItemIsEnabled if index.isValid() else Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEditable

    def row_of(self, conversation_id: str) -> int:
        for number, row in enumerate(self._rows):
            if isinstance(row, ConversationEntry) and row.id == conversation_id:
                return number
        return -1


class _Delegate(QStyledItemDelegate):
    """Draws rows; edits a title in place."""

    renamed = Signal(str, str)

    def __init__(self, view: ConversationList) -> None:
        super().__init__(view)
        self._view = view

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        del option
        is_head = index.data(ID_ROLE) is None
        return QSize(100, scaled(_HEAD_PX if is_head else _ROW_PX))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        theme = theme_of(self._view)
        rect: QRect = option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = str(index.data())
        if index.data(ID_ROLE) is None:
            painter.setFont(text_font(12))
            painter.setPen(QColor(theme.ink3))
            line = QRectF(rect.x() + _PAD_PX, rect.bottom() - scaled(4) - scaled(16) + 1, rect.width(), scaled(16))
            painter.drawText(line, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
            painter.restore()
            return
        state: QStyle.StateFlag = option.state
        is_open = index.data(ID_ROLE) == self._view.current_id()
        is_hovered = bool(state & QStyle.StateFlag.State_MouseOver)
        if is_open or is_hovered:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.select if is_open else theme.hover))
            painter.drawRoundedRect(QRectF(rect), 8, 8)
        if state & QStyle.StateFlag.State_HasFocus and self._view.shows_focus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(theme.accent), 2))
            painter.drawRoundedRect(QRectF(rect).adjusted(1, 1, -1, -1), 7, 7)
        has_more = is_open or is_hovered
        font = text_font(14, 500 if is_open else 400)
        room = rect.width() - 2 * _PAD_PX - (_MORE_PX - _PAD_PX if has_more else 0)
        shown = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, room)
        painter.setFont(font)
        painter.setPen(QColor(theme.ink if is_open else theme.ink2))
        words = QRectF(rect.x() + _PAD_PX, rect.y(), room + 2, rect.height())
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
        if has_more:
            side = scaled(16)
            draw_icon(
                painter,
                QRectF(rect.right() + 1 - _PAD_PX - side, rect.center().y() + 1 - side / 2, side, side),
                "more",
                theme.ink,
            )
        painter.restore()

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: Index) -> QWidget:  # noqa: N802
        del option, index
        editor = QLineEdit(parent)
        editor.setFrame(False)
        editor.setMaxLength(200)
        return editor

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: Index) -> None:  # noqa: N802
        del model
        if isinstance(editor, QLineEdit):
            title = editor.text().strip()
            if title and title != index.data():
                self.renamed.emit(str(index.data(ID_ROLE)), title)


class ConversationList(QListView):
    """Conversations under their days.

    Signals: conversation_activated(id); rename_requested(id, new title); delete_requested(id).
    Keys: arrows move, Enter opens, F2 renames, Delete deletes, the menu key opens the row's menu.
    """

    conversation_activated = Signal(str)
    rename_requested = Signal(str, str)
    delete_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._current_id = ""
        self._menu = PopupMenu(self)
        self._model = _Model(self)
        self.setModel(self._model)
        delegate = _Delegate(self)
        delegate.renamed.connect(self.rename_requested)
        self.setItemDelegate(delegate)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setProperty("focus_radius", -1.0)
        self.setAccessibleName(self.tr("Conversations"))
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.viewport().setAutoFillBackground(False)

    def set_entries(self, entries: Iterable[ConversationEntry]) -> None:
        """Shows other conversations, in the order given."""
        self._model.set_entries(entries)
        self.set_current_id(self._current_id)

    def set_current_id(self, conversation_id: str) -> None:
        """Marks the conversation that is open; empty for none."""
        self._current_id = conversation_id
        row = self._model.row_of(conversation_id)
        if row >= 0:
            self.setCurrentIndex(self._model.index(row))
        self.viewport().update()

    def current_id(self) -> str:
        """The conversation that is marked as open."""
        return self._current_id

    def shows_focus(self) -> bool:
        """Whether the row with the keyboard is to be ringed: not after a click."""
        return self.hasFocus() and self.window().testAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange)

    def titles(self) -> list[str]:
        """What the rows say, heads included."""
        return [str(self._model.index(row).data()) for row in range(self._model.rowCount())]

    def start_rename(self, conversation_id: str) -> None:
        """Opens the title of a conversation for editing."""
        row = self._model.row_of(conversation_id)
        if row >= 0:
            self.setCurrentIndex(self._model.index(row))
            self.edit(self._model.index(row))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        conversation_id = self.currentIndex().data(ID_ROLE)
        match event.key():
            case Qt.Key.Key_Return | Qt.Key.Key_Enter if conversation_id:
                self.conversation_activated.emit(conversation_id)
            case Qt.Key.Key_F2 if conversation_id:
                self.start_rename(conversation_id)
            case Qt.Key.Key_Delete | Qt.Key.Key_Backspace if conversation_id:
                self.delete_requested.emit(conversation_id)
            case _:
                super().keyPressEvent(event)
                self._skip_heads(event.key())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        index = self.indexAt(event.position().toPoint())
        conversation_id = index.data(ID_ROLE) if index.isValid() else None
        if event.button() != Qt.MouseButton.LeftButton or conversation_id is None:
            return
        if event.position().x() >= self.visualRect(index).right() - _MORE_PX:
            self.show_row_menu(str(conversation_id), event.globalPosition().toPoint())
        else:
            self.conversation_activated.emit(conversation_id)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        is_key = event.reason() == QContextMenuEvent.Reason.Keyboard
        index = self.currentIndex() if is_key else self.indexAt(event.pos())
        conversation_id = index.data(ID_ROLE) if index.isValid() else None
        if conversation_id is not None:
            corner = self.viewport().mapToGlobal(self.visualRect(index).bottomLeft())
            self.show_row_menu(str(conversation_id), corner if is_key else event.globalPos())

    def show_row_menu(self, conversation_id: str, position: QPoint) -> None:
        """Rename and delete."""
        entries = (MenuEntry(_RENAME, self.tr("Rename")), MenuEntry(_DELETE, self.tr("Delete")))

        def on_chosen(entry_id: str) -> None:
            if entry_id == _RENAME:
                self.start_rename(conversation_id)
            else:
                self.delete_requested.emit(conversation_id)

        self._menu.open_with(entries, on_chosen, position)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self.scheduleDelayedItemsLayout()

    def _skip_heads(self, key: int) -> None:
        """Arrows stop on conversations only."""
        index = self.currentIndex()
        if not index.isValid() or index.data(ID_ROLE) is not None:
            return
        step = -1 if key in {Qt.Key.Key_Up, Qt.Key.Key_PageUp, Qt.Key.Key_Home} and index.row() > 0 else 1
        following = self._model.index(index.row() + step)
        if following.isValid():
            self.setCurrentIndex(following)
