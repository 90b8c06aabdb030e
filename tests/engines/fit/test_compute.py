"""The bounds beside weights and caches, against what the engine said of models of every kind in the catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.fit import compute
from engines.fit.geometry import from_metadata
from engines.fit.values import Geometry

RECORD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "data" / "fit" / "recorded_parts.json").read_text(encoding="utf-8")
)
MODELS: dict[str, dict[str, Any]] = {model["name"]: model for model in RECORD["models"]}
BEYOND_THE_CATALOGUE = {"llama-4-scout", "deepseek-v3", "deepseek-v3.2"}
MIB = 1024 * 1024


def geometry_of(name: str) -> Geometry:
    model = MODELS[name]
    metadata = {key: tuple(value) if isinstance(value, list) else value for key, value in model["metadata"].items()}
    return from_metadata(model["architecture"], metadata)


def bound(geometry: Geometry, **changes: Any) -> int:
    settings: dict[str, Any] = {
        "context_tokens": 8192, "batch_tokens": 512, "flash_attention": True, "kv_type": "f16",
    }  # fmt: skip
    return compute.compute_bytes(geometry, **(settings | changes))


@pytest.mark.parametrize("name", MODELS)
def test_the_engine_never_plans_more_than_the_bound(name: str) -> None:
    geometry = geometry_of(name)
    planned = [run for run in MODELS[name]["runs"] if "problem" not in run]
    assert len(planned) >= 14
    for run in planned:
        ours = bound(
            geometry,
            context_tokens=run["planned_context_tokens"],
            batch_tokens=run["batch_tokens"],
            flash_attention=run["flash_attention"],
            kv_type=run["kv_type"],
        )
        assert ours >= run["compute_bytes"], run
        if name not in BEYOND_THE_CATALOGUE:
            assert ours - run["compute_bytes"] <= max(64 * MIB, run["compute_bytes"] // 4), run


def test_a_bound_grows_with_context_and_batch() -> None:
    for name in MODELS:
        geometry = geometry_of(name)
        for flash in (True, False):
            by_context = [
                bound(geometry, context_tokens=tokens, flash_attention=flash) for tokens in range(256, 9000, 256)
            ]
            assert by_context == sorted(by_context), name
            by_batch = [bound(geometry, batch_tokens=tokens, flash_attention=flash) for tokens in range(1, 2000, 37)]
            assert by_batch == sorted(by_batch), name


def test_a_batch_is_never_longer_than_the_context() -> None:
    geometry = geometry_of("qwen3-8b")
    assert bound(geometry, context_tokens=256, batch_tokens=512) == bound(
        geometry, context_tokens=256, batch_tokens=256
    )


@pytest.mark.parametrize(
    ("vocabulary", "measured_mib"),
    [
        # facts/fit.md A.8: resident memory that a vocabulary alone takes.
        (49_152, 16.3),
        (262_144, 41.4),
    ],
)
def test_vocabularies_take_what_was_measured(vocabulary: int, measured_mib: float) -> None:
    geometry = Geometry(architecture="x", layers=1, embedding_width=1, vocabulary=vocabulary, trained_context_tokens=1)
    assert compute.vocabulary_bytes(geometry) == pytest.approx(measured_mib * MIB, rel=0.05)
    assert compute.output_bytes(geometry) == 4 * vocabulary


@pytest.mark.parametrize(
    ("name", "measured_mib"),
    [
        # Resident memory of an engine process beyond its own start, weights, caches, buffers and vocabulary tables.
        ("tiny-qwen3", 2.4),
        ("tiny-qwen35moe", 18.3),
        ("tiny-deepseek4", 18.7),
        ("gemma-3-270m", 10.4),
    ],
)
def test_the_graph_takes_what_was_measured(name: str, measured_mib: float) -> None:
    ours = compute.graph_bytes(geometry_of(name), 512) / MIB
    assert measured_mib <= ours <= measured_mib + 14


def test_large_graphs_have_room_for_their_nodes() -> None:
    for name in ("qwen3.5-9b", "qwen3.6-27b", "deepseek-v4-flash"):
        geometry = geometry_of(name)
        assert 20 * MIB < compute.graph_bytes(geometry, 512) < 64 * MIB
        assert compute.graph_bytes(geometry, 4096) > compute.graph_bytes(geometry, 512)
