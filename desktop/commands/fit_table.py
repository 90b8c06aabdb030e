"""A table of verdicts that fits the terminal: columns go before words are cut. Pure: rows in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from desktop.commands.fit_text import display_width, padded, rate, short_verdict, shortened, tightest
from engines.fit.sizes import gigabytes
from engines.fit.values import Verdict

UNLIMITED_WIDTH = 10_000
"""For pipes and files, where nothing is cut."""
_GAP = "  "
_LEAST_NAME_WIDTH = 14
_NAME, _BUILD, _DISK, _VERDICT, _CONTEXT, _SPEED, _MEMORY = range(7)
_TITLES = ("Model", "Build", "On disk", "Verdict", "Context", "Tokens/s", "Memory")
_TO_THE_RIGHT = {_DISK, _CONTEXT, _SPEED, _MEMORY}
_DROPPED_FIRST = (_DISK, _BUILD, _MEMORY)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One build in the table. `verdict` is None while size or shape are not known."""

    name: str
    build: str
    size_bytes: int | None
    verdict: Verdict | None
    marked: bool = False
    """The recommended one."""
    has_engine: bool = True
    """An engine here runs such models at all."""


def table(rows: Sequence[TableRow], width: int) -> Iterator[str]:
    """The rows beneath their titles, at most `width` columns wide."""
    cells = [_TITLES, *(_cells(row) for row in rows)]
    widths = [max(display_width(line[column]) for line in cells) for column in range(len(_TITLES))]
    shown = _columns_for(widths, width)
    for line in cells:
        yield _GAP.join(
            padded(shortened(line[column], widths[column]), widths[column], right=column in _TO_THE_RIGHT)
            for column in shown
        ).rstrip()


def _cells(row: TableRow) -> tuple[str, ...]:
    name = f"{'*' if row.marked else ' '} {row.name}"
    size = gigabytes(row.size_bytes) if row.size_bytes is not None else "?"
    verdict = row.verdict
    if not row.has_engine:
        return name, row.build, size, "no engine", "", "", ""
    if verdict is None:
        return name, row.build, size, "not known", "", "", ""
    if verdict.is_refused:  # more memory would not help, so a figure would mislead
        return name, row.build, size, "refused", "", "", ""
    memory = gigabytes(tightest(verdict).needed_bytes) if row.size_bytes is not None else ""
    if verdict.kind == "cannot":
        return name, row.build, size, short_verdict(verdict), "", "", memory
    speed = verdict.decode
    written = "?" if speed is None else rate(speed.likely) if speed.source == "measured" else f"~{rate(speed.likely)}"
    return name, row.build, size, short_verdict(verdict), f"{verdict.context_tokens:,}", written, memory


def _columns_for(widths: list[int], width: int) -> list[int]:
    """The columns that are shown; makes the name's column narrower where even dropping others is not enough."""
    shown = list(range(len(_TITLES)))
    for column in _DROPPED_FIRST:
        if _total(widths, shown) <= width:
            return shown
        shown.remove(column)
    excess = _total(widths, shown) - width
    if excess > 0:
        widths[_NAME] = max(_LEAST_NAME_WIDTH, widths[_NAME] - excess)
    return shown


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[column] for column in shown) + len(_GAP) * (len(shown) - 1)
