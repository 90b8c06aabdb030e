from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.explain_panel import ExplainPanel, ExplainRow, ExplainSection, Explanation
from desktop.widgets.text import Text
from desktop.widgets.theme import ThemeController

EXPLANATION = Explanation(
    "Why Big cannot run here",
    reasons=("Needs 18.2 GB.", "This computer has 11.5 GB."),
    sections=(
        ExplainSection(
            "What it needs",
            (
                ExplainRow("Weights", "17.6 GB", "the model itself"),
                ExplainRow("Context", "0.6 GB"),
                ExplainRow("Together", "18.2 GB", is_total=True),
            ),
        ),
        ExplainSection("What there is", (ExplainRow("Missing", "7.7 GB", is_total=True, tone="no"),)),
    ),
    source="Calculated from the catalogue.",
)


@pytest.fixture
def panel(show: Callable[..., QWidget]) -> ExplainPanel:
    widget = ExplainPanel()
    widget.set_explanation(EXPLANATION)
    show(widget, 800, 400)
    return widget


def texts(panel: ExplainPanel) -> list[str]:
    return [text.full_text() for text in panel.findChildren(Text) if text.isVisible() and text.full_text()]


def test_every_term_is_shown(panel: ExplainPanel) -> None:
    shown = texts(panel)
    for words in ("Why Big cannot run here", "Weights", "17.6 GB", "the model itself", "Together", "18.2 GB", "7.7 GB"):
        assert words in shown
    assert panel.accessibleName() == "Why Big cannot run here"
    assert panel.explanation() == EXPLANATION


def test_other_figures_keep_the_widgets(panel: ExplainPanel) -> None:
    before = panel.findChildren(Text)
    rows = (ExplainRow("Weights", "9 GB"), *EXPLANATION.sections[0].rows[1:])
    changed = replace(EXPLANATION, sections=(replace(EXPLANATION.sections[0], rows=rows), EXPLANATION.sections[1]))
    panel.set_explanation(changed)
    assert panel.findChildren(Text) == before
    assert "9 GB" in texts(panel)
    panel.set_explanation(replace(changed, sections=changed.sections[:1], reasons=(), source=""))
    assert "7.7 GB" not in texts(panel)
    assert "Needs 18.2 GB.\nThis computer has 11.5 GB." not in texts(panel)


def test_sum_can_be_copied(panel: ExplainPanel) -> None:
    panel._copy.click()
    copied = QGuiApplication.clipboard().text()
    assert copied == EXPLANATION.as_text()
    assert "  Weights: 17.6 GB  (the model itself)\n" in copied
    assert "= Together: 18.2 GB\n" in copied
    assert copied.endswith("\nCalculated from the catalogue.\n")


def test_it_asks_to_be_closed(panel: ExplainPanel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.closed):
        panel._close.click()


def test_it_follows_theme_and_text_size(panel: ExplainPanel, look: ThemeController) -> None:
    look.set_appearance("dark")
    look.set_text_scale(2.0)
    panel.resize(600, 900)
    panel.grab()
    panel.set_explanation(replace(EXPLANATION, reasons=("A reason that takes more than one line. " * 4,)))
    assert panel.heightForWidth(600) > panel.heightForWidth(1200)
