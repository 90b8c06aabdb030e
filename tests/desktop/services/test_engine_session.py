"""One model from its lease to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from desktop.core.paths import AppPaths
from desktop.services.engine_session import EngineChoices, EngineSession, SessionKeeper
from engines.base import LoadSettings
from engines.client_values import Ready, StateChanged
from engines.errors import NotEnoughMemoryError
from engines.lease import Leases, read_leases
from engines.library import InstalledModel
from engines.load_planning import LoadPlan
from engines.memory import Memory


@pytest.fixture
def directory() -> Path:
    paths = AppPaths.make()
    paths.ensure()
    return paths.leases_directory


@pytest.fixture
def keeper(directory: Path) -> Iterator[SessionKeeper]:
    made = SessionKeeper(Leases(directory, "window"))
    yield made
    made.shut_all()


@pytest.fixture
def make_model(write_script: Callable[..., Path]) -> Callable[[], InstalledModel]:
    def make() -> InstalledModel:
        path = write_script()
        return InstalledModel(name=path.stem, path=path, size_bytes=1000, engine="scripted")

    return make


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def test_session_has_a_lease_and_no_process_until_it_is_started(
    keeper: SessionKeeper, directory: Path, make_model: Callable[[], InstalledModel], qtbot: Any
) -> None:
    events: list[tuple[EngineSession, Any]] = []
    session = keeper.open(make_model(), EngineChoices(), 7, lambda *arguments: events.append(arguments))
    assert session.ticket == 7
    assert len(read_leases(directory)) == 1
    assert children() == []
    session.client.start()
    qtbot.waitUntil(
        lambda: any(isinstance(event, StateChanged) and isinstance(event.state, Ready) for _, event in events)
    )
    assert {id(told) for told, _ in events} == {id(session)}
    keeper.shut(session)
    assert children() == []
    assert read_leases(directory) == ()


def test_only_one_is_open_at_a_time(
    keeper: SessionKeeper, directory: Path, make_model: Callable[[], InstalledModel]
) -> None:
    first = keeper.open(make_model(), EngineChoices(), 1, lambda *_: None)
    first.client.start()
    second = keeper.open(make_model(), EngineChoices(), 2, lambda *_: None)
    assert children() == []
    assert [lease.model_name for lease in read_leases(directory)] == [second.model.name]
    keeper.shut(first)
    assert len(read_leases(directory)) == 1, "the first is no longer the one that is open"


def test_plan_decides_settings_and_lease(directory: Path, make_model: Callable[[], InstalledModel]) -> None:
    def plan(model: InstalledModel, settings: LoadSettings, *, anyway: bool = False) -> LoadPlan:
        if not anyway:
            raise NotEnoughMemoryError("Too large.", "Choose a smaller one.")
        return LoadPlan(replace(settings, context_tokens=512), 12_345)

    keeper = SessionKeeper(Leases(directory, "window"), plan_load=plan)
    with pytest.raises(NotEnoughMemoryError):
        keeper.open(make_model(), EngineChoices(), 1, lambda *_: None)
    assert read_leases(directory) == ()
    session = keeper.open(make_model(), EngineChoices(LoadSettings(threads=1), anyway=True), 1, lambda *_: None)
    assert [lease.size_bytes for lease in read_leases(directory)] == [12_345]
    assert session.client._load_message.settings == LoadSettings(context_tokens=512, threads=1)
    keeper.shut_all()


def test_refused_lease_opens_nothing(directory: Path, make_model: Callable[[], InstalledModel]) -> None:
    keeper = SessionKeeper(Leases(directory, "window", memory_now=lambda: Memory(1 << 30, 1 << 20)))
    with pytest.raises(NotEnoughMemoryError):
        keeper.open(make_model(), EngineChoices(), 1, lambda *_: None)
    assert read_leases(directory) == ()
    keeper.open(make_model(), EngineChoices(anyway=True), 1, lambda *_: None)
    assert len(read_leases(directory)) == 1
    keeper.shut_all()
    keeper.shut_all()
    assert read_leases(directory) == ()
