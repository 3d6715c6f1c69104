"""`dicomwire mpps`: procedure steps created, updated and looked at, as a modality does (PS3.4 F.7, F.8)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.connection import Flags, Peer, accepted
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, show_json
from dicomwire.errors import InvalidAttribute

if TYPE_CHECKING:
    from dicomwire.dicom.data_set import DataSet
    from dicomwire.services.normalized import Reply


class Operation(StrEnum):
    """What to do with a step."""

    CREATE = "create"
    SET = "set"
    GET = "get"


KeyValues = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE...]",
        help="Attributes: Keyword=value, (gggg,eeee)=value, Sequence.Keyword=value; of get, which to bring.",
    ),
]
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="F", help="DICOM JSON file with the attributes; keys come over it."),
]


@accepted
def mpps(
    peer: Annotated[
        str, typer.Argument(metavar="AE@HOST:PORT", help="Whom to tell; or a configured AE title.")
    ],
    operation: Annotated[Operation, typer.Argument(help="N-CREATE, N-SET or N-GET.")],
    keys: KeyValues = None,
    *,
    uid: Annotated[
        str | None,
        typer.Option("--uid", metavar="UID", help="SOP Instance UID; create makes one without it."),
    ] = None,
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
        for tag, attribute in sorted(reply.attributes.items()):
            show(tag, [str(value) for value in attribute.values])
    if not reply.performed:
        tags = ", ".join(_name(tag) for tag in reply.command.attribute_identifier_list)
        raise Stop(f"{asked.address} answered {reply.words}{f' ({tags})' if tags else ''}", 1)


def attributes_of(keys: Sequence[str], file: Path | None) -> DataSet:
    """The attributes of a file, over them those of the keys."""
    from dicomwire.dicom import identifier
    from dicomwire.dicom.data_set import DataSet, decode, from_json
    from dicomwire.errors import QueryError
    from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

    attributes = DataSet()
    if file is not None:
        try:
            attributes = from_json(file.read_bytes())
        except (OSError, InvalidAttribute) as error:
            raise Stop(f"--file {file}: {error}", 2) from None
    try:
        parsed = [identifier.parse(key) for key in keys]
        given = decode(identifier.encode(parsed, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
    except QueryError as error:
        raise Stop(str(error), 2) from None
    return DataSet({**attributes, **given})


async def _tell(peer: Peer, operation: Operation, uid: str | None, attributes: DataSet) -> tuple[Reply, str]:
    """The peer's answer, and the UID that the step has."""
    from dicomwire.association.requestor import Context, connect
    from dicomwire.dimse.command import NCreateRq, NGetRq, NSetRq
    from dicomwire.services.normalized import invoke
    from dicomwire.services.procedure_step import MPPS, RETRIEVE, new_uid
    from dicomwire.services.telling import SYNTAXES

    named = uid or new_uid()
    sop_class_uid = RETRIEVE if operation is Operation.GET else MPPS
    async with connect(
        peer.address.host,
        peer.address.port,
        called_ae_title=peer.address.ae_title,
        calling_ae_title=peer.calling_ae_title,
        contexts=[Context(sop_class_uid, SYNTAXES)],
        options=peer.options,
    ) as association:
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


def _name(tag: int) -> str:
    from dicomwire.dicom.dictionary import keyword_of, tag_text

    return keyword_of(tag) or tag_text(tag)


def show(tag: int, values: Sequence[str]) -> None:
    print(f"  {_name(tag):48} {escaped(' '.join(values))[:160]}")
