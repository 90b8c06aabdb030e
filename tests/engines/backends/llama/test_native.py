"""The border to llama.cpp: logs, and failures in the user's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.backends.llama import native
from engines.backends.llama.native import NativeLog, explain_context_failure, explain_load_failure
from engines.errors import EngineError, ModelFileError, NotEnoughMemoryError, UnsupportedModelError


class RecordedLog(NativeLog):
    """A log without the library behind it."""

    def __init__(self, *lines: str) -> None:
        self.lines: Any = list(lines)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        # Recorded from llama.cpp as of llama-cpp-python 0.3.36.
        ("llama_model_load: error loading model: unknown model architecture: 'qwen9'", UnsupportedModelError),
        ("llama_model_load: error loading model: unknown pre-tokenizer type: 'x'", UnsupportedModelError),
        ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 123", NotEnoughMemoryError),
        ("llama_model_load: error loading model: unable to allocate CUDA0 buffer", NotEnoughMemoryError),
        ("llama_model_load: error loading model: missing tensor 'blk.0.attn_q.weight'", ModelFileError),
        ("", ModelFileError),
    ],
)
def test_a_failed_load_is_explained(line: str, kind: type[EngineError]) -> None:
    error = explain_load_failure(Path("model.gguf"), RecordedLog("load_tensors: loading", line))
    assert type(error) is kind
    assert error.title.endswith(".")
    assert error.advice
    assert line in error.details


def test_lines_in_parts_are_put_together(capsys: pytest.CaptureFixture[str]) -> None:
    log = NativeLog()
    for level, text in ((2, b"one "), (5, b"two\nthr"), (1, b"debug"), (5, b"ee\n")):
        log._receive(level, text, None)
    assert list(log.lines) == ["one two", "three"]
    assert capsys.readouterr().err == "one two\nthree\n"


def test_a_context_that_cannot_be_made_is_a_lack_of_memory(
    load: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native.llama, "llama_init_from_model", lambda *_: None)
    with pytest.raises(NotEnoughMemoryError) as caught:
        load(tiny("qwen3"))
    assert "2,048" in caught.value.advice


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        # Recorded from llama.cpp as of llama-cpp-python 0.3.36.
        ("llama_init_from_model: quantized V cache requires flash_attn to be enabled", UnsupportedModelError),
        ("llama_init_from_model: K cache type q8_0 with block size 32 does not divide n_embd_head_k=48",
         UnsupportedModelError),
        ("llama_init_from_model: failed to initialize the context: n_ctx_seq == 0", UnsupportedModelError),
        ("llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
         NotEnoughMemoryError),
        ("llama_init_from_model: failed to initialize the context: std::bad_alloc", NotEnoughMemoryError),
        ("", NotEnoughMemoryError),
    ],
)  # fmt: skip
def test_settings_that_are_refused_are_not_called_a_lack_of_memory(line: str, kind: type[EngineError]) -> None:
    error = explain_context_failure(4096, RecordedLog("llama_context: constructing llama_context", line))
    assert type(error) is kind
    assert line in error.details
