"""Where the user writes: grows to eight lines, Enter sends, an input method's Enter never does."""

from __future__ import annotations

from typing import Literal, assert_never

from PySide6.QtCore import QEvent, QMimeData, QPointF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QFontMetricsF,
    QInputMethodEvent,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTextBlockFormat,
    QTextCursor,
    QTextFrameFormat,
)
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QTextEdit, QVBoxLayout, QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.cards import Card
from desktop.widgets.memory_bar import MemoryBar, MemoryPart, MemoryState
from desktop.widgets.text import Text
from desktop.widgets.theme import scaled, theme_of

ComposerMode = Literal["ready", "replying", "stoppable_now", "off"]
"""Ready to send; a reply grows; it was asked to stop and does not; nothing can be sent now."""

MOST_LINES = 8
_LINE_PX = 24
_NEARLY_FULL = 0.8
_NARROW_PX = 620


class ComposerText(QTextEdit):
    """The plain text field inside the composer. Signals: send_pressed, height_changed."""

    send_pressed = Signal()
    height_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_composing = False
        self._placeholder = ""
        self.setAcceptRichText(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setTabChangesFocus(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.document().setDocumentMargin(0)
        self.document().documentLayout().documentSizeChanged.connect(self._on_size_changed)
        self._apply_line_height()

    def set_placeholder(self, text: str) -> None:
        """Shown while there is no text."""
        self._placeholder = text
        self.setAccessibleName(text)
        self.viewport().update()

    def set_plain(self, text: str) -> None:
        """Replaces the text; this can be undone."""
        cursor = self.textCursor()
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        self.setTextCursor(cursor)

    def sizeHint(self) -> QSize:
        return QSize(200, self._wanted_height())

    def minimumSizeHint(self) -> QSize:
        return QSize(80, self._wanted_height())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        is_enter = event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}
        keeps_line = event.modifiers() & (Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.AltModifier)
        if is_enter and not keeps_line and not self._is_composing:
            event.accept()
            if not event.isAutoRepeat():
                self.send_pressed.emit()
            return
        if is_enter and keeps_line:
            # Shift+Enter would otherwise insert a line separator, which is not what a model reads as a new line.
            self.textCursor().insertBlock()
            self.ensureCursorVisible()
            event.accept()
            return
        super().keyPressEvent(event)

    def inputMethodEvent(self, event: QInputMethodEvent) -> None:
        # While letters are being composed, Enter belongs to the input method, also where it reaches us as a key.
        self._is_composing = bool(event.preeditString())
        super().inputMethodEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._is_composing = False
        super().focusOutEvent(event)

    def insertFromMimeData(self, source: QMimeData) -> None:
        if source.hasText():
            self.textCursor().insertText(source.text())
            self.ensureCursorVisible()

    def canInsertFromMimeData(self, source: QMimeData) -> bool:  # noqa: N802  (Qt calls it)
        return source.hasText()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._apply_line_height()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._placeholder and self.document().isEmpty() and not self._is_composing:
            painter = QPainter(self.viewport())
            painter.setPen(QColor(theme_of(self).ink3))
            painter.setFont(self.font())
            metrics = QFontMetricsF(self.font())
            shown = metrics.elidedText(self._placeholder, Qt.TextElideMode.ElideRight, self.viewport().width())
            painter.drawText(QPointF(0, scaled(_LINE_PX) * 0.8), shown)

    def _apply_line_height(self) -> None:
        """Lines as high as the design's, now and for every line that is typed after them."""
        block_format = QTextBlockFormat()
        block_format.setLineHeight(scaled(_LINE_PX), QTextBlockFormat.LineHeightTypes.FixedHeight.value)
        cursor = QTextCursor(self.document())
        cursor.select(QTextCursor.SelectionType.Document)
        is_untouched = not self.document().isUndoAvailable()
        cursor.mergeBlockFormat(block_format)
        frame = QTextFrameFormat(self.document().rootFrame().frameFormat())
        frame.setMargin(0)
        self.document().rootFrame().setFrameFormat(frame)
        if is_untouched:
            self.document().clearUndoRedoStacks()
        self._on_size_changed()

    def _wanted_height(self) -> int:
        line = scaled(_LINE_PX)
        lines = max(1, round(self.document().size().height() / line))
        return min(lines, MOST_LINES) * line

    def _on_size_changed(self) -> None:
        if self.height() != self._wanted_height():
            self.updateGeometry()
            self.height_changed.emit()


class Composer(Card):
    """The writing card: text, a slot on the left, the conversation's space, and Send that becomes Stop.

    Signals: submitted(text); stop_requested; stop_now_requested; text_changed(text).
    """

    submitted = Signal(str)
    stop_requested = Signal()
    stop_now_requested = Signal()
    text_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, is_control=True)
        self._mode: ComposerMode = "ready"
        self._used_share: float | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._text = ComposerText()
        self._text.setProperty("focus_target", self)
        self._text.set_placeholder(self.tr("Write a message"))
        self._text.textChanged.connect(self._on_text_changed)
        self._text.send_pressed.connect(self._on_send)
        self._button = Button(icon_name="send", kind="primary")
        self._button.clicked.connect(self._on_button)
        self._space_label = Text(self.tr("Space in this conversation"), "hint", "ink3")
        self._space_bar = MemoryBar("mini")
        self._space_bar.setFixedWidth(120)
        self._space_percent = Text("", "hint", "ink2")
        self._slot = QHBoxLayout()
        self._slot.setSpacing(8)
        self._build()
        self.set_space(None)
        self._show_mode()
        self.setFocusProxy(self._text)

    # --- values in -------------------------------------------------------------------------------------------

    def text(self) -> str:
        """What is written."""
        return self._text.toPlainText()

    def set_text(self, text: str) -> None:
        """Replaces what is written; the cursor stands at the end. Can be undone."""
        self._text.set_plain(text)

    def clear(self) -> None:
        """Empties the field."""
        self._text.set_plain("")

    def set_mode(self, mode: ComposerMode) -> None:
        """Whether the button sends, stops, or stops now."""
        if mode != self._mode:
            self._mode = mode
            self._show_mode()

    def mode(self) -> ComposerMode:
        """The present mode."""
        return self._mode

    def set_space(self, used_share: float | None) -> None:
        """How full the conversation's space is, from 0 to 1; None where it is not known yet."""
        self._used_share = used_share
        is_known = used_share is not None
        for widget in (self._space_label, self._space_bar, self._space_percent):
            widget.setVisible(is_known)
        if used_share is None:
            return
        share = min(1.0, max(0.0, used_share))
        percent = self.tr("{percent} %").format(percent=round(share * 100))
        is_nearly_full = share >= _NEARLY_FULL
        part = MemoryPart("less" if is_nearly_full else "context", round(share * 1000))
        description = self.tr("Space used in this conversation: {percent}").format(percent=percent)
        self._space_bar.set_state(MemoryState(1000, (part,) if part.size_bytes else (), description=description))
        self._space_percent.set_text(percent)
        self._space_percent.set_tone("less" if is_nearly_full else "ink2")

    def set_placeholder(self, text: str) -> None:
        """Shown while nothing is written; also what a screen reader calls the field."""
        self._text.set_placeholder(text)

    def add_left_widget(self, widget: QWidget) -> None:
        """Adds a control to the left of the bottom row."""
        last = self._slot.itemAt(self._slot.count() - 1) if self._slot.count() else None
        before = last.widget() if last is not None else None
        self._slot.addWidget(widget)
        QWidget.setTabOrder(before or self._text, widget)
        QWidget.setTabOrder(widget, self._button)

    def text_field(self) -> ComposerText:
        """The field itself, for the focus."""
        return self._text

    # --- inside ------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        is_narrow = self.width() < scaled(_NARROW_PX + 60)
        self._space_label.set_text(self.tr("Space used") if is_narrow else self.tr("Space in this conversation"))
        self._space_bar.setFixedWidth(96 if is_narrow else 120)

    def _build(self) -> None:
        column = QVBoxLayout(self)
        # Qt sets text two pixels lower in its line than the design does.
        column.setContentsMargins(11, 9, 11, 11)
        column.setSpacing(0)
        field = QHBoxLayout()
        field.setContentsMargins(4, 0, 4, 10)
        field.addWidget(self._text)
        column.addLayout(field)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addLayout(self._slot)
        row.addStretch(1)
        for widget in (self._space_label, self._space_bar, self._space_percent):
            row.addWidget(widget)
        row.addSpacing(8)
        row.addWidget(self._button)
        column.addLayout(row)

    def _show_mode(self) -> None:
        button = self._button
        match self._mode:
            case "ready" | "off":
                button.setText("")
                button.set_icon_name("send")
                button.set_kind("primary")
                name = self.tr("Send")
            case "replying":
                button.setText("")
                button.set_icon_name("stop")
                button.set_kind("normal")
                name = self.tr("Stop")
            case "stoppable_now":
                name = self.tr("Stop now")
                button.setText(name)
                button.set_icon_name("stop")
                button.set_kind("danger")
            case _:
                assert_never(self._mode)
        button.setAccessibleName(name)
        button.setToolTip("" if self._mode == "stoppable_now" else name)
        button.updateGeometry()
        self._enable_button()

    def _enable_button(self) -> None:
        can_send = self._mode == "ready" and bool(self.text().strip())
        self._button.setEnabled(can_send or self._mode in {"replying", "stoppable_now"})

    def _on_text_changed(self) -> None:
        self._enable_button()
        self.text_changed.emit(self.text())

    def _on_send(self) -> None:
        text = self.text()
        if self._mode == "ready" and text.strip():
            self.submitted.emit(text)

    def _on_button(self) -> None:
        match self._mode:
            case "ready":
                self._on_send()
            case "replying":
                self.stop_requested.emit()
            case "stoppable_now":
                self.stop_now_requested.emit()
            case "off":
                pass
            case _:
                assert_never(self._mode)
