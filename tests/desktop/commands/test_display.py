from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from desktop.commands import display as display_module
from desktop.commands.display import missing_display

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such displays")


@pytest.fixture(autouse=True)
def _x_libraries_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this machine has the libraries of X is not what most tests ask."""
    monkeypatch.setattr(display_module, "_x_plugin", lambda: None)


@linux_only
def test_without_any_display_there_is_none() -> None:
    assert missing_display({}) == "there is no display here"


@linux_only
@pytest.mark.parametrize("display", [":987", ":987.0", "unix:987"])
def test_a_display_that_nobody_serves_does_not_count(display: str) -> None:
    assert missing_display({"DISPLAY": display}) == f"the display {display} does not answer"


@linux_only
def test_a_wayland_display_counts_while_somebody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = {"WAYLAND_DISPLAY": "wayland-7", "XDG_RUNTIME_DIR": "."}
    monkeypatch.chdir(tmp_path)  # the path of a local socket may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("wayland-7")
        server.listen()
        assert missing_display(environment) is None

    assert missing_display(environment) == "the display wayland-7 does not answer"


@linux_only
def test_an_x_display_counts_while_somebody_listens() -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0/tmp/.X11-unix/X98765")
        server.listen()
        assert missing_display({"DISPLAY": ":98765"}) is None
        assert missing_display({"DISPLAY": ":98765", "WAYLAND_DISPLAY": "gone"}) is None


@linux_only
def test_a_missing_system_library_is_named_before_qt_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = tmp_path / "libqxcb.so"
    monkeypatch.setattr(display_module, "_x_plugin", lambda: plugin)
    reason = missing_display({"DISPLAY": "elsewhere:1"})
    assert reason == f"Qt needs the system library {plugin} for a window, and it is not installed"


@linux_only
def test_a_display_on_another_computer_is_left_to_qt() -> None:
    assert missing_display({"DISPLAY": "localhost:10.0"}) is None


@pytest.mark.parametrize("platform", ["offscreen", "minimal", "vnc:size=800x600"])
def test_a_platform_without_a_screen_needs_none(platform: str) -> None:
    assert missing_display({"QT_QPA_PLATFORM": platform}) is None


def test_a_mac_over_ssh_has_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert missing_display({"SSH_CONNECTION": "a b"}) == "this is a session over ssh"
    assert missing_display({}) is None


def test_windows_always_has_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    assert missing_display({}) is None
