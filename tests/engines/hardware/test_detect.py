from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from engines.errors import EngineError
from engines.hardware import detect
from engines.hardware.detect import beside_table, measured, read_machine, with_cards
from engines.hardware.machine import Bandwidth, Gpu
from engines.hardware.machine_file import impossible_figure
from engines.hardware.profiles import find_profile
from engines.memory import read_memory

TABLE = Bandwidth(bytes_per_second=90 * 10**9, source="table", note="DDR5")
MEASURED = Bandwidth(bytes_per_second=60 * 10**9, source="measured", note="copying")


def test_this_computer_is_read(tmp_path: Path) -> None:
    machine = read_machine(tmp_path)
    assert impossible_figure(machine) == ""
    assert not machine.is_profile
    assert machine.memory_total_bytes == read_memory().total_bytes
    assert machine.processor.physical_cores == psutil.cpu_count(logical=False)
    assert machine.processor.logical_cores == psutil.cpu_count(logical=True)
    assert machine.disk is not None
    assert machine.disk.path == str(tmp_path)
    assert machine.disk.free_bytes
    assert machine.name


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    machine = read_machine(tmp_path)
    assert any("main memory" in sentence for sentence in machine.unknown) == (machine.bandwidth is None)


@pytest.mark.skipif(sys.platform == "darwin", reason="system_profiler may take longer")
def test_reading_takes_under_a_second(tmp_path: Path) -> None:
    times = []
    for _ in range(3):
        started_at = time.monotonic()
        read_machine(tmp_path)
        times.append(time.monotonic() - started_at)
    assert min(times) < 1.0


def test_a_system_that_was_never_heard_of_still_has_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "_read_system", lambda: None)
    machine = read_machine(tmp_path)
    assert machine.memory_total_bytes == read_memory().total_bytes
    assert machine.processor.logical_cores
    assert "was not asked" in machine.unknown[0]


def test_a_fault_of_ours_costs_what_it_was_about_to_find_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: Callable[..., object]
) -> None:
    def faulty(*_: object) -> None:
        raise ZeroDivisionError

    expect_log("could not be read", level=logging.ERROR)
    monkeypatch.setattr(detect.cards, "read_nvidia", faulty)
    assert read_machine(tmp_path).processor.physical_cores
    monkeypatch.setattr(detect, "_read_system", faulty)
    assert read_machine(tmp_path).memory_total_bytes == read_memory().total_bytes


def test_a_driver_knows_more_than_the_system() -> None:
    machine = replace(
        find_profile("pc-32"),
        gpus=(
            Gpu(name="NVIDIA AD102", vendor="nvidia", kind="discrete"),
            Gpu(name="AMD Radeon Graphics", vendor="amd", kind="integrated"),
        ),
    )
    card = Gpu(name="NVIDIA GeForce RTX 4090", vendor="nvidia", kind="discrete", memory_total_bytes=24 << 30)
    seen = with_cards(machine, (card,))
    assert [gpu.name for gpu in seen.gpus] == ["NVIDIA GeForce RTX 4090", "AMD Radeon Graphics"]
    assert seen.card == card
    assert seen.unknown == machine.unknown

    unseen = with_cards(machine, ())
    assert unseen.card is None
    assert "has no driver that says" in unseen.unknown[-1]


def test_a_chip_that_shares_the_memory_reads_it_as_fast() -> None:
    gb10 = Gpu(name="NVIDIA GB10", vendor="nvidia", kind="integrated", shared_limit_bytes=1 << 30)
    machine = with_cards(find_profile("pc-32"), (gb10,))
    assert machine.unified_gpu is not None
    assert machine.unified_gpu.bandwidth == machine.bandwidth


def test_a_table_goes_before_a_measured_figure_and_both_are_named() -> None:
    both = beside_table(TABLE, MEASURED)
    assert both is not None
    assert (both.bytes_per_second, both.source) == (TABLE.bytes_per_second, "table")
    assert both.note == "DDR5; measured 60 GB/s by copying"
    assert beside_table(None, MEASURED) == MEASURED
    assert beside_table(replace(TABLE, source="assumed"), MEASURED) == MEASURED
    assert beside_table(TABLE, None) == TABLE
    assert beside_table(None, None) is None


def test_measuring_fills_in_what_was_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect.bandwidth, "measure_memory", lambda: MEASURED)
    monkeypatch.setattr(detect.disk, "measure_random_read", lambda _: replace(MEASURED, note="random reads"))
    machine = measured(replace(read_machine(tmp_path), bandwidth=None, unknown=(detect.NO_BANDWIDTH, "Other.")))
    assert machine.bandwidth == MEASURED
    assert machine.disk is not None
    assert machine.disk.random_read is not None
    assert machine.unknown == ("Other.",)


def test_what_cannot_be_measured_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Bandwidth:
        raise EngineError("It could not be measured.", "Try.", "Too little space.")

    monkeypatch.setattr(detect.bandwidth, "measure_memory", refuse)
    monkeypatch.setattr(detect.disk, "measure_random_read", refuse)
    machine = measured(replace(read_machine(tmp_path), unknown=()))
    assert machine.unknown == ("It could not be measured. Too little space.",) * 2
    assert machine.disk is not None
    assert machine.disk.random_read is None
