from __future__ import annotations

from dataclasses import replace

import pytest

from desktop.commands.fit_table import UNLIMITED_WIDTH, TableRow, table
from desktop.commands.fit_text import display_width, rate
from engines.fit.sizes import gigabytes
from engines.fit.values import Correction, ModelFacts, Wish
from engines.fit.verdict import judge
from engines.hardware.machine import Machine


@pytest.fixture
def rows(facts: ModelFacts, here: Machine) -> list[TableRow]:
    huge = replace(facts, weights=replace(facts.weights, total_bytes=10**11), file_bytes=10**11)
    wish = Wish(context_tokens=8192)
    return [
        TableRow("Middle 5B", "Q4_K_M", 3 * 10**9, judge(facts, here, wish), marked=True),
        TableRow("中等模型", "Q4_K_M", 3 * 10**9, judge(facts, here, wish, correction=Correction(decode_measured=9.5))),
        TableRow("A huge model with a rather long name", "Q8_0", 10**11, judge(huge, here, wish)),
        TableRow("Unknown", "BF16", None, None),
    ]


def test_every_build_has_its_verdict_context_speed_and_memory(rows: list[TableRow]) -> None:
    lines = list(table(rows, UNLIMITED_WIDTH))

    assert lines[0].split("  ")[0] == "Model"
    assert lines[1].startswith("* Middle 5B ") and lines[2].startswith("  中等模型 ")
    verdict = rows[0].verdict
    assert verdict is not None and verdict.decode is not None
    needed = gigabytes(verdict.pools[0].needed_bytes).split()
    assert lines[1].split()[-7:] == ["3.0", "GB", "fits", "8,192", f"~{rate(verdict.decode.likely)}", *needed]
    assert lines[2].split()[-3:] == ["9.5", *needed]
    assert "cannot" in lines[3] and "8,192" not in lines[3]
    assert lines[4].split() == ["Unknown", "BF16", "?", "not", "known"]


def test_no_memory_is_shown_where_more_of_it_would_not_help(facts: ModelFacts, here: Machine) -> None:
    refused = judge(replace(facts, unsupported="It is a poem."), here)
    huge = judge(replace(facts, weights=replace(facts.weights, total_bytes=10**11), file_bytes=10**11), here)
    rows = [
        TableRow("Poem", "Q4_K_M", 3 * 10**9, refused, has_engine=False),
        TableRow("Combination", "Q4_K_M", 3 * 10**9, refused),
        TableRow("Sizeless", "4bit", None, huge),
        TableRow("Huge", "4bit", 10**11, huge),
    ]

    lines = [line.split() for line in list(table(rows, UNLIMITED_WIDTH))[1:]]

    assert lines[0] == ["Poem", "Q4_K_M", "3.0", "GB", "no", "engine"]
    assert lines[1] == ["Combination", "Q4_K_M", "3.0", "GB", "refused"]
    assert lines[2] == ["Sizeless", "4bit", "?", "cannot"]
    assert lines[3] == ["Huge", "4bit", "100", "GB", "cannot", *gigabytes(huge.pools[0].needed_bytes).split()]


def test_columns_stand_below_each_other_also_with_chinese_names(rows: list[TableRow]) -> None:
    lines = list(table(rows, UNLIMITED_WIDTH))
    place = display_width(lines[0][: lines[0].index("Verdict")])

    assert [display_width(line[: line.index("fits")]) for line in lines[1:3]] == [place, place]


@pytest.mark.parametrize("width", [100, 80, 70, 60, 50])
def test_a_narrow_terminal_gets_fewer_columns_and_no_broken_line(rows: list[TableRow], width: int) -> None:
    lines = list(table(rows, width))

    assert max(display_width(line) for line in lines) <= width
    assert all("Verdict" in lines[0] and word in lines[0] for word in ("Model", "Context"))
    assert "fits" in lines[1]


def test_in_a_pipe_nothing_is_cut(rows: list[TableRow]) -> None:
    assert any("A huge model with a rather long name" in line for line in table(rows, UNLIMITED_WIDTH))
    assert any("…" in line for line in table(rows, 60))
