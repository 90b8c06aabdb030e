"""What was learned on this computer, in one small JSON file that window and terminals share.

Reading is lenient and writing never fails for its caller: a chat must not end because a disk is full. What was wrong is
in `problem`, in words. What the records mean is decided by `engines.fit.calibration`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engines.base import LoadSettings, Usage
from engines.fit import calibration
from engines.fit.calibration import BandwidthRecord, LoadRecord, Records, ReplyRecord, machine_key, measured_bandwidths
from engines.fit.values import Correction, ModelFacts, Placement, SpeedRange
from engines.hardware.detect import NO_BANDWIDTH
from engines.hardware.machine import Bandwidth, Machine
from engines.registry import ENGINES, library_version
from engines.shared_files import locked, write_whole

FORMAT = 1
LOADS_KEPT = 100
REPLIES_KEPT = 200
BANDWIDTHS_KEPT = 20
MEASUREMENTS_WANTED = 3
"""Of memory's speed. One may have been taken beside other work; the best of three hardly is."""
MAXIMUM_FILE_BYTES = 1024 * 1024
"""Ten times what the records kept can take; more was not written by Snug."""

logger = logging.getLogger(__name__)

Record = TypeVar("Record", LoadRecord, ReplyRecord, BandwidthRecord)


class _DamagedError(Exception):
    """The file is not what Snug writes."""


class _NewerError(Exception):
    """A newer Snug wrote the file."""


class CalibrationBook:
    """The records of this profile. Any thread may use it; two processes that note at once lose nothing."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.records = Records()
        self.problem = ""
        """What is wrong with the file, as a sentence for people; empty when nothing is."""
        self._clock = clock
        self._versions: dict[str, str | None] = {}

    @classmethod
    def load(cls, path: Path) -> CalibrationBook:
        """The book at `path`; empty where there is none. A damaged file is set aside, and `problem` says so."""
        book = cls(path)
        book.read()
        return book

    def read(self) -> None:
        """Reads what other processes have noted meanwhile."""
        try:
            self.records = _read(self.path)
        except OSError as error:
            self._complain(f"What Snug has learned about this computer cannot be read ({error.strerror}).")
        except _NewerError:
            self._complain("A newer Snug has noted what it learned about this computer; this one leaves it alone.")
        except _DamagedError as error:
            self.records = Records()
            self._set_aside(str(error))

    def correction_for(self, facts: ModelFacts, machine: Machine, settings: LoadSettings | None = None) -> Correction:
        """What was learned for this build on this computer; neutral where nothing was. See `calibration.correction`."""
        return calibration.correction(
            self.records, facts, machine, library_version=self._version_of(facts.engine), settings=settings
        )

    def _version_of(self, engine_id: str) -> str | None:
        """The installed version of an engine's library; None for an engine that this version of Snug lacks.

        Looked up once: it costs milliseconds, and a slider asks on every move.
        """
        if engine_id not in self._versions:
            infos = (info for info in ENGINES if info.id == engine_id)
            self._versions[engine_id] = next((library_version(info) for info in infos), None)
        return self._versions[engine_id]

    def note_load(
        self,
        facts: ModelFacts,
        machine: Machine,
        settings: LoadSettings,
        *,
        load_id: str,
        predicted: Placement,
        measured_bytes: int,
        context_tokens: int,
    ) -> None:
        """A model is, or was, in memory. `load_id` names the load; a later note of the same one replaces the earlier.

        `predicted` must be the prediction without any correction, else a correction would correct itself.
        """
        record = calibration.load_record(
            facts,
            machine,
            settings,
            load_id=load_id,
            at=self._clock(),
            library_version=self._version_of(facts.engine),
            predicted=predicted,
            measured_bytes=measured_bytes,
            context_tokens=context_tokens,
        )

        def add(records: Records) -> Records:
            others = tuple(known for known in records.loads if known.id != load_id)
            return replace(records, loads=(*others, record)[-LOADS_KEPT:])

        self._change(add)

    def note_reply(
        self,
        facts: ModelFacts,
        machine: Machine,
        settings: LoadSettings,
        usage: Usage,
        *,
        decode: SpeedRange | None,
        prefill: SpeedRange | None,
    ) -> None:
        """A reply has ended. `decode` and `prefill` are the speeds as predicted without any correction."""
        record = calibration.reply_record(
            facts,
            machine,
            settings,
            at=self._clock(),
            library_version=self._version_of(facts.engine),
            usage=usage,
            decode=decode,
            prefill=prefill,
        )
        if record is not None:
            self._change(lambda records: replace(records, replies=(*records.replies, record)[-REPLIES_KEPT:]))

    def with_measured(self, machine: Machine) -> Machine:
        """The machine with the speed of its memory as it was measured here, where no table knows it, and without
        the sentence that it is not known.
        """
        found = measured_bandwidths(self.records, machine)
        if machine.is_profile or machine.bandwidth is not None or not found:
            return machine
        unknown = tuple(sentence for sentence in machine.unknown if sentence != NO_BANDWIDTH)
        return replace(machine, bandwidth=found[0], unknown=unknown)

    def wants_bandwidth(self, machine: Machine) -> bool:
        """Whether the speed of this machine's memory should be measured, and noted, once more."""
        if machine.is_profile or machine.bandwidth is not None:
            return False
        return len(measured_bandwidths(self.records, machine)) < MEASUREMENTS_WANTED

    def note_bandwidth(self, machine: Machine, bandwidth: Bandwidth) -> None:
        """The speed of this machine's memory was measured."""
        record = BandwidthRecord(
            at=self._clock(),
            machine=machine_key(machine),
            bytes_per_second=bandwidth.bytes_per_second,
            note=bandwidth.note[:300],
        )
        self._change(lambda records: replace(records, bandwidths=(*records.bandwidths, record)[-BANDWIDTHS_KEPT:]))

    def reset(self) -> int:
        """Forgets everything; answers how many loads were known."""
        self.read()
        forgotten = len(self.records.loads)
        if self.records != Records():
            self._change(lambda _: Records())
        return forgotten

    def _change(self, change: Callable[[Records], Records]) -> None:
        """Reads, changes and writes while no other process does."""
        try:
            with locked(self.path.parent, f".{self.path.stem}.lock"):
                self.records = change(_read(self.path))
                write_whole(self.path, _encoded(self.records))
        except OSError as error:
            self._complain(f"What Snug learns about this computer cannot be saved ({error.strerror}).")
        except _NewerError:
            self._complain("A newer Snug has noted what it learned about this computer; this one leaves it alone.")
        except _DamagedError as error:
            self._set_aside(str(error))

    def _set_aside(self, reason: str) -> None:
        target = self.path.with_name(f"{self.path.stem}.damaged-{int(self._clock())}{self.path.suffix}")
        try:
            self.path.replace(target)
        except OSError as error:
            self._complain(f"What Snug had learned about this computer is damaged and stays ({error.strerror}).")
            return
        self._complain(
            f"What Snug had learned about this computer could not be understood, so it begins anew. "
            f"The old file is now {target.name}.",
            reason,
        )

    def _complain(self, sentence: str, reason: str = "") -> None:
        if sentence != self.problem:  # once, not with every reply
            logger.info("%s %s", sentence, reason)
        self.problem = sentence


def _encoded(records: Records) -> bytes:
    content = {"format": FORMAT, **msgspec.to_builtins(records)}
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def _read(path: Path) -> Records:
    """What is in the file. Raises OSError, _NewerError, _DamagedError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_FILE_BYTES + 1)
    except FileNotFoundError:
        return Records()
    if len(content) > MAXIMUM_FILE_BYTES:
        raise _DamagedError(f"more than {MAXIMUM_FILE_BYTES:,} bytes")
    try:
        raw = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _DamagedError(str(error)) from None
    version = raw.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise _NewerError
    if version != FORMAT:
        raise _DamagedError(f"format is {version!r}")
    return Records(
        loads=_sound(raw.get("loads"), LoadRecord)[-LOADS_KEPT:],
        replies=_sound(raw.get("replies"), ReplyRecord)[-REPLIES_KEPT:],
        bandwidths=_sound(raw.get("bandwidths"), BandwidthRecord)[-BANDWIDTHS_KEPT:],
    )


def _sound(raw: object, kind: type[Record]) -> tuple[Record, ...]:
    """The records that can be understood; a single bad one costs only itself."""
    found: list[Record] = []
    for entry in raw if isinstance(raw, list) else ():
        try:
            found.append(msgspec.convert(entry, kind))
        except msgspec.ValidationError as error:
            logger.info("a record of the calibration is left out: %s", error)
    return tuple(found)
