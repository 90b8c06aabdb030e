"""The card with the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from desktop.pages.models.model_list import ROWS_AT_ONCE, ModelList
from desktop.widgets.model_row import ModelRowState
from desktop.widgets.text import Text

STATES = [ModelRowState(f"m{number}", f"Model {number}", "fits", summary="Good.") for number in range(20)]


@pytest.fixture
def models(qtbot: Any) -> Iterator[ModelList]:
    widget = ModelList()
    qtbot.addWidget(widget)
    widget.resize(966, 800)
    widget.show()
    yield widget


def shown(models: ModelList) -> list[str]:
    return models.shown_ids()


def test_rows_come_a_few_at_a_time(models: ModelList, qtbot: Any) -> None:
    models.show_rows(STATES, "Nothing.")
    assert shown(models) == [f"m{number}" for number in range(ROWS_AT_ONCE)]
    qtbot.waitUntil(lambda: len(shown(models)) == 20)
    assert shown(models) == [state.id for state in STATES]


def test_words_of_an_empty_list_keep_their_distance(models: ModelList) -> None:
    models.show_rows((), "No model matches.")
    QApplication.processEvents()
    text = next(text for text in models.findChildren(Text) if text.full_text() == "No model matches.")
    place = text.mapTo(models, text.rect().topLeft())
    assert min(place.x(), place.y()) >= 20
    assert models.height() - place.y() - text.height() >= 20
    models.show_rows(STATES[:1], "No model matches.")
    assert not text.isVisible()


def test_rows_are_kept_when_the_list_changes(models: ModelList, qtbot: Any) -> None:
    models.show_rows(STATES[:4], "Nothing.")
    row = models.row("m2")
    models.show_rows([replace(STATES[2], kind="cannot"), STATES[0]], "Nothing.")
    assert shown(models) == ["m2", "m0"]
    assert models.row("m2") is row
    assert row is not None
    assert row.state.kind == "cannot"
    assert models.row("m1") is None
    models.show_rows(STATES[:4], "Nothing.")
    assert [models.row(row_id).y() >= 0 for row_id in shown(models)] == [True] * 4  # type: ignore[union-attr]
    QApplication.processEvents()
    tops = [models.row(row_id).y() for row_id in shown(models)]  # type: ignore[union-attr]
    assert tops == sorted(tops)


def test_an_empty_list_says_so(models: ModelList) -> None:
    models.show_rows((), "No model matches.")
    assert [text.full_text() for text in models.findChildren(Text) if text.isVisible()] == ["No model matches."]
    models.show_rows(STATES[:1], "No model matches.")
    assert "No model matches." not in [text.full_text() for text in models.findChildren(Text) if text.isVisible()]


def test_one_row_is_open_at_a_time(models: ModelList, qtbot: Any) -> None:
    details = QWidget(models)
    models.show_rows(STATES[:3], "Nothing.")
    models.open_row("m0", details)
    models.open_row("m1", details)
    assert [row_id for row_id in shown(models) if models.row(row_id).is_open] == ["m1"]  # type: ignore[union-attr]
    assert details.parentWidget() is models.row("m1")
    assert details.isVisible()
    models.close_row()
    assert not any(models.row(row_id).is_open for row_id in shown(models))  # type: ignore[union-attr]


def test_a_row_that_is_not_there_yet_opens_when_it_comes(models: ModelList, qtbot: Any) -> None:
    details = QWidget(models)
    models.show_rows(STATES, "Nothing.")
    models.open_row("m15", details)
    qtbot.waitUntil(lambda: models.row("m15") is not None)
    row = models.row("m15")
    assert row is not None
    assert row.is_open


def test_keys_go_from_row_to_row(models: ModelList) -> None:
    models.show_rows(STATES[:3], "Nothing.")
    models.focus_first()
    names = []
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Up):
        focused = QApplication.focusWidget()
        assert focused is not None
        QTest.keyClick(focused, key)
        focused = QApplication.focusWidget()
        assert focused is not None
        names.append(focused.accessibleName())
    assert names == [f"Show details of Model {number}" for number in (1, 2, 2, 1)]
