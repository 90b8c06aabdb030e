"""The catalogue and the files on this disk, judged for one computer and put together. Pure but for reading headers.

For background threads: reading a header takes milliseconds each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from desktop.services.fit_values import Assessment, BuildFit, MemorySum, ModelFit
from engines.assessor import Assessor
from engines.catalog import CatalogBuild
from engines.errors import EngineError
from engines.fit import limits, memory
from engines.fit.recommend import Ranked, best_build
from engines.fit.values import ModelFacts, PoolUse, Running, Verdict, Wish
from engines.library import InstalledModel
from engines.load_planning import is_judged
from engines.registry import ENGINES

_ORDER = {"fits": 0, "less_context": 1, "streams": 2, "unknown": 3, "cannot": 4}


def assess(assessor: Assessor, installed: Sequence[InstalledModel], running: Running) -> Assessment:
    """Everything that is known, judged. A file that cannot be read becomes an entry that says so."""
    recommendation = assessor.recommendation(running=running)
    groups: dict[str, list[Ranked]] = {}
    for entry in recommendation.ranked:
        groups.setdefault(entry.model.id, []).append(entry)
    here = [model for model in installed if is_judged(model)]
    models = [_of_catalogue(assessor, entries, here, running) for entries in groups.values()]
    known = {model.path for fit in models for model in _files(fit)}
    models += [_of_file(assessor, model, running) for model in here if model.path not in known]
    models.sort(key=lambda model: _ORDER[_kind(model)])  # stable: within a verdict the stronger stays first
    choice = recommendation.choice
    return Assessment(
        machine=assessor.machine,
        models=tuple(models),
        recommended_id=choice.model.id if choice is not None else "",
        reason=recommendation.reason,
    )


def judge_at(
    assessor: Assessor, facts: ModelFacts, context_tokens: int, running: Running, freed_bytes: int = 0
) -> tuple[Verdict, MemorySum]:
    """The verdict for one context, and the sum of exactly that context, also where it does not fit. About 1 ms."""
    verdict = assessor.judge(facts, Wish(context_tokens=context_tokens), running)
    placement, pools = verdict.placement, verdict.pools
    if memory.rounded_context(verdict.context_tokens) != memory.rounded_context(context_tokens):
        settings = replace(verdict.settings, context_tokens=context_tokens)
        placement = memory.placement(facts, assessor.machine, settings)
        pools = limits.pools(assessor.machine, placement, running)
    return verdict, MemorySum(context_tokens, placement, tuple(_without_own(pool, freed_bytes) for pool in pools))


def most_context(assessor: Assessor, facts: ModelFacts, running: Running) -> int:
    """The most tokens that fit in any way, also with a smaller KV type than would be chosen for less; 0 if none do."""
    trained = facts.geometry.trained_context_tokens
    wish = Wish(context_tokens=trained) if trained else Wish()
    return assessor.judge(facts, wish, running).largest_context_tokens


def _without_own(pool: PoolUse, freed_bytes: int) -> PoolUse:
    """What this Snug holds for the model in memory is not "other apps"."""
    if pool.name != "memory" or not freed_bytes:
        return pool
    return replace(pool, others_bytes=max(0, pool.others_bytes - freed_bytes))


def _of_catalogue(
    assessor: Assessor, entries: Sequence[Ranked], installed: Iterable[InstalledModel], running: Running
) -> ModelFit:
    model = entries[0].model
    best = best_build(entries) or entries[0]
    files = [file for file in installed if file.model is not None and file.model.id == model.id]
    builds: list[BuildFit] = []
    for build in model.build:
        entry = next((entry for entry in entries if entry.build is build), None)
        file = next((file for file in files if file.build == build), None)
        build_id = _build_id(build)
        if file is not None:
            builds.append(replace(_judged_file(assessor, file, running), id=build_id, build=build))
        else:
            facts, verdict = (entry.facts, entry.verdict) if entry is not None else (None, None)
            builds.append(BuildFit(build_id, build.quantization, build, facts=facts, verdict=verdict))
    builds.sort(key=_place)
    return ModelFit(model.id, model.name, tuple(builds), _best_index(builds, _build_id(best.build)), model)


def _place(fit: BuildFit) -> tuple[int, float]:
    """Forms for one engine stand together, the smaller first; those of unknown size last."""
    engines = [info.id for info in ENGINES]
    engine = fit.build.engine if fit.build is not None else engines[0]
    return engines.index(engine) if engine in engines else len(engines), fit.size_bytes or math.inf


def _best_index(builds: Sequence[BuildFit], best_id: str) -> int:
    """What is here and runs, else what is best to get, else the first."""
    here = [index for index, fit in enumerate(builds) if fit.installed is not None and _runs(fit)]
    best = [index for index, fit in enumerate(builds) if fit.id == best_id]
    return (here + best + [0])[0]


def _of_file(assessor: Assessor, file: InstalledModel, running: Running) -> ModelFit:
    fit = _judged_file(assessor, file, running)
    return ModelFit(f"file:{file.path}", file.name, (fit,))


def _judged_file(assessor: Assessor, file: InstalledModel, running: Running) -> BuildFit:
    if not file.is_complete:
        return BuildFit(str(file.path), "", installed=file, problem=f"The file is not complete: {file.problem}.")
    try:
        facts = assessor.facts_of_file(file.path)
    except EngineError as error:
        return BuildFit(str(file.path), "", installed=file, problem=str(error))
    verdict = assessor.judge(facts, running=running)
    return BuildFit(str(file.path), facts.quantization, installed=file, facts=facts, verdict=verdict)


def _build_id(build: CatalogBuild) -> str:
    return f"{build.engine}/{build.repository or ''}/{build.quantization}"


def _files(fit: ModelFit) -> list[InstalledModel]:
    return [build.installed for build in fit.builds if build.installed is not None]


def _runs(fit: BuildFit) -> bool:
    return fit.verdict is not None and fit.verdict.kind != "cannot"


def _kind(model: ModelFit) -> str:
    verdict = model.best_build.verdict
    return verdict.kind if verdict is not None else "unknown"
