from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.hardware import linux
from engines.hardware.linux import parse_core_list, parse_cpuinfo, parse_meminfo, read_power

KIB = 1024
GIB = 1024**3


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path, sample: Callable[[str], str]) -> Path:
    """A computer with the recorded processor and memory of a virtual machine, and nothing else."""
    put(tmp_path, {"proc/cpuinfo": sample("epyc_cpuinfo.txt"), "proc/meminfo": sample("epyc_meminfo.txt")})
    return tmp_path


def put_cores(root: Path, cores: dict[int, int], capacities: dict[int, int] | None = None) -> None:
    for number, core in cores.items():
        folder = f"sys/devices/system/cpu/cpu{number}"
        put(root, {f"{folder}/topology/core_id": f"{core}\n", f"{folder}/topology/physical_package_id": "0\n"})
        if capacities:
            put(root, {f"{folder}/cpu_capacity": f"{capacities[number]}\n"})


def test_a_recorded_computer(root: Path) -> None:
    machine = linux.read(root, affinity_cores=2)
    assert machine is not None
    assert machine.name == "AMD EPYC, 24 GB"
    assert machine.system == "linux"
    assert machine.memory_total_bytes == 24684084 * KIB
    assert machine.memory_available_bytes is not None
    assert machine.memory_available_bytes < machine.memory_total_bytes
    assert (machine.swap_total_bytes, machine.swap_used_bytes) == (0, 0)
    processor = machine.processor
    assert (processor.physical_cores, processor.performance_cores, processor.logical_cores) == (2, 2, 2)
    assert {"avx2", "avx512f", "avx512_vnni", "fma"} <= set(processor.features)
    assert machine.bandwidth is None
    assert machine.gpus == ()
    assert machine.container_limit_bytes is None


def test_a_processor_with_two_kinds_of_cores(root: Path, sample: Callable[[str], str]) -> None:
    put(root, {"proc/cpuinfo": sample("lunar_lake_cpuinfo.txt"), "sys/devices/cpu_core/cpus": "0-3\n"})
    put_cores(root, {number: number * 4 for number in range(8)})
    machine = linux.read(root)
    assert machine is not None
    assert machine.processor.name == "Intel(R) Core(TM) Ultra 7 268V"
    assert (machine.processor.physical_cores, machine.processor.performance_cores) == (8, 4)
    assert machine.bandwidth is not None
    assert machine.bandwidth.bytes_per_second == 136 * 10**9
    assert "avx_vnni" in machine.processor.features


def test_hyperthreads_are_no_cores(root: Path) -> None:
    put(root, {"sys/devices/cpu_core/cpus": "0-3\n"})
    put_cores(root, {0: 0, 1: 0, 2: 4, 3: 4, 4: 8, 5: 9})
    machine = linux.read(root)
    assert machine is not None
    assert (machine.processor.physical_cores, machine.processor.performance_cores) == (4, 2)


def test_arm_cores_have_capacities(root: Path, sample: Callable[[str], str]) -> None:
    put(root, {"proc/cpuinfo": sample("snapdragon_x_cpuinfo.txt"), "proc/device-tree/compatible": "qcom,x1e80100\0"})
    put_cores(root, {0: 0, 1: 1, 2: 2}, {0: 1024, 1: 900, 2: 400})
    machine = linux.read(root)
    assert machine is not None
    assert machine.processor.name == "Qualcomm Snapdragon X Elite"
    assert machine.processor.architecture == "arm64"
    assert (machine.processor.physical_cores, machine.processor.performance_cores) == (3, 2)
    assert {"neon", "dotprod", "i8mm", "bf16", "fp16"} <= set(machine.processor.features)
    assert machine.bandwidth is not None


def test_an_arm_core_without_a_name_has_that_of_its_maker(sample: Callable[[str], str]) -> None:
    assert parse_cpuinfo(sample("snapdragon_x_cpuinfo.txt")).name == "Qualcomm Oryon"


def test_a_container_leaves_less(root: Path) -> None:
    put(
        root,
        {
            "proc/self/cgroup": "0::/unit\n",
            "sys/fs/cgroup/unit/memory.max": str(4 * GIB),
            "sys/fs/cgroup/unit/memory.current": str(GIB),
            "sys/fs/cgroup/unit/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/cpu.max": "max 100000\n",
        },
    )
    machine = linux.read(root, affinity_cores=8)
    assert machine is not None
    assert machine.memory_total_bytes == machine.container_limit_bytes == 4 * GIB
    assert machine.memory_available_bytes == 3 * GIB
    assert machine.processor.usable_cores == 2
    assert machine.name == "AMD EPYC, 24 GB"


def test_a_limit_of_the_first_kind_of_cgroups(root: Path) -> None:
    put(
        root,
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n",
            "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    machine = linux.read(root, affinity_cores=2)
    assert machine is not None
    assert machine.processor.usable_cores == 1


def test_memory_modules_give_the_bandwidth(root: Path, sample: Callable[[str], str]) -> None:
    put(root, {"run/udev/data/+dmi:id": sample("thinkpad_udev_dmi.txt")})
    machine = linux.read(root)
    assert machine is not None
    assert machine.bandwidth is not None
    assert machine.bandwidth.bytes_per_second == 38_400_000_000


def test_names_of_products(root: Path) -> None:
    put(root, {"sys/class/dmi/id/sys_vendor": "Framework\n", "sys/class/dmi/id/product_name": "Framework Desktop\n"})
    machine = linux.read(root)
    assert machine is not None
    assert machine.name.startswith("Framework Desktop, ")
    put(
        root,
        {
            "sys/class/dmi/id/sys_vendor": "LENOVO\n",
            "sys/class/dmi/id/product_name": "20XY\n",
            "sys/class/dmi/id/product_version": "ThinkPad X1\n",
        },
    )
    machine = linux.read(root)
    assert machine is not None
    assert machine.name.startswith("LENOVO ThinkPad X1, ")
    put(root, {"sys/class/dmi/id/sys_vendor": "To Be Filled By O.E.M.\n", "sys/class/dmi/id/product_name": "None\n"})
    machine = linux.read(root)
    assert machine is not None
    assert machine.name.startswith("AMD EPYC")


def test_the_system_has_a_version(root: Path) -> None:
    put(root, {"etc/os-release": 'NAME=x\nPRETTY_NAME="Debian 12"\n', "proc/sys/kernel/osrelease": "6.1.0\n"})
    machine = linux.read(root)
    assert machine is not None
    assert machine.system_version == "Debian 12, kernel 6.1.0"


def test_without_memory_there_is_no_machine(tmp_path: Path) -> None:
    assert linux.read(tmp_path) is None


def test_what_was_not_found_out_is_said(tmp_path: Path) -> None:
    put(tmp_path, {"proc/meminfo": "MemTotal:       16000000 kB\n"})
    machine = linux.read(tmp_path)
    assert machine is not None
    assert machine.memory_available_bytes is None
    assert len(machine.unknown) == 2


def test_power(tmp_path: Path) -> None:
    assert read_power(tmp_path).on_mains is None
    supplies = tmp_path / "sys/class/power_supply"
    supplies.mkdir(parents=True)
    assert read_power(tmp_path).on_mains is True
    put(supplies, {"mouse/type": "Battery\n", "mouse/scope": "Device\n", "mouse/capacity": "10\n"})
    assert read_power(tmp_path).battery_share is None
    put(supplies, {"AC/type": "Mains\n", "AC/online": "0\n", "BAT0/type": "Battery\n", "BAT0/capacity": "80\n"})
    put(tmp_path, {"sys/firmware/acpi/platform_profile": "low-power\n"})
    power = read_power(tmp_path)
    assert (power.on_mains, power.battery_share, power.saving) == (False, 0.8, True)
    put(supplies, {"AC/online": "1\n", "BAT1/type": "Battery\n", "BAT1/capacity": "rubbish\n"})
    assert (read_power(tmp_path).on_mains, read_power(tmp_path).battery_share) == (True, 0.8)


def test_core_lists() -> None:
    assert parse_core_list("0-3,8\n") == (0, 1, 2, 3, 8)
    assert parse_core_list("") == ()
    assert parse_core_list("0-x") == ()


def test_memory_that_is_cut_is_not_known_rather_than_wrong(
    sample: Callable[[str], str], cuts: Callable[[str], Iterator[str]], damaged: Callable[[str], Iterator[str]]
) -> None:
    text = sample("epyc_meminfo.txt")
    whole = parse_meminfo(text)
    assert whole.total_bytes == 24684084 * KIB
    for part in cuts(text):
        found = parse_meminfo(part)
        for name in ("total_bytes", "available_bytes", "swap_total_bytes", "swap_free_bytes"):
            assert getattr(found, name) in (None, getattr(whole, name))
    for bad in damaged(text):
        parse_meminfo(bad)


@pytest.mark.parametrize(
    "name", ["epyc_cpuinfo.txt", "snapdragon_x_cpuinfo.txt", "lunar_lake_cpuinfo.txt", "ryzen_ai_max_cpuinfo.txt"]
)
def test_a_processor_that_is_cut_is_not_known_rather_than_wrong(
    name: str,
    sample: Callable[[str], str],
    cuts: Callable[[str], Iterator[str]],
    damaged: Callable[[str], Iterator[str]],
) -> None:
    text = sample(name)
    whole = parse_cpuinfo(text)
    assert whole.features
    for part in cuts(text):
        found = parse_cpuinfo(part)
        assert found.features in ((), whole.features)
        assert found.physical_cores in (None, whole.physical_cores)
        assert (found.logical_cores or 0) <= (whole.logical_cores or 0)
        assert found.name in ("", whole.name, "Qualcomm")
    for bad in damaged(text):
        parse_cpuinfo(bad)
