"""`dicomwire decode`: every PDU, item, command and data set element of a capture, with offsets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from dicomwire.cli.explain import chunks_of
from dicomwire.cli.output import Json, Stop, escaped
from dicomwire.errors import CaptureError

UNREADABLE = 2
NESTED = ("items", "values", "elements")
HIDDEN = frozenset({*NESTED, "offset", "level", "name", "connection", "requestor", "acceptor"})


def decode(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="pcap, pcapng or recorded trace; - is standard input.")
    ],
    *,
    unmask: Annotated[bool, typer.Option("--unmask", help="Show patients' values and credentials.")] = False,
    as_json: Json = False,
) -> None:
    """Print what a capture's DICOM bytes say. Exit status 2: it cannot be read to its end."""
    from dicomwire.diagnose.decode import decode as decoded

    records = decoded(chunks_of(file), unmask=unmask)
    try:
        if as_json:
            _print_json(str(file), records)
        else:
            for record in records:
                for line in _lines(record, 0):
                    print(line)
    except CaptureError as error:
        raise Stop(f"{file}: {error}", UNREADABLE) from None
    except BrokenPipeError:
        raise  # nobody reads on, which is no matter of the file
    except OSError as error:
        raise Stop(f"{file}: {error.strerror}", UNREADABLE) from None


def _print_json(file: str, records: Iterator[dict[str, object]]) -> None:
    """One document, written as it is found: captures are large."""
    print(f'{{"file": {json.dumps(file)}, "pdus": [')
    separator = ""
    try:
        for record in records:
            print(separator + json.dumps(record, ensure_ascii=False), end="")
            separator = ",\n"
    finally:
        print("\n]}")


def _lines(record: Mapping[str, object], depth: int) -> Iterator[str]:
    """A record as a line, what it holds indented below."""
    level = record.get("level", 0)
    indent = "  " * (depth + (level if isinstance(level, int) else 0))
    words = [f"{record.get('offset', 0):>8}  {indent}"]
    if depth == 0:
        words.append(f"#{record['connection']} {record['requestor']} {record['acceptor']}")
    if "name" in record:
        words.append(str(record["name"]))
    words += [f"{key}={_shown(value)}" for key, value in record.items() if key not in HIDDEN]
    yield escaped(" ".join(words))
    for key in NESTED:
        inner = record.get(key)
        if isinstance(inner, list):
            for one in inner:
                yield from _lines(one, depth + 1)


def _shown(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)
