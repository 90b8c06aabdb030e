"""MLX's memory, held against mlx-lm itself: weights, caches and state to the byte, the peak from above."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from engines.errors import UnsupportedModelError
from engines.fit import mlx
from engines.fit.values import TERMS, Geometry, ModelFacts, Weights
from engines.formats.mlx_folder import read_folder

GB = 10**9
MIB = 1 << 20
CHILD = Path(__file__).with_name("mlx_child.py")

COMMON = {"rms_norm_eps": 1e-6, "vocab_size": 512, "max_position_embeddings": 32_768, "rope_theta": 10_000.0}
LLAMA = {
    **COMMON,
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "tie_word_embeddings": True,
}
SMALL = {**LLAMA, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
QWEN35 = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-6,
    "vocab_size": 512,
    "max_position_embeddings": 4096,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
    "full_attention_interval": 4,
    "tie_word_embeddings": True,
}
QWEN35_MOE = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 48,
}
GEMMA4 = {
    "rms_norm_eps": 1e-6,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "global_head_dim": 48,
    "sliding_window": 300,
    "sliding_window_pattern": 3,
    "num_kv_shared_layers": 2,
    "vocab_size_per_layer_input": 512,
    "hidden_size_per_layer_input": 16,
    "max_position_embeddings": 32_768,
}
GEMMA4_MOE = {
    "num_kv_shared_layers": 0,
    "hidden_size_per_layer_input": 0,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "enable_moe_block": True,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 32,
}
NEMOTRON = {
    "model_type": "nemotron_h",
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 192,
    "max_position_embeddings": 4096,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "attention_bias": False,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "mamba_proj_bias": False,
    "ssm_state_size": 32,
    "conv_kernel": 4,
    "n_groups": 2,
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-5,
    "use_bias": False,
    "use_conv_bias": True,
    "hybrid_override_pattern": "MEM*-M",
    "n_group": 1,
    "topk_group": 1,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "moe_shared_expert_intermediate_size": 96,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
}
GPT_OSS = {
    "model_type": "gpt_oss",
    "num_hidden_layers": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 128,
    "head_dim": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "sliding_window": 128,
    "rope_theta": 150_000,
    "max_position_embeddings": 131_072,
}


@dataclass(frozen=True)
class Case:
    """A little model and the prompts that it reads."""

    config: dict[str, Any]
    prompts: list[dict[str, Any]]
    bits: int | None = None
    extra: dict[str, list[int]] = field(default_factory=dict)
    """Tensors in the folder that mlx-lm leaves out, by shape."""


def prompts(*tokens: int, step: int = 256, **more: Any) -> list[dict[str, Any]]:
    return [{"tokens": count, "step": step, **more} for count in tokens]


CASES: dict[str, Case] = {
    "llama": Case(LLAMA, prompts(1, 2, 256, 257, 700, 1500, step=512)),
    "llama, 4 bits": Case(LLAMA, prompts(300), 4, {"model.layers.0.self_attn.rotary_emb.inv_freq": [16]}),
    "llama with windows": Case(
        {**SMALL, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 64}, prompts(50, 200)
    ),
    "tied output that is stored": Case(SMALL, prompts(10), None, {"lm_head.weight": [512, 64]}),
    "8-bit cache": Case(
        {**SMALL, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 64},
        [*prompts(4900, 5300, step=512, kv_bits=8), *prompts(5300, step=512, kv_bits=4)],
    ),
    "qwen3": Case({**SMALL, "model_type": "qwen3"}, prompts(300)),
    "qwen2": Case({**SMALL, "model_type": "qwen2"}, prompts(300, lazily=True)),
    "mistral": Case({**SMALL, "model_type": "mistral"}, prompts(300, lazily=True)),
    "phi3": Case({**SMALL, "model_type": "phi3"}, prompts(300, lazily=True)),
    "seed_oss": Case({**SMALL, "model_type": "seed_oss"}, prompts(300, lazily=True)),
    "smollm3": Case({**SMALL, "model_type": "smollm3"}, prompts(300, lazily=True)),
    "olmo2": Case({**SMALL, "model_type": "olmo2"}, prompts(300, lazily=True)),
    "qwen3_moe": Case(
        {
            **SMALL,
            "model_type": "qwen3_moe",
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "dtype": "float32",
        },
        prompts(300),
    ),
    "qwen3_5": Case(
        {"model_type": "qwen3_5", "text_config": QWEN35},
        [*prompts(10, step=8), *prompts(300, lazily=True)],
        None,
        {
            "vision_tower.blocks.0.attn.qkv.weight": [8, 8],
            "model.visual.merger.weight": [8, 8],
            "mtp.layers.0.weight": [64, 64],
        },
    ),
    "qwen3_5_moe": Case(
        {"model_type": "qwen3_5_moe", "dtype": "float32", "text_config": {**QWEN35, **QWEN35_MOE}},
        prompts(300, lazily=True),
        None,
        {"model.visual.blocks.0.attn.qkv.weight": [8, 8]},
    ),
    "gemma4": Case(
        {"model_type": "gemma4", "vocab_size": 512, "text_config": GEMMA4},
        prompts(3, 100, 299, 300, 301, 556, 800),
        None,
        {
            "model.vision_tower.weight": [8, 8],
            "audio_tower.weight": [8, 8],
            "model.embed_vision.weight": [8, 8],
            "language_model.model.layers.5.self_attn.k_proj.weight": [64, 128],
            "language_model.model.layers.6.self_attn.v_proj.weight": [64, 128],
        },
    ),
    "gemma4_text": Case({"model_type": "gemma4_text", "vocab_size": 512, **GEMMA4}, prompts(400)),
    "gemma4_unified": Case(
        {"model_type": "gemma4_unified", "vocab_size": 512, "text_config": {**GEMMA4, "num_kv_shared_layers": 0}},
        prompts(400, lazily=True),
        None,
        {"model.vision_embedder.weight": [8, 8]},
    ),
    "gemma4 with experts": Case(
        {"model_type": "gemma4", "vocab_size": 512, "dtype": "float32", "text_config": {**GEMMA4, **GEMMA4_MOE}},
        prompts(500),
    ),
    "nemotron_h": Case({**NEMOTRON, "dtype": "float32"}, prompts(600, step=512), None, {"mtp.norm.weight": [8]}),
    "gpt_oss": Case({**GPT_OSS, "dtype": "float32"}, prompts(64, 600)),
}


@dataclass(frozen=True)
class Answer:
    """What mlx-lm said, beside the facts of the very folder."""

    facts: ModelFacts
    weights_bytes: int
    prompts: Sequence[tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Every case, by one child process."""
    if util.find_spec("mlx") is None or util.find_spec("mlx_lm") is None:
        pytest.skip("mlx-lm has no wheel for this platform")
    folder = tmp_path_factory.mktemp("mlx")
    child = subprocess.run(
        [sys.executable, str(CHILD), str(folder)],
        input=json.dumps([dataclasses.asdict(case) for case in CASES.values()]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    found = {}
    for number, ((name, case), answer) in enumerate(zip(CASES.items(), json.loads(child.stdout), strict=True)):
        facts = mlx.facts(read_folder(folder / str(number)))
        found[name] = Answer(facts, answer["weights_bytes"], list(zip(case.prompts, answer["prompts"], strict=True)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_weights_are_those_that_mlx_loads(answers: dict[str, Answer], name: str) -> None:
    answer = answers[name]
    assert answer.facts.weights.total_bytes == answer.weights_bytes
    if CASES[name].extra:
        assert answer.facts.weights.total_bytes < answer.facts.file_bytes - 1000
    assert answer.facts.unsupported == ""
    assert answer.facts.engine == "mlx"


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_caches_and_state_are_as_large_as_those_of_mlx(answers: dict[str, Answer], name: str) -> None:
    answer = answers[name]
    for prompt, real in answer.prompts:
        expected = mlx.cache_bytes(answer.facts.geometry, prompt["tokens"], prompt.get("kv_bits"))
        assert expected == real["cache_bytes"], prompt
        assert answer.facts.geometry.state_bytes == real["state_bytes"]
        assert answer.facts.geometry.needs_checkpoints == ("ArraysCache" in real["classes"])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_peak_stays_below_the_sum(answers: dict[str, Answer], name: str) -> None:
    """Without the terms that cover what the little models do not have: spare buffers, the process, the tokenizer."""
    answer = answers[name]
    for prompt, real in answer.prompts:
        parts = mlx.parts(answer.facts, prompt["tokens"], kv_bits=prompt.get("kv_bits"), prefill_step=prompt["step"])
        total = parts.total_bytes - parts.weights_bytes - parts.process_bytes - parts.vocabulary_bytes
        total -= mlx.BUFFER_CACHE_BYTES
        assert real["peak_bytes"] <= total, prompt
        assert parts.context_bytes >= real["cache_bytes"], prompt


@pytest.mark.slow
def test_parts_of_the_weights_are_told_apart(answers: dict[str, Answer]) -> None:
    """Embedding rows are looked up, experts are used in part, tied outputs are read whole."""
    llama, gemma, moe, oss = (answers[name].facts.weights for name in ("llama", "gemma4", "qwen3_5_moe", "gpt_oss"))
    assert (llama.tied, llama.embedding_bytes, llama.expert_bytes) == (True, 512 * 128 * 2, 0)
    assert (gemma.tied, gemma.lazy_bytes) == (True, 512 * 7 * 16 * 2)
    assert (moe.tied, moe.expert_bytes) == (True, 4 * 4 * 3 * 64 * 32 * 4)
    assert (oss.tied, oss.embedding_bytes, len(oss.layer_bytes)) == (False, 512 * 128 * 4, 4)
    assert sum(llama.layer_bytes) + llama.embedding_bytes + 128 * 2 == llama.total_bytes


@pytest.mark.slow
def test_parameters_are_counted_through_quantization(answers: dict[str, Answer]) -> None:
    plain, packed = answers["llama"].facts, answers["llama, 4 bits"].facts
    assert plain.parameters == packed.parameters == plain.weights.total_bytes // 2
    assert (plain.quantization, packed.quantization) == ("not quantized", "4-bit")
    mixture = answers["gpt_oss"].facts
    assert mixture.parameters is not None
    assert mixture.active_parameters is not None
    assert mixture.active_parameters < mixture.parameters


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str = "BF16"
    shape: tuple[int, ...] = (4, 4)
    size_bytes: int = 32


@dataclass(frozen=True)
class Folder:
    config: dict[str, Any]
    tensors: tuple[Tensor, ...] = (Tensor("model.embed_tokens.weight"),)
    path: Path = Path("some-model")
    file_bytes: int = 1000


def test_deepseek_v4_is_refused_by_its_config() -> None:
    with pytest.raises(UnsupportedModelError, match="deepseek_v4") as caught:
        mlx.facts(Folder({"model_type": "deepseek_v4"}))
    assert "GGUF" in caught.value.advice
    assert caught.value.title.endswith(".")


def test_released_deepseek_v41_is_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedModelError, match="engram"):
        mlx.facts(Folder({"model_type": "deepseek_v41", "engram_layer_ids": [1, 14]}))


def test_wrongly_read_config_is_in_the_facts() -> None:
    facts = mlx.facts(Folder({**GPT_OSS, "rope_parameters": {"rope_type": "yarn"}}))
    assert "rope_parameters" in facts.unsupported


def test_type_that_is_not_computed_says_so() -> None:
    with pytest.raises(UnsupportedModelError, match="cannot be computed"):
        mlx.facts(Folder({"model_type": "rwkv7"}))


def test_buffers_of_a_gpu_are_whole_pages() -> None:
    large = Tensor("model.layers.0.mlp.down_proj.weight", shape=(8, 1025), size_bytes=16_400)
    facts = mlx.facts(Folder(LLAMA, (large, Tensor("model.norm.weight"))))
    assert facts.weights.total_bytes == 16_432
    assert mlx.parts(facts, 256).weights_bytes == 2 * 16_384 + 32


def test_unknown_bits_leave_the_parameters_open() -> None:
    packed = Tensor("model.layers.0.mlp.down_proj.weight", "U32")
    assert mlx.facts(Folder(LLAMA, (packed,))).parameters is None
    by_path = {"quantization": {"bits": 4, "group_size": 64, "model.layers.0.mlp.down_proj": {"bits": 8}}}
    assert mlx.facts(Folder({**LLAMA, **by_path}, (packed,))).parameters == 16 * 32 // 8
    special = {"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}
    assert mlx.facts(Folder({**LLAMA, **special}, (packed,))).quantization == "MXFP4"


def published(config: dict[str, Any], weights_bytes: int) -> ModelFacts:
    """A well-known model by its published figures."""
    return ModelFacts(
        name="published",
        engine="mlx",
        quantization="4-bit",
        geometry=mlx.geometry_of_config(config),
        weights=Weights(total_bytes=weights_bytes, exact=True),
        file_bytes=weights_bytes,
    )


QWEN3_4B = published(
    {
        "model_type": "qwen3",
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151_936,
        "max_position_embeddings": 262_144,
    },
    2_263_022_529,
)


def test_public_peak_of_a_real_model_lies_below_the_sum_and_near_it() -> None:
    """Qwen3-4B 4-bit, M3 Pro, prompt of 2048 and 128 tokens of reply: 3.30 GB by mlx's own count, which knows nothing
    of the process and the tokenizer (mlx-lm pull 1569).
    """
    parts = mlx.parts(QWEN3_4B, 2048 + 128, prefill_step=2048)
    counted = parts.total_bytes - parts.process_bytes - parts.vocabulary_bytes
    assert 3.30 * GB < counted < 1.35 * 3.30 * GB


def test_sum_grows_with_the_context() -> None:
    totals = [mlx.parts(QWEN3_4B, tokens, prefill_step=512).total_bytes for tokens in range(1, 20_000, 97)]
    assert totals == sorted(totals)


def test_sum_with_a_quantized_cache_grows_with_the_context() -> None:
    totals = [mlx.parts(QWEN3_4B, tokens, kv_bits=8, prefill_step=512).total_bytes for tokens in range(1, 20_000, 97)]
    assert totals == sorted(totals)


def test_quantized_cache_pays_off_only_on_long_contexts() -> None:
    def context(tokens: int, kv_bits: int | None) -> int:
        return mlx.parts(QWEN3_4B, tokens, kv_bits=kv_bits, prefill_step=512).context_bytes

    assert context(4096, 8) == context(4096, None), "up to 5000 tokens it is kept in full"
    assert context(32_768, 8) == pytest.approx(context(32_768, None) * 1.0625 / 2)
    assert context(32_768, 4) == pytest.approx(context(32_768, None) * 0.5625 / 2)
    assert (mlx.kv_bits_of("q8_0"), mlx.kv_bits_of("q4_0"), mlx.kv_bits_of("f16")) == (8, 4, None)


def test_heads_without_a_kernel_cost_their_scores() -> None:
    """Metal writes the score matrix for heads of 256 (Qwen3.5, Gemma) and none for heads of 128."""
    geometry = QWEN3_4B.geometry
    wide = dataclasses.replace(
        QWEN3_4B, geometry=dataclasses.replace(geometry, extra={**geometry.extra, "attention.key_length": 256})
    )
    scores = 32 * 512 * 32_768 * 2
    with_kernel = mlx.parts(QWEN3_4B, 32_768, prefill_step=512).compute_bytes
    assert mlx.parts(wide, 32_768, prefill_step=512).compute_bytes - with_kernel > 3 * scores


def test_every_term_of_the_sum_is_there() -> None:
    facts = published({"model_type": "qwen3_5", "text_config": QWEN35}, GB)
    parts = mlx.parts(facts, 4096)
    absent = {name for name in TERMS if getattr(parts, name) == 0}
    assert absent == {"repacked_bytes", "checkpoint_bytes", "projector_bytes"}
    assert parts.source == "arithmetic"


def test_catalogue_geometry_from_gguf_keys_serves_as_well() -> None:
    """A build of the catalogue has its shape from GGUF metadata, with less known: the sum is then no smaller."""
    bare = dataclasses.replace(QWEN3_4B.geometry, extra={})
    assert isinstance(bare, Geometry)
    facts = dataclasses.replace(QWEN3_4B, geometry=bare)
    assert mlx.parts(facts, 8192).total_bytes >= mlx.parts(QWEN3_4B, 8192).total_bytes
