"""What the pinned engines know by name: llama.cpp's architectures and mlx-lm's model types. Tables only.

llama.cpp 0c1e57098 in llama-cpp-python 0.3.36 (src/llama-arch.cpp), and mlx-lm 0.32.2 (its models folder and
MODEL_REMAPPING in utils.py). The tests compare them with what is installed: an upgrade shows there.
"""

from __future__ import annotations

from collections.abc import Mapping

LLAMA_VERSION = "llama-cpp-python 0.3.36"
MLX_VERSION = "mlx-lm 0.32.2"

LLAMA_ARCHITECTURES = frozenset({
    "afmoe", "apertus", "arcee", "arctic", "arwkv7", "baichuan", "bailingmoe", "bailingmoe2", "bailingmoe3",
    "bitnet", "bloom", "chameleon", "chatglm", "codeshell", "cogvlm", "cohere2", "cohere2moe", "command-r", "dbrx",
    "deci", "deepseek", "deepseek2", "deepseek2-ocr", "deepseek32", "deepseek4", "dots1", "dots3note", "ernie4_5",
    "ernie4_5-moe", "exaone", "exaone-moe", "exaone4", "falcon", "falcon-h1", "gemma", "gemma2", "gemma3",
    "gemma3n", "gemma4", "glm-dsa", "glm4", "glm4moe", "glm5-next", "gpt-oss", "gpt2", "gptj", "gptneox", "granite",
    "granite_swa", "granitehybrid", "granitemoe", "graniteswitch", "grok", "grovemoe", "hrm_text", "hunyuan-dense",
    "hunyuan-moe", "hunyuan_vl", "hy_v3", "hy_v4", "internlm2", "jais", "jais2", "jamba", "kimi-k3", "kimi-linear",
    "laguna", "lfm2", "lfm2moe", "llama", "llama4", "maincoder", "mamba", "mamba2", "maple", "mellum", "mimo2",
    "minicpm", "minicpm3", "minimax-01", "minimax-m2", "minimax-m3", "mistral3", "mistral4", "mpt", "muse-glimmer",
    "nanbeige", "nemotron", "nemotron_h", "nemotron_h_moe", "olmo", "olmo2", "olmoe", "openelm", "orion",
    "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plamo2", "plamo3", "plm", "qwen", "qwen2",
    "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vl", "qwen3vlmoe",
    "qwen4exp", "refact", "rwkv6", "rwkv6qwen2", "rwkv7", "seed_oss", "smallthinker", "smollm3", "spark2_5",
    "stablelm", "starcoder", "starcoder2", "step35", "talkie", "xverse",
})  # fmt: skip
"""Architectures that write text token by token."""

_EMBEDDING = "It turns text into numbers for searching and writes no text."
_DRAFT = "It is a helper that only works beside a larger model."
_SPEECH = "It makes sound, not text."
_DIFFUSION = "It writes a whole text at once by diffusion, which Snug does not do."
_TWO_PARTS = "It has an encoder of its own, which Snug does not use."

LLAMA_NOT_FOR_CHAT: Mapping[str, str] = {
    "bert": _EMBEDDING,
    "clip": _DRAFT,
    "dflash": _DRAFT,
    "dream": _DIFFUSION,
    "eagle3": _DRAFT,
    "eurobert": _EMBEDDING,
    "gemma-embedding": _EMBEDDING,
    "gemma4-assistant": _DRAFT,
    "jina-bert-v2": _EMBEDDING,
    "jina-bert-v3": _EMBEDDING,
    "llada": _DIFFUSION,
    "llada-moe": _DIFFUSION,
    "llama-embed": _EMBEDDING,
    "modern-bert": _EMBEDDING,
    "neo-bert": _EMBEDDING,
    "nomic-bert": _EMBEDDING,
    "nomic-bert-moe": _EMBEDDING,
    "pockettts": _SPEECH,
    "qwen3tts": _SPEECH,
    "rnd1": _DIFFUSION,
    "t5": _TWO_PARTS,
    "t5encoder": _EMBEDDING,
    "wavtokenizer-dec": _SPEECH,
}
"""Known to llama.cpp, but nothing to chat with, and why."""

TYPES_OF_OTHERS: Mapping[str, str] = {"type 142": "PQ2_0 of PrismML", "type 143": "PTQ1_0 of PrismML"}
"""Numbers of tensor types that only other programs read, by the name that a header's reader gives them."""

MLX_MODULES = frozenset({
    "Klear", "afm7", "afmoe", "apertus", "baichuan_m1", "bailing_hybrid", "bailing_moe", "bailing_moe_linear",
    "bailing_moe_v3", "bitnet", "cohere", "cohere2", "dbrx", "deepseek", "deepseek_v2", "deepseek_v3",
    "deepseek_v32", "deepseek_v41", "dots1", "ernie4_5", "ernie4_5_moe", "exaone", "exaone4", "exaone_moe",
    "falcon_h1", "gear", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma4", "gemma4_text", "glm",
    "glm4", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss", "gptj",
    "granite", "granitemoe", "granitemoehybrid", "helium", "hunyuan", "hunyuan_v1_dense", "internlm2", "internlm3",
    "iquestloopcoder", "jamba", "kimi_k25", "kimi_k3", "kimi_linear", "kimi_vl", "laguna", "lfm2", "lfm2-vl",
    "lfm2_moe", "lille-130m", "llama", "llama4", "llama4_text", "longcat_flash", "longcat_flash_ngram", "mamba",
    "mamba2", "mellum", "mimo", "mimo_v2_flash", "minicpm", "minicpm3", "minimax", "minimax_m3_vl", "ministral3",
    "mistral3", "mistral4", "mixtral", "muse_glimmer", "muse_spark", "nanbeige", "nanochat", "nemotron",
    "nemotron-nas", "nemotron_h", "olmo", "olmo2", "olmo3", "olmo_hybrid", "olmoe", "openelm", "phi", "phi3",
    "phi3small", "phimoe", "phixtral", "pixtral", "plamo", "plamo2", "plamo3", "prism_hadamard_qwen35", "qwen",
    "qwen2", "qwen2_moe", "qwen2_vl", "qwen3", "qwen3_5", "qwen3_5_moe", "qwen3_moe", "qwen3_next", "qwen3_vl",
    "qwen3_vl_moe", "recurrent_gemma", "rwkv7", "seed_oss", "smollm3", "solar_open", "spark2_5", "stablelm",
    "starcoder2", "step3p5", "talkie", "telechat3", "youtu_llm",
})  # fmt: skip
MLX_OTHER_NAMES: Mapping[str, str] = {
    "deepseek_v41_text": "deepseek_v41",
    "falcon_mamba": "mamba",
    "gemma4_unified": "gemma4",
    "iquestcoder": "llama",
    "joyai_llm_flash": "deepseek_v3",
    "kimi_k2": "deepseek_v3",
    "llava": "mistral3",
    "minimax_m2": "minimax",
    "mistral": "llama",
    "phi-msft": "phixtral",
    "qwen2_5_vl": "qwen2_vl",
    "xverse": "llama",
}
MLX_MODEL_TYPES = MLX_MODULES | MLX_OTHER_NAMES.keys()
"""Values of `model_type` that mlx-lm loads."""

GGUF_OF_MLX: Mapping[str, str] = {
    "deepseek_v3": "deepseek2",
    "deepseek_v32": "deepseek32",
    "deepseek_v4": "deepseek4",
    "gemma4_text": "gemma4",
    "gemma4_unified": "gemma4",
    "gpt_oss": "gpt-oss",
    "muse_glimmer": "muse-glimmer",
    "qwen3_5": "qwen35",
    "qwen3_5_moe": "qwen35moe",
    "qwen3_moe": "qwen3moe",
    "qwen3_next": "qwen3next",
    "qwen4_exp": "qwen4exp",
}
"""Model types of MLX to architectures of GGUF, where the two name the same models differently."""
MLX_OF_GGUF: Mapping[str, str] = {
    "deepseek2": "deepseek_v3",
    "deepseek32": "deepseek_v32",
    "deepseek4": "deepseek_v4",
    "gpt-oss": "gpt_oss",
    "muse-glimmer": "muse_glimmer",
    "nemotron_h_moe": "nemotron_h",
    "qwen35": "qwen3_5",
    "qwen35moe": "qwen3_5_moe",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen4exp": "qwen4_exp",
}
