"""The catalogue and the files on this disk, judged and put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from desktop.services.assessing import assess, judge_at, most_context
from engines.assessor import Assessor
from engines.catalog import load_catalog
from engines.fit.values import Running
from engines.hardware.machine import Machine
from engines.hardware.profiles import find_profile
from engines.library import InstalledModel, describe_file

GIGABYTE = 10**9


def assessor_for(profile_id: str) -> Assessor:
    return Assessor(load_catalog(), find_profile(profile_id))


def test_every_model_of_the_catalogue_is_there_once_and_the_recommended_one_is_named() -> None:
    assessor = assessor_for("mac-mini-m4-16")
    assessment = assess(assessor, (), Running())
    assert sorted(model.id for model in assessment.models) == sorted(model.id for model in assessor.catalog.models)
    for model in assessment.models:
        entry = model.model
        assert entry is not None
        assert len(model.builds) == len(entry.build)
        assert len({build.id for build in model.builds}) == len(model.builds)
    recommendation = assessor.recommendation()
    assert recommendation.choice is not None
    chosen = assessment.find(assessment.recommended_id)
    assert chosen is not None
    assert chosen.id == recommendation.choice.model.id
    assert chosen.best_build.build == recommendation.choice.build, "its row shows the build that was recommended"
    assert assessment.reason == recommendation.reason
    assert not assessment.is_here


def test_what_fits_stands_before_what_does_not() -> None:
    order = ["fits", "less_context", "streams", "unknown", "cannot"]
    assessment = assess(assessor_for("pc-16"), (), Running())
    kinds = [model.best_build.verdict.kind if model.best_build.verdict else "unknown" for model in assessment.models]
    assert [order.index(kind) for kind in kinds] == sorted(order.index(kind) for kind in kinds)
    assert "fits" in kinds
    assert "cannot" in kinds


def test_builds_for_one_engine_stand_together_the_smaller_first() -> None:
    assessment = assess(assessor_for("mac-mini-m4-24"), (), Running())
    for model in assessment.models:
        engines = [build.build.engine for build in model.builds if build.build is not None]
        assert engines == sorted(engines, key=["llama", "mlx"].index)
        sizes = [
            build.size_bytes for build in model.builds if build.build is not None and build.build.engine == "llama"
        ]
        known = [size for size in sizes if size is not None]
        assert known == sorted(known)
        assert sizes[: len(known)] == known, "unknown sizes come last"


@pytest.mark.model
def test_file_on_this_disk_takes_the_place_of_its_build(smollm2_path: Path, computer: Machine) -> None:
    catalog = load_catalog()
    file = describe_file(smollm2_path, catalog)
    assessment = assess(Assessor(catalog, computer), (file,), Running())
    assert assessment.is_here
    fit = assessment.fit_of(file)
    assert fit is not None
    assert fit.facts is not None
    assert fit.facts.source == "header", "read from the file, not from the catalogue"
    assert fit.build is not None
    model = next(model for model in assessment.models if model.is_installed)
    assert model.best_build is fit, "what is here and runs is shown first"


def test_own_file_is_an_entry_of_its_own(computer: Machine, tmp_path: Path, write_model: Callable[..., Path]) -> None:
    catalog = load_catalog()
    file = describe_file(write_model(tmp_path / "own.gguf"), catalog)
    scripted = InstalledModel("Script", tmp_path / "script.toml", 100, engine="scripted")
    assessment = assess(Assessor(catalog, computer), (file, scripted), Running())
    (own,) = [model for model in assessment.models if model.model is None]
    assert own.name == "own"
    assert own.best_build.verdict is not None
    assert own.best_build.verdict.kind == "fits"


def test_what_is_wrong_with_a_file_is_said(computer: Machine, tmp_path: Path, write_model: Callable[..., Path]) -> None:
    catalog = load_catalog()
    damaged, empty = tmp_path / "damaged.gguf", tmp_path / "empty.gguf"
    damaged.write_bytes(write_model(tmp_path / "own.gguf").read_bytes()[:100])
    empty.write_bytes(b"")
    files = tuple(describe_file(path, catalog) for path in (damaged, empty))
    assessment = assess(Assessor(catalog, computer), files, Running())
    problems = {model.name: model.best_build.problem for model in assessment.models if model.model is None}
    assert problems["empty"] == "The file is not complete: the file is empty."
    assert problems["damaged"] != ""
    assert all(model.best_build.verdict is None for model in assessment.models if model.model is None)


def test_a_context_beyond_what_fits_is_summed_all_the_same(
    computer: Machine, tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    small = replace(computer, memory_total_bytes=6 * GIGABYTE, memory_available_bytes=5 * GIGABYTE)
    assessor = Assessor(load_catalog(), small)
    facts = assessor.facts_of_file(write_model(tmp_path / "own.gguf", layers=64))
    usual = assessor.judge(facts).largest_context_tokens
    most = most_context(assessor, facts, Running())
    assert 4096 < usual < most < 32768, "a smaller KV type makes room for more"
    for tokens in (4096, most, 32768):
        verdict, sum_ = judge_at(assessor, facts, tokens, Running())
        assert sum_.context_tokens == tokens
        assert sum_.placement.main.context_bytes >= facts.geometry.layers * tokens * 4096 * 17 // 32
        assert sum_.fits == (tokens <= most)
        assert (verdict.kind == "fits") == (tokens <= most)


def test_what_this_snug_holds_is_not_other_apps(
    computer: Machine, tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    assessor = Assessor(load_catalog(), computer)
    facts = assessor.facts_of_file(write_model(tmp_path / "own.gguf"))
    _, alone = judge_at(assessor, facts, 4096, Running())
    _, freed = judge_at(assessor, facts, 4096, Running(freed_bytes=GIGABYTE), GIGABYTE)
    assert alone.pools[0].others_bytes - freed.pools[0].others_bytes == GIGABYTE
