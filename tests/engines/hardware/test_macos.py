from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from engines.hardware import macos
from engines.hardware.macos import (
    Answers,
    describe,
    parse_accelerators,
    parse_displays,
    parse_power,
    parse_swap,
    parse_sysctl,
    parse_vm_stat,
    working_set,
)

MIB = 1024**2
GIB = 1024**3


@pytest.fixture
def answers(sample: Callable[[str], str]) -> Answers:
    return Answers(
        sysctl=sample("mac_m4_24_sysctl.txt"),
        vm_stat=sample("mac_vm_stat.txt"),
        battery=sample("mac_pmset_batt.txt"),
        power_settings=sample("mac_pmset_settings.txt"),
        accelerators=sample("mac_ioreg.txt"),
    )


def test_a_mac(answers: Answers) -> None:
    machine = describe(answers)
    assert machine is not None
    assert machine.name == "Mac, Apple M4 Pro, 24 GB"
    assert (machine.system, machine.system_version) == ("macos", "15.4.1")
    assert machine.memory_total_bytes == 24 * GIB
    processor = machine.processor
    assert (processor.physical_cores, processor.performance_cores, processor.logical_cores) == (12, 8, 12)
    assert processor.architecture == "arm64"
    assert processor.features == ("bf16", "dotprod", "fp16", "i8mm", "neon", "sme")
    gpu = machine.unified_gpu
    assert gpu is not None
    assert (gpu.vendor, gpu.kind, gpu.cores) == ("apple", "integrated", 16)
    assert gpu.shared_limit_bytes == 16 * GIB
    assert machine.bandwidth is not None
    assert machine.bandwidth.bytes_per_second == 273 * 10**9
    assert gpu.bandwidth == machine.bandwidth
    assert (machine.swap_total_bytes, machine.swap_used_bytes) == (4096 * MIB, 2743 * MIB)
    assert (machine.power.on_mains, machine.power.battery_share, machine.power.saving) == (True, 0.84, False)
    assert len(machine.unknown) == 1
    assert "16.0 GiB is assumed" in machine.unknown[0]


def test_available_is_what_nobody_holds(sample: Callable[[str], str]) -> None:
    used_pages = 446206 + 443760 + 1075 + 181483 + 442179 - 17340 - 294894
    assert parse_vm_stat(sample("mac_vm_stat.txt"), 24 * GIB) == 24 * GIB - used_pages * 16384


def test_the_gpus_limit_follows_what_somebody_set(answers: Answers) -> None:
    changed = answers.sysctl.replace("iogpu.wired_limit_mb: 0", "iogpu.wired_limit_mb: 20480")
    machine = describe(replace(answers, sysctl=changed))
    assert machine is not None
    assert machine.unified_gpu is not None
    assert machine.unified_gpu.shared_limit_bytes == 20 * GIB
    assert machine.unknown == ()
    assert working_set(16 * GIB, 99_999)[0] == 16 * GIB


@pytest.mark.parametrize(
    ("memory", "megabytes"),
    # facts/fit.md C.1: what older versions of macOS logged
    [(8, 5726), (16, 11453), (18, 12885), (32, 22907), (64, 51540), (96, 77309), (36, 28991), (128, 103079)],
)
def test_the_older_smaller_rule(memory: int, megabytes: int) -> None:
    limit, note = working_set(memory * GIB)
    assert abs(limit / 10**6 - megabytes) < 1
    assert "assumed" in note


def test_pressure_is_worth_a_sentence(answers: Answers) -> None:
    pressed = answers.sysctl.replace("vm_pressure_level: 1", "vm_pressure_level: 4")
    machine = describe(replace(answers, sysctl=pressed))
    assert machine is not None
    assert machine.unknown[-1] == "macOS is very short of memory now."


def test_system_profiler_stands_in_for_ioreg(answers: Answers, sample: Callable[[str], str]) -> None:
    text = parse_displays(sample("mac_m3_pro_displays.json"))
    assert text is not None
    assert (text.name, text.cores) == ("Apple M3 Pro", 18)
    old = parse_displays(sample("mac_m1_displays.json"))
    assert old is not None
    assert (old.name, old.cores) == ("Apple M1", None)
    machine = describe(replace(answers, accelerators="", displays=sample("mac_m1_displays.json")))
    assert machine is not None
    assert "How many cores the GPU has was not found out." in machine.unknown


def test_new_names_for_fast_cores(answers: Answers) -> None:
    renamed = answers.sysctl.replace("perflevel0.name: Performance", "perflevel0.name: Super").replace(
        "perflevel1.name: Efficiency", "perflevel1.name: Performance"
    )
    machine = describe(replace(answers, sysctl=renamed))
    assert machine is not None
    assert machine.processor.performance_cores == 12


def test_a_mac_with_an_intel_processor_computes_on_it() -> None:
    sysctl = (
        "hw.memsize: 17179869184\nhw.physicalcpu: 4\nhw.logicalcpu: 8\nhw.model: MacBookPro15,2\n"
        "machdep.cpu.brand_string: Intel(R) Core(TM) i5-8259U CPU @ 2.30GHz\n"
        "machdep.cpu.features: FPU SSE SSE4.2 FMA AVX1.0 F16C\nmachdep.cpu.leaf7_features: AVX2 BMI1\n"
    )
    machine = describe(Answers(sysctl=sysctl))
    assert machine is not None
    assert machine.name == "MacBook Pro, Intel Core i5-8259U, 16 GB"
    assert machine.processor.architecture == "x86_64"
    assert machine.processor.features == ("avx", "avx2", "f16c", "fma", "sse4_2")
    assert machine.gpus == ()
    assert machine.memory_available_bytes is None
    assert len(machine.unknown) == 2


def test_without_memory_there_is_no_machine() -> None:
    assert describe(Answers()) is None


def test_battery_alone() -> None:
    power = parse_power("Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t7%; discharging;\n", "")
    assert (power.on_mains, power.battery_share, power.saving) == (False, 0.07, None)


def test_answers_that_are_cut_are_not_known_rather_than_wrong(
    answers: Answers, sample: Callable[[str], str], cuts: Callable[[str], Iterator[str]]
) -> None:
    values = parse_sysctl(answers.sysctl)
    for part in cuts(answers.sysctl):
        assert parse_sysctl(part).items() <= values.items()
        describe(replace(answers, sysctl=part))
    available = parse_vm_stat(answers.vm_stat, 24 * GIB)
    for part in cuts(answers.vm_stat):
        assert parse_vm_stat(part, 24 * GIB) in (None, available)
    swap = parse_swap(values["vm.swapusage"])
    for part in cuts(values["vm.swapusage"]):
        assert parse_swap(part) in ((None, None), swap)
    for part in cuts(answers.accelerators):
        assert parse_accelerators(part) in (None, parse_accelerators(answers.accelerators))
    displays = sample("mac_m3_pro_displays.json")
    for part in cuts(displays):
        assert parse_displays(part) in (None, parse_displays(displays))
    for part in cuts(answers.battery):
        assert parse_power(part, "").battery_share in (None, 0.84)


def test_damaged_answers_raise_nothing(answers: Answers, damaged: Callable[[str], Iterator[str]]) -> None:
    for name in ("sysctl", "vm_stat", "battery", "power_settings", "accelerators"):
        for bad in damaged(getattr(answers, name)):
            describe(replace(answers, **{name: bad}))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"SPDisplaysDataType": 3}', '{"SPDisplaysDataType": [1, {}]}', "[" * 100_000]
)
def test_other_json_is_no_display(text: str) -> None:
    assert parse_displays(text) is None


def test_damaged_displays_raise_nothing(sample: Callable[[str], str], damaged: Callable[[str], Iterator[str]]) -> None:
    for bad in damaged(sample("mac_m3_pro_displays.json")):
        parse_displays(bad)


def test_only_a_mac_is_asked() -> None:
    machine = macos.read()
    assert machine is None or machine.system == "macos"
