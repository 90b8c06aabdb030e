"""What the user chose (settings) and what Snug remembers (state), as one object that tells of changes and saves them.

Saving waits a moment, so that ten changes in a row are one file; `close` writes what is left.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.core.errors import StorageError
from desktop.core.paths import AppPaths
from desktop.core.settings import Settings, State, load_settings, load_state, save_settings, save_state
from desktop.services.background import RunInBackground
from desktop.services.notices import Notices

logger = logging.getLogger(__name__)

SAVE_DELAY_MS = 250


class Profile(QObject):
    """Settings and state of one profile.

    Signals: settings_changed(Settings).
    """

    settings_changed = Signal(object)

    def __init__(
        self, paths: AppPaths, notices: Notices, run_in_background: RunInBackground, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._notices = notices
        self._run_in_background = run_in_background
        self._settings, settings_problems = load_settings(paths.settings_path)
        self._state, state_problems = load_state(paths.state_path)
        self._base_paths = paths
        self._settings_are_new = False
        self._state_is_new = False
        self._is_closed = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SAVE_DELAY_MS)
        self._timer.timeout.connect(self._on_timeout)
        if settings_problems:
            notices.show_warning(
                self.tr("Some settings could not be used; their defaults apply."),
                " ".join(settings_problems),
                key="settings-problems",
            )
        for problem in state_problems:
            logger.info("state: %s", problem)

    @property
    def settings(self) -> Settings:
        """What the user chose."""
        return self._settings

    @property
    def state(self) -> State:
        """What Snug remembers."""
        return self._state

    @property
    def paths(self) -> AppPaths:
        """Where things are, with the models folder that the settings name."""
        return self._base_paths.with_models_directory(self._settings.models_directory)

    def change_settings(self, **changes: Any) -> None:
        """Applies at once and is saved a moment later."""
        settings = replace(self._settings, **changes)
        if settings != self._settings:
            self._settings = settings
            self._settings_are_new = True
            self._save_soon()
            self.settings_changed.emit(settings)

    def change_state(self, **changes: Any) -> None:
        """Remembers something."""
        self.set_state(replace(self._state, **changes))

    def set_state(self, state: State) -> None:
        """Remembers something."""
        if state != self._state:
            self._state = state
            self._state_is_new = True
            self._save_soon()

    def remember_model(self, path: Path) -> None:
        """Notes that a model was used just now."""
        self.set_state(self._state.with_model_used(path))

    def close(self) -> None:
        """Writes what is left, on this thread. What changes afterwards, while the app goes, is not kept."""
        self._is_closed = True
        self._timer.stop()
        try:
            self._save(*self._take())
        except StorageError as error:
            logger.info("Settings or state could not be saved: %s", error.details)

    def _save_soon(self) -> None:
        if not self._is_closed:
            self._timer.start()

    def _on_timeout(self) -> None:
        settings, state = self._take()
        self._run_in_background(lambda: self._save(settings, state), None, self._on_error)

    def _take(self) -> tuple[Settings | None, State | None]:
        settings = self._settings if self._settings_are_new else None
        state = self._state if self._state_is_new else None
        self._settings_are_new = self._state_is_new = False
        return settings, state

    def _save(self, settings: Settings | None, state: State | None) -> None:
        if settings is not None:
            save_settings(self._base_paths.settings_path, settings)
        if state is not None:
            save_state(self._base_paths.state_path, state)

    def _on_error(self, error: Exception) -> None:
        if not isinstance(error, StorageError):
            raise error
        self._notices.show_problem(error, key="settings-save")
