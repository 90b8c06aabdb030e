from __future__ import annotations

from collections.abc import Callable

import pytest

from desktop.commands.chat_input import COMMANDS, HELP, Command, as_command, read_message


def typed(*lines: str) -> Callable[[str], str]:
    """What a person types, and the end of input after it."""
    left = list(lines)

    def read_line(prompt: str) -> str:
        assert prompt in {"> ", "... "}
        if not left:
            raise EOFError
        return left.pop(0)

    return read_line


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Hello"], "Hello"),
        ([""], ""),
        (["one\\", "two\\", "three"], "one\ntwo\nthree"),
        (["C:\\folder\\\\"], "C:\\folder\\\\"),
        (['"""one', "", 'two"""'], "one\n\ntwo"),
        (['"""', "one\\", '"""'], "one\\"),
        (['  """one"""'], "one"),
        (['say """this"""'], 'say """this"""'),
        (["one\\"], "one\n"),
        (['"""one', "two"], "one\ntwo"),
    ],
)
def test_a_message_is_one_line_or_several(lines: list[str], message: str) -> None:
    assert read_message(typed(*lines)) == message


def test_the_end_of_input_ends_it() -> None:
    with pytest.raises(EOFError):
        read_message(typed())


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("/help", Command("help", "")),
        ("/Model  some name ", Command("model", "some name")),
        ("/usr/bin", None),
        ("/1", None),
        ("/", None),
        ("hello /help", None),
        ("/help\nme", None),
    ],
)
def test_a_line_with_a_slash_in_front_is_a_command(message: str, command: Command | None) -> None:
    assert as_command(message) == command


def test_the_help_has_every_command() -> None:
    assert [line.split()[0] for line in HELP.splitlines() if line.startswith("/")] == [f"/{name}" for name in COMMANDS]
