import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engines.base import ChatMessage, GenerationOptions, LoadSettings
from engines.client import (
    Crashed,
    EngineClient,
    Generating,
    LoadFailed,
    LoadingModel,
    Ready,
    RequestFailed,
    Starting,
    StateChanged,
    Stopped,
    Stopping,
    engine_command,
)
from engines.errors import (
    EngineBusyError,
    EngineCrashedError,
    EngineStartError,
    ModelFileError,
    NotEnoughMemoryError,
    UnsupportedModelError,
)
from engines.protocol import Finished, PieceMessage, TokenCount

HELLO = '[[reply]]\ntext = "Hello there, {user}."\n'
SLOW = '[[reply]]\ntext = "tick "\nrepeat = 2000\ntoken_seconds = 0.02\n'
CRASHES_THEN_ANSWERS = '[[reply]]\ntext = "a b c"\n[reply.misbehaves]\nhow = "{how}"\nafter_tokens = 2\n' + HELLO
HANGS = '[[reply]]\ntext = "a b c"\n[reply.misbehaves]\nhow = "hang"\nafter_tokens = 1\n' + HELLO
WAIT_S = 60.0
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


def test_states_follow_the_life_of_a_model(make_client, ask):
    client, recorder = make_client(HELLO)
    assert client.state == Stopped()
    client.start()
    recorder.wait_state(Ready)
    request_id = ask(client, "you")
    assert recorder.end_of(request_id).reason == "end"
    ready = recorder.wait_state(Ready, after=len(recorder.events) - 1)
    client.close()
    kinds = [type(state) for state in recorder.states()]
    assert [kind for kind in kinds if kind is not LoadingModel] == [Starting, Ready, Generating, Ready, Stopped]
    shares = [state.share for state in recorder.states() if isinstance(state, LoadingModel)]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert ready.model.model_name == "script-1"
    assert recorder.text(request_id) == "Hello there, you."


def test_events_come_from_one_thread_with_a_name(make_client, ask):
    client, recorder = make_client(HELLO)
    recorder.end_of(ask(client, "you"))
    client.close()
    assert recorder.threads == {"snug-engine-events"}


def test_a_request_before_the_load_waits_for_it(make_client, ask):
    client, recorder = make_client("[load]\nsteps = 3\nstep_seconds = 0.1\n" + HELLO)
    request_id = ask(client, "you")
    assert isinstance(client.state, Starting)
    assert recorder.end_of(request_id).reason == "end"


def test_a_second_request_is_refused_until_the_first_has_ended(make_client, ask):
    client, recorder = make_client(SLOW)
    request_id = ask(client, "one")
    with pytest.raises(EngineBusyError):
        ask(client, "two")
    recorder.first_piece(request_id)
    with pytest.raises(EngineBusyError):
        ask(client, "two")
    client.cancel()
    assert isinstance(client.state, Stopping)
    with pytest.raises(EngineBusyError):
        ask(client, "two")
    assert recorder.end_of(request_id).reason == "cancelled"
    second = ask(client, "two")
    recorder.first_piece(second)
    assert recorder.ends(request_id) and len(recorder.ends(request_id)) == 1


def test_cancel_ends_a_request_that_waits_for_the_load_and_the_load_goes_on(make_client, ask):
    client, recorder = make_client("[load]\nsteps = 10\nstep_seconds = 0.05\n" + HELLO)
    request_id = ask(client, "you")
    recorder.wait_state(LoadingModel)
    client.cancel()
    assert recorder.end_of(request_id).reason == "cancelled"
    recorder.wait_state(Ready)
    assert not recorder.pieces(request_id)


def test_cancel_without_a_request_does_nothing(make_client):
    client, recorder = make_client(HELLO)
    client.cancel()
    client.start()
    recorder.wait_state(Ready)
    client.cancel()
    client.stop_now()
    assert isinstance(recorder.wait_state(Ready, after=len(recorder.events)), Ready)


def test_the_callback_may_call_any_method(write_script):
    """From Finished the next request, from its end close, from Stopped start: all inside the callback."""
    order: list[str] = []
    done = threading.Event()

    def on_event(event: object) -> None:
        match event:
            case Finished(request_id=1):
                order.append("first")
                client.cancel()
                client.generate([ChatMessage("user", "again")], GenerationOptions())
            case Finished(request_id=2):
                order.append("second")
                client.close()
            case StateChanged(state=Stopped()):
                order.append(f"stopped {len(order)}")
                if len(order) == 3:
                    client.generate([ChatMessage("user", "anew")], GenerationOptions())
                else:
                    done.set()
            case Finished(request_id=3):
                order.append("third")
                client.close()

    client = EngineClient(engine="scripted", model_path=write_script(HELLO), settings=LoadSettings(), on_event=on_event)
    client.generate([ChatMessage("user", "you")], GenerationOptions())
    assert done.wait(30)
    assert order == ["first", "second", "stopped 2", "third", "stopped 4"]
    client.close()


def test_a_callback_that_raises_does_not_stop_the_events(write_script, expect_log):
    expect_log("a listener of events failed", level=40)
    finished = threading.Event()

    def on_event(event: object) -> None:
        if isinstance(event, Finished):
            finished.set()
        raise LookupError("a listener with a fault")

    client = EngineClient(engine="scripted", model_path=write_script(HELLO), settings=LoadSettings(), on_event=on_event)
    client.generate([ChatMessage("user", "you")], GenerationOptions())
    assert finished.wait(30)
    client.close()


def test_close_ends_the_reply_and_nothing_comes_after_it(make_client, ask):
    client, recorder = make_client(SLOW)
    request_id = ask(client, "you")
    recorder.first_piece(request_id)
    client.close()
    count = len(recorder.events)
    assert isinstance(recorder.events[-1], StateChanged) and recorder.events[-1].state == Stopped()
    assert recorder.end_of(request_id).reason == "cancelled"
    end = recorder.events.index(recorder.end_of(request_id))
    assert not any(isinstance(event, PieceMessage) for event in recorder.events[end:])
    client.close()
    assert len(recorder.events) == count
    assert client.state == Stopped()


def test_close_while_loading_takes_no_time(make_client):
    client, recorder = make_client("[load]\nsteps = 1000\nstep_seconds = 0.05\n" + HELLO)
    client.start()
    recorder.wait(lambda e: isinstance(e, StateChanged) and isinstance(e.state, LoadingModel) and e.state.share > 0)
    begun = time.monotonic()
    client.close()
    assert time.monotonic() - begun < 1.5


def test_close_before_start_and_from_two_threads_at_once(make_client, ask):
    client, recorder = make_client(SLOW)
    client.close()
    recorder.first_piece(ask(client, "you"))
    threads = [threading.Thread(target=client.close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert recorder.states().count(Stopped()) == 1


def test_a_closed_client_starts_again(make_client, ask):
    client, recorder = make_client(HELLO)
    first = ask(client, "one")
    recorder.end_of(first)
    client.close()
    second = ask(client, "two")
    assert recorder.end_of(second).reason == "end"
    assert recorder.text(second) == "Hello there, two."


def test_a_load_that_fails_is_told_once_and_tried_again_only_on_request(make_client, ask, write_script, tmp_path):
    path = write_script(HELLO + '[load.fails]\ncode = "unsupported_model"\ntitle = "No."\n', tmp_path / "model.toml")
    client, recorder = make_client(path)
    request_id = ask(client, "you")
    end = recorder.end_of(request_id)
    assert isinstance(end, RequestFailed) and isinstance(end.error, UnsupportedModelError)
    failed = recorder.wait_state(LoadFailed)
    assert failed.error.title == "No."
    assert [type(state) for state in recorder.states()].count(Starting) == 1
    pid = client._process.pid
    write_script(HELLO, path)
    second = ask(client, "you")
    assert recorder.end_of(second).reason == "end"
    assert client._process.pid == pid


def test_a_process_that_dies_after_a_failed_load_is_replaced_on_request(
    make_client, ask, write_script, tmp_path, engine_process_of, wait_until_gone
):
    path = write_script("", tmp_path / "model.toml")
    client, recorder = make_client(path)
    client.start()
    assert isinstance(recorder.wait_state(LoadFailed).error, ModelFileError)
    child = engine_process_of(client)
    former = client._process
    child.kill()
    former.join(10)
    assert isinstance(client.state, LoadFailed)
    write_script(HELLO, path)
    assert recorder.end_of(ask(client, "you")).reason == "end"


@pytest.mark.parametrize(
    ("how", "details", "error_type"),
    [
        pytest.param("segfault", "SIGSEGV", EngineCrashedError, marks=posix_only),
        pytest.param("abort", "SIGABRT", EngineCrashedError, marks=posix_only),
        pytest.param("illegal_instruction", "SIGILL", EngineCrashedError, marks=posix_only),
        pytest.param("bus_error", "SIGBUS", ModelFileError, marks=posix_only),
        pytest.param("kill", "SIGKILL", NotEnoughMemoryError, marks=posix_only),
        ("exit", "exit status 1", EngineCrashedError),
        ("half_line", "not complete", EngineCrashedError),
        ("nonsense", "babble from native code", EngineCrashedError),
    ],
)
def test_after_a_crash_in_a_reply_the_next_request_is_answered(make_client, ask, how, details, error_type):
    client, recorder = make_client(CRASHES_THEN_ANSWERS.replace("{how}", how))
    first = ask(client, "one")
    end = recorder.end_of(first)
    assert isinstance(end, RequestFailed) and type(end.error) is error_type
    assert details in end.error.details
    assert "Your conversation is kept." in end.error.advice
    assert "{" not in end.error.title
    assert recorder.text(first).split() == ["a", "b"]
    crashed = recorder.wait_state(Crashed)
    assert crashed.restarting and crashed.error is end.error
    second = ask(client, "one", "two")
    assert recorder.end_of(second).reason == "end"
    assert recorder.text(second) == "Hello there, two."
    assert len(recorder.ends(first)) == 1


def test_second_crash_asks_the_user(make_client, ask):
    client, recorder = make_client(CRASHES_THEN_ANSWERS.replace("{how}", "exit"))
    recorder.end_of(ask(client, "one"))
    end = recorder.end_of(ask(client, "one"))
    assert isinstance(end, RequestFailed)
    crashed = recorder.wait(
        lambda e: isinstance(e, StateChanged) and isinstance(e.state, Crashed) and not e.state.restarting
    ).state
    assert "smaller model or a smaller context" in crashed.error.advice
    assert client.state == crashed
    starts = [type(state) for state in recorder.states()].count(Starting)
    assert starts == 2
    # The user asks: it begins anew.
    assert recorder.end_of(ask(client, "one", "two")).reason == "end"


def test_a_crash_after_a_good_start_is_a_first_crash_again(make_client, ask):
    client, recorder = make_client(CRASHES_THEN_ANSWERS.replace("{how}", "exit"), good_after_s=0.0)
    for _ in range(3):
        seen = len(recorder.events)
        recorder.end_of(ask(client, "one"))
        assert recorder.wait_state(Crashed, after=seen).restarting
        recorder.wait_state(Ready, after=seen)


def test_a_crash_while_loading_is_tried_once_more_and_the_waiting_request_survives(
    make_client, ask, write_script, tmp_path
):
    path = write_script(HELLO + '[load.misbehaves]\nhow = "exit"\nstatus = 7\n', tmp_path / "model.toml")
    crashed = threading.Event()
    recorder_holder = []

    def on_event(event: object) -> None:
        recorder_holder[0](event)
        if isinstance(event, StateChanged) and isinstance(event.state, Crashed):
            write_script(HELLO, path)
            crashed.set()

    client, recorder = make_client(path, on_event=on_event)
    recorder_holder.append(recorder)
    request_id = ask(client, "you")
    assert recorder.end_of(request_id).reason == "end"
    assert crashed.is_set()
    assert "while it loaded the model" in recorder.wait_state(Crashed).error.title


def test_a_load_that_always_crashes_stops_after_the_second_time(make_client, ask):
    client, recorder = make_client(HELLO + '[load.misbehaves]\nhow = "exit"\n')
    end = recorder.end_of(ask(client, "you"))
    assert isinstance(end, RequestFailed)
    assert isinstance(client.state, Crashed) and not client.state.restarting
    assert [type(state) for state in recorder.states()].count(Starting) == 2


def test_a_crash_while_idle_loads_the_model_again(make_client, ask, engine_process_of):
    client, recorder = make_client(HELLO)
    client.start()
    recorder.wait_state(Ready)
    seen = len(recorder.events)
    engine_process_of(client).kill()
    assert "while it was idle" in recorder.wait_state(Crashed, after=seen).error.title
    assert recorder.end_of(ask(client, "you")).reason == "end"


@posix_only
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_from_outside_in_mid_reply(make_client, ask, engine_process_of, number):
    client, recorder = make_client(SLOW)
    request_id = ask(client, "you")
    recorder.first_piece(request_id)
    os.kill(engine_process_of(client).pid, number)
    end = recorder.end_of(request_id)
    assert isinstance(end, RequestFailed) and number.name in end.error.details
    assert recorder.text(request_id).startswith("tick")
    recorder.first_piece(ask(client, "you"))


def test_a_reply_that_ignores_cancel_is_ended_by_stop_now(make_client, ask):
    client, recorder = make_client(HANGS)
    request_id = ask(client, "one")
    recorder.first_piece(request_id)
    client.cancel()
    client.stop_now()
    client.stop_now()
    assert recorder.end_of(request_id).reason == "cancelled"
    assert not any(isinstance(state, Crashed) for state in recorder.states())
    second = ask(client, "one", "two")
    assert recorder.end_of(second).reason == "end"
    assert [type(state) for state in recorder.states()].count(Starting) == 2


@posix_only
def test_a_stopped_child_with_a_full_pipe_blocks_nobody(make_client, ask, engine_process_of, wait_until_gone):
    client, recorder = make_client(SLOW)
    client.start()
    recorder.wait_state(Ready)
    child = engine_process_of(client)
    os.kill(child.pid, signal.SIGSTOP)
    begun = time.monotonic()
    request_id = ask(client, "many words " * 200_000)
    client.count_tokens("many words " * 200_000)
    client.cancel()
    client.stop_now()
    assert time.monotonic() - begun < 1.0
    assert recorder.end_of(request_id).reason == "cancelled"
    wait_until_gone(child.pid)
    recorder.first_piece(ask(client, "you"))


@posix_only
@pytest.mark.slow
def test_close_ends_a_stopped_child_within_five_seconds(make_client, ask, engine_process_of, wait_until_gone):
    client, recorder = make_client(SLOW)
    request_id = ask(client, "you")
    recorder.first_piece(request_id)
    child = engine_process_of(client)
    os.kill(child.pid, signal.SIGSTOP)
    begun = time.monotonic()
    client.close()
    assert time.monotonic() - begun < 5.0
    wait_until_gone(child.pid)


def test_another_protocol_version_says_please_restart(make_client, ask):
    hello = (
        "from engines.protocol import *; from engines.base import EngineVersions; import sys;"
        "sys.stdout.buffer.write(encode(Hello(protocol=PROTOCOL_VERSION + 1, versions=EngineVersions('x', '3'))));"
        "sys.stdout.flush(); sys.stdin.read()"
    )
    client, recorder = make_client(HELLO, command=[sys.executable, "-P", "-c", hello])
    end = recorder.end_of(ask(client, "you"))
    assert isinstance(end, RequestFailed) and isinstance(end.error, EngineStartError)
    assert end.error.advice == "Please restart Snug."
    assert client.state == Crashed(end.error, restarting=False)


def test_a_first_line_that_is_no_message_says_please_restart(make_client):
    code = 'import sys; print(\'{"kind":"hello","protocol":9,"new":1}\', flush=True); sys.stdin.read()'
    client, recorder = make_client(HELLO, command=[sys.executable, "-c", code])
    client.start()
    crashed = recorder.wait_state(Crashed)
    assert not crashed.restarting and crashed.error.advice == "Please restart Snug."
    assert '"new":1' in crashed.error.details


def test_a_process_that_never_says_hello_is_killed_and_said(make_client, ask, engine_process_of, wait_until_gone):
    client, recorder = make_client(
        HELLO, command=[sys.executable, "-c", "import time; time.sleep(600)"], hello_timeout_s=0.3
    )
    request_id = ask(client, "you")
    child = engine_process_of(client)
    end = recorder.end_of(request_id)
    assert isinstance(end, RequestFailed) and isinstance(end.error, EngineStartError)
    assert "in time" in end.error.title
    assert client.state == Crashed(end.error, restarting=False)
    wait_until_gone(child.pid)


def test_a_command_that_does_not_exist_is_said(make_client, ask, tmp_path):
    client, recorder = make_client(HELLO, command=[str(tmp_path / "nothing-here")])
    end = recorder.end_of(ask(client, "you"))
    assert isinstance(end, RequestFailed) and isinstance(end.error, EngineStartError)
    assert isinstance(client.state, Crashed)


def test_count_tokens_is_answered_by_an_event(make_client):
    client, recorder = make_client(HELLO)
    with pytest.raises(EngineBusyError):
        client.count_tokens("too early")
    client.start()
    recorder.wait_state(Ready)
    request_id = client.count_tokens("one two three")
    counted = recorder.wait(lambda event: isinstance(event, TokenCount))
    assert counted == TokenCount(request_id=request_id, tokens=3)


def test_a_count_that_the_crash_swallowed_fails(make_client, engine_process_of, ask):
    client, recorder = make_client(HANGS)
    recorder.first_piece(ask(client, "one"))
    count = client.count_tokens("one two three")
    engine_process_of(client).kill()
    assert isinstance(recorder.end_of(count), RequestFailed)


def test_the_engine_log_gets_what_the_child_writes(make_client, ask, tmp_path):
    log_path = tmp_path / "logs" / "engine.log"
    script = HELLO + '[reply.misbehaves]\nhow = "print"\ntext = "printed by a library"\n'
    client, recorder = make_client(script, log_path=log_path)
    assert recorder.end_of(ask(client, "you")).reason == "end"
    client.close()
    assert "printed by a library" in log_path.read_text(encoding="utf-8")
    assert "Hello there" not in log_path.read_text(encoding="utf-8")


def test_versions_are_known_after_hello(make_client):
    client, recorder = make_client(HELLO)
    assert client.versions is None
    client.start()
    recorder.wait_state(Ready)
    assert client.versions.python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}")


def test_a_frozen_app_starts_itself_with_the_worker_flag(monkeypatch):
    assert engine_command() == [sys.executable, "-P", "-m", "engines.workers.engine"]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert engine_command() == [sys.executable, "--engine-worker"]


def test_a_relative_model_path_is_meant_from_here(make_client, ask, write_script, tmp_path, monkeypatch):
    write_script(HELLO, tmp_path / "here.toml")
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    client, recorder = make_client(Path("here.toml"), working_directory=elsewhere)
    assert recorder.end_of(ask(client, "you")).reason == "end"


@pytest.mark.slow
def test_every_request_ends_once_whatever_four_threads_do(make_client, ask):
    client, recorder = make_client(
        '[load]\nsteps = 1\n[[reply]]\ntext = "tick "\nrepeat = 20\ntoken_seconds = 0.002\n', good_after_s=0.0
    )
    asked: list[int] = []

    def play(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(60):
            deed = choose.choices(
                ["ask", "count", "cancel", "stop_now", "close", "die", "start"], [50, 9, 9, 1, 1, 1, 5]
            )
            try:
                match deed:
                    case ["ask"]:
                        asked.append(ask(client, "you"))
                    case ["count"]:
                        client.count_tokens("one two")
                    case ["die"]:
                        if (process := client._process) is not None:
                            process._signal_child(hard=True)
                    case [name]:
                        getattr(client, name)()
            except EngineBusyError:
                # As it should while another request runs; a moment passes by waiting for its end.
                if asked and deed == ["ask"]:
                    recorder.end_of(asked[-1])

    threads = [threading.Thread(target=play, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    client.close()
    assert len(asked) > 4
    assert {len(recorder.ends(request_id)) for request_id in asked} == {1}


def test_nothing_is_left_open_after_many_lives(make_client, ask):
    client, recorder = make_client(HELLO)
    recorder.end_of(ask(client, "you"))
    client.close()
    process = psutil.Process()
    count: Callable[[], int] = process.num_handles if sys.platform == "win32" else process.num_fds
    before, threads = count(), threading.active_count()
    for _ in range(3):
        recorder.end_of(ask(client, "you"))
        client.close()
    assert threading.active_count() == threads
    assert count() <= before
