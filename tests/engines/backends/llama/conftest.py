"""For the tests of the llama.cpp engine: engines that are closed again, and a plain reference loop to compare with."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest

from engines.backends.llama.engine import LlamaEngine
from engines.backends.llama.native import NativeContext
from engines.base import ChatMessage, GenerationOptions, LoadSettings, Outcome, Piece, Reading

TINY = Path(__file__).parents[3] / "data" / "tiny_models"


@dataclass
class Reply:
    """Everything that one generation yielded."""

    pieces: list[Piece] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces if piece.kind == "text")

    @property
    def thinking(self) -> str:
        return "".join(piece.text for piece in self.pieces if piece.kind == "thinking")

    @property
    def outcome(self) -> Outcome:
        (outcome,) = self.outcomes
        return outcome


def collect(
    engine: LlamaEngine,
    messages: tuple[ChatMessage, ...],
    options: GenerationOptions,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Reply:
    reply = Reply()
    for value in engine.generate(messages, options, is_cancelled):
        assert not reply.outcomes, "something came after the outcome"
        match value:
            case Piece():
                reply.pieces.append(value)
            case Reading():
                reply.readings.append(value)
            case Outcome():
                reply.outcomes.append(value)
    return reply


@pytest.fixture
def load() -> Iterator[Callable[..., LlamaEngine]]:
    """Loads a model with one thread; every engine is closed at the end."""
    engines: list[LlamaEngine] = []

    def load_engine(path: Path, **settings: Any) -> LlamaEngine:
        engine = LlamaEngine()
        engines.append(engine)
        settings = {"context_tokens": 2048, "threads": 1, "batch_tokens": 256} | settings
        engine.load(path, LoadSettings(**settings), lambda _share: True)
        return engine

    yield load_engine
    for engine in engines:
        engine.close()


@pytest.fixture
def ask() -> Callable[..., Reply]:
    """Runs one generation to its end."""
    return collect


@pytest.fixture
def tiny() -> Callable[[str], Path]:
    """The path of a tiny random model."""
    return lambda name: TINY / f"{name}.gguf"


def logits_of(context: NativeContext, vocabulary_size: int) -> np.ndarray:
    """A copy of the logits after the last evaluated token: float32 of shape (vocabulary,)."""
    pointer = llama.llama_get_logits_ith(context.handle, -1)
    return np.ctypeslib.as_array(pointer, (vocabulary_size,)).copy()


class ReferenceLoop:
    """A plain greedy loop over llama.cpp that shares no code with the engine: arrays, decode, argmax."""

    def __init__(self, path: Path, *, context_tokens: int, batch_tokens: int) -> None:
        model_parameters = llama.llama_model_default_params()
        model_parameters.load_mode = llama.LLAMA_LOAD_MODE_MMAP
        self.model = llama.llama_model_load_from_file(str(path).encode(), model_parameters)
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = context_tokens
        parameters.n_batch = parameters.n_ubatch = batch_tokens
        parameters.n_threads = parameters.n_threads_batch = 1
        parameters.swa_full = False
        self.context = llama.llama_init_from_model(self.model, parameters)
        self.batch_tokens = batch_tokens
        self.size = llama.llama_vocab_n_tokens(self.vocabulary)

    def tokens_of(self, text: str) -> list[int]:
        data = text.encode()
        array = (llama.llama_token * (len(data) + 8))()
        count = llama.llama_tokenize(self.vocabulary, data, len(data), array, len(array), False, True)
        return list(array[:count])

    def text_of(self, tokens: list[int]) -> str:
        data = b""
        buffer = ctypes.create_string_buffer(256)
        for token in tokens:
            length = llama.llama_token_to_piece(self.vocabulary, token, buffer, 256, 0, False)
            data += buffer.raw[:length]
        return data.decode("utf-8", "replace")

    def greedy(self, prompt: str, count: int) -> list[int]:
        """Up to `count` tokens after `prompt`, the end-of-turn token not included."""
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        tokens = self.tokens_of(prompt)
        for start in range(0, len(tokens), self.batch_tokens):
            self._decode(tokens[start : start + self.batch_tokens])
        out: list[int] = []
        while len(out) < count:
            logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(self.context, -1), (self.size,))
            token = int(logits.argmax())
            if llama.llama_vocab_is_eog(self.vocabulary, token):
                break
            out.append(token)
            self._decode([token])
        return out

    def _decode(self, tokens: list[int]) -> None:
        array = (llama.llama_token * len(tokens))(*tokens)
        assert llama.llama_decode(self.context, llama.llama_batch_get_one(array, len(tokens))) == 0

    def close(self) -> None:
        llama.llama_free(self.context)
        llama.llama_model_free(self.model)


@pytest.fixture
def reference_loop() -> Iterator[Callable[..., ReferenceLoop]]:
    """Makes reference loops; each is closed at the end."""
    loops: list[ReferenceLoop] = []

    def make(path: Path, *, context_tokens: int = 2048, batch_tokens: int = 256) -> ReferenceLoop:
        loop = ReferenceLoop(path, context_tokens=context_tokens, batch_tokens=batch_tokens)
        loops.append(loop)
        return loop

    yield make
    for loop in loops:
        loop.close()


@pytest.fixture
def logits() -> Callable[[LlamaEngine], np.ndarray]:
    """The logits after the last evaluated token of an engine."""

    def read(engine: LlamaEngine) -> np.ndarray:
        assert engine._context is not None
        assert engine._model is not None
        return logits_of(engine._context, engine._model.vocabulary_size)

    return read
