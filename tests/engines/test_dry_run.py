"""The dry run's own process: answers, errors, time limits, and that it is gone afterwards."""

from __future__ import annotations

import queue
import struct
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from engines.base import ChatMessage, GenerationOptions, LoadSettings
from engines.client import EngineClient
from engines.client_values import ClientEvent
from engines.dry_run import plan
from engines.errors import EngineCrashedError, EngineError, EngineStartError, ModelFileError, UnsupportedModelError
from engines.fit import memory
from engines.fit.facts import from_gguf
from engines.formats.gguf import read_headers
from engines.hardware.detect import read_machine
from engines.protocol import Finished
from engines.registry import demonstration_script

TINY = Path(__file__).parents[1] / "data" / "tiny_models"


def peak_of_a_real_process(path: Path, settings: LoadSettings) -> int:
    """The most memory that an engine process held, which loaded the model and read more than one prompt batch."""
    events: queue.SimpleQueue[ClientEvent] = queue.SimpleQueue()
    client = EngineClient(engine="llama", model_path=path, settings=settings, on_event=events.put)
    try:
        client.start()
        request = client.generate([ChatMessage("user", "We see the sea. " * 100)], GenerationOptions(max_tokens=2))
        while True:
            event = events.get(timeout=60)
            if isinstance(event, Finished) and event.request_id == request:
                assert event.usage.prompt_tokens > settings.batch_tokens
                return event.usage.peak_memory_bytes
    finally:
        client.close()


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


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a bare process was measured on Linux")
@pytest.mark.parametrize("model", ["qwen3", "qwen35moe", "deepseek4"])
def test_a_real_process_takes_what_was_predicted(model: str) -> None:
    path = TINY / f"{model}.gguf"
    settings = LoadSettings(context_tokens=2048, threads=1, batch_tokens=256)
    peak = peak_of_a_real_process(path, settings)
    facts = from_gguf(read_headers(path))
    arithmetic = memory.placement(facts, read_machine(), settings)
    refined = memory.from_plan(arithmetic, plan("llama", path, [settings])[0], facts.geometry)
    for placement in (arithmetic, refined):
        predicted = placement.main.without("checkpoint_bytes").total_bytes  # no earlier turn, no saved state
        # The bounds of issue 3 are 32 MB below and 100 MB above; half of it suffices here.
        assert peak - 16_000_000 <= predicted <= peak + 50_000_000


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
