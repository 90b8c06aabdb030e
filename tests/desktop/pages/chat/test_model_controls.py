"""Model in the header: choice, file, eject, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QFileDialog

from desktop.pages.chat.model_controls import ModelControls
from desktop.services.engine_session import EngineChoices
from engines.catalog import load_catalog
from engines.client_values import Ready, Stopped
from engines.hardware.machine import Machine
from engines.library import describe_file
from engines.registry import demonstration_script

MakePage = Callable[..., Any]


def controls(bench: Any) -> ModelControls:
    found = bench.page.model_controls
    assert isinstance(found, ModelControls)
    return found


def labels(bench: Any) -> list[str]:
    return [entry.label for entry in controls(bench).entries()]


def test_models_file_and_eject_are_offered(make_page: MakePage) -> None:
    bench = make_page()
    offered = labels(bench)
    assert any(label.startswith("SmolLM2 135M Instruct") for label in offered)
    checked = [entry.label for entry in controls(bench).entries() if entry.icon_name == "check"]
    assert [label.split()[0] for label in checked] == ["script-1"]
    assert offered[-2:] == ["Open a GGUF file…", "Eject model"]
    assert not controls(bench).entries()[-1].enabled, "nothing is in memory yet"


def test_eject_frees_the_model(make_page: MakePage) -> None:
    bench = make_page()
    bench.send_and_wait("Hello")
    bench.wait(lambda: isinstance(bench.services.engine.state, Ready))
    assert controls(bench).entries()[-1].enabled
    assert "in memory" in bench.page.header.switcher._detail
    controls(bench).choose("eject")
    assert isinstance(bench.services.engine.state, Stopped)
    assert "on disk" in bench.page.header.switcher._detail
    bench.send_and_wait("Once more")
    assert bench.items[-1].text == "Hello from turn 2."


def test_chosen_file_answers_from_now_on(make_page: MakePage, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make_page()
    bench.send_and_wait("Hello")
    chosen = demonstration_script()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(chosen), ""))
    controls(bench).choose("open")
    bench.wait(lambda: bench.services.models.current.path == chosen)
    assert isinstance(bench.services.engine.state, Stopped), "the old one leaves memory"
    assert bench.page.header.switcher._name == "demonstration"


def test_dialog_without_a_choice_changes_nothing(make_page: MakePage, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make_page()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    before = bench.services.models.current
    controls(bench).open_file()
    assert bench.services.models.current == before


def test_model_is_chosen_from_the_list(make_page: MakePage) -> None:
    bench = make_page()
    index = next(i for i, model in enumerate(bench.services.models.models) if model.model is not None)
    controls(bench).choose(f"model:{index}")
    assert bench.services.models.current.name == "SmolLM2 135M Instruct"
    assert bench.page.header.switcher._name == "SmolLM2 135M Instruct"


@pytest.mark.slow
def test_slow_load_shows_a_card_and_later_a_stop_button(make_page: MakePage) -> None:
    bench = make_page('[load]\nsteps = 200\nstep_seconds = 0.02\n[[reply]]\ntext = "Never"')
    card = bench.page.loading_card
    bench.page.model_controls._stop_timer.setInterval(1000)
    bench.send("Hello")
    assert card.isHidden(), "nothing is shown for what may take a moment only"
    bench.wait(lambda: not card.isHidden())
    assert card._stop.isHidden()
    bench.wait(lambda: not card._stop.isHidden())
    assert card._title.full_text() == "Starting script-1"
    card.stop_requested.emit()
    bench.wait(lambda: bench.items[-1].state == "stopped")
    bench.wait(card.isHidden)


def test_quick_load_shows_no_card(make_page: MakePage) -> None:
    bench = make_page()
    shown: list[bool] = []
    bench.page.model_controls._card_timer.timeout.connect(lambda: shown.append(True))
    bench.page.model_controls._card_timer.setInterval(5000)
    bench.send_and_wait("Hello")
    bench.wait(lambda: isinstance(bench.services.engine.state, Ready))
    assert not shown
    assert not bench.page.model_controls._card_timer.isActive()


def test_idle_ejection_is_said(make_page: MakePage) -> None:
    bench = make_page(idle_eject_ms=50)
    bench.send_and_wait("Hello")
    bench.wait(lambda: any("left memory" in title for title in bench.bench.titles()))
    bench.send("Back")
    bench.wait(lambda: not any("left memory" in title for title in bench.bench.titles()))
    bench.wait(lambda: len(bench.bench.ended) == 2)


@pytest.mark.model
@pytest.mark.slow
def test_model_that_was_not_made_for_chat_says_so(make_page: MakePage, gemma3_path: Path) -> None:
    bench = make_page(gemma3_path)
    bench.services.profile.change_settings(max_tokens=4, threads=1, context_tokens=512)
    bench.send_and_wait("Hello")
    has_template = bench.services.engine.loaded.has_chat_template
    assert ("This model was not made for chat." in bench.bench.titles()) == (not has_template)


@pytest.mark.model
def test_every_file_shows_whether_it_fits(make_page: MakePage, smollm2_path: Path) -> None:
    bench = make_page(smollm2_path)
    bench.services.fit.start()
    bench.wait(lambda: bench.services.fit.assessment is not None)
    entry = next(entry for entry in controls(bench).entries() if entry.label.startswith("SmolLM2"))
    assert entry.hint == "Fits"
    assert bench.page.header.switcher._detail == "Fits, 98 MB on disk"


def test_file_that_does_not_fit_now_says_so(
    make_page: MakePage, computer: Machine, write_model: Callable[..., Path], tmp_path: Path
) -> None:
    busy = replace(computer, memory_available_bytes=10**9)
    bench = make_page(look=lambda: busy)
    bench.services.models.open_file(write_model(tmp_path / "own.gguf"))
    bench.services.fit.start()
    bench.wait(lambda: any(label.startswith("own") for label in labels(bench)))
    bench.wait(lambda: any(entry.hint for entry in controls(bench).entries() if entry.label.startswith("own")))
    entry = next(entry for entry in controls(bench).entries() if entry.label.startswith("own"))
    assert entry.hint == "Not enough free memory now"


def test_load_that_nobody_waits_for_tells_of_its_failure(
    make_page: MakePage, computer: Machine, write_model: Callable[..., Path], tmp_path: Path
) -> None:
    small = replace(computer, memory_total_bytes=2 * 10**9, memory_available_bytes=10**9)
    bench = make_page(look=lambda: small)
    model = describe_file(write_model(tmp_path / "own.gguf"), load_catalog())
    bench.services.engine.load(model, EngineChoices())
    bench.wait(lambda: any("does not fit on this computer" in title for title in bench.bench.titles()))
    (notice,) = [notice for notice in bench.services.notices.current() if notice.key == "load"]
    assert [action.label for action in notice.actions] == ["Load anyway"]
