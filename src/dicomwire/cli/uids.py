"""`dicomwire uids`: SOP classes and transfer syntaxes by words (PS3.6 A)."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from dicomwire import uids as registry
from dicomwire.cli.output import Json, Stop, say, show_json, show_table


class Kind(StrEnum):
    """What is listed."""

    ALL = "all"
    SOP_CLASS = "sop-class"
    TRANSFER_SYNTAX = "transfer-syntax"


def uids(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORDS]...", help="Each must occur in UID, name, keyword or service class."),
    ] = None,
    *,
    edition: Annotated[
        str, typer.Option(help="Edition of PS3.6: " + " or ".join(registry.EDITIONS) + ".")
    ] = registry.EDITIONS[-1],
    kind: Annotated[Kind, typer.Option(help="What to list.")] = Kind.ALL,
    as_json: Json = False,
) -> None:
    """List or search SOP classes, meta SOP classes and transfer syntaxes. Exit status 1: nothing found."""
    try:
        classes = registry.search(words or (), edition=edition) if kind != Kind.TRANSFER_SYNTAX else ()
    except ValueError as error:
        raise Stop(str(error), 2) from None
    syntaxes = registry.search_transfer_syntaxes(words or ()) if kind != Kind.SOP_CLASS else ()
    if as_json:
        found = [asdict(row) for row in classes]
        show_json({"sop_classes": found, "transfer_syntaxes": [asdict(row) for row in syntaxes]})
    else:
        rows: list[registry.SOPClass | registry.TransferSyntax] = [*classes, *syntaxes]
        show_table(("UID", "name", "", "type"), [_cells(row) for row in rows])
        say(f"{len(classes)} SOP classes, {len(syntaxes)} transfer syntaxes, PS3.6 {edition}")
    if not classes and not syntaxes:
        raise typer.Exit(1)


def _cells(row: registry.SOPClass | registry.TransferSyntax) -> tuple[str, str, str, str]:
    if isinstance(row, registry.TransferSyntax):
        kind = "Transfer Syntax"
    else:
        kind = "Meta SOP Class" if row.meta else "SOP Class"
    return row.uid, row.name, "retired" if row.retired else "", kind
