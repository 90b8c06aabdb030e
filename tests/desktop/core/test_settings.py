"""Settings and state: what is chosen comes back, what is wrong is said, what is foreign is kept."""

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from desktop.core.settings import (
    RECENT_MODELS_KEPT,
    Settings,
    State,
    load_settings,
    load_state,
    save_settings,
    save_state,
)

_ALL_CHANGED = Settings(
    appearance="dark",
    text_scale_percent=125,
    idle_eject_minutes=0,
    models_directory="/big disk/模型",
    context_tokens=4096,
    threads=2,
    system_prompt="Be brief.\nAnswer in 中文.",
    max_tokens=64,
    temperature=0.0,
    top_k=1,
    top_p=0.5,
    min_p=0.0,
    repeat_penalty=1.1,
    frequency_penalty=-0.5,
    presence_penalty=0.5,
    seed=7,
    thinking=False,
)


def test_every_setting_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "config" / "settings.json"
    for field in dataclasses.fields(Settings):
        assert getattr(_ALL_CHANGED, field.name) != field.default, f"{field.name} is not changed by this test"
    save_settings(path, _ALL_CHANGED)
    assert load_settings(path) == (_ALL_CHANGED, ())


def test_missing_file_gives_the_defaults_without_a_complaint(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "settings.json") == (Settings(), ())
    assert load_state(tmp_path / "state.json") == (State(), ())


def test_defaults_lie_within_their_own_ranges() -> None:
    assert msgspec.convert(msgspec.to_builtins(Settings()), Settings) == Settings()
    assert msgspec.convert(msgspec.to_builtins(State()), State) == State()


def test_only_what_differs_from_the_defaults_is_written(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    save_settings(path, Settings(temperature=0.2))
    assert json.loads(path.read_text()) == {"temperature": 0.2}
    save_settings(path, Settings())
    assert json.loads(path.read_text()) == {}


def test_keys_of_another_version_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"invented_later": {"deep": [1, 2]}, "temperature": 0.2}')
    settings, problems = load_settings(path)
    assert problems == ()
    save_settings(path, dataclasses.replace(settings, temperature=0.3))
    assert json.loads(path.read_text()) == {"invented_later": {"deep": [1, 2]}, "temperature": 0.3}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("appearance", "purple"),
        ("temperature", -1),
        ("temperature", "warm"),
        ("top_p", 1.5),
        ("idle_eject_minutes", 2.5),
        ("context_tokens", 3),
        ("seed", None),
        ("thinking", "yes"),
        ("system_prompt", ["a list"]),
    ],
)
def test_wrong_value_goes_back_to_its_default_and_is_named(tmp_path: Path, name: str, wrong: object) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({name: wrong, "max_tokens": 99}))
    settings, problems = load_settings(path)
    assert settings == Settings(max_tokens=99)
    if name == "seed":
        assert problems == ()  # None is a value of its own: draw a seed.
        return
    (problem,) = problems
    assert name in problem
    assert "default" in problem
    assert "Error" not in problem


def test_file_that_cannot_be_understood_is_said_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"temperature": 0.2,')
    settings, problems = load_settings(path)
    assert settings == Settings()
    assert len(problems) == 1
    save_settings(path, Settings(top_k=5))
    assert load_settings(path) == (Settings(top_k=5), ())
    (kept,) = tmp_path.glob("settings.damaged-*.json")
    assert kept.read_text() == '{"temperature": 0.2,'


def test_list_instead_of_an_object_is_said(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("[1, 2]")
    assert load_settings(path)[0] == Settings()
    assert len(load_settings(path)[1]) == 1


def test_byte_order_mark_of_an_editor_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(b'\xef\xbb\xbf{"top_k": 5}')
    assert load_settings(path) == (Settings(top_k=5), ())


def test_unreadable_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "settings.json").mkdir()
    settings, problems = load_settings(tmp_path / "settings.json")
    assert settings == Settings()
    assert len(problems) == 1


def test_settings_become_options_and_load_settings() -> None:
    options = _ALL_CHANGED.generation_options()
    for field in dataclasses.fields(options):
        if field.name in {field.name for field in dataclasses.fields(Settings)}:
            assert getattr(options, field.name) == getattr(_ALL_CHANGED, field.name)
    assert Settings().generation_options() == type(options)()
    assert _ALL_CHANGED.load_settings(trained_context_tokens=131_072).context_tokens == 4096
    assert Settings().load_settings(trained_context_tokens=131_072).context_tokens == 8192
    assert Settings().load_settings(trained_context_tokens=2048).context_tokens == 2048
    assert Settings().load_settings().context_tokens is None


def test_system_prompt_does_not_show_in_a_log() -> None:
    assert "brief" not in repr(_ALL_CHANGED)


def test_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = State(
        window_geometry="AdnQywAD",
        side_bar_shown=False,
        side_bar_width_pixels=300,
        last_page="chat",
        last_conversation_id="abc",
    ).with_model_used(Path("模型 folder") / "tiny.gguf")
    save_state(path, state)
    assert load_state(path) == (state, ())


def test_recent_models_are_few_without_doubles_and_the_last_used_first() -> None:
    state = State()
    for number in [*range(RECENT_MODELS_KEPT + 3), 5]:
        state = state.with_model_used(f"{number}.gguf")
    assert state.last_model_path == "5.gguf"
    assert state.recent_models[:2] == ("5.gguf", f"{RECENT_MODELS_KEPT + 2}.gguf")
    assert len(state.recent_models) == len(set(state.recent_models)) == RECENT_MODELS_KEPT
