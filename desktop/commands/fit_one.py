"""`snug fit MODEL`: one model's verdict in full, checked with the engine where a file is there, and a real load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_call import Answer, FitCall
from desktop.commands.fit_explain import Judged, explanation
from desktop.commands.fit_load import LoadTrial, comparison, dangers, load_and_compare
from desktop.commands.fit_report import LoadReport, status_of
from desktop.commands.fit_subject import Subject
from desktop.commands.fit_text import engine_name, machine_line, verdict_block, wrapped
from desktop.commands.model_fit import AssessorNow, ModelFit
from engines.errors import EngineError, ModelFileError
from engines.fit.recommend import Ranked, best_build
from engines.fit.values import Verdict
from engines.library import InstalledModel
from engines.load_planning import LoadWish, forced, is_judged, refusal

_ORDER = ("fits", "less_context", "streams", "unknown", "cannot")


def show_one(call: FitCall, subject: Subject) -> ExitCode:
    """Shows what was asked about; answers the exit status. Raises EngineError."""
    answers = [call.judge(candidate) for candidate in subject.candidates]
    chosen = choose(answers)
    answer = answers[chosen] = _checked(call, answers[chosen])
    status = status_of(answer.candidate, answer.verdict, call.machine, call.wish)
    if not call.options.as_json:
        _show(call, subject, answers, answer)
    load: LoadReport | None = None
    if call.options.loads or call.options.forces:
        status, load = _load(call, answer, status)
    if call.options.as_json:
        notes = (*subject.notes, answer.note)
        call.write_json(answers, chosen=chosen, load=load, notes=notes, status=status)
    return status


def choose(answers: Sequence[Answer]) -> int:
    """The build that the answer is about: the one on this disk, the one whose header was read, else the best."""
    places = range(len(answers))
    for preferred in (
        [place for place in places if answers[place].candidate.installed is not None],
        [place for place in places if answers[place].candidate.header is not None],
    ):
        if preferred:
            return min(preferred, key=lambda place: _ORDER.index(_kind(answers[place])))
    entries = [
        Ranked(answer.candidate.model, answer.candidate.catalog_build, answer.candidate.facts, answer.verdict)
        for answer in answers
        if answer.candidate.model is not None and answer.candidate.catalog_build is not None
    ]
    best = best_build(entries)
    if best is None:
        return 0
    return next(place for place in places if answers[place].candidate.catalog_build == best.build)


def _kind(answer: Answer) -> str:
    return answer.verdict.kind if answer.verdict is not None else "unknown"


def _checked(call: FitCall, answer: Answer) -> Answer:
    """The answer with the engine's own plan, where there is a file to plan with."""
    candidate, verdict, checks = answer.candidate, answer.verdict, call.options.checks
    path = candidate.header or (candidate.installed.path if candidate.installed is not None else None)
    if path is None or candidate.facts is None or verdict is None:
        if checks:
            return replace(answer, note="Not checked with the engine: that needs a model file, or a repository.")
        return answer
    if checks is False or call.machine.is_profile:
        return answer
    call.terminal.progress("Asking the engine what it would allocate")
    try:
        refined = call.assessor.refine(path, candidate.facts, verdict, call.wish, call.running)
    except ModelFileError:
        raise
    except EngineError as error:
        return replace(answer, note=f"The engine could not check this. {error}")
    finally:
        call.terminal.clear_progress()
    return replace(answer, verdict=refined)


def _show(call: FitCall, subject: Subject, answers: Sequence[Answer], answer: Answer) -> None:
    candidate, verdict, width = answer.candidate, answer.verdict, call.text_width
    build = f", {candidate.build}" if candidate.build else ""
    call.write(f"{candidate.name}{build} ({engine_name(candidate.engine)})")
    for line in wrapped(f"on {machine_line(call.machine)}", width):
        call.write(line)
    call.write()
    if candidate.facts is None or verdict is None:
        call.write("Not known yet")
        for line in wrapped(candidate.problem, width):
            call.write(line)
    else:
        correction = call.correction(candidate)
        for line in verdict_block(candidate.facts, call.machine, verdict, correction, width=width):
            call.write(line)
        if call.options.explains:
            call.write()
            judged = Judged(candidate.facts, call.machine, verdict, correction, call.running)
            for line in explanation(judged, width=width):
                call.write(line)
    call.write()
    others = [other for other in answers if other is not answer]
    if others:
        call.write_table("Other builds", others)
        for line in wrapped(_ways_to_know(others), width):
            call.write(line)
    for note in (*subject.notes, answer.note):
        for line in wrapped(note, width) if note else ():
            call.write(line)


def _ways_to_know(others: Sequence[Answer]) -> str:
    """How the Hub can be asked about builds whose size nobody has verified; empty where all are known."""
    for other in others:
        build = other.candidate.catalog_build
        if other.candidate.facts is None and build is not None and build.repository and other.candidate.has_engine:
            return f"Not known: snug fit {build.repository}:{build.quantization} asks the Hub, which needs the network."
    return ""


def _load(call: FitCall, answer: Answer, status: ExitCode) -> tuple[ExitCode, LoadReport | None]:
    """The real load, unless something speaks against it; the exit status then says what."""
    name, verdict, model = answer.candidate.name, answer.verdict, answer.candidate.installed
    if model is None or verdict is None or answer.candidate.facts is None or not is_judged(model):
        call.terminal.say_error(
            f"{name} is not on this computer, so it cannot be loaded.",
            "Name a model file, or a model of the models folder.",
        )
        return ExitCode.MODEL, None
    reason = refusal(answer.candidate.facts, verdict)
    if reason:
        call.terminal.say_error(f"{name} cannot be run here, so it was not loaded.", reason)
        return ExitCode.MODEL, None
    if status != ExitCode.OK and not call.options.forces:
        when = " right now" if status == ExitCode.MEMORY else ""
        call.terminal.say_error(
            f"{name} was not loaded, because it does not fit as asked{when}.",
            "--force loads it nevertheless, after saying what may happen.",
        )
        return status, None
    wish = LoadWish(context_tokens=call.wish.context_tokens, kv_type=call.wish.kv_type)
    against = forced(answer.candidate.facts, call.machine, verdict, wish, call.running)
    if not all(pool.fits_now for pool in against.pools) and not _is_confirmed(call, name, against):
        return status if call.terminal.input_is_terminal else ExitCode.USAGE, None
    report = _trial(call, model, wish, against_verdict=status != ExitCode.OK)
    return (ExitCode.OK, report) if report is not None else (ExitCode.INTERRUPTED, None)


def _trial(call: FitCall, model: InstalledModel, wish: LoadWish, *, against_verdict: bool) -> LoadReport | None:
    call.paths.ensure()
    book = call.assessor.book
    assert book is not None
    now = AssessorNow(call.assessor.catalog, book, call.paths.models_directory, call.assessor)
    fit = ModelFit(model, now, call.leases, wish, book)
    call.terminal.say(f"Loading {model.name} and letting it answer once; Ctrl-C stops.")
    report = load_and_compare(LoadTrial(call.terminal, call.leases, model, fit, anyway=against_verdict))
    if book.problem:
        call.terminal.say(book.problem)
    if report is not None and not call.options.as_json:
        call.write()
        for line in comparison(report, width=call.text_width):
            call.write(line)
    return report


def _is_confirmed(call: FitCall, name: str, verdict: Verdict) -> bool:
    for line in dangers(name, verdict, width=call.text_width):
        call.terminal.say(line)
    if call.options.confirmed:
        return True
    if not call.terminal.input_is_terminal:
        call.terminal.say_error("Nobody is there to ask.", "Say --yes if this is what you want.")
        return False
    try:
        said = call.terminal.read_line("Load it? [y/N] ")
    except EOFError:
        said = ""
    if said.strip().lower() in {"y", "yes"}:
        return True
    call.terminal.say("Nothing was loaded.")
    return False
