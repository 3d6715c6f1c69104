"""`dicomwire ups`: Unified Procedure Steps of a peer or a URL, and their events (PS3.4 CC.2, PS3.18 11)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.address import is_url
from dicomwire.cli.attributes import UID, File, KeyValues, attributes_of, keys_of, name, show
from dicomwire.cli.connection import Flags, accepted
from dicomwire.cli.listening import Reports, endpoint
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, say, show_json

if TYPE_CHECKING:
    from dicomwire.dicom.data_set import DataSet
    from dicomwire.services.workitems import Workitems as DimseWorkitems
    from dicomwire.web.workitem_client import Workitems as WebWorkitems
    from dicomwire.work.ups_client import Done, EventReport, Worklist


class Operation(StrEnum):
    """What to do with a workitem."""

    CREATE = "create"
    SET = "set"
    GET = "get"
    SEARCH = "search"
    TAKE = "take"
    COMPLETE = "complete"
    CANCEL = "cancel"
    REQUEST_CANCEL = "request-cancel"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    SUSPEND = "suspend"
    WATCH = "watch"
    EVENTS = "events"


STATES = {Operation.TAKE: "IN PROGRESS", Operation.COMPLETE: "COMPLETED", Operation.CANCEL: "CANCELED"}
OF_ALL = frozenset({Operation.SUBSCRIBE, Operation.UNSUBSCRIBE, Operation.SUSPEND, Operation.WATCH})
OF_NONE = frozenset({Operation.SEARCH, Operation.EVENTS})
REPORTING = frozenset({Operation.WATCH, Operation.EVENTS})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for.

    Attributes:
        uid: of the workitem, or of the well-known instance; "" for what the other side is to name.
        transaction_uid: the performer's, "" for none.
        count: events to wait for, None for all that come.
        wait: seconds to wait for them, None for as long as it takes.
    """

    operation: Operation
    uid: str
    transaction_uid: str
    receiver: str
    attributes: DataSet
    keys: list[str]
    lock: bool
    limit: int | None
    count: int | None
    wait: float | None
    as_json: bool


@accepted
def ups(
    peer: Annotated[
        str,
        typer.Argument(metavar="AE@HOST:PORT|URL", help="Whom to ask: a peer, or a DICOMweb service."),
    ],
    operation: Annotated[Operation, typer.Argument(help="What to do with the workitem.")],
    keys: KeyValues = None,
    *,
    uid: UID = None,
    transaction: Annotated[
        str | None,
        typer.Option("--transaction", metavar="UID", help="The performer's Transaction UID; take makes one."),
    ] = None,
    receiver: Annotated[
        str | None,
        typer.Option("--receiver", metavar="AE", help="Who subscribes; our own AE title without it."),
    ] = None,
    lock: Annotated[bool, typer.Option("--lock", help="Subscribe with a Deletion Lock.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most workitems of a search.")] = None,
    listen: Reports = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after so many events.")] = None,
    wait: Annotated[float | None, typer.Option(min=0, metavar="S", help="End after so many seconds.")] = None,
    file: File = None,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Work with a peer's Unified Procedure Steps, over DIMSE or UPS-RS. Exit status 1: the peer refuses.

    watch subscribes, to one workitem, to all, or to those that match the keys, prints events as they come and
    unsubscribes at its end; events only prints them, for who has subscribed already.
    """
    from dicomwire.services.procedure_step import new_uid
    from dicomwire.work.workitem import FILTERED, GLOBAL

    log_to_stderr(verbose=verbose)
    attributes = attributes_of(keys or (), file)
    if uid is None and operation not in OF_ALL | OF_NONE | {Operation.CREATE}:
        raise Stop(f"{operation} needs --uid", 2)
    if transaction is None and operation in (Operation.COMPLETE, Operation.CANCEL):
        raise Stop(f"{operation} needs --transaction, the UID that it was taken with", 2)
    if operation is Operation.TAKE:
        transaction = transaction or new_uid()
    everything = FILTERED if attributes else GLOBAL
    asked = Asked(
        operation,
        uid or (everything if operation in OF_ALL else ""),
        transaction or "",
        receiver or flags.calling_ae_title or "DICOMWIRE",
        attributes,
        keys or [],
        lock,
        limit,
        count,
        wait,
        as_json,
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(_perform(peer, flags, asked, listen))


async def _perform(peer: str, flags: Flags, asked: Asked, listen: str | None) -> None:
    from dicomwire.errors import OperationFailed, WebServiceError

    opened = _over_web(peer, flags, asked) if is_url(peer) else _over_dimse(peer, flags, asked, listen)
    async with opened as (worklist, events):
        try:
            if asked.operation in REPORTING:
                await _report(worklist, events, asked)
            elif asked.operation is Operation.SEARCH:
                await _search(worklist, asked)
            else:
                _tell(peer, await _do(worklist, asked), asked)
        except OperationFailed as error:
            _refused(peer, asked, f"{error.status:04X}", str(error), error.offending_element)
        except WebServiceError as error:
            if error.status is None:
                raise
            _refused(peer, asked, str(error.status), str(error), ())


@asynccontextmanager
async def _over_dimse(
    peer: str, flags: Flags, asked: Asked, listen: str | None
) -> AsyncIterator[tuple[DimseWorkitems | None, AsyncGenerator[EventReport, None] | None]]:
    """A peer's worklist, where it is asked for anything, and the events that it reports to us."""
    from dicomwire.association.requestor import Context
    from dicomwire.services.listening import taking_reports
    from dicomwire.services.telling import SYNTAXES
    from dicomwire.services.unified_procedure_step import EVENT
    from dicomwire.services.workitems import SOP_CLASSES, Workitems, events

    known = flags.peer(peer)
    async with AsyncExitStack() as stack:
        taken: asyncio.Queue[EventReport] = asyncio.Queue()
        coming = None
        if asked.operation in REPORTING:
            if listen is None:
                raise Stop(f"{asked.operation} needs --listen, the port that {peer} reports to", 2)
            where, services = endpoint(listen, known), events(taken.put_nowait)
            await stack.enter_async_context(taking_reports(asked.receiver, *where, EVENT, services))
            coming = _taken(taken)
        if asked.operation is Operation.EVENTS:
            yield None, coming
            return
        association = await stack.enter_async_context(
            known.connect([Context(uid, SYNTAXES) for uid in SOP_CLASSES])
        )
        yield Workitems(association), coming


@asynccontextmanager
async def _over_web(
    url: str, flags: Flags, asked: Asked
) -> AsyncIterator[tuple[WebWorkitems, AsyncGenerator[EventReport, None]]]:
    """The worklist of a DICOMweb service, and its event channel."""
    from dicomwire.cli import stow
    from dicomwire.web.workitem_client import Workitems

    flags.access.check_for_url()
    base = url.rstrip("/").removesuffix("/workitems")
    async with stow.service(base, flags.access, flags.timeout) as client:
        worklist = Workitems(client)
        yield worklist, worklist.events(asked.receiver)


async def _taken(queue: asyncio.Queue[EventReport]) -> AsyncGenerator[EventReport, None]:
    while True:
        yield await queue.get()


async def _do(worklist: Worklist | None, asked: Asked) -> Done:
    """One request."""
    from dicomwire.dicom.data_set import DataSet

    assert worklist is not None
    uid, given, transaction_uid = asked.uid, asked.attributes, asked.transaction_uid
    match asked.operation:
        case Operation.CREATE:
            return await worklist.create(given, uid)
        case Operation.SET:
            return await worklist.update(uid, given, transaction_uid)
        case Operation.GET:
            return await worklist.retrieve(uid, tuple(given))
        case Operation.REQUEST_CANCEL:
            return await worklist.request_cancel(uid, given)
        case Operation.UNSUBSCRIBE:
            return await worklist.unsubscribe(uid, asked.receiver)
        case Operation.SUSPEND:
            return await worklist.suspend(uid, asked.receiver)
        case Operation.SUBSCRIBE | Operation.WATCH:
            keys = given or DataSet()
            return await worklist.subscribe(uid, asked.receiver, lock=asked.lock, keys=keys)
        case _:
            return await worklist.change_state(uid, STATES[asked.operation], transaction_uid)


async def _search(worklist: Worklist | None, asked: Asked) -> None:
    from dicomwire.dicom.data_set import to_json

    assert worklist is not None
    keys = keys_of(asked.keys or ["SOPInstanceUID", "ProcedureStepState", "ProcedureStepLabel"])
    found = [each async for each in worklist.search(keys, asked.limit)]
    if asked.as_json:
        show_json([json.loads(to_json(each)) for each in found])
        return
    for each in found:
        print(escaped(each.text("SOPInstanceUID")) or "(no SOP Instance UID)")
        show(each)
    if not found:
        say("no matches")


async def _report(
    worklist: Worklist | None, events: AsyncGenerator[EventReport, None] | None, asked: Asked
) -> None:
    """Print events until there are enough, or it is time."""
    from dicomwire.dicom.data_set import to_json

    assert events is not None
    if worklist is not None and asked.operation is Operation.WATCH:
        done = await _do(worklist, asked)
        say(f"subscribed as {asked.receiver}: {escaped(done.words)}")
    seen = 0
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(asked.wait), aclosing(events):
                async for report in events:
                    if asked.as_json:
                        told = json.loads(to_json(report.attributes))
                        facts = {
                            "sop_instance_uid": report.sop_instance_uid,
                            "event": report.event.name,
                            "attributes": told,
                        }
                        print(json.dumps(facts, ensure_ascii=False), flush=True)
                    else:
                        print(f"{escaped(report.sop_instance_uid)}: {report.event.name}", flush=True)
                        show(report.attributes)
                    seen += 1
                    if seen == asked.count:
                        break
    finally:
        if worklist is not None and asked.operation is Operation.WATCH:
            await worklist.unsubscribe(asked.uid, asked.receiver)
    if asked.count is not None and seen < asked.count:
        raise Stop(f"{seen} of {asked.count} events came", 1)


def _facts(asked: Asked, uid: str, status: str, words: str, *, performed: bool) -> dict[str, object]:
    return {
        "sop_instance_uid": uid,
        "transaction_uid": asked.transaction_uid or None,
        "status": status,
        "performed": performed,
        "words": words,
    }


def _tell(peer: str, done: Done, asked: Asked) -> None:
    from dicomwire.dicom.data_set import to_json

    if asked.as_json:
        facts = _facts(asked, done.sop_instance_uid, done.status, done.words, performed=True)
        show_json({**facts, "attributes": json.loads(to_json(done.attributes))})
        return
    with_uid = f" (transaction {asked.transaction_uid})" if asked.transaction_uid else ""
    print(f"{peer}: {escaped(done.sop_instance_uid)}: {escaped(done.words)}{with_uid}")
    show(done.attributes)


def _refused(peer: str, asked: Asked, status: str, words: str, tags: tuple[int, ...]) -> None:
    """Say that the other side did not do it, and end."""
    if asked.as_json:
        show_json({**_facts(asked, asked.uid, status, words, performed=False), "attributes": {}})
    named = f" ({', '.join(map(name, tags))})" if tags else ""
    raise Stop(f"{peer} answered {words}{named}", 1)
