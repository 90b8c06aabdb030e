"""Which models the list shows, and what their rows say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from desktop.pages.models.entries import MOST_RECOMMENDED, in_segment, matching, row_state, segments
from desktop.services.assessing import assess
from desktop.services.fit_values import Assessment
from engines.assessor import Assessor
from engines.catalog import load_catalog
from engines.fit.values import Running, SpeedRange
from engines.hardware.machine import Machine
from engines.hardware.profiles import find_profile
from engines.library import describe_file


@pytest.fixture(scope="module")
def mac() -> Assessment:
    return assess(Assessor(load_catalog(), find_profile("mac-mini-m4-16")), (), Running())


@pytest.fixture
def with_file(computer: Machine, tmp_path: Path, write_model: Callable[..., Path]) -> Assessment:
    catalog = load_catalog()
    file = describe_file(write_model(tmp_path / "mine-Q4_K_M.gguf"), catalog)
    return assess(Assessor(catalog, computer), (file,), Running())


def test_recommended_list_is_short_runs_and_begins_with_the_choice(mac: Assessment) -> None:
    models = in_segment(mac, "recommended")
    assert 1 < len(models) <= MOST_RECOMMENDED
    assert models[0].id == mac.recommended_id
    assert all(model.best_build.verdict is not None and model.best_build.verdict.kind != "cannot" for model in models)


def test_all_and_installed(mac: Assessment, with_file: Assessment) -> None:
    assert {model.id for model in in_segment(mac, "all")} == {model.id for model in mac.models}
    assert in_segment(mac, "installed") == ()
    (mine,) = in_segment(with_file, "installed")
    assert mine.name == "mine-Q4_K_M"
    assert [(segment.id, segment.count) for segment in segments(with_file)] == [
        ("recommended", None),
        ("installed", 1),
        ("all", len(with_file.models)),
    ]


def test_before_anything_is_judged_there_are_no_counts() -> None:
    assert [segment.count for segment in segments(None)] == [None, None, None]


def test_search_finds_every_word_anywhere(mac: Assessment, with_file: Assessment) -> None:
    models = in_segment(mac, "all")
    assert matching(models, "  ") == models
    assert {model.name for model in matching(models, "gemma 12b")} == {"Gemma 4 12B"}
    assert matching(models, "gemma qwen") == ()
    assert matching(models, "GEMMA") == matching(models, "gemma")
    assert [model.name for model in matching(with_file.models, "mine-q4")] == ["mine-Q4_K_M"]


def test_recommended_row_gives_its_reason_when_it_is_open(mac: Assessment) -> None:
    model = in_segment(mac, "recommended")[0]
    closed, opened = row_state(model, mac, None), row_state(model, mac, None, is_open=True)
    assert closed.mark == opened.mark == "Recommended"
    assert closed.reason == ""
    assert opened.reason == mac.reason
    assert closed.kind == "fits"
    assert closed.size.endswith("GB")
    assert closed.speed.startswith("about ")
    assert closed.actions == (), "there is nothing to press for what is not here: no dead buttons"
    other = row_state(in_segment(mac, "recommended")[1], mac, None, is_open=True)
    assert (other.mark, other.reason) == ("", "")


def test_what_cannot_run_says_why_and_offers_the_sum(mac: Assessment) -> None:
    model = next(model for model in mac.models if row_state(model, mac, None).kind == "cannot")
    verdict = model.best_build.verdict
    assert verdict is not None
    state = row_state(model, mac, None)
    assert state.summary == verdict.reasons[0]
    assert [(action.id, action.label, action.is_link) for action in state.actions] == [("why", "Why not?", True)]
    assert row_state(model, mac, None, is_open=True).actions == ()


def test_file_that_is_here_can_be_talked_to(with_file: Assessment, tmp_path: Path) -> None:
    (mine,) = in_segment(with_file, "installed")
    state = row_state(mine, with_file, None)
    assert state.note == "Installed"
    assert state.summary == "Your own file: mine-Q4_K_M.gguf"
    assert [(action.id, action.kind) for action in state.actions] == [("chat", "normal")]
    in_use = row_state(mine, with_file, tmp_path / "mine-Q4_K_M.gguf", is_open=True)
    assert in_use.note == "Installed, in use"
    assert in_use.actions[0].kind == "primary"


def test_file_with_a_problem_says_it(with_file: Assessment) -> None:
    (mine,) = in_segment(with_file, "installed")
    fit = mine.best_build
    assert fit.installed is not None
    torn = replace(fit, installed=replace(fit.installed, problem="a part is missing"), verdict=None, problem="Torn.")
    state = row_state(replace(mine, builds=(torn,)), with_file, None)
    assert (state.kind, state.note, state.summary, state.actions) == (None, "Not complete", "Torn.", ())
    damaged = replace(fit, facts=None, verdict=None, problem="This is no model.")
    state = row_state(replace(mine, builds=(damaged,)), with_file, None)
    assert (state.kind, state.note, state.summary, state.actions) == (None, "Damaged", "This is no model.", ())
    state = row_state(replace(mine, builds=(damaged,)), with_file, None, is_open=True)
    assert state.summary == "Your own file: mine-Q4_K_M.gguf", "the problem stands in what is open"
    assert state.actions == ()


def test_slow_models_stand_after_those_as_fast_as_people_read(mac: Assessment) -> None:
    first, second, third = in_segment(mac, "recommended")[:3]
    verdict = second.best_build.verdict
    assert verdict is not None
    crawling = SpeedRange(low=1, likely=1.2, high=2, source="prediction")
    build = replace(second.best_build, verdict=replace(verdict, decode=crawling))
    slow = replace(second, builds=(build,), best=0)
    both = replace(mac, models=(slow, third))
    assert in_segment(both, "recommended") == (third, slow)
    assert row_state(slow, both, None).speed == "about 0.9 words/s, slow"
    assert in_segment(replace(both, recommended_id=slow.id), "recommended") == (slow, third), "the choice stays on top"
    assert in_segment(replace(both, models=(slow, first)), "all") == (first, slow)
