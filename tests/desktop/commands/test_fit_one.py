from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_call import Answer, FitCall, FitOptions
from desktop.commands.fit_one import choose, show_one
from desktop.commands.fit_subject import Candidate, Subject, find_subject, of_file
from desktop.commands.fit_table import UNLIMITED_WIDTH
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from engines import dry_run
from engines.assessor import Assessor
from engines.catalog import load_catalog
from engines.errors import EngineStartError, ModelFileError
from engines.fit.values import ALONE, ModelFacts, Wish
from engines.fit.verdict import judge
from engines.formats.sparse import write_sparse
from engines.hardware.machine import Machine
from engines.hardware.profiles import find_profile
from engines.lease import Leases
from engines.library import describe_file
from tests.support import gguf_writer

MakeCall = Callable[..., tuple[FitCall, io.StringIO, io.StringIO]]


@pytest.fixture
def make_call(here: Machine, tmp_path: Path) -> MakeCall:
    def make(
        machine: Machine = here, *, wish: Wish | None = None, typed: str | None = None, **options: bool | None
    ) -> tuple[FitCall, io.StringIO, io.StringIO]:
        output, messages = io.StringIO(), io.StringIO()
        terminal = Terminal(io.StringIO(typed) if typed is not None else None, output, messages, {})
        terminal.input_is_terminal = typed is not None
        call = FitCall(
            terminal=terminal,
            paths=AppPaths.make(tmp_path / "profile"),
            assessor=Assessor(load_catalog(), machine),
            leases=Leases(tmp_path / "leases", "terminal"),
            running=ALONE,
            wish=wish or Wish(),
            options=FitOptions(**options),  # type: ignore[arg-type]
            folder=tmp_path,
            table_width=UNLIMITED_WIDTH,
            text_width=100,
        )
        return call, output, messages

    return make


def of_catalogue(call: FitCall, name: str) -> Subject:
    subject = find_subject(name, call.assessor, call.paths.models_directory)
    assert subject is not None
    return subject


def test_a_catalogue_model_is_shown_with_its_best_build_and_the_others_below(make_call: MakeCall) -> None:
    call, output, _ = make_call(find_profile("mac-mini-m4-24"))

    status = show_one(call, of_catalogue(call, "gpt-oss-20b"))

    said = output.getvalue()
    assert status == ExitCode.OK
    assert said.startswith("gpt-oss 20B, ")
    assert "\nFits (computed for a described computer" in said
    assert "\nOther builds\nModel " in said


def test_what_is_on_this_disk_comes_before_a_better_build(facts: ModelFacts, here: Machine, tmp_path: Path) -> None:
    path = tmp_path / "here.gguf"
    path.touch()
    huge = replace(facts, weights=replace(facts.weights, total_bytes=10**11))
    answers = [
        Answer(Candidate("A", "Q4", "llama", facts), judge(facts, here)),
        Answer(Candidate("A", "Q8", "llama", huge, header=path), judge(huge, here)),
        Answer(Candidate("A", "F16", "llama", huge, installed=describe_file(path, load_catalog())), judge(huge, here)),
    ]

    assert choose(answers) == 2
    assert choose(answers[:2]) == 1
    assert choose(answers[:1]) == 0


def test_a_plan_of_the_engine_needs_a_file(make_call: MakeCall) -> None:
    call, output, _ = make_call(checks=True)

    show_one(call, of_catalogue(call, "gpt-oss-20b"))

    assert "Not checked with the engine: that needs a model file, or a repository." in output.getvalue()


def test_a_file_that_the_engine_finds_damaged_is_an_error(make_call: MakeCall, tmp_path: Path) -> None:
    metadata, tensors = gguf_writer.model(layers=2, width=256, vocabulary_size=300)
    data, length = gguf_writer.header(metadata, tensors[:-2])
    path = tmp_path / "without-output.gguf"
    write_sparse(data, length, path)
    call, _, _ = make_call()

    with pytest.raises(ModelFileError):
        show_one(call, of_file(path, call.assessor))


@pytest.mark.model
def test_an_engine_that_cannot_plan_leaves_the_computed_verdict(
    make_call: MakeCall, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, output, _ = make_call()
    monkeypatch.setattr(dry_run, "plan", lambda *_: fail())

    status = show_one(call, of_file(smollm2_path, call.assessor))

    assert status == ExitCode.OK
    assert "\nFits (computed from the model's shape)\n" in output.getvalue()
    assert "The engine could not check this. It did not start. Try again." in output.getvalue()


def fail() -> None:
    raise EngineStartError("It did not start.", "Try again.")


def test_a_build_of_unknown_size_is_not_known_yet(make_call: MakeCall) -> None:
    call, output, _ = make_call()
    unknown = Candidate("Some model", "BF16", "llama", None, problem="Its size is not known.")

    status = show_one(call, Subject("Some model", (unknown,)))

    assert status == ExitCode.ERROR
    assert "\nNot known yet\nIts size is not known.\n" in output.getvalue()


@pytest.mark.parametrize(("typed", "said"), [("n\n", "Nothing was loaded."), ("", "Nothing was loaded.")])
def test_who_does_not_say_yes_loads_nothing(make_call: MakeCall, huge_model: Path, typed: str, said: str) -> None:
    call, _, messages = make_call(typed=typed, forces=True, checks=False)

    status = show_one(call, of_file(huge_model, call.assessor))

    assert status == ExitCode.DOES_NOT_FIT
    assert "Load it? [y/N] " in messages.getvalue()
    assert messages.getvalue().endswith(f"{said}\n")
    assert not call.paths.data_directory.exists()


def test_a_model_that_fits_needs_no_force_and_one_that_is_not_here_cannot_be_loaded(make_call: MakeCall) -> None:
    call, _, messages = make_call(loads=True)

    status = show_one(call, of_catalogue(call, "qwen3.5-4b"))

    assert status == ExitCode.MODEL
    assert "is not on this computer, so it cannot be loaded." in messages.getvalue()
