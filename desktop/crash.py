"""What happens when Snug itself breaks: nothing is lost without a word. Hooks for uncaught errors, and the fault log.

A report names places in the program and kinds of errors, never what an error says about values: that could be a
prompt. A crash of the engine process is not handled here; it is the engine client's daily bread.
"""

from __future__ import annotations

import faulthandler
import logging
import platform
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import IO

from PySide6.QtCore import QLibraryInfo, QMessageLogContext, QObject, QtMsgType, qInstallMessageHandler

from desktop.core.version import snug_version
from desktop.services.notices import Notices

logger = logging.getLogger(__name__)

FAULT_LOG = "fault.log"
_SPEAKING = (OSError, ImportError, AttributeError, NameError, TypeError, NotImplementedError, AssertionError)
"""Errors whose own words are about files and names, not about what somebody wrote."""
_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


class CrashHooks(QObject):
    """Catches what nobody else did, from any thread, and tells it once. `install` and `uninstall`."""

    def __init__(self, notices: Notices, log_directory: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._notices = notices
        self._fault_path = log_directory / FAULT_LOG
        self._fault_file: IO[str] | None = None
        self._told: set[str] = set()
        self._is_installed = False

    def install(self) -> None:
        """From now on every uncaught error is logged and shown, and a fault of native code leaves a trace."""
        self._look_at_last_fault()
        self._old_hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        sys.excepthook = self._on_uncaught
        threading.excepthook = self._on_thread_error
        sys.unraisablehook = self._on_unraisable
        qInstallMessageHandler(_log_qt_message)
        try:
            self._fault_file = self._fault_path.open("w", encoding="utf-8")
            faulthandler.enable(self._fault_file)
        except OSError as error:
            logger.info("The fault log could not be opened: %s", error.strerror)
        self._is_installed = True

    def uninstall(self) -> None:
        """Gives everything back; an orderly end leaves no fault log."""
        if not self._is_installed:
            return
        self._is_installed = False
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._old_hooks
        qInstallMessageHandler(None)
        if self._fault_file is not None:
            faulthandler.disable()
            self._fault_file.close()
            self._fault_file = None
            self._fault_path.unlink(missing_ok=True)

    def report(self, error: BaseException, where: str) -> None:
        """Logs an error that nobody foresaw and shows it, the same one only once."""
        text = describe_error(error)
        logger.error("Uncaught error in %s:\n%s", where, text)
        place = text.rsplit("\n", 3)[-3:]
        if (key := "\n".join(place)) in self._told:
            return
        self._told.add(key)
        self._notices.show_error(
            self.tr("Something in Snug went wrong."),
            self.tr("Your conversations are saved. If something looks odd, start Snug again."),
            crash_report(text),
            key="crash",
        )

    def _on_uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        self.report(error, "the main thread")

    def _on_thread_error(self, arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
            self.report(arguments.exc_value, arguments.thread.name if arguments.thread is not None else "a thread")

    def _on_unraisable(self, arguments: sys.UnraisableHookArgs) -> None:
        if arguments.exc_value is not None:
            self.report(arguments.exc_value, "a place that cannot raise")

    def _look_at_last_fault(self) -> None:
        try:
            text = self._fault_path.read_text(encoding="utf-8", errors="replace")
            if not text.strip():
                return
            kept = self._fault_path.with_name(f"fault-{time.strftime('%Y%m%d-%H%M%S')}.log")
            self._fault_path.replace(kept)
        except FileNotFoundError:
            return
        except OSError as error:
            logger.info("The last fault log could not be read: %s", error.strerror)
            return
        self._notices.show_warning(
            self.tr("Snug closed unexpectedly last time."),
            self.tr("Your conversations are saved. The report says where it happened."),
            crash_report(text),
            key="last-crash",
        )


def describe_error(error: BaseException) -> str:
    """Stack and kind of an error, without words that could be somebody's prompt."""
    lines: list[str] = []
    chain: BaseException | None = error
    while chain is not None:
        frames = traceback.extract_tb(chain.__traceback__)
        lines = [*traceback.format_list(frames), _last_line(chain), *lines]
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return "".join(lines).rstrip()


def crash_report(text: str) -> str:
    """What "Copy details" copies."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    versions = f"Snug {snug_version()}, Python {platform.python_version()}, Qt {QLibraryInfo.version().toString()}"
    return f"{versions}\n{system}\n\n{text}"


def _last_line(error: BaseException) -> str:
    words = f": {error}" if isinstance(error, _SPEAKING) else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{words}\n"


def _log_qt_message(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    category = getattr(context, "category", None) or "default"
    logger.log(_QT_LEVELS.get(kind, logging.WARNING), "Qt (%s): %s", category, message)
