from __future__ import annotations

import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QImage, QPainter

from desktop.core.assets import find_asset
from desktop.widgets.icons import application_icon, draw_icon, icon, icon_pixmap, mark_pixmap
from desktop.widgets.theme import ThemeController


def colors_of(image: QImage) -> set[str]:
    solid = [image.pixelColor(x, y) for x in range(image.width()) for y in range(image.height())]
    return {color.name() for color in solid if color.alpha() == 255}


@pytest.mark.parametrize("path", sorted(find_asset("icons").glob("*.svg")), ids=lambda path: path.stem)
def test_every_icon_draws_in_the_colour_asked_for(path: object, look: ThemeController) -> None:
    del look
    image = icon_pixmap(path.stem, "#123456", 40).toImage()  # type: ignore[attr-defined]
    assert "#123456" in colors_of(image)
    assert "#000000" not in colors_of(image)


def test_the_pixel_ratio_makes_more_pixels_not_a_larger_icon(look: ThemeController) -> None:
    del look
    pixmap = icon_pixmap("send", "#000000", 18, 2.0)
    assert pixmap.width() == 36
    assert pixmap.deviceIndependentSize().width() == 18


def test_an_icon_that_does_not_exist_is_a_mistake(look: ThemeController) -> None:
    del look
    with pytest.raises(FileNotFoundError):
        icon_pixmap("no-such-icon", "#000000", 18)


def test_an_icon_is_drawn_centred_in_its_place(look: ThemeController) -> None:
    del look
    image = QImage(60, 40, QImage.Format.Format_RGB32)
    image.fill(QColor("#ffffff"))
    painter = QPainter(image)
    draw_icon(painter, QRectF(20, 0, 40, 40), "stop", "#ff0000")
    painter.end()
    assert image.pixelColor(40, 20).name() == "#ff0000"
    assert image.pixelColor(10, 20).name() == "#ffffff"


def test_the_mark_has_no_tile(look: ThemeController) -> None:
    del look
    image = mark_pixmap("#00ff00", "#ff0000", 32).toImage()
    assert {"#00ff00", "#ff0000"} <= colors_of(image)
    assert image.pixelColor(0, 0).alpha() == 0


def test_menus_and_the_window_get_icons(look: ThemeController) -> None:
    del look
    assert not icon("copy", "#000000").isNull()
    assert not application_icon().isNull()
