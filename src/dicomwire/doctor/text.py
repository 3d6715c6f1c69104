"""A report as lines for a terminal, the verdict first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.finding import Outcome
from dicomwire.diagnose.text import Line, advice
from dicomwire.doctor.matrix import Matrix
from dicomwire.doctor.report import Report, Result, Step
from dicomwire.uids import name_of

_STYLES: Final = {Result.OK: "ok", Result.FAILED: "failed", Result.INFO: "", Result.SKIPPED: "dim"}
_SHOWN: Final = 6  # names of transfer syntaxes on a line


def report_lines(report: Report) -> Iterator[Line]:
    """The verdict, what to do, and the steps that lead to it."""
    verdict = report.verdict
    if verdict is not None:
        yield Line(f"FAILED  {report.target}: {verdict.summary}", "failed")
        yield from advice(verdict)
    elif report.outcome is Outcome.FAILED:
        words = next(step.words for step in report.steps if step.result is Result.FAILED)
        yield Line(f"FAILED  {report.target}: {words}", "failed")
    else:
        yield Line(f"OK  {report.healthy}", "ok")
    for finding in report.others:
        yield Line(f"   Also: {finding.code} ({finding.severity}): {finding.summary}")
    yield Line("")
    yield Line(f"Steps ({report.seconds:.1f} s in all)", "label")
    for step in report.steps:
        yield _step(step)
    if report.matrix is not None:
        yield Line("")
        yield from matrix_lines(report.matrix)


def _step(step: Step) -> Line:
    style = _STYLES[step.result]
    return Line(f"   {step.result:<7} {step.seconds:>7.3f} s  {step.name}: {step.words}", style)


def matrix_lines(matrix: Matrix) -> Iterator[Line]:
    """What the peer accepts, a SOP class a line; what it does not is counted."""
    supported = matrix.supported
    yield Line(f"Accepted SOP classes: {len(supported)} of {len(matrix.rows)}", "label")
    for row in supported:
        names = [name_of(uid) for uid in row.accepted]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield Line(f"   {name_of(row.abstract_syntax)}: {', '.join(names[:_SHOWN])}{more}")
    if matrix.incomplete:
        yield Line(f"   not everything could be asked: {matrix.incomplete}", "unknown")
