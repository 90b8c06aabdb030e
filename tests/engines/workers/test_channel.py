import subprocess
import sys
import textwrap

import pytest

from engines.protocol import CancelLoad, CountTokens, Loading, Shutdown, Unloaded, decode_from_engine, encode
from engines.workers.channel import EXIT_PROTOCOL

TAKE_OVER = """
    import ctypes, os, sys, threading, time
    from engines.protocol import *
    from engines.workers.channel import Channel
    channel = Channel.take_over()
"""


@pytest.fixture
def run_child(tmp_path):
    """Runs a child that has taken its channel over; gives its status, messages and stderr."""

    def run(code: str, given: bytes = b"", **options) -> tuple[int, list[object], str]:
        done = subprocess.run(
            [sys.executable, "-P", "-c", textwrap.dedent(TAKE_OVER) + textwrap.dedent(code)],
            input=given,
            capture_output=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
            **options,
        )
        messages = [decode_from_engine(line) for line in done.stdout.splitlines()]
        return done.returncode, messages, done.stderr.decode()

    return run


def test_what_others_print_lands_on_stderr(run_child):
    code = """
        library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
        library.puts(b"from C")
        library.fflush(None)
        os.write(1, b"from a descriptor\\n")
        print("from Python", flush=True)
        os.system("echo from a grandchild")
        channel.send(Unloaded())
    """
    status, messages, stderr = run_child(code)
    assert messages == [Unloaded()]
    for voice in ("from C", "from a descriptor", "from Python", "from a grandchild"):
        assert voice in stderr
    assert status == 0


def test_nobody_else_can_read_the_messages(run_child):
    _status, _messages, stderr = run_child("print(repr(sys.stdin.read()), file=sys.stderr)", encode(CancelLoad()))
    assert stderr.strip() == "''"


def test_messages_arrive_in_order_and_shutdown_ends_the_process(run_child):
    code = """
        channel.start_reading(lambda message: channel.send(Loading(share=message.request_id / 10)))
        time.sleep(600)
    """
    given = b"".join(encode(CountTokens(request_id=number, text="")) for number in range(5)) + encode(Shutdown())
    status, messages, _ = run_child(code, given)
    assert messages == [Loading(share=number / 10) for number in range(5)]
    assert status == 0


@pytest.mark.parametrize("busy", ["while True: pass", "time.sleep(600)", "threading.Event().wait()"])
def test_the_end_of_stdin_ends_the_process_whatever_it_does(run_child, busy):
    assert run_child(f"channel.start_reading(print)\n{busy}")[0] == 0


def test_what_is_not_a_message_ends_the_process_without_repeating_it(run_child):
    status, _, stderr = run_child("channel.start_reading(print); time.sleep(600)", b'{"kind":"gossip","text":"x"}\n')
    assert status == EXIT_PROTOCOL
    assert "not a message" in stderr and '"x"' not in stderr


def test_messages_of_two_threads_and_any_length_stay_whole(run_child):
    code = """
        def talk(name):
            for number in range(50):
                channel.send(Failed(request_id=number, code=name, title="t" * 200_000, advice="", details=""))
        threads = [threading.Thread(target=talk, args=(name,)) for name in ("one", "two")]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """
    _status, messages, _ = run_child(code)
    for name in ("one", "two"):
        assert [message.request_id for message in messages if message.code == name] == list(range(50))


def test_a_parent_that_no_longer_listens_ends_the_process(tmp_path):
    code = textwrap.dedent(TAKE_OVER) + "while True: channel.send(Unloaded())"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(60) == 0
        assert child.stderr.read() == b""
