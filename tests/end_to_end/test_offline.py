"""A chat works with no network interface at all, and no process of it ever asks for one.

Two proofs with the real starter model. The first runs the whole chat in an empty network namespace (`unshare -n`).
The second traces every system call about sockets that the app and its engine process make (`strace`). Both tools are
Linux's; where one is missing or not allowed, its test says so and is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from desktop.core.paths import AppPaths
from desktop.core.settings import Settings, save_settings

CHAT = [sys.executable, "-m", "desktop", "chat", "--threads", "1", "--context", "512", "--temperature", "0",
        "--max-tokens", "12", "--seed", "1", "What is the capital of France?"]  # fmt: skip
FIT = [sys.executable, "-m", "desktop", "fit", "smollm2-135m-instruct", "--explain"]
WINDOW = [sys.executable, str(Path(__file__).parent / "offline_window.py")]
INTERNET = re.compile(r"\b(?:socket|connect|bind|sendto|sendmsg)\([^\n]*AF_INET6?\b[^\n]*")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces and strace are Linux's")


def works(*command: str) -> bool:
    """Whether a tool is there and allowed here."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run([*command, "true"], capture_output=True, timeout=30, check=False).returncode == 0


def without_network() -> list[str]:
    """The prefix that runs a command without any network interface."""
    for prefix in (["unshare", "-n"], ["unshare", "-rn"]):
        if works(*prefix):
            return prefix
    pytest.skip("this machine does not allow network namespaces (unshare -n)")


def keep_replies_short(data_directory: Path) -> None:
    """The starter model, at the sampling of a fresh profile, may go on for minutes; a few tokens prove the point."""
    paths = AppPaths.make(data_directory)
    paths.ensure()
    save_settings(paths.settings_path, Settings(max_tokens=16, threads=1, context_tokens=512))


def run(command: list[str], data_directory: Path) -> subprocess.CompletedProcess[str]:
    keep_replies_short(data_directory)
    environment = os.environ | {"SNUG_DATA_DIR": str(data_directory), "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL
    )


@linux_only
@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("command", [CHAT, FIT, WINDOW], ids=["terminal", "fit", "window"])
def test_a_chat_needs_no_network_interface(command: list[str], data_directory: Path) -> None:
    prefix = without_network()
    interfaces = subprocess.run(
        [*prefix, "cat", "/proc/net/dev"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    assert [line.split(":")[0].strip() for line in interfaces.splitlines()[2:]] == ["lo"]
    done = run([*prefix, *command], data_directory)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 5


@linux_only
@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("command", [CHAT, FIT, WINDOW], ids=["terminal", "fit", "window"])
def test_no_process_of_a_chat_opens_an_internet_socket(
    command: list[str], data_directory: Path, tmp_path: Path
) -> None:
    if not works("strace", "-o", os.devnull):
        pytest.skip("strace is not installed or not allowed here")
    trace = tmp_path / "trace"
    done = run(
        ["strace", "-f", "-qq", "-e", "trace=%network,execve", "-s", "64", "-o", str(trace), *command], data_directory
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 5
    calls = trace.read_text(encoding="utf-8", errors="replace")
    assert calls.count("engines.workers.engine") >= 1, "the trace did not follow the engine process"
    assert INTERNET.findall(calls) == []


@linux_only
def test_the_trace_would_show_a_connection(tmp_path: Path) -> None:
    """The check above can fail: a program that connects is seen."""
    if not works("strace", "-o", os.devnull):
        pytest.skip("strace is not installed or not allowed here")
    trace = tmp_path / "trace"
    program = "import socket; s = socket.socket(); s.settimeout(0.1); s.connect_ex(('127.0.0.1', 9)); s.close()"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=%network", "-o", str(trace), sys.executable, "-c", program],
        timeout=60, check=True,
    )  # fmt: skip
    assert INTERNET.findall(trace.read_text())
