"""What commands print: facts on stdout, as words or JSON; what went wrong on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more, tracebacks included.")]


MOST_NAMES = 50  # of things with the same fate that are named one by one


class Stop(Exception):
    """The command ends here.

    Attributes:
        message: one line a fault, without the program's name.
        status: exit status; 1 the peer or the data said no, 2 wrong use.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr)


def log_to_stderr(*, verbose: bool) -> None:
    """What the layers below log: everything where asked for, else nothing that the command says itself."""
    from dicomwire.node import log

    log.configure("debug" if verbose else "critical", "human")


def show_json(facts: Mapping[str, object] | Sequence[object]) -> None:
    """Print facts as JSON, indented for people, keys in the order given."""
    print(json.dumps(facts, indent=2, ensure_ascii=False))


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, as wide as the terminal; as tab-separated lines where no terminal reads it."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def escaped(text: str) -> str:
    """What a peer sent, safe to print: control characters as `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def size(count: float) -> str:
    """Bytes for people: `525.3 KB`."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
