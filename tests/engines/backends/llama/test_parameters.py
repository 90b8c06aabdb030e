"""From settings to llama.cpp's parameters, and what is refused before it is asked."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from typing import Any

import llama_cpp.llama_cpp as llama
import pytest

from engines.backends.llama.parameters import (
    DEFAULT_CONTEXT_TOKENS,
    check_settings,
    context_parameters,
    context_tokens_for,
    expert_pattern,
    ggml_function,
    model_parameters,
)
from engines.base import LoadSettings
from engines.errors import UnsupportedModelError


class Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


@pytest.mark.parametrize(
    ("architecture", "settings", "words"),
    [
        ("qwen3", LoadSettings(kv_type="q8_0", flash_attention=False), "flash attention"),
        ("qwen3", LoadSettings(kv_type="q4_0", flash_attention=False), "flash attention"),
        ("deepseek4", LoadSettings(kv_type="q8_0"), "answers wrongly"),
        ("deepseek4", LoadSettings(kv_type="bf16"), "answers wrongly"),
    ],
)
def test_what_llama_cannot_do_is_refused_in_words(architecture: str, settings: LoadSettings, words: str) -> None:
    with pytest.raises(UnsupportedModelError, match=words) as caught:
        check_settings(architecture, settings)
    assert settings.kv_type in caught.value.title
    assert "f16" in caught.value.advice


@pytest.mark.parametrize("flash", [None, True, False])
@pytest.mark.parametrize("kv_type", ["f16", "bf16", "f32", "q8_0", "q4_0"])
def test_everything_else_passes(flash: bool | None, kv_type: Any) -> None:
    settings = LoadSettings(kv_type=kv_type, flash_attention=flash)
    if flash is not False or kv_type in ("f16", "bf16", "f32"):
        check_settings("qwen3", settings)
    if kv_type == "f16":
        check_settings("deepseek4", settings)


@pytest.mark.parametrize(
    ("wanted", "trained", "tokens"),
    [
        (512, 4096, 512),
        (None, 4096, 4096),
        (None, 1 << 20, DEFAULT_CONTEXT_TOKENS),
        (9000, 4096, 4096),
        (9000, 0, 9000),
    ],
)
def test_the_context_is_bounded_by_the_training(wanted: int | None, trained: int, tokens: int) -> None:
    assert context_tokens_for(wanted, trained) == tokens


def test_a_planned_model_differs_from_a_loaded_one_in_nothing_but_reading() -> None:
    settings = LoadSettings(gpu_layers=7, repack=False, expert_layers_on_cpu=2)
    loaded = model_parameters(settings, on_progress=lambda _share, _data: True).native
    planned = model_parameters(settings, no_alloc=True).native
    different = {
        name for name, kind in loaded._fields_ if kind in (ctypes.c_int, ctypes.c_bool)
        if getattr(loaded, name) != getattr(planned, name)
    }  # fmt: skip
    assert different == {"no_alloc", "load_mode"}
    assert (planned.n_gpu_layers, planned.use_extra_bufts) == (7, False)
    assert loaded.load_mode == llama.LLAMA_LOAD_MODE_MMAP


def test_experts_of_the_first_layers_are_sent_to_the_processor() -> None:
    parameters = model_parameters(LoadSettings(expert_layers_on_cpu=3))
    overrides = (Override * 2).from_address(parameters.native.tensor_buft_overrides)
    cpu = ggml_function("ggml_backend_cpu_buffer_type", ctypes.c_void_p)()
    assert (overrides[0].buffer_type, overrides[1].pattern, overrides[1].buffer_type) == (cpu, None, None)
    assert overrides[0].pattern == expert_pattern(3)
    assert parameters.kept, "freed as soon as nobody holds them"
    assert model_parameters(LoadSettings()).native.tensor_buft_overrides is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("blk.0.ffn_up_exps.weight", True),
        ("blk.2.ffn_gate_up_exps.weight", True),
        ("blk.1.ffn_down_chexps.weight", True),
        ("blk.3.ffn_up_exps.weight", False),
        ("blk.10.ffn_up_exps.weight", False),
        ("blk.0.ffn_up_shexp.weight", False),
        ("blk.0.ffn_up.weight", False),
        ("blk.0.ffn_gate_inp.weight", False),
    ],
)
def test_only_routed_experts_are_meant(name: str, meant: bool) -> None:
    assert bool(re.search(expert_pattern(3).decode(), name)) is meant


def test_a_context_gets_what_the_settings_say() -> None:
    settings = LoadSettings(batch_tokens=128, kv_type="q8_0")
    parameters = context_parameters(settings, 4096, threads=3)
    assert (parameters.n_ctx, parameters.n_batch, parameters.n_ubatch, parameters.n_threads) == (4096, 128, 128, 3)
    assert (parameters.type_k, parameters.type_v, parameters.flash_attn_type) == (8, 8, -1)
    assert (parameters.swa_full, parameters.n_outputs_max, parameters.n_seq_max) == (False, 1, 1)
    assert context_parameters(replace(settings, flash_attention=True), 1, 1).flash_attn_type == 1
    assert context_parameters(replace(settings, flash_attention=False), 1, 1).flash_attn_type == 0


def test_type_numbers_are_those_of_the_library() -> None:
    from engines.backends.llama.parameters import KV_TYPE_IDS

    name_of = ggml_function("ggml_type_name", ctypes.c_char_p, ctypes.c_int)
    assert {name: name_of(number).decode() for name, number in KV_TYPE_IDS.items()} == {
        name: name for name in KV_TYPE_IDS
    }
