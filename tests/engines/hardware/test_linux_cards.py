from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.hardware import linux_cards
from engines.hardware.linux_cards import find_pci_name
from engines.hardware.machine import Bandwidth

MEMORY = Bandwidth(bytes_per_second=256 * 10**9, source="table")
GIB = 1024**3


@pytest.fixture
def root(tmp_path: Path, sample: Callable[[str], str]) -> Path:
    (tmp_path / "usr/share/hwdata").mkdir(parents=True)
    (tmp_path / "usr/share/hwdata/pci.ids").write_text(sample("pci.ids"), encoding="utf-8")
    return tmp_path


def put_card(root: Path, number: int, *, slot: str = "0000:03:00.0", connected: bool = False, **files: str) -> None:
    """A card as the kernel shows it; names are those of files in its device folder."""
    device = root / f"sys/class/drm/card{number}/device"
    device.mkdir(parents=True)
    for name, text in files.items():
        (device / name).write_text(f"{text}\n", encoding="ascii")
    (device / "uevent").write_text(f"DRIVER={files.get('driver', 'amdgpu')}\nPCI_SLOT_NAME={slot}\n", encoding="ascii")
    output = root / f"sys/class/drm/card{number}-DP-1"
    output.mkdir()
    (output / "status").write_text("connected\n" if connected else "disconnected\n", encoding="ascii")


def strix_halo(root: Path, number: int = 1, *, product: str = "0x1586") -> None:
    put_card(
        root,
        number,
        connected=True,
        vendor="0x1002",
        device=product,
        mem_info_vram_total="4294967296",
        mem_info_vram_used="1073741824",
        mem_info_gtt_total="103079215104",
    )


def compute_node(root: Path, simd_count: int, device_id: int = 0x1586) -> None:
    node = root / "sys/class/kfd/kfd/topology/nodes/1"
    node.mkdir(parents=True)
    (node / "properties").write_text(
        f"simd_count {simd_count}\nsimd_per_cu 2\ndevice_id {device_id}\n", encoding="ascii"
    )


def test_an_apu_has_a_carve_out_and_shares_the_rest(root: Path) -> None:
    strix_halo(root)
    compute_node(root, 80)
    found = linux_cards.read(root, "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", MEMORY)
    (gpu,) = found.gpus
    assert (gpu.name, gpu.kind, gpu.cores) == ("AMD Radeon 8060S", "integrated", 40)
    assert (gpu.memory_total_bytes, gpu.memory_free_bytes) == (4 * GIB, 3 * GIB)
    assert gpu.shared_limit_bytes == 96 * GIB
    assert gpu.bandwidth == MEMORY
    assert gpu.drives_display is True
    assert found.unknown == ()


def test_the_kernels_limit_for_all_of_them_counts_too(root: Path) -> None:
    strix_halo(root)
    (root / "sys/module/ttm/parameters").mkdir(parents=True)
    (root / "sys/module/ttm/parameters/pages_limit").write_text("16384000\n", encoding="ascii")
    (gpu,) = linux_cards.read(root, "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", MEMORY).gpus
    assert gpu.shared_limit_bytes == 16384000 * 4096


@pytest.mark.parametrize("tells_units", [True, False])
def test_two_compute_units_inside_a_desktop_processor_do_not_count(root: Path, tells_units: bool) -> None:
    strix_halo(root, product="0x164e")
    if tells_units:
        compute_node(root, 4, 0x164E)
    found = linux_cards.read(root, "AMD Ryzen 7 7700 8-Core Processor", MEMORY)
    assert found.gpus[0].shared_limit_bytes is None
    assert "too small" in found.unknown[0]


def test_a_card_has_memory_of_its_own(root: Path) -> None:
    put_card(
        root,
        0,
        vendor="0x1002",
        device="0x744c",
        mem_info_vram_total=str(24560 * 1024**2),
        mem_info_vram_used=str(560 * 1024**2),
        mem_info_gtt_total="8589934592",
        mem_busy_percent="0",
    )
    found = linux_cards.read(root, "AMD Ryzen 9 7950X 16-Core Processor", MEMORY)
    (gpu,) = found.gpus
    assert gpu.name == "AMD Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M"
    assert (gpu.kind, gpu.shared_limit_bytes, gpu.drives_display) == ("discrete", None, False)
    assert gpu.memory_free_bytes == 24000 * 1024**2
    assert gpu.bandwidth is not None
    assert gpu.bandwidth.bytes_per_second == 960 * 10**9


def test_intel_inside_the_processor_and_on_a_card(root: Path) -> None:
    put_card(root, 0, slot="0000:00:02.0", vendor="0x8086", device="0x64a0", driver="xe")
    window = "0x0000000080000000 0x0000000080ffffff 0x0000000000140204\n"
    window += "0x0000004000000000 0x00000043ffffffff 0x000000000014220c"
    put_card(root, 1, vendor="0x8086", device="0x56a0", driver="xe", resource=window)
    found = linux_cards.read(root, "Intel(R) Core(TM) Ultra 7 268V", MEMORY)
    inside, card = found.gpus
    assert (inside.name, inside.kind) == ("Intel Arc Graphics 130V / 140V", "integrated")
    assert inside.shared_limit_bytes is None
    assert (card.name, card.kind, card.memory_total_bytes) == ("Intel Arc A770", "discrete", 16 * GIB)
    assert card.bandwidth is not None
    assert len(found.unknown) == 2


def test_a_card_whose_memory_is_not_shown_is_not_counted(root: Path) -> None:
    put_card(root, 0, vendor="0x8086", device="0x56a0", resource="0x0000000080000000 0x000000008fffffff 0x0")
    found = linux_cards.read(root, "", None)
    assert found.gpus[0].memory_total_bytes is None
    assert "not counted" in found.unknown[0]


def test_nvidia_without_its_driver_is_only_seen(root: Path) -> None:
    put_card(root, 0, vendor="0x10de", device="0x2684", driver="nouveau")
    (gpu,) = linux_cards.read(root, "", None).gpus
    assert (gpu.name, gpu.vendor, gpu.memory_total_bytes) == ("NVIDIA GeForce RTX 4090", "nvidia", None)


def test_screens_of_virtual_machines_and_no_screens_are_no_gpus(root: Path) -> None:
    assert linux_cards.read(root, "", None).gpus == ()
    put_card(root, 0, vendor="0x1af4", device="0x1050")
    assert linux_cards.read(root, "", None).gpus == ()


def test_an_adreno_is_seen_and_not_counted(root: Path) -> None:
    put_card(root, 0, slot="", driver="msm_dpu")
    found = linux_cards.read(root, "", None)
    assert found.gpus[0].vendor == "qualcomm"
    assert found.unknown


def test_a_card_that_is_not_listed_has_its_number_for_a_name(root: Path) -> None:
    put_card(root, 0, vendor="0x1002", device="0x9999", mem_busy_percent="0")
    (gpu,) = linux_cards.read(root, "", None).gpus
    assert gpu.name == "AMD GPU 9999"
    assert gpu.memory_total_bytes is None


def test_files_full_of_nonsense_raise_nothing(root: Path) -> None:
    nonsense = "\x00é -1 99999999999999999999999999 [[\n\nPCI_SLOT_NAME="
    for number, vendor in enumerate(("0x1002", "0x8086", "0x10de", nonsense)):
        device = root / f"sys/class/drm/card{number}/device"
        device.mkdir(parents=True)
        for name in ("mem_info_vram_total", "mem_info_gtt_total", "resource", "device", "uevent"):
            (device / name).write_text(nonsense, encoding="utf-8")
        (device / "vendor").write_text(vendor, encoding="utf-8")
    gpus = linux_cards.read(root, nonsense, None).gpus
    assert [gpu.vendor for gpu in gpus] == ["amd", "intel", "nvidia"]
    assert all(gpu.memory_total_bytes is None for gpu in gpus)


def test_a_list_of_devices_that_is_cut_or_damaged_raises_nothing(
    sample: Callable[[str], str], cuts: Callable[[str], Iterator[str]], damaged: Callable[[str], Iterator[str]]
) -> None:
    text = sample("pci.ids")
    assert find_pci_name(text, 0x1002, 0x164E) == "Raphael"
    assert find_pci_name(text, 0x1002, 0x2684) == ""
    for part in (*cuts(text), *damaged(text)):
        find_pci_name(part, 0x10DE, 0x2684)
