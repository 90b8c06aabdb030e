"""The terminal as commands see it: replies to standard output, everything else to standard error.

The one place that prints. Output is UTF-8 whatever the locale says, and nothing that is printed can control the
terminal: escape sequences from a model, a file name or a pipe are made visible instead of being obeyed.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from desktop.core.errors import StorageError

MAXIMUM_PIPED_CHARACTERS = 16 * 1024 * 1024
"""More than any context holds; a pipe may have no end at all."""
PROGRESS_AFTER_SECONDS = 0.5
"""Work that is shorter shows no progress."""
_PROGRESS_INTERVAL_SECONDS = 0.1

_DIM = "\x1b[2m"
_PLAIN = "\x1b[0m"
_CLEAR_LINE = "\r\x1b[K"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class OutputError(StorageError):
    """Standard output cannot be written, for example because it goes to a full disk."""


class PipedTextTooLongError(Exception):
    """Standard input does not end within `MAXIMUM_PIPED_CHARACTERS`."""


class Terminal:
    """Three streams and what is known of them. Made once per command, used by one thread."""

    def __init__(
        self,
        stdin: TextIO | None,
        stdout: TextIO,
        stderr: TextIO,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._clock = clock
        self._has_styles = _has_styles(environment)
        self.input_is_terminal = stdin is not None and _is_terminal(stdin)
        self.output_is_terminal = _is_terminal(stdout)
        self.messages_are_terminal = _is_terminal(stderr)
        self._at_line_start = True
        self._dimmed = False
        self._progress_since: float | None = None
        self._progress_drawn_at: float | None = None

    @classmethod
    def of_this_process(cls) -> Terminal:
        """The standard streams, switched to UTF-8. A stream that is closed or missing counts as the null device."""
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="replace")
        stdout = sys.stdout if sys.stdout is not None else _null()
        stderr = sys.stderr if sys.stderr is not None else _null()
        return cls(sys.stdin, stdout, stderr, os.environ)

    @property
    def styled(self) -> bool:
        """Whether replies may be dimmed: a terminal that understands it, and nobody asked for plain text."""
        return self.output_is_terminal and self._has_styles

    def write(self, text: str, *, dim: bool = False) -> None:
        """A stretch of a reply or of a report, at once.

        Raises BrokenPipeError when nobody reads any more, OutputError when it cannot be written.
        """
        if text == "":
            return
        self.clear_progress()
        if self.output_is_terminal:
            text = harmless(text)
        self._set_dim(dim and self.styled)
        self._put(text)
        if text:
            self._at_line_start = text.endswith("\n")

    def end_line(self) -> None:
        """Makes sure that what follows begins on a line of its own."""
        self._set_dim(False)
        if not self._at_line_start:
            self._put("\n")
            self._at_line_start = True

    def say(self, text: str = "") -> None:
        """A line for the person, beside the reply. Never fails: there may be nobody to read it."""
        self.clear_progress()
        self._message(f"{harmless(text) if self.messages_are_terminal else text}\n")

    def say_error(self, title: str, advice: str = "", details: str = "") -> None:
        """Title and advice, each on its line, the details indented below."""
        self.say(f"snug: {title}")
        if advice:
            self.say(f"      {advice}")
        for line in details.splitlines():
            self.say(f"        {line}")

    def progress(self, text: str) -> None:
        """One line that overwrites itself, on a terminal only, and only when the work takes a while."""
        if not (self.messages_are_terminal and self._has_styles):
            return
        if self.output_is_terminal and not self._at_line_start:
            return  # it would overwrite the last line of a reply
        now = self._clock()
        if self._progress_since is None:
            self._progress_since = now
        drawn_at = self._progress_drawn_at
        if now - self._progress_since < PROGRESS_AFTER_SECONDS:
            return
        if drawn_at is not None and now - drawn_at < _PROGRESS_INTERVAL_SECONDS:
            return
        self._progress_drawn_at = now
        self._message(f"{_CLEAR_LINE}{_DIM}{harmless(text)}{_PLAIN}")

    def clear_progress(self) -> None:
        """Ends the progress line, if one was drawn."""
        self._progress_since = None
        if self._progress_drawn_at is not None:
            self._progress_drawn_at = None
            self._message(_CLEAR_LINE)

    def read_all(self) -> str:
        """Everything that is piped in, without a byte order mark and with plain line ends.

        Raises PipedTextTooLongError.
        """
        text = self._stdin.read(MAXIMUM_PIPED_CHARACTERS + 1) if self._stdin is not None else ""
        if len(text) > MAXIMUM_PIPED_CHARACTERS:
            raise PipedTextTooLongError
        return text.removeprefix("\ufeff").replace("\r\n", "\n")

    def read_line(self, prompt: str) -> str:
        """One line from a person, without its end. Raises EOFError and KeyboardInterrupt."""
        self.clear_progress()
        if self._stdin is sys.stdin and self.output_is_terminal:
            return _without_surrogates(input(prompt))
        # Standard output is a file, where a prompt has no business.
        self._message(prompt)
        line = self._stdin.readline() if self._stdin is not None else ""
        if line == "":
            raise EOFError
        return line.rstrip("\n")

    def forget_output(self) -> None:
        """Nobody reads standard output any more: what is still buffered goes nowhere, without a complaint."""
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self._stdout.fileno())
        except (OSError, ValueError, io.UnsupportedOperation):
            return  # no file descriptor behind it, so no complaint at the end either
        finally:
            os.close(null)

    def _set_dim(self, dim: bool) -> None:
        if dim != self._dimmed:
            self._dimmed = dim
            self._put(_DIM if dim else _PLAIN)

    def _put(self, text: str) -> None:
        try:
            self._stdout.write(text)
            self._stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            # Windows calls a pipe without a reader an invalid argument.
            if error.errno == errno.EINVAL:
                raise BrokenPipeError(errno.EPIPE, "nobody reads the output") from None
            raise OutputError(
                "The output could not be written.",
                "Check that the disk it goes to is connected and not full.",
                error.strerror or str(error),
            ) from error

    def _message(self, text: str) -> None:
        try:
            self._stderr.write(text)
            self._stderr.flush()
        except (OSError, ValueError):
            return  # standard error is closed: there is nobody to tell


def harmless(text: str) -> str:
    """The text without any power over a terminal: control characters become the pictures that stand for them.

    Line ends and tabs stay; a carriage return goes, because alone it would overwrite what was said before.
    """
    return _CONTROL.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x0D:
        return ""
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def _has_styles(environment: Mapping[str, str]) -> bool:
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    if sys.platform == "win32":
        # The old console prints escape sequences as they are.
        return bool(environment.get("WT_SESSION") or environment.get("TERM") or environment.get("ANSICON"))
    return bool(environment.get("TERM"))


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _null() -> TextIO:
    return io.StringIO()
