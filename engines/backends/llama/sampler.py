"""The sampler chain, in native code: penalties, top-k, top-p, min-p, temperature, then a seeded draw (or greedy)."""

from __future__ import annotations

import ctypes
import secrets
from types import TracebackType
from typing import Any

import llama_cpp.llama_cpp as llama

from engines.backends.llama.native import NativeContext, NativeModel
from engines.base import GenerationOptions

_SUPPRESSED = -1e30


class Sampler:
    """One reply's sampler; a context manager that frees the native chain.

    `seed` is the one in use: the caller's, or a fresh one. The penalties look at the reply alone, not at the prompt:
    a penalty on the question's own words makes a small model avoid the answer (seen with SmolLM2). `reply_so_far`
    are the tokens of a reply that is being continued.
    """

    def __init__(self, model: NativeModel, options: GenerationOptions, reply_so_far: list[int]) -> None:
        self.seed = secrets.randbits(31) if options.seed is None else options.seed & 0xFFFFFFFF
        parameters = llama.llama_sampler_chain_default_params()
        parameters.no_perf = True
        self._chain: Any = llama.llama_sampler_chain_init(parameters)
        self._add_suppressed(model)
        penalised = (options.repeat_penalty, options.frequency_penalty, options.presence_penalty) != (1.0, 0.0, 0.0)
        if penalised and options.repeat_last_tokens > 0:
            self._add(
                llama.llama_sampler_init_penalties(
                    model.vocabulary_size,
                    options.repeat_last_tokens,
                    max(options.repeat_penalty, 0.01),
                    options.frequency_penalty,
                    options.presence_penalty,
                )
            )
        if options.temperature <= 0:
            self._add(llama.llama_sampler_init_greedy())
        else:
            if options.top_k > 0:
                self._add(llama.llama_sampler_init_top_k(options.top_k))
            if options.top_p < 1:
                self._add(llama.llama_sampler_init_top_p(max(options.top_p, 0.0), 1))
            if options.min_p > 0:
                self._add(llama.llama_sampler_init_min_p(options.min_p, 1))
            self._add(llama.llama_sampler_init_temp(options.temperature))
            self._add(llama.llama_sampler_init_dist(self.seed))
        if penalised:
            for token in reply_so_far[-options.repeat_last_tokens :]:
                llama.llama_sampler_accept(self._chain, token)

    def _add(self, sampler: Any) -> None:
        llama.llama_sampler_chain_add(self._chain, sampler)

    def _add_suppressed(self, model: NativeModel) -> None:
        """Tokens that the model's file says must never be sampled."""
        count = ctypes.c_int32(0)
        tokens = llama.llama_vocab_get_suppress_tokens(model.vocabulary, ctypes.byref(count))
        if count.value <= 0 or not tokens:
            return
        biases = (llama.llama_logit_bias * count.value)()
        for index in range(count.value):
            biases[index].token = tokens[index]
            biases[index].bias = _SUPPRESSED
        self._add(llama.llama_sampler_init_logit_bias(model.vocabulary_size, count.value, biases))

    def sample(self, context: NativeContext) -> int:
        """Draws the next token from the logits of the last evaluated one, and remembers it."""
        return int(llama.llama_sampler_sample(self._chain, context.handle, -1))

    def __enter__(self) -> Sampler:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        llama.llama_sampler_free(self._chain)
        self._chain = None
