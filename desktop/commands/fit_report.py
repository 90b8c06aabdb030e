"""What `snug fit` found, as values. The field names are the keys of `--json`: stable, and listed for users in
docs/terminal.md. Sizes are bytes, speeds tokens per second.
"""

from __future__ import annotations

from dataclasses import dataclass

from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_subject import Candidate
from engines.fit.recommend import Recommendation
from engines.fit.values import Correction, Running, Verdict, Wish
from engines.hardware.machine import Machine
from engines.load_planning import refusal

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """One build and its verdict."""

    name: str
    build: str
    engine: str
    model_id: str
    """Of the catalogue; empty for other models."""
    repository: str
    path: str
    """Of the file on this disk; empty when it is not here."""
    size_bytes: int | None
    exact_weights: bool
    """Counted from the list of tensors, not from the size of the files."""
    verdict: Verdict | None
    """None while size or shape are not known; `problem` says why."""
    correction: Correction
    problem: str

    @classmethod
    def of(cls, candidate: Candidate, verdict: Verdict | None, correction: Correction) -> BuildReport:
        """The values of one build."""
        facts = candidate.facts
        return cls(
            name=candidate.name,
            build=candidate.build,
            engine=candidate.engine,
            model_id=candidate.model.id if candidate.model is not None else "",
            repository=candidate.repository,
            path=str(candidate.installed.path) if candidate.installed is not None else "",
            size_bytes=candidate.size_bytes,
            exact_weights=facts is not None and facts.weights.exact,
            verdict=verdict,
            correction=correction,
            problem=candidate.problem,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationReport:
    """The one model to install on this computer, or why there is none."""

    model_id: str
    """Empty where nothing can be recommended."""
    build: str
    engine: str
    reason: str

    @classmethod
    def of(cls, recommendation: Recommendation) -> RecommendationReport:
        """The values of a recommendation."""
        choice = recommendation.choice
        if choice is None:
            return cls(model_id="", build="", engine="", reason=recommendation.reason)
        return cls(
            model_id=choice.model.id,
            build=choice.build.quantization,
            engine=choice.build.engine,
            reason=recommendation.reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a real load with one reply took, beside what was predicted for it."""

    predicted_memory_bytes: int
    """Of the engine process, without what earlier loads taught."""
    measured_memory_bytes: int
    predicted_decode: float | None
    measured_decode: float | None
    predicted_prefill: float | None
    measured_prefill: float | None
    context_tokens: int
    load_seconds: float
    noted: bool
    """Kept for the next prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """Everything at one moment."""

    format: int
    machine: Machine
    wish: Wish
    running: Running
    builds: tuple[BuildReport, ...]
    chosen: int | None
    """Which of `builds` the answer is about: the best for what was asked. None: nothing was asked."""
    recommendation: RecommendationReport | None
    load: LoadReport | None
    notes: tuple[str, ...]
    status: int
    """The exit status."""


def status_of(candidate: Candidate, verdict: Verdict | None, machine: Machine, wish: Wish) -> ExitCode:
    """The exit status for the build that was asked about."""
    facts = candidate.facts
    if facts is None or verdict is None or verdict.kind == "unknown":
        return ExitCode.ERROR
    if refusal(facts, verdict):
        return ExitCode.MODEL
    wanted = wish.context_tokens or 0
    if verdict.kind == "cannot" or wanted > verdict.largest_context_tokens:
        return ExitCode.DOES_NOT_FIT
    if machine.is_profile:
        return ExitCode.OK
    if verdict.kind_now == "cannot" or wanted > verdict.largest_context_now_tokens:
        return ExitCode.MEMORY
    return ExitCode.OK
