"""Runs the real app in a process of its own and lets a test use it: commands on standard input, answers on output.

Everything is as when a person starts Snug; only the hands and eyes are added, once the window is shown.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from typing import Any

import psutil
from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QInputMethodEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

import desktop.app
from desktop.__main__ import main
from desktop.pages.models.page import ModelsPage
from desktop.services.background import GuiLane


class Hands:
    """What a test can do and see."""

    def __init__(self, app: desktop.app.App) -> None:
        self._app = app
        self._lane = GuiLane()
        app.window.ready_to_type.connect(lambda: self._answer({"event": "ready"}))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            self._lane.post(lambda command=command: self._obey(command))

    def _obey(self, command: dict[str, Any]) -> None:
        result = getattr(self, f"do_{command.pop('do')}")(**command)
        self._answer({"event": "done", "result": result})

    @staticmethod
    def _answer(answer: dict[str, Any]) -> None:
        sys.__stdout__.write(json.dumps(answer) + "\n")
        sys.__stdout__.flush()

    def do_type(self, text: str) -> None:
        if text.isascii():
            QTest.keyClicks(QApplication.focusWidget(), text)
        else:  # as an input method does; QTest has keys for ASCII only
            event = QInputMethodEvent()
            event.setCommitString(text)
            QApplication.sendEvent(QApplication.focusWidget(), event)

    def do_press(self, key: str) -> None:
        modifiers = Qt.KeyboardModifier.NoModifier
        *names, last = key.split("+")
        for name in names:
            modifiers |= getattr(Qt.KeyboardModifier, f"{name}Modifier")
        QTest.keyClick(QApplication.focusWidget() or self._app.window, getattr(Qt.Key, f"Key_{last}"), modifiers)

    def do_continue(self) -> None:
        message = self._app.window.chat.view.last_of("assistant")
        self._app.window.chat.view.transcript.continue_requested.emit(message.id)

    def do_press_notice(self, label: str) -> None:
        for notice in self._app.notices.current():
            if label in [action.label for action in notice.actions]:
                self._app.notices.press(notice.key, label)
                return
        raise AssertionError(f"no notice offers {label}")

    def do_open_model(self, path: str) -> None:
        from pathlib import Path

        self._app.models.open_file(Path(path))

    def do_set_appearance(self, appearance: str) -> None:
        self._app.theme.set_appearance(appearance)

    def do_resize(self, width: int, height: int) -> None:
        self._app.window.resize(width, height)

    def do_grab(self, path: str) -> bool:
        QCoreApplication.processEvents()
        return self._app.window.grab().save(path)

    def do_models(self, segment: str = "recommended", machine: str = "", search: str = "") -> None:
        page = self._models()
        self._app.window.show_page(page)
        page.header.search.setText(search)
        if machine:
            page.header.machine_chosen.emit(machine)
        page.header.segments.choose(segment)

    def do_open_row(self, name: str, why: bool = False) -> None:
        page = self._models()
        row = next(row for row in map(page.list.row, page.list.shown_ids()) if row.state.name == name)
        page._on_open(row.state.id, True)
        page.details.set_explained(why)
        for _ in range(8):
            QCoreApplication.processEvents()

    def do_look_models(self) -> dict[str, Any]:
        page, assessment = self._models(), self._app.fit.assessment
        rows = [page.list.row(row_id).state for row_id in page.list.shown_ids()]
        return {
            "machine": assessment.machine.profile if assessment is not None else None,
            "settled": assessment is not None and not self._app.fit._is_assessing and not page.list._waiting,
            "rows": [(row.name, row.kind) for row in rows],
        }

    def _models(self) -> ModelsPage:
        page = self._app.window.pages[ModelsPage.NAME]
        assert isinstance(page, ModelsPage)
        return page

    def do_close(self) -> None:
        self._app.window.close()

    def do_look(self) -> dict[str, Any]:
        page = self._app.window.chat
        engines = [child.pid for child in psutil.Process().children() if _is_engine(child)]
        focus = QApplication.focusWidget()
        model = page.view.transcript.model
        return {
            "focus": type(focus).__name__ if focus is not None else None,
            "written": page.composer.text(),
            "mode": page.composer.mode(),
            "busy": self._app.chat.is_busy,
            "conversation": page.conversation_id,
            "messages": [dataclasses.asdict(model[index]) for index in range(len(model))],
            "notices": [notice.title for notice in self._app.notices.current()],
            "model": self._app.models.current.name if self._app.models.current is not None else None,
            "engine": type(self._app.engine.state).__name__,
            "engine_pids": engines,
            "card": page.loading_card.isVisible(),
            "stoppable": page.loading_card.isVisible() and page.loading_card._stop.isVisible(),
        }


def _is_engine(process: psutil.Process) -> bool:
    try:
        return "engines.workers.engine" in " ".join(process.cmdline())
    except psutil.Error:
        return False  # it has just ended


def attach() -> None:
    """Adds the hands as soon as the app shows its window."""
    show = desktop.app.App.show

    def show_with_hands(app: desktop.app.App) -> None:
        app.hands = Hands(app)  # type: ignore[attr-defined]
        show(app)

    desktop.app.App.show = show_with_hands  # type: ignore[method-assign]


if __name__ == "__main__":
    attach()
    sys.argv = ["snug", *sys.argv[1:]]
    sys.exit(main())
