"""Builds everything once and wires it: paths, logs, settings, store, services, window. The only place that does.

Nothing heavy is imported or read before the window is shown.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QLockFile, QObject, QTimer, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket
from PySide6.QtWidgets import QApplication

from desktop.core.conversations.store import Store
from desktop.core.errors import StorageError
from desktop.core.logs import Logs, engine_log_path
from desktop.core.paths import AppPaths
from desktop.crash import CrashHooks
from desktop.pages.base import Services
from desktop.services.background import Background, StallWatch
from desktop.services.chat_service import ChatService
from desktop.services.conversation_service import ConversationService, tell_of_problems
from desktop.services.engine_service import EngineService
from desktop.services.fit_service import FitService, make_planner
from desktop.services.memory_service import MemoryService
from desktop.services.model_service import ModelService
from desktop.services.notices import Notices
from desktop.services.profile import Profile
from desktop.widgets.theme import ThemeController
from desktop.window import MainWindow
from engines.hardware.detect import read_machine
from engines.hardware.profiles import load_profiles
from engines.lease import Leases
from engines.load_planning import held_by_others

logger = logging.getLogger(__name__)

STALL_WATCH_VARIABLE = "SNUG_STALL_WATCH"
_ANSWER_MS = 2000
_SIGNAL_POLL_MS = 200
_WARM_UP_AFTER_MS = 300


class App(QObject):
    """The running application: everything it is made of, and its orderly end."""

    def __init__(self, application: QApplication, paths: AppPaths) -> None:
        super().__init__(application)
        paths.ensure()
        self._is_closed = False
        self.paths = paths
        self.logs = Logs(paths.log_directory, stderr_level="WARNING")
        self.notices = Notices(self)
        self.crash_hooks = CrashHooks(self.notices, paths.log_directory, self)
        self.crash_hooks.install()
        self.stall_watch = StallWatch(self) if os.environ.get(STALL_WATCH_VARIABLE) == "1" else None
        self.background = Background(self)
        self.profile = Profile(paths, self.notices, self.background.run, self)
        on_problem, on_recovered = tell_of_problems(self.notices)
        store = Store(
            paths.database_path,
            backup_directory=paths.backup_directory,
            on_problem=on_problem,
            on_recovered=on_recovered,
        )
        self.conversations = ConversationService(store, self.notices, self)
        self.models = ModelService(self.profile, self.notices, self.background.run, self)
        self.memory = MemoryService(self.background.run, self)
        leases = Leases(paths.leases_directory, "window")
        held_bytes = partial(held_by_others, leases)
        look = partial(read_machine, paths.models_directory)
        planner = make_planner(self.profile, leases, look)
        self.engine = EngineService(
            leases,
            self,
            log_path=lambda: engine_log_path(paths.log_directory),
            working_directory=paths.data_directory,
            idle_eject_ms=self.profile.settings.idle_eject_minutes * 60_000,
            plan_load=planner.plan,
        )
        self.fit = FitService(
            planner,
            self.models,
            self.memory,
            self.engine,
            self.profile,
            run_in_background=self.background.run,
            held_bytes=held_bytes,
            load_profiles=load_profiles,
            parent=self,
        )
        self.profile.settings_changed.connect(
            lambda settings: self.engine.set_idle_eject(settings.idle_eject_minutes * 60_000)
        )
        self.chat = ChatService(self.engine, self.conversations, self.models, self.profile, self)
        settings = self.profile.settings
        self.theme = ThemeController(application, settings.appearance, settings.text_scale_percent / 100)
        self.theme.apply()
        self.window = MainWindow(
            Services(
                profile=self.profile,
                notices=self.notices,
                conversations=self.conversations,
                models=self.models,
                memory=self.memory,
                engine=self.engine,
                fit=self.fit,
                chat=self.chat,
            ),
            self.theme,
        )
        self.window.ready_to_type.connect(self._on_ready)
        self._warm_up_timer = QTimer(self)
        self._warm_up_timer.setSingleShot(True)
        self._warm_up_timer.setInterval(_WARM_UP_AFTER_MS)
        self._warm_up_timer.timeout.connect(lambda: self.background.run(_warm_up))
        if self.logs.problem is not None:
            self.notices.show_problem(self.logs.problem, key="logs")

    def show(self) -> None:
        """Shows the window; the rest of the work begins when it can be seen."""
        self.window.show()
        self.conversations.refresh()
        self.window.open_last_conversation()

    def close(self) -> None:
        """Ends what runs, writes what is left. Takes at most about 5 s, when the engine does not heed."""
        if self._is_closed:
            return
        self._is_closed = True
        self._warm_up_timer.stop()
        self.engine.close()
        self.conversations.close()
        self.memory.stop()
        self.profile.close()
        self.background.close()
        self.notices.close()
        if self.stall_watch is not None:
            self.stall_watch.close()
        self.window.close()
        self.window.deleteLater()
        self.theme.deleteLater()
        self.crash_hooks.uninstall()
        self.logs.close()

    def _on_ready(self) -> None:
        logger.info("the window is ready to type")
        self.models.refresh()
        self.fit.start()
        self._warm_up_timer.start()


def _warm_up() -> None:
    """Imports, on a background thread, what the first reply needs: on the GUI thread it would be felt."""
    from desktop.widgets.highlight import highlight_lines
    from desktop.widgets.markdown import parser

    parser().parse("**ready**")
    highlight_lines("ready = True", "python")


class SingleInstance(QObject):
    """One window per data folder. Signals: asked_to_show when Snug is started a second time."""

    asked_to_show = Signal()

    def __init__(self, data_directory: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lock = QLockFile(str(data_directory / "window.lock"))
        # Never stale by age: the lock counts as long as its process lives, and not a moment longer.
        self._lock.setStaleLockTime(0)
        digest = hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:16]
        self._name = f"snug-{digest}"
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._on_connection)

    def take(self) -> bool:
        """Whether this is the first. If not, the first has been asked to show itself."""
        if not self._lock.tryLock(100):
            if self._lock.error() == QLockFile.LockError.LockFailedError:
                self._ask_first()
                return False
            logger.info("the lock of the window could not be made; two windows may open")
            return True
        QLocalServer.removeServer(self._name)
        if not self._server.listen(self._name):
            logger.info("a second start will not find this window: %s", self._server.errorString())
        return True

    def release(self) -> None:
        """Lets the next one be the first."""
        self._server.close()
        self._lock.unlock()

    def _ask_first(self) -> None:
        socket = QLocalSocket()
        socket.connectToServer(self._name)
        if socket.waitForConnected(_ANSWER_MS):
            socket.disconnectFromServer()

    def _on_connection(self) -> None:
        connection = self._server.nextPendingConnection()
        if connection is not None:
            connection.deleteLater()
        self.asked_to_show.emit()


def open_window(paths: AppPaths) -> int:
    """Runs the window until it is closed; answers the exit status."""
    application = QApplication(sys.argv[:1])
    application.setApplicationName("Snug")
    application.setDesktopFileName("snug")
    instance: SingleInstance | None = None
    app: App | None = None
    try:
        paths.ensure()
        instance = SingleInstance(paths.data_directory)
        if not instance.take():
            _say("Snug is open already; its window was brought to the front.")
            return 0
        app = App(application, paths)
        instance.asked_to_show.connect(app.window.raise_to_front)
        app.window.closed.connect(application.quit)
        application.commitDataRequest.connect(app.window.let_close)
        restore = _close_on_signals(app, app.window.close_anyway)
        app.show()
        status = application.exec()
        restore()
    except StorageError as error:
        _show_and_say(error)
        return 1
    else:
        return status
    finally:
        if app is not None:
            app.close()
        if instance is not None:
            instance.release()


def _close_on_signals(parent: QObject, close: Callable[[], None]) -> Callable[[], None]:
    """Ctrl-C in the terminal and a polite `kill` end the window in an orderly way."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    old = {number: signal.signal(number, lambda *_: close()) for number in numbers}
    # Python looks at signals only when it runs; Qt's loop lets it run for this timer.
    timer = QTimer(parent)
    timer.timeout.connect(lambda: None)
    timer.start(_SIGNAL_POLL_MS)

    def restore() -> None:
        timer.stop()
        for number, handler in old.items():
            signal.signal(number, handler)

    return restore


def _say(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{text}\n")


def _show_and_say(error: StorageError) -> None:
    """The data folder cannot be used: without it there is no window to put a notice in."""
    from PySide6.QtWidgets import QMessageBox

    _say(f"{error.title} {error.advice}\n{error.details}")
    box = QMessageBox(QMessageBox.Icon.Critical, "Snug", error.title)
    box.setInformativeText(error.advice)
    box.setDetailedText(error.details)
    box.exec()
