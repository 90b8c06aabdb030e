from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from desktop.commands.reset import Move, carry_out, other_processes, plan
from desktop.core.conversations.store import Store
from desktop.core.errors import StorageError
from desktop.core.paths import AppPaths
from desktop.core.settings import Settings, save_settings

Snug = Callable[..., subprocess.CompletedProcess[str]]

OPENS_THE_STORE = """
import sys
from pathlib import Path
from desktop.core.conversations.store import Store
store = Store(Path(sys.argv[1]))
store.opened.result(10)
print("open", flush=True)
sys.stdin.readline()
store.close()
"""


@pytest.fixture
def paths(data_directory: Path) -> AppPaths:
    """A profile with something of everything in it."""
    paths = AppPaths.make(data_directory)
    paths.ensure()
    save_settings(paths.settings_path, Settings(temperature=1.0))
    store = Store(paths.database_path)
    store.create_conversation("Kept").result(10)
    store.close()
    paths.state_path.write_text("{}")
    (paths.models_directory / "model.gguf").write_bytes(b"GGUF")
    (paths.log_directory / "app.log").write_text("a line\n")
    return paths


@pytest.fixture
def other_snug(paths: AppPaths) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the conversations open."""
    command = [sys.executable, "-c", OPENS_THE_STORE, str(paths.database_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        yield process
        process.communicate("\n")


def backups(paths: AppPaths) -> list[str]:
    return sorted(path.name for path in paths.backup_directory.rglob("*") if path.is_file())


def test_each_part_moves_its_own_files_and_never_models(paths: AppPaths) -> None:
    folder = paths.backup_directory / "reset"

    def names(part: str) -> list[str]:
        return sorted(move.target.name for move in plan(part, paths, folder))

    assert names("settings") == ["settings.json"]
    assert names("conversations") == ["conversations.db"]
    assert names("all") == ["cache", "conversations.db", "logs", "settings.json", "state.json"]


def test_settings_go_to_a_dated_folder_after_a_yes(snug: Snug, paths: AppPaths) -> None:
    done = snug("doctor", "--reset", "settings", "--yes")

    assert done.returncode == 0
    assert not paths.settings_path.exists()
    assert backups(paths) == ["settings.json"]
    (folder,) = paths.backup_directory.iterdir()
    assert folder.name.startswith("reset-20")
    assert paths.database_path.exists()
    assert snug("doctor", "--reset", "settings", "--yes").stderr == "There is nothing to reset.\n"


def test_everything_but_models_can_be_moved_at_once(snug: Snug, paths: AppPaths) -> None:
    done = snug("doctor", "--reset", "all", "--yes")

    assert done.returncode == 0
    assert backups(paths) == ["app.log", "conversations.db", "settings.json", "state.json"]
    assert (paths.models_directory / "model.gguf").exists()
    assert not paths.database_path.exists()


def test_nobody_there_to_ask_means_no(snug: Snug, paths: AppPaths) -> None:
    done = snug("doctor", "--reset", "settings")

    assert done.returncode == 2
    assert "Say --yes" in done.stderr
    assert paths.settings_path.exists()


@pytest.mark.parametrize(("answer", "is_there"), [("y\n", False), ("yes\n", False), ("\n", True), ("n\n", True)])
def test_a_person_is_asked_first(terminal: Callable[..., Any], paths: AppPaths, answer: str, is_there: bool) -> None:
    asked = terminal("doctor", "--reset", "settings")
    asked.wait_for("Move it? [y/N] ")
    asked.type(answer)

    assert asked.status() == 0
    assert paths.settings_path.exists() is is_there


def test_nothing_is_moved_while_another_snug_runs(
    snug: Snug, paths: AppPaths, other_snug: subprocess.Popen[str]
) -> None:
    done = snug("doctor", "--reset", "all", "--yes")

    assert done.returncode == 6
    assert done.stderr.startswith("snug: Another Snug is running, so nothing was reset.\n")
    assert f"process {other_snug.pid}" in done.stderr
    assert paths.settings_path.exists()
    assert other_snug.pid in other_processes(paths)


def test_this_process_is_not_another_one(paths: AppPaths) -> None:
    store = Store(paths.database_path)
    try:
        store.opened.result(10)
        assert other_processes(paths) == {}
    finally:
        store.close()


def test_a_move_that_fails_halfway_is_undone(paths: AppPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = paths.backup_directory / "reset"
    moves = (
        Move(paths.settings_path, folder / "settings.json"),
        Move(paths.database_path, folder / "conversations.db"),
    )
    really_move = shutil.move

    def move(source: Path, target: Path) -> None:
        if source == paths.database_path:
            raise PermissionError(13, "Permission denied")
        really_move(source, target)

    monkeypatch.setattr(shutil, "move", move)

    with pytest.raises(StorageError):
        carry_out(moves)

    assert paths.settings_path.exists()
    assert paths.database_path.exists()
