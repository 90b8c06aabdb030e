"""Verdicts in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from desktop.core.known_models import load_known_models
from desktop.core.paths import AppPaths
from desktop.services.fit_service import MOVED_BYTES, FitService, chosen_context
from desktop.services.fit_values import Assessment
from engines.calibration_book import CalibrationBook
from engines.catalog import CatalogError, load_catalog
from engines.errors import EngineError
from engines.hardware.machine import Machine
from engines.hardware.profiles import load_profiles
from engines.library import describe_file
from engines.memory import Memory

GIGABYTE = 10**9
MakeBench = Callable[..., Any]


class Fits:
    """A fit service and what it told."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.service: FitService = bench.services.fit
        self.told: list[Assessment] = []
        self.errors: list[EngineError] = []
        self.service.assessed.connect(self.told.append)
        self.service.failed.connect(self.errors.append)

    def start(self) -> Assessment:
        self.service.start()
        self.bench.wait(lambda: bool(self.told or self.errors) and not self.service._is_assessing)
        return self.told[-1]

    def next(self, act: Callable[[], None]) -> Assessment:
        count = len(self.told)
        act()
        self.bench.wait(lambda: len(self.told) > count and not self.service._is_assessing)
        return self.told[-1]


@pytest.fixture
def fits(make_workbench: MakeBench, computer: Machine, write_model: Callable[..., Path]) -> Fits:
    bench = make_workbench(look=lambda: computer)
    write_model(bench.services.profile.paths.models_directory / "own.gguf")
    bench.services.models.refresh()
    bench.wait(lambda: any(model.name == "own" for model in bench.services.models.models))
    return Fits(bench)


def test_computer_catalogue_and_files_are_judged(fits: Fits, computer: Machine) -> None:
    service = fits.service
    assert service.assessment is None
    assert service.here is None
    assessment = fits.start()
    assert service.assessment is assessment
    assert assessment.machine == computer == service.here
    assert assessment.recommended_id
    own = next(model for model in fits.bench.services.models.models if model.name == "own")
    fit = service.fit_of(own)
    assert fit is not None
    assert fit.verdict is not None
    assert service.profiles == load_profiles()


def test_looking_happens_off_the_gui_thread(make_workbench: MakeBench, computer: Machine) -> None:
    threads: list[str] = []

    def look() -> Machine:
        threads.append(threading.current_thread().name)
        return computer

    fits = Fits(make_workbench(look=look))
    fits.service.start()
    fits.start()
    assert len(threads) == 1, "a second call does not look twice at once"
    assert threads[0].startswith("snug-background")


def test_another_computer_can_be_asked_about(fits: Fits) -> None:
    fits.service.choose_machine("mac-mini-m4-16")
    assert fits.told == [], "nothing is known yet"
    fits.start()
    other = fits.next(lambda: fits.service.choose_machine("mac-mini-m4-16"))
    assert not other.is_here
    assert other.machine.profile == "mac-mini-m4-16"
    own = next(model for model in fits.bench.services.models.models if model.name == "own")
    assert fits.service.fit_of(own) is None, "the switcher speaks of this computer only"
    again = fits.next(fits.service.start)
    assert again.machine.profile == "mac-mini-m4-16", "looking anew does not change what is asked"
    here = fits.next(lambda: fits.service.choose_machine(""))
    assert here.is_here


def test_only_a_real_change_of_memory_is_judged_again(fits: Fits, computer: Machine, qtbot: Any) -> None:
    fits.start()
    available = computer.memory_available_bytes
    assert available is not None
    memory = fits.bench.services.memory
    count = len(fits.told)
    memory.memory_changed.emit(Memory(computer.memory_total_bytes, available - MOVED_BYTES // 2))
    assert not fits.service._is_assessing
    changed = fits.next(
        lambda: memory.memory_changed.emit(Memory(computer.memory_total_bytes, available - 4 * GIGABYTE))
    )
    assert changed.machine.memory_available_bytes == available - 4 * GIGABYTE
    assert len(fits.told) == count + 1


def test_new_file_is_judged_as_soon_as_it_is_known(
    fits: Fits, write_model: Callable[..., Path], tmp_path: Path
) -> None:
    fits.start()
    path = write_model(tmp_path / "late.gguf", layers=8)
    assessment = fits.next(lambda: fits.bench.services.models.open_file(path))
    assert any(model.name == "late" for model in assessment.models)


def test_broken_catalogue_is_an_error_and_can_be_tried_again(
    make_workbench: MakeBench, computer: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = True

    def load(paths: AppPaths) -> object:
        if broken:
            raise CatalogError("Snug's list of models has a mistake in it.", "models.toml: line 3")
        return load_known_models(paths)

    monkeypatch.setattr("desktop.services.fit_service.load_known_models", load)
    fits = Fits(make_workbench(look=lambda: computer))
    fits.service.start()
    fits.bench.wait(lambda: bool(fits.errors))
    assert fits.service.error is fits.errors[0]
    assert fits.errors[0].title == "Snug's list of models has a mistake in it."
    broken = False
    fits.next(fits.service.start)
    assert fits.service.error is None


def test_fault_of_ours_is_not_swallowed(make_workbench: MakeBench, qtbot: Any) -> None:
    def look() -> Machine:
        raise ZeroDivisionError

    fits = Fits(make_workbench(look=look))
    with qtbot.captureExceptions() as exceptions:
        fits.service.start()
        fits.bench.wait(lambda: bool(exceptions))
    assert exceptions[0][0] is ZeroDivisionError


def test_slider_is_answered_at_once(fits: Fits) -> None:
    assessment = fits.start()
    fit = next(model for model in assessment.models if model.name == "own").best_build
    answers = [fits.service.judge_at(fit, tokens) for tokens in (4096, 32768)]
    sums = [answer[1].placement.main.context_bytes for answer in answers if answer is not None]
    assert sums[1] == 8 * sums[0]
    assert fits.service.judge_at(replace(fit, facts=None), 4096) is None
    assert fits.service.most_context(fit) == 32768
    assert fits.service.most_context(replace(fit, facts=None)) == 0


def test_chosen_context_is_remembered_and_goes_before_the_settings(fits: Fits, tmp_path: Path) -> None:
    profile, path = fits.bench.services.profile, tmp_path / "m.gguf"
    assert fits.service.context_for(path) is None
    profile.change_settings(context_tokens=2048)
    assert fits.service.context_for(path) == 2048
    fits.service.choose_context(path, 16384)
    fits.service.choose_context(tmp_path / "n.gguf", 4096)
    fits.service.choose_context(path, 8192)
    assert fits.service.context_for(path) == 8192
    assert chosen_context(profile, path) == 8192
    assert len(profile.state.chosen_contexts) == 2


@pytest.mark.model
@pytest.mark.slow
def test_engine_refines_a_verdict_in_the_background(
    make_workbench: MakeBench, computer: Machine, smollm2_path: Path
) -> None:
    fits = Fits(make_workbench(smollm2_path, look=lambda: computer))
    assessment = fits.start()
    file = describe_file(smollm2_path, load_catalog())
    fit = assessment.fit_of(file)
    assert fit is not None
    assert fit.verdict is not None
    assert fit.verdict.placement.main.source == "arithmetic"
    refined = fits.next(lambda: fits.service.refine(fit)).fit_of(file)
    assert refined is not None
    assert refined.verdict is not None
    assert refined.verdict.placement.main.source == "dry_run"
    count = len(fits.told)
    fits.service.refine(refined)
    assert len(fits.told) == count, "it is known"


@pytest.mark.model
@pytest.mark.slow
def test_load_and_chat_are_learned_from(make_workbench: MakeBench, smollm2_path: Path) -> None:
    bench = make_workbench(smollm2_path)
    fits = Fits(bench)
    fits.start()
    bench.services.profile.change_settings(max_tokens=40, threads=1)
    bench.send("Tell me a long story about a dog and a cat.")
    assert bench.services.engine.loaded is not None
    path = bench.services.profile.paths.calibration_path
    bench.wait(lambda: bool(CalibrationBook.load(path).records.replies))
    records = CalibrationBook.load(path).records
    assert len(records.loads) == 1
    assert 0 < records.loads[0].measured_bytes <= records.loads[0].predicted_bytes * 1.2
    fit = fits.next(fits.service.start).fit_of(bench.services.models.current)
    assert fit is not None
    assert fit.verdict is not None
    assert fit.verdict.decode is not None
    assert fit.verdict.decode.source == "measured"


@pytest.mark.model
def test_plan_of_a_load_is_the_fits(make_workbench: MakeBench, smollm2_path: Path, computer: Machine) -> None:
    """What the engine service is given: the context that was chosen, not the default of the settings."""
    bench = make_workbench(smollm2_path, look=lambda: computer)
    bench.services.fit.choose_context(smollm2_path, 4096)
    bench.services.profile.change_settings(max_tokens=2, threads=1)
    bench.send("Hi")
    assert bench.services.engine.loaded is not None
    assert bench.services.engine.loaded.context_tokens == 4096
