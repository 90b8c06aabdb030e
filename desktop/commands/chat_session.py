"""A chat in a terminal: what was said so far, one turn after another, shown and saved.

Takes text and shows replies; where text comes from is the business of `chat` and `chat_input`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from desktop.commands.chat_engine import ReplyEnd, TerminalEngine
from desktop.commands.chat_record import ChatRecord
from desktop.commands.terminal import Terminal
from engines.base import ChatMessage, GenerationOptions, PieceKind, Usage
from engines.library import InstalledModel

_END_NOTES = {
    "length": "The reply reached its largest allowed length.",
    "context": "The context is full, so the reply ends here. /new begins a new conversation.",
}


@dataclass(frozen=True, slots=True)
class ChatChoices:
    """What a person chose for this chat."""

    system_prompt: str
    options_for: Callable[[InstalledModel], GenerationOptions]
    show_thinking: bool


class ChatSession:
    """The turns of one chat. Owns neither the engine's nor the record's life beyond `close`."""

    def __init__(
        self,
        terminal: Terminal,
        make_engine: Callable[[InstalledModel], TerminalEngine],
        record: ChatRecord,
        model: InstalledModel,
        choices: ChatChoices,
    ) -> None:
        self._terminal = terminal
        self._make_engine = make_engine
        self._record = record
        self._choices = choices
        self._engine = make_engine(model)
        self._history: list[ChatMessage] = []
        self._last_usage: Usage | None = None

    @property
    def model(self) -> InstalledModel:
        """The model that answers now."""
        return self._engine.model

    @property
    def system_prompt(self) -> str:
        """What the model is told about itself; empty: only what its own template says."""
        return self._choices.system_prompt

    @property
    def last_usage(self) -> Usage | None:
        """What the last reply cost."""
        return self._last_usage

    def warm_up(self) -> None:
        """Begins to load the model. Raises ModelInUseError, NotEnoughMemoryError."""
        self._engine.start()

    def ask(self, text: str, *, stay: bool) -> ReplyEnd:
        """One turn: shows the reply as it comes and remembers it. An error is a way to end, and is not shown here."""
        options = self._choices.options_for(self.model)
        user = ChatMessage(role="user", content=text)
        system = [ChatMessage(role="system", content=self.system_prompt)] if self.system_prompt else []
        printer = ReplyPrinter(self._terminal, show_thinking=self._choices.show_thinking)
        self._record.begin_turn(text, self.model, options)
        end = ReplyEnd("cancelled", None)

        def on_piece(piece: str, kind: PieceKind) -> None:
            self._record.add(piece, kind)
            printer.add(piece, kind)

        try:
            end = self._engine.ask([*system, *self._history, user], options, on_piece, stay=stay)
        finally:
            self._record.end_turn(end)
        printer.end()
        if printer.text or end.error is None:
            # A turn that brought nothing is not kept: two messages of the same side in a row confuse templates.
            self._history += [user, ChatMessage(role="assistant", content=printer.text, thinking=printer.thinking)]
        if end.usage is not None and end.usage.context_tokens:
            self._last_usage = end.usage
        if end.reason in _END_NOTES:
            self._terminal.say(f"[{_END_NOTES[end.reason]}]")
        return end

    def begin_again(self, system_prompt: str | None = None) -> None:
        """Forgets what was said; with `system_prompt`, the model is told something else from now on."""
        self._history.clear()
        self._record.begin_conversation()
        if system_prompt is not None:
            self._choices = replace(self._choices, system_prompt=system_prompt)

    def change_model(self, model: InstalledModel) -> None:
        """Another model goes on with the conversation. Raises ModelInUseError, NotEnoughMemoryError."""
        self._engine.close()
        self._engine = self._make_engine(model)
        self._engine.start()

    def eject(self) -> None:
        """Frees the memory of the model."""
        self._engine.eject()

    def close(self) -> None:
        """Ends the engine process and writes what is left."""
        try:
            self._engine.close()
        finally:
            self._record.close()


class ReplyPrinter:
    """Shows the pieces of one reply, and keeps them. Thinking is dimmed, or set apart in words, or left out."""

    def __init__(self, terminal: Terminal, *, show_thinking: bool) -> None:
        self.text = ""
        self.thinking = ""
        self._terminal = terminal
        self._show_thinking = show_thinking
        self._shown_kind: PieceKind | None = None

    def add(self, text: str, kind: PieceKind) -> None:
        """A stretch of the reply. Raises BrokenPipeError when nobody reads any more."""
        if kind == "thinking":
            self.thinking += text
            if not self._show_thinking:
                self._terminal.progress("Thinking")
                return
        else:
            self.text += text
        self._turn_to(kind)
        self._terminal.write(text, dim=kind == "thinking")

    def end(self) -> None:
        """The reply is over; the next thing begins on its own line."""
        self._terminal.end_line()

    def _turn_to(self, kind: PieceKind) -> None:
        if kind == self._shown_kind:
            return
        before, self._shown_kind = self._shown_kind, kind
        if before is not None:
            self._terminal.end_line()
        if self._terminal.styled:
            if before is not None:
                self._terminal.write("\n")
        elif kind == "thinking":
            self._terminal.write("[thinking]\n")
        elif before is not None:
            self._terminal.write("[reply]\n")


def describe_usage(usage: Usage) -> str:
    """What a reply cost, in one line."""
    parts = [f"{usage.generated_tokens:,} tokens"]
    if usage.decode_tokens_per_second is not None:
        parts.append(f"{usage.decode_tokens_per_second:.1f} tok/s")
    read = usage.prompt_tokens - usage.reused_tokens
    reading = f"read {read:,} tokens"
    if usage.prefill_tokens_per_second is not None:
        reading += f" at {usage.prefill_tokens_per_second:.0f} tok/s"
    if usage.reused_tokens:
        reading += f", {usage.reused_tokens:,} more remembered"
    parts.append(reading)
    if usage.time_to_first_token_seconds is not None:
        parts.append(f"first word after {usage.time_to_first_token_seconds:.2f} s")
    parts.append(f"context {usage.context_used_tokens:,} of {usage.context_tokens:,}")
    parts.append(f"seed {usage.seed}")
    return " · ".join(parts)
