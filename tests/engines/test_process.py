import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from engines import process as process_module
from engines.process import ProcessEnded, WorkerProcess
from engines.protocol import CancelLoad, CountTokens, ProtocolError, Shutdown

WAIT_S = 30.0
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
ECHO = """
    import sys
    for line in sys.stdin.buffer:
        if b'"shutdown"' in line:
            sys.exit(0)
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
"""
DEAF = """
    import signal, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up", flush=True)
    time.sleep(600)
"""


class Child:
    """A WorkerProcess around a piece of Python, with everything that it reported."""

    def __init__(self, code: str, decode=None, **options):
        self.messages: list[bytes] = []
        self.ended: list[ProcessEnded] = []
        self.news = threading.Condition()
        self.process: WorkerProcess[bytes] = WorkerProcess(
            command=[sys.executable, "-c", textwrap.dedent(code)],
            decode=decode or (lambda line: line.rstrip(b"\n")),
            on_message=self._on_message,
            on_ended=self._on_ended,
            **options,
        )

    def _on_message(self, message: bytes) -> None:
        with self.news:
            self.messages.append(message)
            self.news.notify_all()

    def _on_ended(self, ended: ProcessEnded) -> None:
        with self.news:
            self.ended.append(ended)
            self.news.notify_all()

    def wait_for_messages(self, count: int) -> list[bytes]:
        with self.news:
            assert self.news.wait_for(lambda: len(self.messages) >= count, WAIT_S), self.ended
            return list(self.messages)

    def wait_for_end(self) -> ProcessEnded:
        with self.news:
            assert self.news.wait_for(lambda: self.ended, WAIT_S)
        self.process.join(WAIT_S)
        assert len(self.ended) == 1
        return self.ended[0]


@pytest.fixture
def start_child():
    children: list[Child] = []

    def start(code: str, **options) -> Child:
        child = Child(code, **options)
        child.process.start()
        children.append(child)
        return child

    yield start
    for child in children:
        child.process.kill()
        child.wait_for_end()


def test_messages_go_there_and_back_in_order(start_child):
    child = start_child(ECHO)
    for number in range(200):
        child.process.send(CountTokens(request_id=number, text="x" * number))
    messages = child.wait_for_messages(200)
    assert [b'"request_id":%d,' % number in line for number, line in enumerate(messages)] == [True] * 200


def test_a_child_that_is_asked_leaves_by_itself(start_child):
    child = start_child(ECHO)
    assert child.process.stop(ask=Shutdown())
    assert child.wait_for_end() == ProcessEnded(0, None, (), asked_for=True)
    assert not child.process.is_alive


def test_the_end_of_stdin_is_asking_too(start_child):
    child = start_child("import sys; sys.stdin.read(); sys.exit(4)")
    assert child.process.stop()
    assert child.wait_for_end().returncode == 4


@posix_only
def test_a_child_that_does_not_listen_is_terminated(start_child):
    child = start_child("import time; print('up', flush=True); time.sleep(600)")
    child.wait_for_messages(1)
    assert child.process.stop(ask=Shutdown(), ask_seconds=0.05)
    assert child.wait_for_end().signal_name == "SIGTERM"
    assert child.ended[0].asked_for


@posix_only
def test_a_child_that_ignores_terminate_is_killed(start_child):
    child = start_child(DEAF)
    child.wait_for_messages(1)
    assert child.process.stop(ask=Shutdown(), ask_seconds=0.05, terminate_seconds=0.05)
    assert child.wait_for_end().signal_name == "SIGKILL"


@posix_only
def test_a_full_pipe_to_a_stopped_child_blocks_nobody(start_child):
    child = start_child(ECHO)
    child.process.send(CancelLoad())
    child.wait_for_messages(1)
    os.kill(child.process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    for number in range(40):
        child.process.send(CountTokens(request_id=number, text="x" * 100_000))
    assert time.monotonic() - begun < 0.5
    assert child.process.stop(ask=Shutdown(), ask_seconds=0.1, terminate_seconds=0.1)
    assert child.wait_for_end().signal_name == "SIGKILL"


def test_an_exit_without_being_asked_is_no_stop(start_child):
    ended = start_child("import sys; sys.exit(7)").wait_for_end()
    assert ended == ProcessEnded(7, None, (), asked_for=False)


@posix_only
def test_a_signal_is_called_by_its_name(start_child):
    ended = start_child("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").wait_for_end()
    assert ended.signal_name == "SIGSEGV" and ended.returncode == -signal.SIGSEGV and not ended.asked_for


@posix_only
def test_a_real_time_signal_has_a_name_too(start_child):
    ended = start_child("import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 1)").wait_for_end()
    assert ended.signal_name == f"signal {signal.SIGRTMIN + 1}"


def _refuse(line: bytes) -> bytes:
    if b"good" not in line:
        raise ProtocolError("not a message", line)
    return line


def test_a_line_that_does_not_decode_ends_the_child_and_is_told(start_child):
    child = start_child("import time; print('good'); print('nonsense', flush=True); time.sleep(600)", decode=_refuse)
    ended = child.wait_for_end()
    assert ended.protocol_error == "not a message: nonsense\n"
    assert not ended.asked_for
    assert len(child.messages) == 1


def test_half_a_line_at_the_end_is_told_with_the_true_status(start_child):
    child = start_child("import os; os.write(1, b'good\\n{\"half'); os._exit(9)", decode=_refuse)
    ended = child.wait_for_end()
    assert ended.returncode == 9
    assert ended.protocol_error == 'the line is not complete: {"half'


def test_half_a_line_of_a_child_that_was_stopped_is_no_error(start_child):
    child = start_child("import os, sys; os.write(1, b'good\\n{\"half'); sys.stdin.read()", decode=_refuse)
    child.wait_for_messages(1)
    child.process.stop()
    assert child.wait_for_end().protocol_error is None


def test_a_child_that_only_closes_its_output_is_ended(start_child, monkeypatch):
    monkeypatch.setattr(process_module, "EXIT_PATIENCE_S", 0.1)
    ended = start_child("import os, time; os.close(1); time.sleep(600)").wait_for_end()
    assert not ended.asked_for and ended.returncode != 0


def test_the_last_fifty_lines_of_stderr_are_kept_and_all_are_in_the_log(start_child, tmp_path):
    log_path = tmp_path / "logs" / "engine.log"
    code = "import sys\nfor n in range(300): print('line', n, file=sys.stderr)"
    ended = start_child(code, log_path=log_path).wait_for_end()
    assert ended.stderr_tail == tuple(f"line {number}" for number in range(250, 300))
    assert log_path.read_text().splitlines() == [f"line {number}" for number in range(300)]


def test_megabytes_on_stderr_without_a_line_end_do_not_stop_the_child(start_child):
    code = """
        import os
        os.write(2, b"first\\n")
        for _ in range(200):
            os.write(2, b"x" * 65536)
        os.write(1, b"still here\\n")
    """
    child = start_child(code)
    assert child.wait_for_messages(1) == [b"still here"]
    tail = child.wait_for_end().stderr_tail
    assert tail[0] == "first" and len(tail) == 2
    assert len(tail[1]) == process_module.STDERR_LINE_CHARACTERS


def test_control_characters_and_broken_utf8_do_not_reach_the_tail(start_child):
    ended = start_child(r"import os; os.write(2, b'\x1b[31mred\x1b[0m \xff\x07 tab\there\r\n')").wait_for_end()
    assert ended.stderr_tail == ("red � tab\there",)


def test_a_log_that_has_grown_is_put_aside(start_child, tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "LOG_BYTES", 10)
    log_path = tmp_path / "engine.log"
    log_path.write_text("older lines")
    start_child("import sys; sys.stderr.write('new line that is long')", log_path=log_path).wait_for_end()
    start_child("import sys; sys.stderr.write('newest')", log_path=log_path).wait_for_end()
    assert log_path.read_text() == "newest"
    assert log_path.with_name("engine.log.1").read_text() == "new line that is long"


def test_a_log_stops_growing_at_its_limit(start_child, tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "LOG_BYTES", 100_000)
    log_path = tmp_path / "engine.log"
    start_child("import os\nfor _ in range(40): os.write(2, b'x' * 65536)", log_path=log_path).wait_for_end()
    assert 100_000 <= log_path.stat().st_size < 300_000


def test_a_log_that_cannot_be_written_is_no_failure(start_child, tmp_path):
    occupied = tmp_path / "file"
    occupied.write_text("")
    child = start_child("import sys; sys.stderr.write('words')", log_path=occupied / "engine.log")
    assert child.wait_for_end().stderr_tail == ("words",)


def test_a_program_that_does_not_exist_raises_at_start(tmp_path):
    process = WorkerProcess(
        command=[str(tmp_path / "nothing")], decode=bytes, on_message=lambda _: None, on_ended=lambda _: None
    )
    with pytest.raises(OSError):
        process.start()
    assert process.stop() and process.pid is None


@posix_only
def test_the_child_stands_in_a_session_of_its_own(start_child):
    child = start_child(ECHO)
    assert os.getsid(child.process.pid) == child.process.pid


def test_empty_entries_of_the_python_path_do_not_reach_the_child(start_child, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), "relative", ""]))
    child = start_child("import os; print(os.environ['PYTHONPATH'])")
    (line,) = child.wait_for_messages(1)
    assert line.decode().strip() == os.pathsep.join([str(tmp_path), str(Path("relative").absolute())])


def test_the_given_environment_reaches_the_child(start_child):
    child = start_child("import os; print(os.environ['HF_HUB_OFFLINE'])", environment={"HF_HUB_OFFLINE": "yes"})
    assert child.wait_for_messages(1)[0].strip() == b"yes"


def test_the_callback_may_stop_its_own_process():
    finished = threading.Event()
    results: list[object] = []

    def on_message(_: bytes) -> None:
        results.append(process.stop(ask=Shutdown()))

    def on_ended(ended: ProcessEnded) -> None:
        results.append(ended.asked_for)
        finished.set()

    process: WorkerProcess[bytes] = WorkerProcess(
        command=[sys.executable, "-c", textwrap.dedent(ECHO)], decode=bytes, on_message=on_message, on_ended=on_ended
    )
    process.start()
    process.send(CancelLoad())
    assert finished.wait(WAIT_S)
    assert results[-1] is True and len(results) == 2
    process.join(WAIT_S)


def test_sending_to_an_ended_child_does_nothing(start_child):
    child = start_child("pass")
    child.wait_for_end()
    child.process.send(CancelLoad())
    child.process.kill()
    assert child.process.stop()


@pytest.mark.slow
def test_a_grandchild_that_holds_the_outputs_does_not_hide_the_end(start_child):
    code = """
        import subprocess, sys
        grandchild = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdout=2,
                                      stdin=subprocess.PIPE)
        print(grandchild.pid, flush=True)
        sys.stdin.read()
    """
    child = start_child(code)
    grandchild = psutil.Process(int(child.wait_for_messages(1)[0]))
    child.process.kill()
    assert child.wait_for_end().asked_for
    grandchild.wait(WAIT_S)


def test_threads_have_names(start_child):
    before = {thread.name for thread in threading.enumerate()}
    start_child(ECHO, name="download")
    names = {thread.name for thread in threading.enumerate()} - before
    assert names == {"snug-download-reader", "snug-download-writer", "snug-download-stderr"}
