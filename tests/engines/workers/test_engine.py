"""The engine process from outside: what comes out of its pipe for what goes in."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from engines.base import ChatMessage, GenerationOptions, LoadSettings, Usage
from engines.process import OFFLINE_ENVIRONMENT, ProcessEnded, WorkerProcess
from engines.protocol import (
    PROTOCOL_VERSION,
    Cancel,
    CancelLoad,
    CountTokens,
    DeviceList,
    Failed,
    Finished,
    Generate,
    Hello,
    ListDevices,
    Load,
    Loaded,
    Loading,
    PieceMessage,
    ReadingProgress,
    Shutdown,
    TokenCount,
    Unload,
    Unloaded,
    decode_from_engine,
)

WAIT_S = 30.0
COMMAND = [sys.executable, "-P", "-m", "engines.workers.engine"]
HELLO = '[[reply]]\ntext = "Hello there."\n'
SLOW = '[[reply]]\ntext = "tick "\nrepeat = 2000\ntoken_seconds = 0.02\n'
ENDS = (Finished, Failed, TokenCount)


class Worker:
    """An engine process and what it has said."""

    def __init__(self, command=None, **options):
        self.messages = []
        self.ended: ProcessEnded | None = None
        self.news = threading.Condition()
        self.process = WorkerProcess(
            command=command or COMMAND,
            decode=decode_from_engine,
            on_message=self._on_message,
            on_ended=self._on_ended,
            **options,
        )

    def _on_message(self, message):
        with self.news:
            self.messages.append(message)
            self.news.notify_all()

    def _on_ended(self, ended):
        with self.news:
            self.ended = ended
            self.news.notify_all()

    def send(self, *messages):
        for message in messages:
            self.process.send(message)

    def wait(self, *kinds, count: int = 1, **fields):
        """The `count`th message of these kinds whose fields are as given."""

        def found():
            matching = [
                message
                for message in self.messages
                if isinstance(message, kinds)
                and all(getattr(message, name, ...) == value for name, value in fields.items())
            ]
            return matching[count - 1] if len(matching) >= count else None

        with self.news:
            assert self.news.wait_for(lambda: found() is not None or self.ended, WAIT_S), self.messages[-3:]
            message = found()
            assert message is not None, self.ended
            return message

    def wait_for_end(self) -> ProcessEnded:
        with self.news:
            assert self.news.wait_for(lambda: self.ended, WAIT_S)
        self.process.join(WAIT_S)
        return self.ended

    def pieces(self, request_id: int) -> str:
        return "".join(m.text for m in self.messages if isinstance(m, PieceMessage) and m.request_id == request_id)


@pytest.fixture
def start_worker():
    workers: list[Worker] = []

    def start(**options) -> Worker:
        worker = Worker(**options)
        worker.process.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.process.stop(ask=Shutdown())


@pytest.fixture
def loaded_worker(start_worker, write_script):
    def start(script: str) -> Worker:
        worker = start_worker()
        worker.send(load(write_script(script)))
        worker.wait(Loaded)
        return worker

    return start


@pytest.fixture
def worker_of_class(start_worker):
    """A real engine process whose engine is a class given as text: for engines that break the rules of engines."""

    def start(methods: str) -> Worker:
        code = textwrap.dedent(
            """
            from engines.base import *
            from engines.errors import *
            from engines.workers import engine as worker
            class Odd(Engine):
                def load(self, model_path, settings, on_progress):
                    return LoadedModel("odd", "odd", 1, 1, 0, 0, 1, "cpu", "plain", True, False, 0.0)
                def generate(self, messages, options, is_cancelled): ...
                def count_tokens(self, text): ...
                def close(self): ...
            """
        )
        code += textwrap.indent(textwrap.dedent(methods), "    ")
        code += "\nworker.create = lambda _: Odd()\nworker.main()\n"
        return start_worker(command=[sys.executable, "-c", code])

    return start


def load(path: Path, engine: str = "scripted", **settings) -> Load:
    return Load(engine=engine, model_path=str(path), settings=LoadSettings(**settings))


def generate(request_id: int, text: str = "Hi", **options) -> Generate:
    return Generate(request_id=request_id, messages=(ChatMessage("user", text),), options=GenerationOptions(**options))


def test_hello_is_the_first_line_and_tells_versions(start_worker):
    worker = start_worker()
    worker.wait(Hello)
    first = worker.messages[0]
    assert first.protocol == PROTOCOL_VERSION
    assert first.versions.engine.startswith("snug ")
    assert first.versions.libraries["llama-cpp-python"]


def test_a_load_and_a_reply_come_in_order(loaded_worker):
    worker = loaded_worker(HELLO)
    worker.send(generate(1))
    worker.wait(Finished)
    kinds = [type(message) for message in worker.messages]
    assert list(dict.fromkeys(kinds)) == [Hello, Loading, Loaded, ReadingProgress, PieceMessage, Finished]
    assert worker.pieces(1) == "Hello there."


def test_load_progress_is_calm_but_the_last_always_comes(start_worker, write_script):
    worker = start_worker()
    worker.send(load(write_script("[load]\nsteps = 5000\n" + HELLO)))
    worker.wait(Loaded)
    shares = [message.share for message in worker.messages if isinstance(message, Loading)]
    assert len(shares) < 100
    assert shares[-1] == 1.0


def test_a_cancel_that_comes_before_its_request_begins_ends_it_at_once(loaded_worker):
    worker = loaded_worker(SLOW)
    worker.send(generate(1), generate(2), Cancel(request_id=2))
    worker.wait(PieceMessage, request_id=1)
    worker.send(Cancel(request_id=1))
    assert worker.wait(Finished, request_id=1).reason == "cancelled"
    assert worker.wait(Finished, request_id=2) == Finished(request_id=2, reason="cancelled", usage=Usage())
    assert worker.pieces(2) == ""


def test_a_cancel_after_the_end_has_no_effect(loaded_worker):
    worker = loaded_worker(HELLO)
    worker.send(generate(1))
    worker.wait(Finished, request_id=1)
    worker.send(Cancel(request_id=1), Cancel(request_id=77), CancelLoad(), generate(2))
    assert worker.wait(Finished, request_id=2).reason == "end"


def test_a_load_can_be_cancelled_and_another_one_follows(start_worker, write_script):
    worker = start_worker()
    worker.send(load(write_script("[load]\nsteps = 1000\nstep_seconds = 0.05\n" + HELLO)))
    worker.wait(Loading)
    worker.send(CancelLoad())
    worker.wait(Unloaded)
    assert not any(isinstance(message, (Loaded, Failed)) for message in worker.messages)
    worker.send(load(write_script(HELLO)))
    worker.wait(Loaded)


def test_a_load_that_was_cancelled_while_it_waited_does_not_begin(loaded_worker, write_script):
    worker = loaded_worker(SLOW)
    worker.send(generate(1))
    worker.wait(PieceMessage)
    worker.send(load(write_script(HELLO)), CancelLoad(), Cancel(request_id=1))
    worker.wait(Unloaded)
    assert sum(isinstance(message, Loaded) for message in worker.messages) == 1
    worker.send(generate(2))
    assert worker.wait(Failed, request_id=2).code == "engine_busy"


def test_the_process_stays_alive_without_a_model(loaded_worker, write_script):
    worker = loaded_worker(HELLO)
    worker.send(Unload())
    worker.wait(Unloaded)
    worker.send(generate(1), CountTokens(request_id=2, text="x"))
    assert worker.wait(Failed, request_id=1).code == "engine_busy"
    assert worker.wait(Failed, request_id=2).code == "engine_busy"
    worker.send(load(write_script(HELLO)), generate(3), CountTokens(request_id=4, text="one two"))
    assert worker.wait(Finished, request_id=3).reason == "end"
    assert worker.wait(TokenCount, request_id=4).tokens == 2


def test_devices_are_listed_without_a_model(loaded_worker):
    worker = loaded_worker(HELLO)
    worker.send(Unload(), ListDevices(request_id=1, engine="scripted"), ListDevices(request_id=2, engine="steam"))
    assert worker.wait(DeviceList, request_id=1).devices == ()
    assert worker.wait(Failed, request_id=2).code == "engine_start"


def test_a_second_load_replaces_the_first(loaded_worker, write_script):
    worker = loaded_worker(HELLO)
    worker.send(load(write_script('name = "Second"\n[[reply]]\ntext = "Another."\n')))
    assert worker.wait(Loaded, count=2).model.model_name == "Second"
    worker.send(generate(1))
    worker.wait(Finished)
    assert worker.pieces(1) == "Another."


@pytest.mark.parametrize(
    ("engine", "file_name", "code"),
    [("scripted", "missing.toml", "model_file"), ("psychic", "missing.toml", "engine_start")],
)
def test_a_load_that_cannot_be_fails_in_words(start_worker, tmp_path, engine, file_name, code):
    worker = start_worker()
    worker.send(load(tmp_path / file_name, engine))
    failed = worker.wait(Failed, request_id=None)
    assert failed.code == code and failed.title and failed.advice


def test_an_error_of_the_engine_keeps_its_words(loaded_worker):
    worker = loaded_worker(
        '[[reply]]\ntext = "a b c"\n[reply.fails]\ncode = "chat_template"\ntitle = "T"\nadvice = "A"\n'
        'details = "D"\nafter_tokens = 2\n'
    )
    worker.send(generate(1))
    assert worker.wait(Failed) == Failed(request_id=1, code="chat_template", title="T", advice="A", details="D")
    assert worker.pieces(1) == "a b"


@pytest.mark.parametrize(
    ("how", "code", "details"),
    [
        ("exception", "internal", "ValueError: babble"),
        ("memory_error", "not_enough_memory", "MemoryError"),
        ("no_end", "internal", "without saying how"),
    ],
)
def test_a_foreign_exception_becomes_one_failed_with_its_traceback(loaded_worker, how, code, details):
    worker = loaded_worker(f'[[reply]]\ntext = "a"\n[reply.misbehaves]\nhow = "{how}"\n' + HELLO)
    worker.send(generate(1), generate(2))
    failed = worker.wait(Failed, request_id=1)
    assert failed.code == code and details in failed.details
    assert "Error" not in failed.title + failed.advice
    # The engine serves on.
    worker.wait(Failed, request_id=2)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("yield Piece('a')", "without saying how"),
        ("yield 'a string'", "yielded a str"),
        ("yield None", "yielded a NoneType"),
        ("return 5", "TypeError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("yield Piece('a', kind='shout')\n    yield Outcome('end', Usage())", None),
    ],
)
def test_an_engine_that_breaks_the_rules_costs_one_failed_at_most(worker_of_class, body, wanted):
    worker = worker_of_class(f"def generate(self, messages, options, is_cancelled):\n    {body}\n")
    worker.send(load(Path("odd")), generate(1), Unload())
    if wanted is None:
        # A kind that the protocol does not know ends the process: the reader does not understand the line.
        assert "shout" in worker.wait_for_end().protocol_error
        return
    worker.wait(Unloaded)
    ends = [message for message in worker.messages if isinstance(message, ENDS)]
    assert len(ends) == 1 and ends[0].code == "internal" and wanted in ends[0].details


@pytest.mark.parametrize(
    "tail",
    [
        "yield Outcome('end', Usage())\n    yield Piece('too late')\n    yield Outcome('length', Usage())",
        "try:\n        yield Outcome('end', Usage())\n    finally:\n        raise ValueError('on the way out')",
        "try:\n        yield Outcome('end', Usage())\n    finally:\n        yield Piece('refuses to end')",
    ],
)
def test_what_an_engine_does_after_its_outcome_changes_nothing(worker_of_class, tail):
    worker = worker_of_class(f"def generate(self, messages, options, is_cancelled):\n    {tail}\n")
    worker.send(load(Path("odd")), generate(1), generate(2), Unload())
    worker.wait(Unloaded)
    ends = [message for message in worker.messages if isinstance(message, ENDS)]
    assert [(end.request_id, end.reason) for end in ends] == [(1, "end"), (2, "end")]
    assert worker.pieces(1) == ""


def test_the_reply_is_closed_before_its_end_is_told(worker_of_class):
    worker = worker_of_class(
        """
        open = 0
        def generate(self, messages, options, is_cancelled):
            assert Odd.open == 0
            Odd.open += 1
            try:
                yield Piece("a")
                raise ValueError
            finally:
                Odd.open -= 1
        def count_tokens(self, text):
            return Odd.open
        """
    )
    worker.send(load(Path("odd")), generate(1), CountTokens(request_id=2, text=""), generate(3))
    assert worker.wait(TokenCount).tokens == 0
    assert "AssertionError" not in worker.wait(Failed, request_id=3).details


def test_an_engine_that_cannot_close_does_not_take_the_process_along(worker_of_class):
    worker = worker_of_class("def close(self):\n    raise OSError('stuck')\n")
    worker.send(load(Path("odd")), Unload(), load(Path("odd")))
    worker.wait(Loaded, count=2)


@pytest.mark.parametrize("error", ["MemoryError", "SystemExit", "ValueError('x')", "LoadCancelled"])
def test_whatever_a_load_raises_is_told(worker_of_class, error):
    worker = worker_of_class(f"def load(self, model_path, settings, on_progress):\n    raise {error}\n")
    worker.send(load(Path("odd")), generate(1))
    worker.wait(Failed, request_id=1)
    kinds = [type(message) for message in worker.messages]
    assert kinds == [Hello, Unloaded if error == "LoadCancelled" else Failed, Failed]


def test_a_load_that_does_not_heed_the_cancel_is_undone(worker_of_class):
    worker = worker_of_class(
        """
        def load(self, model_path, settings, on_progress):
            import time
            on_progress(0.5)
            while on_progress(0.6):
                time.sleep(0.01)
            return LoadedModel("odd", "odd", 1, 1, 0, 0, 1, "cpu", "plain", True, False, 0.0)
        """
    )
    worker.send(load(Path("odd")))
    worker.wait(Loading)
    worker.send(CancelLoad())
    worker.wait(Unloaded)
    assert not any(isinstance(message, Loaded) for message in worker.messages)


def test_what_a_library_prints_from_c_lands_on_stderr(loaded_worker):
    worker = loaded_worker(HELLO + '[reply.misbehaves]\nhow = "print"\ntext = "hello from C"\nafter_tokens = 1\n')
    worker.send(generate(1))
    assert worker.wait(Finished).reason == "end"
    worker.process.stop(ask=Shutdown())
    assert "hello from C" in worker.wait_for_end().stderr_tail


def test_megabytes_on_stderr_do_not_hold_up_a_reply(loaded_worker):
    worker = loaded_worker(HELLO + '[reply.misbehaves]\nhow = "flood"\nafter_tokens = 1\n')
    worker.send(generate(1))
    assert worker.wait(Finished).reason == "end"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_segmentation_fault_leaves_a_stack_on_stderr(loaded_worker):
    worker = loaded_worker(HELLO + '[reply.misbehaves]\nhow = "segfault"\n')
    worker.send(generate(1))
    ended = worker.wait_for_end()
    assert ended.signal_name == "SIGSEGV"
    assert any("Fatal Python error" in line for line in ended.stderr_tail)
    assert any("misdeeds.py" in line for line in ended.stderr_tail)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_an_interrupt_meant_for_the_terminal_does_not_reach_it(loaded_worker):
    worker = loaded_worker(SLOW)
    worker.send(generate(1))
    worker.wait(PieceMessage)
    os.kill(worker.process.pid, signal.SIGINT)
    worker.send(Cancel(request_id=1))
    assert worker.wait(Finished).reason == "cancelled"


@pytest.mark.parametrize("script", [HELLO, SLOW, HELLO + '[reply.misbehaves]\nhow = "hang"\n'])
def test_shutdown_ends_it_idle_busy_or_hanging(loaded_worker, script):
    worker = loaded_worker(script)
    worker.send(generate(1))
    worker.wait(ReadingProgress)
    worker.process.stop(ask=Shutdown(), ask_seconds=WAIT_S)
    assert worker.wait_for_end().returncode == 0


def test_a_folder_named_engines_is_never_imported(start_worker, tmp_path, monkeypatch):
    trap = tmp_path / "engines"
    trap.mkdir()
    (trap / "__init__.py").write_text("raise SystemExit('the folder was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "."]) if sys.platform == "win32" else ":")
    worker = start_worker(working_directory=tmp_path)
    worker.wait(Hello)


def test_it_forbids_the_hub_client_the_network_and_imports_neither_it_nor_qt(start_worker, write_script):
    code = textwrap.dedent(
        """
        import os, sys
        from engines.base import EngineVersions
        from engines.protocol import Hello
        from engines.workers import engine as worker
        def answer(self):
            unwanted = [n for n in ("PySide6", "shiboken6", "huggingface_hub", "llama_cpp") if n in sys.modules]
            told = EngineVersions(",".join(unwanted), "3", dict(os.environ))
            self._channel.send(Hello(protocol=1, versions=told))
        worker.EngineWorker.run = answer
        worker.main()
        """
    )
    environment = dict.fromkeys(OFFLINE_ENVIRONMENT, "0")
    worker = start_worker(command=[sys.executable, "-c", code], environment=environment)
    versions = worker.wait(Hello).versions
    assert versions.engine == ""
    assert {name: versions.libraries[name] for name in OFFLINE_ENVIRONMENT} == dict(OFFLINE_ENVIRONMENT)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("script", [HELLO, SLOW, HELLO + '[reply.misbehaves]\nhow = "hang"\n'])
def test_no_engine_outlives_an_app_that_is_killed(write_script, wait_until_gone, script):
    app = textwrap.dedent(
        """
        import sys, threading
        from pathlib import Path
        from engines.base import *
        from engines.client import EngineClient, Ready
        from engines.protocol import Finished, ReadingProgress
        def on_event(event):
            if isinstance(event, ReadingProgress):
                print(client._process.pid, flush=True)
        client = EngineClient(engine="scripted", model_path=Path(sys.argv[1]), settings=LoadSettings(),
                              on_event=on_event)
        client.generate([ChatMessage("user", "Hi")], GenerationOptions())
        threading.Event().wait()
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", app, str(write_script(script))], stdout=subprocess.PIPE)
    with parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
        parent.wait()
    wait_until_gone(child.pid)
