"""Nothing is loaded without a verdict; what does not fit is refused in words; what was measured is noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.assessor import Assessor
from engines.base import LoadedModel, LoadSettings, Usage
from engines.calibration_book import CalibrationBook
from engines.catalog import Catalog
from engines.errors import ModelFileError, NotEnoughMemoryError, UnsupportedModelError
from engines.fit import memory
from engines.formats.sparse import write_sparse
from engines.hardware.machine import Machine, Processor
from engines.lease import Leases
from engines.library import InstalledModel, describe_file
from engines.load_planning import (
    FaceWords,
    LoadNotes,
    LoadPlan,
    LoadWish,
    estimated_plan,
    forced,
    is_judged,
    plan_load,
    refusal,
    running_now,
    shortage_words,
)
from engines.registry import demonstration_script
from tests.support import gguf_writer

GB = 10**9
HERE = Machine(
    name="Here",
    system="linux",
    processor=Processor(name="CPU", architecture="x86_64"),
    memory_total_bytes=16 * GB,
    memory_available_bytes=12 * GB,
)
WORDS = FaceWords(less_context="Take {tokens}, which fits{when}", anyway="Or force it.")
Plan = Callable[..., LoadPlan]


@pytest.fixture
def model(tmp_path: Path) -> InstalledModel:
    """A sound header of about half a gigabyte, made for 32,768 tokens, 128 KiB of context each."""
    metadata, tensors = gguf_writer.model(layers=32, width=1024, vocabulary_size=300)
    header, length = gguf_writer.header(metadata, tensors)
    path = tmp_path / "made-up.gguf"
    write_sparse(header, length, path)
    return describe_file(path, Catalog())


@pytest.fixture
def plan(model: InstalledModel, tmp_path: Path) -> Plan:
    def make(wish: LoadWish | None = None, *, machine: Machine = HERE, anyway: bool = False) -> LoadPlan:
        leases = Leases(tmp_path / "leases", "window")
        return plan_load(model, Assessor(Catalog(), machine), leases, wish or LoadWish(), WORDS, anyway=anyway)

    return make


def small(available: int, total: int = 16) -> Machine:
    return replace(HERE, memory_total_bytes=total * GB, memory_available_bytes=available * GB)


def test_a_model_that_fits_is_loaded_as_the_verdict_says(plan: Plan) -> None:
    made = plan(LoadWish(threads=3))
    assert made.verdict is not None and made.verdict.kind_now == "fits"
    assert made.settings == replace(made.verdict.settings, threads=3)
    assert made.needed_bytes == made.verdict.placement.main.total_bytes
    assert made.settings.context_tokens == 32768


def test_a_context_that_was_asked_for_is_refused_and_never_changed(plan: Plan) -> None:
    with pytest.raises(NotEnoughMemoryError) as caught:
        plan(LoadWish(context_tokens=32_768, kv_type="f16"), machine=small(4, total=8))
    assert "32,768 tokens does not fit" in caught.value.title
    assert caught.value.advice.startswith("Take ") and caught.value.advice.endswith("Or force it.")
    usual = plan(LoadWish(usual_context_tokens=32_768, kv_type="f16"), machine=small(4, total=8))
    assert usual.settings.context_tokens is not None and 4096 <= usual.settings.context_tokens < 32_768


def test_what_fits_only_with_other_programs_closed_is_refused_for_now(plan: Plan) -> None:
    with pytest.raises(NotEnoughMemoryError) as caught:
        plan(machine=small(2))
    assert "right now" in caught.value.title
    assert "Close other programs" in caught.value.advice


def test_what_fits_never_is_refused_with_figures_and_can_be_forced(plan: Plan) -> None:
    with pytest.raises(NotEnoughMemoryError) as caught:
        plan(machine=small(1, total=1))
    assert "does not fit on this computer" in caught.value.title
    assert "needed" in caught.value.details
    against = plan(LoadWish(context_tokens=16_384), machine=small(1, total=1), anyway=True)
    assert against.settings.context_tokens == 16_384
    assert against.verdict is not None and "16,384 tokens it needs" in shortage_words(against.verdict)


def test_a_load_by_force_keeps_what_fits_when_nothing_more_was_asked(plan: Plan) -> None:
    made = plan()
    judgement = made.judgement
    assert judgement is not None
    running = running_now(Leases(Path("nowhere"), "window"))
    assert forced(judgement.facts, judgement.machine, judgement.verdict, LoadWish(), running) is judgement.verdict


def test_what_the_engine_refuses_is_refused_for_that_and_not_for_memory(tmp_path: Path, model: InstalledModel) -> None:
    path = Path(__file__).parents[1] / "data" / "tiny_models" / "deepseek4.gguf"
    assessor = Assessor(Catalog(), HERE)
    with pytest.raises(UnsupportedModelError) as caught:
        plan_load(describe_file(path, Catalog()), assessor, Leases(tmp_path, "window"), LoadWish(kv_type="q8_0"), WORDS)
    assert "f16" in caught.value.advice
    facts = assessor.facts_of_file(model.path)
    assert refusal(facts, assessor.judge(facts)) == ""


def test_a_kind_of_model_that_the_arithmetic_does_not_know_is_estimated(tmp_path: Path) -> None:
    metadata, tensors = gguf_writer.model(layers=2, width=256, vocabulary_size=300)
    metadata["general.architecture"] = "minimax-m3"
    header, length = gguf_writer.header(metadata, tensors)
    path = tmp_path / "odd.gguf"
    write_sparse(header, length, path)
    odd = describe_file(path, Catalog())
    wish = LoadWish(context_tokens=2048)
    made = plan_load(odd, Assessor(Catalog(), HERE), Leases(tmp_path, "window"), wish, WORDS)
    assert made.judgement is None and made.verdict is None
    assert (made.settings, made.needed_bytes) == (
        LoadSettings(context_tokens=2048),
        estimated_plan(odd, wish).needed_bytes,
    )


def test_a_file_that_is_gone_is_an_error(model: InstalledModel, plan: Plan) -> None:
    model.path.unlink()
    with pytest.raises(ModelFileError):
        plan()


def test_the_scripted_engine_needs_no_verdict(model: InstalledModel) -> None:
    assert is_judged(model)
    assert not is_judged(describe_file(demonstration_script(), Catalog()))


def loaded(context_tokens: int, memory_bytes: int) -> LoadedModel:
    return LoadedModel(
        model_name="made-up",
        architecture="llama",
        context_tokens=context_tokens,
        trained_context_tokens=32768,
        weights_bytes=1,
        memory_bytes=memory_bytes,
        threads=1,
        device="CPU",
        cache_kind="plain",
        has_chat_template=True,
        can_think=False,
        load_seconds=1.0,
    )


def test_the_peak_of_a_load_teaches_the_next_verdict(plan: Plan, tmp_path: Path) -> None:
    book = CalibrationBook.load(tmp_path / "book.json")
    made = plan()
    judgement = made.judgement
    assert judgement is not None
    notes = LoadNotes(book)
    notes.begin(made)
    too_much = made.needed_bytes + 100_000_000
    notes.note_load(loaded(32768, made.needed_bytes))
    notes.note_reply(Usage(peak_memory_bytes=too_much))
    correction = book.correction_for(judgement.facts, HERE, made.settings)
    assert correction.loads == 1
    assert correction.memory_extra_bytes == pytest.approx(100_000_000, abs=2_000_000)


def test_a_load_that_was_not_as_planned_teaches_nothing(plan: Plan, tmp_path: Path) -> None:
    book = CalibrationBook.load(tmp_path / "book.json")
    made = plan(LoadWish(context_tokens=4096))
    judgement = made.judgement
    assert judgement is not None
    notes = LoadNotes(book)
    notes.begin(made)
    notes.note_load(loaded(memory.rounded_context(8192), made.needed_bytes * 2))
    notes.begin(None)
    notes.note_load(loaded(4096, made.needed_bytes * 2))
    notes.note_reply(Usage(peak_memory_bytes=made.needed_bytes * 3))
    assert book.correction_for(judgement.facts, HERE, made.settings).loads == 0
