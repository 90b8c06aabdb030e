"""Conversations behind a pseudo terminal: what a person sees and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desktop.commands.chat_session import describe_usage
from desktop.core.conversations.store import Store
from engines.base import Usage

Script = Callable[..., Path]
Terminal = Callable[..., Any]

ECHO = """
format = 1
name = "Echo"
[[reply]]
text = "{turn}: {user} ({system}, {messages})"
"""
THINKING = """
format = 1
[[reply]]
thinking = "Let me see."
text = "Done \\u001b[31mred\\u0007"
"""
SLOW = """
format = 1
[[reply]]
text = "first and then very many more "
repeat = 1000
token_seconds = 0.02
"""
CRASH = """
format = 1
[[reply]]
text = "one two three four five six"
[reply.misbehaves]
after_tokens = 3
how = "segfault"
[[reply]]
text = "all is well again"
"""
BAD_LOAD = """
format = 1
[load.fails]
code = "unsupported_model"
title = "This model is too new."
advice = "Take another."
[[reply]]
text = "never"
"""


def kept(data_directory: Path) -> list[list[tuple[str, str, str]]]:
    """Role, text and state of every message, conversation by conversation, the newest first."""
    store = Store(data_directory / "conversations.db")
    try:
        found = store.list_conversations().result(10)
        return [
            [(message.role, message.text, message.state) for message in store.load_messages(each.id).result(10)]
            for each in found
        ]
    finally:
        store.close()


def test_a_conversation_has_several_turns_and_is_kept(terminal: Terminal, script: Script, data_directory: Path) -> None:
    chat = terminal("chat", "--model", script(ECHO))
    chat.wait_for("script. /help shows what can be typed; Ctrl-D leaves.")
    chat.wait_for("This conversation is kept on this computer")
    chat.wait_for("> ")
    chat.type("Hello\n")
    chat.wait_for("1: Hello (, 1)\n")
    chat.type("And now\\\n")
    chat.wait_for("... ")
    chat.type("this\n")
    chat.wait_for("2: And now\nthis (, 3)\n")
    chat.type('"""a\n')
    chat.wait_for("... ")
    chat.type('b"""\n')
    chat.wait_for("3: a\nb (, 5)\n")
    chat.wait_for("> ")
    chat.press_end()

    assert chat.status() == 0
    ((first, second, third, fourth, *_),) = kept(data_directory)
    assert first == ("user", "Hello", "complete")
    assert second == ("assistant", "1: Hello (, 1)", "complete")
    assert third == ("user", "And now\nthis", "complete")
    assert fourth == ("assistant", "2: And now\nthis (, 3)", "complete")


def test_nothing_is_kept_where_that_is_wanted(terminal: Terminal, script: Script, data_directory: Path) -> None:
    chat = terminal("chat", "--model", script(ECHO), "--no-save")
    chat.wait_for("This conversation is not kept.")
    chat.type("Hello\n")
    chat.wait_for("1: Hello")
    chat.type("/quit\n")

    assert chat.status() == 0
    assert not (data_directory / "conversations.db").exists()


def test_ctrl_c_stops_a_reply_and_the_next_turn_works(terminal: Terminal, script: Script, data_directory: Path) -> None:
    chat = terminal("chat", "--model", script(SLOW))
    chat.wait_for("> ")
    chat.type("Go\n")
    chat.wait_for("first and")
    chat.press_interrupt()
    chat.wait_for("[stopped]")
    chat.wait_for("> ")
    chat.type("Again\n")
    chat.wait_for("first and")
    chat.press_interrupt()
    chat.wait_for("[stopped]")
    chat.wait_for("> ")
    chat.press_end()

    assert chat.status() == 0
    ((_, reply, _, second),) = kept(data_directory)
    assert reply[2] == second[2] == "stopped"
    assert reply[1].startswith("first and")


@pytest.mark.slow
def test_ctrl_c_twice_during_a_reply_leaves(terminal: Terminal, script: Script, data_directory: Path) -> None:
    # An engine that does not heed the first one, so that the second arrives while the reply still goes on.
    deaf = script('format = 1\n[[reply]]\ntext = "one two three"\n[reply.misbehaves]\nafter_tokens = 2\nhow = "hang"\n')
    chat = terminal("chat", "--model", deaf)
    chat.wait_for("> ")
    chat.type("Go\n")
    chat.wait_for("one two")
    chat.press_interrupt()
    chat.wait_for("Stopping. Ctrl-C again leaves.")
    chat.press_interrupt()

    assert chat.status() == 130
    ((_, reply),) = kept(data_directory)
    assert reply == ("assistant", "one two", "stopped")


@pytest.mark.slow
def test_a_late_second_ctrl_c_ends_an_engine_that_does_not_heed(terminal: Terminal, script: Script) -> None:
    deaf = script(
        'format = 1\n[[reply]]\ntext = "one two three"\n[reply.misbehaves]\nafter_tokens = 2\nhow = "hang"\n'
        '[[reply]]\ntext = "back again"\n'
    )
    chat = terminal("chat", "--model", deaf)
    chat.wait_for("> ")
    chat.type("Go\n")
    chat.wait_for("one two")
    chat.press_interrupt()
    chat.wait_for("Still stopping.")
    chat.press_interrupt()
    chat.wait_for("[stopped]")
    chat.wait_for("> ")
    chat.type("Hello\n")
    chat.wait_for("back again")
    chat.wait_for("> ")
    chat.press_end()

    assert chat.status() == 0


@pytest.mark.slow
def test_ctrl_c_while_typing_leaves_the_second_time_only(terminal: Terminal, script: Script) -> None:
    chat = terminal("chat", "--model", script(ECHO))
    chat.wait_for("> ")
    chat.type("never sent")
    chat.wait_for("never sent")
    chat.interrupt_until("Ctrl-C again leaves, as does Ctrl-D.")
    chat.wait_for("> ")
    chat.press_interrupt()

    assert chat.status() == 130


def test_a_model_cannot_control_the_terminal_and_its_thinking_is_dimmed(terminal: Terminal, script: Script) -> None:
    chat = terminal("chat", "--model", script(THINKING))
    chat.wait_for("> ")
    chat.type("Go\n")
    chat.wait_for("\x1b[2mLet me see.\x1b[0m\n\nDone \u241b[31mred\u2407\n")
    chat.wait_for("> ")
    chat.press_end()

    assert chat.status() == 0


def test_without_styles_thinking_is_set_apart_in_words(terminal: Terminal, script: Script) -> None:
    chat = terminal("chat", "--model", script(THINKING), "Go", environment={"NO_COLOR": "1"})

    assert chat.status() == 0
    assert chat.screen == "[thinking]\nLet me see.\n[reply]\nDone \u241b[31mred\u2407\n"


def test_an_engine_that_dies_is_said_and_the_next_turn_works(
    terminal: Terminal, script: Script, data_directory: Path
) -> None:
    chat = terminal("chat", "--model", script(CRASH))
    chat.wait_for("> ")
    chat.type("Go\n")
    chat.wait_for("one two three")
    chat.wait_for("snug: The engine crashed while it wrote a reply.")
    chat.wait_for("> ")
    chat.type("And now?\n")
    chat.wait_for("all is well again")
    chat.wait_for("> ")
    chat.press_end()

    assert chat.status() == 0
    assert [message[2] for message in kept(data_directory)[0]] == ["complete", "interrupted", "complete", "complete"]


def test_commands_are_for_snug_and_not_for_the_model(terminal: Terminal, script: Script, data_directory: Path) -> None:
    other = script('format = 1\n[[reply]]\ntext = "I am the other one."\n', "other.toml")
    chat = terminal("chat", "--model", script(ECHO))
    steps = [
        ("/help", "frees the memory of the model"),
        ("/stats", "There has been no reply yet."),
        ("Hello", "1: Hello (, 1)"),
        ("/stats", "context "),
        ("/dance", "There is no command /dance. There are: /help, /new"),
        ("/usr/bin is a folder", "2: /usr/bin is a folder (, 3)"),
        ("/system", "There is no system prompt of yours."),
        ("/system a pirate", "A new conversation begins with this system prompt."),
        ("Hello", "1: Hello (a pirate, 2)"),
        ("/new", "A new conversation."),
        ("/eject", "script is no longer in memory."),
        ("Hello", "1: Hello (a pirate, 2)"),
        ("/model", "SmolLM2 135M Instruct"),
        ("/model nothing", "snug: There is no model called nothing."),
        (f"/model {other}", "other goes on from here."),
        ("Hello", "I am the other one."),
    ]
    for typed, shown in steps:
        chat.wait_for("> ")
        chat.type(f"{typed}\n")
        chat.wait_for(shown)
    chat.type("/quit\n")

    assert chat.status() == 0
    assert [len(conversation) for conversation in kept(data_directory)] == [4, 2, 4]


def test_a_model_that_cannot_be_loaded_is_said_and_another_can_be_chosen(terminal: Terminal, script: Script) -> None:
    good = script(ECHO, "good.toml")
    chat = terminal("chat", "--model", script(BAD_LOAD))
    for _ in range(2):
        chat.wait_for("> ")
        chat.type("Hello\n")
        chat.wait_for("snug: This model is too new.\n      Take another.\n")
    chat.wait_for("> ")
    chat.type(f"/model {good}\n")
    chat.wait_for("good goes on from here.")
    chat.type("Hello\n")
    chat.wait_for("1: Hello (, 1)")
    chat.wait_for("> ")
    chat.press_end()

    assert chat.status() == 0


def test_without_a_display_the_window_becomes_a_chat(terminal: Terminal, data_directory: Path) -> None:
    chat = terminal(environment={"QT_QPA_PLATFORM": ""})
    chat.wait_for("Snug chats in this terminal instead of a window, because there is no display here.\n")
    chat.wait_for("SmolLM2 135M Instruct. /help shows")
    chat.wait_for("> ")
    chat.press_end()

    assert chat.status() == 0


def test_the_cost_of_a_reply_is_one_line() -> None:
    usage = Usage(
        prompt_tokens=100,
        reused_tokens=60,
        generated_tokens=21,
        context_used_tokens=121,
        context_tokens=8192,
        prefill_seconds=0.5,
        decode_seconds=2.0,
        time_to_first_token_seconds=0.51,
        seed=7,
    )

    assert describe_usage(usage) == (
        "21 tokens · 10.0 tok/s · read 40 tokens at 80 tok/s, 60 more remembered · first word after 0.51 s"
        " · context 121 of 8,192 · seed 7"
    )
    assert describe_usage(Usage()) == "0 tokens · read 0 tokens · context 0 of 0 · seed 0"
