"""What an open row shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication

from desktop.pages.models.details import ModelDetails
from desktop.services.assessing import assess, judge_at, most_context
from desktop.services.fit_values import Assessment, ModelFit
from desktop.widgets.text import Text
from engines.assessor import Assessor
from engines.catalog import load_catalog
from engines.fit.values import Running
from engines.hardware.machine import Machine
from engines.hardware.profiles import find_profile
from engines.library import describe_file

GIGABYTE = 10**9


@pytest.fixture
def details(qtbot: Any) -> Iterator[ModelDetails]:
    widget = ModelDetails()
    qtbot.addWidget(widget)
    widget.resize(900, 400)
    widget.show()
    yield widget


class Shown:
    """Details of one model, as the page shows them."""

    def __init__(self, details: ModelDetails, assessor: Assessor, model: ModelFit, build_id: str = "") -> None:
        self.details, self.assessor, self.model = details, assessor, model
        self.build_id = build_id or model.best_build.id
        fit = model.find(self.build_id)
        assert fit is not None
        assert fit.facts is not None
        assert fit.verdict is not None
        self.facts, self.verdict = fit.facts, fit.verdict
        self.most = most_context(assessor, self.facts, Running())
        details.show_model(model, self.build_id, fit.verdict.context_tokens, self.most)
        self.show_sum(fit.verdict.context_tokens)

    def show_sum(self, tokens: int, *, in_use: bool = False) -> None:
        at_context, sum_ = judge_at(self.assessor, self.facts, tokens, Running())
        verdict = self.verdict if self.verdict.kind == "cannot" else at_context
        self.details.show_sum(verdict, sum_, self.assessor.machine, in_use=in_use)

    def texts(self) -> list[str]:
        return [text.full_text() for text in self.details.findChildren(Text) if text.isVisible()]


def mac() -> tuple[Assessor, Assessment]:
    assessor = Assessor(load_catalog(), find_profile("mac-mini-m4-16"))
    return assessor, assess(assessor, (), Running())


@pytest.fixture
def own(details: ModelDetails, computer: Machine, tmp_path: Path, write_model: Callable[..., Path]) -> Shown:
    catalog = load_catalog()
    small = replace(computer, memory_total_bytes=6 * GIGABYTE, memory_available_bytes=5 * GIGABYTE)
    assessor = Assessor(catalog, small)
    file = describe_file(write_model(tmp_path / "own.gguf", layers=64), catalog)
    assessment = assess(assessor, (file,), Running())
    return Shown(details, assessor, next(model for model in assessment.models if model.is_installed))


def test_versions_memory_and_slider_of_the_recommended_model(details: ModelDetails) -> None:
    assessor, assessment = mac()
    model = assessment.find(assessment.recommended_id)
    assert model is not None
    shown = Shown(details, assessor, model)
    assert details.model is model
    assert details.build_fit is model.best_build
    assert details.picker.current() == model.best_build.id
    assert len(details.picker.choices()) == len(model.builds)
    assert details.memory.slider.tokens() == shown.verdict.context_tokens
    (bar,) = details.memory.bars()
    assert bar.state().total_bytes == assessor.machine.memory_total_bytes
    assert any(text.startswith("Writes about ") for text in shown.texts())
    assert "Predicted for another computer" in shown.texts()
    assert details.absent.isVisible(), "it says where a file may be put"
    assert any("put it into the models folder" in text for text in shown.texts())


def test_bar_moves_with_the_slider(own: Shown) -> None:
    def context_width() -> int:
        parts = own.details.memory.bars()[0].state().parts
        return next(part.size_bytes for part in parts if part.kind == "context")

    own.show_sum(4096)
    before = context_width()
    own.show_sum(8192)
    assert context_width() == 2 * before
    assert own.details.memory.saying() == ""


def test_a_context_beyond_what_fits_is_said_and_offered_guarded(own: Shown, qtbot: Any) -> None:
    details = own.details
    assert 4096 < own.most < 32768
    assert details.anyway.isHidden()
    own.show_sum(32768)
    assert "is the most that fits" in details.memory.saying()
    assert details.anyway.isVisible()
    pressed: list[bool] = []
    details.anyway_requested.connect(lambda: pressed.append(True))
    details.anyway.click()
    assert pressed == []
    assert "It may stop or slow everything down" in details.anyway.text()
    details.anyway.click()
    assert pressed == [], "a double click does not pass the guard"
    qtbot.waitUntil(lambda: not details._guard.isActive())
    details.anyway.click()
    assert pressed == [True]
    assert details.anyway.text() == "Run anyway"


def test_what_the_engine_does_not_know_cannot_be_forced(details: ModelDetails) -> None:
    assessor, assessment = mac()
    model, build = next(
        (model, build)
        for model in assessment.models
        for build in model.builds
        if build.verdict is not None and build.verdict.kind == "cannot" and build.build.engine == "mlx"  # type: ignore[union-attr]
    )
    shown = Shown(details, assessor, model, build.id)
    assert shown.verdict.is_refused
    assert details.anyway.isHidden()
    assert details.question.text() == "Why not?"
    assert details.memory.saying() == shown.verdict.reasons[0]
    assert details.memory.slider._most_tokens is None
    assert details.absent.isHidden(), "having its file would change nothing"
    told = details.explain.explanation()
    assert told.title == "Why this version cannot run here"
    assert "ok" not in [row.tone for section in told.sections for row in section.rows]


def test_sum_opens_and_closes(own: Shown) -> None:
    details = own.details
    assert details.explain.isHidden()
    assert details.question.text() == "How is this calculated?"
    details.question.click()
    assert details.explain.isVisible()
    assert details.explain.explanation().title == "How this is calculated for own"
    details.explain._close.setFocus()
    details.explain._close.click()
    assert details.explain.isHidden()
    assert QApplication.focusWidget() is details.question, "the keyboard is not lost"


def test_version_of_unknown_size_has_no_bar(details: ModelDetails) -> None:
    _, assessment = mac()
    model, build = next(
        (model, build) for model in assessment.models for build in model.builds if build.verdict is None
    )
    details.show_model(model, build.id, 0, 0)
    assert details.memory.isHidden()
    assert details.question.isHidden()
    texts = [text.full_text() for text in details.findChildren(Text) if text.isVisible()]
    assert any(text.startswith("Not known yet") for text in texts)


def test_damaged_file_shows_its_problem_and_no_verdict(details: ModelDetails, own: Shown) -> None:
    fit = replace(own.model.best_build, facts=None, verdict=None, problem="The file is damaged.")
    details.show_model(replace(own.model, builds=(fit,)), fit.id, 0, 0)
    assert "The file is damaged." in own.texts()
    assert [choice.kind for choice in details.picker.choices()] == [None]
    assert not details.picker.isVisible(), "there is nothing to choose from"
    details.show_model(replace(own.model, builds=(fit, replace(fit, id="other"))), fit.id, 0, 0)
    assert details.picker.isVisible()
    details.picker.grab()


def test_another_version_and_another_context_are_told(details: ModelDetails, qtbot: Any) -> None:
    assessor, assessment = mac()
    model = assessment.find(assessment.recommended_id)
    assert model is not None
    Shown(details, assessor, model)
    other = next(build for build in model.builds if build.id != model.best_build.id)
    with qtbot.waitSignal(details.build_chosen) as told:
        details.picker.choose(other.id)
    assert told.args == [other.id]
    with qtbot.waitSignal(details.context_changed) as moved:
        details.memory.slider.setValue(0)
    assert moved.args == [4096]


def test_one_column_where_there_is_little_room(details: ModelDetails) -> None:
    assessor, assessment = mac()
    model = assessment.find(assessment.recommended_id)
    assert model is not None
    Shown(details, assessor, model)
    QApplication.processEvents()
    assert details.picker.mapTo(details, details.picker.rect().topLeft()).x() > 400
    details.resize(600, 900)
    QApplication.processEvents()
    assert details.picker.mapTo(details, details.picker.rect().topLeft()).x() < 10
    assert details.picker.width() > 500
