"""A load is judged at its moment; what it took is learned."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest

from desktop.services.load_planner import (
    LoadPlanner,
    estimated_plan,
)
from engines.assessor import Assessor
from engines.base import LoadedModel, LoadSettings, Usage
from engines.calibration_book import CalibrationBook
from engines.catalog import load_catalog
from engines.errors import ModelFileError, ModelInUseError, NotEnoughMemoryError
from engines.hardware.machine import Machine
from engines.lease import Lease, Leases
from engines.library import InstalledModel, describe_file
from engines.load_planning import LoadWish, is_judged, running_now
from engines.memory import Memory, estimate_needed_bytes
from tests.support import gguf_writer

GIGABYTE = 10**9
MakePlanner = Callable[..., LoadPlanner]


@pytest.fixture
def book(tmp_path: Path) -> CalibrationBook:
    return CalibrationBook.load(tmp_path / "calibration.json")


@pytest.fixture
def make_planner(computer: Machine, tmp_path: Path, book: CalibrationBook) -> MakePlanner:
    def make(
        wish: LoadWish = LoadWish(),  # noqa: B008  (a frozen value)
        *,
        machine: Machine = computer,
        available_bytes: int = 12 * GIGABYTE,
    ) -> LoadPlanner:
        assessor = Assessor(load_catalog(), machine, book)
        leases = Leases(tmp_path / "leases", "window")
        now = Memory(machine.memory_total_bytes, available_bytes)
        return LoadPlanner(lambda: assessor, lambda _: wish, leases, memory_now=lambda: now)

    return make


@pytest.fixture
def model(tmp_path: Path, write_model: Callable[..., Path]) -> InstalledModel:
    """About half a gigabyte, made for 32,768 tokens, 128 KiB of context each."""
    return describe_file(write_model(tmp_path / "made-up.gguf"), load_catalog())


@pytest.fixture
def huge(tmp_path: Path, write_model: Callable[..., Path]) -> InstalledModel:
    """About 96 GB."""
    path = write_model(tmp_path / "huge.gguf", layers=80, width=12288)
    return describe_file(path, load_catalog())


def other_snug(tmp_path: Path, size_bytes: int) -> None:
    lease = Lease(
        pid=os.getppid(),
        process_created_at=psutil.Process(os.getppid()).create_time(),
        program="terminal",
        model_name="Giant",
        model_path="giant.gguf",
        size_bytes=size_bytes,
        taken_at=1.0,
    )
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "1.lease").write_bytes(msgspec.json.encode(lease))


def loaded(memory_bytes: int, context_tokens: int = 32768) -> LoadedModel:
    return LoadedModel(
        model_name="M",
        architecture="qwen3",
        context_tokens=context_tokens,
        trained_context_tokens=32768,
        weights_bytes=500_000_000,
        memory_bytes=memory_bytes,
        threads=1,
        device="CPU",
        cache_kind="plain",
        has_chat_template=True,
        can_think=False,
        load_seconds=1.0,
    )


def test_a_script_takes_no_memory_and_needs_no_verdict(make_planner: MakePlanner, write_script: object) -> None:
    script = InstalledModel("s", write_script(), 1000, engine="scripted")  # type: ignore[operator]
    settings = LoadSettings(context_tokens=512)
    assert not is_judged(script)
    assert make_planner().plan(script, settings) == estimated_plan(script, settings)


def test_settings_and_need_are_the_verdicts(make_planner: MakePlanner, model: InstalledModel) -> None:
    plan = make_planner().plan(model, LoadSettings(threads=3, context_tokens=8192))
    assert plan.verdict is not None
    assert plan.verdict.kind_now == "fits"
    assert plan.settings == replace(plan.verdict.settings, threads=3)
    assert plan.settings.context_tokens == 32768, "the fit chooses where nobody asked"
    assert plan.needed_bytes == plan.verdict.placement.main.total_bytes
    assert plan.needed_bytes > 32768 * 128 * 1024


def test_what_does_not_fit_at_all_is_refused_unless_it_is_wanted_anyway(
    make_planner: MakePlanner, huge: InstalledModel
) -> None:
    planner = make_planner()
    with pytest.raises(NotEnoughMemoryError) as refused:
        planner.plan(huge, LoadSettings())
    assert refused.value.title == "huge does not fit on this computer."
    assert "16.0 GB" in refused.value.advice
    assert "needed" in refused.value.details
    plan = planner.plan(huge, LoadSettings(), anyway=True)
    assert plan.needed_bytes > 90 * GIGABYTE
    assert plan.settings.context_tokens == 4096


def test_what_fits_only_with_other_programs_closed_is_refused_for_now(
    make_planner: MakePlanner, model: InstalledModel
) -> None:
    with pytest.raises(NotEnoughMemoryError) as refused:
        make_planner(available_bytes=2 * GIGABYTE).plan(model, LoadSettings())
    assert refused.value.title == "There is not enough free memory for made-up right now."


def test_memory_is_looked_at_before_every_load(make_planner: MakePlanner, model: InstalledModel) -> None:
    planner = make_planner()
    planner.plan(model, LoadSettings())
    planner._memory_now = lambda: Memory(16 * GIGABYTE, GIGABYTE)
    with pytest.raises(NotEnoughMemoryError):
        planner.plan(model, LoadSettings())


def test_a_context_that_was_asked_for_is_taken_or_refused_and_never_changed(
    make_planner: MakePlanner, model: InstalledModel
) -> None:
    asked = LoadWish(context_tokens=16384)
    assert make_planner(asked).plan(model, LoadSettings()).settings.context_tokens == 16384
    tight = make_planner(asked, available_bytes=4 * GIGABYTE)
    with pytest.raises(NotEnoughMemoryError) as refused:
        tight.plan(model, LoadSettings())
    assert "A context of 16,384 tokens does not fit" in refused.value.title
    assert "tokens fit" in refused.value.advice
    assert tight.plan(model, LoadSettings(), anyway=True).settings.context_tokens == 16384


def test_the_context_of_the_settings_is_taken_as_far_as_it_fits(
    make_planner: MakePlanner, model: InstalledModel
) -> None:
    usual = LoadWish(usual_context_tokens=16384)
    assert make_planner(usual).plan(model, LoadSettings()).settings.context_tokens == 16384
    plan = make_planner(usual, available_bytes=4 * GIGABYTE).plan(model, LoadSettings())
    assert plan.settings.context_tokens is not None
    assert 4096 <= plan.settings.context_tokens < 16384


def test_another_snug_in_the_way_is_named(make_planner: MakePlanner, model: InstalledModel, tmp_path: Path) -> None:
    other_snug(tmp_path, 1 << 40)
    assert 1 << 39 < running_now(Leases(tmp_path / "leases", "window")).held_bytes <= 1 << 40
    with pytest.raises(ModelInUseError, match="Giant is in memory for Snug in a terminal"):
        make_planner().plan(model, LoadSettings())


def test_an_architecture_that_the_sum_does_not_cover_goes_by_its_size(
    make_planner: MakePlanner, tmp_path: Path
) -> None:
    metadata, tensors = gguf_writer.model(layers=2, width=256, vocabulary_size=300)
    data, length = gguf_writer.header({**metadata, "general.architecture": "of_tomorrow"}, tensors)
    path = tmp_path / "tomorrow.gguf"
    path.write_bytes(data + bytes(length - len(data)))
    model = describe_file(path, load_catalog())
    plan = make_planner().plan(model, LoadSettings(context_tokens=2048))
    assert plan.verdict is None
    assert plan.needed_bytes == estimate_needed_bytes(length)
    assert plan.settings.context_tokens == 2048


def test_a_damaged_file_says_so(make_planner: MakePlanner, model: InstalledModel, tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(model.path.read_bytes()[:200])
    with pytest.raises(ModelFileError):
        make_planner().plan(describe_file(path, load_catalog()), LoadSettings())


def test_what_the_engine_refuses_is_told_from_what_does_not_fit(model: InstalledModel, computer: Machine) -> None:
    assessor = Assessor(load_catalog(), computer)
    facts = replace(assessor.facts_of_file(model.path), unsupported="It is written in invisible ink.")
    assert assessor.judge(facts).is_refused


def test_peak_of_a_load_is_learned_and_grows(
    make_planner: MakePlanner, model: InstalledModel, book: CalibrationBook
) -> None:
    planner = make_planner()
    plan = planner.plan(model, LoadSettings())
    planner.note_load(model, loaded(5 * GIGABYTE))
    (record,) = book.records.loads
    assert record.measured_bytes == 5 * GIGABYTE
    assert record.predicted_bytes == plan.needed_bytes
    planner.note_reply(Usage(peak_memory_bytes=6 * GIGABYTE, context_tokens=32768))
    (record,) = book.records.loads
    assert record.measured_bytes == 6 * GIGABYTE, "one load, one record"
    planner.note_reply(Usage(peak_memory_bytes=4 * GIGABYTE, context_tokens=32768))
    assert book.records.loads[0].measured_bytes == 6 * GIGABYTE
    again = planner.plan(model, LoadSettings())
    assert again.needed_bytes > plan.needed_bytes, "the next prediction knows it"
    assert again.judgement is not None and plan.judgement is not None
    assert again.judgement.placement == plan.judgement.placement, "but what is compared stays uncorrected"


def test_speed_of_a_reply_is_learned(make_planner: MakePlanner, model: InstalledModel, book: CalibrationBook) -> None:
    planner = make_planner()
    planner.plan(model, LoadSettings())
    planner.note_load(model, loaded(GIGABYTE))
    planner.note_reply(Usage(generated_tokens=101, decode_seconds=5.0, context_used_tokens=120, context_tokens=32768))
    (reply,) = book.records.replies
    assert reply.decode_measured == pytest.approx(20.0)
    assert reply.decode_predicted is not None


def test_a_load_that_nobody_planned_teaches_nothing(
    make_planner: MakePlanner, model: InstalledModel, book: CalibrationBook
) -> None:
    planner = make_planner()
    planner.look()
    planner.note_load(model, loaded(GIGABYTE))
    planner.note_reply(Usage(generated_tokens=101, decode_seconds=5.0))
    planner.plan(model, LoadSettings())
    planner.note_load(model, loaded(GIGABYTE, context_tokens=65536))
    assert book.records.loads == (), "the engine took more context than was planned"
