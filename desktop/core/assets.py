"""Finds icons and fonts in a source tree, an installed wheel and a frozen app. Reads nothing."""

from __future__ import annotations

from pathlib import Path

import desktop


def find_asset(name: str) -> Path:
    """The path of `assets/<name>`, for example "icons/stop.svg". Raises FileNotFoundError: a packaging fault."""
    package = Path(desktop.__file__).parent
    # A wheel and a frozen app carry the assets inside the package; a source tree has them beside it.
    for folder in (package / "assets", package.parent / "assets"):
        candidate = folder / name
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"Asset {name} is missing from this installation.")
