"""`dicomwire ups`: Unified Procedure Steps created, taken, ended, watched and looked at (PS3.4 CC.2)."""

from __future__ import annotations

import asyncio
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.connection import Flags, Peer, accepted
from dicomwire.cli.mpps import File, KeyValues, attributes_of, show
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, show_json

if TYPE_CHECKING:
    from dicomwire.dicom.data_set import DataSet
    from dicomwire.dimse.command import Request
    from dicomwire.services.normalized import Reply


class Operation(StrEnum):
    """What to do with a workitem."""

    CREATE = "create"
    SET = "set"
    GET = "get"
    TAKE = "take"
    COMPLETE = "complete"
    CANCEL = "cancel"
    REQUEST_CANCEL = "request-cancel"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    SUSPEND = "suspend"


STATES = {"take": "IN PROGRESS", "complete": "COMPLETED", "cancel": "CANCELED"}
OF_PERFORMER = frozenset({Operation.TAKE, Operation.COMPLETE, Operation.CANCEL})
OF_ALL = frozenset({Operation.SUBSCRIBE, Operation.UNSUBSCRIBE, Operation.SUSPEND})


@accepted
def ups(
    peer: Annotated[
        str, typer.Argument(metavar="AE@HOST:PORT", help="Whom to ask; or the AE title of a configured peer.")
    ],
    operation: Annotated[Operation, typer.Argument(help="What to do with the workitem.")],
    keys: KeyValues = None,
    *,
    uid: Annotated[
        str | None,
        typer.Option("--uid", metavar="UID", help="The workitem; create makes one, subscriptions mean all."),
    ] = None,
    transaction: Annotated[
        str | None,
        typer.Option("--transaction", metavar="UID", help="The performer's Transaction UID; take makes one."),
    ] = None,
    receiver: Annotated[
        str | None,
        typer.Option("--receiver", metavar="AE", help="Who subscribes; our own AE title without it."),
    ] = None,
    lock: Annotated[bool, typer.Option("--lock", help="Subscribe with a Deletion Lock.")] = False,
    file: File = None,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Work with a peer's Unified Procedure Steps. Exit status 1: the peer refuses."""
    from dicomwire.services.procedure_step import new_uid
    from dicomwire.work.workitem import GLOBAL

    log_to_stderr(verbose=verbose)
    asked = flags.peer(peer)
    if uid is None and operation not in OF_ALL and operation is not Operation.CREATE:
        raise Stop(f"{operation} needs --uid", 2)
    if transaction is None and operation in OF_PERFORMER - {Operation.TAKE}:
        raise Stop(f"{operation} needs --transaction, the UID that it was taken with", 2)
    named = uid or (GLOBAL if operation in OF_ALL else new_uid())
    attributes = attributes_of(keys or (), file)
    if operation is Operation.TAKE:
        transaction = transaction or new_uid()
    if transaction is not None:
        attributes.put("TransactionUID", transaction)
    if operation in OF_PERFORMER:
        attributes.put("ProcedureStepState", STATES[operation])
    if operation in OF_ALL:
        attributes.put("ReceivingAE", receiver or asked.calling_ae_title)
        if operation is Operation.SUBSCRIBE:
            attributes.put("DeletionLock", "TRUE" if lock else "FALSE")
    reply = asyncio.run(_ask(asked, operation, named, attributes))
    _tell(asked, reply, named, transaction, as_json=as_json)


async def _ask(peer: Peer, operation: Operation, uid: str, attributes: DataSet) -> Reply:
    from dicomwire.association.requestor import Context, connect
    from dicomwire.services.normalized import invoke
    from dicomwire.services.telling import SYNTAXES

    command, context = _command(operation, uid, attributes)
    async with connect(
        peer.address.host,
        peer.address.port,
        called_ae_title=peer.address.ae_title,
        calling_ae_title=peer.calling_ae_title,
        contexts=[Context(context, SYNTAXES)],
        options=peer.options,
    ) as association:
        sent = None if operation is Operation.GET else attributes
        return await invoke(association, command, sent, abstract_syntax=context)


def _command(operation: Operation, uid: str, attributes: DataSet) -> tuple[Request, str]:
    """The message of an operation, and the SOP class of its presentation context."""
    from dicomwire.dimse.command import NActionRq, NCreateRq, NGetRq, NSetRq
    from dicomwire.services.unified_procedure_step import PULL, PUSH, WATCH

    actions = {
        **dict.fromkeys(OF_PERFORMER, (1, PULL)),
        Operation.REQUEST_CANCEL: (2, PUSH),
        Operation.SUBSCRIBE: (3, WATCH),
        Operation.UNSUBSCRIBE: (4, WATCH),
        Operation.SUSPEND: (5, WATCH),
    }
    if operation is Operation.CREATE:
        return NCreateRq(0, PUSH, uid), PUSH
    if operation is Operation.SET:
        return NSetRq(0, PUSH, uid), PULL
    if operation is Operation.GET:
        return NGetRq(0, PUSH, uid, tuple(attributes)), WATCH
    number, context = actions[operation]
    return NActionRq(0, PUSH, uid, number), context


def _tell(peer: Peer, reply: Reply, uid: str, transaction: str | None, *, as_json: bool) -> None:
    from dicomwire.dicom.data_set import to_json
    from dicomwire.dicom.dictionary import keyword_of, tag_text

    named = reply.command.affected_sop_instance_uid or uid
    if as_json:
        show_json(
            {
                "sop_instance_uid": named,
                "transaction_uid": transaction,
                "status": f"{reply.status:04X}",
                "performed": reply.performed,
                "words": reply.words,
                "attributes": json.loads(to_json(reply.attributes)),
            }
        )
    elif reply.performed:
        with_uid = f" (transaction {transaction})" if transaction else ""
        print(f"{peer.address}: {escaped(named)}: {escaped(reply.words)}{with_uid}")
        for tag, attribute in sorted(reply.attributes.items()):
            show(tag, [str(value) for value in attribute.values])
    if not reply.performed:
        tags = [keyword_of(tag) or tag_text(tag) for tag in reply.command.attribute_identifier_list]
        named_tags = f" ({', '.join(tags)})" if tags else ""
        raise Stop(f"{peer.address} answered {reply.words}{named_tags}", 1)
