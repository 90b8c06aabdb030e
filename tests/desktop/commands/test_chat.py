from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from desktop.commands import run
from desktop.core.conversations.store import Store
from desktop.core.conversations.values import StoredMessage
from engines.calibration_book import CalibrationBook
from engines.lease import Lease, read_leases

Snug = Callable[..., subprocess.CompletedProcess[str]]
Script = Callable[..., Path]

THINKING = """
format = 1
[[reply]]
thinking = "Let me see."
text = "Done. 🙂"
"""
CRASH = """
format = 1
name = "Fragile"
[[reply]]
text = "one two three four five six"
[reply.misbehaves]
after_tokens = 3
how = "segfault"
[[reply]]
text = "all is well again"
"""


def messages(data_directory: Path) -> list[list[StoredMessage]]:
    """What is kept, conversation by conversation."""
    store = Store(data_directory / "conversations.db")
    try:
        found = store.list_conversations().result(10)
        return [list(store.load_messages(conversation.id).result(10)) for conversation in found]
    finally:
        store.close()


def test_one_question_gets_its_answer_and_nothing_else(snug: Snug, script: Script, data_directory: Path) -> None:
    done = snug("chat", "--model", script(), "Hello", "there")

    assert (done.returncode, done.stdout, done.stderr) == (0, "You said: Hello there\n", "")
    assert messages(data_directory) == []


def test_piped_text_follows_the_prompt(snug: Snug, script: Script) -> None:
    done = snug("chat", "--model", script(), "Summarise:", typed="\ufeffline one\r\nline two\n")

    assert done.stdout == "You said: Summarise:\n\nline one\nline two\n"


def test_piped_text_alone_is_the_prompt(snug: Snug, script: Script) -> None:
    assert snug("chat", "--model", script(), typed="Grüße 🙂").stdout == "You said: Grüße 🙂\n"


def test_nothing_piped_in_and_no_prompt_is_a_mistake_in_the_call(snug: Snug, script: Script) -> None:
    done = snug("chat", "--model", script(), typed=" \n")

    assert done.returncode == 2
    assert done.stderr.startswith("snug: There is nothing to answer: standard input is empty.\n")


def test_thinking_is_left_out_between_pipes_unless_asked_for(snug: Snug, script: Script) -> None:
    path = script(THINKING)

    assert snug("chat", "--model", path, "Go").stdout == "Done. 🙂\n"
    assert (
        snug("chat", "--model", path, "--show-thinking", "Go").stdout == "[thinking]\nLet me see.\n[reply]\nDone. 🙂\n"
    )


def test_output_is_utf_8_whatever_the_locale_says(snug: Snug, script: Script) -> None:
    environment = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}

    done = snug("chat", "--model", script(THINKING), "Ü", environment=environment)

    assert (done.returncode, done.stdout) == (0, "Done. 🙂\n")


def test_the_system_prompt_reaches_the_model(snug: Snug, script: Script) -> None:
    path = script('format = 1\n[[reply]]\ntext = "I am {system}, in turn {turn}."\n')

    assert snug("chat", "--model", path, "--system", "a pirate", "Go").stdout == "I am a pirate, in turn 1.\n"


def test_the_longest_reply_is_obeyed_and_said(snug: Snug, script: Script) -> None:
    done = snug("chat", "--model", script(), "--max-tokens", 2, "one two three")

    assert (done.returncode, done.stdout) == (0, "You said:\n")
    assert done.stderr == "[The reply reached its largest allowed length.]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--context", "12"], "12 tokens is not between 256 and"),
        (["--temperature", "hot"], "'hot' is not a number"),
        (["--temperature", "9"], "9 is not between 0 and 5"),
        (["--seed", "x"], "'x' is not a whole number"),
        (["--engine", "steam"], "invalid choice: 'steam'"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_mistake_in_the_call_is_explained(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run(["chat", *arguments, "Hello"])

    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_a_model_that_is_not_here_is_said_with_what_is(snug: Snug) -> None:
    done = snug("chat", "--model", "smollm2-135m", "Hello")

    assert done.returncode == 3
    assert "snug: There is no model called smollm2-135m.\n" in done.stderr
    assert "Did you mean smollm2-135m-instruct?" in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_no_model_is_said(snug: Snug, tmp_path: Path) -> None:
    path = tmp_path / "noise.gguf"
    path.write_bytes(b"no model" * 1000)

    done = snug("chat", "--model", path, "Hello")

    assert done.returncode == 3
    assert done.stderr.startswith("snug: ")


def test_a_model_that_does_not_fit_is_not_loaded(snug: Snug, huge_model: Path) -> None:
    done = snug("chat", "--model", huge_model, "Hello")

    assert done.returncode == 4
    assert done.stderr.startswith("snug: huge does not fit on this computer.\n      Needs ")
    assert "--anyway loads it nevertheless" in done.stderr
    assert done.stdout == ""


@pytest.mark.model
def test_the_verdict_stands_in_one_line_before_the_answer_and_what_was_measured_is_kept(
    snug: Snug, smollm2_path: Path, data_directory: Path
) -> None:
    question = ("chat", "--model", smollm2_path, "--threads", 1, "--temperature", 0, "--max-tokens", 20)
    first = snug(*question, "--context", "1k", "--kv", "q8_0", "What is a fjord?")
    second = snug(*question, "What is a fjord?")

    assert (first.returncode, second.returncode) == (0, 0)
    line = re.compile(r"Fits: about 0\.\d GB of [\d.]+ GB, context ([\d,]+) tokens, (.+)\.\n")
    asked, chosen = line.match(first.stderr), line.match(second.stderr)
    assert asked is not None and chosen is not None
    assert (asked[1], chosen[1]) == ("1,024", "8,192")
    assert "measured here" not in asked[2]
    assert "measured here" in chosen[2]
    book = CalibrationBook.load(data_directory / "calibration.json")
    assert [(load.context_tokens, load.kv_type) for load in book.records.loads] == [(1024, "q8_0"), (8192, "f16")]
    assert len(book.records.replies) == 2
    assert all(50_000_000 < load.measured_bytes < 1_500_000_000 for load in book.records.loads)
    assert all(load.measured_bytes <= load.predicted_bytes + 40_000_000 for load in book.records.loads)
    assert "fjord" not in (data_directory / "calibration.json").read_text(encoding="utf-8")


@pytest.mark.model
def test_a_model_that_another_snug_leaves_no_room_for_is_refused_by_name(
    snug: Snug, smollm2_path: Path, data_directory: Path
) -> None:
    write_lease(data_directory, size_bytes=1 << 50)

    refused = snug("chat", "--model", smollm2_path, "Hello")

    assert refused.returncode == 6
    assert refused.stderr.startswith("snug: Giant is in memory for the Snug window, and SmolLM2 135M Instruct does not")


def write_lease(data_directory: Path, size_bytes: int) -> Path:
    """As a window would that holds a giant model; the window is this process."""
    lease = Lease(
        pid=os.getpid(),
        process_created_at=psutil.Process().create_time(),
        program="window",
        model_name="Giant",
        model_path="giant.gguf",
        size_bytes=size_bytes,
        taken_at=1.0,
    )
    path = data_directory / "leases" / "1.lease"
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode(lease))
    return path


@pytest.mark.slow
def test_another_snug_that_needs_the_memory_is_named_or_waited_for(
    snug: Snug, script: Script, terminal: Callable[..., Any], data_directory: Path
) -> None:
    path = write_lease(data_directory, size_bytes=1 << 50)

    refused = snug("chat", "--model", script(), "Hello")
    waiting = terminal("chat", "--model", script(), "--wait", "Hello")
    waiting.wait_for("Waiting. Giant is in memory for the Snug window")
    path.unlink()

    assert refused.returncode == 6
    assert f"close it (process {os.getpid()})" in refused.stderr
    waiting.wait_for("You said: Hello")
    assert waiting.status() == 0


def test_an_engine_that_dies_keeps_what_was_said(snug: Snug, script: Script) -> None:
    done = snug("chat", "--model", script(CRASH), "Go")

    assert done.returncode == 5
    assert done.stdout == "one two three\n"
    assert done.stderr.startswith("snug: The engine crashed while it wrote a reply.\n")


def test_a_reader_that_goes_away_ends_it_silently(script: Script) -> None:
    slow = script('format = 1\n[[reply]]\ntext = "word "\nrepeat = 100000\n')
    command = [sys.executable, "-m", "desktop", "chat", "--model", str(slow), "Go"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(4) == b"word"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a whole console")
def test_an_interrupt_ends_a_single_answer(script: Script) -> None:
    slow = script('format = 1\n[[reply]]\ntext = "word "\nrepeat = 1000\ntoken_seconds = 0.05\n')
    command = [sys.executable, "-m", "desktop", "chat", "--model", str(slow), "Go"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"word"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert output.endswith(b"\n")
    assert errors == b""


def test_a_single_answer_is_kept_on_request(snug: Snug, script: Script, data_directory: Path) -> None:
    snug("chat", "--model", script(CRASH), "--save", "Go")

    ((question, answer),) = messages(data_directory)
    assert (question.role, question.text, question.state) == ("user", "Go", "complete")
    assert (answer.text, answer.state, answer.engine) == ("one two three", "interrupted", "scripted")
    assert answer.error.startswith("The engine crashed")


def test_a_chat_goes_on_where_nothing_can_be_kept(snug: Snug, script: Script, data_directory: Path) -> None:
    (data_directory / "conversations.db").mkdir(parents=True)

    done = snug("chat", "--model", script(), "--save", "Hello")

    assert (done.returncode, done.stdout) == (0, "You said: Hello\n")
    assert "The chat goes on, but is not kept." in done.stderr


def test_wrong_settings_are_said_and_the_rest_obeyed(snug: Snug, script: Script, data_directory: Path) -> None:
    settings = data_directory / "config" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"system_prompt": "a teacher", "temperature": "warm"}')
    path = script('format = 1\n[[reply]]\ntext = "I am {system}."\n')

    done = snug("chat", "--model", path, "Go")

    assert done.stdout == "I am a teacher.\n"
    assert "temperature" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_under_the_output_is_said(script: Script) -> None:
    command = [sys.executable, "-m", "desktop", "chat", "--model", str(script()), "Hello"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )

    assert done.returncode == 1
    assert done.stderr.startswith("snug: The output could not be written.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="the pipe without an end is a Unix tool")
def test_a_pipe_without_an_end_is_refused(script: Script) -> None:
    command = [sys.executable, "-m", "desktop", "chat", "--model", str(script()), "Hello"]
    with subprocess.Popen(["yes", "word " * 100], stdout=subprocess.PIPE) as endless:
        done = subprocess.run(
            command, stdin=endless.stdout, capture_output=True, encoding="utf-8", timeout=30, check=False
        )
        assert endless.stdout is not None
        endless.stdout.close()
        endless.wait()

    assert done.returncode == 2
    assert done.stderr.startswith("snug: What is piped in is too long for any model.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there a killed process gives no signal")
@pytest.mark.slow
def test_a_killed_chat_leaves_its_words_and_nothing_else(
    script: Script, data_directory: Path, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    slow = script('format = 1\n[[reply]]\ntext = "word "\nrepeat = 10000\ntoken_seconds = 0.05\n')
    command = [sys.executable, "-m", "desktop", "chat", "--model", str(slow), "--save", "Go"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(20)
        engines = psutil.Process(process.pid).children()
        # 250 ms later the first words are on disk; by then the reply has grown by about five words.
        process.stdout.read(50)
        process.kill()

    assert len(engines) == 1
    wait_until(lambda: not engines[0].is_running())
    assert read_leases(data_directory / "leases") == ()
    ((_, reply),) = messages(data_directory)
    assert reply.state == "interrupted"
    assert reply.text.startswith("word word word word")


@pytest.mark.model
@pytest.mark.slow
def test_the_real_model_answers_the_same_twice(snug: Snug, smollm2_path: Path) -> None:
    greedy = ("--temperature", 0, "--threads", 1, "--max-tokens", 8, "--context", 512)

    by_default = snug("chat", *greedy, "Hello")
    by_path = snug("chat", "--model", smollm2_path, *greedy, typed="Hello")

    assert by_default.returncode == by_path.returncode == 0
    assert by_default.stdout.startswith("Hello!")
    assert by_default.stdout == by_path.stdout
