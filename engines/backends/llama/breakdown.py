"""llama.cpp's own account of a context's buffers: from its memory breakdown, or from the sizes in its log.

The breakdown is a C++ map returned by value, so it is walked by the layout of each standard library (exactly version
0.3.36 of the binding, docs/decisions/0004). It is never believed by itself: `dry_run` compares it with the log.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import llama_cpp.llama_cpp as llama

from engines.backends.llama.parameters import ggml_function
from engines.base import BufferUse

_MANGLED_NAMES = (
    "_Z26llama_get_memory_breakdownPK13llama_context",  # Linux, macOS
    # Windows: composed by the rules of that compiler and untested; where it is wrong, the log is used.
    (
        "?llama_get_memory_breakdown@@YA?AV?$map@PEAUggml_backend_buffer_type@@Ullama_memory_breakdown_data@@"
        "U?$less@PEAUggml_backend_buffer_type@@@std@@V?$allocator@U?$pair@QEAUggml_backend_buffer_type@@"
        "Ullama_memory_breakdown_data@@@std@@@4@@std@@PEBUllama_context@@@Z"
    ),
)
_MOST_NODES = 64
_CPU_DEVICE = 0
"""ggml_backend_dev_type of ggml-backend.h"""
_WORD = 8
_MIB = 1024 * 1024
_PRINTED_ERROR_BYTES = 0.005 * _MIB
"""The log prints MiB with two decimals."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a std::map keeps its words (8 bytes each); a node's value begins at byte 32 in all of them."""

    words: int
    root_word: int
    """Microsoft: the head node, whose parent is the root."""
    size_word: int
    left_bytes: int
    right_bytes: int


# Sources: stl_tree.h of libstdc++, __tree of libc++, xtree of Microsoft's STL. Only the first was run so far.
_LAYOUTS = {
    "linux": _Layout(words=6, root_word=2, size_word=5, left_bytes=16, right_bytes=24),
    "darwin": _Layout(words=3, root_word=1, size_word=2, left_bytes=0, right_bytes=8),
    "win32": _Layout(words=2, root_word=0, size_word=1, left_bytes=0, right_bytes=16),
}
_VALUE_BYTES = 32
_MICROSOFT_NIL_BYTES = 25


def read_breakdown(context_handle: Any) -> tuple[BufferUse, ...] | None:
    """Every buffer type that the context uses; None where this build or this system does not tell.

    The map's few nodes are not freed: only C++ could.
    """
    function = _breakdown_function()
    layout = _LAYOUTS.get(sys.platform)
    if function is None or layout is None:
        return None
    # A structure too large for registers comes back through a hidden pointer, as the map does.
    result_type = ctypes.c_uint64 * layout.words

    class _Map(ctypes.Structure):
        _fields_ = (("words", result_type),)

    function.argtypes = [ctypes.c_void_p]
    function.restype = _Map
    values = walk_map(tuple(function(context_handle).words), sys.platform)
    return tuple(_buffer(value) for value in values) if values is not None else None


def walk_map(words: tuple[int, ...], platform: str) -> list[int] | None:
    """The addresses of a std::map's values, given the words of the map itself; None when the tree does not add up."""
    layout = _LAYOUTS[platform]
    size = words[layout.size_word]
    if not 0 < size <= _MOST_NODES:
        return None
    values: list[int] = []
    waiting = [_word_at(words[0] + _WORD) if platform == "win32" else words[layout.root_word]]
    while waiting and len(values) <= size:
        node = waiting.pop()
        if node == 0 or (platform == "win32" and _is_microsoft_nil(node)):
            continue
        if node % _WORD:
            return None
        values.append(node + _VALUE_BYTES)
        waiting += [_word_at(node + layout.left_bytes), _word_at(node + layout.right_bytes)]
    return values if len(values) == size else None


def _breakdown_function() -> Any | None:
    for name in _MANGLED_NAMES:
        try:
            return llama._lib[name]
        except AttributeError:
            continue
    return None


def _is_microsoft_nil(node: int) -> bool:
    return bool(ctypes.c_uint8.from_address(node + _MICROSOFT_NIL_BYTES).value)


def _word_at(address: int) -> int:
    return int(ctypes.c_uint64.from_address(address).value)


def _buffer(address: int) -> BufferUse:
    buffer_type = _word_at(address)
    weights, context, compute = (_word_at(address + index * _WORD) for index in (1, 2, 3))
    name = ggml_function("ggml_backend_buft_name", ctypes.c_char_p, ctypes.c_void_p)(buffer_type)
    return BufferUse(
        name=(name or b"").decode("utf-8", "replace"),
        is_host=_is_in_main_memory(buffer_type),
        weights_bytes=weights,
        context_bytes=context,
        compute_bytes=compute,
    )


def _is_in_main_memory(buffer_type: int) -> bool:
    if ggml_function("ggml_backend_buft_is_host", ctypes.c_bool, ctypes.c_void_p)(buffer_type):
        return True
    # The processor's own layouts (CPU_REPACK) are not "host" to ggml, because nobody else can read them.
    device = ggml_function("ggml_backend_buft_get_device", ctypes.c_void_p, ctypes.c_void_p)(buffer_type)
    return not device or ggml_function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)(device) == _CPU_DEVICE


# The log

_CACHE_LINE = re.compile(
    r"(?:llama_kv_cache\w*: size =|llama_memory_recurrent: size =|llama_dsv4_comp_state: .*, size =)\s*([\d.]+) MiB"
)
_COMPUTE_LINE = re.compile(r"(\S+) compute buffer size =\s*([\d.]+) MiB")


@dataclass(frozen=True, slots=True)
class LoggedSizes:
    """What the log said of one context, in bytes, each figure within 0.005 MiB of the truth."""

    context_bytes: int
    compute_bytes: dict[str, int] = field(default_factory=dict)
    """By the name of the buffer type."""
    figures: int = 0
    """How many figures the context's sum is made of."""

    def agrees_with(self, buffers: Iterable[BufferUse], weights_bytes: int) -> bool:
        """Whether a breakdown says the same, to the log's precision.

        `weights_bytes` is `llama_model_size`: all tensors of the file, so the buffers may hold less (layers for
        drafting that are not loaded) or more (an embedding that is also the output lies on two devices).
        """
        all_buffers = tuple(buffers)
        context = sum(buffer.context_bytes for buffer in all_buffers)
        planned_weights = sum(buffer.weights_bytes for buffer in all_buffers)
        return (
            abs(context - self.context_bytes) <= 2 * _PRINTED_ERROR_BYTES * (self.figures + 1)
            and weights_bytes / 2 <= planned_weights <= 2 * weights_bytes + _MIB
            and all(
                abs(buffer.compute_bytes - self.compute_bytes.get(buffer.name, 0)) <= 2 * _PRINTED_ERROR_BYTES
                for buffer in all_buffers
            )
        )

    def as_buffers(self, weights_bytes: int, *, on_gpu: bool) -> tuple[BufferUse, ...]:
        """The same as buffers, rounded up. Weights and context stand with the device that does the work."""
        rounding = int(_PRINTED_ERROR_BYTES) + 1
        names = list(self.compute_bytes) or ["CPU"]
        gpus = [name for name in names if not _is_host_name(name)]
        main = gpus[0] if on_gpu and gpus else names[0]
        return tuple(
            BufferUse(
                name=name,
                is_host=_is_host_name(name),
                weights_bytes=weights_bytes if name == main else 0,
                context_bytes=self.context_bytes + rounding * self.figures if name == main else 0,
                compute_bytes=self.compute_bytes.get(name, 0) + rounding,
            )
            for name in names
        )


def _is_host_name(name: str) -> bool:
    return name.startswith("CPU") or name.endswith("_Host")


def read_log(lines: Iterable[str]) -> LoggedSizes:
    """The sizes that llama.cpp logged while it made one context."""
    context, figures = 0, 0
    compute: dict[str, int] = {}
    for line in lines:
        if match := _CACHE_LINE.search(line):
            context += round(float(match.group(1)) * _MIB)
            figures += 1
        elif match := _COMPUTE_LINE.search(line):
            compute[match.group(1)] = round(float(match.group(2)) * _MIB)
    return LoggedSizes(context, compute, figures)
