from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from desktop.commands.fit_load import LoadTrial, comparison, dangers, load_and_compare
from desktop.commands.fit_report import LoadReport
from desktop.commands.model_fit import AssessorNow, ModelFit
from desktop.commands.terminal import Terminal
from engines.calibration_book import CalibrationBook
from engines.catalog import load_catalog
from engines.errors import ModelFileError
from engines.fit.calibration import LEAST_GENERATED_TOKENS, LEAST_READ_TOKENS
from engines.fit.values import ModelFacts
from engines.fit.verdict import judge
from engines.hardware.profiles import find_profile
from engines.lease import Leases, read_leases
from engines.library import describe_file
from engines.load_planning import LoadWish

REPORT = LoadReport(
    predicted_memory_bytes=2_000_000_000,
    measured_memory_bytes=1_900_000_000,
    predicted_decode=80.0,
    measured_decode=60.0,
    predicted_prefill=None,
    measured_prefill=400.0,
    context_tokens=8192,
    load_seconds=1.25,
    noted=True,
)


def trial_of(path: Path, folder: Path) -> tuple[LoadTrial, CalibrationBook]:
    catalog = load_catalog()
    book = CalibrationBook.load(folder / "calibration.json")
    leases = Leases(folder / "leases", "terminal")
    model = describe_file(path, catalog)
    wish = LoadWish(context_tokens=1024, threads=1)
    fit = ModelFit(model, AssessorNow(catalog, book, folder), leases, wish, book)
    terminal = Terminal(None, io.StringIO(), io.StringIO(), {})
    return LoadTrial(terminal, leases, model, fit, anyway=False), book


@pytest.mark.model
def test_a_real_load_is_measured_beside_its_prediction_and_noted(smollm2_path: Path, tmp_path: Path) -> None:
    trial, book = trial_of(smollm2_path, tmp_path)

    report = load_and_compare(trial)

    assert report is not None and report.noted
    assert report.context_tokens == 1024
    # The engine process holds the mapped file and more; the prediction errs upward (issue 3: at most 10 % or 100 MB).
    assert 100_000_000 < report.measured_memory_bytes < report.predicted_memory_bytes + 32_000_000
    assert report.predicted_memory_bytes < report.measured_memory_bytes + 100_000_000
    assert report.measured_decode is not None and report.measured_prefill is not None
    (load,), (reply,) = book.records.loads, book.records.replies
    assert (load.predicted_bytes, load.measured_bytes) == (
        report.predicted_memory_bytes,
        report.measured_memory_bytes,
    )
    assert (reply.decode_measured, reply.prefill_measured) == (report.measured_decode, report.measured_prefill)
    assert reply.depth_tokens >= LEAST_READ_TOKENS + LEAST_GENERATED_TOKENS
    assert read_leases(tmp_path / "leases") == ()


def test_a_file_that_is_no_model_ends_the_trial_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "noise.gguf"
    path.write_bytes(b"no model" * 100)
    trial, book = trial_of(path, tmp_path)

    with pytest.raises(ModelFileError):
        load_and_compare(trial)

    assert book.records.loads == ()
    assert read_leases(tmp_path / "leases") == ()


def test_predicted_and_measured_stand_side_by_side() -> None:
    lines = list(comparison(REPORT, width=80))

    assert lines[0].split() == ["predicted", "measured"]
    assert lines[1].split() == ["peak", "memory", "2.0", "GB", "1.9", "GB", "-5%"]
    assert lines[2].split() == ["writes", "~80/s", "60/s", "-25%"]
    assert lines[3].split() == ["reads", "?", "400/s"]
    assert lines[4].split() == ["loaded", "in", "1.2", "s"]
    assert "without what earlier loads taught" in " ".join(lines[5:])


def test_what_may_happen_is_said_before_it_does(facts: ModelFacts) -> None:
    huge = replace(facts, weights=replace(facts.weights, total_bytes=10**11), file_bytes=10**11)
    verdict = judge(huge, find_profile("mac-mini-m4-16"))

    lines = list(dangers("Giant", verdict, width=50))
    said = " ".join(line.strip() for line in lines)

    assert max(map(len, lines)) <= 50

    assert said.startswith("Giant does not fit. With a context of 4,096 tokens it needs 10")
    assert "unsaved work in them is lost" in said
    assert "the GPU may refuse the work" in said
