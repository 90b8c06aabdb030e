"""Starts the real window, sends one message as a person would, prints the reply and closes. For test_offline."""

from __future__ import annotations

import sys

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

import desktop.app
from desktop.__main__ import main


class Visitor(QObject):
    """Types as soon as it can, and leaves when the reply is there."""

    def __init__(self, app: desktop.app.App) -> None:
        super().__init__(app)
        self._app = app
        self._sent = False
        self._look = QTimer(self, interval=50)
        self._look.timeout.connect(self._on_look)
        app.window.ready_to_type.connect(self._look.start)

    def _on_look(self) -> None:
        chat = self._app.window.chat
        if not self._sent:
            if self._app.models.current is None:
                return
            self._sent = True
            QTest.keyClicks(QApplication.focusWidget(), "What is the capital of France?")
            QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Return)
            return
        model = chat.view.transcript.model
        replies = [model[index] for index in range(len(model)) if model[index].role == "assistant"]
        if replies and replies[-1].state != "growing":
            self._look.stop()
            print(replies[-1].text, flush=True)
            self._app.window.close()


def show_and_visit(app: desktop.app.App) -> None:
    """The app's own `show`, and somebody who uses it."""
    app.visitor = Visitor(app)  # type: ignore[attr-defined]
    original_show(app)


original_show = desktop.app.App.show

if __name__ == "__main__":
    desktop.app.App.show = show_and_visit  # type: ignore[method-assign]
    sys.argv = ["snug"]
    sys.exit(main())
