from __future__ import annotations

from dataclasses import replace

import pytest

from engines.base import LoadSettings, Usage
from engines.fit import calibration
from engines.fit.calibration import (
    CARRIED_EXCESS_BYTES,
    LOADS_LOOKED_AT,
    BandwidthRecord,
    LoadRecord,
    Records,
    ReplyRecord,
    build_key,
    correction,
    describe,
    load_record,
    machine_key,
    measured_bandwidths,
    reply_record,
    uncorrected,
)
from engines.fit.values import Correction, Geometry, MemoryParts, ModelFacts, Placement, SpeedRange, Weights
from engines.hardware.machine import Gpu, Machine, Processor

VERSION = "0.3.36"
PC = Machine(
    name="PC",
    system="linux",
    processor=Processor(name="Some  Processor", architecture="x86_64"),
    memory_total_bytes=16_800_000_000,
    memory_available_bytes=12_000_000_000,
)
OTHER_PC = replace(PC, memory_total_bytes=34_000_000_000)


def facts(file_bytes: int = 1_000, name: str = "Small") -> ModelFacts:
    return ModelFacts(
        name=name,
        engine="llama",
        quantization="Q4_K_M",
        geometry=Geometry(
            architecture="llama", layers=2, embedding_width=8, vocabulary=16, trained_context_tokens=2048
        ),
        weights=Weights(total_bytes=file_bytes, exact=True),
        file_bytes=file_bytes,
    )


def load(
    predicted: int,
    measured: int,
    *,
    of: ModelFacts | None = None,
    machine: Machine = PC,
    version: str = VERSION,
    gpu: MemoryParts | None = None,
) -> LoadRecord:
    return load_record(
        of or facts(),
        machine,
        LoadSettings(),
        load_id="x",
        at=1.0,
        library_version=version,
        predicted=Placement(main=MemoryParts(weights_bytes=predicted), gpu=gpu),
        measured_bytes=measured,
        context_tokens=2048,
    )


def speed(likely: float) -> SpeedRange:
    return SpeedRange(low=likely / 2, likely=likely, high=likely * 2, source="prediction")


def record_of(usage: Usage, decode: float | None, prefill: float | None, of: ModelFacts | None = None,
              settings: LoadSettings | None = None) -> ReplyRecord | None:  # fmt: skip
    return reply_record(
        of or facts(),
        PC,
        settings or LoadSettings(),
        at=1.0,
        library_version=VERSION,
        usage=usage,
        decode=None if decode is None else speed(decode),
        prefill=None if prefill is None else speed(prefill),
    )


def reply(
    predicted: float,
    measured: float,
    *,
    of: ModelFacts | None = None,
    depth: int = 300,
    settings: LoadSettings | None = None,
) -> ReplyRecord:
    """One whose prompt was read ten times as fast as the answer was written, as predicted."""
    usage = Usage(
        prompt_tokens=200,
        prefill_seconds=200 / (measured * 10),
        generated_tokens=101,
        decode_seconds=100 / measured,
        context_used_tokens=depth,
    )
    record = record_of(usage, predicted, predicted * 10, of, settings)
    assert record is not None
    return record


def learned(
    *,
    loads: tuple[LoadRecord, ...] = (),
    replies: tuple[ReplyRecord, ...] = (),
    of: ModelFacts | None = None,
    machine: Machine = PC,
    settings: LoadSettings | None = None,
) -> Correction:
    return correction(Records(loads, replies), of or facts(), machine, library_version=VERSION, settings=settings)


def test_nothing_known_changes_nothing() -> None:
    assert learned() == Correction()


def test_the_largest_excess_of_the_same_build_is_added() -> None:
    found = learned(loads=(load(1000, 1300), load(1000, 1900), load(1000, 1100)))

    assert (found.memory_extra_bytes, found.loads) == (900, 3)


def test_less_than_predicted_never_makes_the_fit_bolder() -> None:
    assert learned(loads=(load(10_000, 10), load(10_000, 0))).memory_extra_bytes == 0


def test_an_old_excess_is_forgotten_at_last_and_not_before() -> None:
    once = load(1000, 5000)
    later = (load(1000, 1000),) * (LOADS_LOOKED_AT - 1)

    assert learned(loads=(once, *later)).memory_extra_bytes == 4000
    assert learned(loads=(once, *later, load(1000, 1000))).memory_extra_bytes == 0


def test_another_build_teaches_the_overhead_of_the_process_and_no_more() -> None:
    other = facts(2_000)

    assert learned(loads=(load(1000, 1300, of=other),)).memory_extra_bytes == 300
    assert learned(loads=(load(1000, 1 << 40, of=other),)).memory_extra_bytes == CARRIED_EXCESS_BYTES
    assert learned(loads=(load(1000, 1 << 40),)).memory_extra_bytes == (1 << 40) - 1000


@pytest.mark.parametrize(
    "foreign",
    [load(1000, 9000, machine=OTHER_PC), load(1000, 9000, version="0.3.37")],
    ids=["another computer", "another version of the engine"],
)
def test_other_computers_and_engine_versions_teach_nothing(foreign: LoadRecord) -> None:
    assert learned(loads=(foreign,)) == Correction()


def test_pages_that_were_only_passed_on_to_a_card_are_not_taken_for_a_need() -> None:
    on_card = load(1000, 20_000_000_000, gpu=MemoryParts(weights_bytes=20_000_000_000))

    found = learned(loads=(on_card,))

    assert (found.memory_extra_bytes, found.loads) == (0, 1)


def test_a_profile_is_never_corrected() -> None:
    profile = replace(PC, memory_available_bytes=None, profile="pc-16")
    assert machine_key(profile) == machine_key(PC)

    assert learned(loads=(load(1000, 9000),), replies=(reply(10, 5),), machine=profile) == Correction()


def test_the_measured_speed_of_a_build_is_the_median_of_its_replies() -> None:
    found = learned(replies=(reply(10, 8), reply(10, 1), reply(10, 9)))

    assert found.decode_measured == pytest.approx(8)
    assert found.prefill_measured == pytest.approx(80)


def test_a_long_conversation_does_not_slow_the_figure_for_its_beginning() -> None:
    mixed = (reply(10, 8), reply(10, 2, depth=30_000), reply(10, 2, depth=30_000))

    assert learned(replies=mixed).decode_measured == 8
    assert learned(replies=mixed[1:]).decode_measured == 2


def test_a_build_without_replies_of_its_own_gets_the_factor_and_no_measured_speed() -> None:
    found = learned(replies=(reply(10, 8),), of=facts(2_000))

    assert found.decode_measured is None
    assert found.decode_factor == pytest.approx(0.8)
    assert found.prefill_factor == pytest.approx(0.8)


def test_each_build_has_one_voice_however_often_it_was_used() -> None:
    often = tuple(reply(10, 5, of=facts(1001)) for _ in range(50))

    found = learned(replies=(*often, reply(10, 9, of=facts(1002)), reply(10, 10, of=facts(1003))))

    assert found.decode_factor == pytest.approx(0.9)


def test_a_tiny_model_teaches_nothing_about_the_speed_of_a_large_one() -> None:
    tiny = (reply(10, 5, of=facts(100)),)

    assert learned(replies=tiny, of=facts(400)).decode_factor == 0.5
    assert learned(replies=tiny, of=facts(401)).decode_factor is None
    assert learned(replies=tiny, of=facts(25)).decode_factor == 0.5
    assert learned(replies=tiny, of=facts(24)).decode_factor is None


@pytest.mark.parametrize(("measured", "factor"), [(0.001, 0.2), (1e6, 3.0), (10, 1.0)])
def test_factors_stay_within_bounds(measured: float, factor: float) -> None:
    assert learned(replies=(reply(10, measured),)).decode_factor == pytest.approx(factor)


def test_a_speed_measured_with_another_split_of_the_model_does_not_count_as_measured() -> None:
    on_processor, on_card = LoadSettings(gpu_layers=0), LoadSettings(gpu_layers=-1)
    replies = (reply(10, 90, settings=on_card), reply(10, 8, settings=on_processor))

    assert learned(replies=replies, settings=on_card).decode_measured == pytest.approx(90)
    assert learned(replies=replies, settings=on_processor).decode_measured == 8
    assert learned(replies=replies).decode_measured == 8
    assert learned(replies=replies, settings=LoadSettings(gpu_layers=7)).decode_measured is None


def test_a_reply_that_is_too_short_to_measure_leaves_no_record() -> None:
    short = Usage(prompt_tokens=20, prefill_seconds=0.1, generated_tokens=3, decode_seconds=0.1)

    assert record_of(short, 10, 100) is None


def test_a_long_prompt_with_a_short_answer_measures_reading_only() -> None:
    usage = Usage(prompt_tokens=1000, reused_tokens=500, prefill_seconds=5.0, generated_tokens=2, decode_seconds=1.0)

    record = record_of(usage, None, 50)

    assert record is not None
    assert (record.decode_measured, record.prefill_measured, record.prefill_predicted) == (None, 100.0, 50)
    found = learned(replies=(record,))
    assert (found.decode_factor, found.prefill_factor, found.prefill_measured) == (None, 2.0, 100.0)


def test_of_several_measurements_of_memory_the_fastest_comes_first() -> None:
    def record(rate: int, machine: Machine = PC) -> BandwidthRecord:
        return BandwidthRecord(at=1.0, machine=machine_key(machine), bytes_per_second=rate, note=f"{rate} it is")

    records = Records(bandwidths=(record(20), record(30), record(10), record(90, OTHER_PC)))

    found = measured_bandwidths(records, PC)

    assert [each.bytes_per_second for each in found] == [30, 20, 10]
    assert (found[0].source, found[0].note) == ("measured", "30 it is")


def test_a_correction_can_be_taken_off_a_placement_again() -> None:
    placed = Placement(main=MemoryParts(weights_bytes=1000, process_bytes=70))

    assert uncorrected(placed, Correction(memory_extra_bytes=30)).main.total_bytes == 1040
    assert uncorrected(placed, Correction()) == placed


def test_records_name_the_build_by_its_shape_and_size_and_not_by_its_name() -> None:
    assert build_key(facts(name="My secret fine-tune")) == build_key(facts(name="Base")) == "llama:1000"


def test_a_computer_is_known_by_its_parts_and_not_by_a_megabyte() -> None:
    assert machine_key(PC) == "Some Processor | 16 GiB"
    assert machine_key(replace(PC, memory_total_bytes=16_790_000_000)) == machine_key(PC)
    with_card = replace(PC, gpus=(Gpu(name="Card", vendor="nvidia", kind="discrete"),))
    assert machine_key(with_card) == "Some Processor | Card | 16 GiB"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Correction(), ""),
        (
            Correction(memory_extra_bytes=34 * calibration.MEGABYTE, decode_factor=0.9, loads=12),
            "Corrected by 12 loads on this computer: +34 MB of memory, 0.9 times the predicted speed.",
        ),
        (
            Correction(decode_measured=7.25, loads=1),
            "Corrected by 1 load on this computer: speed as measured, 7.2 tokens/s.",
        ),
        (Correction(loads=2), "Confirmed by 2 loads on this computer: no more memory than predicted."),
    ],
)
def test_a_correction_is_told_in_one_sentence(value: Correction, words: str) -> None:
    assert describe(value) == words
