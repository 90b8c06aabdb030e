from __future__ import annotations

import io
import os
import sys

import pytest

from desktop.commands import terminal as terminal_module
from desktop.commands.terminal import OutputError, PipedTextTooLongError, Terminal, harmless


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def on_screen(clock: Clock, **environment: str) -> tuple[Terminal, FakeTerminal, FakeTerminal]:
    output, messages = FakeTerminal(), FakeTerminal()
    return Terminal(None, output, messages, {"TERM": "xterm", **environment}, clock), output, messages


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b]0;title\x07", "\u241b]0;title\u2407"),
        ("\x1b[2J\x1b[H", "\u241b[2J\u241b[H"),
        ("over\rwritten\r\n", "overwritten\n"),
        ("\x9b31m\x7f\x00\x08", "\ufffd31m\u2421\u2400\u2408"),
        ("日本語 🙂 é عربى", "日本語 🙂 é عربى"),
    ],
)
def test_no_text_can_control_a_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_a_reply_on_a_terminal_is_made_harmless_and_between_pipes_left_alone(clock: Clock) -> None:
    terminal, output, _ = on_screen(clock)
    terminal.write("\x1b[31mred")
    piped = io.StringIO()
    Terminal(None, piped, io.StringIO(), {}).write("\x1b[31mred")

    assert output.getvalue() == "\u241b[31mred"
    assert piped.getvalue() == "\x1b[31mred"


def test_messages_and_errors_on_a_terminal_are_made_harmless_too(clock: Clock) -> None:
    terminal, _, messages = on_screen(clock)
    terminal.say_error("No \x1b model", "Try\x07 it", "a\nb\x9b")

    assert messages.getvalue() == "snug: No \u241b model\n      Try\u2407 it\n        a\n        b\ufffd\n"


def test_dimming_begins_and_ends_where_it_should(clock: Clock) -> None:
    terminal, output, _ = on_screen(clock)
    terminal.write("hm", dim=True)
    terminal.write(" hm", dim=True)
    terminal.write("yes")
    terminal.write("no", dim=True)
    terminal.end_line()
    terminal.end_line()

    assert output.getvalue() == "\x1b[2mhm hm\x1b[0myes\x1b[2mno\x1b[0m\n"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}])
def test_a_plain_terminal_gets_no_styles_and_no_progress(clock: Clock, environment: dict[str, str]) -> None:
    terminal, output, messages = on_screen(clock, **environment)
    terminal.write("hm", dim=True)
    terminal.end_line()
    terminal.progress("Loading")
    clock.now = 9.0
    terminal.progress("Loading")

    assert output.getvalue() == "hm\n"
    assert messages.getvalue() == ""


def test_progress_waits_draws_seldom_and_cleans_up(clock: Clock) -> None:
    terminal, output, messages = on_screen(clock)
    terminal.progress("one")
    clock.now = 0.4
    terminal.progress("two")
    assert messages.getvalue() == ""

    clock.now = 0.6
    terminal.progress("three\x1b")
    clock.now = 0.65
    terminal.progress("four")
    terminal.write("reply")

    assert messages.getvalue() == "\r\x1b[K\x1b[2mthree\u241b\x1b[0m\r\x1b[K"
    assert output.getvalue() == "reply"


def test_progress_never_overwrites_half_a_line_of_a_reply(clock: Clock) -> None:
    terminal, _, messages = on_screen(clock)
    terminal.write("half a line")
    terminal.progress("Reading")
    clock.now = 5.0
    terminal.progress("Reading")

    assert messages.getvalue() == ""


def test_progress_is_for_terminals_only(clock: Clock) -> None:
    messages = io.StringIO()
    terminal = Terminal(None, io.StringIO(), messages, {"TERM": "xterm"}, clock)
    terminal.progress("Reading")
    clock.now = 5.0
    terminal.progress("Reading")

    assert messages.getvalue() == ""


def test_a_reader_that_went_away_is_told_and_closed_messages_are_not() -> None:
    terminal = Terminal(None, Closed(), Closed(), {})

    terminal.say("nobody hears this")
    with pytest.raises(BrokenPipeError):
        terminal.write("nor this")


def test_windows_calls_a_reader_that_went_away_an_invalid_argument() -> None:
    class Invalid(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(22, "Invalid argument")

    with pytest.raises(BrokenPipeError):
        Terminal(None, Invalid(), io.StringIO(), {}).write("text")


def test_a_full_disk_is_not_taken_for_a_reader_that_went_away() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError) as raised:
        Terminal(None, Full(), io.StringIO(), {}).write("text")
    assert raised.value.details == "No space left on device"


def test_piped_text_comes_without_byte_order_mark_and_with_plain_line_ends() -> None:
    terminal = Terminal(io.StringIO("\ufeffone\r\ntwo\r\n"), io.StringIO(), io.StringIO(), {})

    assert terminal.read_all() == "one\ntwo\n"
    assert Terminal(None, io.StringIO(), io.StringIO(), {}).read_all() == ""


def test_a_pipe_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_module, "MAXIMUM_PIPED_CHARACTERS", 4)

    assert Terminal(io.StringIO("1234"), io.StringIO(), io.StringIO(), {}).read_all() == "1234"
    with pytest.raises(PipedTextTooLongError):
        Terminal(io.StringIO("12345"), io.StringIO(), io.StringIO(), {}).read_all()


def test_a_prompt_never_goes_into_a_file() -> None:
    output, messages = io.StringIO(), io.StringIO()
    terminal = Terminal(io.StringIO("typed\n"), output, messages, {})

    assert terminal.read_line("> ") == "typed"
    with pytest.raises(EOFError):
        terminal.read_line("> ")
    assert output.getvalue() == ""
    assert messages.getvalue() == "> > "


def test_missing_streams_are_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    terminal = Terminal.of_this_process()
    terminal.write("text")
    terminal.say("text")

    assert not terminal.input_is_terminal
    with pytest.raises(EOFError):
        terminal.read_line("> ")


def test_output_without_a_reader_is_forgotten() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    terminal = Terminal(None, stream, io.StringIO(), {})
    with pytest.raises(BrokenPipeError):
        terminal.write("text")

    terminal.forget_output()

    stream.close()
    Terminal(None, io.StringIO(), io.StringIO(), {}).forget_output()
