"""Text to tokens and back, for one vocabulary."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import llama_cpp.llama_cpp as llama

from engines.backends.llama.native import NativeModel


class Tokens:
    """Tokenizes text and gives the bytes of single tokens, which are kept once they were asked for."""

    def __init__(self, model: NativeModel) -> None:
        self._vocabulary: Any = model.vocabulary
        self._bytes: dict[int, bytes] = {}
        self._shown_controls: frozenset[bytes] = frozenset()
        self._buffer = ctypes.create_string_buffer(512)

    def show_controls(self, texts: Iterable[str]) -> None:
        """Control tokens with these texts appear in `bytes_of` (the marks around reasoning); others are empty."""
        self._shown_controls = frozenset(text.encode() for text in texts)
        self._bytes.clear()

    def tokenize(self, text: str, *, with_special: bool) -> list[int]:
        """The tokens of `text`. With `with_special`, the texts of control tokens in it become those tokens.

        No begin-of-text token is added: a chat template writes its own.
        """
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        array = (llama.llama_token * room)()
        count = llama.llama_tokenize(self._vocabulary, data, len(data), array, room, False, with_special)
        if count < 0:
            room = -count
            array = (llama.llama_token * room)()
            count = llama.llama_tokenize(self._vocabulary, data, len(data), array, room, False, with_special)
        return list(array[:count])

    def bytes_of(self, token: int) -> bytes:
        """What a token adds to the reply."""
        known = self._bytes.get(token)
        if known is None:
            known = self._bytes[token] = self._read(token)
        return known

    def text_of_control(self, token: int) -> str:
        """The text of a token, control tokens included; empty for none (a negative id)."""
        return self._piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def begin_of_text(self) -> str:
        return self.text_of_control(int(llama.llama_vocab_bos(self._vocabulary)))

    def end_of_text(self) -> str:
        return self.text_of_control(int(llama.llama_vocab_eos(self._vocabulary)))

    def any_token(self) -> int:
        """A token that exists in every vocabulary, for a first evaluation after the load."""
        return max(0, int(llama.llama_vocab_bos(self._vocabulary)))

    def ends_reply(self, token: int) -> bool:
        """Whether the model ends its turn with this token."""
        return bool(llama.llama_vocab_is_eog(self._vocabulary, token))

    def _read(self, token: int) -> bytes:
        if llama.llama_vocab_is_control(self._vocabulary, token):
            text = self._piece(token, special=True)
            return text if text in self._shown_controls else b""
        return self._piece(token, special=True)

    def _piece(self, token: int, *, special: bool) -> bytes:
        length = llama.llama_token_to_piece(self._vocabulary, token, self._buffer, len(self._buffer), 0, special)
        if length < 0:
            self._buffer = ctypes.create_string_buffer(-length)
            length = llama.llama_token_to_piece(self._vocabulary, token, self._buffer, len(self._buffer), 0, special)
        return self._buffer.raw[:length]
