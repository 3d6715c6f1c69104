"""`dicomwire conformance`: what a node of these settings conforms to (PS3.2)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from dicomwire.cli.output import Json, Verbose, log_to_stderr, show_json

File = Annotated[
    Path | None,
    typer.Option("--config", metavar="F", help="TOML file; dicomwire.toml in this folder without it."),
]


def conformance(*, config: File = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Print the conformance statement of the node as it is configured, in Markdown or as JSON.

    It is made from the tables that the node runs on. Exit status 2: the node cannot be so.
    """
    log_to_stderr(verbose=verbose)
    from dicomwire.node import configuration
    from dicomwire.node import conformance as statement

    facts = statement.conformance(configuration.load(file=config).settings)
    if as_json:
        show_json(dataclasses.asdict(facts))
    else:
        print(statement.markdown(facts), end="")
