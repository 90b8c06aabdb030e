"""One call of `snug fit`: what was asked, of which computer, and where the answer goes. Shared by its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from desktop.commands.exit_codes import ExitCode
from desktop.commands.fit_report import FORMAT, BuildReport, FitReport, LoadReport, RecommendationReport
from desktop.commands.fit_subject import Candidate
from desktop.commands.fit_table import TableRow, table
from desktop.commands.terminal import Terminal
from desktop.core.paths import AppPaths
from engines.assessor import Assessor
from engines.fit.recommend import Ranked, Recommendation
from engines.fit.values import Correction, Running, Verdict, Wish
from engines.hardware.machine import Machine
from engines.lease import Leases


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What was said on the command line, beside the wish itself."""

    shows_all: bool = False
    explains: bool = False
    checks: bool | None = None
    """Let the engine check the sum; None: where a file is there."""
    as_json: bool = False
    loads: bool = False
    forces: bool = False
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A candidate and what was judged about it."""

    candidate: Candidate
    verdict: Verdict | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class FitCall:
    """Everything that the parts of the command share."""

    terminal: Terminal
    paths: AppPaths
    assessor: Assessor
    leases: Leases
    running: Running
    wish: Wish
    options: FitOptions
    folder: Path
    """For files that are gone after the call."""
    table_width: int
    text_width: int

    @property
    def machine(self) -> Machine:
        """The computer that is asked about."""
        return self.assessor.machine

    def judge(self, candidate: Candidate) -> Answer:
        """The arithmetic verdict."""
        if candidate.facts is None:
            return Answer(candidate, None)
        return Answer(candidate, self.assessor.judge(candidate.facts, self.wish, self.running))

    def correction(self, candidate: Candidate) -> Correction:
        """What was learned for this build here."""
        return self.assessor.correction(candidate.facts) if candidate.facts is not None else Correction()

    def write(self, line: str = "") -> None:
        """A line of the answer."""
        self.terminal.write(f"{line}\n")

    def write_table(self, title: str, answers: Sequence[Answer], marked: Ranked | None = None) -> None:
        """A table of verdicts beneath its title."""
        rows = [
            TableRow(
                answer.candidate.name,
                f"{answer.candidate.build}{', MLX' if answer.candidate.engine == 'mlx' else ''}",
                answer.candidate.size_bytes,
                answer.verdict,
                marked=marked is not None and answer.candidate.catalog_build == marked.build,
                has_engine=answer.candidate.has_engine,
            )
            for answer in answers
        ]
        self.write(title)
        for line in table(rows, self.table_width):
            self.write(line)
        self.write()

    def write_json(
        self,
        answers: Sequence[Answer],
        *,
        chosen: int | None = None,
        recommendation: Recommendation | None = None,
        load: LoadReport | None = None,
        notes: Sequence[str] = (),
        status: ExitCode = ExitCode.OK,
    ) -> None:
        """The whole answer as one JSON object."""
        report = FitReport(
            format=FORMAT,
            machine=self.machine,
            wish=self.wish,
            running=self.running,
            builds=tuple(
                BuildReport.of(answer.candidate, answer.verdict, self.correction(answer.candidate))
                for answer in answers
            ),
            chosen=chosen,
            recommendation=RecommendationReport.of(recommendation) if recommendation is not None else None,
            load=load,
            notes=tuple(note for note in notes if note),
            status=int(status),
        )
        self.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
