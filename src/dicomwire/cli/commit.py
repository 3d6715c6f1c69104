"""`dicomwire commit`: does a peer keep what these files are, for good? (PS3.4 J)"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.address import is_url
from dicomwire.cli.connection import Flags, Peer, accepted
from dicomwire.cli.listening import Reports, endpoint
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, say, show_json

if TYPE_CHECKING:
    from dicomwire.work.commitment import Reference

Wait = Annotated[
    float, typer.Option("--wait", metavar="S", min=0.1, help="Seconds to wait for the peer's report.")
]


@accepted
def commit(
    peer: Annotated[
        str,
        typer.Argument(metavar="AE@HOST:PORT|URL", help="Whom to ask: a peer, or a DICOMweb service."),
    ],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH...]", help="Files, and folders with all that is in them."),
    ] = None,
    *,
    study: Annotated[
        str | None,
        typer.Option(metavar="UID", help="In place of files: what the peer says that this study has."),
    ] = None,
    wait: Wait = 60.0,
    listen: Reports = None,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Ask a peer, or a DICOMweb service, to commit itself to keep instances. Nothing is sent.

    Exit status 0: it has committed itself to all; 1: to some not, or it has not said so in time.
    """
    log_to_stderr(verbose=verbose)
    asked = peer if is_url(peer) else flags.peer(peer)
    if isinstance(asked, str):
        flags.access.check_for_url()
    if bool(paths) == (study is not None):
        raise Stop("name files and folders, or a --study", 2)
    where = endpoint(listen, asked) if listen is not None and isinstance(asked, Peer) else None
    from dicomwire.cli import committing

    if study is not None:
        references, refused = asyncio.run(committing.study_of(asked, flags, study)), False
    else:
        references, refused = _read(paths or [])
    if not references:
        raise Stop("no instances to ask for", 1)
    promise = asyncio.run(committing.ask(asked, flags, references, wait=wait, listen=where))
    if as_json:
        show_json(promise.facts())
    else:
        promise.show(str(asked.address) if isinstance(asked, Peer) else asked)
    if refused or not promise.complete:
        raise typer.Exit(1)


def _read(paths: Sequence[Path]) -> tuple[list[Reference], bool]:
    """The instances in files and folders, and whether some files cannot be read."""
    from dicomwire.cli import committing, summary

    if missing := [path for path in paths if not path.exists()]:
        raise Stop("\n".join(f"{path}: no such file or folder" for path in missing), 2)
    instances, refused, _ = summary.read(paths)
    for skipped in refused:
        say(escaped(f"{skipped.name}: {skipped.reason}"))
    pairs = ((each.sop_class_uid, each.sop_instance_uid) for each in instances)
    return committing.references_of(pairs), bool(refused)
