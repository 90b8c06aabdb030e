"""Who holds a model in memory now: window and terminal at the same time, without knowing of each other.

One small JSON file for each model in memory, in a folder that all Snug processes of a user share. A file whose
process is gone counts for nothing and is removed by whoever reads it. This module decides and says who holds what; it
neither starts engines nor frees memory.

    with leases.take("SmolLM2", path, needed_bytes=...) as lease:   # raises when it does not fit
        ...
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, assert_never

import msgspec
import psutil

from engines.errors import EngineError, ModelInUseError, NotEnoughMemoryError
from engines.memory import GIBIBYTE, MEBIBYTE, Memory, read_memory
from engines.shared_files import locked, write_whole

Program = Literal["window", "terminal"]

_SUFFIX = ".lease"
_CLOCK_TOLERANCE_SECONDS = 2.0
"""The system computes a process's start from the boot time, which moves a little when the clock is set."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """One model in memory, as written to disk. Unknown keys are ignored: another version may know more."""

    pid: int
    """The Snug process that the engine process belongs to."""
    process_created_at: float
    program: Program
    model_name: str
    model_path: str
    size_bytes: int
    """How much memory is counted for it."""
    taken_at: float


@dataclass(frozen=True, slots=True)
class Holding:
    """A lease of another process, and how much of it the system's "available" leaves out already."""

    lease: Lease
    counted_bytes: int = 0

    @property
    def outstanding_bytes(self) -> int:
        """What its holder still takes, or holds in a way that the system calls available (mapped file pages)."""
        return max(0, self.lease.size_bytes - self.counted_bytes)


@dataclass(frozen=True, slots=True)
class Free:
    """There is room."""


@dataclass(frozen=True, slots=True)
class InUse:
    """There would be room without `holder`, the largest of those in the way."""

    holder: Lease
    free_bytes: int


@dataclass(frozen=True, slots=True)
class TooLarge:
    """There would be no room even if every other Snug process let go."""

    free_bytes: int


Decision = Free | InUse | TooLarge


def decide(needed_bytes: int, available_bytes: int, others: Sequence[Holding]) -> Decision:
    """Whether a model fits beside those that others hold. Pure: the same figures give the same answer."""
    free_bytes = max(0, available_bytes - sum(holding.outstanding_bytes for holding in others))
    if needed_bytes <= free_bytes:
        return Free()
    given_back = available_bytes + sum(min(holding.counted_bytes, holding.lease.size_bytes) for holding in others)
    if others and needed_bytes <= given_back:
        return InUse(max(others, key=lambda holding: holding.lease.size_bytes).lease, free_bytes)
    return TooLarge(free_bytes)


class HeldLease:
    """A lease of this process. Ends with `release()` or the `with` block; harmless to end twice."""

    def __init__(self, lease: Lease, path: Path) -> None:
        self.lease = lease
        self._path = path

    def release(self) -> None:
        """Says that the model is no longer in memory."""
        _remove(self._path)

    def __enter__(self) -> HeldLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Leases:
    """The shared folder of leases, seen from this process."""

    def __init__(self, directory: Path, program: Program, *, memory_now: Callable[[], Memory] = read_memory) -> None:
        self._directory = directory
        self._program: Program = program
        self._memory_now = memory_now

    def take(self, model_name: str, model_path: Path, needed_bytes: int, *, anyway: bool = False) -> HeldLease:
        """Notes that this process is about to load a model.

        `anyway` takes the lease whatever the memory says. Two processes that ask at once are answered one after the
        other. Leases of this very process are not looked at: give back the old model first.

        Raises: ModelInUseError, NotEnoughMemoryError; EngineError when the folder cannot be written.
        """
        lease = Lease(
            pid=os.getpid(),
            process_created_at=psutil.Process().create_time(),
            program=self._program,
            model_name=model_name,
            model_path=str(model_path),
            size_bytes=needed_bytes,
            taken_at=time.time(),
        )
        try:
            with locked(self._directory):
                if not anyway:
                    self._require_room(model_name, needed_bytes)
                return HeldLease(lease, _write(self._directory, lease))
        except OSError as error:
            raise EngineError(
                "Snug cannot note that a model is in use.",
                f"Make sure that the folder {self._directory} can be written to and that the disk is not full.",
                str(error),
            ) from None

    def others(self) -> tuple[Lease, ...]:
        """What other living processes hold, the oldest first."""
        return tuple(lease for lease in self.all() if lease.pid != os.getpid())

    def all(self) -> tuple[Lease, ...]:
        """What living processes hold, this one included. Removes what dead ones left behind."""
        return read_leases(self._directory)

    def _require_room(self, model_name: str, needed_bytes: int) -> None:
        available_bytes = self._memory_now().available_bytes
        decision = decide(needed_bytes, available_bytes, measure_holdings(self.others()))
        match decision:
            case Free():
                return
            case InUse(holder, free_bytes):
                raise in_use_error(model_name, needed_bytes, free_bytes, holder)
            case TooLarge(free_bytes):
                raise not_enough_error(model_name, needed_bytes, free_bytes)
            case _:
                assert_never(decision)


def read_leases(directory: Path) -> tuple[Lease, ...]:
    """The leases of living processes, the oldest first; files of dead ones and unreadable files are removed."""
    living: list[Lease] = []
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        try:
            lease = msgspec.json.decode(path.read_bytes(), type=Lease)
        except FileNotFoundError:
            continue  # given back in this moment
        except (OSError, msgspec.MsgspecError):
            _remove(path)  # files appear whole, so this one is nobody's
            continue
        if is_alive(lease):
            living.append(lease)
        else:
            _remove(path)
    return tuple(sorted(living, key=lambda lease: (lease.taken_at, lease.pid)))


def is_alive(lease: Lease) -> bool:
    """The process that took the lease still runs: the same number alone may be another process by now."""
    try:
        process = psutil.Process(lease.pid)
        created_at = process.create_time()
        ended = process.status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    except psutil.AccessDenied:
        return True  # somebody is there; taking it for dead would be the dangerous mistake
    return not ended and abs(created_at - lease.process_created_at) <= _CLOCK_TOLERANCE_SECONDS


def measure_holdings(leases: Sequence[Lease]) -> tuple[Holding, ...]:
    """Each lease with the memory that its process's children take by now and that "available" leaves out."""
    left_bytes = {pid: _children_bytes(pid) for pid in {lease.pid for lease in leases}}
    holdings: list[Holding] = []
    for lease in leases:
        counted_bytes = min(left_bytes[lease.pid], lease.size_bytes)
        left_bytes[lease.pid] -= counted_bytes
        holdings.append(Holding(lease, counted_bytes))
    return tuple(holdings)


def in_use_error(model_name: str, needed_bytes: int, free_bytes: int, holder: Lease) -> ModelInUseError:
    """The sentence for a model that would fit if another Snug process let go of its own."""
    where = "the Snug window" if holder.program == "window" else "Snug in a terminal"
    return ModelInUseError(
        f"{holder.model_name} is in memory for {where}, and {model_name} does not fit beside it.",
        f"Eject the model there or close it (process {holder.pid}), or choose a smaller model here. "
        f"About {gibibytes(needed_bytes)} are needed, {gibibytes(free_bytes)} are free.",
        f"needed {needed_bytes} bytes (estimate), free {free_bytes} bytes; "
        f"held by process {holder.pid} ({holder.program}): {holder.size_bytes} bytes for {holder.model_path}",
    )


def not_enough_error(model_name: str, needed_bytes: int, free_bytes: int) -> NotEnoughMemoryError:
    """The sentence for a model that does not fit now, whatever other Snug processes do."""
    return NotEnoughMemoryError(
        f"There is not enough free memory for {model_name}.",
        f"About {gibibytes(needed_bytes)} are needed, {gibibytes(free_bytes)} are free. "
        "Close other programs or choose a smaller model.",
        f"needed {needed_bytes} bytes (estimate), free {free_bytes} bytes",
    )


def gibibytes(size_bytes: int) -> str:
    """A size for a sentence: "0.6 GiB", and MiB below a tenth."""
    if size_bytes < GIBIBYTE // 10:
        return f"{size_bytes / MEBIBYTE:.0f} MiB"
    return f"{size_bytes / GIBIBYTE:.1f} GiB"


def _children_bytes(pid: int) -> int:
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:  # gone, or not ours to look at: then nothing of it is known to be counted
        return 0
    return sum(_unavailable_bytes(child) for child in children)


def _unavailable_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    if sys.platform == "linux":
        return max(0, int(memory.rss) - int(memory.shared))  # mapped file pages count as available there
    else:  # noqa: RET505 - mypy reads the branches of a platform apart only in this form
        return int(memory.rss)


def _write(directory: Path, lease: Lease) -> Path:
    path = directory / f"{lease.pid}-{uuid.uuid4().hex}{_SUFFIX}"
    write_whole(path, msgspec.json.format(msgspec.json.encode(lease), indent=2))
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # somebody else reads or removes it now; it is looked at again next time
