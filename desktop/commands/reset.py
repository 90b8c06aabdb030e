"""`snug doctor --reset`: begin anew without losing anything. Moves files to a dated folder, never deletes one.

Models stay where they are. Refuses while another Snug runs, because that one would write its own state back.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from desktop.commands.exit_codes import ExitCode
from desktop.commands.terminal import Terminal
from desktop.core.errors import from_os_error
from desktop.core.paths import AppPaths
from engines.lease import read_leases

PARTS = ("settings", "conversations", "all")
_COMPANIONS = ("", "-wal", "-shm")
"""What belongs to a SQLite database."""


@dataclass(frozen=True, slots=True)
class Move:
    """One file or folder and where it goes."""

    source: Path
    target: Path


def open_reset(part: str, paths: AppPaths, terminal: Terminal, *, confirmed: bool) -> int:
    """Moves `part` away after asking; answers the exit status. Raises StorageError."""
    folder = paths.backup_directory / f"reset-{time.strftime('%Y-%m-%d-%H%M%S')}"
    moves = plan(part, paths, folder)
    if not moves:
        terminal.say("There is nothing to reset.")
        return ExitCode.OK
    others = other_processes(paths)
    if others:
        terminal.say_error(
            "Another Snug is running, so nothing was reset.",
            "Close its window and leave its terminal chats, then try again.",
            "\n".join(f"process {process_id}: {name}" for process_id, name in others.items()),
        )
        return ExitCode.IN_USE
    for move in moves:
        terminal.say(f"  {move.source}")
    terminal.say(f"goes to {folder}. Models stay where they are.")
    if not confirmed and not _is_confirmed(terminal):
        return ExitCode.USAGE if not terminal.input_is_terminal else ExitCode.OK
    carry_out(moves)
    terminal.say("Done. To undo this, move the files back while Snug is closed.")
    return ExitCode.OK


def plan(part: str, paths: AppPaths, folder: Path) -> tuple[Move, ...]:
    """What would be moved: only what exists."""
    database = paths.database_path
    conversations = [database.with_name(database.name + ending) for ending in _COMPANIONS]
    settings = [paths.settings_path]
    match part:
        case "settings":
            chosen = settings
        case "conversations":
            chosen = conversations
        case _:
            others = (paths.state_path, paths.calibration_path, paths.log_directory, paths.cache_directory)
            chosen = [*conversations, *settings, *others]
    return tuple(Move(source, folder / source.name) for source in chosen if source.exists())


def carry_out(moves: tuple[Move, ...]) -> None:
    """Moves all of it, or puts back what was moved already. Raises StorageError."""
    done: list[Move] = []
    for move in moves:
        try:
            move.target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _move(move.source, move.target)
        except OSError as error:
            for earlier in reversed(done):
                _move(earlier.target, earlier.source)
            raise from_os_error(error, move.source) from error
        done.append(move)


def other_processes(paths: AppPaths) -> dict[int, str]:
    """Other processes that hold a model or have a file of this profile open, by process id."""
    found = {lease.pid: f"holds {lease.model_name}" for lease in read_leases(paths.leases_directory)}
    folders = {str(paths.database_path), str(paths.log_directory)}
    for process in psutil.process_iter():
        try:
            opened = [file.path for file in process.open_files()]
        except (psutil.Error, OSError):  # gone, or of another user, who has a profile of their own
            continue
        if any(path.startswith(tuple(folders)) for path in opened):
            found.setdefault(process.pid, process.name())
    found.pop(os.getpid(), None)
    return found


def _move(source: Path, target: Path) -> None:
    """By renaming where that is possible: quick, and a file is never half here and half there."""
    shutil.move(source, target)


def _is_confirmed(terminal: Terminal) -> bool:
    if not terminal.input_is_terminal:
        terminal.say_error("Nobody is there to ask.", "Say --yes if this is what you want.")
        return False
    try:
        answer = terminal.read_line("Move it? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in {"y", "yes"}:
        return True
    terminal.say("Nothing was changed.")
    return False
