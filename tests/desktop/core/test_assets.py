"""Assets are found wherever the program runs from."""

from pathlib import Path

import pytest

import desktop
from desktop.core.assets import find_asset


def _make_package(monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    package = root / "desktop"
    package.mkdir()
    monkeypatch.setattr(desktop, "__file__", str(package / "__init__.py"))
    return package


def test_source_tree_has_the_assets_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_package(monkeypatch, tmp_path)
    (tmp_path / "assets" / "icons").mkdir(parents=True)
    (tmp_path / "assets" / "icons" / "stop.svg").write_text("<svg/>")
    assert find_asset("icons/stop.svg") == tmp_path / "assets" / "icons" / "stop.svg"


def test_wheel_and_frozen_app_have_them_inside_and_those_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _make_package(monkeypatch, tmp_path)
    for folder in (tmp_path / "assets", package / "assets"):
        folder.mkdir()
        (folder / "snug.svg").write_text("<svg/>")
    assert find_asset("snug.svg") == package / "assets" / "snug.svg"


def test_missing_asset_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such-picture\.svg"):
        find_asset("no-such-picture.svg")
