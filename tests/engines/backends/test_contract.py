"""One suite that every engine of the registry passes, through the real client and a real child process.

A new engine adds a `Case` here: where its models come from and which prompts make them talk. Everything else is the
same for all. What only one engine does is tested beside that engine.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from engines.base import ChatMessage, GenerationOptions, LoadSettings
from engines.client import (
    Crashed,
    EngineClient,
    LoadFailed,
    LoadingModel,
    Ready,
    RequestFailed,
    Starting,
    StateChanged,
    Stopped,
)
from engines.errors import ContextTooSmallError, EngineBusyError, ModelFileError
from engines.protocol import Finished, PieceMessage, ReadingProgress, TokenCount
from engines.registry import ENGINES, is_installed

CONTEXT_TOKENS = 512
SETTINGS = LoadSettings(context_tokens=CONTEXT_TOKENS, threads=1, batch_tokens=32)

SCRIPT = """
name = "Contract"
token_bytes = 3
[prompt]
batch_seconds = 0.02
[[reply]]
text = "The answer is 4, as everybody knows who counts on fingers."
token_seconds = 0.002
[[reply]]
text = "Second answer."
"""
ENDLESS_SCRIPT = """
token_bytes = 3
[load]
steps = 4
step_seconds = 0.05
[prompt]
batch_seconds = 0.02
[[reply]]
text = "and then one day the dragon saw that it was so "
repeat = 200
token_seconds = 0.005
"""
EMOJI = "🙂🙂🙂🙂🙂🙂🙂🙂"
EMOJI_TEXT = f"{EMOJI}👍🏽👩‍👩‍👧‍👦🇩🇪🇫🇷é漢字{EMOJI}"
EMOJI_SCRIPT = f"""
token_bytes = 3
[[reply]]
text = "{EMOJI_TEXT}"
"""


@dataclass(frozen=True)
class Case:
    """One engine: its models and what to say to them."""

    engine: str
    model: Path
    endless_model: Path
    emoji_model: Path
    short_question: str
    """Answered in a few words by `model`, greedily, and then the model ends the reply."""
    long_request: str
    """Answered by `endless_model` with more tokens than the context has."""
    bad_file_name: str
    emoji_tokens: int | None


ENGINE_IDS = [
    pytest.param(info.id, marks=[] if info.id == "scripted" else [pytest.mark.model, pytest.mark.slow], id=info.id)
    for info in ENGINES
]


@pytest.fixture(scope="module", params=ENGINE_IDS)
def case(request, tmp_path_factory) -> Case:
    info = next(info for info in ENGINES if info.id == request.param)
    if not is_installed(info):
        pytest.skip(f"{info.library} is not installed on this platform")
    match info.id:
        case "scripted":
            folder = tmp_path_factory.mktemp("scripts")
            paths = [folder / f"{name}.toml" for name in ("short", "endless", "emoji")]
            for path, text in zip(paths, (SCRIPT, ENDLESS_SCRIPT, EMOJI_SCRIPT), strict=True):
                path.write_text("format = 1\n" + text, encoding="utf-8")
            return Case("scripted", *paths, "What is 2+2?", "Tell a long story.", "bad.toml", None)
        case "llama":
            path = request.getfixturevalue("smollm2_path")
            return Case(
                "llama",
                path,
                path,
                path,
                "What is 2+2? Answer with one number.",
                "What is the capital of France?",
                "bad.gguf",
                24,
            )
        case _:
            pytest.fail(f"the engine {info.id} has no case in the contract suite")


@pytest.fixture(scope="module")
def talk(case, make_module_client):
    """The short model, loaded once for this module."""
    return make_module_client(case.model)


@pytest.fixture(scope="module")
def endless(case, make_module_client):
    """The model that talks without end, loaded once for this module."""
    return make_module_client(case.endless_model)


@pytest.fixture(scope="module")
def emoji(case, make_module_client):
    """The model that repeats emoji, loaded once for this module."""
    return make_module_client(case.emoji_model)


@pytest.fixture(scope="module")
def make_module_client(case, recorder_class):
    clients = []
    made: dict[Path, Talk] = {}

    def make(model: Path) -> Talk:
        if model not in made:
            recorder = recorder_class()
            client = EngineClient(engine=case.engine, model_path=model, settings=SETTINGS, on_event=recorder)
            clients.append(client)
            client.start()
            recorder.wait_state(Ready)
            made[model] = Talk(client, recorder)
        return made[model]

    yield make
    for client in clients:
        client.close()


class Talk:
    """A client and its recorder, with the few things that every test does."""

    def __init__(self, client, recorder):
        self.client = client
        self.recorder = recorder

    def begin(self, *messages: ChatMessage | str, **options) -> int:
        turns = tuple(ChatMessage("user", each) if isinstance(each, str) else each for each in messages)
        return self.client.generate(turns, GenerationOptions(**{"temperature": 0.0} | options))

    def reply(self, *messages: ChatMessage | str, **options) -> tuple[Finished, str]:
        request_id = self.begin(*messages, **options)
        end = self.recorder.end_of(request_id)
        assert isinstance(end, Finished), end.error.details
        return end, self.recorder.text(request_id)


def said(text: str) -> ChatMessage:
    return ChatMessage("assistant", text)


def long_prompt(words: int) -> str:
    return " ".join(f"item{number % 7}" for number in range(words))


def test_a_load_tells_its_progress_and_what_it_loaded(case, make_client):
    client, recorder = make_client(case.model, engine=case.engine, settings=SETTINGS)
    client.start()
    model = recorder.wait_state(Ready).model
    shares = [state.share for state in recorder.states() if isinstance(state, LoadingModel)]
    assert shares == sorted(shares) and shares[0] >= 0.0 and shares[-1] <= 1.0 and len(shares) > 1
    assert model.model_name and model.architecture and model.device and model.cache_kind
    assert model.context_tokens == CONTEXT_TOKENS <= model.trained_context_tokens
    assert model.threads == 1
    assert 0 < model.load_seconds < 60
    process = psutil.Process(client._process.pid)
    assert abs(model.memory_bytes - process.memory_info().rss) < 0.5 * model.memory_bytes


def test_a_reply_streams_and_ends(case, talk):
    request_id = talk.begin(case.short_question)
    end = talk.recorder.end_of(request_id)
    assert end.reason == "end"
    assert len(talk.recorder.pieces(request_id)) > 2
    assert all(piece.text for piece in talk.recorder.pieces(request_id))
    assert "4" in talk.recorder.text(request_id)


def test_events_of_a_reply_come_in_order(case, talk):
    request_id = talk.begin(case.short_question + long_prompt(60))
    talk.recorder.end_of(request_id)
    kinds = [type(e) for e in talk.recorder.snapshot() if getattr(e, "request_id", None) == request_id]
    assert list(dict.fromkeys(kinds)) == [ReadingProgress, PieceMessage, Finished]
    assert kinds == sorted(kinds, key=[ReadingProgress, PieceMessage, Finished].index)


def test_prompt_progress_counts_up_to_its_total(case, talk):
    request_id = talk.begin("Other words first. " + long_prompt(70))
    talk.recorder.first_piece(request_id)
    talk.client.cancel()
    talk.recorder.end_of(request_id)
    readings = [e for e in talk.recorder.snapshot() if isinstance(e, ReadingProgress) and e.request_id == request_id]
    assert len(readings) > 1
    assert len({reading.total for reading in readings}) == 1
    done = [reading.done for reading in readings]
    assert done == sorted(set(done)) and done[-1] == readings[-1].total
    assert max(after - before for before, after in pairwise(done)) <= SETTINGS.batch_tokens


def test_usage_adds_up(case, talk):
    end, _ = talk.reply("Fresh words, never said before. " + case.short_question, seed=11)
    usage = end.usage
    assert usage.prompt_tokens > 5
    assert usage.generated_tokens > 2
    assert 0 <= usage.reused_tokens < usage.prompt_tokens
    total = usage.prompt_tokens + usage.generated_tokens
    # The token that ends a reply is not always kept.
    assert total - 1 <= usage.context_used_tokens <= total
    assert usage.context_tokens == CONTEXT_TOKENS
    assert 0 < usage.prefill_seconds <= usage.time_to_first_token_seconds < 60
    assert 0 < usage.decode_seconds < 60
    assert usage.prefill_tokens_per_second > 0 and usage.decode_tokens_per_second > 0
    assert usage.peak_memory_bytes > 1_000_000
    assert usage.seed == 11


def test_a_second_turn_reuses_the_first(case, talk):
    first, text = talk.reply("Remember the turnip. " + case.short_question)
    second, _ = talk.reply("Remember the turnip. " + case.short_question, said(text), "And now?")
    assert second.usage.reused_tokens >= first.usage.prompt_tokens - 1
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_max_tokens_ends_with_length(case, endless):
    end, text = endless.reply(case.long_request, max_tokens=5)
    assert end.reason == "length" and end.usage.generated_tokens == 5
    longer, more = endless.reply(case.long_request, max_tokens=9)
    assert longer.usage.generated_tokens == 9
    assert more.startswith(text) and len(more) > len(text)


def test_a_stop_string_ends_the_reply_before_it(case, talk):
    _, whole = talk.reply(case.short_question)
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    end, text = talk.reply(case.short_question, stop=("never in a reply", stop))
    assert end.reason == "stop"
    assert text == whole[: whole.index(stop)]


def test_a_stop_string_that_almost_comes_holds_nothing_back_for_good(case, talk):
    _, whole = talk.reply(case.short_question)
    end, text = talk.reply(case.short_question, stop=(whole[-3:] + "!",))
    assert end.reason == "end" and text == whole


def test_a_full_context_ends_the_reply(case, make_client):
    settings = LoadSettings(context_tokens=64, threads=1, batch_tokens=32)
    client, recorder = make_client(case.endless_model, engine=case.engine, settings=settings)
    end, text = Talk(client, recorder).reply(case.long_request)
    assert end.reason == "context"
    assert end.usage.context_tokens - 1 <= end.usage.context_used_tokens <= end.usage.context_tokens
    assert text


def test_a_conversation_that_does_not_fit_is_refused_and_the_next_is_answered(case, talk):
    request_id = talk.begin(long_prompt(2 * CONTEXT_TOKENS))
    end = talk.recorder.end_of(request_id)
    assert isinstance(end, RequestFailed) and isinstance(end.error, ContextTooSmallError)
    assert end.error.title and end.error.advice
    assert talk.reply(case.short_question)[0].reason == "end"


def test_the_same_seed_gives_the_same_reply(case, endless):
    first, text = endless.reply(case.long_request, temperature=1.0, seed=5, max_tokens=20)
    again, same = endless.reply(case.long_request, temperature=1.0, seed=5, max_tokens=20)
    assert text == same
    assert first.usage.seed == again.usage.seed == 5


def test_a_drawn_seed_is_told_and_replays_the_reply(case, endless):
    # Twice: the second and the third read the prompt alike, by reuse.
    endless.reply(case.long_request, temperature=1.0, max_tokens=20)
    drawn, text = endless.reply(case.long_request, temperature=1.0, max_tokens=20)
    replay, same = endless.reply(case.long_request, temperature=1.0, seed=drawn.usage.seed, max_tokens=20)
    assert same == text and replay.usage.seed == drawn.usage.seed


def test_an_unfinished_reply_is_continued(case, endless):
    _, whole = endless.reply(case.long_request, max_tokens=24)
    _, begun = endless.reply(case.long_request, max_tokens=12)
    _, rest = endless.reply(case.long_request, said(begun), continue_last=True, max_tokens=12)
    assert whole.startswith(begun) and begun + rest == whole


def test_a_system_message_is_taken(case, talk):
    without, _ = talk.reply(case.short_question)
    with_system, _ = talk.reply(ChatMessage("system", "Be brief and kind to everybody."), case.short_question)
    assert with_system.usage.prompt_tokens != without.usage.prompt_tokens


def test_characters_that_are_split_over_tokens_come_whole(case, emoji):
    # SmolLM2 writes each of these emoji with two tokens and would go on for ever; the script has an end.
    request_id = emoji.begin(f"Repeat: {EMOJI}", said(EMOJI), continue_last=True, max_tokens=case.emoji_tokens)
    end = emoji.recorder.end_of(request_id)
    pieces = [piece.text for piece in emoji.recorder.pieces(request_id)]
    assert end.usage.generated_tokens > len(pieces)
    assert "🙂" in "".join(pieces) or "👍🏽" in "".join(pieces)
    for piece in pieces:
        assert "\ufffd" not in piece
        assert piece[0] not in "\u200d\ufe0f🏽" and piece[-1] != "\u200d"
    if case.engine == "scripted":
        assert "".join(pieces) == EMOJI_TEXT.removeprefix(EMOJI)


def test_a_reply_that_is_cut_inside_a_character_ends_before_it(emoji):
    for max_tokens in (1, 2, 3):
        _, text = emoji.reply(f"Repeat: {EMOJI}", said(EMOJI), continue_last=True, max_tokens=max_tokens)
        assert "\ufffd" not in text


def test_any_text_survives_the_way_to_the_engine_and_back(case, talk):
    end, _ = talk.reply('Quotes " and \\ and \n and \x00 and \u2028 and 漢字 and \ud800.', max_tokens=3)
    assert end.usage.prompt_tokens > 10


def test_cancel_while_loading_ends_the_request_and_the_load_goes_on(case, make_client):
    client, recorder = make_client(case.endless_model, engine=case.engine, settings=SETTINGS)
    talk = Talk(client, recorder)
    request_id = talk.begin(case.long_request)
    recorder.wait_state(LoadingModel)
    client.cancel()
    assert recorder.end_of(request_id).reason == "cancelled"
    recorder.wait_state(Ready)
    assert talk.reply(case.long_request, max_tokens=3)[0].reason == "length"
    assert not recorder.pieces(request_id)


def test_close_while_loading(case, make_client):
    client, recorder = make_client(case.endless_model, engine=case.engine, settings=SETTINGS)
    request_id = Talk(client, recorder).begin(case.long_request)
    recorder.wait_state(LoadingModel)
    client.close()
    assert recorder.end_of(request_id).reason == "cancelled"
    assert client.state == Stopped()


def test_cancel_in_the_prompt(case, endless):
    request_id = endless.begin("In this prompt. " + long_prompt(100))
    first = endless.recorder.first_reading(request_id)
    endless.client.cancel()
    end = endless.recorder.end_of(request_id)
    assert end.reason == "cancelled"
    assert first.done < first.total
    assert end.usage.generated_tokens == 0 and end.usage.time_to_first_token_seconds is None
    assert not endless.recorder.pieces(request_id)


def test_cancel_in_the_reply(case, endless):
    request_id = endless.begin(case.long_request)
    endless.recorder.first_piece(request_id)
    endless.client.cancel()
    end = endless.recorder.end_of(request_id)
    assert end.reason == "cancelled"
    assert 0 < end.usage.generated_tokens < CONTEXT_TOKENS // 2
    assert endless.recorder.text(request_id)


def test_a_request_right_after_a_cancel_waits_for_its_end_and_is_answered(case, endless):
    """Cancelling and sending again at once is what crashes other front ends."""
    for _ in range(3):
        request_id = endless.begin(case.long_request)
        endless.recorder.first_reading(request_id)
        endless.client.cancel()
        with pytest.raises(EngineBusyError):
            endless.begin(case.long_request)
        assert endless.recorder.end_of(request_id).reason == "cancelled"
        assert endless.reply(case.long_request, max_tokens=4)[0].reason == "length"


def test_a_cancelled_reply_leaves_no_trace_in_the_next(case, endless):
    options = {"max_tokens": 16}
    _, expected = endless.reply(case.long_request, **options)
    request_id = endless.begin("Something else. " + long_prompt(50))
    endless.recorder.first_reading(request_id)
    endless.client.cancel()
    endless.recorder.end_of(request_id)
    assert endless.reply(case.long_request, **options)[1] == expected


def test_every_request_has_exactly_one_end(case, talk, endless):
    for each in {id(talk.recorder): talk, id(endless.recorder): endless}.values():
        events = each.recorder.snapshot()
        ids = {event.request_id for event in events if isinstance(event, PieceMessage)}
        assert ids
        assert {len(each.recorder.ends(request_id)) for request_id in ids} == {1}


def test_tokens_can_be_counted(case, talk):
    few = talk.client.count_tokens("Hello")
    many = talk.client.count_tokens("Hello to all of you out there")
    none = talk.client.count_tokens("")
    counts = {}
    for request_id in (few, many, none):
        event = talk.recorder.wait(lambda e, i=request_id: isinstance(e, TokenCount) and e.request_id == i)
        counts[request_id] = event.tokens
    assert 0 == counts[none] < counts[few] < counts[many]


def _missing(path: Path, _model: Path) -> None:
    path.unlink(missing_ok=True)


def _empty(path: Path, _model: Path) -> None:
    path.write_bytes(b"")


def _other_file(path: Path, _model: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n" + bytes(range(256)) * 40)


def _cut_in_half(path: Path, model: Path) -> None:
    data = model.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _folder(path: Path, _model: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("spoil", [_missing, _empty, _other_file, _cut_in_half, _folder])
def test_a_file_that_is_no_model_is_said_in_words(case, make_client, tmp_path, spoil: Callable[[Path, Path], None]):
    path = tmp_path / case.bad_file_name
    spoil(path, case.endless_model)
    client, recorder = make_client(path, engine=case.engine, settings=SETTINGS)
    request_id = Talk(client, recorder).begin("Hello")
    end = recorder.end_of(request_id)
    assert isinstance(end, RequestFailed) and isinstance(end.error, ModelFileError), end
    assert end.error.title.endswith(".") and end.error.advice.endswith(".")
    assert recorder.wait_state(LoadFailed).error is end.error
    assert not any(isinstance(state, Crashed) for state in recorder.states())


def test_close_twice(case, make_client):
    client, recorder = make_client(case.model, engine=case.engine, settings=SETTINGS)
    client.start()
    recorder.wait_state(Ready)
    client.close()
    client.close()
    assert recorder.states().count(Stopped()) == 1


def test_close_in_mid_reply_ends_the_process(case, make_client, wait_until_gone):
    client, recorder = make_client(case.endless_model, engine=case.engine, settings=SETTINGS)
    request_id = Talk(client, recorder).begin(case.long_request)
    recorder.first_piece(request_id)
    pid = client._process.pid
    client.close()
    wait_until_gone(pid)
    assert recorder.end_of(request_id).reason == "cancelled"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "SIGKILL",
        pytest.param("SIGSEGV", marks=pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")),
    ],
)
def test_after_a_crash_in_mid_reply_the_next_request_is_answered(case, make_client, name):
    client, recorder = make_client(case.endless_model, engine=case.engine, settings=SETTINGS)
    talk = Talk(client, recorder)
    request_id = talk.begin(case.long_request)
    recorder.first_piece(request_id)
    if sys.platform == "win32":
        psutil.Process(client._process.pid).kill()
    else:
        os.kill(client._process.pid, getattr(signal, name))
    end = recorder.end_of(request_id)
    assert isinstance(end, RequestFailed)
    assert recorder.text(request_id)
    assert talk.reply(case.long_request, max_tokens=3)[0].reason == "length"
    assert [type(state) for state in recorder.states()].count(Starting) == 2


@pytest.mark.slow
def test_nothing_comes_after_close(case, recorder_class):
    recorder, closed, late = recorder_class(), threading.Event(), []

    def on_event(event):
        if closed.is_set():
            late.append(event)
        recorder(event)

    client = EngineClient(engine=case.engine, model_path=case.endless_model, settings=SETTINGS, on_event=on_event)
    recorder.first_piece(Talk(client, recorder).begin(case.long_request))
    client.close()
    closed.set()
    assert recorder.snapshot()[-1] == StateChanged(Stopped())
    assert not late
