"""What is installed from a wheel has everything that the app looks for at run time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files in a wheel that is built from a copy, by hatchling itself, without the network."""
    copy = tmp_path_factory.mktemp("checkout")
    kept = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in kept.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    result = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = (copy / "dist").glob("snug-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_has_both_packages_and_nothing_else(wheel_names: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel_names if ".dist-info/" not in name} == {"desktop", "engines"}


def test_wheel_has_every_module(wheel_names: set[str]) -> None:
    ours = {
        path.relative_to(ROOT).as_posix() for part in ("desktop", "engines") for path in (ROOT / part).rglob("*.py")
    }
    assert ours <= wheel_names


def test_wheel_has_the_catalogue_and_all_assets(wheel_names: set[str]) -> None:
    assets = {path.relative_to(ROOT / "assets") for path in (ROOT / "assets").rglob("*") if path.is_file()}
    assert assets, "no assets: then this test would prove nothing"
    assert {"engines/models.toml", *(f"desktop/assets/{path.as_posix()}" for path in assets)} <= wheel_names


def test_wheel_has_the_data_files_beside_modules(wheel_names: set[str]) -> None:
    data = {
        path.relative_to(ROOT).as_posix()
        for part in ("desktop", "engines")
        for path in (ROOT / part).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert data <= wheel_names
