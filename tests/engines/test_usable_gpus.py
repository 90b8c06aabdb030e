"""Only GPUs that the installed engine reaches are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.assessor import Assessor
from engines.catalog import Catalog
from engines.hardware.machine import Gpu, Machine, Processor
from engines.hardware.profiles import find_profile
from engines.usable_gpus import installed_backends, with_usable_gpus

GIB = 1024**3
CARD = Gpu(name="NVIDIA GeForce RTX 4070", vendor="nvidia", kind="discrete", memory_total_bytes=12 * GIB)
PC = Machine(
    name="PC",
    system="linux",
    processor=Processor(name="CPU", architecture="x86_64"),
    memory_total_bytes=16 * GIB,
    memory_available_bytes=12 * GIB,
    gpus=(CARD,),
)


@pytest.mark.parametrize(
    ("files", "backends"),
    [
        (["libggml-cpu.so", "libggml.so", "libllama.so"], set()),
        (["libggml-cuda.so", "libggml-base.so.0"], {"cuda"}),
        (["ggml-vulkan.dll", "ggml-cpu.dll"], {"vulkan"}),
        (["libggml-metal.dylib"], {"metal"}),
    ],
)
def test_backends_are_known_by_their_files(tmp_path: Path, files: list[str], backends: set[str]) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert installed_backends(tmp_path) == backends


def test_a_missing_folder_has_no_backend(tmp_path: Path) -> None:
    assert installed_backends(tmp_path / "none") == frozenset()


def test_the_build_of_this_computer_is_looked_at() -> None:
    """Whatever it is, the engine's own list of devices must agree: see tests of devices."""
    assert installed_backends() <= {"cuda", "vulkan", "metal", "hip", "sycl", "opencl", "cann"}


def test_a_card_without_a_backend_is_left_out_and_that_is_said() -> None:
    found = with_usable_gpus(PC, frozenset())
    assert found.gpus == () and found.card is None
    assert "built without support for NVIDIA GeForce RTX 4070" in found.unknown[-1]
    assert with_usable_gpus(PC, frozenset({"cuda"})) == PC
    assert with_usable_gpus(replace(PC, gpus=()), frozenset()) == replace(PC, gpus=())


def test_a_described_machine_is_taken_as_described() -> None:
    profile = find_profile("pc-nvidia-12")
    assert with_usable_gpus(profile, frozenset()) == profile


def test_the_fit_of_this_computer_counts_only_what_the_engine_reaches() -> None:
    judged = Assessor(Catalog(), PC).machine
    assert (judged.card is not None) == bool(installed_backends() & {"cuda", "vulkan"})
