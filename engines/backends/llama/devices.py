"""Which devices this build of llama.cpp can use. Asking is all: choosing among them is the work of others."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, Literal

import llama_cpp.llama_cpp as llama

from engines.base import Device

# ggml_backend_dev_type of ggml-backend.h
_KINDS: dict[int, Literal["cpu", "gpu", "integrated_gpu", "accelerator"]] = {
    0: "cpu", 1: "gpu", 2: "integrated_gpu", 3: "accelerator",
}  # fmt: skip


def list_devices() -> tuple[Device, ...]:
    """Every device of this build, the processor included."""
    # Through the library that llama.cpp itself uses: another handle would register a second copy (facts, packaging).
    return tuple(_read(llama._lib))


def _read(library: Any) -> Iterator[Device]:
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    for function in (library.ggml_backend_dev_name, library.ggml_backend_dev_description):
        function.argtypes = [ctypes.c_void_p]
        function.restype = ctypes.c_char_p
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_type.restype = ctypes.c_int
    size_pointer = ctypes.POINTER(ctypes.c_size_t)
    library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size_pointer, size_pointer]
    for index in range(library.ggml_backend_dev_count()):
        device = library.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        yield Device(
            name=(library.ggml_backend_dev_name(device) or b"").decode("utf-8", "replace"),
            description=(library.ggml_backend_dev_description(device) or b"").decode("utf-8", "replace"),
            kind=_KINDS.get(int(library.ggml_backend_dev_type(device)), "accelerator"),
            memory_total_bytes=int(total.value),
            memory_free_bytes=int(free.value),
        )
