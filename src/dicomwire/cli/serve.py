"""`dicomwire serve`: a node in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicomwire.cli.output import Verbose

Config = Annotated[
    Path | None, typer.Option(metavar="F", help="TOML file; dicomwire.toml in this folder without it.")
]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="Data folder; made when missing.")]
Host = Annotated[str | None, typer.Option(metavar="H", help="Address to listen on, at both doors.")]
DimsePort = Annotated[int | None, typer.Option(metavar="N", help="Port for DIMSE; 0 takes a free one.")]
HttpPort = Annotated[int | None, typer.Option(metavar="N", help="Port for HTTP; 0 takes a free one.")]
AETitle = Annotated[str | None, typer.Option(metavar="T", help="AE title of this node.")]
Workers = Annotated[int | None, typer.Option(metavar="N", help="Processes; only 1 for now.")]
Open = Annotated[
    bool, typer.Option("--open", help="Serve a public address although nothing says who may use it.")
]


def serve(
    *,
    config: Config = None,
    data: Data = None,
    host: Host = None,
    dimse_port: DimsePort = None,
    http_port: HttpPort = None,
    ae_title: AETitle = None,
    workers: Workers = None,
    open: Open = False,
    verbose: Verbose = False,
) -> None:
    """Run a node: DIMSE and DICOMweb on one archive, until SIGTERM or Ctrl-C.

    Flags are stronger than the environment (DICOMWIRE_DIMSE__PORT), which is stronger than dicomwire.toml.
    """
    from dicomwire.archive.life import begun_early

    flags = {
        "node.data": str(data) if data is not None else None,
        "node.ae_title": ae_title,
        "node.workers": workers,
        "node.open": open or None,
        "dimse.host": host,
        "dimse.port": dimse_port,
        "web.host": host,
        "web.port": http_port,
        "log.level": "debug" if verbose else None,
    }
    with begun_early():
        from dicomwire.node import configuration, run

        loaded = configuration.load(file=config, flags=flags)
        raise typer.Exit(run.serve(loaded.settings))
