"""The line icons, in any colour, sharp at any pixel ratio. Drawings come from assets/icons."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap, QPixmapCache
from PySide6.QtSvg import QSvgRenderer

from desktop.core.assets import find_asset

MARK = """
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<path d="M0 6h2.5v5.5A2 2 0 0 0 4.5 13.5h7a2 2 0 0 0 2-2V6H16v6a4 4 0 0 1-4 4H4a4 4 0 0 1-4-4z" fill="{cradle}"/>
<rect x="4" y="1" width="8" height="11" rx="2" fill="{block}"/>
</svg>"""


@lru_cache(maxsize=64)
def _drawing(name: str) -> str:
    return find_asset(f"icons/{name}.svg").read_text(encoding="utf-8")


def _render(svg: str, size_px: int, pixel_ratio: float) -> QPixmap:
    pixmap = QPixmap(round(size_px * pixel_ratio), round(size_px * pixel_ratio))
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, pixmap.width(), pixmap.height()))
    painter.end()
    pixmap.setDevicePixelRatio(pixel_ratio)
    return pixmap


def icon_pixmap(name: str, color: str | QColor, size_px: int, pixel_ratio: float = 1.0) -> QPixmap:
    """The icon `name` in `color`, `size_px` wide and high."""
    color_name = QColor(color).name()
    key = f"snug/{name}/{color_name}/{size_px}/{pixel_ratio:g}"
    cached = QPixmap()
    if QPixmapCache.find(key, cached):
        return cached
    pixmap = _render(_drawing(name).replace("currentColor", color_name), size_px, pixel_ratio)
    QPixmapCache.insert(key, pixmap)
    return pixmap


def mark_pixmap(cradle: str, block: str, size_px: int, pixel_ratio: float = 1.0) -> QPixmap:
    """The mark as it stands inside the app: no tile, cradle in accent, block in honey."""
    return _render(MARK.format(cradle=cradle, block=block), size_px, pixel_ratio)


def icon(name: str, color: str | QColor, size_px: int = 18) -> QIcon:
    """For menus and other places that want a QIcon."""
    result = QIcon()
    for ratio in (1.0, 1.5, 2.0, 3.0):
        result.addPixmap(icon_pixmap(name, color, size_px, ratio))
    return result


def draw_icon(painter: QPainter, rect: QRectF, name: str, color: str | QColor) -> None:
    """Draws the icon centred in `rect` (its smaller side is the icon's size)."""
    size = int(min(rect.width(), rect.height()))
    pixmap = icon_pixmap(name, color, size, painter.device().devicePixelRatio())
    left = round(rect.x() + (rect.width() - size) / 2)
    top = round(rect.y() + (rect.height() - size) / 2)
    painter.drawPixmap(left, top, pixmap)


def application_icon() -> QIcon:
    """The icon of the window and the task bar."""
    result = QIcon(str(find_asset("snug-512.png")))
    result.addFile(str(find_asset("snug-16.png")))
    return result
