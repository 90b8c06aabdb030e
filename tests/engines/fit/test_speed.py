"""Speed: the formula's parts one by one, and the whole of it against public measurements that it was not fitted to."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines.base import LoadSettings
from engines.fit import speed
from engines.fit.values import CachePart, Correction, Geometry, ModelFacts, SpeedRange, Weights
from engines.hardware.machine import Bandwidth, Gpu, Machine, Processor

GB = 10**9
ROWS = Path(__file__).resolve().parents[2] / "data" / "fit" / "speed_rows.json"


def model_from(description: dict[str, Any], name: str) -> ModelFacts:
    """The facts of a row of models in the file."""
    expert_bytes = int(description.get("expert_gb", 0) * GB)
    width = description.get("key_width", 0)
    caches = (
        CachePart(
            name="full",
            layers=description["layers"],
            key_width=width,
            value_width=0 if description.get("latent") else width,
        ),
    )
    geometry = Geometry(
        architecture=name,
        layers=description["layers"],
        embedding_width=4096,
        vocabulary=128_000,
        trained_context_tokens=32_768,
        caches=caches if width else (),
        state_bytes=description.get("state_mb", 0) * 10**6,
        experts=description.get("experts", 0),
        experts_used=description.get("used", 0),
    )
    weights = Weights(
        total_bytes=int(description["file_gb"] * GB),
        exact=True,
        embedding_bytes=int(description["embedding_gb"] * GB),
        tied=description["tied"],
        expert_bytes=expert_bytes,
    )
    return ModelFacts(
        name=name,
        engine=description.get("engine", "llama"),
        quantization="",
        geometry=geometry,
        weights=weights,
        file_bytes=weights.total_bytes,
        parameters=int(description["parameters_b"] * GB),
        active_parameters=int(description["active_b"] * GB) if "active_b" in description else None,
    )


def machine_from(description: dict[str, Any]) -> Machine:
    """The computer of a row: an Apple chip, a card, a GPU on main memory, or a processor alone."""
    bandwidth = Bandwidth(bytes_per_second=int(description["bandwidth_gb"] * GB), source="table")
    vendor = description["vendor"]
    name = description.get("gpu", description.get("processor", ""))
    shares_memory = vendor == "apple" or "8060S" in name or "GB10" in name
    gpu = Gpu(
        name=name,
        vendor=vendor or "unknown",
        kind="integrated" if shares_memory else "discrete",
        memory_total_bytes=None if shares_memory else 24 * GB,
        shared_limit_bytes=100 * GB if shares_memory else None,
        bandwidth=None if shares_memory else bandwidth,
        cores=description.get("gpu_cores"),
    )
    return Machine(
        name=name,
        system="macos" if vendor == "apple" else "linux",
        processor=Processor(name=name, architecture="", physical_cores=description.get("cores")),
        memory_total_bytes=128 * GB,
        bandwidth=bandwidth if shares_memory or not vendor else None,
        gpus=(gpu,) if vendor else (),
    )


@dataclass(frozen=True)
class Checked:
    """One public measurement beside the prediction for it."""

    row: dict[str, Any]
    measured: float
    predicted: SpeedRange
    is_mixture: bool

    @property
    def error(self) -> float:
        return self.predicted.likely / self.measured - 1

    @property
    def is_inside(self) -> bool:
        return self.predicted.low <= self.measured <= self.predicted.high

    def __str__(self) -> str:
        name = self.row["machine"].get("gpu", self.row["machine"].get("processor"))
        return (
            f"{name:28} {self.row['model']:26} d{self.row.get('depth_tokens', 0):<6} {self.measured:8.1f}"
            f" {self.predicted.low:8.1f} {self.predicted.likely:8.1f} {self.predicted.high:8.1f} {self.error:+.0%}"
            f" {'' if self.is_inside else 'OUTSIDE'}"
        )


def checked(what: str) -> list[Checked]:
    """Every row that has this figure, predicted."""
    data = json.loads(ROWS.read_text("utf-8"))
    found = []
    for row in data["rows"]:
        if what not in row or row.get("used_for_constants"):
            continue
        facts, machine = model_from(data["models"][row["model"]], row["model"]), machine_from(row["machine"])
        settings = LoadSettings(batch_tokens=row.get("batch_tokens", 512))
        if what == "decode":
            predicted = speed.decode_speed(facts, machine, settings, depth_tokens=row.get("depth_tokens", 0))
        else:
            predicted = speed.prefill_speed(facts, machine, settings)
        assert predicted is not None, row
        found.append(Checked(row, row[what], predicted, facts.geometry.experts > 0))
    return found


def median_error(rows: list[Checked]) -> float:
    return statistics.median(abs(row.error) for row in rows)


def share_inside(rows: list[Checked]) -> float:
    return sum(row.is_inside for row in rows) / len(rows)


def test_dense_models_write_as_predicted_within_a_tenth_in_the_median() -> None:
    """facts/fit.md D.1 reports a median of 5 % and 16 of 20 rows within 20 %, on rows of its own."""
    rows = [row for row in checked("decode") if not row.is_mixture]
    assert len(rows) >= 40
    report = "\n".join(map(str, rows))
    assert median_error(rows) <= 0.10, report
    assert sum(abs(row.error) <= 0.2 for row in rows) / len(rows) >= 0.8, report
    assert share_inside(rows) >= 0.9, report


def test_mixtures_of_experts_write_as_predicted_within_an_eighth_in_the_median() -> None:
    """facts/fit.md D.1 reports a median of 12 % and 13 of 16 rows within 20 %."""
    rows = [row for row in checked("decode") if row.is_mixture]
    assert len(rows) >= 15
    report = "\n".join(map(str, rows))
    assert median_error(rows) <= 0.125, report
    assert sum(abs(row.error) <= 0.2 for row in rows) / len(rows) >= 0.75, report
    assert share_inside(rows) >= 0.9, report


def test_nobody_is_promised_much_more_than_was_measured() -> None:
    """The lower end of the range is what a recommendation counts on."""
    rows = checked("decode")
    assert sum(row.predicted.low > row.measured for row in rows) <= len(rows) // 20, "\n".join(map(str, rows))


def test_prompts_are_read_as_the_rule_of_thumb_says() -> None:
    rows = checked("prefill")
    assert len(rows) >= 12
    report = "\n".join(map(str, rows))
    assert median_error(rows) <= 0.3, report
    assert share_inside(rows) >= 0.9, report


DENSE = model_from({"file_gb": 5.0, "embedding_gb": 0.4, "tied": False, "layers": 32, "parameters_b": 8}, "dense")
MIXTURE = model_from(
    {
        "file_gb": 22.0,
        "embedding_gb": 0.4,
        "tied": False,
        "layers": 40,
        "parameters_b": 35,
        "active_b": 3,
        "expert_gb": 19.0,
        "experts": 256,
        "used": 8,
        "key_width": 512,
    },
    "mixture",
)
PC = machine_from({"vendor": "", "processor": "a processor", "bandwidth_gb": 80, "cores": 8})
MAC = machine_from({"vendor": "apple", "gpu": "Apple M4", "bandwidth_gb": 120, "gpu_cores": 10})
CARD = machine_from({"vendor": "nvidia", "gpu": "NVIDIA GeForce RTX 4070", "bandwidth_gb": 504})
PC_WITH_CARD = dataclasses.replace(CARD, bandwidth=PC.bandwidth, processor=PC.processor)


def likely(facts: ModelFacts, machine: Machine, settings: LoadSettings | None = None, **more: Any) -> float:
    found = speed.decode_speed(facts, machine, settings or LoadSettings(), **more)
    assert found is not None
    return found.likely


def test_token_reads_all_but_looked_up_rows_and_idle_experts() -> None:
    assert speed.active_bytes(DENSE) == 4.6 * GB
    assert speed.active_bytes(MIXTURE) == pytest.approx((22 - 0.4 - 19 + 19 * 8 / 256) * GB)
    tied = dataclasses.replace(DENSE, weights=dataclasses.replace(DENSE.weights, tied=True))
    assert speed.active_bytes(tied) == 5.0 * GB, "the table is the output matrix, too"
    lazy = dataclasses.replace(DENSE, weights=dataclasses.replace(DENSE.weights, lazy_bytes=GB))
    assert speed.active_bytes(lazy) == 3.6 * GB


def test_unknown_experts_are_worked_out_from_the_active_parameters() -> None:
    unknown = dataclasses.replace(MIXTURE, weights=dataclasses.replace(MIXTURE.weights, expert_bytes=0))
    assert speed.active_bytes(unknown) == pytest.approx(21.6 * GB * 3 / 35)
    hopeless = dataclasses.replace(unknown, active_parameters=None)
    assert speed.active_bytes(hopeless) is None
    assert speed.decode_speed(hopeless, MAC, LoadSettings()) is None
    assert speed.prefill_speed(hopeless, MAC, LoadSettings()) is None


def test_processor_reaches_its_share_of_the_memory_rate() -> None:
    assert likely(DENSE, PC) == pytest.approx(0.62 * 80 / 4.6)


def test_without_a_bandwidth_nothing_is_guessed() -> None:
    unknown = dataclasses.replace(PC, bandwidth=None)
    assert speed.decode_speed(DENSE, unknown, LoadSettings()) is None
    assert speed.prefill_speed(DENSE, unknown, LoadSettings()) is None
    blind_card = dataclasses.replace(
        PC_WITH_CARD, gpus=tuple(dataclasses.replace(gpu, bandwidth=None) for gpu in CARD.gpus)
    )
    assert speed.decode_speed(DENSE, blind_card, LoadSettings()) is None
    assert speed.decode_speed(DENSE, CARD, LoadSettings(gpu_layers=16)) is None, "half of it is in main memory"


def test_which_device_computes_follows_the_settings() -> None:
    assert speed.compute_device(DENSE, PC, LoadSettings()) == "cpu"
    assert speed.compute_device(DENSE, MAC, LoadSettings()) == "unified"
    assert speed.compute_device(DENSE, MAC, LoadSettings(gpu_layers=0)) == "cpu"
    assert speed.compute_device(DENSE, CARD, LoadSettings()) == "card"
    assert speed.compute_device(dataclasses.replace(DENSE, engine="mlx"), MAC, LoadSettings()) == "unified"


def test_mlx_runs_nowhere_without_a_gpu_on_main_memory() -> None:
    for_mlx = dataclasses.replace(DENSE, engine="mlx")
    radeon = machine_from({"vendor": "amd", "gpu": "AMD Radeon 8060S Graphics", "bandwidth_gb": 256})
    for machine in (PC, radeon):
        assert speed.decode_speed(for_mlx, machine, LoadSettings()) is None
        assert speed.prefill_speed(for_mlx, machine, LoadSettings()) is None


def test_architecture_of_many_small_steps_is_not_promised_the_speed_of_others() -> None:
    """DeepSeek V4-Flash on a Radeon 8060S: 14.8 tokens/s reported (llama.cpp #23863) where bytes alone would say 43."""
    flash = dataclasses.replace(
        MIXTURE, geometry=dataclasses.replace(MIXTURE.geometry, architecture="deepseek4", layers=43)
    )
    radeon = machine_from({"vendor": "amd", "gpu": "AMD Radeon 8060S Graphics", "bandwidth_gb": 256})
    assert likely(flash, radeon) < 0.5 * likely(MIXTURE, radeon)
    assert likely(flash, PC) == likely(MIXTURE, PC), "on a processor the bytes decide"


def test_more_layers_on_the_card_are_never_slower() -> None:
    speeds = [likely(DENSE, PC_WITH_CARD, LoadSettings(gpu_layers=layers)) for layers in range(34)]
    assert speeds == sorted(speeds)
    assert speeds[0] == pytest.approx(likely(DENSE, PC))
    assert speeds[-1] == pytest.approx(likely(DENSE, PC_WITH_CARD))
    assert speeds[-1] > 4 * speeds[0]


def test_both_devices_together_read_every_active_byte_once() -> None:
    """Half of the layers on the card takes half of each device's time (the output goes to the card first)."""
    even = dataclasses.replace(DENSE, weights=dataclasses.replace(DENSE.weights, embedding_bytes=0))
    halves = likely(even, PC_WITH_CARD, LoadSettings(gpu_layers=17))
    whole = 1 / likely(even, PC_WITH_CARD), 1 / likely(even, PC_WITH_CARD, LoadSettings(gpu_layers=0))
    assert 1 / halves == pytest.approx(sum(whole) / 2)


def test_experts_in_main_memory_are_read_at_its_rate() -> None:
    everything = likely(MIXTURE, PC_WITH_CARD)
    outside = likely(MIXTURE, PC_WITH_CARD, LoadSettings(expert_layers_on_cpu=40))
    active_experts = 19.0 * 8 / 256
    expected = 1 / everything - active_experts / (0.88 * 504) + active_experts / (0.62 * 80)
    assert outside == pytest.approx(1 / expected)
    some = likely(MIXTURE, PC_WITH_CARD, LoadSettings(expert_layers_on_cpu=10))
    assert outside < some < everything


def test_uneven_layers_count_by_their_bytes() -> None:
    heavy_end = tuple([GB // 64] * 31 + [GB])
    uneven = dataclasses.replace(DENSE, weights=dataclasses.replace(DENSE.weights, layer_bytes=heavy_end))
    assert likely(uneven, PC_WITH_CARD, LoadSettings(gpu_layers=2)) > likely(
        DENSE, PC_WITH_CARD, LoadSettings(gpu_layers=2)
    )


def test_depth_slows_down_by_the_cache_that_is_read() -> None:
    empty, deep = likely(MIXTURE, MAC), likely(MIXTURE, MAC, depth_tokens=32_768)
    cache = 40 * 2 * 512 * 2 * 32_768
    assert 1 / deep - 1 / empty == pytest.approx(cache / (0.5 * 120 * GB))
    small = likely(MIXTURE, MAC, LoadSettings(kv_type="q8_0"), depth_tokens=32_768)
    assert deep < small < empty


def test_window_layers_read_no_more_than_their_window() -> None:
    window = CachePart(name="window", layers=40, key_width=512, value_width=512, window_tokens=1024)
    windowed = dataclasses.replace(MIXTURE, geometry=dataclasses.replace(MIXTURE.geometry, caches=(window,)))
    assert likely(windowed, MAC, depth_tokens=2048) == likely(windowed, MAC, depth_tokens=100_000)


def test_recurrent_state_is_read_and_written() -> None:
    state = 200_000_000
    hybrid = dataclasses.replace(DENSE, geometry=dataclasses.replace(DENSE.geometry, state_bytes=state))
    assert 1 / likely(hybrid, PC) - 1 / likely(DENSE, PC) == pytest.approx(2 * state / (0.62 * 80 * GB))


def test_range_widens_where_less_is_known() -> None:
    def width(facts: ModelFacts, machine: Machine) -> float:
        found = speed.decode_speed(facts, machine, LoadSettings())
        assert found is not None
        assert found.low < found.likely < found.high
        return found.high / found.low

    hybrid = dataclasses.replace(DENSE, geometry=dataclasses.replace(DENSE.geometry, state_bytes=1000))
    assumed = dataclasses.replace(PC, bandwidth=Bandwidth(bytes_per_second=80 * GB, source="assumed"))
    rare = machine_from({"vendor": "huawei", "gpu": "Atlas 300I", "bandwidth_gb": 204})
    assert width(DENSE, MAC) == pytest.approx(1.1 / 0.7)
    assert width(MIXTURE, MAC) > width(hybrid, MAC) > width(DENSE, MAC)
    assert width(DENSE, assumed) > width(DENSE, PC)
    assert width(DENSE, rare) > width(DENSE, CARD)


def test_measured_bandwidth_counts_as_what_programs_reach() -> None:
    measured = dataclasses.replace(PC, bandwidth=Bandwidth(bytes_per_second=60 * GB, source="measured"))
    assert likely(DENSE, measured) == pytest.approx(0.8 * 60 / 4.6)


def test_figure_says_where_it_comes_from() -> None:
    found = speed.decode_speed(DENSE, PC_WITH_CARD, LoadSettings(gpu_layers=16))
    assert found is not None
    assert found.source == "prediction"
    assert "4.6 GB read per token" in found.basis
    assert "RTX 4070" in found.basis
    assert "62% of 80 GB/s (table)" in found.basis


def test_what_was_measured_replaces_the_prediction() -> None:
    correction = Correction(decode_measured=17.5, decode_factor=3.0, prefill_measured=300.0)
    decode = speed.decode_speed(DENSE, dataclasses.replace(MAC, bandwidth=None), LoadSettings(), correction=correction)
    prefill = speed.prefill_speed(DENSE, PC, LoadSettings(), correction=correction)
    assert decode is not None
    assert prefill is not None
    assert (decode.low, decode.likely, decode.high, decode.source) == (17.5, 17.5, 17.5, "measured")
    assert (prefill.likely, prefill.source) == (300.0, "measured")


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.4])
def test_other_models_on_this_computer_correct_the_prediction(factor: float) -> None:
    plain = speed.decode_speed(DENSE, MAC, LoadSettings())
    correction = Correction(decode_factor=factor, prefill_factor=factor)
    corrected = speed.decode_speed(DENSE, MAC, LoadSettings(), correction=correction)
    prefill = speed.prefill_speed(DENSE, MAC, LoadSettings(), correction=correction)
    assert plain is not None
    assert corrected is not None
    assert prefill is not None
    assert corrected.source == prefill.source == "corrected"
    assert corrected.likely == pytest.approx(plain.likely * factor)
    assert corrected.low < corrected.likely < corrected.high
    assert corrected.high / corrected.low <= plain.high / plain.low + 0.05


def test_prompt_speed_on_a_processor_grows_with_its_cores() -> None:
    eight = speed.prefill_speed(DENSE, PC, LoadSettings(threads=8))
    four = speed.prefill_speed(DENSE, PC, LoadSettings(threads=4))
    default = speed.prefill_speed(DENSE, PC, LoadSettings())
    assert eight is not None
    assert four is not None
    assert default is not None
    assert eight.likely == pytest.approx(2 * four.likely)
    assert four.likely < default.likely < eight.likely, "one core is left to the system"
    unknown = dataclasses.replace(PC, processor=Processor(name="", architecture=""))
    assert speed.prefill_speed(DENSE, unknown, LoadSettings()) is None


def test_prompt_speed_of_a_split_model_is_not_known() -> None:
    assert speed.prefill_speed(DENSE, PC_WITH_CARD, LoadSettings()) is not None
    assert speed.prefill_speed(DENSE, PC_WITH_CARD, LoadSettings(gpu_layers=20)) is None
    assert speed.prefill_speed(MIXTURE, PC_WITH_CARD, LoadSettings(expert_layers_on_cpu=4)) is None
    intel = machine_from({"vendor": "intel", "gpu": "Intel Arc B580", "bandwidth_gb": 456})
    assert speed.prefill_speed(DENSE, intel, LoadSettings()) is None


def test_active_parameters_of_a_header_follow_from_its_bytes() -> None:
    stated = speed.prefill_speed(MIXTURE, MAC, LoadSettings())
    unstated = speed.prefill_speed(dataclasses.replace(MIXTURE, active_parameters=None), MAC, LoadSettings())
    assert stated is not None
    assert unstated is not None
    # 3.6 of 22 GB are active; of the parameters it is somewhat less, for experts are stored in fewer bits.
    assert 0.4 * stated.likely < unstated.likely < stated.likely


def test_apple_chips_without_a_count_of_cores_are_taken_as_the_smallest() -> None:
    uncounted = dataclasses.replace(MAC, gpus=(dataclasses.replace(MAC.gpus[0], name="Apple M4 Pro", cores=None),))
    counted = dataclasses.replace(MAC, gpus=(dataclasses.replace(MAC.gpus[0], name="Apple M4 Pro", cores=20),))
    small, large = (speed.prefill_speed(DENSE, machine, LoadSettings()) for machine in (uncounted, counted))
    assert small is not None
    assert large is not None
    assert small.likely < large.likely
    nameless = dataclasses.replace(MAC, gpus=(dataclasses.replace(MAC.gpus[0], name="Apple GPU"),))
    assert speed.prefill_speed(DENSE, nameless, LoadSettings()) is None


def test_people_read_about_five_tokens_a_second() -> None:
    assert 5.2 < speed.READING_TOKENS_PER_SECOND < 5.4
    assert speed.words_per_second(speed.READING_TOKENS_PER_SECOND) * 60 == pytest.approx(238)
