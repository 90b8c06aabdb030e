"""The memory sum against the engine's own answers (tests/data/fit/recorded_parts.json, and live plans)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines import dry_run
from engines.base import BufferUse, DryRun, LoadSettings
from engines.fit import compute, memory
from engines.fit.facts import from_gguf
from engines.fit.geometry import from_metadata
from engines.fit.values import TERMS, DryRunAnchors, Geometry, MemoryParts, ModelFacts, Placement, Weights
from engines.formats.gguf import read_headers
from engines.hardware.machine import Gpu, Machine, Processor

DATA = Path(__file__).parents[2] / "data"
RECORDED: list[dict[str, Any]] = json.loads((DATA / "fit" / "recorded_parts.json").read_text())["models"]
GIB = 1024**3
X86 = Processor(name="CPU", architecture="x86_64", features=("avx2", "fma"))
PC = Machine(name="PC", system="linux", processor=X86, memory_total_bytes=32 * GIB, memory_available_bytes=24 * GIB)


def geometry_of(model: dict[str, Any]) -> Geometry:
    metadata = {key: tuple(value) if isinstance(value, list) else value for key, value in model["metadata"].items()}
    return from_metadata(model["architecture"], metadata)


@pytest.mark.parametrize("model", RECORDED, ids=lambda model: model["name"])
def test_caches_and_state_are_what_the_engine_allocates_to_the_byte(model: dict[str, Any]) -> None:
    geometry = geometry_of(model)
    compared = 0
    for run in model["runs"]:
        if "problem" in run:
            continue
        ours = memory.context_bytes(
            geometry, run["planned_context_tokens"], run["kv_type"], run["batch_tokens"], run["flash_attention"]
        )
        assert ours + geometry.state_bytes == run["context_bytes"], run
        compared += 1
    assert compared >= 8


@pytest.mark.parametrize("model", RECORDED, ids=lambda model: model["name"])
def test_what_the_engine_refuses_is_refused_and_nothing_else(model: dict[str, Any]) -> None:
    geometry = geometry_of(model)
    for run in model["runs"]:
        refused = memory.refusal(geometry, run["kv_type"], run["flash_attention"])
        assert bool(refused) == ("problem" in run), run


def test_rows_that_are_not_whole_blocks_are_refused() -> None:
    geometry = replace(geometry_of(RECORDED[0]), caches=(replace(geometry_of(RECORDED[0]).caches[0], key_width=48),))
    assert "whole blocks" in memory.refusal(geometry, "q8_0", None)
    assert memory.refusal(geometry, "f16", None) == ""


def live_plan(path: Path, settings: LoadSettings) -> tuple[ModelFacts, DryRun]:
    return from_gguf(read_headers(path)), dry_run.plan("llama", path, (settings,))[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3", "qwen35moe", "nemotron_h_moe", "gpt-oss", "deepseek4", "gemma4"])
def test_a_live_plan_of_a_tiny_model_agrees_with_the_arithmetic(name: str) -> None:
    settings = LoadSettings(context_tokens=4096, gpu_layers=0)
    facts, plan = live_plan(DATA / "tiny_models" / f"{name}.gguf", settings)
    arithmetic = memory.placement(facts, PC, settings)
    engine = memory.from_plan(arithmetic, plan, facts.geometry)
    assert engine.main.source == "dry_run"
    assert engine.main.context_bytes == arithmetic.main.context_bytes
    assert engine.main.state_bytes == arithmetic.main.state_bytes
    assert engine.main.compute_bytes <= arithmetic.main.compute_bytes
    assert engine.main.repacked_bytes <= memory.repacked_bytes(facts.weights, ("avx2", "avx512f", "amx_int8", "neon"))
    assert sum(buffer.weights_bytes for buffer in plan.buffers) == memory.planned_weights_bytes(facts)


def dense(layers: int = 4, experts: int = 0) -> ModelFacts:
    metadata: dict[str, Any] = {
        "block_count": layers,
        "embedding_length": 1024,
        "attention.head_count": 8,
        "context_length": 131072,
        "vocabulary": 32000,
        "feed_forward_length": 4096,
    }
    return ModelFacts(
        name="dense",
        engine="llama",
        quantization="Q4_0",
        geometry=from_metadata("llama", metadata),
        weights=Weights(
            total_bytes=1_000_000_000,
            exact=True,
            embedding_bytes=100_000_000,
            expert_bytes=experts,
            layer_bytes=(200_000_000,) * layers,
            packable_bytes=(("Q4_0", 800_000_000), ("Q6_K", 100_000_000)),
        ),
        file_bytes=1_000_100_000,
    )


CARD = Gpu(name="RTX", vendor="nvidia", kind="discrete", memory_total_bytes=8 * GIB)
WITH_CARD = replace(PC, gpus=(CARD,))
APPLE = Gpu(name="M4", vendor="apple", kind="integrated", shared_limit_bytes=12 * GIB)
SETTINGS = LoadSettings(context_tokens=8192)


def test_the_processors_own_layout_is_a_second_copy_of_the_types_it_takes() -> None:
    placed = memory.placement(dense(), PC, replace(SETTINGS, gpu_layers=0))
    assert placed.main.repacked_bytes == 800_000_000
    assert memory.placement(dense(), PC, replace(SETTINGS, gpu_layers=0, repack=False)).main.repacked_bytes == 0
    assert memory.repacked_bytes(dense().weights, ("neon", "dotprod")) == 900_000_000
    assert memory.repacked_bytes(dense().weights, ()) == 0


def test_unknown_types_are_counted_as_if_all_were_copied() -> None:
    weights = replace(dense().weights, packable_bytes=(("*", 900_000_000),))
    assert memory.repacked_bytes(weights, ("avx2",)) == 900_000_000


def test_unified_memory_holds_everything_once_and_says_what_the_gpu_uses() -> None:
    placed = memory.placement(dense(), replace(PC, system="macos", gpus=(APPLE,)), SETTINGS)
    assert placed.gpu is None
    assert placed.main.repacked_bytes == 0
    assert placed.gpu_share_bytes == (
        placed.main.weights_bytes + placed.main.context_bytes + placed.main.state_bytes + placed.main.compute_bytes
    )


def test_a_card_takes_all_but_the_embedding_table() -> None:
    placed = memory.placement(dense(), WITH_CARD, SETTINGS)
    assert placed.gpu is not None
    assert placed.gpu.weights_bytes == 900_000_000
    assert placed.main.weights_bytes == 100_000_000
    assert placed.gpu.context_bytes == memory.placement(dense(), PC, SETTINGS).main.context_bytes
    assert placed.main.context_bytes == 0


def test_a_tied_table_is_held_twice_where_the_output_is_on_the_card() -> None:
    tied = replace(dense(), weights=replace(dense().weights, tied=True))
    placed = memory.placement(tied, WITH_CARD, SETTINGS)
    assert placed.gpu is not None
    assert placed.gpu.weights_bytes + placed.main.weights_bytes == 1_100_000_000


@pytest.mark.parametrize("layers_on_card", [1, 2, 3, 4])
def test_no_byte_is_lost_between_card_and_main_memory(layers_on_card: int) -> None:
    placed = memory.placement(dense(), WITH_CARD, replace(SETTINGS, gpu_layers=layers_on_card + 1))
    whole = memory.placement(dense(), PC, SETTINGS).main
    assert placed.gpu is not None
    assert placed.gpu.weights_bytes == 200_000_000 * layers_on_card + 100_000_000  # the output comes first
    assert placed.gpu.weights_bytes + placed.main.weights_bytes == 1_000_000_000
    assert placed.gpu.context_bytes + placed.main.context_bytes >= whole.context_bytes


def test_experts_that_stay_outside_are_in_main_memory() -> None:
    model = dense(experts=600_000_000)
    inside = memory.placement(model, WITH_CARD, SETTINGS)
    outside = memory.placement(model, WITH_CARD, replace(SETTINGS, expert_layers_on_cpu=2))
    assert inside.gpu is not None and outside.gpu is not None
    assert inside.gpu.weights_bytes - outside.gpu.weights_bytes == 300_000_000
    assert outside.main.weights_bytes - inside.main.weights_bytes == 300_000_000


def test_between_two_plans_caches_are_exact_and_buffers_lie_on_the_line() -> None:
    facts = dense()
    settings = LoadSettings(gpu_layers=0)
    low, high = (memory.placement(facts, PC, replace(settings, context_tokens=context)) for context in (4096, 131072))
    low = replace(low, main=replace(low.main, compute_bytes=10_000_000, source="dry_run"))
    high = replace(high, main=replace(high.main, compute_bytes=137_000_000, source="dry_run"))
    anchors = DryRunAnchors(settings=settings, low_context_tokens=4096, low=low, high_context_tokens=131072, high=high)
    assert memory.between(anchors, facts, 4096).main == replace(high.main, **_moving(low.main))
    assert memory.between(anchors, facts, 131072).main == high.main
    middle = memory.between(anchors, facts, 67584).main
    assert middle.compute_bytes == 73_500_000
    assert middle.context_bytes == memory.context_bytes(facts.geometry, 67584, "f16", 512, None)
    assert memory.between(anchors, facts, 512).main.compute_bytes == 10_000_000


def _moving(parts: MemoryParts) -> dict[str, int]:
    return {"context_bytes": parts.context_bytes, "compute_bytes": parts.compute_bytes}


def test_a_plan_for_a_card_puts_each_buffer_where_it_lies() -> None:
    arithmetic = memory.placement(dense(), WITH_CARD, SETTINGS)
    plan = DryRun(
        settings=SETTINGS,
        context_tokens=8192,
        buffers=(
            BufferUse("CPU", True, 100, 0, 7),
            BufferUse("CUDA0", False, 900, 50, 30),
            BufferUse("CUDA_Host", True, 0, 0, 5),
        ),
        vocabulary=32000,
        process_bytes=60,
        source="breakdown",
    )
    placed = memory.from_plan(arithmetic, plan, dense().geometry)
    assert placed.gpu is not None
    assert (placed.gpu.weights_bytes, placed.gpu.context_bytes, placed.gpu.compute_bytes) == (900, 50, 30)
    assert (placed.main.weights_bytes, placed.main.compute_bytes) == (100, 12)


def test_a_plan_from_the_log_does_not_say_where_weights_lie_and_takes_none_away() -> None:
    settings = replace(SETTINGS, gpu_layers=0)
    arithmetic = memory.placement(dense(), PC, settings)
    plan = DryRun(
        settings=settings,
        context_tokens=8192,
        buffers=(BufferUse("CPU", True, 999, arithmetic.main.context_bytes, 7),),
        vocabulary=32000,
        process_bytes=0,
        source="log",
    )
    placed = memory.from_plan(arithmetic, plan, dense().geometry)
    assert placed.main.weights_bytes == arithmetic.main.weights_bytes
    assert placed.main.repacked_bytes == arithmetic.main.repacked_bytes > 0
    assert placed.main.compute_bytes == 7
    on_card = memory.placement(dense(), WITH_CARD, SETTINGS)
    assert memory.from_plan(on_card, plan, dense().geometry) is on_card


def test_the_runtime_of_a_gpu_on_main_memory_stays_in_the_sum() -> None:
    amd = Gpu(name="APU", vendor="amd", kind="integrated", shared_limit_bytes=12 * GIB)
    arithmetic = memory.placement(dense(), replace(PC, gpus=(amd,)), SETTINGS)
    plan = DryRun(
        settings=SETTINGS,
        context_tokens=8192,
        buffers=(BufferUse("CPU", True, 1, 0, 1), BufferUse("Vulkan0", False, 900, 50, 30)),
        vocabulary=32000,
        process_bytes=compute.PROCESS_BYTES + 5,
        source="breakdown",
    )
    placed = memory.from_plan(arithmetic, plan, dense().geometry)
    assert placed.main.process_bytes == arithmetic.main.process_bytes + 5
    assert arithmetic.main.process_bytes > memory.GPU_RUNTIME_BYTES
    assert placed.gpu_share_bytes == 980


def test_amx_copies_are_larger_than_what_they_copy() -> None:
    assert memory.repacked_bytes(dense().weights, ("amx_int8",)) > 900_000_000
    assert memory.repacked_bytes(dense().weights, ("amx_int8",)) >= 900_000_000 * 38 // 34


def test_dense_layers_have_no_experts_that_could_stay_outside() -> None:
    plain = dense(experts=600_000_000)
    first_is_dense = replace(
        plain, geometry=replace(plain.geometry, extra={**plain.geometry.extra, "leading_dense_block_count": 1})
    )
    known = replace(
        plain, weights=replace(plain.weights, expert_layer_bytes=(0, 200_000_000, 200_000_000, 200_000_000))
    )
    for count, outside in ((1, 0), (2, 200_000_000), (4, 600_000_000)):
        settings = replace(SETTINGS, expert_layers_on_cpu=count)
        for model in (first_is_dense, known):
            placed = memory.placement(model, WITH_CARD, settings)
            assert placed.gpu is not None
            assert placed.gpu.weights_bytes == 900_000_000 - outside


def test_every_term_counts_in_the_total() -> None:
    parts = memory.placement(dense(), PC, SETTINGS).main
    assert Placement(main=parts).total_bytes == parts.total_bytes
    assert parts.total_bytes - parts.without("weights_bytes").total_bytes == 1_000_000_000
    assert parts.process_bytes == compute.PROCESS_BYTES + compute.graph_bytes(dense().geometry, SETTINGS.batch_tokens)
    assert set(TERMS) == {name for name in MemoryParts.__slots__ if name.endswith("_bytes")}
    for term in TERMS:
        assert MemoryParts(**{term: 7}).total_bytes == 7
