"""What stands in place of the list when there is nothing to judge with."""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import QGuiApplication

from desktop.pages.models.problem import ProblemCard
from desktop.widgets.buttons import Button
from engines.errors import EngineError


def test_error_is_told_copied_and_tried_again(qtbot: Any) -> None:
    card = ProblemCard()
    qtbot.addWidget(card)
    assert card.isHidden()
    card.show_error(EngineError("It broke.", "Mend it.", "line 3"))
    assert not card.isHidden()
    assert card.accessibleName() == "It broke. Mend it."
    again, copy = card.findChildren(Button)
    copy.click()
    assert QGuiApplication.clipboard().text() == "It broke.\n\nMend it.\n\nline 3"
    with qtbot.waitSignal(card.again_requested):
        again.click()
    card.show_error(None)
    assert card.isHidden()
