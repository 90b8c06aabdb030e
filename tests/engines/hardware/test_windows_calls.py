from __future__ import annotations

import sys

import pytest

from engines.hardware import windows
from engines.hardware.windows_calls import ask


@pytest.mark.skipif(sys.platform != "win32", reason="asks Windows")
def test_windows_answers() -> None:
    machine = windows.describe(ask())
    assert machine is not None
    assert machine.processor.physical_cores
    assert machine.memory_available_bytes
    assert machine.commit_left_bytes


@pytest.mark.skipif(sys.platform == "win32", reason="asks other systems")
def test_other_systems_answer_nothing() -> None:
    assert windows.describe(ask()) is None
