from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_call import FitCall, FitOptions
from desktop.commands.fit_subject import Candidate
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from engines.assessor import Assessor
from engines.base import LoadSettings
from engines.calibration_book import CalibrationBook
from engines.catalog import Catalog
from engines.fit.recommend import Recommendation
from engines.fit.values import ALONE, MemoryParts, ModelFacts, Placement, Wish
from engines.hardware.machine import Machine
from engines.lease import Leases


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def call(here: Machine, tmp_path: Path, output: io.StringIO) -> FitCall:
    return FitCall(
        terminal=Terminal(None, output, io.StringIO(), {}),
        paths=AppPaths.make(tmp_path),
        assessor=Assessor(Catalog(), here, CalibrationBook.load(tmp_path / "calibration.json")),
        leases=Leases(tmp_path / "leases", "terminal"),
        running=ALONE,
        wish=Wish(context_tokens=8192),
        options=FitOptions(),
        folder=tmp_path,
        table_width=80,
        text_width=80,
    )


def test_a_candidate_is_judged_as_wished_and_one_without_facts_is_not(call: FitCall, facts: ModelFacts) -> None:
    known = call.judge(Candidate("A", "Q4", "llama", facts))
    unknown = call.judge(Candidate("B", "Q4", "llama", None))

    assert known.verdict is not None and known.verdict.context_tokens == 8192
    assert unknown.verdict is None


def test_a_table_has_a_title_and_marks_the_recommended_build_only(
    call: FitCall, facts: ModelFacts, output: io.StringIO
) -> None:
    call.write_table("Known models", [call.judge(Candidate("A", "4bit", "mlx", replace(facts, engine="mlx")))])

    lines = output.getvalue().splitlines()
    assert lines[0] == "Known models" and lines[-1] == ""
    assert lines[2].startswith("  A ") and "4bit, MLX" in lines[2]


def test_the_json_has_the_correction_of_each_build(call: FitCall, facts: ModelFacts, output: io.StringIO) -> None:
    assert call.assessor.book is not None
    call.assessor.book.note_load(
        facts,
        call.machine,
        LoadSettings(),
        load_id="x",
        predicted=Placement(main=MemoryParts(weights_bytes=1000)),
        measured_bytes=1500,
        context_tokens=8192,
    )
    answers = [call.judge(Candidate("A", "Q4", "llama", facts)), call.judge(Candidate("B", "Q4", "llama", None))]

    call.write_json(
        answers,
        chosen=0,
        recommendation=Recommendation(None, "None.", ()),
        notes=["said", ""],
        status=ExitCode.DOES_NOT_FIT,
    )

    raw = json.loads(output.getvalue())
    assert (raw["status"], raw["chosen"], raw["notes"]) == (7, 0, ["said"])
    assert raw["recommendation"] == {"model_id": "", "build": "", "engine": "", "reason": "None."}
    assert [build["correction"]["memory_extra_bytes"] for build in raw["builds"]] == [500, 0]
    assert raw["builds"][1]["verdict"] is None
    assert raw["load"] is None and raw["wish"]["context_tokens"] == 8192
