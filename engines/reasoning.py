"""Recognises reasoning inside a reply and sends it apart from the answer. Text in, (kind, text) out; nothing native.

Three families of markers are known, found by looking into the model's chat template: tags (`<think>`, Qwen, DeepSeek,
Nemotron; `[THINK]`, Mistral), channels of gpt-oss (harmony) and channels of Gemma 4. A model without any of them has
no reasoning as far as Snug is concerned, so that an answer *about* such tags stays an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engines.base import PieceKind

_Action = Literal["thinking", "text", "drop"]


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    """Markers of one family. `only_at_start`: an opening marker counts only before the first word of the answer."""

    name: str
    opening: tuple[str, ...]
    closing: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    only_at_start: bool = True

    @property
    def control_texts(self) -> tuple[str, ...]:
        """Texts of control tokens that must reach the splitter instead of being left out of the reply."""
        return {
            "think": ("<think>", "</think>"),
            "bracket-think": ("[THINK]", "[/THINK]"),
            "harmony": ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>"),
            "gemma-channel": ("<|channel>", "<channel|>"),
        }[self.name]


THINK = ReasoningFormat("think", ("<think>",), ("</think>",))
BRACKET_THINK = ReasoningFormat("bracket-think", ("[THINK]",), ("[/THINK]",))
HARMONY = ReasoningFormat(
    "harmony",
    ("<|channel|>analysis<|message|>", "<|channel|>commentary<|message|>"),
    ("<|channel|>final<|message|>",),
    ("<|start|>assistant", "<|end|>"),
    only_at_start=False,
)
GEMMA_CHANNEL = ReasoningFormat(
    "gemma-channel", ("<|channel>thought\n", "<|channel>thought"), ("<channel|>",), only_at_start=False
)


def format_of_template(template: str) -> ReasoningFormat | None:
    """The reasoning markers that a chat template speaks of, or None."""
    if "<|channel|>" in template and "<|message|>" in template:
        return HARMONY
    if "<|channel>" in template and "<channel|>" in template:
        return GEMMA_CHANNEL
    if "</think>" in template:
        return THINK
    if "[/THINK]" in template:
        return BRACKET_THINK
    return None


def ends_inside_thinking(reasoning: ReasoningFormat | None, prompt: str) -> bool:
    """Whether a rendered prompt has already opened the reasoning, so that the reply begins inside it."""
    if reasoning is None:
        return False
    tail = prompt.rstrip()
    return any(tail.endswith(marker.rstrip()) for marker in reasoning.opening)


class ReasoningSplitter:
    """Cuts a growing reply at its markers. A marker that arrives in parts is never shown in part."""

    def __init__(self, reasoning: ReasoningFormat | None, *, starts_inside: bool = False) -> None:
        self._format = reasoning
        self._kind: PieceKind = "thinking" if starts_inside else "text"
        self._held = ""
        self._answer_begun = False
        self._strip_next = starts_inside

    @property
    def kind(self) -> PieceKind:
        """What the next piece of text will be."""
        return self._kind

    def feed(self, text: str) -> list[tuple[PieceKind, str]]:
        """Takes the next stretch, returns what is certain by now."""
        if self._format is None:
            return [("text", text)] if text else []
        self._held += text
        out: list[tuple[PieceKind, str]] = []
        while self._held:
            found = self._first_marker()
            if found is None:
                keep = self._possible_marker_length()
                self._emit(out, self._held[: len(self._held) - keep])
                self._held = self._held[len(self._held) - keep :]
                break
            position, marker, action = found
            if self._may_grow(position, marker):
                self._emit(out, self._held[:position])
                self._held = self._held[position:]
                break
            self._emit(out, self._held[:position])
            self._held = self._held[position + len(marker) :]
            self._switch(action)
        return out

    def flush(self) -> list[tuple[PieceKind, str]]:
        """What was held back, at the end of the reply."""
        held, self._held = self._held, ""
        out: list[tuple[PieceKind, str]] = []
        for marker, action in self._markers():
            if held == marker:  # a marker that might have grown, but the reply ended
                self._switch(action)
                return out
        self._emit(out, held)
        return out

    def _markers(self) -> list[tuple[str, _Action]]:
        reasoning = self._format
        if reasoning is None:
            return []
        markers: list[tuple[str, _Action]] = [(marker, "drop") for marker in reasoning.dropped]
        if not reasoning.only_at_start or (self._kind == "text" and not self._answer_begun):
            markers += [(marker, "thinking") for marker in reasoning.opening]
        if self._kind == "thinking" or not reasoning.only_at_start:
            markers += [(marker, "text") for marker in reasoning.closing]
        return markers

    def _first_marker(self) -> tuple[int, str, _Action] | None:
        best: tuple[int, str, _Action] | None = None
        for marker, action in self._markers():
            position = self._held.find(marker)
            if position < 0:
                continue
            at_start = self._format is not None and self._format.only_at_start
            if action == "thinking" and at_start and self._held[:position].strip():
                continue  # words stand before it: the answer has begun
            if best is None or (position, -len(marker)) < (best[0], -len(best[1])):
                best = (position, marker, action)
        return best

    def _may_grow(self, position: int, marker: str) -> bool:
        """Whether the text from `position` might still become a longer marker than the one found."""
        tail = self._held[position:]
        return any(
            len(other) > len(marker) and other.startswith(tail) and len(tail) < len(other)
            for other, _ in self._markers()
        )

    def _possible_marker_length(self) -> int:
        """Length of the longest end of the held text that a marker begins with."""
        markers = [marker for marker, _ in self._markers()]
        longest = max((len(marker) for marker in markers), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(marker.startswith(self._held[-length:]) for marker in markers):
                return length
        return 0

    def _switch(self, action: _Action) -> None:
        if action == "drop":
            return
        self._kind = "thinking" if action == "thinking" else "text"
        self._strip_next = True

    def _emit(self, out: list[tuple[PieceKind, str]], text: str) -> None:
        if self._strip_next:
            text = text.lstrip("\n")  # the line breaks that surround a marker belong to it
        if not text:
            return
        self._strip_next = False
        if self._kind == "text" and text.strip():
            self._answer_begun = True
        out.append((self._kind, text))
