from __future__ import annotations

from dataclasses import replace

import pytest
from pytestqt.qtbot import QtBot

from desktop.widgets.transcript_model import MessageItem, TranscriptModel

ITEMS = [MessageItem("a", "user", "Hello"), MessageItem("b", "assistant", "Hi", state="growing")]


@pytest.fixture
def model(qtbot: QtBot) -> TranscriptModel:
    del qtbot
    made = TranscriptModel()
    made.set_items(ITEMS)
    return made


def test_items_are_found_by_id_and_order(model: TranscriptModel) -> None:
    assert list(model) == ITEMS
    assert model.index_of("b") == 1
    assert model.index_of("c") is None
    assert model.last() == ITEMS[1]
    assert TranscriptModel().last() is None


def test_changes_are_told_once(model: TranscriptModel, qtbot: QtBot) -> None:
    later = replace(ITEMS[1], text="Hi there")
    with qtbot.waitSignal(model.changed) as changed:
        model.update(later)
    assert changed.args == [1]
    with qtbot.assertNotEmitted(model.changed):
        model.update(later)


def test_a_new_item_is_told_with_its_place(model: TranscriptModel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(model.appended) as appended:
        model.append(MessageItem("c", "user", "More"))
    assert appended.args == [2]


def test_an_unknown_id_is_a_mistake(model: TranscriptModel) -> None:
    with pytest.raises(KeyError):
        model.update(MessageItem("x", "user", ""))


def test_another_conversation_forgets_the_first(model: TranscriptModel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(model.was_reset):
        model.set_items([])
    assert len(model) == 0
    assert model.index_of("a") is None
