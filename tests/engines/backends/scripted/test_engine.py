"""What only the scripted engine promises: figures that can be foretold. The rest is in the contract suite."""

import time

import pytest

from engines.backends.scripted.engine import MESSAGE_TOKENS, ScriptedEngine
from engines.base import ChatMessage, GenerationOptions, LoadCancelled, LoadSettings, Outcome, Piece, Reading
from engines.errors import ContextTooSmallError, UnsupportedModelError

FRAME = MESSAGE_TOKENS - 1
"""Tokens of the reply's own frame, which has no end yet."""


@pytest.fixture
def load_engine(write_script):
    engines = []

    def load(body: str, **settings) -> ScriptedEngine:
        engine = ScriptedEngine()
        engine.load(write_script(body), LoadSettings(**settings), lambda _: True)
        engines.append(engine)
        return engine

    yield load
    for engine in engines:
        engine.close()


def user(text: str) -> ChatMessage:
    return ChatMessage("user", text)


def assistant(text: str) -> ChatMessage:
    return ChatMessage("assistant", text)


def play(engine, *messages, is_cancelled=lambda: False, **options):
    items = list(engine.generate(messages, GenerationOptions(**options), is_cancelled))
    outcome = items[-1]
    assert isinstance(outcome, Outcome) and sum(isinstance(item, Outcome) for item in items) == 1
    text = "".join(item.text for item in items if isinstance(item, Piece) and item.kind == "text")
    return text, outcome, items


def test_replies_come_by_turn_and_go_round(load_engine):
    engine = load_engine('[[reply]]\ntext = "one"\n[[reply]]\ntext = "two"\n')
    assert play(engine, user("a"))[0] == "one"
    assert play(engine, user("a"), assistant("one"), user("b"))[0] == "two"
    assert play(engine, user("a"), assistant("one"), user("b"), assistant("two"), user("c"))[0] == "one"


def test_replies_can_come_by_seed(load_engine):
    body = 'choose = "seed"\n' + "".join(f'[[reply]]\ntext = "{number}"\n' for number in range(20))
    engine = load_engine(body)
    texts = [play(engine, user("a"), seed=seed)[0] for seed in range(10)]
    assert texts == [play(engine, user("a"), seed=seed)[0] for seed in range(10)]
    assert len(set(texts)) > 3


def test_a_reply_may_speak_of_the_conversation(load_engine):
    engine = load_engine('[[reply]]\ntext = "{turn} {user} {user_characters} {system} {messages} {other}"\n')
    assert play(engine, ChatMessage("system", "sys"), user("Hey"))[0] == "1 Hey 3 sys 2 {other}"


def test_usage_can_be_foretold(load_engine):
    engine = load_engine('[[reply]]\ntext = "one two three"\n', batch_tokens=4)
    _, outcome, items = play(engine, user("a b"), seed=9)
    prompt = MESSAGE_TOKENS + 2 + FRAME
    usage = outcome.usage
    assert (usage.prompt_tokens, usage.reused_tokens, usage.generated_tokens, usage.seed) == (prompt, 0, 3, 9)
    assert usage.context_used_tokens == prompt + 3
    assert [item for item in items if isinstance(item, Reading)] == [
        Reading(4, prompt),
        Reading(8, prompt),
        Reading(prompt, prompt),
    ]


def test_a_next_turn_reuses_all_that_is_the_same(load_engine):
    engine = load_engine('[[reply]]\ntext = "one two three"\n')
    first = play(engine, user("a b"))[1].usage
    usage = play(engine, user("a b"), assistant("one two three"), user("c"))[1].usage
    assert usage.reused_tokens == first.prompt_tokens + 3
    assert usage.prompt_tokens == first.prompt_tokens + 3 + 1 + MESSAGE_TOKENS + 1 + FRAME
    # Another beginning: nothing but the mark of the first message and its frame is the same.
    assert play(engine, user("other words"))[1].usage.reused_tokens == FRAME


def test_an_unfinished_reply_is_continued_where_it_stops(load_engine):
    engine = load_engine('[[reply]]\nthinking = "hm"\ntext = "one two three"\n')
    text, outcome, items = play(engine, user("a"), assistant("one two"), continue_last=True)
    assert text == " three" and outcome.usage.generated_tokens == 1
    assert not any(isinstance(item, Piece) and item.kind == "thinking" for item in items)


@pytest.mark.parametrize(("thinking", "expected"), [(None, "so be it"), (True, "so be it"), (False, "")])
def test_thinking_comes_first_and_can_be_switched_off(load_engine, thinking, expected):
    engine = load_engine('[[reply]]\nthinking = "so be it"\ntext = "Yes."\n')
    text, _, items = play(engine, user("a"), thinking=thinking)
    thoughts = [item.text for item in items if isinstance(item, Piece) and item.kind == "thinking"]
    assert text == "Yes." and "".join(thoughts) == expected


@pytest.mark.parametrize(
    ("body", "can_think"),
    [
        ('[[reply]]\ntext = "a"\n', False),
        ('[[reply]]\ntext = "a"\nthinking = "b"\n', True),
        ('can_think = true\n[[reply]]\ntext = "a"\n', True),
    ],
)
def test_it_says_whether_it_can_think(write_script, body, can_think):
    model = ScriptedEngine().load(write_script(body), LoadSettings(), lambda _: True)
    assert model.can_think is can_think


def test_the_context_is_never_larger_than_trained(write_script):
    engine, body = ScriptedEngine(), 'context_tokens = 100\n[[reply]]\ntext = "a"\n'
    assert engine.load(write_script(body), LoadSettings(), lambda _: True).context_tokens == 100
    assert engine.load(write_script(body), LoadSettings(context_tokens=60), lambda _: True).context_tokens == 60
    assert engine.load(write_script(body), LoadSettings(context_tokens=600), lambda _: True).context_tokens == 100


def test_a_prompt_needs_room_for_at_least_one_token_of_the_reply(load_engine):
    prompt = MESSAGE_TOKENS + 1 + FRAME
    engine = load_engine('[[reply]]\ntext = "one two"\n', context_tokens=prompt)
    with pytest.raises(ContextTooSmallError):
        play(engine, user("a"))
    engine = load_engine('[[reply]]\ntext = "one two"\n', context_tokens=prompt + 1)
    text, outcome, _ = play(engine, user("a"))
    assert text == "one" and outcome.reason == "context"


def test_a_failing_load_and_a_stopped_load(write_script):
    failing = write_script('[[reply]]\ntext = ""\n[load.fails]\ncode = "unsupported_model"\n')
    with pytest.raises(UnsupportedModelError):
        ScriptedEngine().load(failing, LoadSettings(), lambda _: True)
    with pytest.raises(LoadCancelled):
        ScriptedEngine().load(write_script('[[reply]]\ntext = ""\n'), LoadSettings(), lambda share: share < 0.5)


def test_load_progress_goes_from_zero_to_one(write_script):
    shares = []
    path = write_script('[[reply]]\ntext = ""\n[load]\nsteps = 4\n')
    ScriptedEngine().load(path, LoadSettings(), lambda share: shares.append(share) or True)
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_long_nap_heeds_the_cancel(load_engine):
    engine = load_engine('[[reply]]\ntext = "one two"\ntoken_seconds = 600\n')
    begun = time.monotonic()
    _, outcome, _ = play(engine, user("a"), is_cancelled=lambda: time.monotonic() - begun > 0.05)
    assert outcome.reason == "cancelled" and time.monotonic() - begun < 5.0


def test_tokens_are_words_or_bytes(load_engine):
    assert load_engine('[[reply]]\ntext = ""\n').count_tokens("one two  three\n") == 4
    assert load_engine('token_bytes = 2\n[[reply]]\ntext = ""\n').count_tokens("🙂a") == 3


def test_generate_before_load_and_after_close_is_a_fault(write_script):
    engine = ScriptedEngine()
    with pytest.raises(RuntimeError):
        play(engine, user("a"))
    engine.load(write_script('[[reply]]\ntext = "a"\n'), LoadSettings(), lambda _: True)
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError):
        play(engine, user("a"))
