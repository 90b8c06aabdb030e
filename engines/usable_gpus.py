"""Which of a computer's GPUs the installed engine can really use, from the backends that its build brought along.

A card that the build of llama.cpp has no backend for is no place for a model: everything would lie in main memory. So
the fit of this computer only counts what the engine can reach. Looks at file names; loads nothing.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

from engines.hardware.machine import Gpu, GpuVendor, Machine

_BACKENDS: dict[GpuVendor, frozenset[str]] = {
    "apple": frozenset({"metal"}),
    "nvidia": frozenset({"cuda", "vulkan"}),
    "amd": frozenset({"hip", "vulkan"}),
    "intel": frozenset({"sycl", "vulkan"}),
    "qualcomm": frozenset({"opencl", "vulkan"}),
    "huawei": frozenset({"cann"}),
    "unknown": frozenset({"vulkan"}),
}
_KNOWN = frozenset().union(*_BACKENDS.values())


def installed_backends(library_folder: Path | None = None) -> frozenset[str]:
    """GPU backends of the installed llama.cpp: cuda, vulkan, metal, hip, sycl, opencl, cann; empty without any."""
    folder = library_folder if library_folder is not None else _library_folder()
    if folder is None or not folder.is_dir():
        return frozenset()
    names = [path.name.casefold() for path in folder.iterdir()]
    return frozenset(backend for backend in _KNOWN if any(f"ggml-{backend}" in name for name in names))


def with_usable_gpus(machine: Machine, backends: frozenset[str]) -> Machine:
    """The machine with those GPUs that `backends` reach; what was left out is said. A profile stays as it is."""
    if machine.is_profile:
        return machine
    usable = [gpu for gpu in machine.gpus if _BACKENDS[gpu.vendor] & backends]
    left_out = [gpu for gpu in machine.gpus if gpu not in usable]
    gpus = tuple(_as_reached(gpu, backends) for gpu in usable)
    if gpus == machine.gpus:
        return machine
    return replace(machine, gpus=gpus, unknown=(*machine.unknown, *map(_sentence, left_out)))


def _as_reached(gpu: Gpu, backends: frozenset[str]) -> Gpu:
    """HIP may see only what was carved out for an APU, where Vulkan sees shared memory too (llama.cpp issue 19818:
    6,368 against 53,281 MiB).
    """
    if gpu.vendor != "amd" or gpu.kind != "integrated" or "vulkan" in backends or not gpu.memory_total_bytes:
        return gpu
    return replace(gpu, shared_limit_bytes=min(gpu.shared_limit_bytes or 0, gpu.memory_total_bytes))


def _sentence(gpu: Gpu) -> str:
    return f"The installed llama.cpp was built without support for {gpu.name}: models run on the processor."


def _library_folder() -> Path | None:
    try:
        spec = importlib.util.find_spec("llama_cpp")
    except (ImportError, ValueError):  # half removed is the same as not there
        return None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "lib"
