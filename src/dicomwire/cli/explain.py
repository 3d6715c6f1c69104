"""`dicomwire explain`: what went wrong in a capture or recorded trace, and what to change."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.output import Json, Stop, escaped, say, show_json

if TYPE_CHECKING:
    from dicomwire.diagnose.explain import Explanation
    from dicomwire.diagnose.text import Line

CHUNK = 1 << 17  # bytes read at once: what stays in a core's cache is read half as fast again as 4 MiB
STANDARD_INPUT = Path("-")
STYLES = {
    "title": "bold",
    "failed": "bold red",
    "unknown": "bold yellow",
    "ok": "bold green",
    "bad": "red",
    "label": "bold",
    "dim": "dim",
    "": "",
}


def explain(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="pcap, pcapng or recorded trace; - is standard input."),
    ],
    *,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained page, too.")
    ] = None,
    unmask: Annotated[bool, typer.Option("--unmask", help="Show patients' values and credentials.")] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Show everything of every story, of those that ended well or repeat themselves, too.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Explain captures: a story and a verdict for each association.

    Exit status 0: all is well; 1: something failed; 3: nothing failed, something cannot be known; 2: a file
    cannot be read.
    """
    from dicomwire.diagnose import explain as explaining

    explanations = []
    status = 0
    faults: list[str] = []
    for file in files:
        try:
            explanation = explaining.explain(str(file), chunks_of(file), unmask=unmask)
        except OSError as error:
            faults.append(f"{file}: {error.strerror}")
            status = explaining.UNREADABLE
            continue
        explanations.append(explanation)
        if explanation.error is not None:
            faults.append(f"{file}: {explanation.error}")
        status = worse(status, explanation.exit_status)
    if html is not None:
        _write_page(html, explanations)  # first: who reads what is printed may have enough of it
    if as_json:
        show_json({"captures": [explanation.as_json() for explanation in explanations]})
    else:
        _tell(explanations, everything=everything)
    for fault in faults:
        say(f"dicomwire: {escaped(fault)}")
    raise typer.Exit(status)


def worse(one: int, other: int) -> int:
    """Of two exit statuses the one to tell: unreadable, failed, unknown, well."""
    return next(status for status in (2, 1, 3, 0) if status in (one, other))


def chunks_of(file: Path) -> Iterator[bytes]:
    """A file in pieces; - is standard input, as a capture that is still being made."""
    with nullcontext(sys.stdin.buffer) if file == STANDARD_INPUT else file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _tell(explanations: Iterable[Explanation], *, everything: bool) -> None:
    from dicomwire.diagnose.text import explanation_lines

    show_lines(line for one in explanations for line in (*explanation_lines(one, everything=everything),))


def show_lines(lines: Iterable[Line]) -> None:
    """Print lines; long ones are wrapped to the terminal with their indentation, nowhere else."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    for line in lines:
        text = escaped(line.text)
        if not console.is_terminal:
            print(text)
            continue
        indent = len(text) - len(text.lstrip())
        console.print(Padding(Text(text.lstrip(), STYLES[line.style]), (0, 0, 0, indent)))


def _write_page(html: Path, explanations: list[Explanation]) -> None:
    from dicomwire.diagnose.html import page

    try:
        html.write_text(page(explanations), encoding="utf-8")
    except OSError as error:
        raise Stop(f"{html}: {error.strerror}", 2) from None
