from __future__ import annotations

import re
from pathlib import Path

import pytest

from desktop.commands.exit_codes import ExitCode, exit_code_for
from desktop.core.errors import StorageError
from engines.errors import (
    ChatTemplateError,
    EngineCrashedError,
    EngineError,
    EngineStartError,
    ModelFileError,
    ModelInUseError,
    NotEnoughMemoryError,
    UnsupportedModelError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelFileError("x"), ExitCode.MODEL),
        (UnsupportedModelError("x"), ExitCode.MODEL),
        (NotEnoughMemoryError("x"), ExitCode.MEMORY),
        (EngineCrashedError("x"), ExitCode.ENGINE),
        (EngineStartError("x"), ExitCode.ENGINE),
        (ModelInUseError("x"), ExitCode.IN_USE),
        (ChatTemplateError("x"), ExitCode.ERROR),
        (EngineError("x"), ExitCode.ERROR),
        (StorageError("x"), ExitCode.ERROR),
    ],
)
def test_each_kind_of_error_has_its_number(error: Exception, code: ExitCode) -> None:
    assert exit_code_for(error) == code


def test_the_guide_lists_the_same_numbers() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "terminal.md").read_text(encoding="utf-8")
    listed = {int(number) for number in re.findall(r"^\| (\d+) +\|", guide, re.MULTILINE)}

    assert listed == set(ExitCode)
