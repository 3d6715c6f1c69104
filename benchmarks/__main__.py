"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from benchmarks import captures, data, queries, report, requests
from benchmarks.receivers import RECEIVERS
from benchmarks.rows import ROWS
from benchmarks.run import Report, measure

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when everything asked for was measured, 1 when a load or a receiver failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, keep the JSON and print the tables")
    run.add_argument(
        "--rows", default="", help=f"comma-separated, of {', '.join(ROWS)}; 'all' for optional too"
    )
    run.add_argument("--receivers", default=",".join(RECEIVERS), help="comma-separated (default: all)")
    run.add_argument("--rounds", type=int, default=5, help="interleaved runs of each (default: 5)")
    run.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dicomwire-benchmarks")
    run.add_argument("--output", type=Path, help="JSON file (default: benchmarks/results/<time>.json)")
    run.add_argument("--document", action="store_true", help=f"also write the tables into {DOCUMENT.name}")
    made = commands.add_parser("data", help="only make the data")
    made.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dicomwire-benchmarks")
    shown = commands.add_parser("show", help="print the tables of a JSON file")
    shown.add_argument("file", type=Path)
    shown.add_argument("--document", action="store_true", help=f"also write them into {DOCUMENT.name}")
    searched = commands.add_parser("queries", help="measure searches and print the table")
    searched.add_argument("--settings", default=",".join(queries.SETTINGS))
    searched.add_argument("--receivers", default=",".join(RECEIVERS))
    searched.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dicomwire-benchmarks")
    searched.add_argument("--document", action="store_true", help=f"also write it into {DOCUMENT.name}")
    asked = commands.add_parser("requests", help="measure DICOMweb transactions and print the tables")
    asked.add_argument("--kinds", default=",".join(each.name for each in requests.KINDS))
    asked.add_argument("--receivers", default=f"{requests.OURS},{requests.THEIRS}")
    asked.add_argument("--rounds", type=int, default=3, help="interleaved runs of each (default: 3)")
    asked.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dicomwire-benchmarks")
    asked.add_argument("--document", action="store_true", help=f"also write them into {DOCUMENT.name}")
    explained = commands.add_parser("captures", help="measure how fast a large capture is explained")
    explained.add_argument("--gigabytes", type=float, default=10.0, help="of the capture (default: 10)")
    explained.add_argument("--document", action="store_true", help=f"also write it into {DOCUMENT.name}")
    chosen = parser.parse_args(arguments)
    if chosen.command == "captures":
        return _captures(chosen)
    if chosen.command == "requests":
        return _requests(chosen)
    if chosen.command == "queries":
        return _queries(chosen)
    if chosen.command == "data":
        for name in data.DATA_SETS:
            if name != "huge":
                print(data.folder(name, chosen.folder / "data"))
        return 0
    if chosen.command == "show":
        return _show(report.read(chosen.file), document=chosen.document)
    names = [name for name, row in ROWS.items() if not row.optional]
    if chosen.rows:
        names = list(ROWS) if chosen.rows == "all" else chosen.rows.split(",")
    receivers = chosen.receivers.split(",")
    unknown = [name for name in names if name not in ROWS] + [
        name for name in receivers if name not in RECEIVERS
    ]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    time = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    output = chosen.output or HERE / "results" / f"{time}.json"
    result = measure(
        [ROWS[name] for name in names],
        receivers=receivers,
        rounds=chosen.rounds,
        folder=chosen.folder,
        tell=lambda words: print(words, file=sys.stderr, flush=True),
    )
    report.write(result, output)
    print(f"kept in {output}", file=sys.stderr)
    return _show(result, document=chosen.document)


def _queries(chosen: argparse.Namespace) -> int:
    found = queries.measure(
        chosen.settings.split(","),
        chosen.receivers.split(","),
        chosen.folder,
        lambda words: print(words, file=sys.stderr, flush=True),
    )
    table = queries.markdown(found)
    print(table)
    if chosen.document:
        report.insert(table, DOCUMENT, report.SEARCHES)
    return 0


def _captures(chosen: argparse.Namespace) -> int:
    found = captures.measure(chosen.gigabytes, lambda words: print(words, file=sys.stderr, flush=True))
    table = captures.markdown(found)
    print(table)
    if chosen.document:
        report.insert(table, DOCUMENT, report.CAPTURES)
    return 0


def _requests(chosen: argparse.Namespace) -> int:
    found = requests.measure(
        chosen.kinds.split(","),
        chosen.receivers.split(","),
        chosen.rounds,
        chosen.folder,
        lambda words: print(words, file=sys.stderr, flush=True),
    )
    tables = requests.markdown(found)
    print(tables)
    if chosen.document:
        report.insert(tables, DOCUMENT, report.REQUESTS)
    return 0


def _show(result: Report, *, document: bool) -> int:
    tables = report.markdown(result)
    print(tables)
    if document:
        report.insert(tables, DOCUMENT)
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
