"""From `LoadSettings` to llama.cpp's own parameters: one function for models, one for contexts, and what is refused.

A load and a dry run both come through here, so what was planned is what is loaded. Nothing is allocated here, and
nothing is chosen: an absent context becomes the default, everything else is passed on or refused in words.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from engines.base import KvType, LoadSettings
from engines.errors import UnsupportedModelError

DEFAULT_CONTEXT_TOKENS = 8192

KV_TYPE_IDS: dict[KvType, int] = {
    # ggml_type of ggml.h
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30,
}  # fmt: skip
UNQUANTIZED_KV_TYPES: tuple[KvType, ...] = ("f32", "f16", "bf16")
ONLY_F16_ARCHITECTURES = ("deepseek4",)
"""Answers turned to gibberish with any other KV type (ggml-org/llama.cpp, issues 25382, 25391 and 26423)."""

_FLASH_ATTENTION = {None: -1, False: 0, True: 1}


class _BufferOverride(ctypes.Structure):
    """llama_model_tensor_buft_override of llama.h; the binding declares the pointer to it and not the structure."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


@dataclass(frozen=True, slots=True)
class ModelParameters:
    """`native` goes to llama.cpp; `kept` is what it points to, and must live as long as the model."""

    native: Any
    kept: list[object] = field(default_factory=list)


def check_settings(architecture: str, settings: LoadSettings) -> None:
    """Raises UnsupportedModelError for a combination that llama.cpp refuses or answers wrongly with.

    The words name the cause; llama.cpp itself would only return nothing.
    """
    quantized = settings.kv_type not in UNQUANTIZED_KV_TYPES
    if quantized and settings.flash_attention is False:
        raise UnsupportedModelError(
            f"A {settings.kv_type} context memory needs flash attention, which is switched off.",
            "Switch flash attention on, or use f16 for the context memory.",
            "quantized V cache requires flash_attn",
        )
    if architecture in ONLY_F16_ARCHITECTURES and settings.kv_type != "f16":
        raise UnsupportedModelError(
            f"This kind of model answers wrongly with a {settings.kv_type} context memory.",
            "Use f16 for the context memory.",
            f"{architecture}: only f16 is right (ggml-org/llama.cpp 25382, 26423)",
        )


def context_tokens_for(wanted: int | None, trained: int) -> int:
    """The wanted context, never beyond what the model was trained for (0: the model does not say)."""
    tokens = wanted or DEFAULT_CONTEXT_TOKENS
    return min(tokens, trained) if trained > 0 else tokens


def model_parameters(
    settings: LoadSettings, *, on_progress: Callable[[float, object], bool] | None = None, no_alloc: bool = False
) -> ModelParameters:
    """What `llama_model_load_from_file` gets. With `no_alloc` buffers are planned and nothing is read."""
    native = llama.llama_model_default_params()
    parameters = ModelParameters(native)
    native.n_gpu_layers = settings.gpu_layers
    native.use_extra_bufts = settings.repack
    # Plain mmap: DIRECT_IO, NONE and mlock need the whole file in private memory (facts, engine-traps). Planning
    # knows no mappings: llama.cpp asserts that there is none.
    mapped = llama.llama_supports_mmap() and not no_alloc
    native.load_mode = llama.LLAMA_LOAD_MODE_MMAP if mapped else llama.LLAMA_LOAD_MODE_NONE
    native.no_alloc = no_alloc
    if on_progress is not None:
        native.progress_callback = llama.llama_progress_callback(on_progress)
        parameters.kept.append(native.progress_callback)
    if settings.expert_layers_on_cpu > 0:
        overrides = (_BufferOverride * 2)()  # the second one stays empty: the terminator
        pattern = expert_pattern(settings.expert_layers_on_cpu)
        overrides[0].pattern = pattern
        overrides[0].buffer_type = ggml_function("ggml_backend_cpu_buffer_type", ctypes.c_void_p)()
        native.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
        parameters.kept.extend((overrides, pattern))
    return parameters


def expert_pattern(layers: int) -> bytes:
    """The routed experts of the first `layers` layers, as llama.cpp's own tools name them (common.h, n-cpu-moe)."""
    numbers = "|".join(str(layer) for layer in range(layers))
    return rf"blk\.({numbers})\.ffn_(up|down|gate|gate_up)_(ch|)exps".encode()


def context_parameters(settings: LoadSettings, context_tokens: int, threads: int) -> Any:
    """What `llama_init_from_model` gets: one conversation, logits of its last token only."""
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = context_tokens
    parameters.n_batch = settings.batch_tokens
    parameters.n_ubatch = settings.batch_tokens
    parameters.n_seq_max = 1
    parameters.n_outputs_max = 1  # logits of the last token only: a large vocabulary times a batch is a lot
    parameters.n_threads = threads
    parameters.n_threads_batch = threads
    parameters.type_k = parameters.type_v = KV_TYPE_IDS[settings.kv_type]
    parameters.flash_attn_type = _FLASH_ATTENTION[settings.flash_attention]
    parameters.swa_full = False  # else a sliding window costs as much as a full cache (facts: 27.5 GiB for 3.7)
    parameters.no_perf = True
    return parameters


def ggml_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the ggml that llama.cpp itself uses. Raises AttributeError or OSError where there is none.

    Another handle to ggml would be a second copy with empty tables (facts, packaging). Where symbols of dependencies
    cannot be looked up through a library (Windows), the file beside it is taken, which is the one in memory already.
    """
    try:
        function = llama._lib[name]  # by item: an object of our own, so that nobody else's prototype is changed
    except AttributeError:
        function = ctypes.CDLL(str(Path(llama._lib._name).with_name("ggml-base.dll")))[name]
    function.restype = result
    function.argtypes = list(arguments)
    return function
