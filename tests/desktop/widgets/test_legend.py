from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from desktop.widgets.legend import Legend, LegendEntry
from desktop.widgets.theme import LIGHT, ThemeController

ENTRIES = (
    LegendEntry("other", "Other apps", "4.6"),
    LegendEntry("weights", "Weights", "6.0"),
    LegendEntry("context", "Context", "1.1"),
    LegendEntry("buffers", "Buffers", "0.5"),
    LegendEntry("free", "Free", "3.8 GB"),
)


def test_entries_stand_apart_in_one_line_at_the_designs_width(show: Callable[..., QWidget]) -> None:
    legend = Legend()
    legend.set_entries(ENTRIES)
    show(legend, 514, 18)
    assert {item.y() for item in legend.widgets()} == {0}
    last = legend.widgets()[-1]
    assert abs(last.geometry().right() - 513) <= 1


def test_no_entry_stands_alone_in_the_last_line(show: Callable[..., QWidget]) -> None:
    legend = Legend()
    figures = ("12.7 GB", "100 MB", "189 MB", "44 MB", "19.3 GB")
    legend.set_entries(replace(entry, figure=figure) for entry, figure in zip(ENTRIES, figures, strict=True))
    width = legend.sizeHint().width() - 10
    show(legend, width, 42)
    lines = [item.y() for item in legend.widgets()]
    assert lines == [0, 0, 0, lines[-1], lines[-1]]
    assert lines[-1] > 0
    assert all(item.geometry().right() < width for item in legend.widgets())


def test_names_and_figures_are_spoken(show: Callable[..., QWidget]) -> None:
    legend = Legend()
    legend.set_entries(ENTRIES)
    show(legend, 514, 18)
    assert [item.accessibleName() for item in legend.widgets()][:2] == ["Other apps 4.6", "Weights 6.0"]


def test_swatch_has_the_parts_colour(show: Callable[..., QWidget]) -> None:
    legend = Legend()
    legend.set_entries((*ENTRIES[:4], LegendEntry("missing", "Missing", "3 GB")))
    show(legend, 600, 18)
    for item, role in zip(legend.widgets(), ("other", "weights", "context", "buffers"), strict=False):
        assert item.grab().toImage().pixelColor(6, 9).name().upper() == getattr(LIGHT, role)
    assert legend.widgets()[4].grab().toImage().pixelColor(1, 9).name().upper() == LIGHT.no


def test_other_figures_keep_the_items(show: Callable[..., QWidget], look: ThemeController, qtbot: QtBot) -> None:
    legend = Legend()
    legend.set_entries(ENTRIES)
    show(legend, 514, 18)
    before = legend.widgets()
    changed = (*ENTRIES[:4], LegendEntry("free", "Free", "13.8 GB"))
    legend.set_entries(changed)
    assert legend.widgets() == before
    assert legend.entries() == list(changed)
    assert legend.widgets()[-1].width() == legend.widgets()[-1].sizeHint().width()
    legend.set_entries(ENTRIES[:2])
    assert len(legend.widgets()) == 2
    look.set_text_scale(2.0)
    qtbot.waitUntil(lambda: legend.heightForWidth(legend.width()) == 36)
