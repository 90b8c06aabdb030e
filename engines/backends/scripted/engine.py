"""The scripted engine itself: plays one script through the door that all engines share."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from engines.backends.scripted.misdeeds import misbehave
from engines.backends.scripted.script import ReplyScript, Script, read_script
from engines.base import (
    ChatMessage,
    Engine,
    FinishReason,
    GenerationOptions,
    LoadCancelled,
    LoadedModel,
    LoadSettings,
    Outcome,
    Piece,
    Reading,
    Usage,
)
from engines.errors import ContextTooSmallError
from engines.reasoning import THINK
from engines.reply_text import ReplyText

MESSAGE_TOKENS = 4
"""What the frame of a message costs, beside its words."""

_THINKING_BEGINS = b"<think>"
_THINKING_ENDS = b"</think>"

_SLICE_S = 0.01
"""The longest nap between two looks at the cancel flag."""


@dataclass(slots=True)
class _Run:
    """What is counted during one reply."""

    prompt_tokens: int
    reused_tokens: int
    seed: int
    generated: list[bytes] = field(default_factory=list)
    started_at: float = field(default_factory=time.perf_counter)
    read_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0


class ScriptedEngine(Engine):
    """Plays one script."""

    def __init__(self) -> None:
        self._script: Script | None = None
        self._context_tokens = 0
        self._batch_tokens = 1
        self._cache: list[bytes] = []

    def load(
        self,
        model_path: Path,
        settings: LoadSettings,
        on_progress: Callable[[float], bool],
    ) -> LoadedModel:
        started_at = time.perf_counter()
        script = read_script(model_path)
        for step in range(script.load.steps):
            if not on_progress(step / script.load.steps):
                raise LoadCancelled
            _nap(script.load.step_seconds, lambda: False)
        if script.load.misbehaves is not None:
            misbehave(script.load.misbehaves)
        if script.load.fails is not None:
            raise script.load.fails.error()
        if not on_progress(1.0):
            raise LoadCancelled
        self._script = script
        self._cache = []
        self._context_tokens = min(settings.context_tokens or script.context_tokens, script.context_tokens)
        self._batch_tokens = max(1, settings.batch_tokens)
        can_think = script.can_think
        return LoadedModel(
            model_name=script.name or model_path.stem,
            architecture="scripted",
            context_tokens=self._context_tokens,
            trained_context_tokens=script.context_tokens,
            weights_bytes=script.load.weights_bytes,
            memory_bytes=_resident_bytes(),
            threads=settings.threads or 1,
            device="cpu",
            cache_kind="plain",
            has_chat_template=True,
            can_think=any(reply.thinking for reply in script.reply) if can_think is None else can_think,
            load_seconds=time.perf_counter() - started_at,
        )

    def generate(
        self,
        messages: tuple[ChatMessage, ...],
        options: GenerationOptions,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Reading | Piece | Outcome]:
        script = self._script
        if script is None:
            raise RuntimeError("generate was called before load")
        prompt = self._prompt_tokens(messages, options)
        reused = _common_length(self._cache, prompt)
        # As in a real engine the last token is always read again: its output is what the reply starts from.
        reused = min(reused, len(prompt) - 1)
        seed = options.seed if options.seed is not None else random.randrange(2**31)  # noqa: S311 - not a secret
        run = _Run(prompt_tokens=len(prompt), reused_tokens=reused, seed=seed)
        del self._cache[reused:]
        reply = _choose(script, messages, seed)
        if reply.misbehaves is not None and reply.misbehaves.when == "prompt":
            misbehave(reply.misbehaves)
        for done in range(reused, len(prompt), self._batch_tokens):
            if is_cancelled():
                yield self._outcome("cancelled", run)
                return
            _nap(script.prompt.batch_seconds, is_cancelled)
            self._cache = prompt[: done + self._batch_tokens]
            yield Reading(min(done + self._batch_tokens, len(prompt)) - reused, len(prompt) - reused)
        run.read_at = time.perf_counter()
        yield from self._reply(reply, _reply_tokens(script, reply, messages, options), run, options, is_cancelled)

    def count_tokens(self, text: str) -> int:
        return len(_tokens(text, self._script.token_bytes if self._script is not None else 0))

    def close(self) -> None:
        self._script = None
        self._cache = []

    def _prompt_tokens(self, messages: tuple[ChatMessage, ...], options: GenerationOptions) -> list[bytes]:
        assert self._script is not None
        frame = [b"<frame>"] * (MESSAGE_TOKENS - 2)
        prompt: list[bytes] = []
        for index, message in enumerate(messages):
            is_open = options.continue_last and index == len(messages) - 1
            prompt += [f"<{message.role}>".encode(), *frame]
            prompt += _tokens(message.content, self._script.token_bytes)
            prompt += [] if is_open else [b"<end>"]
        if not options.continue_last:
            prompt += [b"<assistant>", *frame]
        if len(prompt) >= self._context_tokens:
            raise ContextTooSmallError(
                "The conversation is longer than the context of the model.",
                "Start a new conversation, or load the model with a larger context.",
                f"{len(prompt)} tokens, {self._context_tokens} fit",
            )
        return prompt

    def _reply(
        self,
        reply: ReplyScript,
        tokens: list[bytes],
        run: _Run,
        options: GenerationOptions,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Piece | Outcome]:
        has_thinking = tokens[:1] == [_THINKING_BEGINS]
        text = ReplyText(options.stop, THINK if has_thinking else None)
        reason: FinishReason = "end"
        for token in tokens:
            _act(reply, len(run.generated))
            if len(self._cache) >= self._context_tokens:
                reason = "context"
                break
            if options.max_tokens is not None and len(run.generated) >= options.max_tokens:
                reason = "length"
                break
            _nap(reply.token_seconds, is_cancelled)
            if is_cancelled():
                reason = "cancelled"
                break
            self._note_token(token, run)
            yield from text.feed(token)
            if text.stopped:
                reason = "stop"
                break
        else:
            _act(reply, len(run.generated))
        if reply.misbehaves is not None and reply.misbehaves.how == "no_end":
            return
        yield from text.flush()
        yield self._outcome(reason, run)

    def _note_token(self, token: bytes, run: _Run) -> None:
        run.last_token_at = time.perf_counter()
        if not run.generated:
            run.first_token_at = run.last_token_at
        run.generated.append(token)
        self._cache.append(token)

    def _outcome(self, reason: FinishReason, run: _Run) -> Outcome:
        now = time.perf_counter()
        usage = Usage(
            prompt_tokens=run.prompt_tokens,
            reused_tokens=run.reused_tokens,
            generated_tokens=len(run.generated),
            context_used_tokens=len(self._cache),
            context_tokens=self._context_tokens,
            prefill_seconds=(run.read_at or now) - run.started_at,
            decode_seconds=run.last_token_at - run.first_token_at,
            time_to_first_token_seconds=run.first_token_at - run.started_at if run.generated else None,
            peak_memory_bytes=_resident_bytes(),
            seed=run.seed,
        )
        return Outcome(reason, usage)


def _act(reply: ReplyScript, generated_tokens: int) -> None:
    if reply.fails is not None and reply.fails.after_tokens == generated_tokens:
        raise reply.fails.error()
    misdeed = reply.misbehaves
    if misdeed is not None and misdeed.when == "reply" and misdeed.after_tokens == generated_tokens:
        misbehave(misdeed)


def _choose(script: Script, messages: tuple[ChatMessage, ...], seed: int) -> ReplyScript:
    if script.choose == "seed":
        return random.Random(seed).choice(script.reply)  # noqa: S311 - repeatable on purpose
    return script.reply[(_turn(messages) - 1) % len(script.reply)]


def _reply_tokens(
    script: Script, reply: ReplyScript, messages: tuple[ChatMessage, ...], options: GenerationOptions
) -> list[bytes]:
    text = _fill(reply.text, messages) * reply.repeat
    thinking = reply.thinking if options.thinking is not False else ""
    if options.continue_last and messages and messages[-1].role == "assistant":
        begun = messages[-1].content
        text = text.removeprefix(begun)
        thinking = "" if begun else thinking
    tokens = _tokens(text, script.token_bytes)
    if thinking:
        return [_THINKING_BEGINS, *_tokens(thinking, script.token_bytes), _THINKING_ENDS, *tokens]
    return tokens


def _fill(text: str, messages: tuple[ChatMessage, ...]) -> str:
    user = next((message.content for message in reversed(messages) if message.role == "user"), "")
    system = next((message.content for message in messages if message.role == "system"), "")
    values = {
        "turn": str(_turn(messages)),
        "user": user,
        "user_characters": str(len(user)),
        "system": system,
        "messages": str(len(messages)),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), text)


def _turn(messages: tuple[ChatMessage, ...]) -> int:
    return max(1, sum(message.role == "user" for message in messages))


def _tokens(text: str, token_bytes: int) -> list[bytes]:
    data = text.encode("utf-8", "replace")
    if token_bytes > 0:
        return [data[start : start + token_bytes] for start in range(0, len(data), token_bytes)]
    return re.findall(rb"\s*\S+|\s+$", data)


def _common_length(first: list[bytes], second: list[bytes]) -> int:
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length


def _nap(seconds: float, is_cancelled: Callable[[], bool]) -> None:
    until = time.perf_counter() + seconds
    while (left := until - time.perf_counter()) > 0 and not is_cancelled():
        time.sleep(min(left, _SLICE_S))


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)
