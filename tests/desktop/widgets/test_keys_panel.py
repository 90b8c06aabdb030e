"""The list of keyboard shortcuts."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from desktop.widgets.keys_panel import KeyEntry, KeysPanel
from desktop.widgets.text import Text


@pytest.fixture
def panel(qtbot: Any) -> KeysPanel:
    owner = QWidget()
    qtbot.addWidget(owner)
    owner.resize(800, 600)
    owner.show()
    made = KeysPanel([KeyEntry(f"Ctrl+{number}", f"does {number}") for number in range(12)], owner)
    made.owner = owner  # type: ignore[attr-defined]  # kept alive with it
    return made


def test_every_key_is_listed(panel: KeysPanel) -> None:
    words = [text.full_text() for text in panel.findChildren(Text)]
    for number in range(12):
        assert f"Ctrl+{number}" in words
        assert f"does {number}" in words


def test_escape_closes_it(panel: KeysPanel, qtbot: Any) -> None:
    assert panel.isHidden()
    panel.open_panel()
    assert panel.isVisible()
    with qtbot.waitSignal(panel.closed):
        QTest.keyClick(panel, Qt.Key.Key_Escape)
    assert panel.isHidden()


def test_click_beside_it_closes_it_and_click_on_it_does_not(panel: KeysPanel, qtbot: Any) -> None:
    panel.open_panel()
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=panel._card.geometry().center())
    assert panel.isVisible()
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=QPoint(2, 2))
    assert panel.isHidden()


def test_button_closes_it(panel: KeysPanel) -> None:
    panel.open_panel()
    panel._close_button.click()
    assert panel.isHidden()


def test_it_stays_inside_a_small_window(panel: KeysPanel) -> None:
    panel.open_panel()
    panel.parentWidget().resize(300, 200)
    assert panel.rect().contains(panel._card.geometry())
