from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from desktop.commands.fit_call import FitCall, FitOptions
from desktop.commands.fit_overview import best_of_each, show_overview
from desktop.commands.fit_table import UNLIMITED_WIDTH
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from engines.assessor import Assessor
from engines.catalog import load_catalog
from engines.fit.values import ALONE, Wish
from engines.hardware.machine import Machine
from engines.lease import Leases

Overview = Callable[..., str]


@pytest.fixture
def overview(here: Machine, tmp_path: Path) -> Overview:
    def show(machine: Machine = here, options: FitOptions | None = None, wish: Wish | None = None) -> str:
        output = io.StringIO()
        call = FitCall(
            terminal=Terminal(None, output, io.StringIO(), {}),
            paths=AppPaths.make(tmp_path),
            assessor=Assessor(load_catalog(), machine),
            leases=Leases(tmp_path / "leases", "terminal"),
            running=ALONE,
            wish=wish or Wish(),
            options=options or FitOptions(),
            folder=tmp_path,
            table_width=UNLIMITED_WIDTH,
            text_width=100,
        )
        assert show_overview(call) == 0
        return output.getvalue()

    return show


def test_each_model_stands_once_with_its_best_build(here: Machine) -> None:
    assessor = Assessor(load_catalog(), here)
    ranked = assessor.recommendation().ranked

    best = list(best_of_each(ranked))

    assert [entry.model.id for entry in best] == list(dict.fromkeys(entry.model.id for entry in ranked))
    assert len(ranked) > len(best) == len(assessor.catalog.models)


def test_the_recommended_build_is_marked_in_the_table(overview: Overview) -> None:
    lines = overview().splitlines()
    recommended = next(line for line in lines if line.startswith("Recommended: "))
    (marked,) = (line for line in lines if line.startswith("* ") and "recommended" not in line)

    name, build = recommended.removeprefix("Recommended: ").split(" (llama.cpp)")[0].split(", ", 1)
    assert name in marked and build in marked


def test_words_are_explained_only_where_they_stand(overview: Overview, here: Machine) -> None:
    slow = overview(replace(here, bandwidth=replace(here.bandwidth, bytes_per_second=10**10)))  # type: ignore[type-var]
    busy = overview(replace(here, memory_available_bytes=2 * 10**9))

    assert "Slow: slower than people read." in slow
    assert "Not now: other programs take too much memory at the moment." in busy
    assert "Not now:" not in overview(replace(here, memory_available_bytes=here.memory_total_bytes))


def test_the_sum_of_the_recommended_model_is_shown_on_request(overview: Overview) -> None:
    said = overview(options=FitOptions(explains=True))

    assert said.index("Recommended: ") < said.index("Main memory, computed") < said.index("Known models")


def test_where_nothing_fits_that_is_said(overview: Overview, here: Machine) -> None:
    said = overview(replace(here, memory_total_bytes=10**9, memory_available_bytes=10**8))

    assert "Recommended:" not in said
    assert "None of the known models fits Test computer." in said
