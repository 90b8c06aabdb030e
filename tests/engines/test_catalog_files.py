from __future__ import annotations

from pathlib import Path

import pytest

from engines.catalog import Catalog, CatalogError, load_catalog
from engines.catalog_files import (
    MAXIMUM_ENTRIES,
    MAXIMUM_FILE_BYTES,
    MAXIMUM_FILES,
    import_catalog,
    load_with_own,
)


def entry(entry_id: str = "mine-1", extra: str = "", file: str = "", **changes: str) -> str:
    values = {
        "name": f'"{entry_id.title()}"',
        "author": '"Somebody"',
        "licence": '"MIT"',
        "languages": '["en"]',
        "good_for": '"Tests."',
        "architecture": '"llama"',
        "parameters": "1000",
        "trained_context_tokens": "128",
    } | changes
    lines = "\n".join(f"{key} = {value}" for key, value in values.items())
    return (
        f'\n[[model]]\nid = "{entry_id}"\n{lines}\n{extra}\n'
        f'[[model.build]]\nengine = "llama"\nquantization = "Q4_0"\n'
        f'[[model.build.file]]\nname = "{file or entry_id}.gguf"\nsize_bytes = 10\n'
    )


def write(path: Path, *entries: str, head: str = "format = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(entries), "utf-8")
    return path


@pytest.fixture
def shipped() -> Catalog:
    return load_catalog()


def ids(catalog: Catalog, origin: str) -> list[str]:
    return [model.id for model in catalog.models if model.origin == origin]


def test_without_own_files_the_catalogue_is_the_shipped_one(shipped: Catalog, tmp_path: Path) -> None:
    catalog, problems = load_with_own(shipped, tmp_path / "never made")

    assert catalog == shipped
    assert problems == ()


def test_own_and_imported_entries_follow_the_shipped_ones_and_are_marked(shipped: Catalog, tmp_path: Path) -> None:
    write(tmp_path / "models.toml", entry("mine-1"))
    write(tmp_path / "catalogues" / "b.toml", entry("late-1"))
    write(tmp_path / "catalogues" / "A.TOML", entry("early-1"))
    write(tmp_path / "catalogues" / "notes.txt", "no catalogue")

    catalog, problems = load_with_own(shipped, tmp_path)

    assert problems == ()
    assert catalog.models[: len(shipped.models)] == shipped.models
    assert ids(catalog, "user") == ["mine-1"]
    assert ids(catalog, "imported") == ["early-1", "late-1"]
    assert [model.id for model in catalog.models[len(shipped.models) :]] == ["mine-1", "early-1", "late-1"]
    found = catalog.find("MINE-1")
    assert found is not None
    assert catalog.owner_of("mine-1.gguf") is not None


def test_a_broken_entry_is_left_out_and_said_and_the_others_are_used(shipped: Catalog, tmp_path: Path) -> None:
    write(tmp_path / "models.toml", entry("good-1"), entry("bad-1", parameters='"many"'), entry("good-2"))

    catalog, problems = load_with_own(shipped, tmp_path)

    assert ids(catalog, "user") == ["good-1", "good-2"]
    assert problems == (
        "models.toml, [[model]] number 2 (bad-1), was left out: parameters: Expected `int`, got `str`.",
    )


def test_a_shipped_entry_is_never_replaced(shipped: Catalog, tmp_path: Path) -> None:
    first = shipped.models[0]
    taken = first.build[0].file[0].name.removesuffix(".gguf")
    write(
        tmp_path / "models.toml",
        entry(first.id),
        entry("mine-1", name=f'"{first.name.upper()}"'),
        entry("mine-2", file=taken),
        entry("mine-3"),
    )

    catalog, problems = load_with_own(shipped, tmp_path)

    assert ids(catalog, "user") == ["mine-3"]
    assert catalog.models[0] == first
    assert len(problems) == 3
    assert all("was left out" in problem and first.id in problem for problem in problems)


def test_the_users_own_entry_wins_over_an_imported_one(shipped: Catalog, tmp_path: Path) -> None:
    write(tmp_path / "models.toml", entry("same-1", author='"Me"'))
    write(tmp_path / "catalogues" / "a.toml", entry("same-1", author='"They"'), entry("other-1"))

    catalog, problems = load_with_own(shipped, tmp_path)

    same = catalog.find("same-1")
    assert same is not None
    assert (same.author, same.origin) == ("Me", "user")
    assert ids(catalog, "imported") == ["other-1"]
    assert problems == (
        "a.toml, [[model]] number 1 (same-1), was left out: 'same-1' is already the id or name of same-1.",
    )


def test_only_snugs_own_list_has_a_starter(shipped: Catalog, tmp_path: Path) -> None:
    write(tmp_path / "models.toml", entry("mine-1", extra="starter = true"))

    catalog, problems = load_with_own(shipped, tmp_path)

    assert catalog.starter == shipped.starter
    assert ids(catalog, "user") == ["mine-1"]
    assert len(problems) == 1
    assert "names a starter" in problems[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"format = 2\n", "models.toml was left out: format is 2, this Snug reads 1."),
        (b"", "models.toml was left out: format is None, this Snug reads 1."),
        (b"format = \n", "models.toml was left out: Invalid value"),
        (b"format = 1\nmodel = 3\n", "models.toml was left out: model is not a list of [[model]]."),
        (b"format = 1\nmodel = [1]\n", "models.toml, [[model]] number 1, was left out: Expected `object`, got `int`"),
        (b"format = 1\ncolour = 1\n", "models.toml was left out: unknown key 'colour' at the top."),
        (b"\xff\xfe\x00", "models.toml was left out: it is not text in UTF-8."),
        (b"format = 1\nmodel = " + b"[" * 20_000, "models.toml was left out: it is nested too deeply."),
        (b"#" * (MAXIMUM_FILE_BYTES + 1), "models.toml was left out: it is larger than 4 MB."),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_words(
    content: bytes, said: str, shipped: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "models.toml").write_bytes(content)

    catalog, problems = load_with_own(shipped, tmp_path)

    assert catalog == shipped
    assert len(problems) == 1
    assert problems[0].startswith(said)


def test_a_byte_order_mark_is_no_obstacle(shipped: Catalog, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("format = 1\n" + entry(), "utf-8-sig")

    assert ids(load_with_own(shipped, tmp_path)[0], "user") == ["mine-1"]


def test_what_cannot_be_opened_is_said(shipped: Catalog, tmp_path: Path) -> None:
    (tmp_path / "models.toml").mkdir()
    (tmp_path / "catalogues").write_text("a file where a folder belongs", "utf-8")

    catalog, problems = load_with_own(shipped, tmp_path)

    assert catalog == shipped
    assert problems[0].startswith("models.toml cannot be read (")
    assert problems[1].startswith("The folder of imported lists, ")


def test_the_number_of_files_and_entries_is_bounded(shipped: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "catalogues"
    folder.mkdir()
    for number in range(MAXIMUM_FILES + 1):
        (folder / f"{number:03}.toml").write_text("format = 1\n", "utf-8")
    (tmp_path / "models.toml").write_text("format = 1\n" + "[[model]]\n" * (MAXIMUM_ENTRIES + 1), "utf-8")

    catalog, problems = load_with_own(shipped, tmp_path)

    assert catalog == shipped
    assert f"Only the first {MAXIMUM_ENTRIES} of {MAXIMUM_ENTRIES + 1} entries of models.toml were read." in problems
    assert sum("was left out" in problem for problem in problems) == MAXIMUM_ENTRIES
    assert f"Only the first {MAXIMUM_FILES} of {MAXIMUM_FILES + 1} imported lists in {folder} were read." in problems


def test_importing_copies_a_file_that_has_something_usable(shipped: Catalog, tmp_path: Path) -> None:
    source = write(tmp_path / "elsewhere" / "Our models (2).toml", entry("ours-1"), entry("bad-1", parameters="0"))

    done = import_catalog(source, shipped, tmp_path / "config")

    assert done.path == tmp_path / "config" / "catalogues" / "Our-models-2.toml"
    assert done.path.read_bytes() == source.read_bytes()
    assert [model.id for model in done.models] == ["ours-1"]
    assert done.problems == (
        "Our models (2).toml, [[model]] number 2 (bad-1), was left out: parameters 0 is not positive.",
    )
    catalog, _ = load_with_own(shipped, tmp_path / "config")
    assert ids(catalog, "imported") == ["ours-1"]


def test_importing_again_replaces_the_copy(shipped: Catalog, tmp_path: Path) -> None:
    source = write(tmp_path / "ours.toml", entry("ours-1"))
    import_catalog(source, shipped, tmp_path / "config")

    write(source, entry("ours-2"))
    done = import_catalog(source, shipped, tmp_path / "config")

    catalog, _ = load_with_own(shipped, tmp_path / "config")
    assert ids(catalog, "imported") == ["ours-2"]
    assert [path.name for path in done.path.parent.iterdir()] == ["ours.toml"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("format = 1\n", "It lists no models."),
        ("format = 9\n", "Ask whoever made the file for a current one."),
        ("format = 1\n" + entry("smollm2-135m-instruct"), "Ask whoever made the file for a current one."),
    ],
)
def test_a_file_of_no_use_is_not_imported(content: str, said: str, shipped: Catalog, tmp_path: Path) -> None:
    source = tmp_path / "useless.toml"
    source.write_text(content, "utf-8")

    with pytest.raises(CatalogError) as raised:
        import_catalog(source, shipped, tmp_path / "config")

    assert raised.value.title == "Nothing in useless.toml can be used."
    assert raised.value.advice == said
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize("name", ["...toml", "catalogue.toml", "-.toml"])
def test_an_odd_name_gives_a_plain_one(name: str, shipped: Catalog, tmp_path: Path) -> None:
    source = write(tmp_path / "odd" / name, entry())

    done = import_catalog(source, shipped, tmp_path / "config")

    assert done.path.name == "catalogue.toml"


def test_a_folder_that_cannot_be_written_to_is_said(shipped: Catalog, tmp_path: Path) -> None:
    source = write(tmp_path / "ours.toml", entry())
    (tmp_path / "config").write_text("a file where a folder belongs", "utf-8")

    with pytest.raises(CatalogError, match=r"ours\.toml could not be copied"):
        import_catalog(source, shipped, tmp_path / "config")

    assert {path.name for path in tmp_path.iterdir()} == {"config", "ours.toml"}
