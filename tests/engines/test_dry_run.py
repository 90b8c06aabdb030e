"""The dry run's own process: answers, errors, time limits, and that it is gone afterwards."""

from __future__ import annotations

import struct
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from engines.base import LoadSettings
from engines.dry_run import plan
from engines.errors import EngineCrashedError, EngineError, EngineStartError, ModelFileError, UnsupportedModelError
from engines.registry import demonstration_script

TINY = Path(__file__).parents[1] / "data" / "tiny_models"


def child(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def test_a_plan_comes_from_a_process_of_its_own() -> None:
    settings = [LoadSettings(context_tokens=2048), LoadSettings(context_tokens=2048, kv_type="q8_0")]
    plans = plan("llama", TINY / "gemma4.gguf", settings)
    assert [answer.settings for answer in plans] == settings
    assert all(answer.source == "breakdown" and not answer.problem for answer in plans)
    wide, narrow = (sum(buffer.context_bytes for buffer in answer.buffers) for answer in plans)
    assert narrow == wide * 34 // 64
    assert 20_000_000 < plans[0].process_bytes < 200_000_000
    assert psutil.Process().children(recursive=True) == []


def test_metadata_that_aborts_the_engine_ends_in_words(tmp_path: Path) -> None:
    data = (TINY / "qwen3.gguf").read_bytes()
    key = b"qwen3.block_count"
    at = data.index(struct.pack("<Q", len(key)) + key) + 8 + len(key) + 4
    hostile = tmp_path / "hostile.gguf"
    hostile.write_bytes(data[:at] + struct.pack("<I", 100_000) + data[at + 4 :])
    with pytest.raises(EngineCrashedError, match="planned the model's memory") as caught:
        plan("llama", hostile, [LoadSettings()])
    assert "GGML_ASSERT" in caught.value.details
    assert "conversation" not in caught.value.advice


def test_the_engine_s_own_errors_arrive_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not there"):
        plan("llama", tmp_path / "missing.gguf", [LoadSettings()])
    with pytest.raises(UnsupportedModelError, match="cannot plan"):
        plan("scripted", demonstration_script(), [LoadSettings()])


def test_a_process_that_does_not_answer_is_killed() -> None:
    with pytest.raises(EngineStartError, match="in time"):
        plan("llama", TINY / "qwen3.gguf", [LoadSettings()], 0.3, command=child("import time; time.sleep(600)"))
    assert psutil.Process().children(recursive=True) == []


def test_a_process_of_another_version_is_told_apart() -> None:
    code = """
        import sys, time
        versions = '{"engine":"x","python":"3","libraries":{}}'
        print('{"kind":"hello","protocol":999,"versions":' + versions + '}', flush=True)
        sys.stdin.read()
    """
    with pytest.raises(EngineStartError, match="another version"):
        plan("llama", TINY / "qwen3.gguf", [LoadSettings()], command=child(code))


def test_answers_that_do_not_match_the_question_are_refused() -> None:
    code = """
        import sys
        print('{"kind":"memory_plan","request_id":1,"plans":[]}', flush=True)
        sys.stdin.read()
    """
    with pytest.raises(EngineError, match="no plan"):
        plan("llama", TINY / "qwen3.gguf", [LoadSettings()], command=child(code))


def test_no_process_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match="could not be started"):
        plan("llama", TINY / "qwen3.gguf", [LoadSettings()], command=[str(tmp_path / "no-program")])
