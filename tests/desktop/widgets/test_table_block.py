from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QScrollBar, QWidget

from desktop.widgets.markdown import parse_leaves
from desktop.widgets.table_block import TableBlock
from desktop.widgets.theme import LIGHT, ThemeController

TABLE = "| Month | Interest |\n|---|--:|\n| 1 | **11.80** |\n| 12 | [6.56](https://example.org) |"
WIDE = "|" + "|".join(f" Column_{number}_without_a_break " for number in range(8)) + "|\n|" + "---|" * 8


@pytest.fixture(autouse=True)
def _fonts(look: ThemeController) -> None:
    del look


def table(text: str = TABLE, width: float = 720.0) -> TableBlock:
    (leaf,) = parse_leaves(text)
    block = TableBlock(leaf, LIGHT, 1.0)
    block.measure(width)
    return block


def test_a_row_is_as_high_as_the_design() -> None:
    assert table().height == 3 * 29


def test_columns_fill_the_width() -> None:
    block = table()
    assert round(sum(block._column_widths)) == 720
    assert block._column_widths[1] > block._column_widths[0], "the wider word gets more of the room"


def test_cells_wrap_before_the_table_scrolls() -> None:
    text = "| a | b |\n|---|---|\n| " + "word " * 60 + " | x |"
    block = table(text)
    assert block.height > 3 * 29
    assert sum(block._column_widths) <= 720.5


def test_a_table_that_cannot_fit_scrolls_within_itself(show: Callable[..., QWidget]) -> None:
    host = show(QWidget(), 720, 200)
    block = table(WIDE)
    block.attach(host, QPointF(0, 0))
    (bar,) = host.findChildren(QScrollBar)
    assert bar.maximum() > 100
    before = block.position_at(QPointF(5, 10))
    assert block.scroll_sideways(400)
    assert block.position_at(QPointF(5, 10)) > before
    block.detach()
    assert not [one for one in host.findChildren(QScrollBar) if one.isVisible()]
    assert not table().scroll_sideways(10)


def test_copying_gives_tabs_and_lines() -> None:
    block = table()
    assert block.copied_text(0, block.length) == "Month\tInterest\n1\t11.80\n12\t6.56"


def test_every_cell_is_found_under_the_pointer() -> None:
    block = table()
    text = block.plain()
    assert block.position_at(QPointF(3, 10)) == 0
    assert text[block.position_at(QPointF(3, 40)) :].startswith("1\t11.80")
    assert text[block.position_at(QPointF(3, 70)) :].startswith("12\t")
    assert block.position_at(QPointF(715, 80)) == len(text)


def test_a_link_in_a_cell_answers() -> None:
    assert table().link_at(QPointF(700, 72)) == "https://example.org"
    assert table().link_at(QPointF(5, 72)) == ""


def test_rows_end_in_a_hairline_and_a_selection_is_seen() -> None:
    block = table()
    image = QImage(720, int(block.height), QImage.Format.Format_RGB32)
    image.fill(QColor(LIGHT.background))
    painter = QPainter(image)
    block.draw(painter, QPointF(0, 0), QRectF(image.rect()), (0, 5))
    painter.end()
    assert image.pixelColor(300, 28).name().upper() == LIGHT.line
    assert LIGHT.soft_line in {image.pixelColor(x, 6).name().upper() for x in range(60)}


@pytest.mark.parametrize("text", ["| a | b |\n|---|---|", "| a | b |\n|---|---|\n| 1 |", "|a|\n|-|\n||"])
def test_unfinished_tables_are_drawn(text: str) -> None:
    block = table(text)
    assert block.height >= 29
    block.position_at(QPointF(500, 500))
    block.copied_text(0, block.length)
