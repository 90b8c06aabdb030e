"""The style sheet, generated from the tokens: what is flat and repeated (labels, fields, menus, scroll bars).

Not here: buttons, memory bar, messages; they paint themselves. Rules name our own classes, so that the sheet stays
cheap: Qt tries every rule on every new widget.
"""

from __future__ import annotations

import re

_TEMPLATE = """
QToolTip { background: $surface; color: $ink; border: 1px solid $line; padding: 4px 8px; font-size: 12px; }
QLineEdit { min-height: 34px; border: 1px solid $edge; border-radius: 8px; padding: 0 10px; background: $surface;
  color: $ink; placeholder-text-color: $ink3; selection-background-color: $soft_line; selection-color: $ink; }
QLineEdit:disabled { border-color: $line; color: $ink3; }
SearchField { background: transparent; font-size: 13px; }
ComposerText { background: transparent; border: none; color: $ink; font-size: 15px;
  selection-background-color: $soft_line; selection-color: $ink; }
Transcript { border: none; background: $background; }
SideBar { background: $side; border: none; border-right: 1px solid $line; }
QListView { background: transparent; border: none; outline: none; }
QMenu { background: $surface; color: $ink; border: 1px solid $line; border-radius: 8px; padding: 4px; }
QMenu::item { padding: 6px 28px 6px 10px; border-radius: 6px; min-height: 20px; }
QMenu::item:selected { background: $hover; }
QMenu::item:disabled { color: $ink3; }
QMenu::separator { height: 1px; background: $line; margin: 4px 6px; }
QMenu::icon { padding-left: 8px; }
QScrollBar:vertical { background: transparent; width: 14px; margin: 0; border: none; }
QScrollBar::handle:vertical { background: $line; min-height: 32px; border-radius: 3px; margin: 0 4px; }
QScrollBar:horizontal { background: transparent; height: 14px; margin: 0; border: none; }
QScrollBar::handle:horizontal { background: $line; min-width: 32px; border-radius: 3px; margin: 4px 0; }
QScrollBar::handle:hover, QScrollBar::handle:pressed { background: $edge; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; background: none; border: none; }
QScrollBar::add-page, QScrollBar::sub-page { background: none; }
"""


def build_style_sheet(colors: dict[str, str], scale: float) -> str:
    """The sheet for one theme; text sizes and minimum heights grow with `scale`."""
    sheet = re.sub(r"\$([a-z_0-9]+)", lambda match: colors[match[1]], _TEMPLATE)
    return re.sub(
        r"(font-size|min-height): (\d+)px", lambda match: f"{match[1]}: {round(int(match[2]) * scale)}px", sheet
    )
