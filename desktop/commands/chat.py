"""`snug chat`: one question and its answer, or a conversation, in a terminal or between pipes.

Reads the command line, finds the model, and then asks: a prompt that is given or piped in is answered once, otherwise
a person types. Nothing here knows how a reply is made or kept.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from desktop.commands.arguments import context_tokens, whole_number
from desktop.commands.chat_engine import LEAVE_WITHIN_SECONDS, EngineChoices, TerminalEngine
from desktop.commands.chat_input import COMMANDS, HELP, Command, as_command, read_message, set_up_editing
from desktop.commands.chat_record import ChatRecord
from desktop.commands.chat_session import ChatChoices, ChatSession, describe_usage
from desktop.commands.exit_codes import ExitCode, exit_code_for
from desktop.commands.model_fit import AssessorNow, ModelFit
from desktop.commands.terminal import MAXIMUM_PIPED_CHARACTERS, PipedTextTooLongError, Terminal
from desktop.core.conversations.store import Store
from desktop.core.errors import StorageError
from desktop.core.known_models import load_known_models
from desktop.core.logs import engine_log_path
from desktop.core.paths import AppPaths
from desktop.core.settings import Settings, load_settings, load_state
from engines.base import GenerationOptions, KvType
from engines.calibration_book import CalibrationBook
from engines.catalog import Catalog
from engines.errors import EngineError
from engines.lease import Leases
from engines.library import InstalledModel, default_model, find_model, installed_models, require_complete
from engines.load_planning import LoadWish, is_judged
from engines.registry import ENGINES, engine_info

EXAMPLES = """\
examples:
  snug chat                                     a conversation; with the model that the window used last
  snug chat "Why is the sky blue?"              one answer
  snug chat --model ~/models/some-model.gguf    any GGUF file; or the name of a model in the models folder
  snug chat "Summarise this:" < notes.txt       a question and a text for it
  git diff | snug chat "What changed?" > a.md   between pipes; only the answer goes to standard output
  snug chat --temperature 0 --seed 1 "Hello"    the same answer each time
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `snug chat` to the command line."""
    parser = subparsers.add_parser(
        "chat",
        help="chat with a model in the terminal",
        description="Chat with a model in the terminal. Without a prompt, and with nothing piped in, you type.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="what to ask; text that is piped in follows it")
    parser.add_argument("-m", "--model", metavar="PATH|NAME", help="a model file, or a model on this computer by name")
    parser.add_argument("-s", "--system", metavar="TEXT", help="tell the model who it is")
    parser.add_argument(
        "--context", type=context_tokens, metavar="N", help="length of the context in tokens, such as 8192 or 32k"
    )
    parser.add_argument(
        "--kv", choices=get_args(KvType), metavar="TYPE", help="how the context is kept: f16, or q8_0 for about half"
    )
    parser.add_argument("--max-tokens", type=whole_number(1), metavar="N", help="longest reply, in tokens")
    parser.add_argument("--temperature", type=_temperature, metavar="X", help="0 always takes the likeliest word")
    parser.add_argument("--seed", type=whole_number(0), metavar="N", help="repeat a reply: same seed, same words")
    parser.add_argument("--threads", type=whole_number(1), metavar="N", help="processor threads for the model")
    parser.add_argument(
        "--think", action=argparse.BooleanOptionalAction, help="ask a model that can think first to do so, or not to"
    )
    parser.add_argument("--show-thinking", action="store_true", help="also where the output is not a terminal")
    parser.add_argument(
        "--save",
        action=argparse.BooleanOptionalAction,
        help="keep the conversation; without this, what you type is kept and a single answer is not",
    )
    parser.add_argument("--wait", action="store_true", help="wait while another Snug needs the memory")
    parser.add_argument("--anyway", action="store_true", help="load the model even if the fit says no")
    parser.add_argument(
        "--engine", choices=[info.id for info in ENGINES], help="run the model file with this engine, not by its kind"
    )


def open_chat(arguments: argparse.Namespace, paths: AppPaths, terminal: Terminal) -> int:
    """Runs `snug chat`; answers the exit status. Raises EngineError, StorageError, BrokenPipeError."""
    settings, problems = load_settings(paths.settings_path)
    for problem in problems:
        terminal.say(problem)
    paths = paths.with_models_directory(settings.models_directory)
    try:
        prompt = _whole_prompt(arguments, terminal)
    except PipedTextTooLongError:
        terminal.say_error(
            "What is piped in is too long for any model.",
            f"Pipe in less than {MAXIMUM_PIPED_CHARACTERS:,} characters.",
        )
        return ExitCode.USAGE
    is_conversation = prompt is None
    if prompt is not None and not prompt.strip():
        terminal.say_error(
            "There is nothing to answer: standard input is empty.", 'Give a prompt, for example: snug chat "Hello"'
        )
        return ExitCode.USAGE
    catalog, problems = load_known_models(paths)
    for problem in problems:
        terminal.say(problem)
    model = _choose_model(arguments, paths, catalog)
    paths.ensure()
    keep = is_conversation if arguments.save is None else bool(arguments.save)
    record = _open_record(paths, terminal) if keep else ChatRecord(None, lambda _: None)
    session = ChatSession(
        terminal,
        _engine_maker(arguments, settings, paths, terminal, catalog),
        record,
        model,
        ChatChoices(
            system_prompt=settings.system_prompt if arguments.system is None else arguments.system,
            options_for=lambda chosen: _options(arguments, settings, chosen),
            show_thinking=terminal.output_is_terminal or arguments.show_thinking,
        ),
    )
    try:
        if prompt is not None:
            return _answer_once(session, prompt, terminal)
        return _Conversation(session, record, terminal, catalog, paths.models_directory).run()
    finally:
        terminal.clear_progress()
        session.close()


def _answer_once(session: ChatSession, prompt: str, terminal: Terminal) -> int:
    end = session.ask(prompt, stay=False)
    if end.leave:
        return ExitCode.INTERRUPTED
    if end.error is not None:
        show_error(terminal, end.error)
        return exit_code_for(end.error)
    return ExitCode.OK


class _Conversation:
    """A person at a terminal: reads, answers, obeys commands, until they leave."""

    def __init__(
        self, session: ChatSession, record: ChatRecord, terminal: Terminal, catalog: Catalog, models_directory: Path
    ) -> None:
        self._session = session
        self._record = record
        self._terminal = terminal
        self._catalog = catalog
        self._models_directory = models_directory
        self._interrupted_at: float | None = None

    def run(self) -> int:
        """Answers the exit status. Raises what keeps the model from being loaded at all."""
        self._session.warm_up()
        set_up_editing()
        self._greet()
        while True:
            try:
                message = read_message(self._terminal.read_line)
            except EOFError:
                self._terminal.say()
                return ExitCode.OK
            except KeyboardInterrupt:
                self._terminal.say()
                if self._is_second_interrupt():
                    return ExitCode.INTERRUPTED
                self._terminal.say("Ctrl-C again leaves, as does Ctrl-D.")
                continue
            if not message.strip():
                continue
            command = as_command(message)
            if command is None:
                if self._answer(message):
                    return ExitCode.INTERRUPTED
            elif command.name in {"quit", "exit"}:
                return ExitCode.OK
            else:
                self._obey(command)

    def _greet(self) -> None:
        self._terminal.say(f"{self._session.model.name}. /help shows what can be typed; Ctrl-D leaves.")
        if self._record.is_saving:
            self._terminal.say("This conversation is kept on this computer, with those of the window.")
        else:
            self._terminal.say("This conversation is not kept.")

    def _is_second_interrupt(self) -> bool:
        before, self._interrupted_at = self._interrupted_at, time.monotonic()
        return before is not None and self._interrupted_at - before <= LEAVE_WITHIN_SECONDS

    def _answer(self, message: str) -> bool:
        """Whether the person left."""
        end = self._session.ask(message, stay=True)
        if end.leave:
            return True
        if end.error is not None:
            show_error(self._terminal, end.error)
        elif end.reason == "cancelled":
            # A further Ctrl-C now leaves, as it would have during the reply.
            self._interrupted_at = time.monotonic()
            self._terminal.say("[stopped]")
        self._terminal.say()
        return False

    def _obey(self, command: Command) -> None:
        match command.name:
            case "help":
                self._terminal.say(HELP)
            case "new":
                self._session.begin_again()
                self._terminal.say("A new conversation.")
            case "model":
                self._on_model(command.argument)
            case "system":
                self._on_system(command.argument)
            case "stats":
                usage = self._session.last_usage
                self._terminal.say(describe_usage(usage) if usage is not None else "There has been no reply yet.")
            case "eject":
                self._session.eject()
                self._terminal.say(f"{self._session.model.name} is no longer in memory.")
            case _:
                known = ", ".join(f"/{name}" for name in COMMANDS)
                self._terminal.say(f"There is no command /{command.name}. There are: {known}.")

    def _on_model(self, name: str) -> None:
        if not name:
            for model in installed_models(self._catalog, self._models_directory):
                marker = "*" if model.path == self._session.model.path else " "
                note = f"  ({model.problem})" if model.problem else ""
                self._terminal.say(f"{marker} {model.name}{note}")
            return
        try:
            model = find_model(name, self._catalog, self._models_directory)
            require_complete(model)
            self._session.change_model(model)
        except EngineError as error:
            show_error(self._terminal, error)
        else:
            self._terminal.say(f"{model.name} goes on from here.")

    def _on_system(self, text: str) -> None:
        if text:
            self._session.begin_again(text)
            self._terminal.say("A new conversation begins with this system prompt.")
        else:
            self._terminal.say(self._session.system_prompt or "There is no system prompt of yours.")


def show_error(terminal: Terminal, error: EngineError | StorageError) -> None:
    """Title, advice and details, on standard error."""
    terminal.say_error(error.title, error.advice, error.details)


def _whole_prompt(arguments: argparse.Namespace, terminal: Terminal) -> str | None:
    """What to answer once, or None where a person will type."""
    given = " ".join(arguments.prompt)
    if terminal.input_is_terminal:
        return given or None
    if given and not _has_piped_input():
        return given
    piped = terminal.read_all()
    return "\n\n".join(part for part in (given, piped) if part.strip())


def _has_piped_input() -> bool:
    """Standard input is a pipe, a file or a socket: /dev/null, or none at all, has nothing to say."""
    if sys.stdin is None:
        return False
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _choose_model(arguments: argparse.Namespace, paths: AppPaths, catalog: Catalog) -> InstalledModel:
    if arguments.model:
        model = find_model(arguments.model, catalog, paths.models_directory)
    else:
        state, _ = load_state(paths.state_path)
        last_used = Path(state.last_model_path) if state.last_model_path else None
        model = default_model(catalog, paths.models_directory, last_used)
    if arguments.engine:
        model = replace(model, engine=engine_info(arguments.engine).id)
    require_complete(model)
    return model


def _engine_maker(
    arguments: argparse.Namespace, settings: Settings, paths: AppPaths, terminal: Terminal, catalog: Catalog
) -> Callable[[InstalledModel], TerminalEngine]:
    leases = Leases(paths.leases_directory, "terminal")
    book = CalibrationBook.load(paths.calibration_path)
    if book.problem:
        terminal.say(book.problem)
    assessor_now = AssessorNow(catalog, book, paths.models_directory)

    def make(model: InstalledModel) -> TerminalEngine:
        wish = LoadWish(
            context_tokens=arguments.context,
            usual_context_tokens=settings.context_tokens,
            kv_type=arguments.kv,
            threads=settings.threads if arguments.threads is None else arguments.threads,
        )
        trained = model.model.trained_context_tokens if model.model is not None else None
        load = settings.load_settings(trained)
        choices = EngineChoices(
            load_settings=replace(
                load,
                context_tokens=arguments.context or load.context_tokens,
                threads=wish.threads,
                kv_type=wish.kv_type or load.kv_type,
            ),
            log_path=engine_log_path(paths.log_directory),
            anyway=arguments.anyway,
            wait=arguments.wait,
            idle_eject_seconds=settings.idle_eject_minutes * 60.0,
        )
        fit = ModelFit(model, assessor_now, leases, wish, book) if is_judged(model) else None
        return TerminalEngine(terminal, leases, model, choices, fit)

    return make


def _options(arguments: argparse.Namespace, settings: Settings, model: InstalledModel) -> GenerationOptions:
    """The command line before the settings, the settings before what the model's author advises."""
    options = settings.generation_options()
    if model.model is not None:
        options = model.model.sampling.applied_to(options)
    if arguments.temperature is not None:
        options = replace(options, temperature=arguments.temperature)
    if arguments.seed is not None:
        options = replace(options, seed=arguments.seed)
    if arguments.max_tokens is not None:
        options = replace(options, max_tokens=arguments.max_tokens)
    if arguments.think is not None:
        options = replace(options, thinking=arguments.think)
    return options


def _open_record(paths: AppPaths, terminal: Terminal) -> ChatRecord:
    def on_problem(problem: StorageError) -> None:
        show_error(terminal, problem)
        terminal.say("The chat goes on, but is not kept.")

    return ChatRecord(Store(paths.database_path, backup_directory=paths.backup_directory), on_problem)


def _temperature(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= number <= 5:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 5")
    return number
