"""The child's end of the pipe: keeps fd 1 for the protocol and hands messages over as they arrive.

Native libraries print to file descriptor 1 from C, where no Python redirection reaches. So the descriptor that the
parent reads is taken away first, and fd 1 then points at stderr for everybody else. It knows nothing of engines.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, TypeVar

from engines.protocol import Message, ProtocolError, Shutdown, ToEngine, decode_to_engine, encode

ReceivedT = TypeVar("ReceivedT")

EXIT_PROTOCOL = 3
"""Exit status of a child that was sent something that is not a message."""


class Channel:
    """Both directions of the pipe to the parent. The end of the pipe ends the process at once, idle or busy."""

    def __init__(self, read_descriptor: int, write_descriptor: int) -> None:
        self._read_descriptor = read_descriptor
        self._write_descriptor = write_descriptor
        self._write_lock = threading.Lock()

    @classmethod
    def take_over(cls) -> Channel:
        """Takes stdin and stdout away from everybody else. To be called before anything can print."""
        read_descriptor = os.dup(0)
        write_descriptor = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(read_descriptor, os.O_BINARY)
            msvcrt.setmode(write_descriptor, os.O_BINARY)
        return cls(read_descriptor, write_descriptor)

    def send(self, message: Message) -> None:
        """Writes one message. Ends the process when nobody reads any more."""
        line = encode(message)
        try:
            with self._write_lock:
                written = os.write(self._write_descriptor, line)
                while written < len(line):
                    line = line[written:]
                    written = os.write(self._write_descriptor, line)
        except OSError:
            # The parent is gone; there is nobody to tell.
            leave(0)

    def start_reading(self, on_message: Callable[[ToEngine], None]) -> None:
        """Calls `on_message` for each message but Shutdown, from a thread of its own."""
        self.start_reading_as(decode_to_engine, on_message)

    def start_reading_as(self, decode: Callable[[bytes], ReceivedT], on_message: Callable[[ReceivedT], None]) -> None:
        """The same for a child that is sent other messages than an engine."""
        thread = threading.Thread(target=self._read, args=(decode, on_message), name="snug-stdin", daemon=True)
        thread.start()

    def _read(self, decode: Callable[[bytes], ReceivedT], on_message: Callable[[ReceivedT], None]) -> None:
        with os.fdopen(self._read_descriptor, "rb") as stream:
            for line in stream:
                try:
                    message = decode(line)
                except ProtocolError as error:
                    # The line may hold a conversation, so only the reason is told.
                    sys.stderr.write(f"not a message: {error}\n")
                    sys.stderr.flush()
                    leave(EXIT_PROTOCOL)
                if isinstance(message, Shutdown):
                    leave(0)
                on_message(message)
            leave(0)


def leave(status: int) -> NoReturn:
    """Ends the process now: no destructors, no waiting for native threads that may hang or crash on the way out."""
    os._exit(status)
