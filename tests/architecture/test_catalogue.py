"""What models.toml must hold as data, beside its shape: nothing missing, nothing that contradicts itself or the facts.

The geometry is checked with arithmetic written here, independent of `engines.fit`: the cache per token against the
figures of facts/models.md 1.2, and the count of parameters that follows from it against the count that is stated.
"""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise

import pytest

from engines.catalog import (
    Catalog,
    CatalogBuild,
    CatalogModel,
    GeometryValue,
    find_catalog_file,
    load_catalog,
)
from engines.registry import ENGINES

CATALOG = load_catalog()
MODELS = pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)

# Engines that builds may name before they are in the registry: they belong to later versions.
COMING_ENGINES = {"mlx"}
OLDEST_VERSIONS = {"llama": "0.3.36", "mlx": "0.32.2"}

FAMILIES = {
    "smollm2-135m-instruct", "gemma-4-e2b-it", "gemma-4-e4b-it", "gemma-4-12b-it", "gemma-4-26b-a4b-it",
    "gemma-4-31b-it", "qwen3.5-4b", "qwen3.5-9b", "qwen3.6-27b", "qwen3.8-27b", "qwen3.6-35b-a3b", "gpt-oss-20b",
    "nemotron-3-nano-30b-a3b", "nemotron-3.5-lightning-30b-a3b", "deepseek-v4-flash-0731",
}  # fmt: skip

# facts/models.md 1.2: bytes per token that never stop growing, and per position inside the window, both in F16.
CACHE_BYTES = {
    "gemma-4-e2b-it": (6_144, 12_288, 512),
    "gemma-4-e4b-it": (16_384, 40_960, 512),
    "gemma-4-12b-it": (16_384, 327_680, 1024),
    "gemma-4-26b-a4b-it": (20_480, 204_800, 1024),
    "gemma-4-31b-it": (81_920, 819_200, 1024),
    "qwen3.5-9b": (32_768, 0, 0),
    "qwen3.6-27b": (65_536, 0, 0),
    "qwen3.8-27b": (65_536, 0, 0),
    "qwen3.6-35b-a3b": (20_480, 0, 0),
    "gpt-oss-20b": (24_576, 24_576, 128),
    "nemotron-3-nano-30b-a3b": (6_144, 0, 0),
    "nemotron-3.5-lightning-30b-a3b": (6_144, 0, 0),
    "deepseek-v4-flash-0731": (6_880, 44_032, 128),
    # Not in the facts: 8 attention layers, 4 heads of 256 as in the 9B; all 30 layers, 3 heads of 64.
    "qwen3.5-4b": (32_768, 0, 0),
    "smollm2-135m-instruct": (23_040, 0, 0),
}
# The same source, in MiB of one sequence.
STATE_MIB = {
    "qwen3.5-4b": 50.25,
    "qwen3.5-9b": 50.25,
    "qwen3.6-27b": 149.625,
    "qwen3.8-27b": 149.625,
    "qwen3.6-35b-a3b": 62.8125,
    "nemotron-3-nano-30b-a3b": 47.6171875,
    "nemotron-3.5-lightning-30b-a3b": 47.6171875,
}


class Shape:
    """Reads one geometry table, layer by layer."""

    def __init__(self, model: CatalogModel) -> None:
        self.table = model.geometry
        self.architecture = model.architecture
        self.layers = self.number("block_count") - self.number("nextn_predict_layers")

    def number(self, key: str, default: int = 0) -> int:
        value = self.table.get(key, default)
        assert isinstance(value, int), key
        return value

    def of(self, key: str, layer: int) -> int:
        value = self.table.get(key, 0)
        return int(value[layer] if isinstance(value, tuple) else value)

    def is_windowed(self, layer: int) -> bool:
        return self.architecture == "deepseek4" or bool(self.of("attention.sliding_window_pattern", layer))

    def is_recurrent(self, layer: int) -> bool:
        if interval := self.number("full_attention_interval"):
            return (layer + 1) % interval != 0
        is_nemotron = self.architecture == "nemotron_h_moe"
        return (
            is_nemotron and not self.of("attention.head_count_kv", layer) and not self.of("feed_forward_length", layer)
        )

    def has_attention(self, layer: int) -> bool:
        return not self.is_recurrent(layer) and self.of("attention.head_count_kv", layer) > 0

    def head_width(self, layer: int) -> int:
        given = self.number(
            "attention.key_length", self.number("embedding_length") // self.of("attention.head_count", 0)
        )
        return self.number("attention.key_length_swa", given) if self.is_windowed(layer) else given

    def cache_bytes(self) -> tuple[float, float]:
        """(per token, per position of the window)."""
        if self.architecture == "deepseek4":
            return self._compressed_cache_bytes()
        growing = windowed = 0
        for layer in range(self.layers - self.number("attention.shared_kv_layers")):
            if self.has_attention(layer):
                size = 2 * 2 * self.of("attention.head_count_kv", layer) * self.head_width(layer)
                growing += 0 if self.is_windowed(layer) else size
                windowed += size if self.is_windowed(layer) else 0
        return growing, windowed

    def _compressed_cache_bytes(self) -> tuple[float, float]:
        width, indexer = self.number("attention.key_length"), self.number("attention.indexer.key_length")
        ratios = [self.of("attention.compress_ratios", layer) for layer in range(self.layers)]
        growing = sum(2 * (width + (indexer if ratio == 4 else 0)) / ratio for ratio in ratios if ratio)
        return growing, 2 * width * self.layers

    def state_bytes(self) -> int:
        inner, state = self.number("ssm.inner_size"), self.number("ssm.state_size")
        row = (self.number("ssm.conv_kernel") - 1) * (inner + 2 * self.number("ssm.group_count") * state)
        return 4 * (row + state * inner) * sum(self.is_recurrent(layer) for layer in range(self.layers))

    def parameters(self) -> int:
        """Of all matrices; norms, biases and other vectors are below a thousandth."""
        width, vocabulary = self.number("embedding_length"), self.number("vocabulary")
        total = vocabulary * width * (1 if self.table["tied_embeddings"] else 2)
        total += (vocabulary + width) * self.number("embedding_length_per_layer_input") * self.layers
        return total + sum(self._layer_parameters(layer, width) for layer in range(self.layers))

    def _layer_parameters(self, layer: int, width: int) -> int:
        total = 2 * width * self.number("embedding_length_per_layer_input")
        matrices = 2 if self.architecture == "nemotron_h_moe" else 3
        has_experts = self.number("expert_count") and (matrices == 3 or self.of("feed_forward_length", layer))
        if has_experts:
            wide = self.number("expert_count") * self.number("expert_feed_forward_length")
            shared = self.number("expert_shared_feed_forward_length")
            if self.architecture == "deepseek4":
                shared = self.number("expert_shared_count") * self.number("expert_feed_forward_length")
            total += matrices * width * (wide + shared) + width * self.number("expert_count")
        if not has_experts or self.architecture == "gemma4":
            total += matrices * width * self.of("feed_forward_length", layer)
        if self.is_recurrent(layer):
            return total + self._recurrent_parameters(width)
        if self.architecture == "deepseek4":
            return total + self._low_rank_parameters(width)
        return total + (self._attention_parameters(layer, width) if self.has_attention(layer) else 0)

    def _attention_parameters(self, layer: int, width: int) -> int:
        query = self.of("attention.head_count", layer) * self.head_width(layer)
        keys = self.of("attention.head_count_kv", layer) * self.head_width(layer)
        gated = 1 if self.architecture.startswith("qwen35") else 0
        owns_cache = layer < self.layers - self.number("attention.shared_kv_layers")
        # Gemma's larger models use one matrix for keys and values of full layers (facts/models.md 1.2).
        one_for_both = self.architecture == "gemma4" and not self.number("attention.shared_kv_layers")
        matrices = 1 if one_for_both and not self.is_windowed(layer) else 2
        return width * (query * (2 + gated) + (keys * matrices if owns_cache else 0))

    def _recurrent_parameters(self, width: int) -> int:
        inner, state = self.number("ssm.inner_size"), self.number("ssm.state_size")
        groups, rank = self.number("ssm.group_count"), self.number("ssm.time_step_rank")
        gates = 2 * rank if self.architecture.startswith("qwen35") else rank
        return width * (3 * inner + 2 * groups * state + gates)

    def _low_rank_parameters(self, width: int) -> int:
        rank, query = self.number("attention.q_lora_rank"), self.of("attention.head_count", 0) * self.head_width(0)
        output = self.number("attention.output_lora_rank")
        return width * (rank + self.head_width(0) + output * self.number("attention.output_group_count")) + query * (
            rank + output
        )


def test_every_family_is_there_with_builds_for_both_engines() -> None:
    assert {model.id for model in CATALOG.models} == FAMILIES
    for model in CATALOG.models:
        assert {build.engine for build in model.build} == {"llama", "mlx"}, model.id


def test_models_stand_in_the_order_of_their_strength() -> None:
    strengths = {model.id: model.strength for model in CATALOG.models}

    assert all(strength > 0 for strength in strengths.values())
    assert len(set(strengths.values())) == len(strengths), "equal strengths leave the choice to chance"
    for weaker, stronger in pairwise(["gemma-4-e2b-it", "qwen3.5-9b", "gemma-4-26b-a4b-it", "qwen3.6-35b-a3b"]):
        assert strengths[weaker] < strengths[stronger]


def test_every_engine_is_known() -> None:
    known = {info.id for info in ENGINES} | COMING_ENGINES

    assert {build.engine for _, build in CATALOG.builds()} <= known


@MODELS
def test_an_entry_says_everything_that_people_ask(model: CatalogModel) -> None:
    assert model.origin == "snug"
    assert model.licence != ""
    assert model.good_for.endswith(".")
    assert "!" not in model.good_for
    assert all(re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", tag) for tag in model.languages)
    assert len(set(model.languages)) == len(model.languages)
    assert model.sampling.source != ""
    assert model.sampling.temperature is not None
    assert (model.active_parameters is not None) == ("a3b" in model.id or "a4b" in model.id or model.id in SPARSE)


SPARSE = {"gpt-oss-20b", "deepseek-v4-flash-0731", "gemma-4-e2b-it", "gemma-4-e4b-it"}
"""Beside those that say so in their names: experts, or embeddings per layer of which single rows are read."""


@MODELS
def test_a_build_says_what_runs_it_or_why_nothing_does(model: CatalogModel) -> None:
    for build in model.build:
        where = f"{model.id} {build.engine} {build.quantization}"
        assert build.repository is not None, where
        assert build.precision != "", where
        if build.unsupported:
            assert build.unsupported.endswith("."), where
            assert build.engine_version is None, where
            assert runs_somewhere(CATALOG, build), where
        else:
            assert build.engine_version == OLDEST_VERSIONS[build.engine], where
        if build.revision is not None:
            assert re.fullmatch(r"[0-9a-f]{40}", build.revision), where
    kinds = [(build.engine, build.quantization, build.repository) for build in model.build]
    assert len(set(kinds)) == len(kinds), model.id


def runs_somewhere(catalog: Catalog, build: CatalogBuild) -> bool:
    return any(not other.unsupported for _, other in catalog.in_repository(build.alternative or ""))


@MODELS
def test_sizes_agree_with_the_parameters(model: CatalogModel) -> None:
    """A digit too few or too many would show: mixed quantizations lie within these bounds of what they promise."""
    for build in model.build:
        if build.weights_bytes is None or build.bits is None:
            continue
        bits = build.weights_bytes * 8 / model.parameters
        assert build.bits * 0.75 < bits < max(build.bits, 2) * 1.95, (model.id, build.quantization, bits)


@MODELS
def test_more_bits_are_more_bytes(model: CatalogModel) -> None:
    for engine in ("llama", "mlx"):
        sizes = [
            (build.bits, build.weights_bytes)
            for build in model.build
            if build.engine == engine and build.weights_bytes is not None and not build.unsupported
        ]
        smallest = {bits: min(size for other, size in sizes if other == bits) for bits, _ in sizes}
        ordered = [smallest[bits] for bits in sorted(smallest, key=lambda bits: bits or 0)]
        assert ordered == sorted(ordered), model.id


@MODELS
def test_gguf_builds_list_their_files_and_parts_are_complete(model: CatalogModel) -> None:
    for build in model.build:
        if build.engine != "llama":
            continue
        weights = [file for file in build.file if file.role == "weights"]
        assert all(file.name.endswith(".gguf") for file in build.file), model.id
        assert all(file.name.startswith("mmproj") == (file.role == "projector") for file in build.file), model.id
        assert model.vision or len(weights) == len(build.file), model.id
        for number, file in enumerate(weights, start=1):
            if len(weights) > 1:
                assert file.name.endswith(f"-{number:05}-of-{len(weights):05}.gguf"), file.name


def test_hashes_belong_to_one_file() -> None:
    hashes = [file.sha256 for _, _, file in CATALOG.files() if file.sha256 is not None]

    assert len(hashes) > 20
    assert len(set(hashes)) == len(hashes)


def test_only_the_starter_is_carried_by_a_package() -> None:
    carriers = {model.id for model, _, file in CATALOG.files() if file.carried_by is not None}

    assert CATALOG.starter is not None
    assert carriers == {CATALOG.starter.id}


def test_what_mlx_cannot_run_is_listed_with_what_can() -> None:
    found = CATALOG.in_repository("mlx-community/DeepSeek-V4-Flash-4bit")

    assert len(found) == 1
    model, build = found[0]
    assert model.architecture == "deepseek4"
    assert "mlx-lm 0.32.2" in build.unsupported
    assert build.alternative == "unsloth/DeepSeek-V4-Flash-0731-GGUF"


def test_the_cache_figures_cover_every_geometry() -> None:
    assert set(CACHE_BYTES) == {model.id for model in CATALOG.models if model.geometry}


@MODELS
def test_the_geometry_gives_the_known_cache_per_token(model: CatalogModel) -> None:
    growing, windowed, window = CACHE_BYTES[model.id]
    shape = Shape(model)

    assert shape.cache_bytes() == (growing, windowed)
    assert shape.number("attention.sliding_window") == window


@MODELS
def test_the_geometry_gives_the_known_recurrent_state(model: CatalogModel) -> None:
    assert Shape(model).state_bytes() / 2**20 == STATE_MIB.get(model.id, 0)


@MODELS
def test_the_geometry_gives_the_stated_count_of_parameters(model: CatalogModel) -> None:
    """DeepSeek V4 has more small parts than are counted here (compressors, hyper-connections)."""
    tolerance = 0.01 if model.architecture == "deepseek4" else 0.003

    assert Shape(model).parameters() == pytest.approx(model.parameters, rel=tolerance)


@MODELS
def test_geometry_lists_have_one_value_for_each_layer(model: CatalogModel) -> None:
    lists = {key: value for key, value in model.geometry.items() if isinstance(value, tuple)}

    assert all(len(value) == model.geometry["block_count"] for value in lists.values()), lists
    assert not any(isinstance(value, float) for value in flat(model.geometry))


def flat(geometry: dict[str, GeometryValue]) -> list[GeometryValue]:
    return [item for value in geometry.values() for item in (value if isinstance(value, tuple) else (value,))]


def test_every_key_is_described_at_the_head_of_the_file() -> None:
    path = find_catalog_file()
    text = path.read_text(encoding="utf-8")
    head = text.partition("\nformat = ")[0]
    described = {word.strip(' ,.";():') for line in head.splitlines() for word in line.lstrip("# ").split()}

    def keys_of(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value) - {"package", "path"} | {key for item in value.values() for key in keys_of(item)}
        if isinstance(value, list):
            return {key for item in value for key in keys_of(item)}
        return set()

    used = keys_of(tomllib.loads(text)) - {"model", "build", "file", "sampling", "geometry"}
    assert used <= described, used - described
    assert max(map(len, text.splitlines())) <= 120
