"""Old content or new, never half."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from desktop.core.errors import StorageError
from desktop.core.files import write_atomically

_ENDLESS_WRITER = """
import sys
from pathlib import Path
from desktop.core.files import write_atomically
path = Path(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    number += 1
    write_atomically(path, b"%08d" % number * 20_000)
"""


def test_content_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder that does not exist yet" / "设置.json"
    write_atomically(path, b"first, and longer")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", _ENDLESS_WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            before = path.read_bytes() if path.exists() else b""
            # The moment of the kill is whenever the next whole version has arrived, somewhere in the one after it.
            while not path.exists() or path.read_bytes() == before:
                pass
            writer.kill()
        content = path.read_bytes()
        assert content == content[:8] * 20_000


def test_failed_write_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.json"
    write_atomically(path, b"old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match="disk is full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["settings.json"]


def test_leftovers_of_a_killed_process_are_swept_once_they_are_old(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    old, young = tmp_path / "settings.json.1.tmp", tmp_path / "settings.json.2.tmp"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_atomically(path, b"content")
    assert not old.exists()
    assert young.exists()
