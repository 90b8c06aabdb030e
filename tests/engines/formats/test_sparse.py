"""Files with a hole: right length, right beginning, hardly any room."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.formats import sparse
from engines.formats.sparse import write_sparse

LENGTH = 300 * 1024**3


def test_a_file_of_300_gb_takes_the_room_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "模型.gguf"
    path.write_bytes(b"what was there before")
    write_sparse(b"header" * 1000, LENGTH, path)
    assert path.stat().st_size == LENGTH
    with path.open("rb") as file:
        assert file.read(6008) == b"header" * 1000 + bytes(8)
        file.seek(LENGTH - 5)
        assert file.read() == bytes(5)
    if sys.platform != "win32":
        assert path.stat().st_blocks * 512 < 1_000_000


@pytest.mark.parametrize("length", [6, 7, 100_000])
def test_small_files_are_whole(tmp_path: Path, length: int) -> None:
    write_sparse(b"header", length, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"header" + bytes(length - 6)


def test_a_header_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        write_sparse(b"header", 5, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_sparse(b"header", 10, tmp_path / "gone" / "a")


def test_a_length_that_no_disk_has_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_sparse(b"header", (1 << 63) - 1, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a drive without sparse files refuses the mark there")
def test_a_hole_that_takes_room_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "solid"
    with path.open("wb") as file:
        file.write(os.urandom(64 * 1024) * (sparse.PROBE_BYTES // 1024 // 64))
        file.flush()
        with pytest.raises(OSError) as caught:
            sparse._check_hole(file, 100)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = "import sys, engines.formats.sparse; print([m for m in ('msgspec', 'psutil') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
