"""Whether a window could be opened here, found out before Qt is asked: Qt ends the process when it cannot."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

_LOCAL_X_DISPLAY = re.compile(r"(?:unix)?:(?P<number>\d+)(?:\.\d+)?")
_HEADLESS_PLATFORMS = ("offscreen", "minimal", "vnc", "linuxfb", "eglfs")
_TIMEOUT_SECONDS = 1.0


def missing_display(environment: Mapping[str, str]) -> str | None:
    """Why no window can be opened, as the end of the sentence "because ..."; None when one can."""
    if sys.platform == "win32":
        return None
    if environment.get("QT_QPA_PLATFORM", "").partition(":")[0] in _HEADLESS_PLATFORMS:
        return None
    if sys.platform == "darwin":
        over_ssh = environment.get("SSH_CONNECTION") or environment.get("SSH_TTY")
        return "this is a session over ssh" if over_ssh else None
    return _missing_unix_display(environment)


def _missing_unix_display(environment: Mapping[str, str]) -> str | None:
    wayland, x_display = environment.get("WAYLAND_DISPLAY", ""), environment.get("DISPLAY", "")
    if not wayland and not x_display:
        return "there is no display here"
    if wayland and _answers(str(Path(environment.get("XDG_RUNTIME_DIR", "/")) / wayland)):
        return None
    if not x_display:
        return f"the display {wayland} does not answer"
    match = _LOCAL_X_DISPLAY.fullmatch(x_display)
    if match is not None:  # else a display elsewhere, for example through ssh; only Qt can tell
        address = f"/tmp/.X11-unix/X{match['number']}"  # noqa: S108 - the X server listens there
        if not (_answers(address) or (sys.platform == "linux" and _answers(f"\0{address}"))):
            return f"the display {x_display} does not answer"
    missing = _missing_library(_x_plugin())
    return None if missing is None else f"Qt needs the system library {missing} for a window, and it is not installed"


def _x_plugin() -> Path | None:
    """Qt's plugin for X displays in the installed PySide6; found without importing it."""
    spec = importlib.util.find_spec("PySide6")
    if spec is None or spec.origin is None:
        return None
    plugin = Path(spec.origin).parent / "Qt" / "plugins" / "platforms" / "libqxcb.so"
    return plugin if plugin.exists() else None


def _missing_library(plugin: Path | None) -> str | None:
    """The library that keeps a plugin from being loaded, or None when it can be loaded."""
    if plugin is None:
        return None
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        return str(error).partition(":")[0]
    return None


def _answers(address: str) -> bool:
    """Somebody listens on this local socket."""
    if sys.platform == "win32":
        return False
    else:  # noqa: RET505 - mypy reads the branches of a platform apart only in this form
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_SECONDS)
            try:
                connection.connect(address)
            except (OSError, ValueError):  # nobody there, or a name that cannot be one
                return False
            return True
