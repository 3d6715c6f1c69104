"""Storage Service Class, SCP: C-STORE into the archive (PS3.4 B, PS3.7 9.1.1).

The command is checked, the data set's bytes go to the archive as they come, the archive's verdict is the
answer: 0000H only for what is durable and can be found. The data set of a refused request is read past, the
association lives on. The SCU is `sending`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

import structlog

from dicomwire.archive.archive import Archive, Origin, Outcome, Reception, Verdict
from dicomwire.association.performer import Request, Services
from dicomwire.association.words import printable
from dicomwire.dimse import status
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from dicomwire.errors import ArchiveError
from dicomwire.uids import SOP_CLASSES, is_valid_uid
from dicomwire.upper_layer.negotiation import AcceptedContext

STATUS_OF: Final[Mapping[Verdict, int]] = {
    Verdict.STORED: status.SUCCESS,
    Verdict.ALREADY_STORED: status.SUCCESS,
    Verdict.REPLACED: status.SUCCESS,
    Verdict.CONFLICT: status.COERCION_OF_DATA_ELEMENTS,
    Verdict.DUPLICATE_REJECTED: status.DUPLICATE_SOP_INSTANCE,
    Verdict.MISMATCH: status.DOES_NOT_MATCH_SOP_CLASS,
    Verdict.NOT_UNDERSTOOD: status.CANNOT_UNDERSTAND,
    Verdict.OUT_OF_RESOURCES: status.OUT_OF_RESOURCES,
}

AFFECTED_SOP_CLASS_UID: Final = 0x00000002
COMMAND_DATA_SET_TYPE: Final = 0x00000800
AFFECTED_SOP_INSTANCE_UID: Final = 0x00001000
SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018

log = structlog.get_logger()


def services(archive: Archive) -> Services:
    """The Storage SCP on an archive, for every context with a storage SOP class that was accepted."""
    return {("*", CStoreRq): partial(receive, archive)}


def receive(archive: Archive, request: Request) -> Incoming | None:
    """Begin to store what a C-STORE-RQ brings (SCP).

    Returns: the sink of its data set, None when the request has been refused.
    """
    command = request.command
    if not isinstance(command, CStoreRq):
        return None
    refusal = _refusal(command, request.context)
    if refusal is not None:
        _answer(request, command, *refusal)
        return None
    association = request.association
    origin = Origin("dimse", association.peer, association.calling_ae_title, association.called_ae_title)
    try:
        reception = archive.receive(
            sop_class_uid=command.affected_sop_class_uid,
            sop_instance_uid=command.affected_sop_instance_uid,
            transfer_syntax_uid=request.context.transfer_syntax,
            origin=origin,
        )
    except ArchiveError as error:
        _answer(request, command, status.OUT_OF_RESOURCES, str(error))
        return None
    return Incoming(request, command, reception)


def _refusal(command: CStoreRq, context: AcceptedContext) -> tuple[int, str, tuple[int, ...]] | None:
    """Status, comment and offending element of a request that is refused before its data set is looked at."""
    registered = SOP_CLASSES.get(context.abstract_syntax)
    if registered is not None and not registered.storage:
        return status.SOP_CLASS_NOT_SUPPORTED, "SOP class of the context is not for storage", ()
    if command.affected_sop_class_uid != context.abstract_syntax:
        what = "Affected SOP Class UID is not the presentation context's"
        return status.DOES_NOT_MATCH_SOP_CLASS, what, (AFFECTED_SOP_CLASS_UID,)
    if not is_valid_uid(command.affected_sop_instance_uid):
        return status.CANNOT_UNDERSTAND, "Affected SOP Instance UID is no UID", (AFFECTED_SOP_INSTANCE_UID,)
    if not command.data_set:
        return status.CANNOT_UNDERSTAND, "C-STORE-RQ without a data set", (COMMAND_DATA_SET_TYPE,)
    return None


class Incoming:
    """The data set of one C-STORE on its way into the archive; the sink of its request."""

    __slots__ = ("_command", "_draining", "_reception", "_request")

    def __init__(self, request: Request, command: CStoreRq, reception: Reception) -> None:
        self._request = request
        self._command = command
        self._reception = reception
        self._draining: asyncio.Task[None] | None = None

    def write(self, data: memoryview) -> None:
        """Give the archive the next bytes; nothing more is read while it has no room."""
        self._reception.write(data)
        if self._draining is None and self._reception.congested:
            self._request.association.pause()
            self._draining = asyncio.get_running_loop().create_task(self._reception.drain())
            self._draining.add_done_callback(self._drained)

    def finish(self) -> None:
        """All has come: the archive answers when it is durable."""
        self._reception.finish(self._done)

    def abort(self, reason: str) -> None:
        """The rest will never come."""
        if self._draining is not None:
            self._draining.cancel()
        self._reception.abort()

    def _drained(self, task: asyncio.Task[None]) -> None:
        self._draining = None
        self._request.association.resume()

    def _done(self, outcome: Outcome) -> None:
        command = self._command
        code = STATUS_OF[outcome.verdict]
        if code == status.SUCCESS:
            self._request.respond(_response(command, code))
        else:
            offending = _offending(command, outcome) if outcome.verdict is Verdict.MISMATCH else ()
            _answer(self._request, command, code, outcome.comment, offending)


def _offending(command: CStoreRq, outcome: Outcome) -> tuple[int, ...]:
    """The elements of the data set that are not what the command says."""
    pairs = (
        (SOP_CLASS_UID, outcome.sop_class_uid, command.affected_sop_class_uid),
        (SOP_INSTANCE_UID, outcome.sop_instance_uid, command.affected_sop_instance_uid),
    )
    return tuple(tag for tag, found, wanted in pairs if found != wanted)


def _answer(
    request: Request, command: CStoreRq, code: int, comment: str, offending: tuple[int, ...] = ()
) -> None:
    """Answer with something else than success, and say so in the log."""
    association = request.association
    log.warning(
        "instance not stored as sent",
        association=association.id,
        peer=association.peer,
        calling_ae_title=printable(association.calling_ae_title),
        message_id=command.message_id,
        sop_class_uid=printable(command.affected_sop_class_uid),
        sop_instance_uid=printable(command.affected_sop_instance_uid),
        status=status.words(status.STORE, code),
        reason=printable(comment),
    )
    request.respond(_response(command, code, comment, offending))


def _response(
    command: CStoreRq, code: int, comment: str | None = None, offending: tuple[int, ...] = ()
) -> CStoreRsp:
    """UIDs are repeated where they are some: garbage is not sent back."""
    sop_class_uid, sop_instance_uid = command.affected_sop_class_uid, command.affected_sop_instance_uid
    return CStoreRsp(
        command.message_id,
        code,
        affected_sop_class_uid=sop_class_uid if is_valid_uid(sop_class_uid) else None,
        affected_sop_instance_uid=sop_instance_uid if is_valid_uid(sop_instance_uid) else None,
        error_comment=comment,
        offending_element=offending,
    )
