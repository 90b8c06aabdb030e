"""What a load would allocate, asked of llama.cpp itself: a model without memory, its contexts, their buffers.

Under `no_alloc` the loader reads a file's header only and plans every buffer; the answer is byte-identical with a real
load (facts/fit.md B.2), also for a header followed by a hole (B.3). To be run in a process of its own: odd
metadata makes the library abort. It decides nothing; combinations that are refused are answered with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as llama
import psutil

from engines.backends.llama.breakdown import read_breakdown, read_log
from engines.backends.llama.native import NativeContext, NativeLog, NativeModel
from engines.backends.llama.parameters import check_settings, context_tokens_for
from engines.base import DryRun, LoadSettings
from engines.errors import EngineError

_ModelKey = tuple[int, int, bool]


def plan(path: Path, architecture: str, settings: Sequence[LoadSettings], log: NativeLog) -> tuple[DryRun, ...]:
    """One answer for each of `settings`, in their order; nothing stays allocated.

    Settings that differ only in their context share one planned model. Raises ModelFileError or UnsupportedModelError
    when the model itself cannot be planned.
    """
    process_bytes = int(psutil.Process().memory_info().rss)
    answers: dict[int, DryRun] = {}
    groups: dict[_ModelKey, list[int]] = {}
    for index, wanted in enumerate(settings):
        try:
            check_settings(architecture, wanted)
        except EngineError as error:
            answers[index] = _refused(wanted, process_bytes, error)
        else:
            groups.setdefault(_model_key(wanted), []).append(index)
    for indices in groups.values():
        log.lines.clear()
        model = NativeModel(path, settings[indices[0]], lambda _share: True, log, no_alloc=True)
        try:
            for index in indices:
                answers[index] = _plan_context(model, settings[index], process_bytes, log)
        finally:
            model.close()
    return tuple(answers[index] for index in range(len(settings)))


def _model_key(settings: LoadSettings) -> _ModelKey:
    """What a model's own buffers depend on."""
    return settings.gpu_layers, settings.expert_layers_on_cpu, settings.repack


def _plan_context(model: NativeModel, settings: LoadSettings, process_bytes: int, log: NativeLog) -> DryRun:
    log.lines.clear()
    context_tokens = context_tokens_for(settings.context_tokens, model.trained_context_tokens)
    try:
        # Threads change no buffer.
        context = NativeContext(model, settings, context_tokens, threads=1)
    except EngineError as error:
        return _refused(settings, process_bytes, error)
    try:
        logged = read_log(log.lines)
        buffers = read_breakdown(context.handle)
        believed = buffers is not None and logged.agrees_with(buffers, model.weights_bytes)
        if buffers is None or not believed:
            on_gpu = settings.gpu_layers != 0 and bool(llama.llama_supports_gpu_offload())
            buffers = logged.as_buffers(model.weights_bytes, on_gpu=on_gpu)
        return DryRun(
            settings=settings,
            context_tokens=context.context_tokens,
            buffers=buffers,
            vocabulary=model.vocabulary_size,
            process_bytes=process_bytes,
            source="breakdown" if believed else "log",
        )
    finally:
        context.close()


def _refused(settings: LoadSettings, process_bytes: int, error: EngineError) -> DryRun:
    return DryRun(
        settings=settings,
        context_tokens=0,
        buffers=(),
        vocabulary=0,
        process_bytes=process_bytes,
        source="log",
        problem=str(error),
    )
