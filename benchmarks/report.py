"""Tables from measurements: medians, and ratios taken round by round, so that the machine's drift cancels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.rows import MEMORY_LIMIT, ROWS, Row
from benchmarks.run import Measurement, Report

START = "<!-- measured: written by `python -m benchmarks` -->"
END = "<!-- end of measured -->"
REQUESTS = "<!-- measured requests: written by `python -m benchmarks requests` -->"
CAPTURES = "<!-- measured captures: written by `python -m benchmarks captures` -->"
SEARCHES = "<!-- measured searches: written by `python -m benchmarks queries` -->"
OURS = "dicomwire"


def read(path: Path) -> Report:
    """The report that `write` left."""
    kept = json.loads(path.read_text())
    return Report(
        kept["machine"],
        kept["versions"],
        [Measurement(**each) for each in kept["measurements"]],
        kept["failures"],
    )


def write(report: Report, path: Path) -> None:
    """Keep the report with every single measurement as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report.as_json(), indent=1) + "\n")


def insert(markdown: str, document: Path, start: str = START) -> None:
    """Put the tables between the document's mark and the end mark that follows it."""
    before, _, rest = document.read_text().partition(start)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{start}\n\n{markdown}\n{END}{after}")


def ratios(row: Row, measurements: Sequence[Measurement], receiver: str) -> list[float]:
    """This node's rate over the receiver's, one for each round that measured both."""
    ours, theirs = (
        {each.round: each.rate(by_bytes=row.by_bytes) for each in _of(measurements, row, name)}
        for name in (OURS, receiver)
    )
    return [ours[turn] / theirs[turn] for turn in sorted(ours.keys() & theirs.keys())]


def markdown(report: Report) -> str:
    """The report as Markdown: what it was measured on, the goals, and every row."""
    machine = ", ".join(f"{key} {value}" for key, value in report.machine.items() if key != "date")
    versions = ", ".join(dict.fromkeys(report.versions.values()))
    lines = [f"Measured on {report.machine['date']}: {machine}. {versions}.", ""]
    goals = list(_goals(report.measurements))
    if goals:
        lines += ["| goal | to reach | reached | |", "|---|--:|--:|---|", *goals, ""]
    lines += [
        "| load | receiver | rate | MB/s | answer, median / 99 % | CPU s | CPU ms each | peak MB | ours is |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *_table(report.measurements),
    ]
    lines += [f"\nFailed: {each}." for each in report.failures]
    return "\n".join(lines) + "\n"


def _goals(measurements: Sequence[Measurement]) -> Iterator[str]:
    for row in ROWS.values():
        for receiver, target in row.targets.items():
            found = ratios(row, measurements, receiver)
            if found:
                reached = median(found)
                verdict = "yes" if reached >= target else "**no**"
                yield f"| {row.title}, against {receiver} | {target:g}x | {reached:.2f}x | {verdict} |"
        for receiver, most in row.costs.items():
            own, theirs = (_cost(_of(measurements, row, name)) for name in (OURS, receiver))
            if own and theirs:
                spent = own / theirs
                verdict = "yes" if spent <= most else "**no**"
                title = f"{row.title}, CPU each against {receiver}"
                yield f"| {title} | at most {most:g}x | {spent:.2f}x | {verdict} |"
    ours = [each for each in measurements if each.receiver == OURS]
    for limit in sorted({row.memory for row in ROWS.values()}):
        rows = {row.name: row.title for row in ROWS.values() if row.memory == limit}
        peaks = [each.peak_bytes for each in ours if each.row in rows]
        if peaks:
            where = "any other row" if limit == MEMORY_LIMIT else ", ".join(rows.values())
            verdict = "yes" if max(peaks) < limit else "**no**"
            wanted, peak = f"{limit / 1e6:.0f} MB", f"{max(peaks) / 1e6:.0f} MB"
            yield f"| peak memory, {where} | below {wanted} | {peak} | {verdict} |"
    if ours:
        ready = median(each.ready_seconds for each in ours)
        yield f"| ready after start | within 1 s | {ready:.2f} s | {'yes' if ready < 1 else '**no**'} |"


def _table(measurements: Sequence[Measurement]) -> Iterator[str]:
    for row in ROWS.values():
        title = row.title
        for name in row.receivers:
            found = _of(measurements, row, name)
            if not found:
                continue
            rate = median(each.rate(by_bytes=False) for each in found)
            megabytes = median(each.rate(by_bytes=True) for each in found) / 1e6
            cpu = median(each.cpu_seconds for each in found)
            each_ms = median(each.cpu_seconds * 1000 / each.instances for each in found)
            peak = median(each.peak_bytes for each in found) / 1e6
            ratio = ratios(row, measurements, name) if name != OURS else []
            cells = [
                title,
                name,
                f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s",
                f"{megabytes:,.0f}" if megabytes >= 10 else f"{megabytes:.2f}",
                _latency(found),
                f"{cpu:.2f}",
                f"{each_ms:.2f}",
                f"{peak:,.0f}",
                f"{median(ratio):.2f}x" if ratio else "",
            ]
            yield f"| {' | '.join(cells)} |"
            title = ""


def _latency(found: Sequence[Measurement]) -> str:
    medians = [each.median_ms for each in found if each.median_ms is not None]
    slowest = [each.slowest_ms for each in found if each.slowest_ms is not None]
    return f"{median(medians):.1f} / {median(slowest):.1f} ms" if medians and slowest else ""


def _cost(found: Sequence[Measurement]) -> float:
    """CPU seconds of an instance; 0 where nothing was measured."""
    return median([each.cpu_seconds / each.instances for each in found] or [0.0])


def _of(measurements: Sequence[Measurement], row: Row, receiver: str) -> list[Measurement]:
    return [each for each in measurements if each.row == row.name and each.receiver == receiver]
