"""Where Snug keeps things, made once at the start and passed on. Creates nothing until `ensure` is called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from desktop.core.errors import from_os_error

DATA_DIRECTORY_VARIABLE = "SNUG_DATA_DIR"


@dataclass(frozen=True, slots=True)
class AppPaths:
    """All folders and files of one profile, absolute."""

    data_directory: Path
    config_directory: Path
    cache_directory: Path
    log_directory: Path
    models_directory: Path

    @classmethod
    def make(cls, data_dir: Path | None = None, environment: Mapping[str, str] | None = None) -> AppPaths:
        """The paths of this profile: `data_dir` (--data-dir), else SNUG_DATA_DIR, else the system's places.

        A given folder holds everything, settings and logs included, so that removing it removes the profile.
        """
        environment = os.environ if environment is None else environment
        chosen = data_dir or environment.get(DATA_DIRECTORY_VARIABLE) or None
        if chosen:
            root = Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100 - links are kept as the user gave them
            return cls(
                data_directory=root,
                config_directory=root / "config",
                cache_directory=root / "cache",
                log_directory=root / "logs",
                models_directory=root / "models",
            )
        system = platformdirs.PlatformDirs("Snug", appauthor=False)
        data = Path(system.user_data_dir)
        return cls(
            data_directory=data,
            config_directory=Path(system.user_config_dir),
            cache_directory=Path(system.user_cache_dir),
            log_directory=Path(system.user_log_dir),
            models_directory=data / "models",
        )

    @property
    def database_path(self) -> Path:
        """Conversations."""
        return self.data_directory / "conversations.db"

    @property
    def backup_directory(self) -> Path:
        """Copies of the database from before each change of its shape, and damaged files that were put aside."""
        return self.data_directory / "backups"

    @property
    def settings_path(self) -> Path:
        """What the user chose."""
        return self.config_directory / "settings.json"

    @property
    def state_path(self) -> Path:
        """What the app remembers by itself."""
        return self.data_directory / "state.json"

    @property
    def leases_directory(self) -> Path:
        """Who holds an engine now."""
        return self.data_directory / "leases"

    @property
    def calibration_path(self) -> Path:
        """What loads and chats on this computer taught about memory and speed."""
        return self.data_directory / "calibration.json"

    def with_models_directory(self, models_directory: str | Path | None) -> AppPaths:
        """The same paths with the models folder that the settings name; None or empty changes nothing."""
        if not models_directory:
            return self
        return replace(self, models_directory=Path(models_directory).expanduser())

    def ensure(self) -> None:
        """Creates the folders, for this user's eyes only where the system can. Raises StorageError."""
        for directory in (
            self.data_directory,
            self.config_directory,
            self.cache_directory,
            self.log_directory,
            self.models_directory,
            self.leases_directory,
        ):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise from_os_error(error, directory) from error

    def described(self) -> dict[str, Path]:
        """What lies where, in the words of `snug doctor` and the settings page."""
        return {
            "Conversations": self.database_path,
            "Backups": self.backup_directory,
            "Settings": self.settings_path,
            "Window and last used": self.state_path,
            "Models": self.models_directory,
            "Logs": self.log_directory,
            "Cache": self.cache_directory,
        }
