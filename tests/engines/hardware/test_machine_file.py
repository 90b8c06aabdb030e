from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.hardware import detect
from engines.hardware.machine import Bandwidth, Disk, Gpu, Machine, Power, Processor
from engines.hardware.machine_file import MachineFileError, described, load_machine, parse_machine, save_machine
from engines.hardware.profiles import load_profiles

FULL = Machine(
    name="PC, Größe 16 GB",
    system="linux",
    system_version="Debian 12",
    processor=Processor(name="x", architecture="x86_64", physical_cores=8, features=("avx2",)),
    memory_total_bytes=16 << 30,
    memory_available_bytes=9 << 30,
    container_limit_bytes=1 << 30,
    commit_left_bytes=5,
    swap_total_bytes=2,
    swap_used_bytes=1,
    bandwidth=Bandwidth(bytes_per_second=51_200_000_000, source="table", note="n"),
    gpus=(
        Gpu(
            name="g",
            vendor="nvidia",
            kind="discrete",
            memory_total_bytes=8 << 30,
            memory_free_bytes=7 << 30,
            drives_display=True,
        ),
    ),
    disk=Disk(path="models", total_bytes=3, free_bytes=2),
    power=Power(on_mains=False, battery_share=0.5, saving=True),
    unknown=("Something.",),
)


def raw(machine: Machine = FULL) -> dict[str, Any]:
    import msgspec

    content: dict[str, Any] = json.loads(msgspec.json.encode({"format": 1, "machine": machine}))
    return content


def refused(content: object) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(MachineFileError) as error:
        parse_machine(data, Path("other.json"))
    assert error.value.title == "other.json does not describe a computer."
    assert error.value.advice
    return error.value.details


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    for machine in (FULL, detect.read_machine(tmp_path), *load_profiles()):
        save_machine(machine, tmp_path / "machine.json")
        assert load_machine(tmp_path / "machine.json") == machine
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]


def test_the_file_can_be_read_by_people(tmp_path: Path) -> None:
    save_machine(FULL, tmp_path / "machine.json")
    text = (tmp_path / "machine.json").read_text(encoding="utf-8")
    assert text.startswith('{\n  "format": 1,\n  "machine": {\n    "name": "PC, Größe 16 GB"')


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MachineFileError) as error:
        load_machine(tmp_path / "none.json")
    assert "none.json could not be read" in error.value.title
    with pytest.raises(MachineFileError, match="could not be read"):
        load_machine(tmp_path)


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(MachineFileError, match=r"machine\.json could not be written"):
        save_machine(FULL, tmp_path / "none" / "machine.json")


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    (tmp_path / "big.json").write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(MachineFileError) as error:
        load_machine(tmp_path / "big.json")
    assert "larger than any" in error.value.details


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, {"format": 1}])
def test_what_is_no_description_at_all(content: object) -> None:
    refused(content)


def test_another_format_is_named() -> None:
    assert "its format is 2, this Snug reads 1" in refused(raw() | {"format": 2})


def test_keys_that_nobody_knows_are_refused_wherever_they_are() -> None:
    content = raw()
    content["machine"]["memory_totl_bytes"] = 1
    assert "machine has no key 'memory_totl_bytes'" in refused(content)
    content = raw()
    content["machine"]["gpus"][0]["vram"] = 1
    assert "machine.gpus[0] has no key 'vram'" in refused(content)
    assert "keys" in refused(raw() | {"more": 1})


def test_wrong_types_are_refused() -> None:
    for place, value in [
        ("memory_total_bytes", "16 GB"),
        ("memory_total_bytes", 1.5),
        ("system", "beos"),
        ("gpus", {}),
        ("processor", None),
    ]:
        content = raw()
        content["machine"][place] = value
        assert place in refused(content)


def test_impossible_figures_are_refused() -> None:
    for place, value in [
        ("memory_total_bytes", 0),
        ("memory_total_bytes", -5),
        ("memory_total_bytes", 1 << 62),
        ("memory_available_bytes", 17 << 30),
        ("swap_used_bytes", -1),
        ("power", {"battery_share": 84.0}),
    ]:
        content = raw()
        content["machine"][place] = value
        assert refused(content)


def test_a_described_computer_has_nothing_of_the_moment() -> None:
    machine = described(FULL, "other.json")
    assert machine.is_profile
    assert machine.profile == "other.json"
    assert (machine.commit_left_bytes, machine.swap_used_bytes, machine.gpus[0].memory_free_bytes) == (None, None, None)
    assert replace(machine.gpus[0], memory_free_bytes=7 << 30) == FULL.gpus[0]
    assert machine.memory_total_bytes == FULL.memory_total_bytes


def test_damaged_files_are_refused_or_still_a_computer() -> None:
    import msgspec

    data = msgspec.json.encode({"format": 1, "machine": FULL})
    chance = random.Random(3)
    for _ in range(2000):
        bad = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        try:
            machine = parse_machine(bytes(bad), Path("x.json"))
        except MachineFileError:
            continue
        assert machine.memory_total_bytes > 0
    for end in range(len(data)):
        with pytest.raises(MachineFileError):
            parse_machine(data[:end], Path("x.json"))
