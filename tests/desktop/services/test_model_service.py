"""Which models there are and which one answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desktop.core.paths import AppPaths
from engines.library import InstalledModel


def test_model_that_was_used_last_answers(workbench: Any) -> None:
    assert workbench.services.models.current.engine == "scripted"
    assert workbench.services.models.current in workbench.services.models.models


def test_starter_answers_where_none_was_used(make_workbench: Callable[..., Any], smollm2_path: Path) -> None:
    bench = make_workbench(None)
    assert bench.services.models.current.path == smollm2_path
    assert bench.services.models.current.model.starter


def test_chosen_model_is_remembered(make_workbench: Callable[..., Any], write_script: Callable[..., Path]) -> None:
    paths = AppPaths.make()
    paths.ensure()
    (paths.models_directory / "mine.gguf").write_bytes(b"GGUF")
    bench = make_workbench()
    changes: list[InstalledModel | None] = []
    bench.services.models.current_changed.connect(changes.append)
    mine = next(model for model in bench.services.models.models if model.name == "mine")
    bench.services.models.choose(mine)
    assert changes == [mine]
    assert bench.services.profile.state.last_model_path == str(mine.path)
    bench.services.models.refresh()
    bench.services.models.choose(mine)
    assert changes == [mine], "nothing changed, so nothing is told"


def test_file_from_anywhere_can_be_opened(workbench: Any, write_script: Callable[..., Path]) -> None:
    path = write_script()
    workbench.services.models.open_file(path)
    workbench.wait(lambda: workbench.services.models.current.path == path)
    assert path in [model.path for model in workbench.services.models.models]


def test_incomplete_model_is_refused_with_a_reason(workbench: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.gguf"
    empty.touch()
    before = workbench.services.models.current
    workbench.services.models.open_file(empty)
    workbench.wait(lambda: bool(workbench.titles()))
    assert "not complete" in workbench.titles()[0]
    assert workbench.services.models.current == before


def test_added_file_stands_beside_the_one_that_answers(
    workbench: Any, tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    models, state = workbench.services.models, lambda: workbench.services.profile.state
    before, added = models.current, []
    models.file_added.connect(added.append)
    path = write_model(tmp_path / "mine.gguf")
    models.add_file(path)
    workbench.wait(lambda: bool(added))
    assert added[0] in models.models
    assert models.current == before
    assert str(path) in state().recent_models
    assert state().last_model_path == str(before.path)


def test_added_file_that_is_no_model_is_shown_and_not_remembered(workbench: Any, tmp_path: Path) -> None:
    models, added = workbench.services.models, []
    models.file_added.connect(added.append)
    path = tmp_path / "letter.gguf"
    path.write_text("Dear reader", encoding="utf-8")
    models.add_file(path)
    workbench.wait(lambda: bool(added))
    models.refresh()
    workbench.wait(lambda: not models._is_looking)
    assert path in [model.path for model in models.models]
    assert str(path) not in workbench.services.profile.state.recent_models


def test_look_that_finds_nothing_new_tells_nothing(workbench: Any, write_model: Callable[..., Path]) -> None:
    models = workbench.services.models
    told: list[object] = []
    models.models_changed.connect(told.append)
    models.refresh()
    models.refresh()
    workbench.wait(lambda: not models._is_looking)
    assert told == []
    write_model(workbench.services.profile.paths.models_directory / "new.gguf")
    models.refresh()
    workbench.wait(lambda: bool(told))
    assert "new" in [model.name for model in models.models]


def test_no_model_at_all_is_no_error(make_workbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.library.find_starter", lambda catalog: None)
    bench = make_workbench(None)
    assert bench.services.models.current is None
    assert bench.services.models.models == ()
    assert bench.titles() == []


def test_model_that_vanished_makes_room_for_another(workbench: Any, write_script: Callable[..., Path]) -> None:
    first = workbench.services.models.current
    first.path.unlink()
    workbench.services.models.refresh()
    workbench.wait(lambda: workbench.services.models.current != first)
    assert workbench.services.models.current.model.starter


def test_whoever_asks_early_is_called_when_the_disk_has_been_read(workbench: Any) -> None:
    called: list[bool] = []
    workbench.services.models.when_read(lambda: called.append(True))
    assert called == [True]
