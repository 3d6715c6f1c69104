"""A report as one self-contained HTML page, in the look of `diagnose.html`."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Final

from dicomwire.diagnose.finding import Outcome, timestamp
from dicomwire.diagnose.html import advice, article, document
from dicomwire.doctor.matrix import Matrix
from dicomwire.doctor.report import Report, Result, Step
from dicomwire.uids import SOP_CLASSES, TRANSFER_SYNTAXES, name_of

_STYLE: Final = """
.steps td:first-child,.steps td:nth-child(2){white-space:nowrap}.steps td:nth-child(2){text-align:right}
.steps{margin-top:4px}td.soft{color:var(--soft)}
.matrix td,.matrix th{padding:3px 5px;text-align:center;border-left:1px solid var(--line)}
.matrix td:first-child,.matrix th:first-child{text-align:left;min-width:230px;border-left:0}
.matrix th{vertical-align:bottom}.matrix th.syntax{font-weight:500}
.matrix th.syntax span{display:inline-block;writing-mode:vertical-rl;transform:rotate(180deg);height:220px}
.matrix tr:hover td{background:var(--back)}
"""
_CLASSES: Final = {Result.OK: "yes", Result.FAILED: "no", Result.INFO: "soft", Result.SKIPPED: "soft"}


def page(report: Report) -> str:
    """The whole page."""
    parts = [
        f"<h1>{escape(report.target)}</h1>",
        f"<p class=file>Examined {timestamp(report.started) or ''}, {report.seconds:.1f} s</p>",
        _verdict(report),
    ]
    if report.story is not None:
        story = replace(report.story, verdict=None, findings=())  # which stand above
        parts.append("<h3>The association that decided</h3>" + article(story, 0, [story]))
    if report.matrix is not None:
        parts.append(_matrix(report.matrix))
    return document(f"DICOM examination of {report.target}", "".join(parts), _STYLE)


def _verdict(report: Report) -> str:
    state = "ok" if report.outcome is Outcome.OK else "failed"
    verdict = report.verdict
    if verdict is not None:
        told = advice(verdict)
    else:
        failed = next((step.words for step in report.steps if step.result is Result.FAILED), "")
        told = f"<p class=verdict>{escape(failed or report.healthy)}</p>"
    others = "".join(f"<li><code>{one.code}</code>: {escape(one.summary)}</li>" for one in report.others)
    also = f"<h3>Also</h3><ul>{others}</ul>" if others else ""
    rows = "".join(map(_step, report.steps))
    return (
        f"<article class={state}><div class=head><span class=badge>{state}</span></div>{told}{also}"
        f"<h3>Steps</h3><div class=scroll><table class=steps><tr><th>Result</th><th>Seconds</th><th>Step</th>"
        f"<th>What came of it</th></tr>{rows}</table></div></article>"
    )


def _step(step: Step) -> str:
    return (
        f"<tr><td class={_CLASSES[step.result]}>{step.result}</td><td>{step.seconds:.3f}</td>"
        f"<td>{escape(step.name)}</td><td>{escape(step.words)}</td></tr>"
    )


def _matrix(matrix: Matrix) -> str:
    supported = matrix.supported
    taken = {uid for row in supported for uid in row.accepted}
    syntaxes = [uid for uid in TRANSFER_SYNTAXES if uid in taken]
    head = "".join(
        f"<th class=syntax title={uid}><span>{escape(name_of(uid))}</span></th>" for uid in syntaxes
    )
    rows = []
    for row in supported:
        cells = "".join("<td class=yes>●</td>" if uid in row.accepted else "<td></td>" for uid in syntaxes)
        rows.append(f"<tr><td>{escape(name_of(row.abstract_syntax))}</td>{cells}</tr>")
    others = [row for row in matrix.rows if not row.accepted]
    refused = "".join(
        f"<li>{escape(name_of(row.abstract_syntax))}: {escape(row.words)}</li>"
        for row in sorted(others, key=lambda row: _retired(row.abstract_syntax))
    )
    note = f"<p class=meta>Not everything could be asked: {escape(matrix.incomplete)}</p>"
    return (
        f"<article class=ok><div class=head><h2>Accepted: {len(supported)} of {len(matrix.rows)} "
        f"SOP classes, in {len(syntaxes)} transfer syntaxes</h2></div>{note if matrix.incomplete else ''}"
        f"<div class=scroll><table class=matrix><tr><th>SOP class</th>{head}</tr>"
        f"{''.join(rows)}</table></div>"
        f"<details><summary>{len(others)} refused</summary><ul>{refused}</ul></details></article>"
    )


def _retired(uid: str) -> bool:
    row = SOP_CLASSES.get(uid)
    return row is not None and row.retired
