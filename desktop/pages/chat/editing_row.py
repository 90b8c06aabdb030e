"""Says that a message of the past is being changed, with a way out."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.text import Text


class EditingRow(QWidget):
    """Stands above the composer while a message is edited. Signals: cancelled."""

    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(Text(self.tr("Changing your message. The old version is kept."), "secondary", "ink2"), 1)
        cancel = Button(self.tr("Cancel"), size="small", kind="quiet")
        cancel.clicked.connect(self.cancelled)
        row.addWidget(cancel)
        self.hide()
