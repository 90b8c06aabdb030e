"""The sum behind a verdict."""

from __future__ import annotations

import pytest

from desktop.core.figures import size_words
from desktop.pages.models.explanation import explanation, source_words
from desktop.services.assessing import assess, judge_at
from desktop.services.fit_values import BuildFit
from desktop.widgets.explain_panel import Explanation
from engines.assessor import Assessor
from engines.catalog import load_catalog
from engines.fit.values import TERMS, Running
from engines.hardware.machine import Machine
from engines.hardware.profiles import find_profile


def is_example(fit: BuildFit, kind: str) -> bool:
    """Of this kind, and because of memory."""
    verdict = fit.verdict
    fits = kind != "cannot"
    return verdict is not None and verdict.kind == kind and all(pool.fits for pool in verdict.pools) == fits


def explained(profile_id: str, *, kind: str, tokens: int = 8192) -> tuple[Explanation, BuildFit, Assessor]:
    assessor = Assessor(load_catalog(), find_profile(profile_id))
    models = assess(assessor, (), Running()).models
    fit = next(build for model in models for build in model.builds if is_example(build, kind))
    assert fit.facts is not None
    assert fit.verdict is not None
    at_context, sum_ = judge_at(assessor, fit.facts, tokens, Running())
    verdict = fit.verdict if kind == "cannot" else at_context
    return explanation(fit, verdict, sum_, assessor.machine, "Model"), fit, assessor


def test_every_term_of_the_sum_is_there() -> None:
    told, fit, assessor = explained("mac-mini-m4-16", kind="fits")
    assert fit.facts is not None
    _, sum_ = judge_at(assessor, fit.facts, 8192, Running())
    needs = told.sections[0]
    assert needs.title == "What it needs"
    present = [name for name in TERMS if getattr(sum_.placement.main, name)]
    assert len(needs.rows) == len(present) + 1
    assert needs.rows[-1].figure == size_words(sum_.placement.main.total_bytes)
    assert needs.rows[-1].is_total
    assert told.title == "How this is calculated for Model"


def test_every_limit_is_there_with_what_is_left() -> None:
    told, _, _ = explained("mac-mini-m4-16", kind="fits")
    titles = [section.title for section in told.sections]
    assert titles[:3] == ["What it needs", "What this computer has", "What the GPU may use of it"]
    memory = told.sections[1]
    assert memory.rows[0].note == "sold as 16 GB"
    assert [row.label for row in memory.rows if row.is_total] == ["Left over"]
    gigabytes = {row.label: float(row.figure.split()[0]) for row in memory.rows}
    rest = gigabytes["Memory"] - gigabytes["Kept free"] - gigabytes["The system itself"]
    assert rest == pytest.approx(gigabytes["Snug may use"], abs=0.15), "the sum adds up"
    assert memory.rows[-1].tone == "ok"
    assert any(row.note.startswith("assumed") for row in memory.rows)


def test_other_apps_are_named_only_where_this_moment_is_spoken_of(computer: Machine) -> None:
    catalog = load_catalog()
    for machine, is_named in ((computer, True), (find_profile("mac-mini-m4-16"), False)):
        assessor = Assessor(catalog, machine)
        models = assess(assessor, (), Running()).models
        fit = next(build for model in models for build in model.builds if is_example(build, "fits"))
        assert fit.facts is not None
        verdict, sum_ = judge_at(assessor, fit.facts, 8192, Running())
        told = explanation(fit, verdict, sum_, machine, "Model")
        labels = [row.label for section in told.sections for row in section.rows]
        assert ("Snug may use right now" in labels) == is_named
        assert ("Other apps" in labels) == is_named


def test_a_refusal_says_what_is_missing() -> None:
    told, fit, _ = explained("pc-16", kind="cannot")
    assert told.title == "Why Model cannot run here"
    assert fit.verdict is not None
    assert told.reasons == fit.verdict.reasons
    missing = [row for section in told.sections for row in section.rows if row.label == "Missing"]
    assert missing
    assert missing[0].tone == "no"


def test_card_and_main_memory_are_two_sums() -> None:
    told, _, _ = explained("pc-nvidia-12", kind="fits")
    titles = [section.title for section in told.sections]
    assert titles[:2] == ["Needed on the graphics card", "Needed in main memory"]
    assert "What the graphics card has" in titles


def test_source_of_the_figures_is_said() -> None:
    told, fit, assessor = explained("mac-mini-m4-16", kind="fits")
    assert told.source.startswith("A prediction for a computer that Snug has not seen.")
    assert "Calculated from the catalogue" in told.source
    assert source_words(fit, "arithmetic", assessor.machine) == "Predicted for another computer"


def test_source_on_this_computer(computer) -> None:  # type: ignore[no-untyped-def]
    _, fit, _ = explained("mac-mini-m4-16", kind="fits")
    words = {source: source_words(fit, source, computer) for source in ("arithmetic", "dry_run", "measured")}  # type: ignore[arg-type]
    assert words == {
        "arithmetic": "Calculated from the catalogue",
        "dry_run": "Checked with the engine",
        "measured": "Measured on this computer",
    }


def test_speed_has_its_range_and_where_it_comes_from() -> None:
    told, _, _ = explained("mac-mini-m4-16", kind="fits")
    speeds = next(section for section in told.sections if section.title == "How fast")
    assert "tokens/s" in speeds.rows[0].figure
    assert speeds.rows[0].note != ""
