"""Which Snug this is."""

from __future__ import annotations

import importlib.metadata


def snug_version() -> str:
    """The version of the installed distribution; "unknown" in a source tree that was not installed."""
    try:
        return importlib.metadata.version("snug")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
