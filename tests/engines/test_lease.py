from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from engines.errors import EngineError, ModelInUseError, NotEnoughMemoryError
from engines.lease import (
    Free,
    Holding,
    InUse,
    Lease,
    Leases,
    TooLarge,
    decide,
    gibibytes,
    is_alive,
    measure_holdings,
    read_leases,
)
from engines.memory import GIBIBYTE, Memory

HOLDER = """
import sys
from pathlib import Path
from engines.lease import Leases
from engines.memory import Memory

memory = Memory(total_bytes=1 << 40, available_bytes=int(sys.argv[3]))
leases = Leases(Path(sys.argv[1]), "window", memory_now=lambda: memory)
held = leases.take("Other", Path("other.gguf"), int(sys.argv[2]))
print("held", flush=True)
sys.stdin.readline()
held.release()
"""


def lease(size_bytes: int = 100, pid: int = 1, taken_at: float = 1.0, name: str = "Other") -> Lease:
    return Lease(
        pid=pid,
        process_created_at=0.0,
        program="window",
        model_name=name,
        model_path="other.gguf",
        size_bytes=size_bytes,
        taken_at=taken_at,
    )


def leases_with(directory: Path, available_bytes: int) -> Leases:
    return Leases(directory, "terminal", memory_now=lambda: Memory(1 << 40, available_bytes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds 600 bytes, of which the system knows nothing yet."""
    command = [sys.executable, "-c", HOLDER, str(folder), "600", "1000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_there_is_room_up_to_the_last_byte() -> None:
    assert decide(1000, 1000, []) == Free()
    assert decide(1001, 1000, []) == TooLarge(1000)


def test_what_another_holds_and_the_system_still_counts_as_free_is_taken_off() -> None:
    other = Holding(lease(600), counted_bytes=100)

    assert decide(500, 1000, [other]) == Free()
    assert decide(501, 1000, [other]) == InUse(other.lease, 500)


def test_the_largest_holder_is_named() -> None:
    small, large = lease(100, name="Small"), lease(300, name="Large")

    decision = decide(900, 1000, [Holding(small), Holding(large)])

    assert decision == InUse(large, 600)


def test_nobody_is_named_where_even_an_empty_computer_would_not_do() -> None:
    assert decide(1101, 1000, [Holding(lease(600), counted_bytes=100)]) == TooLarge(500)
    assert decide(1100, 1000, [Holding(lease(600), counted_bytes=100)]) == InUse(lease(600), 500)


def test_a_holder_that_takes_more_than_it_said_does_not_make_room() -> None:
    assert decide(1000, 1000, [Holding(lease(600), counted_bytes=900)]) == Free()
    assert decide(1601, 1000, [Holding(lease(600), counted_bytes=900)]) == TooLarge(1000)


def test_a_lease_exists_while_it_is_held(folder: Path) -> None:
    leases = leases_with(folder, 1000)

    with leases.take("Mine", Path("mine.gguf"), 10) as held:
        (seen,) = leases.all()
        assert seen == held.lease
        assert (seen.pid, seen.program, seen.model_name, seen.size_bytes) == (os.getpid(), "terminal", "Mine", 10)
        assert leases.others() == ()
    assert leases.all() == ()
    held.release()


def test_one_process_may_hold_two(folder: Path) -> None:
    leases = leases_with(folder, 1000)

    with leases.take("First", Path("1"), 10), leases.take("Second", Path("2"), 10):
        assert [seen.model_name for seen in leases.all()] == ["First", "Second"]


def test_a_model_that_does_not_fit_is_refused_with_both_figures(folder: Path) -> None:
    leases = leases_with(folder, GIBIBYTE)

    with pytest.raises(NotEnoughMemoryError) as raised:
        leases.take("Big", Path("big.gguf"), 8 * GIBIBYTE)

    assert raised.value.title == "There is not enough free memory for Big."
    assert "About 8.0 GiB are needed, 1.0 GiB are free." in raised.value.advice
    assert leases.all() == ()


def test_anyway_takes_the_lease_whatever_the_memory_says(folder: Path) -> None:
    with leases_with(folder, 0).take("Big", Path("big.gguf"), GIBIBYTE, anyway=True):
        assert len(read_leases(folder)) == 1


def test_another_process_is_named_when_it_is_in_the_way(folder: Path, holder: subprocess.Popen[str]) -> None:
    leases = leases_with(folder, 1000)

    with pytest.raises(ModelInUseError) as raised:
        leases.take("Mine", Path("mine.gguf"), 500)

    assert raised.value.title == "Other is in memory for the Snug window, and Mine does not fit beside it."
    assert f"process {holder.pid}" in raised.value.advice
    (other,) = leases.others()
    assert other.pid == holder.pid


def test_a_small_model_fits_beside_the_others(folder: Path, holder: subprocess.Popen[str]) -> None:
    with leases_with(folder, 1000).take("Mine", Path("mine.gguf"), 400):
        assert {seen.model_name for seen in read_leases(folder)} == {"Other", "Mine"}


def test_the_lease_of_a_killed_process_counts_for_nothing(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()

    with leases_with(folder, 1000).take("Mine", Path("mine.gguf"), 1000) as held:
        assert read_leases(folder) == (held.lease,)
    assert not list(folder.glob("*.lease"))


def test_the_lease_of_a_zombie_counts_for_nothing(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    deadline = time.monotonic() + 10
    while psutil.Process(holder.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # the system sends no news of it to anybody but wait(), which would reap it

    assert read_leases(folder) == ()


def test_another_process_with_the_same_number_is_not_the_holder(folder: Path) -> None:
    with leases_with(folder, 1000).take("Mine", Path("mine.gguf"), 1) as held:
        assert is_alive(held.lease)
        assert not is_alive(msgspec.structs.replace(held.lease, process_created_at=held.lease.process_created_at - 60))


def test_a_file_that_is_no_lease_is_removed(folder: Path) -> None:
    folder.mkdir()
    for number, text in enumerate((b"", b"{", b"[]", b'{"pid": "x"}', b"\xff")):
        (folder / f"{number}.lease").write_bytes(text)

    assert read_leases(folder) == ()
    assert not list(folder.glob("*.lease"))


def test_keys_of_a_newer_version_are_ignored(folder: Path) -> None:
    with leases_with(folder, 1000).take("Mine", Path("mine.gguf"), 1):
        (path,) = folder.glob("*.lease")
        raw = msgspec.json.decode(path.read_bytes()) | {"colour": "red"}
        path.write_bytes(msgspec.json.encode(raw))

        assert len(read_leases(folder)) == 1


def test_of_two_processes_that_ask_at_once_only_one_gets_it(folder: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder), "600", "1000"]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    # Whoever was refused ends by itself, so the answers can be collected while the winner still holds its lease.
    answers = [process.stdout.readline() for process in processes if process.stdout is not None]
    errors = [process.communicate("\n")[1] for process in processes]

    assert answers.count("held\n") == 1
    assert sum("ModelInUseError" in error for error in errors) == 3


def test_a_folder_that_cannot_be_written_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(EngineError, match="cannot note"):
        leases_with(tmp_path / "file" / "leases", 1000).take("Mine", Path("mine.gguf"), 1)


def test_memory_of_a_holders_children_is_counted_once() -> None:
    child_code = "x = bytearray(30 * 1024 * 1024); print('ready', flush=True); input()"
    command = [sys.executable, "-c", child_code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        mine = os.getpid()
        first, second = measure_holdings([lease(20 << 20, pid=mine), lease(1 << 40, pid=mine)])
        child.communicate("\n")

    assert first.counted_bytes == 20 << 20
    assert 10 << 20 <= second.counted_bytes < 1 << 30
    assert measure_holdings([lease(5, pid=2**22 - 3)])[0].counted_bytes == 0


def test_sizes_are_said_in_gibibytes() -> None:
    assert gibibytes(GIBIBYTE * 3 // 2) == "1.5 GiB"
    assert gibibytes(98_362_432) == "94 MiB"
