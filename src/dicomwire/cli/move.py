"""`dicomwire move`: have a peer send instances to an AE, or to a folder here (PS3.4 C.4.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli import query
from dicomwire.cli.connection import Asked, Flags, Peer
from dicomwire.cli.groups import accepted
from dicomwire.cli.listening import endpoint
from dicomwire.cli.output import Json, Stop, Verbose, log_to_stderr
from dicomwire.cli.query import Keys, Question, Scope
from dicomwire.cli.retrieval import Retrieved, progress_bar
from dicomwire.errors import OperationFailed, QueryError

if TYPE_CHECKING:
    from dicomwire.services.retrieving import Progress

To = Annotated[
    str | None,
    typer.Option("--to", "-t", metavar="AE", help="Who gets the instances: an AE title that the peer knows."),
]
Receive = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Be the destination: take the instances here, into study/series/instance.dcm. Needs --listen.",
    ),
]
Listen = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT",
        help="Where to take them: what the peer's configuration says of the AE title. Without HOST the "
        "address that faces the peer.",
    ),
]


@dataclass(frozen=True, slots=True)
class Reception:
    """A Storage SCP of our own, for the length of a command."""

    folder: Path
    ae_title: str
    host: str
    port: int


@accepted(scope=Scope, flags=Flags)
def move(
    peer: Asked,
    keys: Keys = None,
    *,
    to: To = None,
    receive: Receive = None,
    listen: Listen = None,
    scope: Scope,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Have a peer send instances: C-MOVE. Exit status 0: all have been sent, if only nothing; 1: not all.

    UIDs and PatientID name what is sent; with any other key the peer is queried first, and what matches is
    sent. With --receive the destination is here, under the AE title --to or our own.
    """
    log_to_stderr(verbose=verbose)
    asked = query.question(keys, scope, retrieve=True)
    query.check_retrieval(asked)
    target = flags.peer(peer)
    destination = to or (target.calling_ae_title if receive is not None else None)
    if destination is None:
        raise Stop("move needs --to AE, who gets the instances, or --receive DIR, to take them here", 2)
    if (receive is None) != (listen is None):
        raise Stop("--receive DIR and --listen [HOST:]PORT belong together", 2)
    reception = None
    if receive is not None and listen is not None:
        reception = Reception(receive, destination, *endpoint(listen, target))
    result = Retrieved(f"{target.address} to {destination}", receive)
    try:
        with progress_bar(quiet=as_json) as shown:
            asyncio.run(_move(target, asked, destination, scope.relational, reception, result, shown))
    except OSError as error:
        raise Stop(f"{error.filename or listen or receive}: {error.strerror or error}", 1) from error
    result.conclude(as_json=as_json, verbose=verbose)


async def _move(
    peer: Peer,
    asked: Question,
    destination: str,
    relational: bool,
    reception: Reception | None,
    result: Retrieved,
    shown: Callable[[Progress], None],
) -> None:
    from dicomwire.association.options import Check
    from dicomwire.services import proposals, querying, retrieving
    from dicomwire.services.folder import Folder
    from dicomwire.services.listening import listen
    from dicomwire.services.proposals import QueryOptions, Use

    proposal = proposals.propose(query.uses_of(asked, Use.MOVE), roots=[asked.root])
    options = QueryOptions(relational=relational)
    model = asked.root.value
    async with AsyncExitStack() as stack:
        if reception is not None:
            folder = Folder(reception.folder, result.written.append)
            stack.callback(folder.close)
            await stack.enter_async_context(
                listen(
                    reception.ae_title,
                    reception.port,
                    host=reception.host,
                    store=folder,
                    called=Check.LIST,
                )
            )
        try:
            async with query.associated(peer, proposal, options) as association:
                for names in await querying.named(association, asked.keys, asked.root, asked.level):
                    result.asked += 1
                    steps = retrieving.move(association, model.move, names, destination)
                    result.take(await query.follow(steps, shown))
        except (OperationFailed, QueryError) as error:
            raise Stop(f"{peer.address}: {error}", 1) from error
