from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from desktop.commands.fit_subject import find_subject, of_build, of_file, on_this_computer
from engines.assessor import Assessor
from engines.catalog import load_catalog
from engines.errors import ModelFileError
from engines.formats.sparse import write_sparse
from engines.hardware.machine import Machine
from tests.support import gguf_writer

STARTER = "smollm2-135m-instruct"


def write_named(path: Path, name: str) -> None:
    """A model file whose header says this name."""
    metadata, tensors = gguf_writer.model(layers=2, width=1024, vocabulary_size=100)
    header, length = gguf_writer.header({**metadata, "general.name": name}, tensors)
    write_sparse(header, length, path)


@pytest.fixture
def assessor(here: Machine) -> Assessor:
    return Assessor(load_catalog(), here)


@pytest.mark.model
def test_a_file_is_what_its_header_says(assessor: Assessor, smollm2_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "my-own-name.gguf"
    copy.write_bytes(smollm2_path.read_bytes())

    subject = find_subject(str(copy), assessor, tmp_path)

    assert subject is not None
    (candidate,) = subject.candidates
    assert candidate.facts is not None and candidate.facts.weights.exact
    assert candidate.facts.file_bytes == copy.stat().st_size == candidate.size_bytes
    assert candidate.installed is not None and candidate.installed.path == copy


@pytest.mark.model
def test_a_model_that_is_here_is_judged_by_its_file_and_its_other_builds_by_the_catalogue(
    assessor: Assessor, tmp_path: Path
) -> None:
    subject = find_subject(STARTER, assessor, tmp_path)

    assert subject is not None
    model = assessor.catalog.find(STARTER)
    assert model is not None
    assert subject.title == model.name
    assert [candidate.build for candidate in subject.candidates] == [build.quantization for build in model.build]
    here = [candidate for candidate in subject.candidates if candidate.installed is not None]
    assert [candidate.engine for candidate in here] == ["llama"]
    assert here[0].facts is not None and here[0].facts.source == "header"


def test_a_repository_of_the_catalogue_needs_no_network(assessor: Assessor, tmp_path: Path) -> None:
    subject = find_subject("mlx-community/DeepSeek-V4-Flash-4bit", assessor, tmp_path)

    assert subject is not None
    assert {candidate.repository for candidate in subject.candidates} == {"mlx-community/DeepSeek-V4-Flash-4bit"}
    facts = subject.candidates[0].facts
    assert facts is not None and "deepseek" in facts.unsupported.lower()


@pytest.mark.parametrize("wanted", ["somebody/something", "somebody/something:Q4_K_M"])
def test_another_repository_is_a_question_for_the_hub(assessor: Assessor, tmp_path: Path, wanted: str) -> None:
    assert find_subject(wanted, assessor, tmp_path) is None


def test_a_folder_of_that_name_is_no_repository(
    assessor: Assessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "somebody" / "something").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ModelFileError, match="is a folder"):
        find_subject("somebody/something", assessor, tmp_path)


def test_a_name_that_nobody_knows_is_said_with_what_was_meant(assessor: Assessor, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as refused:
        find_subject("smollm2-135m", assessor, tmp_path)

    assert f"Did you mean {STARTER}?" in refused.value.advice


def test_the_name_in_a_files_header_means_that_file(assessor: Assessor, tmp_path: Path) -> None:
    write_named(tmp_path / "own-file-Q4.gguf", "Harbour 1B")

    for wanted in ("harbour 1b", "own-file-Q4", "own-file-q4.gguf"):
        subject = find_subject(wanted, assessor, tmp_path)
        assert subject is not None
        assert [candidate.name for candidate in subject.candidates] == ["own-file-Q4"]


def test_where_several_names_match_all_are_said(assessor: Assessor, tmp_path: Path) -> None:
    write_named(tmp_path / "harbour-a.gguf", "Harbour 1B")
    write_named(tmp_path / "harbour-b.gguf", "Harbour 1B")

    for wanted in ("harbour", "Harbour 1B"):
        with pytest.raises(ModelFileError, match="can be 2 different models") as refused:
            find_subject(wanted, assessor, tmp_path)
        assert refused.value.advice == "Name one of them: harbour-a, harbour-b."
    with pytest.raises(ModelFileError) as refused:
        find_subject("qwen", assessor, tmp_path)
    assert refused.value.advice.lower().count("qwen") >= 2


def test_a_build_that_no_engine_runs_says_so(assessor: Assessor) -> None:
    found = [of_build(model, build, assessor) for model, build in assessor.catalog.builds()]
    refused = [each for each in found if each.engine == "mlx"]  # this version has no engine for them
    refused += [each for each in found if each.catalog_build is not None and each.catalog_build.unsupported]

    assert refused and not any(each.has_engine for each in refused)
    assert any(each.has_engine for each in found)


def test_a_file_that_is_no_model_is_an_error(assessor: Assessor, tmp_path: Path) -> None:
    path = tmp_path / "noise.gguf"
    path.write_bytes(b"no model" * 100)

    with pytest.raises(ModelFileError):
        of_file(path, assessor)


@pytest.mark.model
def test_of_the_models_on_this_disk_a_damaged_one_is_listed_with_its_problem(
    assessor: Assessor, smollm2_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "noise.gguf").write_bytes(b"no model" * 100)
    (tmp_path / "empty.gguf").touch()

    found = {candidate.name: candidate for candidate in on_this_computer(assessor, tmp_path)}

    assert set(found) == {"SmolLM2 135M Instruct", "noise", "empty"}
    assert found["SmolLM2 135M Instruct"].facts is not None
    assert found["empty"].problem == "The file is empty."
    assert found["noise"].facts is None and found["noise"].problem


def test_a_build_without_a_size_or_a_shape_has_a_problem_in_words(assessor: Assessor) -> None:
    model = assessor.catalog.models[0]
    unmeasured = structs.replace(model.build[0], file=(), repository="somebody/something")

    candidate = of_build(model, unmeasured, assessor)

    assert (candidate.facts, candidate.problem) == (None, "Its size or its shape is not in the catalogue yet.")
    assert candidate.repository == "somebody/something"
