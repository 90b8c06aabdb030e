from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.base import LoadSettings, Usage
from engines.calibration_book import LOADS_KEPT, MAXIMUM_FILE_BYTES, REPLIES_KEPT, CalibrationBook
from engines.fit.values import Correction, Geometry, MemoryParts, ModelFacts, Placement, SpeedRange, Weights
from engines.hardware.detect import NO_BANDWIDTH
from engines.hardware.machine import Bandwidth, Machine, Processor

FACTS = ModelFacts(
    name="Small",
    engine="llama",
    quantization="Q4_1",
    geometry=Geometry(architecture="llama", layers=2, embedding_width=8, vocabulary=16, trained_context_tokens=2048),
    weights=Weights(total_bytes=900, exact=True),
    file_bytes=1000,
)
MACHINE = Machine(
    name="PC",
    system="linux",
    processor=Processor(name="Some Processor", architecture="x86_64"),
    memory_total_bytes=16 << 30,
    memory_available_bytes=12 << 30,
)
USAGE = Usage(generated_tokens=101, decode_seconds=12.5, context_used_tokens=200)
PREDICTED = SpeedRange(low=5, likely=10, high=12, source="prediction")

NOTE_MANY = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[3]).parent))
from test_calibration_book import FACTS, note_load
from engines.calibration_book import CalibrationBook

book = CalibrationBook(Path(sys.argv[1]))
for number in range(20):
    note_load(book, f"{sys.argv[2]}-{number}")
assert book.problem == "", book.problem
"""


def note_load(book: CalibrationBook, load_id: str = "one", measured_bytes: int = 1500) -> None:
    book.note_load(
        FACTS,
        MACHINE,
        LoadSettings(),
        load_id=load_id,
        predicted=Placement(main=MemoryParts(weights_bytes=1000)),
        measured_bytes=measured_bytes,
        context_tokens=2048,
    )


def note_reply(book: CalibrationBook) -> None:
    book.note_reply(FACTS, MACHINE, LoadSettings(), USAGE, decode=PREDICTED, prefill=None)


def full_book(path: Path) -> CalibrationBook:
    book = CalibrationBook.load(path)
    note_load(book)
    note_reply(book)
    return book


def test_what_was_noted_corrects_the_next_prediction_also_of_another_process(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "calibration.json"
    full_book(path)

    found = CalibrationBook.load(path).correction_for(FACTS, MACHINE)

    assert found == Correction(memory_extra_bytes=500, decode_factor=0.8, decode_measured=8.0, loads=1)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, ".calibration.lock"}


def test_a_peak_that_grows_is_still_one_load(tmp_path: Path) -> None:
    book = full_book(tmp_path / "calibration.json")
    note_load(book, measured_bytes=1800)

    assert [record.measured_bytes for record in book.records.loads] == [1800]


def test_the_file_holds_figures_and_no_name_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    full_book(path)

    content = json.loads(path.read_text(encoding="utf-8"))
    assert set(content) == {"format", "loads", "replies", "bandwidths"}
    assert content["loads"][0]["build"] == "llama:1000"
    assert "Small" not in path.read_text(encoding="utf-8")


def test_the_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    full_book(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["loads"] = [{**content["loads"][0], "id": str(number)} for number in range(10 * LOADS_KEPT)]
    content["replies"] *= 10 * REPLIES_KEPT
    path.write_text(json.dumps(content), encoding="utf-8")

    book = CalibrationBook.load(path)
    assert (len(book.records.loads), len(book.records.replies)) == (LOADS_KEPT, REPLIES_KEPT)
    note_load(book, "last")
    note_reply(book)

    assert [record.id for record in book.records.loads][-2:] == [str(10 * LOADS_KEPT - 1), "last"]
    assert (len(book.records.loads), len(book.records.replies)) == (LOADS_KEPT, REPLIES_KEPT)
    assert path.stat().st_size < MAXIMUM_FILE_BYTES / 4


def test_two_processes_that_note_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    command = [sys.executable, "-c", NOTE_MANY, str(path)]
    children = [subprocess.Popen([*command, name, __file__]) for name in ("a", "b")]
    assert [child.wait(60) for child in children] == [0, 0]

    assert len(CalibrationBook.load(path).records.loads) == 40


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "no object": lambda _: b"[1, 2]",
    "no text": lambda _: b"\xff\xfe\x00",
    "too long": lambda content: content + b" " * MAXIMUM_FILE_BYTES,
    "no format": lambda _: b'{"loads": []}',
    "too deep": lambda _: b'{"loads":' * 5000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_with_a_word(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "calibration.json"
    full_book(path)
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)

    book = CalibrationBook.load(path)

    (aside,) = tmp_path.glob("calibration.damaged-*.json")
    assert aside.read_bytes() == damaged
    assert book.problem.endswith(f"so it begins anew. The old file is now {aside.name}.")
    assert book.correction_for(FACTS, MACHINE) == Correction()
    note_load(book)
    assert CalibrationBook.load(path).correction_for(FACTS, MACHINE).loads == 1


def test_a_file_that_is_damaged_between_two_notes_costs_no_chat(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    book = full_book(path)
    path.write_bytes(b"{")
    note_reply(book)

    assert "set aside" not in book.problem and "begins anew" in book.problem
    note_reply(book)
    assert len(CalibrationBook.load(path).records.replies) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"measured_bytes": -1},
        {"measured_bytes": 1 << 62},
        {"predicted_bytes": "many"},
        {"build": "x" * 1000},
        {"machine": None},
    ],
    ids=str,
)
def test_a_single_wrong_record_costs_only_itself(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "calibration.json"
    full_book(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["loads"] += [{**content["loads"][0], "id": "wrong", **wrong}, 7]
    path.write_text(json.dumps(content), encoding="utf-8")

    book = CalibrationBook.load(path)

    assert [record.id for record in book.records.loads] == ["one"]
    assert book.problem == ""


def test_keys_of_a_later_version_are_no_mistake_but_a_later_format_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    full_book(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["loads"][0]["mood"] = "good"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert CalibrationBook.load(path).correction_for(FACTS, MACHINE).loads == 1

    newer = json.dumps({**content, "format": 2})
    path.write_text(newer, encoding="utf-8")
    book = CalibrationBook.load(path)
    note_load(book)

    assert book.problem.startswith("A newer Snug ")
    assert path.read_text(encoding="utf-8") == newer


def test_the_speed_of_memory_is_measured_until_it_is_sure_and_then_known(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    book = CalibrationBook.load(path)
    assert book.with_measured(MACHINE) == MACHINE
    for rate in (10, 30, 20):
        assert book.wants_bandwidth(MACHINE)
        book.note_bandwidth(MACHINE, Bandwidth(bytes_per_second=rate, source="measured", note="so"))

    known = CalibrationBook.load(path)
    assert not known.wants_bandwidth(MACHINE)
    assert known.with_measured(MACHINE).bandwidth == Bandwidth(bytes_per_second=30, source="measured", note="so")
    unknowing = replace(MACHINE, unknown=(NO_BANDWIDTH, "Other."))
    assert known.with_measured(unknowing).unknown == ("Other.",)


def test_a_speed_from_a_table_and_a_described_computer_need_no_measuring(tmp_path: Path) -> None:
    book = CalibrationBook.load(tmp_path / "calibration.json")
    book.note_bandwidth(MACHINE, Bandwidth(bytes_per_second=10, source="measured"))
    from_table = replace(MACHINE, bandwidth=Bandwidth(bytes_per_second=99, source="table"))
    profile = replace(MACHINE, memory_available_bytes=None)

    assert not book.wants_bandwidth(from_table) and not book.wants_bandwidth(profile)
    assert (book.with_measured(from_table), book.with_measured(profile)) == (from_table, profile)


def test_an_engine_that_this_version_lacks_is_no_error(tmp_path: Path) -> None:
    book = full_book(tmp_path / "calibration.json")

    assert book.correction_for(replace(FACTS, engine="of tomorrow"), MACHINE) == Correction()


def test_forgetting_empties_the_book_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    full_book(path)

    assert CalibrationBook.load(path).reset() == 1
    assert CalibrationBook.load(path).correction_for(FACTS, MACHINE) == Correction()
    assert CalibrationBook.load(path).reset() == 0


def test_reading_nothing_creates_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "profile"
    book = CalibrationBook.load(folder / "calibration.json")

    assert (book.reset(), book.problem) == (0, "")
    assert not folder.exists()


def test_what_cannot_be_written_is_said_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    book = CalibrationBook.load(tmp_path / "file" / "calibration.json")
    with caplog.at_level(logging.INFO):
        note_load(book)
        note_load(book)

    assert book.problem.startswith("What Snug learns about this computer cannot be saved (")
    assert len([record for record in caplog.records if "cannot be saved" in record.message]) <= 1


def test_what_cannot_be_read_is_said_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.mkdir()

    book = CalibrationBook.load(path)
    first = book.problem
    note_load(book)

    assert first.startswith("What Snug has learned about this computer cannot be read (")
    assert book.problem.startswith("What Snug learns about this computer cannot be saved (")
    assert path.is_dir()
