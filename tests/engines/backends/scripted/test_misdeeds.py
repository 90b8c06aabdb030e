"""Each misdeed is done for real, in a child of its own. What the app makes of them is tested in test_client."""

import os
import subprocess
import sys
import typing

import pytest

from engines.backends.scripted import misdeeds
from engines.backends.scripted.misdeeds import misbehave
from engines.backends.scripted.script import How, Misdeed

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


def run_misdeed(how: str, before: str = "", **fields) -> subprocess.CompletedProcess[bytes]:
    code = (
        "from engines.backends.scripted.misdeeds import misbehave\n"
        "from engines.backends.scripted.script import Misdeed\n"
        f"{before}\n"
        f"misbehave(Misdeed(how={how!r}, **{fields!r}))\n"
        "print('lives on')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)


def test_everything_a_script_can_ask_for_can_be_done():
    assert set(typing.get_args(How)) == set(misdeeds._MISDEEDS)


@posix_only
@pytest.mark.parametrize(
    ("how", "number"),
    [("segfault", 11), ("abort", 6), ("illegal_instruction", 4), ("bus_error", 7), ("kill", 9)],
)
def test_a_crash_is_a_real_one(how, number):
    number = 10 if how == "bus_error" and sys.platform == "darwin" else number
    done = run_misdeed(how)
    assert done.returncode == -number and b"lives on" not in done.stdout


def test_it_leaves_with_the_status_it_is_told():
    assert run_misdeed("exit", status=42).returncode == 42


def test_it_raises():
    with pytest.raises(MemoryError):
        misbehave(Misdeed(how="memory_error"))
    with pytest.raises(ValueError, match="of this kind"):
        misbehave(Misdeed(how="exception", text="of this kind"))
    misbehave(Misdeed(how="no_end"))
    misbehave(Misdeed(how="hang", seconds=0.0))


def test_it_prints_from_c_past_python():
    done = run_misdeed("print", before="import sys; sys.stdout = None", text="from C")
    assert done.stdout.split() == [b"from", b"C"]


def test_it_floods_stderr():
    done = run_misdeed("flood", text="line\n", bytes=1_000_000)
    assert len(done.stderr) >= 1_000_000 and done.stderr.startswith(b"line\nline\n")
    assert b"lives on" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe is handed on by number only on POSIX")
@pytest.mark.parametrize(("how", "written"), [("half_line", b'{"kind":"piece","text":"x'), ("nonsense", b"x\n")])
def test_it_writes_into_a_pipe_that_is_not_its_own(how, written):
    reading, writing = os.pipe()
    code = (
        "from engines.backends.scripted.misdeeds import misbehave\n"
        "from engines.backends.scripted.script import Misdeed\n"
        f"misbehave(Misdeed(how={how!r}, text='x'))"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code], pass_fds=(writing,), timeout=60, check=False)
    finally:
        os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == written
    assert done.returncode == (1 if how == "half_line" else 0)
