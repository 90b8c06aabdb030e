"""The disk that models lie on: what is free, and how fast it reads blocks the size of an expert at random places.

Random 4 MiB blocks, because that is what streaming experts from disk reads (facts/fit.md D.5); the sequential figure
on the box is not what anybody gets. Past the page cache, or not at all: a figure from memory would be a lie.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engines.errors import EngineError
from engines.hardware.asking import read_text
from engines.hardware.machine import Bandwidth, Disk

MEBIBYTE = 1024**2
BLOCK_BYTES = 4 * MEBIBYTE
FILE_BYTES = 256 * MEBIBYTE
"""Size of the temporary file; a tenth of what is free if that is less."""
_SMALLEST_FILE_BYTES = 8 * BLOCK_BYTES
_MOST_SECONDS = 1.0
_MOST_BLOCKS = 128
_PREFIX = ".snug-disk-"
_LEFT_BEHIND_SECONDS = 3600.0
_IN_MEMORY = ("tmpfs", "ramfs")
"""Newer kernels open files there with O_DIRECT and read them from memory all the same."""
_DROPS_PAGES = ("ext4", "xfs", "btrfs", "f2fs", "overlay")
"""File systems on which the kernel heeds POSIX_FADV_DONTNEED."""


def read_disk(folder: Path) -> Disk:
    """Size and free space of the disk that the folder is on (or will be on, if it is not there yet)."""
    try:
        usage = shutil.disk_usage(nearest_existing(folder))
    except OSError:  # a drive that went away
        return Disk(path=str(folder))
    return Disk(path=str(folder), total_bytes=usage.total, free_bytes=usage.free)


def nearest_existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path(folder.anchor or "."))


def measure_random_read(path: Path, *, file_bytes: int = FILE_BYTES, seconds: float = _MOST_SECONDS) -> Bandwidth:
    """Reads 4 MiB blocks at random places, past the page cache, one after the other, for at most `seconds`.

    `path` is a large file (a model), or a folder: then a file of at most `file_bytes` is written there first and always
    removed again. Raises EngineError where it cannot be measured: too little space, no rights, or a system that would
    answer from memory.
    """
    if path.is_file():
        return _measured(path, seconds, "a file that was there already")
    with _temporary_file(nearest_existing(path), file_bytes) as file:
        return _measured(file, seconds, f"a file of {file.stat().st_size // MEBIBYTE} MiB, just written")


def _measured(file: Path, seconds: float, which: str) -> Bandwidth:
    size = file.stat().st_size
    if size < _SMALLEST_FILE_BYTES:
        raise _refusal(f"{file.name} is too small; at least {_SMALLEST_FILE_BYTES // MEBIBYTE} MiB are needed.")
    places = list(range(0, size - BLOCK_BYTES + 1, BLOCK_BYTES))
    random.Random(size).shuffle(places)  # noqa: S311 - only an order of reading
    try:
        with contextlib.closing(_UncachedFile(file)) as blocks:
            read, started_at = 0, time.perf_counter()
            for number, place in enumerate(places[:_MOST_BLOCKS]):
                read += blocks.read(place)
                if time.perf_counter() - started_at >= seconds and number >= 3:
                    break
            elapsed_s = max(time.perf_counter() - started_at, 1e-9)
    except OSError as error:
        raise _refusal(error.strerror or str(error)) from error
    note = f"random reads of {BLOCK_BYTES // MEBIBYTE} MiB past the page cache, in {which}"
    return Bandwidth(bytes_per_second=int(read / elapsed_s), source="measured", note=note)


def _remove_leftovers(folder: Path) -> None:
    """Files of measurements that were killed, at least an hour ago."""
    for file in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else was faster, or it is not ours
            if time.time() - file.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                file.unlink()


@contextlib.contextmanager
def _temporary_file(folder: Path, file_bytes: int) -> Iterator[Path]:
    """A file of random bytes on the disk of `folder`: no disk or file system can squeeze it."""
    try:
        _remove_leftovers(folder)
        size = min(file_bytes, shutil.disk_usage(folder).free // 10) // BLOCK_BYTES * BLOCK_BYTES
        if size < _SMALLEST_FILE_BYTES:
            raise _refusal("There is too little free space on it.")
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
    except OSError as error:
        raise _refusal(error.strerror or str(error)) from error
    try:
        try:
            block = os.urandom(BLOCK_BYTES)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                _write_uncached(file.fileno())
                for number in range(size // BLOCK_BYTES):
                    file.write(number.to_bytes(8, "little") + block[8:])
                os.fsync(file.fileno())
        except OSError as error:
            raise _refusal(error.strerror or str(error)) from error
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


if sys.platform == "win32":
    from engines.hardware.windows_calls import UncachedFile as _UncachedFile
else:

    class _UncachedFile:
        """Reads blocks past the page cache. Raises OSError."""

        def __init__(self, file: Path) -> None:
            self._descriptor, self._drop_pages = _open_uncached(file)
            self._buffer = mmap.mmap(-1, BLOCK_BYTES)  # begins at a page, as O_DIRECT asks

        def read(self, place: int) -> int:
            """Reads the block at `place`; answers how many bytes came."""
            self._drop_pages(place)
            return os.preadv(self._descriptor, [self._buffer], place)

        def close(self) -> None:
            os.close(self._descriptor)
            self._buffer.close()


if sys.platform == "darwin":
    import fcntl

    def _open_uncached(file: Path) -> tuple[int, Callable[[int], None]]:
        descriptor = os.open(file, os.O_RDONLY)
        _write_uncached(descriptor)
        return descriptor, lambda _: None

    def _write_uncached(descriptor: int) -> None:
        """Reads and writes of this file leave no pages behind; those that are there already would still answer."""
        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)

elif sys.platform == "linux":

    def _open_uncached(file: Path) -> tuple[int, Callable[[int], None]]:
        """With O_DIRECT, or where a file system has no such thing, with a way to drop cached pages before a read."""
        device = file.stat().st_dev
        kind = parse_mounts(read_text(Path("/proc/self/mountinfo")), f"{os.major(device)}:{os.minor(device)}")
        if kind in _IN_MEMORY:
            raise OSError(errno.ENOTSUP, "This folder is kept in memory, not on a disk.")
        try:
            return os.open(file, os.O_RDONLY | os.O_DIRECT), lambda _: None
        except OSError as error:
            if error.errno != errno.EINVAL or kind not in _DROPS_PAGES:
                raise
        descriptor = os.open(file, os.O_RDONLY)
        return descriptor, lambda place: os.posix_fadvise(descriptor, place, BLOCK_BYTES, os.POSIX_FADV_DONTNEED)


if sys.platform != "darwin":

    def _write_uncached(descriptor: int) -> None:
        """Elsewhere reading alone decides."""


def parse_mounts(text: str, number: str) -> str:
    """The kind of file system with this device number ("259:1") in /proc/self/mountinfo; empty if it is not there."""
    for line in text.splitlines():
        mount, separator, kind = line.partition(" - ")
        words = mount.split()
        if separator and len(words) > 2 and words[2] == number:
            return kind.split(" ")[0]
    return ""


def _refusal(details: str) -> EngineError:
    return EngineError(
        "The speed of the disk could not be measured.", "Choose a folder on another disk, or a large file.", details
    )
