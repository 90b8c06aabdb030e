from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRect
from PySide6.QtWidgets import QScrollBar, QWidget

from desktop.widgets.sideways_bar import SidewaysBar


def bars(host: QWidget) -> list[QScrollBar]:
    return [bar for bar in host.findChildren(QScrollBar) if bar.isVisibleTo(host)]


def test_the_bar_appears_with_the_need_and_goes_with_it(show: Callable[..., QWidget]) -> None:
    host = show(QWidget(), 300, 100)
    bar = SidewaysBar(lambda: None)
    bar.set_range(200, 300)
    bar.attach(host, QRect(0, 80, 300, 14))
    assert not bars(host)
    bar.set_range(900, 300)
    bar.attach(host, QRect(0, 80, 300, 14))
    assert [one.maximum() for one in bars(host)] == [600]
    bar.set_range(200, 300)
    bar.attach(host, QRect(0, 80, 300, 14))
    assert not bars(host)


def test_scrolling_by_hand_and_by_wheel_agree(show: Callable[..., QWidget]) -> None:
    host = show(QWidget(), 300, 100)
    told: list[int] = []
    bar = SidewaysBar(lambda: told.append(bar.offset))
    bar.set_range(900, 300)
    bar.attach(host, QRect(0, 80, 300, 14))
    assert bar.scroll_by(50)
    assert bars(host)[0].value() == 50
    bars(host)[0].setValue(70)
    assert bar.offset == 70
    assert told[-1] == 70
    assert bar.scroll_by(10_000)
    assert bar.offset == 600
    assert not bar.scroll_by(1)


def test_the_offset_outlives_the_bar(show: Callable[..., QWidget]) -> None:
    host = show(QWidget(), 300, 100)
    bar = SidewaysBar(lambda: None)
    bar.set_range(900, 300)
    bar.scroll_by(120)
    bar.attach(host, QRect(0, 80, 300, 14))
    bar.detach()
    bar.attach(host, QRect(0, 80, 300, 14))
    assert bars(host)[0].value() == 120
    bar.set_range(350, 300)
    assert bar.offset == 50
