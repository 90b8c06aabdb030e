"""The design's tokens and how they reach Qt: palette, style sheet, fonts, text size, light and dark.

Not here: the shape of single widgets (they paint themselves with the tokens of `theme_of`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, assert_never

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from desktop.core.assets import find_asset
from desktop.widgets.focus_ring import FocusRing
from desktop.widgets.style_sheet import build_style_sheet

Appearance = Literal["system", "light", "dark"]

BASE_TEXT_PX = 14
"""Interface text at 100 %; every size in the design is stated at this scale."""

CODE_FAMILIES = ["JetBrains Mono", "Noto Sans Mono CJK SC", "PingFang SC", "Microsoft YaHei", "monospace"]
TEXT_FAMILIES = ["Inter", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"]
DISPLAY_FAMILIES = ["Inter Display", *TEXT_FAMILIES]
_FONTS_LOADED = "snug_fonts_loaded"
FONT_FILES = (
    "Inter-Regular.ttf",
    "Inter-Italic.ttf",
    "Inter-Medium.ttf",
    "Inter-SemiBold.ttf",
    "Inter-SemiBoldItalic.ttf",
    "InterDisplay-SemiBold.otf",
    "JetBrainsMono-Regular.ttf",
)


@dataclass(frozen=True, slots=True)
class Theme:
    """Every colour of the design, by its role. Values are `#RRGGBB`."""

    name: Literal["light", "dark"]
    background: str
    side: str
    surface: str
    hover: str
    select: str
    line: str
    edge: str
    ink: str
    ink2: str
    ink3: str
    accent: str
    accent_hover: str
    on_accent: str
    soft: str
    soft_line: str
    trough: str
    trough_line: str
    weights: str
    context: str
    buffers: str
    other: str
    ok: str
    ok_ground: str
    less: str
    less_ground: str
    disk: str
    disk_ground: str
    no: str
    no_ground: str
    code_ground: str
    code_keyword: str
    code_string: str
    code_number: str
    code_comment: str
    code_function: str

    def colors(self) -> dict[str, str]:
        """Role -> colour, for the style sheet."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "name"}


LIGHT = Theme(
    name="light",
    background="#F8F6F2",
    side="#F0EDE6",
    surface="#FFFFFF",
    hover="#E8E4DB",
    select="#E5E0D6",
    line="#E1DCD2",
    edge="#8A8377",
    ink="#24211C",
    ink2="#575147",
    ink3="#696357",
    accent="#1B6B57",
    accent_hover="#155746",
    on_accent="#FFFFFF",
    soft="#E2EFE9",
    soft_line="#BFDACE",
    trough="#EAE6DD",
    trough_line="#D3CDC0",
    weights="#1B6B57",
    context="#B4770C",
    buffers="#7466B0",
    other="#787166",
    ok="#1B6B57",
    ok_ground="#E2EFE9",
    less="#805300",
    less_ground="#FAEED3",
    disk="#275C8C",
    disk_ground="#E2ECF5",
    no="#A13528",
    no_ground="#F9E6E2",
    code_ground="#F5F2EC",
    code_keyword="#8A3B5E",
    code_string="#2F6B3A",
    code_number="#8A4B00",
    code_comment="#6B655A",
    code_function="#275C8C",
)

DARK = Theme(
    name="dark",
    background="#1D1B18",
    side="#171513",
    surface="#262420",
    hover="#302D28",
    select="#34312C",
    line="#37342E",
    edge="#8C8578",
    ink="#F1EDE5",
    ink2="#C0B9AC",
    ink3="#A29B8E",
    accent="#6CC7A9",
    accent_hover="#85D4BA",
    on_accent="#0C2A20",
    soft="#22382F",
    soft_line="#345446",
    trough="#12110F",
    trough_line="#45413A",
    weights="#4FAF90",
    context="#DDA544",
    buffers="#A395DA",
    other="#787268",
    ok="#82D2B6",
    ok_ground="#20362E",
    less="#E9BC6B",
    less_ground="#3A2F19",
    disk="#93BFE7",
    disk_ground="#1F2F3E",
    no="#F29C8F",
    no_ground="#42251F",
    code_ground="#1B1916",
    code_keyword="#E39BBB",
    code_string="#9CCF9F",
    code_number="#E9BC6B",
    code_comment="#9C9588",
    code_function="#93BFE7",
)


def theme_of(widget: QWidget) -> Theme:
    """The theme that `widget` is drawn in.

    Asks the application's palette, so that nobody has to pass a theme around. (A widget's own palette is no help: a
    style sheet's `background: transparent` turns its window colour into black.)
    """
    del widget
    return DARK if QApplication.palette().color(QPalette.ColorRole.Window).lightness() < 128 else LIGHT


def text_scale() -> float:
    """How much larger than 100 % the user wants text; 1.0 is the design's size."""
    size = QApplication.font().pixelSize()
    return size / BASE_TEXT_PX if size > 0 else 1.0


def scaled(pixels: float) -> int:
    """A length of the design in pixels at the present text size."""
    return round(pixels * text_scale())


def is_size_change(event: QEvent) -> bool:
    """Whether a change event may mean another text size.

    Qt sends ApplicationFontChange only to some widgets; the new style sheet that comes with a new size reaches all.
    """
    return event.type() == QEvent.Type.StyleChange


def is_tabular(text: str) -> bool:
    """Whether figures of one width suit a text. In Inter they widen the hyphen too, which tears words apart."""
    return "-" not in text


def text_font(size_px: float, weight: int = 400, *, display: bool = False, tabular: bool = False) -> QFont:
    """A font of the interface, at the present text size; `tabular` gives all figures the same width."""
    font = QFont()
    font.setFamilies(DISPLAY_FAMILIES if display else TEXT_FAMILIES)
    font.setPixelSize(max(1, scaled(size_px)))
    font.setWeight(QFont.Weight(weight))
    if tabular:
        font.setFeature(QFont.Tag("tnum"), 1)
    return font


def code_font(size_px: float = 13) -> QFont:
    """The font of code: no ligatures, so that every character is the one that was written."""
    font = QFont()
    font.setFamilies(CODE_FAMILIES)
    font.setPixelSize(max(1, scaled(size_px)))
    font.setFixedPitch(True)
    for tag in ("liga", "calt", "clig"):
        font.setFeature(QFont.Tag(tag), 0)
    return font


def load_fonts(application: QApplication) -> None:
    """Makes the shipped fonts known to Qt, once. Without them the system's font is used, and everything still works."""
    if application.property(_FONTS_LOADED):
        return
    for name in FONT_FILES:
        QFontDatabase.addApplicationFont(str(find_asset(f"fonts/{name}")))
    application.setProperty(_FONTS_LOADED, True)


def make_palette(theme: Theme) -> QPalette:
    """The palette for everything that no style sheet rule reaches."""
    palette = QPalette()
    role = QPalette.ColorRole
    for color_role, value in (
        (role.Window, theme.background),
        (role.WindowText, theme.ink),
        (role.Base, theme.surface),
        (role.AlternateBase, theme.background),
        (role.Text, theme.ink),
        (role.PlaceholderText, theme.ink3),
        (role.Button, theme.surface),
        (role.ButtonText, theme.ink),
        (role.BrightText, theme.no),
        (role.ToolTipBase, theme.surface),
        (role.ToolTipText, theme.ink),
        (role.Highlight, theme.soft_line),
        (role.HighlightedText, theme.ink),
        (role.Link, theme.accent),
        (role.LinkVisited, theme.accent),
        (role.Accent, theme.accent),
        (role.Light, theme.surface),
        (role.Midlight, theme.hover),
        (role.Mid, theme.line),
        (role.Dark, theme.edge),
        (role.Shadow, theme.edge),
    ):
        palette.setColor(color_role, QColor(value))
    for color_role in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, color_role, QColor(theme.ink3))
    return palette


class ThemeController(QObject):
    """Gives the application its look and keeps it true when the system turns light or dark.

    Signals: theme_changed(Theme) after palette and style sheet have been applied.
    """

    theme_changed = Signal(object)

    def __init__(self, application: QApplication, appearance: Appearance = "system", scale: float = 1.0) -> None:
        super().__init__(application)
        self._application = application
        self._appearance: Appearance = appearance
        self._scale = scale
        self._theme: Theme | None = None
        self._ring = FocusRing(self)
        application.focusChanged.connect(self._ring.follow)
        application.styleHints().colorSchemeChanged.connect(self._on_color_scheme_changed)
        # macOS otherwise lets Tab reach only text fields; here every control is reached.
        application.styleHints().setTabFocusBehavior(Qt.TabFocusBehavior.TabFocusAllControls)

    @property
    def theme(self) -> Theme:
        """The theme that the appearance and the system ask for now."""
        match self._appearance:
            case "light":
                return LIGHT
            case "dark":
                return DARK
            case "system":
                is_dark = self._application.styleHints().colorScheme() == Qt.ColorScheme.Dark
                return DARK if is_dark else LIGHT
            case _:
                assert_never(self._appearance)

    @property
    def scale(self) -> float:
        """Text size, 1.0 is 100 %."""
        return self._scale

    def apply(self) -> None:
        """Applies everything; call once before the first window is shown."""
        load_fonts(self._application)
        self._application.setStyle("Fusion")
        self._application.setEffectEnabled(Qt.UIEffect.UI_AnimateMenu, False)
        self._refresh()

    def set_appearance(self, appearance: Appearance) -> None:
        """Follows the system, or stays light or dark."""
        self._appearance = appearance
        self._refresh()

    def set_text_scale(self, scale: float) -> None:
        """Text size from 0.8 to 2.0."""
        self._scale = min(2.0, max(0.8, scale))
        self._refresh(force=True)

    def _on_color_scheme_changed(self) -> None:
        if self._appearance == "system":
            self._refresh()

    def _refresh(self, *, force: bool = False) -> None:
        theme = self.theme
        if theme is self._theme and not force:
            return
        self._theme = theme
        font = QFont()
        font.setFamilies(TEXT_FAMILIES)
        font.setPixelSize(round(BASE_TEXT_PX * self._scale))
        self._application.setFont(font)
        self._application.setPalette(make_palette(theme))
        self._application.setStyleSheet(build_style_sheet(theme.colors(), self._scale))
        self.theme_changed.emit(theme)
