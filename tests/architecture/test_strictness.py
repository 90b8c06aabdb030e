"""The hunters of tests/conftest.py catch what they hunt, and leave good tests alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SAMPLE = """
import logging, socket, subprocess, sys, threading
from pathlib import Path
import pytest
from PySide6.QtCore import QThread, QTimer
from PySide6.QtWidgets import QMessageBox, QWidget

kept = []

def test_bad_thread():
    stop = threading.Event()
    kept.append(stop)
    threading.Thread(target=stop.wait, name="the-thread", daemon=True).start()

def test_bad_process():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_bad_timer(qapp):
    timer = QTimer()
    timer.start(1000)
    kept.append(timer)

def test_bad_qthread(qapp):
    thread = QThread()
    thread.start()
    kept.append(thread)

def test_bad_window(qapp):
    kept.append(QWidget(windowTitle="the-window"))

def test_bad_dialog(qapp):
    with pytest.raises(AssertionError):
        QMessageBox.warning(None, "title", "text")

def test_bad_log():
    logging.getLogger("some.module").warning("nobody announced this")

def test_bad_announcement(expect_log):
    expect_log("never logged")

def test_bad_connection():
    with socket.socket() as connection, pytest.raises(PermissionError):
        connection.connect(("192.0.2.1", 80))

def test_bad_name():
    with pytest.raises(PermissionError):
        socket.create_connection(("example.org", 80))

def test_good_thread():
    threading.Thread(target=len, args=("",)).start()

def test_good_process():
    subprocess.run([sys.executable, "-c", ""], check=True)

def test_good_window(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.show()
    timer = QTimer(widget)
    timer.start(1000)

def test_good_log(expect_log):
    expect_log("half .* battle", level=logging.ERROR)
    logging.getLogger("some.module").error("half the battle")

def test_good_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass

@pytest.mark.slow
def test_slow():
    raise AssertionError("--quick leaves this out")
"""

STRAY = """
from pathlib import Path

def test_writes_home():
    Path.home().joinpath("stray.txt").write_text("here")
"""

ORPHAN = """
import subprocess, sys

def test_leaves_an_orphan():
    middle = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(8)'])"
    subprocess.run([sys.executable, "-c", middle], check=True)
"""


def run_pytest(directory: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Run tests under our conftest and our configuration, in a process of their own and with little patience."""
    conftest = (ROOT / "tests" / "conftest.py").read_text("utf-8")
    conftest = re.sub(r"(?m)^(THREAD|PROCESS)_GRACE_S = .*$", r"\1_GRACE_S = 0.3", conftest)
    tests = directory / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text(conftest, "utf-8")
    (tests / "test_sample.py").write_text(source, "utf-8")
    shutil.copyfile(ROOT / "pyproject.toml", directory / "pyproject.toml")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--quick", "-W", "default"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_hunters_catch_the_bad_and_spare_the_good(tmp_path: Path) -> None:
    result = run_pytest(tmp_path, SAMPLE)
    complaints = set(re.findall(r"(?m)^ERROR tests/test_sample.py::test_(\w+)", result.stdout))
    assert complaints == {
        "bad_thread", "bad_process", "bad_timer", "bad_qthread", "bad_window", "bad_dialog", "bad_log",
        "bad_announcement", "bad_connection", "bad_name",
    }, result.stdout  # fmt: skip
    assert "FAILED" not in result.stdout
    assert "1 deselected" in result.stdout
    for evidence in ("the-thread", "the-window", "nobody announced this", "192.0.2.1", "example.org", "input()"):
        assert evidence in result.stdout


@pytest.mark.parametrize(
    ("source", "evidence"), [(STRAY, "stray.txt"), (ORPHAN, "time.sleep(8)")], ids=["home", "orphan"]
)
@pytest.mark.slow
def test_run_fails_for_what_lies_around_at_its_end(tmp_path: Path, source: str, evidence: str) -> None:
    result = run_pytest(tmp_path, source)
    assert "1 passed" in result.stdout
    assert "LEFT BEHIND" in result.stdout
    assert evidence in result.stdout
    assert result.returncode == 1
