from __future__ import annotations

import sys
import time
from pathlib import Path

from engines.hardware.asking import complete_lines, find_program, read_bytes, read_number, read_text, run_program


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert read_text(tmp_path / "nothing") == ""
    assert read_text(tmp_path) == ""
    assert read_bytes(tmp_path / "nothing") == b""
    assert read_number(tmp_path / "nothing") is None
    assert read_text(Path("a\0b")) == ""


def test_a_number_stands_alone(tmp_path: Path) -> None:
    file = tmp_path / "figure"
    for text, figure in {"25165824\n": 25165824, "": None, "-1": None, "1 2": None, "٣": None, "9" * 40: None}.items():
        file.write_text(text, encoding="utf-8")
        assert read_number(file) == figure


def test_text_that_is_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"a\xff\xfeb")
    assert read_text(tmp_path / "bytes").startswith("a")


def test_a_program_answers() -> None:
    assert run_program([sys.executable, "-c", "print('yes'); raise SystemExit(3)"]).strip() == "yes"


def test_a_program_that_is_missing_or_hangs_answers_nothing() -> None:
    assert run_program(["no-such-program-anywhere"]) == ""
    assert find_program("no-such-program-anywhere") is None
    started_at = time.monotonic()
    assert run_program([sys.executable, "-c", "import time; print('x', flush=True); time.sleep(60)"], 0.3) == ""
    assert time.monotonic() - started_at < 30


def test_half_a_line_is_no_line() -> None:
    assert complete_lines("a: 1\r\nb: 22\nc: 3") == ["a: 1", "b: 22"]
    assert complete_lines("") == []
