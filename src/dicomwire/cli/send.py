"""`dicomwire send`: files and folders to a peer, by C-STORE or by STOW-RS (PS3.4 B, PS3.18 10.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from dicomwire.cli.address import is_url
from dicomwire.cli.commit import Wait
from dicomwire.cli.connection import Access, Flags, Peer, accepted
from dicomwire.cli.listening import Reports, endpoint
from dicomwire.cli.output import Json, Stop, Verbose, log_to_stderr

if TYPE_CHECKING:
    from dicomwire.cli.committing import Promise
    from dicomwire.cli.summary import Summary
    from dicomwire.services.instances import Instance
    from dicomwire.services.sending import Delivery, Report

    Deliver: TypeAlias = Callable[[Sequence[Instance], Report], Coroutine[None, None, None]]

Destination = Annotated[
    str,
    typer.Argument(
        metavar="AE@HOST:PORT|URL",
        help="A DIMSE peer, a configured one by its AE title, or the base URL of a DICOMweb service.",
    ),
]
Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH...", help="Files and folders, folders with all that is in them.")
]
Associations = Annotated[
    int,
    typer.Option("--associations", "-n", min=1, max=64, help="Associations, or HTTP connections, at once."),
]

Commit = Annotated[
    bool, typer.Option("--commit", help="Then ask the peer to commit itself to keep what it has stored.")
]


@accepted
def send(
    destination: Destination,
    paths: Paths,
    *,
    associations: Associations = 1,
    commit: Commit = False,
    wait: Wait = 60.0,
    listen: Reports = None,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Send instances, bit for bit where the peer takes them as they are.

    Exit status 0: all are stored; 1: some are not. What is no DICOM file is passed over in folders.
    """
    target = destination if is_url(destination) else flags.peer(destination)
    where = endpoint(listen, target) if listen is not None and isinstance(target, Peer) else None
    log_to_stderr(verbose=verbose)
    result = delivered(destination, target, paths, associations, flags, quiet=as_json)
    promise = _promise(target, flags, result, wait, where) if commit else None
    if as_json:
        result.show_json({"commitment": promise.facts()} if promise is not None else {})
    else:
        result.show(verbose=verbose)
        if promise is not None:
            promise.show(destination)
    if not result.complete or (promise is not None and not promise.complete):
        raise typer.Exit(1)


def delivered(
    destination: str, target: str | Peer, paths: Sequence[Path], lanes: int, flags: Flags, *, quiet: bool
) -> Summary:
    """Send what is in files and folders, with a bar of progress, and tell what became of it.

    destination: as it was written. target: the same as a peer, or a URL.
    """
    if missing := [path for path in paths if not path.exists()]:
        raise Stop("\n".join(f"{path}: no such file or folder" for path in missing), 2)
    from dicomwire.cli import summary

    deliver = _deliverer(target, flags.access, flags.timeout)
    instances, refused, foreign = summary.read(paths)
    result = summary.Summary(destination, refused, foreign)
    length = sum(instance.length for instance in instances)
    began = perf_counter()
    with summary.progress(len(instances), length, quiet=quiet) as moved:

        def report(delivery: Delivery) -> None:
            result.deliveries.append(delivery)
            moved(delivery)

        asyncio.run(_all(instances, deliver, report, lanes))
    result.seconds = perf_counter() - began if instances else 0.0
    return result


def _promise(
    target: str | Peer, flags: Flags, result: Summary, wait: float, listen: tuple[str, int] | None
) -> Promise:
    """What the destination commits itself to of what it has taken."""
    from dicomwire.cli import committing, summary

    taken = [each.instance for each in result.deliveries if each.outcome in summary.GOOD]
    references = committing.references_of((each.sop_class_uid, each.sop_instance_uid) for each in taken)
    if not references:
        return committing.Promise()
    return asyncio.run(committing.ask(target, flags, references, wait=wait, listen=listen))


def _deliverer(target: str | Peer, access: Access, timeout: float | None) -> Deliver:
    """How instances get to the destination."""
    if isinstance(target, Peer):
        return partial(_store, target)
    from dicomwire.cli import stow

    access.check_for_url()
    return partial(stow.deliver, target, access, timeout)


async def _all(instances: Sequence[Instance], deliver: Deliver, report: Report, lanes: int) -> None:
    """Send over several associations at once, each with its share."""
    async with asyncio.TaskGroup() as group:
        for lane in range(lanes):
            share = instances[lane::lanes]
            if share:
                group.create_task(deliver(share, report))


async def _store(peer: Peer, instances: Sequence[Instance], report: Report) -> None:
    from dicomwire.services.sending import deliver

    await deliver(instances, peer.connect, report)
