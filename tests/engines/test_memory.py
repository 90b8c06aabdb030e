from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from engines.memory import (
    GIBIBYTE,
    CgroupMemory,
    estimate_needed_bytes,
    peak_memory_bytes,
    read_cgroup,
    read_memory,
)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def group_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cgroup"
    path.write_text(text)
    return path


def test_memory_is_what_the_system_says_at_most() -> None:
    memory = read_memory()

    assert 0 < memory.available_bytes <= memory.total_bytes <= psutil.virtual_memory().total


def test_the_estimate_is_a_tenth_and_half_a_gibibyte_above_the_file() -> None:
    assert estimate_needed_bytes(10 * GIBIBYTE) == 11 * GIBIBYTE + GIBIBYTE // 2


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    write(root / "user/app", memory__max="max\n", memory__current="500\n", memory__stat="inactive_file 0\n")
    write(root / "user", memory__max="1000\n", memory__current="700\n", memory__stat="anon 1\ninactive_file 300\n")
    write(root, memory__max="9000\n", memory__current="800\n")

    found = read_cgroup(group_file(tmp_path, "0::/user/app\n"), root)

    assert found == CgroupMemory(limit_bytes=1000, used_bytes=400)
    assert found.available_bytes == 600


def test_the_smallest_limit_and_the_least_left_may_be_of_different_groups(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    write(root / "user/app", memory__max="4000\n", memory__current="0\n")
    write(root / "user", memory__max="8000\n", memory__current="7000\n")

    found = read_cgroup(group_file(tmp_path, "0::/user/app\n"), root)

    assert found is not None
    assert (found.limit_bytes, found.available_bytes) == (4000, 1000)


def test_inside_a_container_the_mounted_root_is_the_group(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    write(root, memory__max="2000\n", memory__current="500\n", memory__stat="inactive_file 100\n")

    found = read_cgroup(group_file(tmp_path, "0::/../../somewhere/else\n"), root)

    assert found == CgroupMemory(limit_bytes=2000, used_bytes=400)


def test_version_one_of_cgroups_is_read_too(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    write(
        root / "memory/box",
        memory__limit_in_bytes="3000\n",
        memory__usage_in_bytes="1000\n",
        memory__stat="total_inactive_file 200\n",
    )
    write(root / "memory", memory__limit_in_bytes=f"{2**63 - 4096}\n", memory__usage_in_bytes="5000\n")

    found = read_cgroup(group_file(tmp_path, "9:name=systemd:/\n4:cpu,memory:/box\n0::/\n"), root)

    assert found == CgroupMemory(limit_bytes=3000, used_bytes=800)


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    assert read_cgroup(tmp_path / "missing", tmp_path) is None
    assert read_cgroup(group_file(tmp_path, "nonsense\n4:memory\n0::/\n"), tmp_path / "fs") is None


def test_a_group_above_its_limit_has_nothing_left() -> None:
    assert CgroupMemory(limit_bytes=10, used_bytes=20).available_bytes == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows counts per process anyway")
def test_the_peak_is_that_of_this_process_and_not_of_the_one_that_started_it() -> None:
    """A large window starts a small engine: the kernel's ru_maxrss would begin with the window's memory."""
    code = """
import subprocess, sys
ballast = bytearray(b"x") * 400_000_000
child = "from engines.memory import peak_memory_bytes; print(peak_memory_bytes())"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert 5_000_000 < int(done.stdout) < 200_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the file is Linux's")
def test_a_peak_that_nobody_tells_is_nothing(tmp_path: Path) -> None:
    assert peak_memory_bytes(tmp_path / "missing") == 0
