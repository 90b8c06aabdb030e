"""Who may import whom: the contracts of pyproject.toml hold, and what the app starts with stays small."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import desktop
import engines

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(ROOT.glob("desktop/services/**/*.py"))


def modules_after_importing(module: str) -> set[str]:
    """What a fresh interpreter has loaded after importing one module."""
    question = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-P", "-c", question], capture_output=True, text=True, check=False, cwd=ROOT.anchor
    )
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


def loaded_of(loaded: set[str], *packages: str) -> set[str]:
    return {name for name in loaded if name.split(".")[0] in packages}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)


def test_import_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


TRESPASSES = {
    # a line at the end of this module: what it breaks
    "engines/memory.py": ("import PySide6.QtCore", "engines never import Qt or the app"),
    "engines/library.py": ("import llama_cpp", "only the llama engine imports llama_cpp"),
    "engines/lease.py": ("import huggingface_hub", "only the hub's process imports huggingface_hub"),
    "engines/event_lane.py": ("import transformers", "nobody imports other engines yet"),
    "engines/registry.py": ("import engines.backends.scripted", "backends are found by the registry's names alone"),
    "engines/backends/scripted/engine.py": ("import engines.backends.llama", "backends do not know each other"),
    "engines/client.py": (
        "import engines.workers.channel",
        "only the program's door starts a worker in its own process",
    ),
    "engines/fit/sizes.py": ("import engines.process", "the fit is pure: it starts nothing and asks no system"),
    "desktop/core/files.py": ("import PySide6.QtCore", "desktop.core is free of Qt"),
    "desktop/commands/display.py": ("import PySide6.QtGui", "the terminal is free of Qt"),
    "desktop/pages/models/words.py": ("import desktop.pages.chat.items", "pages do not know each other"),
    "desktop/core/paths.py": ("import desktop.widgets", "desktop layers"),
}


def copy_house(target: Path) -> None:
    shutil.copyfile(ROOT / "pyproject.toml", target / "pyproject.toml")
    for package in ("desktop", "engines"):
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))


def test_every_contract_breaks_when_it_is_trespassed(tmp_path: Path) -> None:
    copy_house(tmp_path)
    for module, (line, _) in TRESPASSES.items():
        with (tmp_path / module).open("a") as file:
            file.write(f"\n{line}\n")
    broken = set(re.findall(r"(?m)^(.+) BROKEN", lint_imports(tmp_path).stdout))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    assert broken == {contract for _, contract in TRESPASSES.values()} == {contract["name"] for contract in contracts}


def test_module_outside_of_the_layers_is_refused(tmp_path: Path) -> None:
    copy_house(tmp_path)
    (tmp_path / "desktop" / "helpers.py").write_text("")
    result = lint_imports(tmp_path)
    assert result.returncode == 1
    assert "desktop.helpers" in result.stdout


def test_desktop_and_engines_are_ours() -> None:
    """Other distributions carry packages of these names; one of them could have overwritten ours."""
    assert desktop.__file__ is not None
    assert engines.__file__ is not None
    assert Path(desktop.__file__).parent == ROOT / "desktop"
    assert Path(engines.__file__).parent == ROOT / "engines"


def test_a_folder_called_engines_where_the_user_stands_is_not_executed(tmp_path: Path) -> None:
    trap = tmp_path / "engines"
    trap.mkdir()
    (trap / "__init__.py").write_text("raise SystemExit('the trap was imported')")
    answer = subprocess.run(
        [sys.executable, "-P", "-c", "import engines.workers.engine"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


def test_engine_process_starts_without_qt_and_without_the_hub() -> None:
    loaded = modules_after_importing("engines.workers.engine")
    assert not loaded_of(loaded, "PySide6", "shiboken6", "huggingface_hub", "llama_cpp", "mlx", "mlx_lm", "desktop")


def test_window_starts_without_engines_and_text_libraries() -> None:
    loaded = modules_after_importing("desktop.app")
    assert "PySide6.QtWidgets" in loaded
    assert not loaded_of(loaded, "llama_cpp", "mlx", "mlx_lm", "huggingface_hub", "numpy", "transformers")
    assert not loaded_of(loaded, "pygments", "markdown_it", "jinja2"), "loaded late: only a reply needs them"


def test_program_door_imports_no_qt_before_it_knows_what_to_do() -> None:
    loaded = modules_after_importing("desktop.__main__")
    assert not loaded_of(loaded, "PySide6", "shiboken6", "llama_cpp", "huggingface_hub")


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_services_use_only_the_core_of_qt(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "PySide6":
            imported |= {f"PySide6.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            imported.add(node.module)
    of_qt = {name for name in imported if name.split(".")[0] in ("PySide6", "shiboken6")}
    assert of_qt <= {"PySide6.QtCore"}
