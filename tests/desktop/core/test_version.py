from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from desktop.core.version import snug_version


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))

    assert snug_version() == project["project"]["version"]


def test_a_source_tree_that_was_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)

    assert snug_version() == "unknown"
