"""A Mac: what sysctl, vm_stat, pmset and the registry of devices say, turned into a Machine.

`ask` runs the programs, `describe` reads their answers; nothing raises. What the GPU may use is only known to Metal,
which this process does not load: the older, smaller rule stands in for it, and that is said.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import Any

from engines.hardware import bandwidth
from engines.hardware.asking import complete_lines, run_program
from engines.hardware.machine import Gpu, Machine, Power, Processor
from engines.hardware.naming import machine_name, nominal_gigabytes

MEBIBYTE = 1024**2
GIBIBYTE = 1024**3

_SYSCTL_NAMES = (
    *("hw.memsize", "hw.model", "hw.physicalcpu", "hw.logicalcpu", "hw.perflevel0", "hw.perflevel1", "hw.optional"),
    *("machdep.cpu.brand_string", "machdep.cpu.features", "machdep.cpu.leaf7_features", "kern.osproductversion"),
    *("iogpu.wired_limit_mb", "kern.memorystatus_vm_pressure_level", "vm.swapusage"),
)
_FEATURES = {
    "hw.optional.neon": "neon", "hw.optional.arm64": "neon", "hw.optional.AdvSIMD": "neon",
    "hw.optional.neon_fp16": "fp16", "hw.optional.arm.FEAT_FP16": "fp16", "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_I8MM": "i8mm", "hw.optional.arm.FEAT_BF16": "bf16", "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.sse4_2": "sse4_2", "hw.optional.avx1_0": "avx", "hw.optional.f16c": "f16c",
    "hw.optional.fma": "fma", "hw.optional.avx2_0": "avx2", "hw.optional.avx512f": "avx512f",
}  # fmt: skip
_MODELS = {"macmini": "Mac mini", "macbookair": "MacBook Air", "macbookpro": "MacBook Pro", "imac": "iMac"}
_PRESSURE = {2: "macOS is short of memory now.", 4: "macOS is very short of memory now."}


@dataclass(frozen=True, slots=True)
class Answers:
    """What the programs printed; empty where one is missing."""

    sysctl: str = ""
    vm_stat: str = ""
    battery: str = ""
    """pmset -g batt."""
    power_settings: str = ""
    """pmset -g."""
    accelerators: str = ""
    """ioreg -rc AGXAccelerator -d 1."""
    displays: str = ""
    """system_profiler SPDisplaysDataType -json: slow, only asked when ioreg does not tell."""


@dataclass(frozen=True, slots=True)
class GpuText:
    """What ioreg or system_profiler say of the GPU."""

    name: str
    cores: int | None


def ask() -> Answers:
    """Runs the programs that answer; about a tenth of a second, about one when system_profiler is needed."""
    accelerators = run_program(["/usr/sbin/ioreg", "-r", "-c", "AGXAccelerator", "-d", "1", "-w", "0"])
    needs_displays = parse_accelerators(accelerators) is None
    return Answers(
        sysctl=run_program(["/usr/sbin/sysctl", *_SYSCTL_NAMES]),
        vm_stat=run_program(["/usr/bin/vm_stat"]),
        battery=run_program(["/usr/bin/pmset", "-g", "batt"]),
        power_settings=run_program(["/usr/bin/pmset", "-g"]),
        accelerators=accelerators,
        displays=run_program(["/usr/sbin/system_profiler", "SPDisplaysDataType", "-json"], timeout_s=10.0)
        if needs_displays
        else "",
    )


def read() -> Machine | None:
    """The Mac we are on; None on other systems, and when not even its memory is known."""
    return describe(ask()) if sys.platform == "darwin" else None


def describe(answers: Answers) -> Machine | None:
    """The Mac that gave these answers; None when not even its memory is known."""
    values = parse_sysctl(answers.sysctl)
    total = _number(values.get("hw.memsize"))
    if not total:
        return None
    processor = _processor(values)
    unknown: list[str] = []
    gpu, speed = None, None
    if processor.architecture == "arm64":
        text = parse_accelerators(answers.accelerators) or parse_displays(answers.displays)
        cores = text.cores if text is not None else None
        speed = bandwidth.for_processor(processor.name, gpu_cores=cores)
        limit, note = working_set(total, _number(values.get("iogpu.wired_limit_mb")))
        name = text.name if text is not None else processor.name
        gpu = Gpu(
            name=f"{name} GPU",
            vendor="apple",
            kind="integrated",
            shared_limit_bytes=limit,
            bandwidth=speed,
            cores=cores,
            drives_display=True,
            driver="Metal",
        )
        unknown += [note] if note else []
        unknown += [] if cores else ["How many cores the GPU has was not found out."]
    else:
        unknown.append("The GPUs of Macs with an Intel processor are not used.")
    available = parse_vm_stat(answers.vm_stat, total)
    if available is None:
        unknown.append("How much memory is free now was not found out.")
    pressure = _PRESSURE.get(_number(values.get("kern.memorystatus_vm_pressure_level")) or 0)
    swap_total, swap_used = parse_swap(values.get("vm.swapusage", ""))
    return Machine(
        name=machine_name(_model(values.get("hw.model", "")), processor.name, nominal_gigabytes(total)),
        system="macos",
        system_version=values.get("kern.osproductversion", ""),
        processor=processor,
        memory_total_bytes=total,
        memory_available_bytes=available,
        swap_total_bytes=swap_total,
        swap_used_bytes=swap_used,
        bandwidth=speed,
        gpus=(gpu,) if gpu is not None else (),
        power=parse_power(answers.battery, answers.power_settings),
        unknown=(*unknown, *([pressure] if pressure else [])),
    )


def working_set(memory_total_bytes: int, wired_limit_mebibytes: int | None = None) -> tuple[int, str]:
    """What Metal lets the GPU use, and a sentence where that is assumed.

    `iogpu.wired_limit_mb` when somebody set it. Else the rule of macOS up to 14: two thirds of memory below 36 GB,
    three quarters from there on. Newer versions allow more (74 to 90 %), so this errs on the side of not loading
    (facts/fit.md C.1: recommendedMaxWorkingSetSize lines in public llama.cpp logs; antirez/ds4 #890).
    """
    if wired_limit_mebibytes:
        return min(wired_limit_mebibytes * MEBIBYTE, memory_total_bytes), ""
    share = (2, 3) if memory_total_bytes < 36 * GIBIBYTE else (3, 4)
    limit = memory_total_bytes * share[0] // share[1]
    return limit, (
        f"How much memory the GPU may use was not asked; {limit / GIBIBYTE:.1f} GiB is assumed, the rule of older "
        "versions of macOS. Newer ones allow more."
    )


def parse_sysctl(text: str) -> dict[str, str]:
    """The lines `name: value`."""
    lines = (re.fullmatch(r"([A-Za-z][\w.]*)[:=]\s*(.*?)\s*", line) for line in complete_lines(text))
    return {match[1]: match[2] for match in lines if match is not None}


def parse_vm_stat(text: str, memory_total_bytes: int) -> int | None:
    """What is available, in bytes: everything but what programs, the kernel and the compressor hold.

    Used is active + inactive + speculative + wired + compressor - purgeable - file-backed, as Activity Monitor and
    Ollama's discover package count it (facts/fit.md C.1).
    """
    page = re.search(r"page size of (\d{1,7}) bytes", text)
    lines = (re.fullmatch(r"([^:]+):\s+(\d{1,15})\.", line) for line in complete_lines(text))
    pages = {match[1].strip('"'): int(match[2]) for match in lines if match is not None}
    try:
        used = sum(pages[name] for name in ("Pages active", "Pages inactive", "Pages speculative", "Pages wired down"))
        used += pages["Pages occupied by compressor"] - pages["Pages purgeable"] - pages["File-backed pages"]
    except KeyError:
        return None
    return max(0, memory_total_bytes - max(0, used) * int(page[1])) if page is not None else None


def parse_swap(text: str) -> tuple[int | None, int | None]:
    """Total and used of `vm.swapusage`: "total = 4096.00M  used = 2743.50M  free = ..."."""
    found = re.search(r"total = (\d+)\.\d\dM\s+used = (\d+)\.\d\dM\s", f"{text} ")
    return (int(found[1]) * MEBIBYTE, int(found[2]) * MEBIBYTE) if found is not None else (None, None)


def parse_power(battery: str, settings: str) -> Power:
    """`pmset -g batt` (source and charge) and `pmset -g` (low power mode)."""
    source = re.search(r"Now drawing from '(AC Power|Battery Power|UPS Power)'", battery)
    share = re.search(r"InternalBattery\S*.*?\b(\d{1,3})%;", battery)
    saving = re.search(r"^\s*lowpowermode\s+([01])\s*$", settings, re.MULTILINE)
    return Power(
        on_mains=source[1] == "AC Power" if source is not None else None,
        battery_share=min(int(share[1]), 100) / 100 if share is not None else None,
        saving=saving[1] == "1" if saving is not None else None,
    )


def parse_accelerators(text: str) -> GpuText | None:
    """Model and cores in what ioreg says of AGXAccelerator."""
    lines = "\n".join(complete_lines(text))
    cores = re.search(r'"gpu-core-count" = (\d{1,4})$', lines, re.MULTILINE)
    model = re.search(r'"model" = <?"([^"\n]+)"', lines)
    return GpuText(model[1], int(cores[1])) if cores is not None and model is not None else None


def parse_displays(text: str) -> GpuText | None:
    """The Apple GPU in `system_profiler SPDisplaysDataType -json`; its cores are missing on old versions of macOS."""
    try:
        entries: Any = json.loads(text)["SPDisplaysDataType"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    for entry in entries if isinstance(entries, list) else []:
        values = entry if isinstance(entry, dict) else {}
        name = str(values.get("sppci_model") or values.get("_name") or "")
        if "apple" in name.lower() or "sppci_vendor_Apple" in str(values.get("spdisplays_vendor")):
            return GpuText(name.replace("kHW_AppleM1Item", "Apple M1"), _number(str(values.get("sppci_cores"))))
    return None


def _processor(values: dict[str, str]) -> Processor:
    name = values.get("machdep.cpu.brand_string", "")
    words = f"{values.get('machdep.cpu.features', '')} {values.get('machdep.cpu.leaf7_features', '')}".lower().split()
    features = {ours for key, ours in _FEATURES.items() if values.get(key) == "1"}
    features |= {word.replace(".", "_").replace("avx1_0", "avx") for word in words} & set(_FEATURES.values())
    physical = _number(values.get("hw.physicalcpu"))
    is_apple = name.startswith("Apple") or "neon" in features
    return Processor(
        name=name or ("Apple" if is_apple else "Intel"),
        architecture="arm64" if is_apple else "x86_64",
        physical_cores=physical,
        performance_cores=_performance_cores(values) or physical,
        logical_cores=_number(values.get("hw.logicalcpu")),
        usable_cores=_number(values.get("hw.logicalcpu")),
        features=tuple(sorted(features)),
    )


def _performance_cores(values: dict[str, str]) -> int | None:
    """Levels that are not called Efficiency; the first level is the fastest."""
    levels = [
        _number(values.get(f"hw.perflevel{level}.physicalcpu"))
        for level in range(4)
        if level == 0 or values.get(f"hw.perflevel{level}.name", "Efficiency") != "Efficiency"
    ]
    return sum(cores for cores in levels if cores) or None


def _model(identifier: str) -> str:
    """The product that an identifier names: older ones do ("MacBookPro18,1"), newer ones do not ("Mac16,10")."""
    return _MODELS.get(re.sub(r"[\d,]+$", "", identifier).lower(), "Mac")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 20 else None
