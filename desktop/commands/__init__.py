"""The terminal: what `snug` does when it is called from one. One module per subcommand; no Qt anywhere below.

`run` is the door: it reads the command line, runs the command and answers with an exit status. The window itself is
opened by whoever calls `run`, through `open_window`.
"""

from __future__ import annotations

import argparse
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from desktop.commands.display import missing_display
from desktop.commands.exit_codes import ExitCode, exit_code_for
from desktop.commands.terminal import Terminal
from desktop.core.errors import StorageError
from desktop.core.logs import Logs
from desktop.core.paths import AppPaths
from desktop.core.version import snug_version
from engines.errors import EngineError

OpenWindow = Callable[[AppPaths], int]

_NOTHING_CHOSEN = argparse.Namespace(command=None, data_dir=None)
"""Just `snug`: the window opens sooner when the commands are not even imported."""

EXAMPLES = """\
examples:
  snug                                          the window; without a display, a chat in the terminal
  snug chat "Why is the sky blue?"              one answer
  snug chat                                     a conversation in the terminal
  git diff | snug chat "What changed?"          between pipes
  snug fit                                      which models fit on this computer, and how fast they will be
  snug machine                                  this computer as the fit sees it, and others to ask about
  snug doctor                                   what Snug finds on this computer, and where your data is

`snug chat --help` and `snug doctor --help` have more.
"""


def run(
    arguments: list[str],
    paths: AppPaths | None = None,
    *,
    open_window: OpenWindow | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Runs one command line (without the program's name) and answers the exit status. Raises SystemExit for --help.

    `paths` are those of a profile that somebody has chosen already; without them --data-dir and the environment
    decide. `open_window` is called where the window is meant and there is a display; its answer is passed on.
    """
    environment = os.environ if environment is None else environment
    terminal = Terminal.of_this_process()
    chosen = build_parser().parse_args(arguments) if arguments else _NOTHING_CHOSEN
    if paths is None or chosen.data_dir is not None:
        paths = AppPaths.make(chosen.data_dir)
    if chosen.command is None:
        reason = missing_display(environment)
        if reason is None and open_window is not None:
            return open_window(paths)
        return open_terminal_chat(paths, reason or "the window is not installed", terminal)
    return _guarded(chosen, paths, terminal)


def open_terminal_chat(paths: AppPaths, reason: str, terminal: Terminal | None = None) -> int:
    """The chat of the window in the terminal, for a computer without a display; says so in one sentence.

    `reason` is the end of the sentence "There is no window, because ...".
    """
    terminal = terminal or Terminal.of_this_process()
    terminal.say(f"Snug chats in this terminal instead of a window, because {reason}.")
    return _guarded(build_parser().parse_args(["chat"]), paths, terminal)


def build_parser() -> argparse.ArgumentParser:
    """Everything that can be said on the command line."""
    parser = argparse.ArgumentParser(
        prog="snug",
        description="Chat with a language model on your own computer. Nothing leaves it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"snug {snug_version()}")
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="keep everything in this folder instead of the usual places (or set SNUG_DATA_DIR)",
    )
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    from desktop.commands import chat, doctor, fit, machine

    chat.add_parser(subparsers)
    fit.add_parser(subparsers)
    machine.add_parser(subparsers)
    doctor.add_parser(subparsers)
    return parser


def _guarded(chosen: argparse.Namespace, paths: AppPaths, terminal: Terminal) -> int:
    """The command, with every way in which it can end turned into an exit status."""
    from desktop.commands import chat, doctor, fit, machine

    try:
        match chosen.command:
            case "chat":
                with Logs(paths.log_directory):
                    return chat.open_chat(chosen, paths, terminal)
            case "fit":
                with Logs(paths.log_directory):
                    return fit.open_fit(chosen, paths, terminal)
            case "machine":
                return machine.open_machine(chosen, paths, terminal)
            case "doctor":
                return doctor.open_doctor(chosen, paths, terminal)
            case _:
                raise AssertionError(f"no such command: {chosen.command}")
    except (EngineError, StorageError) as error:
        terminal.end_line()
        terminal.say_error(error.title, error.advice, error.details)
        return exit_code_for(error)
    except BrokenPipeError:
        terminal.forget_output()
        return ExitCode.OUTPUT_CLOSED
    except KeyboardInterrupt:
        terminal.say()
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001 - the outermost border: a fault of ours ends in words, too
        terminal.say_error(
            "Snug met a fault of its own.",
            "Try again. If it happens again, report it with the lines below.",
            traceback.format_exc(),
        )
        return ExitCode.ERROR
