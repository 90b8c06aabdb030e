from __future__ import annotations

from pathlib import Path

import pytest

from engines.hardware import bandwidth
from engines.hardware.macos import working_set
from engines.hardware.profiles import FILE, ProfileError, find_profile, load_profiles

GIB = 1024**3

NAMED = {
    *(f"mac-mini-m4-{size}" for size in (16, 24, 32)),
    *(f"mac-mini-m4-pro-{size}" for size in (24, 48, 64)),
    *(f"macbook-air-{chip}-{size}" for chip in ("m3", "m4", "m5") for size in (16, 24)),
    *(f"mac-m4-max-{size}" for size in (36, 64, 128)),
    *(f"ryzen-ai-max-395-{size}" for size in (64, 128)),
    *(f"snapdragon-x-{size}" for size in (16, 32)),
    *(f"pc-{size}" for size in (16, 32)),
    *(f"pc-nvidia-{size}" for size in (8, 12, 16, 24)),
}


def test_every_computer_that_was_asked_for_is_there() -> None:
    assert {machine.profile for machine in load_profiles()} == NAMED


def test_nobody_has_looked_at_a_profile() -> None:
    for machine in load_profiles():
        assert machine.is_profile
        assert machine.disk is None
        assert machine.unknown
        assert all(gpu.memory_free_bytes is None for gpu in machine.gpus)
        assert machine.bandwidth is not None


def test_apple_follows_the_older_smaller_rule() -> None:
    for machine in load_profiles():
        if machine.system == "macos":
            gpu = machine.unified_gpu
            assert gpu is not None
            assert gpu.shared_limit_bytes == working_set(machine.memory_total_bytes)[0]
            assert gpu.bandwidth == machine.bandwidth


def test_bandwidths_agree_with_the_tables() -> None:
    for machine in load_profiles():
        known = bandwidth.for_processor(
            machine.processor.name, gpu_cores=machine.gpus[0].cores if machine.gpus else None
        )
        if known is not None:
            assert known == machine.bandwidth, machine.profile
        if machine.card is not None:
            assert machine.card.bandwidth == bandwidth.for_gpu(machine.card.name, machine.card.memory_total_bytes)


def test_names_say_what_the_figures_say() -> None:
    for machine in load_profiles():
        size = int(machine.name.rsplit(", ", 1)[1].removesuffix(" GB"))
        assert size - 3 <= machine.memory_total_bytes / GIB <= size
        if machine.card is not None:
            assert f"{round((machine.card.memory_total_bytes or 0) / GIB)} GB, " in machine.name


def test_plain_computers_have_nothing_but_a_processor() -> None:
    for name in ("pc-16", "pc-32", "snapdragon-x-16", "snapdragon-x-32"):
        machine = find_profile(name)
        assert (machine.unified_gpu, machine.card) == (None, None)


def test_an_apu_may_use_half_of_what_is_left() -> None:
    for name in ("ryzen-ai-max-395-64", "ryzen-ai-max-395-128"):
        gpu = find_profile(name).unified_gpu
        assert gpu is not None
        assert 0.48 < (gpu.shared_limit_bytes or 0) / find_profile(name).memory_total_bytes <= 0.5
        assert gpu.memory_total_bytes == 512 * 1024**2


def test_a_name_is_found_whatever_its_case_and_the_nearest_is_offered() -> None:
    assert find_profile(" Mac-Mini-M4-16 ").profile == "mac-mini-m4-16"
    with pytest.raises(ProfileError) as error:
        find_profile("mac-mini-m5-16")
    assert error.value.title == "There is no computer named mac-mini-m5-16."
    assert "mac-mini-m4-16" in error.value.advice


@pytest.mark.parametrize(
    ("wrong", "right", "reason"),
    [
        ("format = 2", "format = 1", "this Snug reads 1"),
        ('chip = "m9"', 'chip = "m3"', "there is no chip 'm9'"),
        ('id = "pc-32"', 'id = "pc-16"', "its id is taken"),
        ("memory_gb = 16", "memory_gib = 16", "memory_gb"),
        ("memory_gib = -1", "memory_gib = 16", "memory_total_bytes is -1"),
        ("format = ", "format = 1", "Invalid"),
    ],
)
def test_a_mistake_in_the_list_is_named(tmp_path: Path, wrong: str, right: str, reason: str) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert right in text
    file = tmp_path / "profiles.toml"
    file.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(ProfileError) as error:
        load_profiles(file)
    assert reason in error.value.details


def test_a_list_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="has a mistake"):
        load_profiles(tmp_path / "none.toml")
