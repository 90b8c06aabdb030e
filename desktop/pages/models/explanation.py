"""The whole sum behind a verdict, as the explain panel shows it: every term, the limits, the speed, the source."""

from __future__ import annotations

from desktop.core.figures import context_words, size_words
from desktop.pages.models.words import speed_details, tr
from desktop.services.fit_values import BuildFit, MemorySum
from desktop.widgets.explain_panel import ExplainRow, ExplainSection, Explanation
from engines.fit.values import MemoryParts, PoolUse, Source, SpeedRange, Verdict
from engines.hardware.machine import Machine


def explanation(fit: BuildFit, verdict: Verdict, sum_: MemorySum, machine: Machine, name: str) -> Explanation:
    """Why the verdict is what it is."""
    placement = sum_.placement
    sections: list[ExplainSection] = []
    if placement.gpu is not None:
        sections.append(_terms(tr("Needed on the graphics card"), placement.gpu))
    title = tr("Needed in main memory") if placement.gpu is not None else tr("What it needs")
    sections.append(_terms(title, placement.main))
    sections += [_limits(pool, machine, is_refused=verdict.is_refused) for pool in sum_.pools]
    sections.append(_settings(verdict, sum_))
    if verdict.decode is not None or verdict.prefill is not None:
        sections.append(_speeds(verdict))
    if verdict.is_refused:
        question = tr("Why this version cannot run here")
    elif verdict.kind == "cannot":
        question = tr("Why {name} cannot run here")
    else:
        question = tr("How this is calculated for {name}")
    return Explanation(
        title=question.format(name=name),
        reasons=verdict.reasons,
        sections=tuple(sections),
        source=" ".join(_sources(fit, placement.main.source, machine)),
    )


def source_words(fit: BuildFit, source: Source, machine: Machine) -> str:
    """Where the memory figures come from, in a few words."""
    if machine.is_profile:
        return tr("Predicted for another computer")
    match source:
        case "dry_run":
            return tr("Checked with the engine")
        case "measured":
            return tr("Measured on this computer")
        case "arithmetic":
            is_header = fit.facts is not None and fit.facts.source == "header"
            return tr("Calculated from the file") if is_header else tr("Calculated from the catalogue")


def _terms(title: str, parts: MemoryParts) -> ExplainSection:
    terms = (
        (tr("Weights"), parts.weights_bytes, tr("the model itself")),
        (tr("Second copy of weights"), parts.repacked_bytes, tr("in the processor's own order, which is faster")),
        (tr("Pictures"), parts.projector_bytes, tr("the part that reads pictures")),
        (tr("Context"), parts.context_bytes, tr("the conversation so far, for every layer")),
        (tr("State"), parts.state_bytes, tr("memory of fixed size that some models keep instead")),
        (tr("Saved states"), parts.checkpoint_bytes, tr("so that an earlier turn can be changed quickly")),
        (tr("Working space"), parts.compute_bytes, tr("where layers are computed")),
        (tr("Output"), parts.output_bytes, tr("the choice among all tokens")),
        (tr("Vocabulary"), parts.vocabulary_bytes, tr("tables of tokens")),
        (tr("Engine"), parts.process_bytes, tr("the program itself, and what earlier loads taught")),
    )
    rows = [ExplainRow(label, size_words(size), note) for label, size, note in terms if size]
    return ExplainSection(title, (*rows, ExplainRow(tr("Together"), size_words(parts.total_bytes), is_total=True)))


def _limits(pool: PoolUse, machine: Machine, *, is_refused: bool) -> ExplainSection:
    """One memory. Of what cannot run for another reason nothing is said to be left over: it would sound like a yes."""
    has_now = pool.limit_now_bytes != pool.limit_bytes
    match pool.name:
        case "memory":
            title, whole = tr("What this computer has"), tr("Memory")
        case "gpu_limit":
            title, whole = tr("What the GPU may use of it"), tr("The system's limit")
        case "card":
            title, whole = tr("What the graphics card has"), tr("Its memory")
    rows = [ExplainRow(whole, size_words(pool.total_bytes), _sold_as(pool))]
    if pool.margin_bytes:
        rows.append(ExplainRow(tr("Kept free"), size_words(pool.margin_bytes), tr("for the system and for surprises")))
    taken = pool.total_bytes - pool.margin_bytes - pool.limit_bytes
    if taken > 0:
        itself = tr("The driver") if pool.name == "card" else tr("The system itself")
        rows.append(ExplainRow(itself, size_words(taken), tr("assumed")))
    rows.append(ExplainRow(tr("Snug may use"), size_words(pool.limit_bytes), tr("when nothing but the system runs")))
    if pool.others_bytes and has_now:
        note = tr("assumed: nobody looked at that computer") if machine.is_profile else tr("they take this right now")
        rows.append(ExplainRow(tr("Other apps"), size_words(pool.others_bytes), note))
    if has_now:
        rows.append(ExplainRow(tr("Snug may use right now"), size_words(pool.limit_now_bytes)))
    if is_refused:
        return ExplainSection(title, tuple(rows))
    rows.append(_rest(tr("Left over"), tr("Missing"), pool.limit_bytes - pool.needed_bytes))
    if has_now:
        rest = pool.limit_now_bytes - pool.needed_bytes
        rows.append(_rest(tr("Left over right now"), tr("Missing right now"), rest))
    return ExplainSection(title, tuple(rows))


def _sold_as(pool: PoolUse) -> str:
    """Memory is sold in units of 1024: what is sold as 16 GB holds 17.2 billion bytes."""
    whole = round(pool.total_bytes / 1024**3)
    is_whole = whole > 0 and abs(pool.total_bytes / 1024**3 - whole) < 0.01
    return tr("sold as {size} GB").format(size=whole) if is_whole and pool.name != "gpu_limit" else ""


def _rest(left: str, missing: str, size_bytes: int) -> ExplainRow:
    if size_bytes >= 0:
        return ExplainRow(left, size_words(size_bytes), is_total=True, tone="ok")
    return ExplainRow(missing, size_words(-size_bytes), is_total=True, tone="no")


def _settings(verdict: Verdict, sum_: MemorySum) -> ExplainSection:
    settings = verdict.settings
    rows = [
        ExplainRow(tr("Context"), tr("{context} tokens").format(context=f"{sum_.context_tokens:,}")),
        ExplainRow(tr("Kept as"), settings.kv_type, tr("how a value of the context is stored")),
    ]
    if verdict.largest_context_tokens:
        most = context_words(verdict.largest_context_tokens)
        rows.append(ExplainRow(tr("Most context"), most, tr("that fits when nothing but the system runs")))
    if verdict.device:
        rows.append(ExplainRow(tr("Computed on"), verdict.device))
    if settings.expert_layers_on_cpu:
        rows.append(ExplainRow(tr("Experts beside the card"), str(settings.expert_layers_on_cpu), tr("layers of them")))
    elif settings.gpu_layers > 0:
        rows.append(ExplainRow(tr("Layers on the card"), str(settings.gpu_layers)))
    return ExplainSection(tr("Chosen for it"), tuple(rows))


def _speeds(verdict: Verdict) -> ExplainSection:
    pairs: tuple[tuple[str, SpeedRange | None], ...] = (
        (tr("Writing"), verdict.decode),
        (tr("Reading your message"), verdict.prefill),
    )
    rows = [ExplainRow(label, speed_details(speed), speed.basis) for label, speed in pairs if speed is not None]
    return ExplainSection(tr("How fast"), tuple(rows))


def _sources(fit: BuildFit, source: Source, machine: Machine) -> list[str]:
    sentences: list[str] = []
    if machine.is_profile:
        sentences.append(tr("A prediction for a computer that Snug has not seen."))
    match source:
        case "dry_run":
            sentences.append(tr("The engine itself was asked: these are the amounts that it would take."))
        case "measured":
            sentences.append(tr("Measured when the model was in memory."))
        case "arithmetic" if fit.facts is not None and fit.facts.source == "header":
            sentences.append(tr("Calculated from the file's own description of its contents."))
        case "arithmetic":
            sentences.append(tr("Calculated from the catalogue; the file itself says it to the byte once it is here."))
    speeds = [speed for speed in (fit.verdict.decode if fit.verdict is not None else None,) if speed is not None]
    if any(speed.source == "prediction" for speed in speeds):
        sentences.append(tr("Speeds are predictions until the model has run here."))
    if machine.unknown and not machine.is_profile:
        sentences.append(" ".join(machine.unknown))
    return sentences
