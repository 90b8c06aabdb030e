from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines.shared_files import locked, write_whole

ADD_ONE = """
import sys
from pathlib import Path
from engines.shared_files import locked, write_whole

path = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with locked(path.parent):
        number = int(path.read_text())
        write_whole(path, str(number + 1).encode())
"""


def test_what_is_written_replaces_what_was_there_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    write_whole(path, b"new")

    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_content_and_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "inside").touch()

    with pytest.raises((IsADirectoryError, PermissionError)):
        write_whole(target, b"new")

    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_two_processes_that_count_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")

    children = [subprocess.Popen([sys.executable, "-c", ADD_ONE, str(path), "50"]) for _ in range(2)]
    assert [child.wait(30) for child in children] == [0, 0]

    assert path.read_text() == "100"


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "new" / "folder"):
        raise ZeroDivisionError
    with locked(tmp_path / "new" / "folder"):
        assert (tmp_path / "new" / "folder").is_dir()
