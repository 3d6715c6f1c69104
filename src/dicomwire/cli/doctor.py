"""`dicomwire doctor`: what is wrong with a peer, found out step by step."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.connection import Flags, Peer, accepted
from dicomwire.cli.explain import show_lines
from dicomwire.cli.output import Json, Stop, Verbose, log_to_stderr, show_json

if TYPE_CHECKING:
    from dicomwire.doctor.options import ExaminationOptions
    from dicomwire.doctor.report import Report

ANYBODY = "ANY-SCP"  # called where no AE title is given

Asked = Annotated[
    str,
    typer.Argument(metavar="[AE@]HOST:PORT", help="Whom to examine; or the AE title of a configured peer."),
]
HtmlFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Write one self-contained page, too.")]
RecordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what went over the wire, as pcapng.")
]
Wait = Annotated[float | None, typer.Option(metavar="S", min=0.1, help="Seconds for each step.")]
Query = Annotated[bool, typer.Option("--query", help="Try a C-FIND, too.")]
Store = Annotated[bool, typer.Option("--store", help="Store a test object, too; it stays there.")]
Move = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        min=1,
        max=65_535,
        help="Store a test object and have it moved back: the peer knows our AE title at this port here.",
    ),
]
WholeMatrix = Annotated[
    bool, typer.Option("--matrix", help="Find out every SOP class and transfer syntax that it accepts.")
]


@accepted
def doctor(
    peer: Asked,
    *,
    wait: Wait = None,
    query: Query = False,
    store: Store = False,
    move: Move = None,
    matrix: WholeMatrix = False,
    html: HtmlFile = None,
    record: RecordFile = None,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Examine a peer that does not connect: what is wrong, whose side it is, what to change.

    Resolves the name, connects, speaks TLS where asked for, associates, echoes; when that fails, tries AE
    titles, contexts and other protocols. Exit status 0: it works; 1: it does not; 2: wrong use.
    """
    from dicomwire.doctor.options import STEP_SECONDS, ExaminationOptions

    log_to_stderr(verbose=verbose)
    asked = _peer(flags, peer)
    options = ExaminationOptions(
        calling_ae_title=asked.calling_ae_title,
        wait=wait or flags.timeout or STEP_SECONDS,
        tls=asked.options.tls,
        tls_certificate=flags.tls_certificate is not None,
        identity=asked.options.identity,
        query=query,
        store=store,
        move_port=move,
        matrix=matrix,
    )
    report, capture = _examine(asked, options)
    if record is not None:
        _write(record, capture)
    if html is not None:
        from dicomwire.doctor.html import page

        _write(html, page(report).encode())
    if as_json:
        show_json(report.as_json())
    else:
        from dicomwire.doctor.text import report_lines

        show_lines(report_lines(report))
    if report.outcome != "ok":
        raise typer.Exit(1)


def _peer(flags: Flags, text: str) -> Peer:
    """The peer; without an AE title it is called as anybody."""
    return flags.peer(f"{ANYBODY}@{text}" if ":" in text and "@" not in text else text)


def _examine(peer: Peer, options: ExaminationOptions) -> tuple[Report, bytes]:
    from dicomwire.doctor.examination import examine
    from dicomwire.doctor.options import Target

    address = peer.address
    return asyncio.run(examine(Target(address.host, address.port, address.ae_title), options))


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Stop(f"{path}: {error.strerror}", 2) from None
