"""The one place that speaks to the user about what concerns the whole window. From any thread; shows nothing itself.

What concerns one reply (a failed answer, a crash in its middle) stands at that reply instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Signal

from desktop.core.errors import StorageError
from desktop.services.background import GuiLane
from engines.errors import EngineError

Severity = Literal["info", "ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class NoticeAction:
    """A button: a verb, and what it does. The notice goes away when it is pressed."""

    label: str
    call: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened, what to do, what to copy. A notice with the same key takes the place of the one before."""

    key: str
    severity: Severity
    title: str
    advice: str = ""
    details: str = ""
    actions: tuple[NoticeAction, ...] = ()


class Notices(QObject):
    """What is to be shown now.

    Signals: shown(Notice) for a new one or one in another's place; removed(key).
    """

    shown = Signal(object)
    removed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lane = GuiLane(self)
        self._notices: dict[str, Notice] = {}
        self._numbers = itertools.count(1)

    def current(self) -> tuple[Notice, ...]:
        """What is shown, in order of appearance."""
        return tuple(self._notices.values())

    def show(self, notice: Notice) -> None:
        """From any thread."""
        self._lane.post(lambda: self._put(notice))

    def show_info(self, title: str, advice: str = "", *, key: str = "", actions: tuple[NoticeAction, ...] = ()) -> None:
        """Something worth knowing."""
        self.show(Notice(self._key(key), "info", title, advice, actions=actions))

    def show_warning(
        self, title: str, advice: str = "", details: str = "", *, key: str = "", actions: tuple[NoticeAction, ...] = ()
    ) -> None:
        """Something that may want doing."""
        self.show(Notice(self._key(key), "warning", title, advice, details, actions))

    def show_error(
        self, title: str, advice: str = "", details: str = "", *, key: str = "", actions: tuple[NoticeAction, ...] = ()
    ) -> None:
        """Something went wrong."""
        self.show(Notice(self._key(key), "error", title, advice, details, actions))

    def show_problem(
        self, error: EngineError | StorageError, *, key: str = "", actions: tuple[NoticeAction, ...] = ()
    ) -> None:
        """An error of ours, which says itself what happened and what to do."""
        self.show(Notice(self._key(key), "error", error.title, error.advice, error.details, actions))

    def remove(self, key: str) -> None:
        """Takes a notice away, from any thread; an unknown key is no mistake."""
        self._lane.post(lambda: self._drop(key))

    def press(self, key: str, label: str) -> None:
        """The user pressed the button with this label."""
        notice = self._notices.get(key)
        if notice is None:
            return
        self._drop(key)
        for action in notice.actions:
            if action.label == label:
                action.call()
                return

    def close(self) -> None:
        """Nothing is shown any more."""
        self._lane.close()

    def _key(self, key: str) -> str:
        return key or f"notice-{next(self._numbers)}"

    def _put(self, notice: Notice) -> None:
        self._notices[notice.key] = notice
        self.shown.emit(notice)

    def _drop(self, key: str) -> None:
        if self._notices.pop(key, None) is not None:
            self.removed.emit(key)
