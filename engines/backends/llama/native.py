"""The border to llama.cpp: model and context handles, the native log, and native failures in the user's words.

Everything here is a thin, typed layer over `llama_cpp.llama_cpp` (exactly version 0.3.36, see docs/decisions/0004);
no policy lives here. Nothing native leaves the `engines.backends.llama` package.
"""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import llama_cpp.llama_cpp as llama

from engines.backends.llama.parameters import context_parameters, model_parameters
from engines.base import LoadCancelled, LoadSettings
from engines.errors import EngineError, ModelFileError, NotEnoughMemoryError, UnsupportedModelError

SEQUENCE = 0
"""One conversation per context: everything lies in sequence 0."""

_LOG_LINES = 200
_LOG_LEVEL_DEBUG = 1
_OUT_OF_MEMORY_SIGNS = (
    "unable to allocate", "failed to allocate", "out of memory", "cannot allocate memory", "bad_alloc",
)  # fmt: skip
_REFUSED_SETTINGS_SIGNS = (
    "requires flash_attn", "requires flash attention", "does not divide n_embd_head", "does not support different k",
    "failed to initialize the context",
)  # fmt: skip
"""What llama.cpp logs when it makes no context although memory would be there (llama-context.cpp)."""


class NativeLog:
    """Receives llama.cpp's log: writes it to standard error, keeps the last lines to explain a failure by."""

    # The library may log until the process ends, from any thread, and ctypes only borrows a callback: a freed one
    # would be called. One engine process makes one; only tests make several.
    _never_freed: ClassVar[list[object]] = []

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._partial = ""
        callback = llama.llama_log_callback(self._receive)
        self._never_freed.append(callback)
        llama.llama_log_set(callback, ctypes.c_void_p(0))

    def _receive(self, level: int, text: bytes, _user_data: object) -> None:
        if level == _LOG_LEVEL_DEBUG:
            return
        *whole, self._partial = (self._partial + text.decode("utf-8", "replace")).split("\n")
        for line in whole:
            self.lines.append(line)
            sys.stderr.write(line + "\n")

    def tail(self, count: int = 12) -> str:
        """The last lines, for the details of an error."""
        return "\n".join(list(self.lines)[-count:])

    def find(self, *signs: str) -> str:
        """The last line that contains one of `signs` (lower case), or an empty string."""
        return next((line for line in reversed(self.lines) if any(sign in line.lower() for sign in signs)), "")


class NativeModel:
    """A loaded model and what it says about itself; with `no_alloc`, one that is only planned."""

    def __init__(
        self,
        path: Path,
        settings: LoadSettings,
        on_progress: Callable[[float], bool],
        log: NativeLog,
        *,
        no_alloc: bool = False,
    ) -> None:
        self._log = log
        self._cancelled = False

        def report(share: float, _user_data: object) -> bool:
            go_on = on_progress(float(share))
            self._cancelled = self._cancelled or not go_on
            return go_on

        self._parameters = model_parameters(
            settings, on_progress=None if no_alloc else report, no_alloc=no_alloc
        )  # kept: the model points into it
        self.handle: Any = llama.llama_model_load_from_file(str(path).encode("utf-8"), self._parameters.native)
        if not self.handle:
            if self._cancelled:
                raise LoadCancelled
            raise explain_load_failure(path, log)
        self.vocabulary: Any = llama.llama_model_get_vocab(self.handle)
        self.vocabulary_size = int(llama.llama_vocab_n_tokens(self.vocabulary))
        self.trained_context_tokens = int(llama.llama_model_n_ctx_train(self.handle))
        self.weights_bytes = int(llama.llama_model_size(self.handle))
        self.sliding_window_tokens = int(llama.llama_model_n_swa(self.handle))
        self.is_recurrent = bool(
            llama.llama_model_is_recurrent(self.handle) or llama.llama_model_is_hybrid(self.handle)
        )

    def require_chat_model(self, path: Path) -> None:
        """Raises UnsupportedModelError for models that do not write text from left to right."""
        if llama.llama_model_has_encoder(self.handle) or llama.llama_model_is_diffusion(self.handle):
            raise UnsupportedModelError(
                "This model is not made for chatting.",
                "It translates, embeds or draws text in another way. Choose a chat model.",
                str(path),
            )

    def chat_template(self) -> str | None:
        """The default template's source."""
        source = llama.llama_model_chat_template(self.handle, None)
        return source.decode("utf-8", "replace") if source else None

    def metadata(self, key: str) -> str:
        """One metadata value as text, or an empty string."""
        buffer = ctypes.create_string_buffer(1024)
        length = llama.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length > 0 else ""

    def close(self) -> None:
        if self.handle:
            llama.llama_model_free(self.handle)
            self.handle = None


class NativeContext:
    """A context over a model: evaluates tokens, holds the KV cache and the logits of the last token."""

    def __init__(self, model: NativeModel, settings: LoadSettings, context_tokens: int, threads: int) -> None:
        parameters = context_parameters(settings, context_tokens, threads)
        self.handle: Any = llama.llama_init_from_model(model.handle, parameters)
        if not self.handle:
            raise explain_context_failure(context_tokens, model._log)
        self._log = model._log
        self.context_tokens = int(llama.llama_n_ctx(self.handle))
        self.memory: Any = llama.llama_get_memory(self.handle)
        self._one_token = (llama.llama_token * 1)()
        self._no_abort = llama.ggml_abort_callback(0)
        self._abort: Any = None

    def decode_prompt(self, tokens: list[int], is_cancelled: Callable[[], bool]) -> bool:
        """Evaluates a batch of prompt tokens; False when it was cancelled on the way.

        The cache may then hold a part of the batch. Raises EngineError when the evaluation fails.
        """
        array = (llama.llama_token * len(tokens))(*tokens)
        # Asked once per graph node, in Python: a few milliseconds a batch, too dear for single tokens. Only the CPU
        # backend asks; elsewhere a cancel waits for the end of the batch.
        self._abort = llama.ggml_abort_callback(lambda _data: is_cancelled())
        llama.llama_set_abort_callback(self.handle, self._abort, ctypes.c_void_p(0))
        try:
            status = llama.llama_decode(self.handle, llama.llama_batch_get_one(array, len(tokens)))
        finally:
            llama.llama_set_abort_callback(self.handle, self._no_abort, ctypes.c_void_p(0))
        if status == 2:
            return False
        self._check(status)
        return True

    def decode_token(self, token: int) -> None:
        """Evaluates one token. Raises EngineError when the evaluation fails."""
        self._one_token[0] = token
        status = llama.llama_decode(self.handle, llama.llama_batch_get_one(self._one_token, 1))
        if status:
            self._check(status)

    def _check(self, status: int) -> None:
        if status == 0:
            return
        if self._log.find(*_OUT_OF_MEMORY_SIGNS):
            raise NotEnoughMemoryError(
                "The computer ran out of memory while the model was working.",
                "Close other apps, or load the model with less context.",
                f"llama_decode returned {status}\n{self._log.tail()}",
            )
        raise EngineError(
            "The model could not go on with this conversation.",
            "Send the message again. If it happens again, start a new chat.",
            f"llama_decode returned {status}\n{self._log.tail()}",
        )

    # The cache. Positions are those of sequence 0.

    def clear(self) -> None:
        """Empties the cache."""
        llama.llama_memory_clear(self.memory, True)

    def remove_from(self, position: int) -> bool:
        """Drops everything from `position` on; False where this kind of cache cannot."""
        return bool(llama.llama_memory_seq_rm(self.memory, SEQUENCE, position, -1))

    def first_position(self) -> int:
        """The smallest position that is there, -1 when empty."""
        return int(llama.llama_memory_seq_pos_min(self.memory, SEQUENCE))

    def last_position(self) -> int:
        """The largest position that is there, -1 when empty."""
        return int(llama.llama_memory_seq_pos_max(self.memory, SEQUENCE))

    def partial_state_bytes(self) -> int:
        """How large `save_partial_state` would be now."""
        flags = llama.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        return int(llama.llama_state_seq_get_size_ext(self.handle, SEQUENCE, flags))

    def save_partial_state(self) -> bytearray:
        """What cannot be rolled back (sliding window, recurrent state); empty on failure. Made once, not copied."""
        size = self.partial_state_bytes()
        state = bytearray(size)
        buffer = (ctypes.c_uint8 * size).from_buffer(state)
        flags = llama.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        written = int(llama.llama_state_seq_get_data_ext(self.handle, buffer, size, SEQUENCE, flags))
        return state if written == size else bytearray()

    def restore_partial_state(self, state: bytearray) -> bool:
        """Puts back what `save_partial_state` gave; False when it does not fit this context."""
        flags = llama.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        return int(llama.llama_state_seq_set_data_ext(self.handle, buffer, len(state), SEQUENCE, flags)) > 0

    def close(self) -> None:
        if self.handle:
            llama.llama_free(self.handle)
            self.handle = None


def explain_context_failure(context_tokens: int, log: NativeLog) -> EngineError:
    """Why llama.cpp made no context: settings that it refuses say so in its log, everything else is memory."""
    refused = log.find(*_REFUSED_SETTINGS_SIGNS)
    if refused and not log.find(*_OUT_OF_MEMORY_SIGNS):
        return UnsupportedModelError(
            "The engine cannot use this model with these settings.",
            "Load it with an f16 context memory, and leave flash attention to the engine.",
            f"{refused}\n{log.tail()}",
        )
    return NotEnoughMemoryError(
        "There is not enough memory for this model's context.",
        f"Close other apps, or load it with less context than {context_tokens:,} tokens.",
        log.tail(),
    )


def explain_load_failure(path: Path, log: NativeLog) -> EngineError:
    """Turns what llama.cpp logged about a failed load into an error that a person can act on."""
    details = f"{path}\n{log.tail()}"
    architecture = log.find("unknown model architecture", "unknown pre-tokenizer", "unsupported model")
    if architecture:
        return UnsupportedModelError(
            "This version of the engine does not know this kind of model.",
            "Look for a newer Snug, or choose another model.",
            details,
        )
    if log.find(*_OUT_OF_MEMORY_SIGNS):
        return NotEnoughMemoryError(
            "There is not enough memory for this model.",
            "Close other apps, or choose a smaller model.",
            details,
        )
    return ModelFileError("The model file could not be loaded.", "It may be damaged. Download it again.", details)
