"""`snug fit`: what fits on this computer or another one, with the numbers, and why.

Reads the command line and the computer; `fit_overview` and `fit_one` answer. The judging is in `engines`; the words are
in `fit_text`, `fit_table` and `fit_explain`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

from desktop.commands.arguments import context_tokens
from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_call import FitCall, FitOptions
from desktop.commands.fit_hub import ask_hub
from desktop.commands.fit_one import show_one
from desktop.commands.fit_overview import show_overview
from desktop.commands.fit_subject import find_subject
from desktop.commands.fit_table import UNLIMITED_WIDTH
from desktop.commands.terminal import Terminal
from desktop.core.known_models import load_known_models
from desktop.core.paths import AppPaths
from desktop.core.settings import load_settings
from engines.assessor import Assessor
from engines.base import KvType
from engines.calibration_book import CalibrationBook
from engines.errors import EngineError
from engines.fit.values import ALONE, Wish
from engines.hardware.bandwidth import measure_memory
from engines.hardware.detect import read_machine
from engines.hardware.machine import Machine
from engines.hardware.machine_file import load_machine
from engines.hardware.profiles import find_profile
from engines.lease import Leases
from engines.load_planning import running_now

LEAST_WIDTH = 40
LARGEST_TEXT_WIDTH = 100
EXAMPLES = """\
examples:
  snug fit                                      which models fit on this computer, and the one to take
  snug fit ~/models/some-model.gguf             will this file fit? Checked with the engine, in a second or two
  snug fit "Gemma 4 12B" --context 32k          a model of the catalogue, with a context of your choice
  snug fit owner/name                           a repository of the Hub; some MB are fetched, and no model
  snug fit owner/name:Q4_K_M --kv q8_0          one of its files, with a smaller kind of context
  snug fit --machine mac-mini-m4-16             the same for another computer (snug machine --profiles lists them)
  snug fit MODEL --explain                      every term of the sum, every limit, where each figure comes from
  snug fit MODEL --load                         really loads it, and compares what happens with what was predicted
  snug fit MODEL && echo yes                    the exit status: 0 fits, 4 not right now, 7 not on this computer

docs/terminal.md describes the exit statuses and the keys of --json.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `snug fit` to the command line."""
    parser = subparsers.add_parser(
        "fit",
        help="which models fit on this computer, with how much context, and how fast",
        description="Which models fit on this computer, with how much context, and how fast they will be.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", nargs="?", metavar="MODEL|FILE|REPO", help="a name, a model file or folder, or owner/name of the Hub"
    )
    parser.add_argument(
        "--context", type=context_tokens, metavar="N", help="with a context of so many tokens, such as 8192 or 32k"
    )
    parser.add_argument(
        "--kv", choices=get_args(KvType), metavar="TYPE", help="how the context is kept: f16, or q8_0 for about half"
    )
    parser.add_argument(
        "--machine", metavar="PROFILE|FILE", help="judge for another computer: a profile's id, or a saved description"
    )
    parser.add_argument("--all", action="store_true", help="every build of every model, not only the best of each")
    parser.add_argument("--explain", action="store_true", help="show every term of the sum, every limit, every source")
    parser.add_argument(
        "--exact",
        action=argparse.BooleanOptionalAction,
        help="let the engine check the sum (always done for a model file, unless you say --no-exact)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--load", action="store_true", help="really load the model, let it answer once, compare with the prediction"
    )
    parser.add_argument("--force", action="store_true", help="load it even against the verdict; says what may happen")
    parser.add_argument("--yes", action="store_true", help="do not ask before --force")
    parser.add_argument(
        "--reset-learning", "--reset", action="store_true", help="forget what earlier loads on this computer taught"
    )


def open_fit(arguments: argparse.Namespace, paths: AppPaths, terminal: Terminal) -> int:
    """Runs `snug fit`; answers the exit status. Raises EngineError, StorageError, BrokenPipeError."""
    settings, problems = load_settings(paths.settings_path)
    for problem in problems:
        terminal.say(problem)
    paths = paths.with_models_directory(settings.models_directory)
    book = CalibrationBook.load(paths.calibration_path)
    if book.problem:
        terminal.say(book.problem)
    if arguments.reset_learning:
        return _reset(book, terminal)
    mistake = _mistake(arguments)
    if mistake:
        terminal.say_error(mistake, "snug fit --help has examples.")
        return ExitCode.USAGE
    terminal.progress("Looking at this computer")
    with tempfile.TemporaryDirectory(prefix="snug-fit-") as folder:
        call = _call(arguments, paths, terminal, book, Path(folder))
        if arguments.model is None:
            return show_overview(call)
        subject = find_subject(arguments.model, call.assessor, paths.models_directory)
        if subject is None:
            subject = ask_hub(arguments.model, call.assessor, terminal, call.folder)
        return show_one(call, subject)


def _reset(book: CalibrationBook, terminal: Terminal) -> int:
    forgotten = book.reset()
    if book.problem:
        terminal.say(book.problem)
        return ExitCode.ERROR
    loads = f"{forgotten:,} load{'' if forgotten == 1 else 's'}"
    terminal.say(
        f"Forgotten: what {loads} taught. Predictions are uncorrected again."
        if forgotten
        else "There is nothing to forget."
    )
    return ExitCode.OK


def _mistake(arguments: argparse.Namespace) -> str:
    """What does not go together, as a sentence; "" when all is well."""
    loads = arguments.load or arguments.force
    if arguments.model is not None and not arguments.model.strip():
        return "The name of the model is missing."
    if loads and arguments.model is None:
        return "Which model should be loaded? Name it."
    if loads and arguments.machine is not None:
        return "A model can only be loaded on this computer."
    if arguments.exact and arguments.machine is not None:
        return "The engine can only check the sum for this computer."
    return ""


def _call(
    arguments: argparse.Namespace, paths: AppPaths, terminal: Terminal, book: CalibrationBook, folder: Path
) -> FitCall:
    catalog, problems = load_known_models(paths)
    for problem in problems:
        terminal.say(problem)
    machine = _with_speed(_machine_for(arguments.machine, paths.models_directory), book, terminal)
    leases = Leases(paths.leases_directory, "terminal")
    columns = shutil.get_terminal_size().columns if terminal.output_is_terminal else UNLIMITED_WIDTH
    return FitCall(
        terminal=terminal,
        paths=paths,
        assessor=Assessor(catalog, machine, book),
        leases=leases,
        running=ALONE if machine.is_profile else running_now(leases),
        wish=Wish(context_tokens=arguments.context, kv_type=arguments.kv),
        options=FitOptions(
            shows_all=arguments.all,
            explains=arguments.explain,
            checks=arguments.exact,
            as_json=arguments.json,
            loads=arguments.load,
            forces=arguments.force,
            confirmed=arguments.yes,
        ),
        folder=folder,
        table_width=max(LEAST_WIDTH, columns),
        text_width=max(LEAST_WIDTH, min(columns, LARGEST_TEXT_WIDTH)),
    )


def _with_speed(machine: Machine, book: CalibrationBook, terminal: Terminal) -> Machine:
    """The machine with its memory's speed: where no table knows it, it is measured in half a second, and kept."""
    if book.wants_bandwidth(machine):
        terminal.progress("Measuring how fast this computer's memory is")
        try:
            book.note_bandwidth(machine, measure_memory())
        except EngineError as error:
            terminal.say(f"How fast this computer's memory is could not be measured. {error}")
        finally:
            terminal.clear_progress()
    return book.with_measured(machine)


def _machine_for(wanted: str | None, models_directory: Path) -> Machine:
    """The computer here, a shipped profile by its id, or a saved description. Raises EngineError."""
    if wanted is None:
        return read_machine(models_directory)
    path = Path(wanted).expanduser()
    if not path.is_file():
        return find_profile(wanted)
    # What was free when it was saved is of no meaning now, here.
    machine = load_machine(path)
    cards = tuple(replace(gpu, memory_free_bytes=None) for gpu in machine.gpus)
    return replace(machine, memory_available_bytes=None, commit_left_bytes=None, gpus=cards)
