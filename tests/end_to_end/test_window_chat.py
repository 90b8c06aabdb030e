"""The real app in its own process: a person types, a model answers, and things die."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

HELLO = 'name = "Greeter"\n[[reply]]\ntext = "Hello from turn {turn}."\n'
SLOW = """
name = "Slow"
[[reply]]
text = "one two three four five six seven eight nine ten "
repeat = 100
token_seconds = 0.02
"""
StartApp = Callable[..., Any]
UseScript = Callable[[str], Path]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"the engine process {pid} outlived its app"
        time.sleep(0.02)  # not our child: the system sends no news of it


def last_text(seen: dict[str, Any]) -> str:
    return str(seen["messages"][-1]["text"]) if seen["messages"] else ""


def growing(seen: dict[str, Any]) -> bool:
    return bool(seen["busy"]) and len(seen["messages"]) > 1 and last_text(seen).count(" ") > 3


def test_message_is_typed_and_answered(start_app: StartApp, use_script: UseScript) -> None:
    use_script(HELLO)
    app = start_app()
    seen = app.look()
    assert seen["focus"] == "ComposerText", "one can type at once"
    assert seen["engine_pids"] == [], "a model is loaded by the first message only"
    app.say("Good morning")
    seen = app.wait(lambda seen: len(seen["messages"]) == 2 and seen["messages"][1]["state"] == "complete")
    assert [message["text"] for message in seen["messages"]] == ["Good morning", "Hello from turn 1."]
    assert seen["messages"][1]["footer"].endswith("script")
    assert seen["written"] == ""
    app.say("And again")
    seen = app.wait(lambda seen: len(seen["messages"]) == 4 and seen["messages"][3]["state"] == "complete")
    assert last_text(seen) == "Hello from turn 2."
    (engine,) = seen["engine_pids"]
    assert app.close() == 0
    assert is_gone(engine)
    assert app.errors() == ""


@pytest.mark.model
@pytest.mark.slow
def test_real_model_answers(start_app: StartApp, data_directory: Path) -> None:
    data_directory.mkdir()
    (data_directory / "config").mkdir()
    (data_directory / "config" / "settings.json").write_text('{"max_tokens": 24, "threads": 1, "temperature": 0}')
    app = start_app()
    app.say("What is the capital of France?")
    seen = app.wait(lambda seen: len(seen["messages"]) == 2 and seen["messages"][1]["state"] != "growing")
    # What a model this small says is its own business; how much of it, and that it says so, is ours.
    assert len(last_text(seen).split()) > 8
    assert seen["messages"][1]["state"] == "stopped"
    assert "the longest allowed reply" in seen["messages"][1]["footer"]
    assert "SmolLM2 135M Instruct" in seen["messages"][1]["footer"]
    assert seen["notices"] == []
    assert app.close() == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for processes")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL], ids=["segfault", "kill"])
def test_window_outlives_its_engine(start_app: StartApp, use_script: UseScript, number: signal.Signals) -> None:
    use_script(SLOW)
    app = start_app()
    app.say("Count")
    seen = app.wait(growing)
    (engine,) = seen["engine_pids"]
    os.kill(engine, number)
    seen = app.wait(lambda seen: not seen["busy"])
    cut_off = seen["messages"][1]
    assert cut_off["state"] == "interrupted"
    assert cut_off["text"].startswith("one two three")
    assert cut_off["error_title"]
    assert cut_off["error_advice"]
    app.say("Once more")
    seen = app.wait(lambda seen: len(seen["messages"]) == 4 and growing(seen))
    assert seen["messages"][1]["text"] == cut_off["text"]
    app.do("press", key="Escape")
    seen = app.wait(lambda seen: not seen["busy"])
    assert seen["messages"][3]["state"] == "stopped"
    assert app.close() == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for processes")
def test_hanging_engine_does_not_freeze_the_window(start_app: StartApp, use_script: UseScript) -> None:
    use_script(SLOW)
    app = start_app()
    app.say("Count")
    (engine,) = app.wait(growing)["engine_pids"]
    os.kill(engine, signal.SIGSTOP)
    try:
        app.do("type", text="x" * 2000)
        assert app.look()["written"] == "x" * 2000
        app.do("press", key="Escape")
        assert app.look()["busy"]
        app.wait(lambda seen: seen["mode"] == "stoppable_now")
    finally:
        os.kill(engine, signal.SIGCONT)
    app.wait(lambda seen: not seen["busy"])


@pytest.mark.slow
def test_killed_app_loses_nothing_and_goes_on(start_app: StartApp, use_script: UseScript, data_directory: Path) -> None:
    use_script(SLOW)
    app = start_app()
    app.say("Count")
    seen = app.wait(lambda seen: len(last_text(seen).split()) > 30)
    (engine,) = seen["engine_pids"]
    app.kill()
    with sqlite3.connect(data_directory / "conversations.db") as database:
        (state,) = database.execute("SELECT state FROM messages WHERE role = 'assistant'").fetchone()
    database.close()
    assert state == "growing"
    again = start_app()
    wait_until_gone(engine)
    shown = again.wait(lambda seen: len(seen["messages"]) == 2)
    reply = shown["messages"][1]
    assert reply["state"] == "interrupted"
    kept = reply["text"]
    # What is younger than 250 ms may be lost: at 20 ms a word that is at most 13 words.
    safe = last_text(seen).split()[:-13]
    assert kept.split()[: len(safe)] == safe
    again.do("continue")
    going_on = again.wait(lambda seen: len(last_text(seen)) > len(kept) + 20)
    assert last_text(going_on).startswith(kept)
    assert last_text(going_on).split()[:30] == ("one two three four five six seven eight nine ten " * 3).split()
    assert len(going_on["messages"]) == 2
    again.do("press", key="Escape")
    again.wait(lambda seen: not seen["busy"])
    assert again.close() == 0


@pytest.mark.slow
def test_closing_in_mid_reply_asks_and_keeps_what_is_there(start_app: StartApp, use_script: UseScript) -> None:
    use_script(SLOW)
    app = start_app()
    app.say("Count")
    app.wait(growing)
    app.do("close")
    seen = app.look()
    assert "A reply is still being written." in seen["notices"]
    app.do("press_notice", label="Wait")
    assert app.look()["busy"]
    app.do("close")
    written = last_text(app.look())
    app.do("press_notice", label="Close and keep what is there")
    assert app.end() == 0
    again = start_app()
    seen = again.wait(lambda seen: len(seen["messages"]) == 2)
    assert seen["messages"][1]["state"] == "interrupted"
    assert last_text(seen).startswith(written)
    assert again.close() == 0


@pytest.mark.slow
def test_second_start_brings_the_first_window_to_the_front(
    start_app: StartApp, use_script: UseScript, data_directory: Path
) -> None:
    use_script(HELLO)
    first = start_app()
    command = [sys.executable, "-P", "-m", "desktop", "--data-dir", str(data_directory)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 0
    assert "open already" in second.stderr
    assert first.close() == 0


@pytest.mark.slow
def test_draft_survives_a_restart(start_app: StartApp, use_script: UseScript) -> None:
    use_script(HELLO)
    app = start_app()
    app.say("Hello")
    app.wait(lambda seen: len(seen["messages"]) == 2 and not seen["busy"])
    app.do("type", text="half a thought")
    assert app.close() == 0
    again = start_app()
    seen = again.wait(lambda seen: len(seen["messages"]) == 2)
    assert seen["written"] == "half a thought"
    assert again.close() == 0
