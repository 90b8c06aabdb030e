"""Prefix reuse: never wrong, for every kind of cache. Logits after reuse are compared with those of a full re-read.

Tolerance. What is compared is the same forward pass over the same tokens; where both sides use the same batches the
difference was exactly 0 in every case measured here, and 1e-3 is allowed. A reply is evaluated token by token and re-
read in batches, which are other kernels with other roundings of the quantized activations: SmolLM2 (Q4_1) then moves
by up to 1.22 logits over 512 positions, of a standard deviation of 2.6; 2 is allowed. A rollback can leave the
sliding-window cells in another order, which changes the order of summation: Gemma 3 270M (Q4_K_M) then moves by up to
3.4 logits over 512 positions, of a standard deviation of 4.0, about as much as it moves when only the batch split
changes; 5 is allowed. An emptied window moves it by more than 16 (measured by
`test_a_wrongly_emptied_window_would_be_caught`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import checkpoints
from engines.backends.llama.prefix_cache import PrefixCache, common_prefix_length

EXACT = 1e-3
SMOLLM2_TOLERANCE = 2.0
GEMMA_TOLERANCE = 5.0

STORY = Path(__file__).parents[4] / "tests" / "data" / "tiny_models" / "README.md"


def evaluate(engine: Any, prompt: list[int], checkpoint_at: int = -1) -> int:
    """Brings the engine's cache to `prompt` as the loop does; says how many tokens were reused."""
    reused = engine._loop.cache.keep_prefix_of(prompt)
    list(engine._loop._prefill(prompt, checkpoint_at, lambda: False))
    assert engine._loop.cache.tokens == prompt
    assert engine._context.last_position() == len(prompt) - 1
    return int(reused)


def say(engine: Any, tokens: list[int]) -> None:
    """A reply, token by token."""
    for token in tokens:
        engine._context.decode_token(token)
        engine._loop.cache.add_one(token)


def compare(first: Any, second: Any, forced: list[int], logits: Any, tolerance: float) -> float:
    """Feeds the same tokens to both, compares the logits before each; returns the largest difference.

    Where the two best tokens differ by more than the tolerance, the best one must be the same.
    """
    worst = 0.0
    for token in forced:
        one, other = logits(first), logits(second)
        worst = max(worst, float(np.abs(one - other).max()))
        best, second_best = np.sort(other)[-1], np.sort(other)[-2]
        if best - second_best > tolerance:
            assert one.argmax() == other.argmax()
        say(first, [token])
        say(second, [token])
    return worst


def text_tokens(engine: Any, count: int) -> list[int]:
    text = STORY.read_text(encoding="utf-8") * 4
    tokens: list[int] = engine._loop.tokens.tokenize(text, with_special=False)
    assert len(tokens) >= count
    return tokens[:count]


@pytest.mark.model
@pytest.mark.parametrize(("length", "positions"), [(120, 24), pytest.param(600, 512, marks=pytest.mark.slow)])
def test_reuse_equals_a_full_re_read(load: Any, logits: Any, smollm2_path: Path, length: int, positions: int) -> None:
    reused_engine, fresh = load(smollm2_path), load(smollm2_path)
    tokens = text_tokens(fresh, length + 400 + positions)
    evaluate(reused_engine, tokens[:length])
    say(reused_engine, tokens[length : length + 40])
    changed = tokens[: length - 20] + tokens[length + 100 : length + 200]
    assert evaluate(reused_engine, changed) == length - 20
    evaluate(fresh, changed)
    assert compare(reused_engine, fresh, tokens[-positions:], logits, EXACT) <= EXACT


@pytest.mark.model
@pytest.mark.slow
def test_a_reused_reply_stays_within_the_noise_of_the_batch_split(load: Any, logits: Any, smollm2_path: Path) -> None:
    """The next turn: the reply was evaluated one by one, the re-read takes it in batches."""
    reused_engine, fresh = load(smollm2_path), load(smollm2_path)
    tokens = text_tokens(fresh, 1312)
    evaluate(reused_engine, tokens[:300])
    say(reused_engine, tokens[300:400])
    assert evaluate(reused_engine, tokens[:600]) == 400
    evaluate(fresh, tokens[:600])
    assert compare(reused_engine, fresh, tokens[800:1312], logits, SMOLLM2_TOLERANCE) <= SMOLLM2_TOLERANCE


@pytest.mark.model
@pytest.mark.slow
def test_a_sliding_window_rolled_back_within_the_cache_equals_a_full_re_read(
    load: Any, logits: Any, gemma3_path: Path
) -> None:
    """A prompt of 1,324 tokens (window 512), a short reply, then another end of the prompt."""
    reused_engine, fresh = load(gemma3_path, context_tokens=3072), load(gemma3_path, context_tokens=3072)
    tokens = text_tokens(fresh, 2512)
    evaluate(reused_engine, tokens[:1324])
    say(reused_engine, tokens[1324:1344])
    changed = tokens[:1304] + tokens[1599:1499:-1]
    assert evaluate(reused_engine, changed) == 1304
    evaluate(fresh, changed)
    assert compare(reused_engine, fresh, tokens[2000:2512], logits, GEMMA_TOLERANCE) <= GEMMA_TOLERANCE


@pytest.mark.model
@pytest.mark.slow
def test_a_sliding_window_rolled_back_beyond_the_cache_is_restored_or_read_again(
    load: Any, logits: Any, gemma3_path: Path
) -> None:
    reused_engine, fresh = load(gemma3_path, context_tokens=3072), load(gemma3_path, context_tokens=3072)
    tokens = text_tokens(fresh, 2512)
    changed = tokens[:1304] + tokens[1599:1499:-1]
    # Without a checkpoint nothing can be kept.
    evaluate(reused_engine, tokens[:1304])
    say(reused_engine, tokens[1304:1704])
    assert evaluate(reused_engine, changed) == 0
    evaluate(fresh, changed)
    assert compare(reused_engine, fresh, tokens[2000:2016], logits, EXACT) <= EXACT
    # With one, everything before it.
    reused_engine._loop.cache.forget()
    evaluate(reused_engine, tokens[:1400], checkpoint_at=1304)
    say(reused_engine, tokens[1400:1800])
    assert evaluate(reused_engine, changed) == 1304
    fresh._loop.cache.forget()
    evaluate(fresh, changed)
    assert compare(reused_engine, fresh, tokens[2000:2128], logits, GEMMA_TOLERANCE) <= GEMMA_TOLERANCE


@pytest.mark.model
@pytest.mark.slow
def test_a_wrongly_emptied_window_would_be_caught(
    load: Any, logits: Any, gemma3_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison above is worth something: without the check of the window it fails by a wide margin."""
    broken, fresh = load(gemma3_path, context_tokens=3072), load(gemma3_path, context_tokens=3072)
    tokens = text_tokens(fresh, 2032)
    evaluate(broken, tokens[:1324])
    say(broken, tokens[1324:1624])
    monkeypatch.setattr(PrefixCache, "_is_sound", lambda *_: True)
    changed = tokens[:624] + tokens[1599:1499:-1]
    broken._loop.cache.keep_prefix_of(changed)
    assert len(broken._loop.cache.tokens) == 624
    list(broken._loop._prefill(changed, -1, lambda: False))
    evaluate(fresh, changed)
    with pytest.raises(AssertionError):
        assert compare(broken, fresh, tokens[2000:2032], logits, GEMMA_TOLERANCE) <= GEMMA_TOLERANCE


@pytest.mark.parametrize("model", ["qwen35moe", "nemotron_h_moe"])
def test_a_recurrent_state_is_restored_from_a_checkpoint(load: Any, logits: Any, tiny: Any, model: str) -> None:
    reused_engine, fresh = load(tiny(model)), load(tiny(model))
    tokens = text_tokens(fresh, 1000)
    evaluate(reused_engine, tokens[:700], checkpoint_at=512)
    say(reused_engine, tokens[700:760])
    changed = tokens[:512] + tokens[800:900]
    assert evaluate(reused_engine, changed) == 512
    evaluate(fresh, changed)
    assert compare(reused_engine, fresh, tokens[900:964], logits, EXACT) <= EXACT


@pytest.mark.parametrize("model", ["qwen35moe", "nemotron_h_moe", "deepseek4"])
def test_without_a_checkpoint_a_recurrent_model_reads_everything_again(
    load: Any, logits: Any, tiny: Any, model: str
) -> None:
    reused_engine, fresh = load(tiny(model)), load(tiny(model))
    tokens = text_tokens(fresh, 700)
    evaluate(reused_engine, tokens[:300])
    changed = tokens[:290] + tokens[400:450]
    assert evaluate(reused_engine, changed) == 0
    evaluate(fresh, changed)
    assert compare(reused_engine, fresh, tokens[600:632], logits, EXACT) <= EXACT


@pytest.mark.parametrize("model", ["qwen3", "qwen35moe", "nemotron_h_moe", "gemma4", "gpt-oss", "deepseek4"])
def test_going_on_where_the_conversation_ended_reuses_everything(load: Any, tiny: Any, model: str) -> None:
    engine = load(tiny(model))
    tokens = text_tokens(engine, 500)
    evaluate(engine, tokens[:300])
    say(engine, tokens[300:340])
    assert evaluate(engine, tokens[:400]) == 340


@pytest.mark.parametrize("model", ["qwen3", "qwen35moe", "nemotron_h_moe", "gemma4", "gpt-oss", "deepseek4"])
def test_asking_the_same_again_reads_at_most_the_last_turn(load: Any, ask: Any, tiny: Any, model: str) -> None:
    """Regenerate: everything up to the end of the user's message is still there, whatever the cache."""
    from engines.base import ChatMessage, GenerationOptions

    engine = load(tiny(model))
    messages = (ChatMessage("user", "word " * 200),)
    options = GenerationOptions(temperature=0, max_tokens=40)
    first = ask(engine, messages, options).outcome.usage
    again = ask(engine, messages, options).outcome.usage
    assert again.prompt_tokens - again.reused_tokens <= 24
    assert first.reused_tokens == 0


class FakeMemory:
    """A memory that does what a test says; the real ones are above."""

    def __init__(self, *, removes: bool, first: int, state_bytes: int = 100 * 1024 * 1024) -> None:
        self.state_bytes, self.saved = state_bytes, 0
        self.removes, self.first, self.last, self.cleared = removes, first, -1, 0

    def clear(self) -> None:
        self.last, self.cleared = -1, self.cleared + 1

    def remove_from(self, position: int) -> bool:
        if self.removes:
            self.last = position - 1
        return self.removes

    def first_position(self) -> int:
        return self.first

    def last_position(self) -> int:
        return self.last

    def partial_state_bytes(self) -> int:
        return self.state_bytes

    def save_partial_state(self) -> bytearray:
        self.saved += 1
        return bytearray(self.state_bytes)

    def restore_partial_state(self, state: bytearray) -> bool:
        return False


@pytest.mark.parametrize(("first", "kept"), [(0, 50), (18, 50), (19, 0), (-1, 0)])
def test_a_window_that_reaches_back_far_enough_is_kept(first: int, kept: int) -> None:
    memory = FakeMemory(removes=True, first=first)
    cache = PrefixCache(memory, sliding_window_tokens=32, is_recurrent=False)
    cache.add(list(range(100)))
    memory.last = 99
    assert cache.keep_prefix_of([*range(50), 1000, 1001]) == kept
    assert memory.cleared == (0 if kept else 1)


def test_old_checkpoints_go_when_the_budget_is_full() -> None:
    memory = FakeMemory(removes=False, first=0)
    cache = PrefixCache(memory, sliding_window_tokens=0, is_recurrent=True)
    for length in (10, 20, 30, 40):
        cache.add(list(range(10)))
        memory.last = length - 1
        cache.checkpoint()
    assert [point.length for point in cache._checkpoints] == [30, 40]


def test_states_are_never_more_than_the_fit_counts() -> None:
    memory = FakeMemory(removes=False, first=0, state_bytes=1000)
    cache = PrefixCache(memory, sliding_window_tokens=0, is_recurrent=True)
    for _ in range(checkpoints.MOST_STATES + 8):
        cache.add([1])
        cache.checkpoint()
    kept = sum(len(point.state) for point in cache._checkpoints)
    assert kept == checkpoints.budget_bytes(1000) == 32 * 1000


def test_a_state_that_is_too_large_is_not_even_made() -> None:
    memory = FakeMemory(removes=False, first=0, state_bytes=checkpoints.LARGEST_STATE_BYTES + 1)
    cache = PrefixCache(memory, sliding_window_tokens=0, is_recurrent=True)
    cache.add([1, 2, 3])
    cache.checkpoint()
    assert memory.saved == 0


def test_the_last_token_of_a_prompt_is_always_read() -> None:
    memory = FakeMemory(removes=True, first=0)
    cache = PrefixCache(memory, sliding_window_tokens=0, is_recurrent=False)
    cache.add([1, 2, 3])
    memory.last = 2
    assert cache.keep_prefix_of([1, 2, 3]) == 2


@pytest.mark.parametrize(
    ("first", "second", "length"), [([], [1], 0), ([1, 2, 3], [1, 2, 3, 4], 3), ([1, 2, 9, 4], [1, 2, 3, 4], 2)]
)
def test_common_prefix(first: list[int], second: list[int], length: int) -> None:
    assert common_prefix_length(first, second) == length
