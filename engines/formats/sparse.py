"""Writes a file that has a model's header and length, but no weights: a header followed by a hole.

The engine's dry run looks at nothing else (facts/fit.md B.3). The hole takes no room on file systems that know
sparse files (ext4, XFS, Btrfs, APFS, NTFS); on others the file is refused instead of filling the disk.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

PROBE_BYTES = 32 * 1024 * 1024
"""How long a hole is tried first, before a disk is filled with zeros."""


def write_sparse(header: bytes, length: int, path: Path) -> None:
    """Writes `header` and makes the file `length` bytes long; an existing file is replaced.

    Raises: ValueError if `length` is less than the header's; OSError if the file cannot be written, with
    errno EOPNOTSUPP where the file system has no sparse files. Then nothing is left behind.
    """
    if length < len(header):
        raise ValueError(f"a file of {length} bytes cannot hold a header of {len(header)}")
    try:
        with path.open("wb") as file:
            _mark_sparse(file)
            file.write(header)
            file.flush()
            if length - len(header) > 2 * PROBE_BYTES:
                file.truncate(len(header) + PROBE_BYTES)
                _check_hole(file, len(header))
            file.truncate(length)
    except OSError:
        path.unlink(missing_ok=True)
        raise


if sys.platform == "win32":

    def _mark_sparse(file: BinaryIO) -> None:
        """NTFS reserves the whole length unless it is told before (FSCTL_SET_SPARSE, winioctl.h)."""
        import ctypes
        import msvcrt

        set_sparse, pointer, number = 0x000900C4, ctypes.c_void_p, ctypes.c_ulong
        control = ctypes.WinDLL("kernel32", use_last_error=True).DeviceIoControl
        control.argtypes = (pointer, number, pointer, number, pointer, number, pointer, pointer)
        returned = number()
        handle = msvcrt.get_osfhandle(file.fileno())
        if not control(handle, set_sparse, None, 0, None, 0, ctypes.byref(returned), None):
            raise OSError(errno.EOPNOTSUPP, f"this drive has no sparse files ({ctypes.get_last_error()})")

    def _check_hole(_file: BinaryIO, _written_bytes: int) -> None:
        """A drive without sparse files has already refused the mark."""

else:

    def _mark_sparse(_file: BinaryIO) -> None:
        """A hole needs no announcement here."""

    def _check_hole(file: BinaryIO, written_bytes: int) -> None:
        """Raises OSError when the hole takes real room."""
        used_bytes = os.fstat(file.fileno()).st_blocks * 512
        if used_bytes > written_bytes + PROBE_BYTES // 2:
            raise OSError(errno.EOPNOTSUPP, "this file system has no sparse files")
