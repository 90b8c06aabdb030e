"""Turns: from "send" to the stored reply, with a real engine process that plays a script."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from desktop.core.conversations.store import Store
from desktop.core.conversations.values import StoredMessage
from engines.client_values import Ready, Stopped

SLOW = """
name = "Slow"
[[reply]]
text = "one two three four five six seven eight nine ten "
repeat = 200
token_seconds = 0.01
"""
TWO_TURNS = """
[[reply]]
text = "First {messages} {system}|"
[[reply]]
text = "Second {messages} {system}|"
"""


def engine_pid() -> int:
    """The one engine process that this process has started."""
    (child,) = [child for child in psutil.Process().children() if "engines.workers.engine" in " ".join(child.cmdline())]
    return child.pid


def branch(bench: Any, message: StoredMessage) -> list[tuple[str, str, str]]:
    messages = bench.services.conversations.store.load_messages(message.conversation_id).result(5)
    return [(stored.role, stored.text, stored.state) for stored in messages]


def test_message_is_stored_answered_and_the_reply_stored(workbench: Any) -> None:
    reply = workbench.send("Good morning")
    assert reply.text == "Hello from turn 1."
    assert reply.state == "complete"
    assert reply.reason == "end"
    assert reply.usage is not None and reply.usage.generated_tokens == 4
    assert branch(workbench, reply) == [
        ("user", "Good morning", "complete"),
        ("assistant", "Hello from turn 1.", "complete"),
    ]
    stored = workbench.stored(reply)
    assert (stored.model_name, stored.engine) == ("script-1", "scripted")
    assert [message.role for message in workbench.added] == ["user", "assistant"]


def test_next_message_carries_the_conversation_and_the_system_prompt(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench(TWO_TURNS)
    bench.services.profile.change_settings(system_prompt="Be brief")
    first = bench.send("One")
    second = bench.send("Two", first.conversation_id)
    assert first.text == "First 2 Be brief|"
    assert second.text == "Second 4 Be brief|"


def test_second_message_is_refused_while_a_reply_is_made(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench(SLOW)
    live = bench.begin("Count")
    assert bench.services.chat.is_busy
    assert not bench.services.chat.send(live.message.conversation_id, "And more")
    bench.services.chat.stop()
    bench.wait(lambda: bool(bench.ended))


def test_nothing_is_sent_without_a_model(make_workbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.library.find_starter", lambda catalog: None)
    bench = make_workbench(None)
    assert not bench.services.chat.send(None, "Hello")
    assert not bench.services.chat.is_busy


def test_stopped_reply_keeps_its_text_and_is_continued(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench('[[reply]]\ntext = "one two three four five six seven eight nine ten"\ntoken_seconds = 0.05')
    live = bench.begin("Count")
    bench.services.chat.stop()
    bench.wait(lambda: bool(bench.ended))
    stopped = bench.ended[-1]
    assert stopped.state == "stopped"
    assert stopped.text.startswith("one")
    assert len(stopped.text) < len("one two three four five six seven eight nine ten")
    assert bench.stored(stopped).text == stopped.text
    assert bench.services.chat.go_on(stopped)
    bench.wait(lambda: len(bench.ended) == 2)
    assert bench.ended[-1].id == live.message.id
    assert bench.ended[-1].text == "one two three four five six seven eight nine ten"
    assert bench.stored(stopped).text == "one two three four five six seven eight nine ten"


def test_reply_stopped_while_the_model_loads_ends_as_stopped(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench('[load]\nsteps = 40\nstep_seconds = 0.05\n[[reply]]\ntext = "Never"')
    bench.services.chat.send(None, "Hello")
    bench.wait(lambda: any(change.phase == "loading" for change in bench.changes))
    bench.services.chat.stop()
    bench.wait(lambda: bool(bench.ended))
    assert (bench.ended[0].state, bench.ended[0].text) == ("stopped", "")
    assert not bench.services.chat.is_busy


def test_writing_again_makes_a_second_version(workbench: Any) -> None:
    first = workbench.send("Hello")
    assert workbench.services.chat.write_again(first)
    workbench.wait(lambda: len(workbench.ended) == 2)
    second = workbench.ended[-1]
    assert second.id != first.id
    assert second.parent_id == first.parent_id
    assert workbench.stored(second).sibling_ids == (first.id, second.id)
    assert branch(workbench, second)[-1] == ("assistant", "Hello from turn 1.", "complete")


def test_changed_message_begins_a_branch_of_its_own(workbench: Any) -> None:
    first = workbench.send("Hello")
    workbench.send("And now", first.conversation_id)
    user = workbench.added[2]
    assert user.text == "And now"
    assert workbench.services.chat.edit(user, "And then")
    workbench.wait(lambda: len(workbench.ended) == 3)
    assert [text for _, text, _ in branch(workbench, first)] == [
        "Hello",
        "Hello from turn 1.",
        "And then",
        "Hello from turn 2.",
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for processes")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL], ids=["segfault", "kill"])
def test_death_of_the_engine_keeps_the_reply_so_far_and_the_next_message_is_answered(
    make_workbench: Callable[..., Any], number: signal.Signals
) -> None:
    bench = make_workbench(SLOW)
    failures: list[Any] = []
    bench.services.chat.reply_failed.connect(lambda *arguments: failures.append(arguments))
    bench.begin("Count")
    os.kill(engine_pid(), number)
    bench.wait(lambda: bool(bench.ended))
    cut_off = bench.ended[-1]
    assert cut_off.state == "interrupted"
    assert cut_off.text.startswith("one")
    assert cut_off.error.splitlines()[0]
    assert [may_load_anyway for _, _, may_load_anyway in failures] == [False]
    stored = bench.stored(cut_off)
    assert (stored.text, stored.state, stored.error) == (cut_off.text, "interrupted", cut_off.error)
    bench.begin("Again", cut_off.conversation_id)
    bench.services.chat.stop()
    bench.wait(lambda: len(bench.ended) == 2)
    assert bench.ended[-1].state == "stopped"


def test_interrupted_reply_goes_on_where_it_ended(make_workbench: Callable[..., Any]) -> None:
    script = """
[[reply]]
text = "one two three four five"
token_seconds = 0.01
[reply.misbehaves]
how = "segfault"
after_tokens = 3
"""
    bench = make_workbench(script)
    cut_off = bench.send("Count")
    assert (cut_off.text, cut_off.state) == ("one two three", "interrupted")
    # From here the script has fewer than three tokens to go, so that it ends before its misdeed.
    assert bench.services.chat.go_on(cut_off)
    bench.wait(lambda: len(bench.ended) == 2)
    assert (bench.ended[-1].text, bench.ended[-1].state) == ("one two three four five", "complete")


def test_failed_load_is_told_at_the_reply_and_tried_again_in_its_place(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench(
        '[load.fails]\ncode = "unsupported_model"\ntitle = "Too new."\nadvice = "Update."\n[[reply]]\ntext = "Hello"'
    )
    failed = bench.send("Hello")
    assert (failed.state, failed.error) == ("failed", "Too new.\nUpdate.")
    assert bench.services.chat.write_again(failed)
    bench.wait(lambda: len(bench.ended) == 2)
    assert bench.ended[-1].id == failed.id


def test_turn_that_brought_nothing_is_not_sent_again(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench('[[reply]]\ntext = "Seen {messages}"\n[[reply]]\ntext = "Never"')
    assert bench.services.chat.send(None, "Hello")
    bench.services.chat.stop()
    bench.wait(lambda: bool(bench.ended))
    empty = bench.ended[-1]
    assert (empty.text, empty.state) == ("", "stopped")
    assert bench.send("Really", empty.conversation_id).text == "Seen 1"


def test_state_of_the_engine_is_told_as_phases(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench(
        '[load]\nsteps = 4\nstep_seconds = 0.02\n[prompt]\nbatch_seconds = 0.05\n[[reply]]\nthinking = "Hm."\n'
        'text = "Well then"\ntoken_seconds = 0.02'
    )
    reply = bench.send("Hello")
    phases = list(dict.fromkeys(change.phase for change in bench.changes))
    assert phases == ["loading", "reading", "writing"]
    assert reply.thinking == "Hm."
    assert bench.changes[-1].thinking_seconds is not None
    assert any(change.share == 1.0 for change in bench.changes if change.phase == "reading")


def test_ejecting_in_mid_reply_keeps_the_text(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench(SLOW)
    bench.begin("Count")
    bench.services.engine.eject()
    bench.wait(lambda: bool(bench.ended))
    assert bench.ended[-1].state == "stopped"
    assert bench.ended[-1].text.startswith("one")
    assert isinstance(bench.services.engine.state, Stopped)
    bench.begin("Count", bench.ended[-1].conversation_id)
    bench.services.chat.stop()
    bench.wait(lambda: len(bench.ended) == 2)
    bench.wait(lambda: isinstance(bench.services.engine.state, Ready))


def test_text_is_on_disk_while_the_reply_grows(make_workbench: Callable[..., Any]) -> None:
    bench = make_workbench(SLOW)
    live = bench.begin("Count")
    other = Store(bench.paths.database_path)  # as a second process would look at it
    try:
        bench.wait(lambda: other.get_message(live.message.id).result(5).text.count("one") >= 2)
        assert other.get_message(live.message.id).result(5).state == "growing"
    finally:
        other.close()
    bench.services.chat.stop()
    bench.wait(lambda: bool(bench.ended))


def test_message_that_cannot_be_stored_comes_back(workbench: Any) -> None:
    returned: list[str] = []
    workbench.services.chat.not_sent.connect(returned.append)
    workbench.services.conversations.store.close()
    assert workbench.services.chat.send(None, "Precious words")
    workbench.wait(lambda: returned == ["Precious words"])
    assert not workbench.services.chat.is_busy
    assert workbench.titles()
