"""`snug fit --load` and `--force`: really loads a model, lets it answer once, and compares what happened with what was
predicted. What was measured goes into the book, so that the next prediction is better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from desktop.commands.chat_engine import EngineChoices, TerminalEngine
from desktop.commands.fit_report import LoadReport
from desktop.commands.fit_text import rate, wrapped
from desktop.commands.model_fit import ModelFit
from desktop.commands.terminal import Terminal
from engines.base import ChatMessage, GenerationOptions, LoadSettings, Usage
from engines.fit.sizes import gigabytes
from engines.fit.values import Verdict
from engines.lease import Leases
from engines.library import InstalledModel
from engines.load_planning import shortage_words

REPLY_TOKENS = 48
_PROMPT = (
    "Here is the beginning of a story. A small harbour lay between two hills, and every morning the boats left before "
    "the sun was up. Old people sat on the wall and counted the sails; children ran along the pier and shouted the "
    "names of their fathers. In the market the first fish arrived at eight, still wet, and the bread came from the "
    "oven behind the church. One winter the sea stayed away. It withdrew from the stones, past the lighthouse, until "
    "the boats lay on their sides in the mud, and nobody knew whom to ask. The teacher wrote letters to the capital. "
    "The priest rang the bell at noon. Only the keeper of the lighthouse lit his lamp as always, because that was what "
    "he was paid for, and because he did not believe that something so large could simply be gone. "
    "Please go on with this story in a few sentences."
)
"""Long enough to measure reading as well (engines.fit.calibration.LEAST_READ_TOKENS)."""
_PREDICTED = (
    "Predicted: for a conversation as short as this one, and without what earlier loads taught, so these figures may "
    "differ from those above."
)


@dataclass(frozen=True, slots=True)
class LoadTrial:
    """Where and how a trial load happens."""

    terminal: Terminal
    leases: Leases
    model: InstalledModel
    fit: ModelFit
    anyway: bool


def load_and_compare(trial: LoadTrial) -> LoadReport | None:
    """Loads, asks, measures; None when the person left with Ctrl-C.

    Raises: EngineError of the load or the reply.
    """
    choices = EngineChoices(LoadSettings(), log_path=None, anyway=trial.anyway)
    engine = TerminalEngine(trial.terminal, trial.leases, trial.model, choices, trial.fit)
    options = GenerationOptions(max_tokens=REPLY_TOKENS, temperature=0.0)
    try:
        engine.start()
        trial.terminal.progress(f"Loading {trial.model.name}")
        end = engine.ask([ChatMessage("user", _PROMPT)], options, lambda *_: None, stay=False)
    finally:
        trial.terminal.clear_progress()
        engine.close()
    if end.error is not None:
        raise end.error
    if end.leave or end.usage is None:
        return None
    return _report(trial.fit, end.usage)


def comparison(report: LoadReport, *, width: int) -> Iterator[str]:
    """Predicted against measured, as a little table."""
    yield f"  {'':<14}{'predicted':>12}{'measured':>12}"
    memory = (report.predicted_memory_bytes, report.measured_memory_bytes)
    yield _row("peak memory", gigabytes(memory[0]), gigabytes(memory[1]), _difference(*memory))
    for label, predicted, measured in (
        ("writes", report.predicted_decode, report.measured_decode),
        ("reads", report.predicted_prefill, report.measured_prefill),
    ):
        if measured is not None:
            said = f"~{rate(predicted)}/s" if predicted is not None else "?"
            yield _row(label, said, f"{rate(measured)}/s", _difference(predicted, measured))
    yield f"  {'loaded in':<14}{'':>12}{report.load_seconds:>10.1f} s"
    yield ""
    yield from wrapped(_PREDICTED, width)


def dangers(name: str, verdict: Verdict, *, width: int) -> Iterator[str]:
    """What may happen when a model is loaded with settings that do not fit, in lines of at most `width` columns."""
    for sentence in _dangers(name, verdict):
        first, *rest = wrapped(sentence, width - 2)
        yield first
        for line in rest:
            yield f"  {line}" if sentence.startswith("- ") else line


def _dangers(name: str, verdict: Verdict) -> Iterator[str]:
    yield f"{name} does not fit. {shortage_words(verdict)}"
    yield "If it is loaded nevertheless:"
    yield "- the computer may become very slow, or stand still for minutes;"
    yield "- the system may end this program or others, and unsaved work in them is lost;"
    yield "- every word may take many seconds, as the model is read from the disk again and again."
    if any(pool.name == "gpu_limit" for pool in verdict.pools):
        yield "- the GPU may refuse the work, or the picture on the screen may stop for a while."


def _report(fit: ModelFit, usage: Usage) -> LoadReport:
    prepared, loaded = fit.prepared, fit.loaded
    assert prepared is not None and loaded is not None
    prediction = prepared.prediction
    decode = prediction.decode(usage.context_used_tokens) if prediction is not None else None
    prefill = prediction.prefill() if prediction is not None else None
    return LoadReport(
        predicted_memory_bytes=(
            prediction.placement.main.total_bytes if prediction is not None else prepared.needed_bytes
        ),
        measured_memory_bytes=max(usage.peak_memory_bytes, loaded.memory_bytes),
        predicted_decode=decode.likely if decode is not None else None,
        measured_decode=usage.decode_tokens_per_second,
        predicted_prefill=prefill.likely if prefill is not None else None,
        measured_prefill=usage.prefill_tokens_per_second,
        context_tokens=loaded.context_tokens,
        load_seconds=loaded.load_seconds,
        noted=prediction is not None,
    )


def _row(label: str, predicted: str, measured: str, difference: str) -> str:
    return f"  {label:<14}{predicted:>12}{measured:>12}{difference:>9}"


def _difference(predicted: float | None, measured: float) -> str:
    if not predicted:
        return ""
    return f"{(measured - predicted) / predicted:+.0%}"
