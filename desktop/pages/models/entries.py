"""Which models the list shows, and what their rows say. Pure functions."""

from __future__ import annotations

from pathlib import Path

from desktop.core.figures import size_words
from desktop.pages.models.words import is_slow, speed_words, tr
from desktop.services.fit_values import Assessment, BuildFit, ModelFit
from desktop.widgets.model_row import ModelRowState, RowAction
from desktop.widgets.segments import Segment

RECOMMENDED, INSTALLED, ALL = "recommended", "installed", "all"
CHAT, WHY = "chat", "why"
MOST_RECOMMENDED = 5
"""Fifty models on the first screen help nobody."""


def in_segment(assessment: Assessment, segment_id: str) -> tuple[ModelFit, ...]:
    """The models of one segment; the recommended one stands on top of each.

    Among the recommended those come first that write at least as fast as people read.
    """
    models = sorted(assessment.models, key=lambda model: model.id != assessment.recommended_id)
    match segment_id:
        case "installed":
            return tuple(model for model in models if model.is_installed)
        case "recommended":
            running = [model for model in models if model.best_build.verdict is not None and _runs(model.best_build)]
            running.sort(key=lambda model: (model.id != assessment.recommended_id, _is_slow(model.best_build)))
            return tuple(running[:MOST_RECOMMENDED])
        case _:
            return tuple(models)


def segments(assessment: Assessment | None) -> tuple[Segment, ...]:
    """The three ways to look at the list, with counts as soon as there is something to count."""
    installed = len(in_segment(assessment, INSTALLED)) if assessment is not None else None
    return (
        Segment(RECOMMENDED, tr("Recommended")),
        Segment(INSTALLED, tr("Installed"), installed),
        Segment(ALL, tr("All"), len(assessment.models) if assessment is not None else None),
    )


def matching(models: tuple[ModelFit, ...], words: str) -> tuple[ModelFit, ...]:
    """Those that contain every word somewhere: in the name, the author, the purpose, a build or a file."""
    wanted = words.casefold().split()
    return tuple(model for model in models if all(word in _searchable(model) for word in wanted))


def row_state(model: ModelFit, assessment: Assessment, in_use: Path | None, *, is_open: bool = False) -> ModelRowState:
    """What a row says. A file that is damaged or no model has its problem in place of a verdict, and no button."""
    fit = model.best_build
    verdict = fit.verdict
    kind = verdict.kind if verdict is not None else "unknown"
    summary = model.model.good_for if model.model is not None else _file_words(fit)
    if kind == "cannot" and verdict is not None and verdict.reasons:
        summary = verdict.reasons[0]
    elif fit.problem and not is_open:  # what an open row shows says it itself
        summary = fit.problem
    is_recommended = model.id == assessment.recommended_id
    return ModelRowState(
        id=model.id,
        name=model.name,
        kind=None if fit.problem else kind,
        note=_note(model, in_use),
        mark=tr("Recommended") if is_recommended else "",
        summary=summary,
        reason=assessment.reason if is_recommended and is_open else "",
        size=size_words(fit.size_bytes) if fit.size_bytes else "",
        speed=speed_words(verdict.decode) if verdict is not None else "",
        actions=_actions(fit, is_open=is_open),
    )


def _actions(fit: BuildFit, *, is_open: bool) -> tuple[RowAction, ...]:
    """What can be done: a model that is here and may run can be talked to, one that cannot says why."""
    verdict = fit.verdict
    if fit.problem:
        return ()
    if verdict is not None and verdict.kind == "cannot":
        return () if is_open else (RowAction(WHY, tr("Why not?"), is_link=True),)
    if fit.installed is not None and fit.installed.is_complete:
        return (RowAction(CHAT, tr("Chat"), kind="primary" if is_open else "normal"),)
    return ()


def _note(model: ModelFit, in_use: Path | None) -> str:
    installed = [build.installed for build in model.builds if build.installed is not None]
    if not installed:
        return ""
    if any(file.path == in_use for file in installed):
        return tr("Installed, in use")
    if not any(file.is_complete for file in installed):
        return tr("Not complete")
    return tr("Damaged") if model.best_build.problem else tr("Installed")


def _file_words(fit: BuildFit) -> str:
    if fit.installed is None:
        return ""
    return tr("Your own file: {name}").format(name=fit.installed.path.name)


def _runs(fit: BuildFit) -> bool:
    return fit.verdict is not None and fit.verdict.kind in {"fits", "less_context", "streams"}


def _is_slow(fit: BuildFit) -> bool:
    return fit.verdict is not None and is_slow(fit.verdict.decode)


def _searchable(model: ModelFit) -> str:
    entry = model.model
    words = [model.name, model.id]
    if entry is not None:
        words += [entry.author, entry.good_for, entry.licence]
    for build in model.builds:
        words += [build.quantization]
        if build.installed is not None:
            words.append(build.installed.path.name)
    return " ".join(words).casefold()
