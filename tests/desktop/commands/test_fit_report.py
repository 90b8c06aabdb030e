from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any

import msgspec
import pytest

from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_report import BuildReport, FitReport, RecommendationReport, status_of
from desktop.commands.fit_subject import Candidate
from engines.fit.recommend import Recommendation
from engines.fit.values import Correction, ModelFacts, Wish
from engines.fit.verdict import judge
from engines.hardware.machine import Machine

GUIDE = Path(__file__).parents[3] / "docs" / "terminal.md"


def keys_of(kind: Any) -> set[str]:
    """The keys that a value of this type has in JSON, and those of the values in it."""
    parts = typing.get_args(kind)
    if parts or isinstance(kind, UnionType):
        return {key for part in parts for key in keys_of(part)}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = {field.name for field in dataclasses.fields(kind)}
        return names | {key for name in names for key in keys_of(hints[name])}
    return set()


def candidate(facts: ModelFacts | None) -> Candidate:
    return Candidate(name="Middle 5B", build="Q4_K_M", engine="llama", facts=facts)


def status(facts: ModelFacts, machine: Machine, wish: Wish | None = None) -> ExitCode:
    wish = wish or Wish()
    return status_of(candidate(facts), judge(facts, machine, wish), machine, wish)


def test_what_fits_now_is_well(facts: ModelFacts, here: Machine) -> None:
    assert status(facts, here) == ExitCode.OK
    assert status(facts, here, Wish(context_tokens=8192)) == ExitCode.OK


def test_what_does_not_fit_has_a_status_of_its_own(facts: ModelFacts, here: Machine) -> None:
    huge = replace(facts, weights=replace(facts.weights, total_bytes=10**11), file_bytes=10**11)

    assert status(huge, here) == ExitCode.DOES_NOT_FIT
    assert status(facts, here, Wish(context_tokens=131_072, kv_type="f16")) == ExitCode.DOES_NOT_FIT
    assert status(facts, here, Wish(context_tokens=1_000_000)) == ExitCode.DOES_NOT_FIT


def test_what_fits_but_not_now_is_told_apart(facts: ModelFacts, here: Machine) -> None:
    busy = replace(here, memory_available_bytes=3 * 10**9)
    half_busy = replace(here, memory_available_bytes=7 * 10**9)

    assert status(facts, busy) == ExitCode.MEMORY
    assert status(facts, half_busy) == ExitCode.OK
    assert status(facts, half_busy, Wish(context_tokens=32_768)) == ExitCode.MEMORY


def test_what_no_engine_runs_is_a_matter_of_the_model(facts: ModelFacts, here: Machine) -> None:
    assert status(replace(facts, unsupported="It is a poem."), here) == ExitCode.MODEL


def test_what_is_not_known_is_an_error(here: Machine) -> None:
    assert status_of(candidate(None), None, here, Wish()) == ExitCode.ERROR


def test_a_report_of_a_build_has_what_programs_need(facts: ModelFacts, here: Machine) -> None:
    report = BuildReport.of(candidate(facts), judge(facts, here), Correction())
    raw = json.loads(msgspec.json.encode(report))

    assert (raw["name"], raw["build"], raw["exact_weights"], raw["path"]) == ("Middle 5B", "Q4_K_M", True, "")
    assert raw["verdict"]["kind"] == "fits"
    assert raw["verdict"]["pools"][0]["needed_bytes"] > 3 * 10**9
    assert raw["verdict"]["placement"]["main"]["weights_bytes"] == 3 * 10**9


def test_no_recommendation_is_one_without_a_model() -> None:
    report = RecommendationReport.of(Recommendation(None, "None of them.", ()))

    assert (report.model_id, report.reason) == ("", "None of them.")


def test_the_guide_describes_every_key() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    missing = sorted(key for key in keys_of(FitReport) if f"`{key}`" not in guide)

    assert missing == []
    assert {"largest_context_tokens", "memory_extra_bytes", "measured_decode", "held_bytes"} <= keys_of(FitReport)


@pytest.mark.parametrize("field", dataclasses.fields(FitReport), ids=lambda field: field.name)
def test_every_part_of_the_report_is_required(field: dataclasses.Field[Any]) -> None:
    assert field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
