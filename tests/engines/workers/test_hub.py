"""The hub's process from outside and below; whole conversations with a server are in tests/engines/test_hub.py."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from engines.hub_protocol import HUB_PROTOCOL_VERSION, HubHello, decode_from_hub
from engines.protocol import Shutdown, encode
from engines.workers.channel import EXIT_PROTOCOL

COMMAND = [sys.executable, "-P", "-m", "engines.workers.hub"]


def run(given: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(COMMAND, input=given, capture_output=True, timeout=60, check=False)


def evaluate(code: str) -> str:
    """Prints of a fresh process that has imported the module; its client must not live in the tests' own process."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from engines.workers.hub import *\n" + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("given", [b"", encode(Shutdown())])
def test_it_says_hello_and_leaves_with_its_input(given: bytes) -> None:
    done = run(given)
    (line,) = done.stdout.splitlines()
    hello = decode_from_hub(line)
    assert isinstance(hello, HubHello) and hello.protocol == HUB_PROTOCOL_VERSION and hello.client_version
    assert done.returncode == 0, done.stderr


def test_what_is_not_a_message_ends_it() -> None:
    assert run(b'{"kind":"generate"}\n').returncode == EXIT_PROTOCOL


def test_it_loads_neither_qt_nor_an_engine() -> None:
    heavy = ("PySide6", "llama_cpp", "mlx", "torch", "transformers", "numpy", "desktop")
    loaded = evaluate(f"import sys; print([name for name in {heavy} if name in sys.modules])")
    assert loaded.strip() == "[]"


@pytest.mark.parametrize(
    ("endpoint", "trusted", "sent"),
    [
        ("https://huggingface.co", False, True),
        ("https://hf.co/", False, True),
        ("https://huggingface.co.evil.example", False, False),
        ("https://mirror.example", False, False),
        ("https://mirror.example", True, True),
    ],
)
def test_a_token_is_for_its_own_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str, trusted: bool, sent: bool
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert evaluate(f"print(token_for({endpoint!r}, {trusted}))").strip() == ("hf_secret" if sent else "False")


def test_a_token_can_be_kept_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert evaluate("print(token_for('https://huggingface.co', False))").strip() == "False"


def test_names_of_files_stay_below_the_folder() -> None:
    code = """
        for name in ["a.gguf", "UD-Q4/模型 a.gguf", "../a", "a/../b", "/a", "", "a//b", ".", "a/. ", "C:a", "a\\\\b",
                     "a?b", "a\\nb", "nul\\0", "trailing.", "..."]:
            try:
                print(name == local_path(Path("folder"), name).relative_to("folder").as_posix())
            except HubError:
                print("refused")
    """
    assert evaluate(code).split() == ["True", "True"] + ["refused"] * 14


def test_a_budget_counts_and_ends() -> None:
    code = """
        heard = []
        budget = Budget(100, heard.append)
        budget.count(60)
        budget.require(40, "a")
        print(budget.left_bytes, heard)
        try:
            budget.require(41, "a")
        except UnsupportedModelError as error:
            print(error.details)
    """
    assert evaluate(code).splitlines() == ["40 [60]", "a: 41 bytes more than 60 are over 100"]
