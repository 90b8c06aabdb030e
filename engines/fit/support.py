"""Does the engine run this model at all? Asked before anything is downloaded, and answered in whole sentences.

What the pinned engines know stands in `known_models`. What a header cannot show (a layout of tensors that only another
program reads: ds4's GGUF files of DeepSeek V4 have the same architecture and names as llama.cpp's) is for the
catalogue and for the engine's own plan. Nothing here is about memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from engines.base import LoadSettings
from engines.fit import memory
from engines.fit.known_models import (
    GGUF_OF_MLX,
    LLAMA_ARCHITECTURES,
    LLAMA_NOT_FOR_CHAT,
    LLAMA_VERSION,
    MLX_MODEL_TYPES,
    MLX_OF_GGUF,
    MLX_VERSION,
    TYPES_OF_OTHERS,
)
from engines.fit.values import ModelFacts

_COMPRESSED_FORMATS = frozenset({"nvfp4-pack-quantized", "mxfp4-pack-quantized", "pack-quantized"})


class CatalogueBuild(Protocol):
    """The part of a catalogue's build that is asked here."""

    @property
    def engine(self) -> str: ...
    @property
    def quantization(self) -> str: ...
    @property
    def unsupported(self) -> str: ...


class CatalogueEntry(Protocol):
    """The part of a catalogue's entry that is asked here."""

    @property
    def name(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def build(self) -> Sequence[CatalogueBuild]: ...


def why_unsupported(facts: ModelFacts, settings: LoadSettings | None = None) -> str:
    """Why this version of the engine does not run this build with these settings, and what to use instead; empty if
    nothing speaks against it.
    """
    if facts.unsupported:
        return facts.unsupported
    match facts.engine:
        case "llama":
            return _llama_problem(facts, settings or LoadSettings())
        case "mlx":
            return _mlx_problem(facts, settings or LoadSettings())
        case _:
            return ""


def problem_of_config(config: Mapping[str, object]) -> str:
    """Why mlx-lm does not run the model that this config.json describes, or would read it wrongly; empty if it does.

    Needs no weights: a repository can be refused after reading one small file.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        return "The file config.json does not say what kind of model this is. Choose another build of it."
    inner = config.get("text_config")
    text = inner if isinstance(inner, Mapping) else config
    if text.get("engram_layer_ids") or config.get("engram_layer_ids"):
        return (
            f"This model ({model_type}) keeps part of its knowledge in engram tables, which {MLX_VERSION} cannot read. "
            "No engine of Snug runs it; choose another model."
        )
    if model_type not in MLX_MODEL_TYPES:
        return _unknown_to_mlx(model_type)
    if config.get("model_file") is not None:
        return "This model brings a program of its own, which Snug does not run for safety. Choose another build of it."
    if model_type == "gpt_oss" and "rope_parameters" in text and text.get("rope_scaling") is None:
        return _newer_keys("rope_parameters", "it would answer wrongly without a warning")
    if model_type.startswith("gemma4") and "per_layer_config" in text:
        return _newer_keys("per_layer_config", "it cannot load the model")
    return _problem_of_quantization(config, text)


def alternative(name: str, entries: Sequence[CatalogueEntry], *, refused_engine: str) -> str:
    """A sentence that names a build for another engine, of the model with this architecture, model type or name;
    empty if the catalogue has none that runs.
    """
    wanted = {name.casefold(), GGUF_OF_MLX.get(name, name).casefold()}
    for entry in entries:
        if not wanted & {entry.name.casefold(), entry.architecture.casefold()}:
            continue
        for build in entry.build:
            if build.engine == refused_engine or build.unsupported or not _runs(build.engine, entry.architecture):
                continue
            kind = {"llama": "GGUF", "mlx": "MLX"}.get(build.engine, build.engine)
            return f"Use the {kind} build {build.quantization} of {entry.name} instead."
    return ""


def runs_well_on_cann(architecture: str, quantization_types: Sequence[str]) -> bool:
    """Whether llama.cpp's CANN backend (Huawei Ascend) computes such a model itself, not by going back to the processor
    in each layer: F16, Q8_0 and Q4_0 weights only, and no recurrent or DeepSeek V4 layers.

    Source: docs/backend/CANN.md and supports_op in ggml-cann.cpp of the vendored llama.cpp. Not tried on a device.
    """
    hybrid = {"qwen3next", "qwen35", "qwen35moe", "nemotron_h", "nemotron_h_moe", "deepseek4", "mamba", "mamba2"}
    return architecture not in hybrid and set(quantization_types) <= {"F32", "F16", "BF16", "Q8_0", "Q4_0"}


def _runs(engine: str, architecture: str) -> bool:
    if engine == "mlx":
        return MLX_OF_GGUF.get(architecture, architecture) in MLX_MODEL_TYPES
    return engine != "llama" or architecture in LLAMA_ARCHITECTURES


def _llama_problem(facts: ModelFacts, settings: LoadSettings) -> str:
    architecture = facts.geometry.architecture
    if architecture in LLAMA_NOT_FOR_CHAT:
        return f"This model ({architecture}) is not made for chat. {LLAMA_NOT_FOR_CHAT[architecture]}"
    if architecture not in LLAMA_ARCHITECTURES:
        return (
            f"This version's llama.cpp ({LLAMA_VERSION}) does not know models of the kind {architecture[:80]!r}. "
            "Choose another model, or look for a newer Snug."
        )
    unknown = [name for name in facts.quantization_types if name.startswith("type ")]
    if unknown:
        named = TYPES_OF_OTHERS.get(unknown[0], unknown[0].replace("type", "number type", 1))
        return (
            f"This build of a {architecture} model stores its weights as {named}, which this version's llama.cpp "
            f"({LLAMA_VERSION}) does not know. Choose another build of it."
        )
    return memory.refusal(facts.geometry, settings.kv_type, settings.flash_attention)


def _mlx_problem(facts: ModelFacts, settings: LoadSettings) -> str:
    architecture = facts.geometry.architecture
    model_type = facts.model_type or MLX_OF_GGUF.get(architecture, architecture)
    if model_type not in MLX_MODEL_TYPES:
        return _unknown_to_mlx(model_type)
    if settings.kv_type in {"f16", "bf16"}:
        return ""
    if settings.kv_type not in {"q8_0", "q4_0"}:
        return f"MLX cannot keep the context as {settings.kv_type}. Choose f16, q8_0 or q4_0."
    if any(part.window_tokens is not None for part in facts.geometry.caches):
        return (
            f"{MLX_VERSION} cannot store the context of this model ({model_type}) in fewer bits, because some of its "
            "layers look at a window only. Choose f16."
        )
    return ""


def _unknown_to_mlx(model_type: str) -> str:
    known = GGUF_OF_MLX.get(model_type, model_type)
    instead = "Choose another model, or look for a newer Snug."
    if known in LLAMA_ARCHITECTURES:
        instead = "Choose a GGUF build of it, which llama.cpp runs."
    return (
        f"The MLX of this version ({MLX_VERSION}) has no {model_type[:80]}, the kind of model that this is. {instead}"
    )


def _newer_keys(key: str, what_happens: str) -> str:
    return (
        f"This copy's config.json was written by a newer program (it has {key}), and {MLX_VERSION} does not "
        f"understand it: {what_happens}. Choose the model as its author published it."
    )


def _problem_of_quantization(config: Mapping[str, object], text: Mapping[str, object]) -> str:
    """What mlx-lm's loader raises for (utils.py: load_model, _compressed_tensors_quantization)."""
    if isinstance(config.get("quantization"), Mapping):
        return ""
    settings = config.get("quantization_config", text.get("quantization_config"))
    if not isinstance(settings, Mapping):
        return ""
    method = settings.get("quant_method")
    stored = ""
    if method == "compressed-tensors" and settings.get("format") not in _COMPRESSED_FORMATS:
        stored = f"compressed-tensors {settings.get('format')}"
    elif method == "modelopt":
        inner = settings.get("quantization")
        algorithm = (inner if isinstance(inner, Mapping) else settings).get("quant_algo")
        stored = "" if algorithm == "NVFP4" else f"ModelOpt {algorithm}"
    elif method in {"awq", "gptq"} and settings.get("bits", 4) != 4:
        stored = f"{str(method).upper()} with {settings.get('bits')} bits"
    if not stored:
        return ""
    return (
        f"This build stores its weights as {stored[:80]}, which {MLX_VERSION} does not read. "
        "Choose another build of the model."
    )
