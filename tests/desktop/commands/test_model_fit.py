from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest

from desktop.commands.model_fit import AssessorNow, ModelFit
from engines.assessor import Assessor
from engines.base import LoadedModel, Usage
from engines.calibration_book import CalibrationBook
from engines.catalog import Catalog, load_catalog
from engines.errors import ModelInUseError, NotEnoughMemoryError, UnsupportedModelError
from engines.fit.values import ModelFacts
from engines.fit.verdict import judge
from engines.hardware.machine import Machine
from engines.lease import Lease, Leases
from engines.library import describe_file
from engines.load_planning import LoadWish, is_judged, refusal, running_now
from engines.memory import estimate_needed_bytes
from tests.support import gguf_writer

GIGABYTE = 10**9
MakeFit = Callable[..., ModelFit]


@pytest.fixture
def book(tmp_path: Path) -> CalibrationBook:
    return CalibrationBook.load(tmp_path / "calibration.json")


@pytest.fixture
def make_fit(here: Machine, tmp_path: Path, book: CalibrationBook) -> MakeFit:
    """A fit on a computer of our choice: looking at the real one is the business of `AssessorNow`."""

    def make(path: Path, wish: LoadWish | None = None, *, machine: Machine = here) -> ModelFit:
        assessor = Assessor(load_catalog(), machine, book)
        model = describe_file(path, assessor.catalog)
        leases = Leases(tmp_path / "leases", "terminal")
        return ModelFit(model, lambda: assessor, leases, wish or LoadWish(), book)

    return make


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    """A sound header of about half a gigabyte, made for 32,768 tokens, 128 KiB of context each."""
    from engines.formats.sparse import write_sparse

    metadata, tensors = gguf_writer.model(layers=32, width=1024, vocabulary_size=300)
    header, length = gguf_writer.header(metadata, tensors)
    path = tmp_path / "made-up.gguf"
    write_sparse(header, length, path)
    return path


def other_snug(tmp_path: Path, size_bytes: int) -> None:
    lease = Lease(
        pid=psutil.Process().ppid(),
        process_created_at=psutil.Process(os.getppid()).create_time(),
        program="window",
        model_name="Giant",
        model_path="giant.gguf",
        size_bytes=size_bytes,
        taken_at=1.0,
    )
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "1.lease").write_bytes(msgspec.json.encode(lease))


def test_a_model_that_fits_is_loaded_as_the_verdict_says(make_fit: MakeFit, model_path: Path) -> None:
    fit = make_fit(model_path, LoadWish(threads=3))

    prepared = fit.prepare()

    assert prepared.settings.context_tokens == 32_768
    assert (prepared.settings.threads, prepared.settings.gpu_layers) == (3, 0)
    assert prepared.prediction is not None
    assert prepared.needed_bytes == prepared.prediction.verdict.placement.main.total_bytes
    assert prepared.line.startswith("Fits: about ")
    assert fit.prepared is prepared


def test_a_context_that_was_asked_for_is_taken_or_refused_and_never_changed(
    make_fit: MakeFit, model_path: Path, here: Machine
) -> None:
    small = replace(here, memory_total_bytes=6 * GIGABYTE, memory_available_bytes=5 * GIGABYTE)
    assert make_fit(model_path, LoadWish(context_tokens=4096)).prepare().settings.context_tokens == 4096

    with pytest.raises(NotEnoughMemoryError) as refused:
        make_fit(model_path, LoadWish(context_tokens=32_768, kv_type="f16"), machine=small).prepare()

    assert refused.value.title == "A context of 32,768 tokens does not fit for made-up."
    assert "Say --context " in refused.value.advice and "--kv q8_0" in refused.value.advice


def test_what_fits_only_with_other_programs_closed_is_refused_for_now(
    make_fit: MakeFit, model_path: Path, here: Machine
) -> None:
    busy = replace(here, memory_available_bytes=4 * GIGABYTE)

    with pytest.raises(NotEnoughMemoryError, match="does not fit for made-up right now"):
        make_fit(model_path, LoadWish(context_tokens=32_768, kv_type="f16"), machine=busy).prepare()
    with pytest.raises(NotEnoughMemoryError, match="There is not enough free memory for made-up right now"):
        make_fit(model_path, machine=replace(here, memory_available_bytes=GIGABYTE)).prepare()


def test_the_context_of_the_settings_is_shortened_and_that_is_said(
    make_fit: MakeFit, model_path: Path, here: Machine
) -> None:
    busy = replace(here, memory_available_bytes=4 * GIGABYTE)

    prepared = make_fit(model_path, LoadWish(usual_context_tokens=32_768, kv_type="f16"), machine=busy).prepare()

    assert 4096 <= (prepared.settings.context_tokens or 0) < 32_768
    assert "less context than the 32,768 tokens of your settings" in prepared.line


def test_more_context_than_the_model_was_made_for_is_said(make_fit: MakeFit, model_path: Path) -> None:
    prepared = make_fit(model_path, LoadWish(context_tokens=65_536)).prepare()

    assert prepared.settings.context_tokens == 32_768
    assert prepared.line.endswith(" The model was made for no more.")


def test_a_model_that_does_not_fit_is_refused_with_figures_and_loaded_anyway(
    make_fit: MakeFit, huge_model: Path
) -> None:
    with pytest.raises(NotEnoughMemoryError) as refused:
        make_fit(huge_model).prepare()
    anyway = make_fit(huge_model).prepare(anyway=True)

    assert refused.value.title == "huge does not fit on this computer."
    assert refused.value.details.startswith("context 4,096 tokens; memory: needed ")
    assert anyway.line.startswith("Loading although Snug says no. With a context of 4,096 tokens it needs ")


def test_a_context_that_was_asked_for_stays_also_when_it_does_not_fit(
    make_fit: MakeFit, model_path: Path, here: Machine
) -> None:
    small = replace(here, memory_total_bytes=6 * GIGABYTE, memory_available_bytes=5 * GIGABYTE)
    wish = LoadWish(context_tokens=32_768, kv_type="f16")

    prepared = make_fit(model_path, wish, machine=small).prepare(anyway=True)
    fitting = make_fit(model_path, wish).prepare(anyway=True)

    assert prepared.settings.context_tokens == fitting.settings.context_tokens == 32_768
    assert prepared.needed_bytes > 4 * GIGABYTE
    assert prepared.line.startswith("Loading although Snug says no. With a context of 32,768 tokens it needs ")
    assert fitting.line.startswith("Fits: ")


def test_a_model_of_another_snug_that_is_in_the_way_is_named(
    make_fit: MakeFit, model_path: Path, tmp_path: Path
) -> None:
    other_snug(tmp_path, 1 << 50)

    with pytest.raises(ModelInUseError, match="Giant is in memory for the Snug window"):
        make_fit(model_path).prepare()


def test_what_another_snug_holds_is_counted(tmp_path: Path) -> None:
    leases = Leases(tmp_path / "leases", "terminal")
    assert running_now(leases).held_bytes == 0

    other_snug(tmp_path, 1 << 50)

    assert 1 << 49 < running_now(leases).held_bytes <= 1 << 50


def test_an_architecture_that_the_sum_does_not_cover_goes_by_its_size(make_fit: MakeFit, tmp_path: Path) -> None:
    metadata, tensors = gguf_writer.model(layers=2, width=256, vocabulary_size=300)
    data, length = gguf_writer.header({**metadata, "general.architecture": "of_tomorrow"}, tensors)
    path = tmp_path / "tomorrow.gguf"
    path.write_bytes(data + bytes(length - len(data)))
    fit = make_fit(path, LoadWish(context_tokens=2048, kv_type="q8_0"))

    prepared = fit.prepare()
    fit.note(loaded(), Usage())

    assert prepared.prediction is None
    assert prepared.needed_bytes == estimate_needed_bytes(length)
    assert (prepared.settings.context_tokens, prepared.settings.kv_type) == (2048, "q8_0")
    assert "by its size" in prepared.line


def test_what_the_engine_refuses_is_refused_for_that(make_fit: MakeFit, tmp_path: Path) -> None:
    metadata, tensors = gguf_writer.model(layers=2, width=256, vocabulary_size=300)
    odd = {**metadata, "qwen3.attention.key_length": 24, "qwen3.attention.head_count_kv": 1}
    data, length = gguf_writer.header(odd, tensors)
    path = tmp_path / "odd.gguf"
    path.write_bytes(data + bytes(length - len(data)))

    with pytest.raises(UnsupportedModelError) as refused:
        make_fit(path, LoadWish(kv_type="q8_0")).prepare()

    assert refused.value.title == "odd cannot run here."
    assert "q8_0" in refused.value.advice


def loaded(memory_bytes: int = 700_000_000, context_tokens: int = 4096) -> LoadedModel:
    return LoadedModel(
        model_name="x",
        architecture="qwen3",
        context_tokens=context_tokens,
        trained_context_tokens=32_768,
        weights_bytes=1,
        memory_bytes=memory_bytes,
        threads=1,
        device="CPU",
        cache_kind="plain",
        has_chat_template=True,
        can_think=False,
        load_seconds=0.1,
    )


def test_the_greatest_peak_of_a_load_and_every_reply_are_noted_without_corrections(
    make_fit: MakeFit, model_path: Path, book: CalibrationBook
) -> None:
    fit = make_fit(model_path, LoadWish(context_tokens=4096))
    first = fit.prepare()
    assert first.prediction is not None
    plain = first.prediction.placement.main.total_bytes
    usage = Usage(generated_tokens=101, decode_seconds=10.0, context_used_tokens=100, peak_memory_bytes=plain + 50)
    fit.note(loaded(), usage)
    fit.note(loaded(), replace(usage, peak_memory_bytes=10))

    again = fit.prepare()
    assert again.prediction is not None
    fit.note(loaded(), usage)

    assert [(load.predicted_bytes, load.measured_bytes) for load in book.records.loads] == [(plain, plain + 50)] * 2
    assert len(book.records.replies) == 3
    assert len({load.id for load in book.records.loads}) == 2
    assert again.prediction.verdict.placement.main.total_bytes == plain + 50
    assert {reply.decode_measured for reply in book.records.replies} == {10.0}
    predicted = first.prediction.decode(100)
    assert predicted is not None and book.records.replies[2].decode_predicted == predicted.likely
    assert fit.loaded == loaded()


def test_a_load_that_took_more_context_than_planned_teaches_nothing_about_memory(
    make_fit: MakeFit, model_path: Path, book: CalibrationBook
) -> None:
    fit = make_fit(model_path, LoadWish(context_tokens=4096))
    fit.prepare()
    fit.note(loaded(context_tokens=8192), Usage(generated_tokens=101, decode_seconds=10.0))

    assert (len(book.records.loads), len(book.records.replies)) == (0, 1)


def test_the_computer_is_looked_at_anew_for_every_load(book: CalibrationBook, tmp_path: Path) -> None:
    now = AssessorNow(Catalog(), book, tmp_path)

    first, second = now(), now()

    assert first.machine.memory_total_bytes == second.machine.memory_total_bytes
    assert first is not second and second.book is book
    assert not first.machine.is_profile


def test_scripts_are_not_judged(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text("format = 1")
    model = tmp_path / "model.gguf"
    model.touch()

    assert not is_judged(describe_file(script, Catalog()))
    assert is_judged(describe_file(model, Catalog()))


def test_a_refusal_is_about_more_than_memory(facts: ModelFacts, here: Machine) -> None:
    assert refusal(facts, judge(facts, here)) == ""
    poem = replace(facts, unsupported="It is a poem.")
    assert refusal(poem, judge(poem, here)) == "It is a poem."
