"""Log files: app.log for the app, engine.log for what engine processes print. Configured once, by whoever starts.

Privacy rule: never the text of a prompt, a reply, a title or a draft, at no level. Values that carry such text hide it
from their `repr`, and a record is cut at MAXIMUM_RECORD_CHARACTERS, so that a slip cannot spill a conversation.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
from pathlib import Path
from types import TracebackType
from typing import Literal

from desktop.core.errors import StorageError, from_os_error

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

APP_LOG = "app.log"
ENGINE_LOG = "engine.log"
MAXIMUM_FILE_BYTES = 1_000_000
FILES_KEPT = 4
MAXIMUM_RECORD_CHARACTERS = 8_000
_PACKAGES = ("desktop", "engines")


class Logs:
    """The log handlers of this process; `close` takes them away again. `problem` is set when no file could be made."""

    def __init__(self, log_directory: Path, *, level: Level = "INFO", stderr_level: Level | None = None) -> None:
        self.problem: StorageError | None = None
        self._handlers: list[logging.Handler] = []
        try:
            log_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handlers.append(_QuietRotatingHandler(log_directory / APP_LOG))
        except OSError as error:
            # No log is no reason not to chat.
            self.problem = from_os_error(error, log_directory)
        if stderr_level is not None and sys.stderr is not None:
            to_stderr = logging.StreamHandler()
            to_stderr.setLevel(stderr_level)
            self._handlers.append(to_stderr)
        for handler in self._handlers:
            handler.setFormatter(_ShortFormatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
            logging.getLogger().addHandler(handler)
        # Libraries stay at their own level: their debug records are not ours to vouch for.
        for package in _PACKAGES:
            logging.getLogger(package).setLevel(level)

    def close(self) -> None:
        """Writes out and lets go of the files. Calling it twice is harmless."""
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        self._handlers.clear()
        for package in _PACKAGES:
            logging.getLogger(package).setLevel(logging.NOTSET)

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def engine_log_path(log_directory: Path) -> Path:
    """Where the next engine process writes its standard error; a long file is put aside first."""
    path = log_directory / ENGINE_LOG
    try:
        log_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_size > MAXIMUM_FILE_BYTES:
            for number in range(FILES_KEPT - 1, 0, -1):
                older = path.with_name(f"{ENGINE_LOG}.{number}")
                if older.exists():
                    older.replace(path.with_name(f"{ENGINE_LOG}.{number + 1}"))
            path.replace(path.with_name(f"{ENGINE_LOG}.1"))
    except FileNotFoundError:
        pass  # The first engine on this machine.
    except OSError as error:
        # Another Snug holds the file open (Windows): it grows a little longer.
        logging.getLogger(__name__).info("The engine log could not be rotated: %s", error.strerror)
    return path


class _QuietRotatingHandler(logging.handlers.RotatingFileHandler):
    """Never lets a full disk, or a second process that holds the file, become the user's problem."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAXIMUM_FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", errors="replace")

    def doRollover(self) -> None:  # noqa: N802 - the base class names it
        try:
            super().doRollover()
        except OSError:
            # On Windows a file that the other process holds cannot be renamed: go on in the same one.
            self.stream = self._open()

    def close(self) -> None:
        # The same full disk; the last records are lost, and with them nothing that anybody wrote.
        with contextlib.suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class names it
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _ShortFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if len(line) > MAXIMUM_RECORD_CHARACTERS:
            return f"{line[:MAXIMUM_RECORD_CHARACTERS]} ... ({len(line)} characters)"
        return line
