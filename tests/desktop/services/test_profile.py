"""Settings and state: told at once, saved a moment later, written at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from desktop.core.errors import StorageFullError
from desktop.core.paths import AppPaths
from desktop.core.settings import Settings, load_settings, load_state, save_settings
from desktop.services.background import Background
from desktop.services.notices import Notices
from desktop.services.profile import SAVE_DELAY_MS, Profile


@pytest.fixture
def paths() -> AppPaths:
    made = AppPaths.make()
    made.ensure()
    return made


@pytest.fixture
def make_profile(paths: AppPaths, qtbot: Any) -> Iterator[Callable[[], tuple[Profile, Notices]]]:
    background = Background()
    profiles: list[Profile] = []

    def make() -> tuple[Profile, Notices]:
        notices = Notices()
        profiles.append(Profile(paths, notices, background.run))
        return profiles[-1], notices

    yield make
    for profile in profiles:
        profile.close()
    background.close()


def test_change_of_a_setting_is_told_at_once_and_saved_a_moment_later(
    make_profile: Callable[[], tuple[Profile, Notices]], paths: AppPaths, qtbot: Any
) -> None:
    profile, _ = make_profile()
    told: list[Settings] = []
    profile.settings_changed.connect(told.append)
    profile.change_settings(idle_eject_minutes=3)
    profile.change_settings(idle_eject_minutes=3)
    assert [settings.idle_eject_minutes for settings in told] == [3]
    assert not paths.settings_path.exists()
    qtbot.waitUntil(paths.settings_path.exists, timeout=SAVE_DELAY_MS * 5)
    qtbot.waitUntil(lambda: load_settings(paths.settings_path)[0].idle_eject_minutes == 3)


def test_what_is_left_is_written_at_the_end(
    make_profile: Callable[[], tuple[Profile, Notices]], paths: AppPaths
) -> None:
    profile, _ = make_profile()
    profile.change_state(last_page="chat")
    profile.remember_model(Path("/models/one.gguf"))
    profile.close()
    state, problems = load_state(paths.state_path)
    assert not problems
    assert (state.last_page, state.last_model_path) == ("chat", str(Path("/models/one.gguf")))


def test_a_change_after_the_end_starts_no_more_work(
    make_profile: Callable[[], tuple[Profile, Notices]], qtbot: Any
) -> None:
    """The window's last words may come when the background is gone."""
    profile, _ = make_profile()
    profile.close()
    profile.change_state(window_geometry="moved")
    assert not profile._timer.isActive()


def test_nothing_is_written_where_nothing_changed(
    make_profile: Callable[[], tuple[Profile, Notices]], paths: AppPaths
) -> None:
    profile, _ = make_profile()
    profile.close()
    assert not paths.settings_path.exists()
    assert not paths.state_path.exists()


def test_wrong_settings_are_said(
    make_profile: Callable[[], tuple[Profile, Notices]], paths: AppPaths, qtbot: Any
) -> None:
    paths.settings_path.write_text('{"temperature": "hot"}', encoding="utf-8")
    profile, notices = make_profile()
    qtbot.waitUntil(lambda: bool(notices.current()))
    assert "temperature" in notices.current()[0].advice
    assert profile.settings.temperature == Settings().temperature


def test_full_disk_is_said(
    make_profile: Callable[[], tuple[Profile, Notices]], monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    def refuse(*_: object) -> None:
        raise StorageFullError("The disk is full.")

    monkeypatch.setattr("desktop.services.profile.save_settings", refuse)
    profile, notices = make_profile()
    profile.change_settings(threads=2)
    qtbot.waitUntil(lambda: bool(notices.current()), timeout=SAVE_DELAY_MS * 5)
    assert notices.current()[0].title == "The disk is full."


def test_models_folder_of_the_settings_counts(
    make_profile: Callable[[], tuple[Profile, Notices]], paths: AppPaths, tmp_path: Path
) -> None:
    save_settings(paths.settings_path, Settings(models_directory=str(tmp_path)))
    profile, _ = make_profile()
    assert profile.paths.models_directory == tmp_path
