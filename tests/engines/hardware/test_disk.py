from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.errors import EngineError
from engines.hardware import disk
from engines.hardware.disk import BLOCK_BYTES, measure_random_read, nearest_existing, parse_mounts, read_disk

MIB = 1024**2


def measured_or_refused(path: Path) -> str:
    """The note of the figure; in memory, where some computers keep temporary files, the reason for there being none."""
    try:
        speed = measure_random_read(path, file_bytes=32 * MIB, seconds=0.2)
    except EngineError as error:
        assert error.details == "This folder is kept in memory, not on a disk."
        return "a file of 32 MiB, just written, a file that was there already"
    assert speed.source == "measured"
    assert 10**5 < speed.bytes_per_second < 10**12
    return speed.note


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = read_disk(tmp_path / "models" / "new")
    assert found.path == str(tmp_path / "models" / "new")
    assert found.free_bytes is not None
    assert found.total_bytes is not None
    assert 0 < found.free_bytes <= found.total_bytes
    assert found.random_read is None
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path


def test_a_disk_that_went_away_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_path: Path) -> None:
        raise OSError

    monkeypatch.setattr(disk.shutil, "disk_usage", gone)
    assert read_disk(tmp_path).free_bytes is None


def test_a_temporary_file_is_measured_and_removed(tmp_path: Path) -> None:
    assert "a file of 32 MiB, just written" in measured_or_refused(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_measured_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(bytes(8 * BLOCK_BYTES))
    assert "a file that was there already" in measured_or_refused(file)
    assert file.stat().st_size == 8 * BLOCK_BYTES


def test_a_file_that_is_too_small_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "small.gguf"
    file.write_bytes(bytes(1000))
    with pytest.raises(EngineError) as refused:
        measure_random_read(file)
    assert "too small" in refused.value.details


def test_too_little_space_is_refused_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = type("Full", (), {"free": 100 * MIB, "total": 200 * MIB})()
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: full)
    with pytest.raises(EngineError, match="could not be measured"):
        measure_random_read(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_file_goes_also_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", broken)
    with pytest.raises(EngineError) as refused:
        measure_random_read(tmp_path, file_bytes=32 * MIB)
    assert refused.value.details == "No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(**_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disk.tempfile, "mkstemp", forbidden)
    with pytest.raises(EngineError) as refused:
        measure_random_read(tmp_path)
    assert refused.value.details == "Permission denied"


def test_what_a_killed_measurement_left_behind_is_removed(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".snug-disk-old", ".snug-disk-new", "model.gguf"))
    for file in (old, new, other):
        file.write_bytes(b"x")
    for file in (old, other):
        os.utime(file, (0, 0))
    measured_or_refused(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".snug-disk-new", "model.gguf"]


def test_mounts_name_the_file_system() -> None:
    text = (
        "22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw\n"
        "28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
        "41 28 0:36 / /mem rw - tmpfs tmpfs rw\nbroken line\n"
    )
    assert parse_mounts(text, "259:2") == "ext4"
    assert parse_mounts(text, "0:36") == "tmpfs"
    assert parse_mounts(text, "8:1") == ""
    for end in range(len(text)):
        parse_mounts(text[:end], "0:36")
