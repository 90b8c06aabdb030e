"""ModelFacts from what is known: a GGUF header, or an entry of the catalogue before anything was downloaded.

Reads no file itself. MLX folders are described by `engines.fit.mlx`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from engines.errors import UnsupportedModelError
from engines.fit.geometry import from_metadata
from engines.fit.values import Geometry, ModelFacts, Weights
from engines.formats.gguf import TYPE_NAMES, ArrayLength, GgufHeader, TensorInfo, Value

TENSOR_ALIGNMENT_BYTES = 32
"""Of the CPU buffer (ggml TENSOR_ALIGNMENT); GPU buffers round up to as much as 256, which their margin covers."""
UNKNOWN_TYPE = "*"

_LAYER = re.compile(r"blk\.(\d{1,5})\.")
_EXPERTS = re.compile(r"\.ffn_(?:up|down|gate|gate_up)_(?:ch)?exps\.")
_EMBEDDING, _LAZY_EMBEDDING, _OUTPUT = "token_embd.weight", "per_layer_token_embd.weight", "output.weight"


def from_gguf(headers: Sequence[GgufHeader], name: str = "") -> ModelFacts:
    """The facts of a model in one file, or in several parts with the first one first.

    Raises: UnsupportedModelError when its architecture is not covered by the arithmetic, or the file says too little.
    """
    first = headers[0]
    prefix = f"{first.architecture}."
    metadata: dict[str, Value] = {
        key.removeprefix(prefix): value for key, value in first.metadata.items() if key.startswith(prefix)
    }
    tensors = [tensor for header in headers for tensor in header.tensors]
    metadata["vocabulary"] = _vocabulary(first, tensors)
    types = sorted({TYPE_NAMES.get(tensor.type_id, f"type {tensor.type_id}") for tensor in tensors})
    return ModelFacts(
        name=name or first.name,
        engine="llama",
        quantization=_file_type(first) or _main_type(tensors),
        geometry=from_metadata(first.architecture, metadata),
        weights=_weights(tensors, metadata, sum(header.data_start_bytes for header in headers)),
        file_bytes=sum(header.file_bytes for header in headers),
        parameters=_parameters(tensors),
        quantization_types=tuple(types),
        source="header",
    )


class CatalogueModel(Protocol):
    """The part of a catalogue entry that the fit reads (engines.catalog.CatalogModel has it)."""

    @property
    def name(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def parameters(self) -> int: ...
    @property
    def active_parameters(self) -> int | None: ...
    @property
    def trained_context_tokens(self) -> int: ...
    @property
    def geometry(self) -> Mapping[str, Value]: ...


class CatalogueBuild(Protocol):
    """The part of a build in the catalogue that the fit reads."""

    @property
    def engine(self) -> str: ...
    @property
    def quantization(self) -> str: ...
    @property
    def weights_bytes(self) -> int | None: ...
    @property
    def projector_bytes(self) -> int: ...
    @property
    def is_exact_size(self) -> bool: ...
    @property
    def unsupported(self) -> str: ...


def from_catalogue(model: CatalogueModel, build: CatalogueBuild) -> ModelFacts | None:
    """The facts of a build that is only known by name, or None while its size or its shape is not known.

    The size of the files stands for the weights: it is larger than they are by the header (a few MB), which is the
    careful direction. Which part of it is experts and embeddings follows from the shape, at the file's mean bytes per
    parameter.
    """
    file_bytes = build.weights_bytes
    if file_bytes is None and build.unsupported:
        file_bytes = 0  # its size is of no meaning where nothing can run it; the reason is
    if file_bytes is None or not model.geometry:
        return None
    metadata = {"context_length": model.trained_context_tokens, **model.geometry}
    geometry = from_metadata(model.architecture, metadata)
    bytes_per_parameter = file_bytes / model.parameters
    embedding = round(geometry.vocabulary * geometry.embedding_width * bytes_per_parameter)
    experts = round(_expert_parameters(geometry) * bytes_per_parameter)
    lazy = round(
        geometry.extra.get("embedding_length_per_layer_input", 0)
        * geometry.layers
        * geometry.vocabulary
        * bytes_per_parameter
    )
    return ModelFacts(
        name=model.name,
        engine=build.engine,
        quantization=build.quantization,
        geometry=geometry,
        weights=Weights(
            total_bytes=file_bytes,
            exact=False,
            embedding_bytes=min(embedding, file_bytes),
            tied=bool(metadata.get("tied_embeddings", False)),
            lazy_bytes=min(lazy, file_bytes),
            expert_bytes=min(experts, file_bytes),
            packable_bytes=((UNKNOWN_TYPE, max(0, file_bytes - lazy)),),
        ),
        file_bytes=file_bytes,
        parameters=model.parameters,
        active_parameters=model.active_parameters,
        projector_bytes=build.projector_bytes,
        source="catalogue",
        unsupported=build.unsupported,
    )


def _weights(tensors: Sequence[TensorInfo], metadata: Mapping[str, Value], header_bytes: int) -> Weights:
    names = {tensor.name for tensor in tensors}
    layers: Counter[int] = Counter()
    experts: Counter[int] = Counter()
    packable: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    tied = _OUTPUT not in names
    for tensor in tensors:
        if tensor.size_bytes is None:
            raise UnsupportedModelError(
                "This file stores its weights in a way that this version does not know.",
                "Choose another build of the model, or look for a newer Snug.",
                f"tensor {tensor.name}: type {tensor.type_id}",
            )
        size = -(-tensor.size_bytes // TENSOR_ALIGNMENT_BYTES) * TENSOR_ALIGNMENT_BYTES
        sums["total"] += size
        layer = _LAYER.match(tensor.name)
        if layer is not None:
            layers[int(layer[1])] += size
        if _EXPERTS.search(tensor.name) is not None:
            sums["experts"] += size
            if layer is not None:
                experts[int(layer[1])] += size
        if tensor.name == _EMBEDDING:
            sums["embedding"] += size
        elif tensor.name == _LAZY_EMBEDDING:
            sums["lazy"] += size
        if _is_packable(tensor, tied=tied):
            packable[TYPE_NAMES.get(tensor.type_id, UNKNOWN_TYPE)] += size
    count = metadata.get("block_count")
    layer_count = count if isinstance(count, int) else 0
    return Weights(
        total_bytes=sums["total"],
        exact=True,
        embedding_bytes=sums["embedding"],
        tied=tied,
        lazy_bytes=sums["lazy"],
        expert_bytes=sums["experts"],
        expert_layer_bytes=tuple(experts[layer] for layer in range(min(layer_count, len(tensors)))) if experts else (),
        layer_bytes=tuple(layers[layer] for layer in range(min(layer_count, len(tensors)))),
        packable_bytes=tuple(sorted(packable.items())),
        header_bytes=header_bytes,
    )


def _is_packable(tensor: TensorInfo, *, tied: bool) -> bool:
    """Matrices that are multiplied with, of a height that the processor's kernels take (8 rows, on some 4)."""
    if len(tensor.shape) < 2 or tensor.shape[1] % 4 != 0 or tensor.name == _LAZY_EMBEDDING:
        return False
    return tied or tensor.name != _EMBEDDING


def _vocabulary(header: GgufHeader, tensors: Sequence[TensorInfo]) -> int:
    """As many as the embedding table has rows; the list of tokens may be shorter."""
    for tensor in tensors:
        if tensor.name == _EMBEDDING and len(tensor.shape) == 2:
            return tensor.shape[1]
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, ArrayLength):
        return tokens.items
    return len(tokens) if isinstance(tokens, tuple) else 0


_FILE_TYPES = {
    # general.file_type: llama_ftype of llama.h
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip


def _file_type(header: GgufHeader) -> str:
    """The mixture of types as its maker calls it; empty when the file does not say."""
    said = header.metadata.get("general.file_type")
    return _FILE_TYPES.get(said, "") if isinstance(said, int) and not isinstance(said, bool) else ""


def _main_type(tensors: Sequence[TensorInfo]) -> str:
    """The type that most of the bytes are in."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[TYPE_NAMES.get(tensor.type_id, f"type {tensor.type_id}")] += tensor.size_bytes or 0
    return sizes.most_common(1)[0][0] if sizes else ""


def _parameters(tensors: Sequence[TensorInfo]) -> int:
    total = 0
    for tensor in tensors:
        count = 1
        for size in tensor.shape:
            count *= size
        total += count
    return total


def _expert_parameters(geometry: Geometry) -> int:
    """Three matrices an expert (up, gate, down); two where the architecture has no gate (Nemotron)."""
    width = geometry.extra.get("expert_feed_forward_length", 0)
    matrices = 2 if geometry.architecture.startswith("nemotron") else 3
    layers = geometry.extra.get("expert_layers", geometry.layers - geometry.extra.get("leading_dense_block_count", 0))
    return geometry.experts * width * geometry.embedding_width * matrices * layers
