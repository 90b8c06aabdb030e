"""One reply of a llama.cpp model: prompt, prefill in batches, decode token by token, stop.

The evaluation schedule is fixed (batches of `batch_tokens` from the reused prefix on, a cut at a checkpoint where the
cache needs one, then single tokens), so that the same conversation always gives the same greedy reply.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from engines.backends.llama.native import NativeContext, NativeModel
from engines.backends.llama.prefix_cache import PrefixCache, common_prefix_length
from engines.backends.llama.sampler import Sampler
from engines.backends.llama.tokens import Tokens
from engines.base import ChatMessage, FinishReason, GenerationOptions, Outcome, Piece, Reading, Usage
from engines.chat_template import ChatTemplate
from engines.errors import ContextTooSmallError
from engines.memory import peak_memory_bytes
from engines.reasoning import ends_inside_thinking
from engines.reply_text import ReplyText


@dataclass(slots=True)
class _Measure:
    """The clock readings of one reply, in seconds of a monotonic clock."""

    started: float = field(default_factory=time.perf_counter)
    prefill_started: float = 0.0
    first_token: float | None = None
    last_token: float = 0.0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    seed: int = 0

    def token(self) -> None:
        self.last_token = time.perf_counter()
        if self.first_token is None:
            self.first_token = self.last_token
        self.generated_tokens += 1

    def usage(self, context_used_tokens: int, context_tokens: int) -> Usage:
        first = self.first_token
        return Usage(
            prompt_tokens=self.prompt_tokens,
            reused_tokens=self.reused_tokens,
            generated_tokens=self.generated_tokens,
            context_used_tokens=context_used_tokens,
            context_tokens=context_tokens,
            prefill_seconds=(first or time.perf_counter()) - (self.prefill_started or self.started),
            decode_seconds=self.last_token - first if first is not None else 0.0,
            time_to_first_token_seconds=first - self.started if first is not None else None,
            peak_memory_bytes=peak_memory_bytes(),
            seed=self.seed,
        )


class ReplyLoop:
    """Streams replies of one loaded model, one after another."""

    def __init__(
        self,
        model: NativeModel,
        context: NativeContext,
        tokens: Tokens,
        template: ChatTemplate,
        cache: PrefixCache,
        *,
        batch_tokens: int,
    ) -> None:
        self._model = model
        self._context = context
        self.tokens = tokens
        self.template = template
        self.cache = cache
        self._batch_tokens = batch_tokens

    def warm_up(self) -> None:
        """Evaluates one token and forgets it, so that the first reply does not pay for first-use work."""
        self._context.decode_token(self.tokens.any_token())
        self.cache.forget()

    def stream(
        self, messages: tuple[ChatMessage, ...], options: GenerationOptions, is_cancelled: Callable[[], bool]
    ) -> Iterator[Reading | Piece | Outcome]:
        """See Engine.generate."""
        measure = _Measure()
        prompt = self._prompt_text(messages, options)
        prompt_tokens = self.tokens.tokenize(prompt, with_special=True) or [self.tokens.any_token()]
        self._check_room(len(prompt_tokens))
        measure.prompt_tokens = len(prompt_tokens)
        measure.reused_tokens = self.cache.keep_prefix_of(prompt_tokens)
        measure.prefill_started = time.perf_counter()
        completed = yield from self._prefill(
            prompt_tokens, self._turn_end(messages, options, prompt_tokens), is_cancelled
        )
        if not completed:
            yield self._outcome("cancelled", measure)
            return
        text = ReplyText(
            options.stop,
            self.template.reasoning,
            starts_inside_thinking=self._starts_inside_thinking(prompt, messages, options),
        )
        with Sampler(self._model, options, self._reply_so_far(messages, options, prompt_tokens)) as sampler:
            measure.seed = sampler.seed
            reason = yield from self._decode(sampler, text, options.max_tokens, is_cancelled, measure)
        yield from text.flush()
        yield self._outcome(reason, measure)

    def _prefill(
        self, prompt: list[int], checkpoint_at: int, is_cancelled: Callable[[], bool]
    ) -> Generator[Reading, None, bool]:
        """Reads what is not in the cache yet; returns False when cancelled."""
        done_before = len(self.cache.tokens)
        total = len(prompt) - done_before
        yield Reading(0, total)
        while (position := len(self.cache.tokens)) < len(prompt):
            if is_cancelled():
                return False
            end = min(position + self._batch_tokens, len(prompt))
            if position < checkpoint_at < end:
                end = checkpoint_at
            batch = prompt[position:end]
            if not self._context.decode_prompt(batch, is_cancelled):
                self.cache.rewind(position)  # a part of the batch may have got into the cache
                return False
            self.cache.add(batch)
            if end == checkpoint_at:
                self.cache.checkpoint()
            yield Reading(end - done_before, total)
        return True

    def _decode(
        self,
        sampler: Sampler,
        text: ReplyText,
        max_tokens: int | None,
        is_cancelled: Callable[[], bool],
        measure: _Measure,
    ) -> Generator[Piece, None, FinishReason]:
        """Samples and evaluates token by token; returns why it ended. The hot path: nothing here that need not be."""
        sample, decode, feed = sampler.sample, self._context.decode_token, text.feed
        bytes_of, ends_reply, remember = self.tokens.bytes_of, self.tokens.ends_reply, self.cache.add_one
        context = self._context
        room = context.context_tokens - len(self.cache.tokens)
        limit = room if max_tokens is None else min(max_tokens, room)
        for number in range(1, limit + 1):
            if is_cancelled():
                return "cancelled"
            token = sample(context)
            measure.token()
            if ends_reply(token):
                return "end"
            yield from feed(bytes_of(token))
            if text.stopped:
                return "stop"
            if number < limit:
                decode(token)
                remember(token)
        return "length" if max_tokens is not None and max_tokens <= room else "context"

    def _prompt_text(self, messages: tuple[ChatMessage, ...], options: GenerationOptions) -> str:
        if _continues(messages, options):
            return self.template.render_unfinished(messages, thinking=options.thinking)
        return self.template.render(messages, thinking=options.thinking)

    def _turn_end(self, messages: tuple[ChatMessage, ...], options: GenerationOptions, prompt: list[int]) -> int:
        """Where the last user turn ends, in tokens: the point that later turns and a regeneration come back to.

        -1 where the cache can go back to any point anyway.
        """
        if not self.cache.needs_checkpoints:
            return -1
        asked = messages[:-1] if _continues(messages, options) else messages
        before = self.template.render(asked, add_generation_prompt=False, thinking=options.thinking)
        head = self.tokens.tokenize(before, with_special=True)
        return min(common_prefix_length(head, prompt), len(prompt) - 1)

    def _starts_inside_thinking(
        self, prompt: str, messages: tuple[ChatMessage, ...], options: GenerationOptions
    ) -> bool:
        if ends_inside_thinking(self.template.reasoning, prompt):
            return True
        last = messages[-1]
        return _continues(messages, options) and bool(last.thinking) and not last.content

    def _reply_so_far(
        self, messages: tuple[ChatMessage, ...], options: GenerationOptions, prompt: list[int]
    ) -> list[int]:
        """The tokens of a reply that is being continued: what the repetition penalties begin with."""
        if not _continues(messages, options):
            return []
        asked = self.template.render(messages[:-1], thinking=options.thinking)
        return prompt[len(self.tokens.tokenize(asked, with_special=True)) :]

    def _check_room(self, prompt_tokens: int) -> None:
        limit = self._context.context_tokens
        if prompt_tokens >= limit:
            raise ContextTooSmallError(
                "This conversation is longer than the model can read at once.",
                "Start a new chat, shorten your message, or load the model with more context.",
                f"{prompt_tokens:,} tokens of conversation, {limit:,} tokens of context",
            )

    def _outcome(self, reason: FinishReason, measure: _Measure) -> Outcome:
        return Outcome(reason, measure.usage(len(self.cache.tokens), self._context.context_tokens))


def _continues(messages: tuple[ChatMessage, ...], options: GenerationOptions) -> bool:
    return options.continue_last and bool(messages) and messages[-1].role == "assistant"
