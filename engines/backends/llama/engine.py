"""The llama.cpp engine: load, stream a reply, close. The generation loop itself is in `loop`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import llama_cpp.llama_cpp as llama
import psutil

from engines.backends.llama.devices import list_devices
from engines.backends.llama.dry_run import plan
from engines.backends.llama.loop import ReplyLoop
from engines.backends.llama.native import NativeContext, NativeLog, NativeModel
from engines.backends.llama.parameters import check_settings, context_tokens_for
from engines.backends.llama.prefix_cache import PrefixCache
from engines.backends.llama.tokens import Tokens
from engines.base import (
    ChatMessage,
    Device,
    DryRun,
    Engine,
    GenerationOptions,
    LoadedModel,
    LoadSettings,
    Outcome,
    Piece,
    Reading,
)
from engines.chat_template import ChatTemplate
from engines.errors import EngineError, UnsupportedModelError
from engines.formats.gguf import GgufHeader, check_complete, read_header


class LlamaEngine(Engine):
    """A GGUF model in llama.cpp."""

    def __init__(self) -> None:
        self._log = NativeLog()
        llama.llama_backend_init()
        self._model: NativeModel | None = None
        self._context: NativeContext | None = None
        self._loop: ReplyLoop | None = None

    def devices(self) -> tuple[Device, ...]:
        """See Engine.devices."""
        return list_devices()

    def load(
        self,
        model_path: Path,
        settings: LoadSettings,
        on_progress: Callable[[float], bool],
    ) -> LoadedModel:
        """See Engine.load. The header is checked before the native parser sees the file."""
        self.close()
        started = time.perf_counter()
        header = _checked_header(model_path)
        check_settings(header.architecture, settings)
        self._log.lines.clear()
        try:
            self._model = NativeModel(model_path, settings, on_progress, self._log)
            self._model.require_chat_model(model_path)
            threads = settings.threads or default_threads()
            context_tokens = context_tokens_for(settings.context_tokens, self._model.trained_context_tokens)
            self._context = NativeContext(self._model, settings, context_tokens, threads)
            self._loop = self._make_loop(self._model, self._context, settings)
        except BaseException:
            self.close()
            raise
        self._loop.warm_up()
        return LoadedModel(
            model_name=header.name,
            architecture=header.architecture,
            context_tokens=self._context.context_tokens,
            trained_context_tokens=self._model.trained_context_tokens,
            weights_bytes=self._model.weights_bytes,
            memory_bytes=psutil.Process().memory_info().rss,
            threads=threads,
            device=_device_name(list_devices(), settings.gpu_layers),
            cache_kind=self._loop.cache.kind,
            has_chat_template=self._loop.template.is_models_own,
            can_think=self._loop.template.can_switch_thinking,
            load_seconds=time.perf_counter() - started,
        )

    @staticmethod
    def _make_loop(model: NativeModel, context: NativeContext, settings: LoadSettings) -> ReplyLoop:
        tokens = Tokens(model)
        template = ChatTemplate(model.chat_template(), bos_token=tokens.begin_of_text(), eos_token=tokens.end_of_text())
        if template.reasoning is not None:
            tokens.show_controls(template.reasoning.control_texts)
        cache = PrefixCache(context, sliding_window_tokens=model.sliding_window_tokens, is_recurrent=model.is_recurrent)
        return ReplyLoop(model, context, tokens, template, cache, batch_tokens=settings.batch_tokens)

    def dry_run(self, model_path: Path, settings: tuple[LoadSettings, ...]) -> tuple[DryRun, ...]:
        """See Engine.dry_run. A model that is loaded stays loaded."""
        header = _checked_header(model_path)
        return plan(model_path, header.architecture, settings, self._log)

    def generate(
        self,
        messages: tuple[ChatMessage, ...],
        options: GenerationOptions,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Reading | Piece | Outcome]:
        """See Engine.generate."""
        return self._ready_loop().stream(messages, options, is_cancelled)

    def count_tokens(self, text: str) -> int:
        """See Engine.count_tokens."""
        return len(self._ready_loop().tokens.tokenize(text, with_special=False))

    def close(self) -> None:
        """Frees context and model, in this order."""
        self._loop = None
        if self._context is not None:
            self._context.close()
            self._context = None
        if self._model is not None:
            self._model.close()
            self._model = None

    def _ready_loop(self) -> ReplyLoop:
        if self._loop is None:
            raise EngineError("No model is loaded.", "Load a model first.")
        return self._loop


def _checked_header(model_path: Path) -> GgufHeader:
    header = read_header(model_path)
    check_complete(header)
    if not header.architecture:
        raise UnsupportedModelError(
            "This file does not say what kind of model it is.", "Choose another build.", str(model_path)
        )
    return header


def default_threads() -> int:
    """All physical cores but one, which is left to the window and the system; at least one.

    Source: facts, engine-traps (a spinning barrier with every core busy costs a factor of 3 to 20).
    """
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, cores - 1)


def _device_name(devices: tuple[Device, ...], gpu_layers: int) -> str:
    """The device that does the work: llama.cpp puts the layers on the first GPU where there is one."""
    gpus = [device for device in devices if device.kind in ("gpu", "integrated_gpu")]
    if gpus and gpu_layers != 0:
        return gpus[0].description or gpus[0].name
    return "CPU"
