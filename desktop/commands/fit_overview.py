"""`snug fit` without a model: the computer, the one recommendation, and a table of verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_call import Answer, FitCall
from desktop.commands.fit_explain import Judged, explanation
from desktop.commands.fit_subject import of_build, on_this_computer
from desktop.commands.fit_text import counted, engine_name, is_only_not_now, is_slow, machine_line, wrapped
from engines.fit.recommend import Ranked, Recommendation, best_build


def show_overview(call: FitCall) -> ExitCode:
    """What fits; always ends well, since nothing particular was asked."""
    recommendation = call.assessor.recommendation(call.wish, call.running)
    local: list[Answer] = []
    if not call.machine.is_profile:
        local = [call.judge(each) for each in on_this_computer(call.assessor, call.paths.models_directory)]
    entries = recommendation.ranked if call.options.shows_all else tuple(best_of_each(recommendation.ranked))
    known = [Answer(of_build(entry.model, entry.build, call.assessor), entry.verdict) for entry in entries]
    if call.options.as_json:
        call.write_json([*local, *known], recommendation=recommendation)
        return ExitCode.OK
    for line in wrapped(machine_line(call.machine), call.text_width):
        call.write(line)
    call.write()
    for line in _recommended(call, recommendation):
        call.write(line)
    if local:
        call.write_table("On this computer", local)
    call.write_table("Known models", known, recommendation.choice)
    for line in wrapped(" ".join(_legend(call, recommendation, [*local, *known])), call.text_width):
        call.write(line)
    return ExitCode.OK


def best_of_each(ranked: Sequence[Ranked]) -> Iterator[Ranked]:
    """Of every model the build to offer first, in the order of the ranking."""
    by_model: dict[str, list[Ranked]] = {}
    for entry in ranked:
        by_model.setdefault(entry.model.id, []).append(entry)
    for entries in by_model.values():
        best = best_build(entries)
        if best is not None:
            yield best


def _recommended(call: FitCall, recommendation: Recommendation) -> Iterator[str]:
    choice = recommendation.choice
    if choice is not None:
        engine = engine_name(choice.build.engine)
        yield f"Recommended: {choice.model.name}, {choice.build.quantization} ({engine})"
    yield from wrapped(recommendation.reason, call.text_width)
    yield ""
    if call.options.explains and choice is not None and choice.facts is not None and choice.verdict is not None:
        correction = call.assessor.correction(choice.facts)
        judged = Judged(choice.facts, call.machine, choice.verdict, correction, call.running)
        yield from explanation(judged, width=call.text_width)
        yield ""


def _legend(call: FitCall, recommendation: Recommendation, answers: Sequence[Answer]) -> Iterator[str]:
    if recommendation.choice is not None:
        yield "* recommended."
    yield "Context: what it would be loaded with. Tokens/s: how fast it writes, ~ predicted, else measured here."
    verdicts = [answer.verdict for answer in answers if answer.verdict is not None]
    if any(is_slow(verdict) and not is_only_not_now(verdict) for verdict in verdicts):
        yield "Slow: slower than people read."
    if any(is_only_not_now(verdict) for verdict in verdicts):
        yield "Not now: other programs take too much memory at the moment."
    yield "snug fit MODEL tells more about one, and with --explain everything."
    hidden = len(recommendation.ranked) - len({entry.model.id for entry in recommendation.ranked})
    if hidden and not call.options.shows_all:
        there_are = "There is" if hidden == 1 else "There are"
        yield f"{there_are} {counted(hidden, 'more build')} of these models: snug fit --all."
