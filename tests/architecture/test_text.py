"""What may not stand in any file that is kept: addresses of package indexes, paths of one machine, unfinished work."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = {".png", ".ico", ".icns", ".ttf", ".otf", ".woff2", ".gguf", ".db", ".gz", ".zip", ".bin", ".svgz"}

# Written in pieces, so that this file does not contain what it looks for.
FORBIDDEN = {
    "host of a package index": re.compile(
        r"(?i)\b("
        + "|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "test\\." + "py" + "pi", "anaconda" + r"\.org"])
        + ")"
    ),
    "path of one machine": re.compile(
        r"(?<![\w.~-])/("
        + "|".join(["ro" + "ot/", "wo" + "rk/", "ho" + r"me/[a-z]", "Us" + r"ers/[a-z]", r"tm" + r"p/(?!\.X11)"])
        + r")|\bC:\\"
        + "Users"
    ),
    "mark of unfinished work": re.compile(
        r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b"
    ),
    "conflict of a merge": re.compile(r"(?m)^(<{7} |>{7} |={7}$)"),
}


def kept_files() -> list[Path]:
    """What git keeps, or would keep: also a new file that is not yet added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = {ROOT / name.decode() for name in listed.stdout.split(b"\0") if name}
    return sorted(path for path in paths if path.is_file() and path.suffix.lower() not in BINARY)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_kept_file_contains(what: str) -> None:
    found = []
    for path in kept_files():
        text = path.read_text("utf-8")
        for match in FORBIDDEN[what].finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    assert not found, "\n".join(found)


def test_no_function_is_a_stub() -> None:
    """A body that does nothing, or says that it is not there yet. What subclasses must give stands in a base.py."""
    found = []
    for path in kept_files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("desktop", "engines", "installers"):
            for line, name in stubs(ast.parse(path.read_text("utf-8")), in_base=path.name == "base.py"):
                found.append(f"{path.relative_to(ROOT)}:{line}: {name}")
    assert not found, "\n".join(found)


def stubs(tree: ast.Module, in_base: bool) -> list[tuple[int, str]]:
    protocols = [
        node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
    ]
    promised = {id(function) for protocol in protocols for function in protocol.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and id(node) not in promised:
            decorators = set(map(ast.unparse, node.decorator_list))
            body = [ast.unparse(statement) for statement in node.body if not _is_docstring(statement)]
            unwritten = not decorators & {"abstractmethod", "overload"} and body in (["..."], ["pass"])
            if unwritten or (not in_base and any(line.startswith("raise NotImplementedError") for line in body)):
                found.append((node.lineno, node.name))
    return found


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is not ...
    )


def test_stub_hunter_finds_stubs_only() -> None:
    source = """
class Port(Protocol):
    def promised(self): ...

class Base:
    @abstractmethod
    def required(self): ...
    def optional(self):
        "Nothing to do unless a subclass says otherwise."
    def stub(self):
        "Later."
        pass
    def missing(self):
        raise NotImplementedError

def empty(): ...
"""
    assert [name for _, name in stubs(ast.parse(source), in_base=False)] == ["empty", "stub", "missing"]
    assert [name for _, name in stubs(ast.parse(source), in_base=True)] == ["empty", "stub"]


def test_python_files_are_short_enough_to_read() -> None:
    long = {}
    for path in kept_files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("desktop", "engines", "installers"):
            lines = len(path.read_text("utf-8").splitlines())
            if lines > 500:
                long[str(path.relative_to(ROOT))] = lines
    assert not long, "about 400 lines is the aim; split it along its jobs"


def test_changelog_tells_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    headings = re.findall(r"(?m)^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert headings[:1] == [version]


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[^A-Za-z0-9_.-]", requirement)[0] for group in groups for requirement in group}
    explained = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert not {name for name in names if f"| {name} |" not in explained}


def test_every_dependency_is_constrained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[^A-Za-z0-9_.-]", requirement)[0] for group in groups for requirement in group}
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    constrained = {line.split("==")[0] for line in lines if not line.startswith("#")}
    assert {name.lower().replace("_", "-") for name in names} <= constrained


def test_links_between_documents_lead_somewhere() -> None:
    dead = []
    for path in kept_files():
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
                if "://" not in target and not (path.parent / target).exists():
                    dead.append(f"{path.relative_to(ROOT)}: {target}")
    assert not dead
