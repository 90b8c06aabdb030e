"""What a person types into an interactive chat: one line, several lines, or a command. No engine, no store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PROMPT = "> "
CONTINUED = "... "
_BLOCK = '"""'

HELP = """\
/help            this list
/new             forget what was said and begin a new conversation
/model           which models there are; /model NAME changes to another one
/system TEXT     tells the model who it is, from a new conversation on; /system alone shows it
/stats           what the last reply cost
/eject           frees the memory of the model; the next message loads it again
/quit            leave, as does Ctrl-D

Enter sends. For several lines end a line with \\, or put \"\"\" before the first and after the last.
Ctrl-C stops a reply, twice leaves."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line that begins with a slash: for Snug, not for the model."""

    name: str
    argument: str


COMMANDS = ("help", "new", "model", "system", "stats", "eject", "quit")


def read_message(read_line: Callable[[str], str]) -> str:
    """One message of one or more lines. Raises EOFError and KeyboardInterrupt like `read_line`."""
    line = read_line(PROMPT)
    if line.lstrip().startswith(_BLOCK):
        return _read_block(line.lstrip()[len(_BLOCK) :], read_line)
    lines: list[str] = []
    while line.endswith("\\") and not line.endswith("\\\\"):
        lines.append(line[:-1])
        try:
            line = read_line(CONTINUED)
        except EOFError:
            line = ""
    lines.append(line)
    return "\n".join(lines)


def as_command(message: str) -> Command | None:
    """The command in a message, if it is one. A path or a second slash is not: "/usr/bin" goes to the model."""
    if not message.startswith("/") or "\n" in message:
        return None
    name, _, argument = message[1:].partition(" ")
    if not name.isalpha():
        return None
    return Command(name.lower(), argument.strip())


def set_up_editing() -> None:
    """Line editing and a history of this session, in memory only. Windows edits lines by itself."""
    try:
        import readline
    except ImportError:
        return
    readline.set_history_length(1000)
    if "libedit" not in (readline.__doc__ or ""):
        readline.parse_and_bind("set enable-bracketed-paste on")


def _read_block(first: str, read_line: Callable[[str], str]) -> str:
    lines = [first]
    while not lines[-1].rstrip().endswith(_BLOCK):
        try:
            lines.append(read_line(CONTINUED))
        except EOFError:
            break
    last = lines[-1].rstrip()
    lines[-1] = last.removesuffix(_BLOCK)
    return "\n".join(lines).strip("\n")
