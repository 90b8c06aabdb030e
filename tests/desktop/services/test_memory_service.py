"""Memory is looked at every few seconds while somebody wants to know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from desktop.services.background import Background
from desktop.services.memory_service import MemoryService
from engines.memory import Memory


@pytest.fixture
def background(qtbot: Any) -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


def test_memory_of_this_machine_is_told(background: Background, qtbot: Any) -> None:
    service = MemoryService(background.run)
    with qtbot.waitSignal(service.memory_changed) as told:
        service.look()
    assert 0 < told.args[0].available_bytes <= told.args[0].total_bytes
    assert service.memory == told.args[0]


def test_it_looks_again_until_it_is_stopped(
    background: Background, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(1, 1000))
    monkeypatch.setattr("desktop.services.memory_service.read_memory", lambda: Memory(1000, next(looks)))
    service = MemoryService(background.run, interval_ms=10)
    seen: list[int] = []
    service.memory_changed.connect(lambda memory: seen.append(memory.available_bytes))
    service.start()
    qtbot.waitUntil(lambda: len(seen) >= 3)
    service.stop()
    assert seen[:3] == [1, 2, 3]
