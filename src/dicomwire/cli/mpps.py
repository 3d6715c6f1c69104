"""`dicomwire mpps`: procedure steps created, updated and looked at, as a modality does (PS3.4 F.7, F.8)."""

from __future__ import annotations

import asyncio
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.attributes import UID, File, KeyValues, attributes_of, name, show
from dicomwire.cli.connection import Asked, Flags, Peer, accepted
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, show_json

if TYPE_CHECKING:
    from dicomwire.dicom.data_set import DataSet
    from dicomwire.services.normalized import Reply


class Operation(StrEnum):
    """What to do with a step."""

    CREATE = "create"
    SET = "set"
    GET = "get"


@accepted
def mpps(
    peer: Asked,
    operation: Annotated[Operation, typer.Argument(help="N-CREATE, N-SET or N-GET.")],
    keys: KeyValues = None,
    *,
    uid: UID = None,
    file: File = None,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Tell a peer of a Modality Performed Procedure Step. Exit status 1: the peer refuses."""
    log_to_stderr(verbose=verbose)
    asked = flags.peer(peer)
    if uid is None and operation is not Operation.CREATE:
        raise Stop(f"{operation} needs --uid", 2)
    attributes = attributes_of(keys or (), file)
    reply, named = asyncio.run(_tell(asked, operation, uid, attributes))
    if as_json:
        show_json(_facts(reply, named))
    elif reply.performed:
        print(f"{asked.address}: {escaped(named)}: {escaped(reply.words)}")
        show(reply.attributes)
    if not reply.performed:
        tags = ", ".join(name(tag) for tag in reply.command.attribute_identifier_list)
        raise Stop(f"{asked.address} answered {reply.words}{f' ({tags})' if tags else ''}", 1)


async def _tell(peer: Peer, operation: Operation, uid: str | None, attributes: DataSet) -> tuple[Reply, str]:
    """The peer's answer, and the UID that the step has."""
    from dicomwire.association.requestor import Context
    from dicomwire.dimse.command import NCreateRq, NGetRq, NSetRq
    from dicomwire.services.normalized import invoke
    from dicomwire.services.procedure_step import MPPS, RETRIEVE, new_uid
    from dicomwire.services.telling import SYNTAXES

    named = uid or new_uid()
    sop_class_uid = RETRIEVE if operation is Operation.GET else MPPS
    async with peer.connect([Context(sop_class_uid, SYNTAXES)]) as association:
        if operation is Operation.GET:
            return await invoke(association, NGetRq(0, RETRIEVE, named, tuple(attributes))), named
        if operation is Operation.SET:
            return await invoke(association, NSetRq(0, MPPS, named), attributes), named
        reply = await invoke(association, NCreateRq(0, MPPS, named), attributes)
        return reply, reply.command.affected_sop_instance_uid or named


def _facts(reply: Reply, uid: str) -> dict[str, object]:
    from dicomwire.dicom.data_set import to_json

    return {
        "sop_instance_uid": uid,
        "status": f"{reply.status:04X}",
        "performed": reply.performed,
        "words": reply.words,
        "attribute_identifier_list": [f"{tag:08X}" for tag in reply.command.attribute_identifier_list],
        "attributes": json.loads(to_json(reply.attributes)),
    }
