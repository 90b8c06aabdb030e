"""Tests repeat the tree: from any module its tests are known without searching, and the other way round."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("desktop", "engines", "installers")

TESTED_ELSEWHERE: dict[str, str] = {
    # module: the test module that covers it, and why it has none of its own
}
"""Keep it short: a module without its own tests is the exception, and says where it is tested."""

TESTS_OF_MORE_THAN_ONE_MODULE = {
    "tests/engines/backends/test_contract.py": "one suite that every engine passes",
    "tests/engines/fit/test_never_wrong.py": "the promise that all of the fit's modules keep together",
}
FOLDERS_WITHOUT_A_TWIN = ("tests/architecture/", "tests/end_to_end/", "tests/benchmarks/")


def modules() -> list[Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in found if path.name != "__init__.py")


def twin_of(module: Path) -> Path:
    return Path("tests") / module.parent / f"test_{module.stem.strip('_')}.py"


@pytest.mark.parametrize("module", modules(), ids=str)
def test_module_has_its_tests(module: Path) -> None:
    if module.as_posix() in TESTED_ELSEWHERE:
        covering = TESTED_ELSEWHERE[module.as_posix()].split(":", 1)[0]
        assert (ROOT / covering).is_file(), f"{covering} is said to test {module}, but does not exist"
        assert not (ROOT / twin_of(module)).exists(), f"{module} has tests of its own now: take it off the list"
    else:
        assert (ROOT / twin_of(module)).is_file(), f"{module} has no {twin_of(module)}"


def test_every_test_module_has_its_module() -> None:
    twins = {twin_of(module).as_posix() for module in modules()}
    orphans = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        name = path.relative_to(ROOT).as_posix()
        known = name in twins or name in TESTS_OF_MORE_THAN_ONE_MODULE
        if not known and not name.startswith(FOLDERS_WITHOUT_A_TWIN) and not _tests_a_package(path):
            orphans.append(name)
    assert not orphans


def _tests_a_package(path: Path) -> bool:
    """Whether this is tests/a/test_b.py for the package a.b as a whole."""
    inside = path.relative_to(ROOT / "tests")
    return (ROOT / inside.parent / path.stem.removeprefix("test_") / "__init__.py").is_file()


def test_lists_name_what_exists() -> None:
    for name in [*TESTED_ELSEWHERE, *TESTS_OF_MORE_THAN_ONE_MODULE]:
        assert (ROOT / name).is_file(), name


def test_tests_are_no_packages() -> None:
    """With an __init__.py, `tests/desktop` would shadow `desktop`."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
