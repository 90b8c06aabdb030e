"""What the fit knows of a model: from a header, and from the catalogue alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engines.errors import UnsupportedModelError
from engines.fit.facts import from_catalogue, from_gguf
from engines.fit.values import ModelFacts
from engines.formats.gguf import GgufHeader, TensorInfo, Value, read_headers

TINY = Path(__file__).parents[2] / "data" / "tiny_models"


def facts_of(name: str) -> ModelFacts:
    return from_gguf(read_headers(TINY / f"{name}.gguf"))


def test_a_header_gives_weights_experts_and_layers_to_the_byte() -> None:
    facts = facts_of("qwen35moe")
    assert facts.weights.exact
    assert facts.weights.total_bytes == 998_656  # as llama.cpp plans it, tests/data/fit/recorded_parts.json
    assert facts.weights.expert_bytes > facts.weights.total_bytes // 4
    assert len(facts.weights.layer_bytes) == facts.geometry.layers == 4
    assert sum(facts.weights.layer_bytes) < facts.weights.total_bytes
    assert facts.geometry.vocabulary == 1024
    assert facts.file_bytes == (TINY / "qwen35moe.gguf").stat().st_size
    assert facts.weights.header_bytes + facts.weights.total_bytes <= facts.file_bytes + 32 * 200


@pytest.mark.parametrize(("name", "tied"), [("gemma4", True), ("qwen3", True), ("gpt-oss", False)])
def test_a_missing_output_matrix_means_a_tied_table(name: str, tied: bool) -> None:
    header = read_headers(TINY / f"{name}.gguf")[0]
    assert facts_of(name).weights.tied is tied
    assert any(tensor.name == "output.weight" for tensor in header.tensors) is not tied


def test_types_are_named_and_the_embedding_row_is_not_packed_where_it_is_not_multiplied_with() -> None:
    facts = facts_of("qwen3")
    assert {"Q4_0", "F32"} <= set(facts.quantization_types)
    packed = dict(facts.weights.packable_bytes)
    assert packed["Q4_0"] == 331_776  # CPU_REPACK in the engine's plan


def test_parts_of_a_split_model_are_one_model() -> None:
    header = read_headers(TINY / "qwen3.gguf")[0]
    half = len(header.tensors) // 2
    first = replace(header, tensors=header.tensors[:half])
    second = replace(header, tensors=header.tensors[half:], metadata={})
    whole, split = from_gguf([header]), from_gguf([first, second])
    assert split.weights.total_bytes == whole.weights.total_bytes
    assert split.file_bytes == 2 * whole.file_bytes
    assert split.geometry == whole.geometry


def test_a_build_is_called_what_its_maker_called_it_and_else_by_its_bytes() -> None:
    header = read_headers(TINY / "qwen3.gguf")[0]
    named = replace(header, metadata={**header.metadata, "general.file_type": 15})
    assert from_gguf([named]).quantization == "Q4_K_M"
    unnamed = replace(header, metadata={**header.metadata, "general.file_type": 1024})
    assert from_gguf([unnamed]).quantization == "Q4_0"


def test_an_unknown_type_of_weights_is_an_error_and_not_a_zero() -> None:
    header = read_headers(TINY / "qwen3.gguf")[0]
    strange = TensorInfo("blk.0.ffn_up.weight", (128, 128), 999, 0, None)
    with pytest.raises(UnsupportedModelError):
        from_gguf([replace(header, tensors=(*header.tensors, strange))])


def test_a_file_without_metadata_is_an_error() -> None:
    with pytest.raises(UnsupportedModelError):
        from_gguf([GgufHeader(Path("x.gguf"), 3, {"general.architecture": "llama"}, (), 64, 64)])


@dataclass(frozen=True)
class Model:
    name: str = "Model"
    architecture: str = "qwen35moe"
    parameters: int = 34_700_000_000
    active_parameters: int | None = 2_900_000_000
    trained_context_tokens: int = 262_144
    geometry: dict[str, Value] = field(
        default_factory=lambda: {
            "block_count": 40,
            "embedding_length": 2048,
            "attention.head_count": 16,
            "attention.head_count_kv": 2,
            "attention.key_length": 256,
            "attention.value_length": 256,
            "full_attention_interval": 4,
            "ssm.conv_kernel": 4,
            "ssm.inner_size": 4096,
            "ssm.state_size": 128,
            "ssm.group_count": 16,
            "expert_count": 256,
            "expert_used_count": 8,
            "expert_feed_forward_length": 512,
            "vocabulary": 248_320,
        }
    )


@dataclass(frozen=True)
class Build:
    engine: str = "llama"
    quantization: str = "UD-Q4_K_XL"
    weights_bytes: int | None = 22_360_456_160
    projector_bytes: int = 0
    is_exact_size: bool = True
    unsupported: str = ""


def test_the_catalogue_gives_size_shape_and_a_share_of_experts() -> None:
    facts = from_catalogue(Model(), Build())
    assert facts is not None
    assert facts.source == "catalogue" and not facts.weights.exact
    assert facts.weights.total_bytes == 22_360_456_160
    experts = 256 * 3 * 512 * 2048 * 40 / 34_700_000_000
    assert facts.weights.expert_bytes == pytest.approx(experts * 22_360_456_160, rel=0.01)
    assert facts.geometry.trained_context_tokens == 262_144
    assert facts.weights.packable_bytes[0][0] == "*"


@pytest.mark.parametrize(("model", "build"), [(Model(geometry={}), Build()), (Model(), Build(weights_bytes=None))])
def test_what_is_not_known_is_none_and_not_guessed(model: Model, build: Build) -> None:
    assert from_catalogue(model, build) is None


def test_why_a_build_cannot_run_is_carried_along() -> None:
    facts = from_catalogue(Model(), Build(unsupported="No engine reads it."))
    assert facts is not None and facts.unsupported == "No engine reads it."
