"""Says that a message is being changed."""

from __future__ import annotations

from typing import Any

from desktop.pages.chat.editing_row import EditingRow
from desktop.widgets.buttons import Button


def test_cancel_is_told(qtbot: Any) -> None:
    row = EditingRow()
    qtbot.addWidget(row)
    assert row.isHidden()
    (button,) = row.findChildren(Button)
    with qtbot.waitSignal(row.cancelled):
        button.click()
