from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QWidget

from desktop.widgets.icon_line import IconLine
from desktop.widgets.theme import LIGHT


def test_drawing_stands_beside_the_first_line(show: Callable[..., QWidget]) -> None:
    line = IconLine("info", "Judged before anything is downloaded.")
    show(line, 500, 18)
    picture = line.grab().toImage()
    beside = {picture.pixelColor(x, y).name().upper() for x in range(4, 20) for y in range(picture.height())}
    assert LIGHT.background in beside
    assert len(beside) > 3, "something is drawn there"
    line.set_text("Something else.")
    assert line.text() == "Something else."


def test_a_long_sentence_wraps(show: Callable[..., QWidget]) -> None:
    line = IconLine("info", "A sentence that goes on and on, so that it needs more than one line. " * 3)
    show(line, 200, 20)
    assert line.heightForWidth(200) > 60
