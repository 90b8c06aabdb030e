"""Where things lie, and that nothing is created before somebody says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from desktop.core.errors import StorageError
from desktop.core.paths import AppPaths


def _all_paths(paths: AppPaths) -> list[Path]:
    return [
        paths.data_directory,
        paths.config_directory,
        paths.cache_directory,
        paths.log_directory,
        paths.models_directory,
        paths.database_path,
        paths.backup_directory,
        paths.settings_path,
        paths.state_path,
        paths.leases_directory,
        paths.calibration_path,
    ]


def test_variable_redirects_everything(data_directory: Path) -> None:
    assert all(path.is_relative_to(data_directory) for path in _all_paths(AppPaths.make()))


def test_given_folder_wins_over_the_variable(tmp_path: Path) -> None:
    chosen = tmp_path / "a profile with spaces 与中文"
    paths = AppPaths.make(chosen)
    assert all(path.is_relative_to(chosen) for path in _all_paths(paths))
    paths.ensure()
    assert paths.models_directory.is_dir()


def test_relative_folder_and_home_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert AppPaths.make(Path("profile")).data_directory == tmp_path / "profile"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert AppPaths.make(None, {"SNUG_DATA_DIR": "~/profile"}).data_directory == tmp_path / "profile"


def test_without_a_choice_the_places_of_the_system_are_used() -> None:
    paths = AppPaths.make(None, {"SNUG_DATA_DIR": ""})
    assert all(path.is_absolute() for path in _all_paths(paths))
    assert all("Snug" in path.parts for path in _all_paths(paths))


def test_models_folder_of_the_settings_replaces_only_that_folder(tmp_path: Path) -> None:
    paths = AppPaths.make()
    assert paths.with_models_directory(None) is paths
    moved = paths.with_models_directory(str(tmp_path / "big disk"))
    assert moved.models_directory == tmp_path / "big disk"
    assert moved.database_path == paths.database_path


def test_folders_are_created_on_demand_and_for_this_user_only(data_directory: Path) -> None:
    paths = AppPaths.make()
    assert not data_directory.exists()
    paths.ensure()
    paths.ensure()
    assert paths.leases_directory.is_dir()
    if sys.platform != "win32":
        assert data_directory.stat().st_mode & 0o077 == 0


def test_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(StorageError) as caught:
        AppPaths.make(in_the_way / "profile").ensure()
    assert "--data-dir" in caught.value.advice


def test_importing_the_core_creates_and_loads_nothing(data_directory: Path) -> None:
    program = (
        "import sys, desktop.core.paths, desktop.core.settings, desktop.core.logs, desktop.core.assets,"
        " desktop.core.conversations.store;"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in"
        " ('PySide6', 'llama_cpp', 'huggingface_hub')))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
    assert not data_directory.exists()
