"""Retrieve: C-MOVE and C-GET as SCU (PS3.4 C.4.2, C.4.3; PS3.7 9.1.3, 9.1.4). The SCPs are `move` and `get`.

The instances of a C-GET come as C-STORE requests over the same association: `receiving` takes them, and the
association has to be opened with its services and with the roles of `proposals`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace

from dicomwire.association.association import Association
from dicomwire.association.invoker import Response
from dicomwire.dicom import identifier
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.identifier import Key
from dicomwire.dimse import status
from dicomwire.dimse.command import CGetRq, CMoveRq, Priority, SubOperationsResponse
from dicomwire.errors import DataSetError
from dicomwire.services.querying import context_of, judge

FAILED_SOP_INSTANCE_UID_LIST = (TAGS["FailedSOPInstanceUIDList"],)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a retrieval is: one answer of the peer.

    Attributes:
        status: of the answer, as received.
        final: no other follows.
        remaining, completed, failed, warning: C-STORE sub-operations; None where the peer does not count.
        comment: the peer's Error Comment, "" where it gave none.
        failed_sop_instance_uids: what the peer could not send, where it says so.
        words: of the status.
    """

    status: int
    final: bool
    remaining: int | None
    completed: int | None
    failed: int | None
    warning: int | None
    comment: str
    failed_sop_instance_uids: tuple[str, ...]
    words: str

    @property
    def complete(self) -> bool:
        """It is over and everything has arrived."""
        return self.final and self.status == status.SUCCESS and not self.failed

    @property
    def cancelled(self) -> bool:
        """It ended because we asked for that."""
        return self.status == status.CANCEL


def together(first: Progress, again: Progress) -> Progress:
    """The end of a retrieval, and that of another try for what failed of it with other SOP classes."""
    completed = (first.completed or 0) + (again.completed or 0)
    warning = (first.warning or 0) + (again.warning or 0)
    failed = max((first.failed or 0) - (again.completed or 0) - (again.warning or 0), 0)
    missing = first.failed_sop_instance_uids
    if again.failed_sop_instance_uids:
        missing = tuple(uid for uid in missing if uid in again.failed_sop_instance_uids)
    counted = replace(
        first,
        completed=completed,
        failed=failed,
        warning=warning,
        failed_sop_instance_uids=missing if failed else (),
    )
    if failed:
        return counted
    return replace(counted, status=status.SUCCESS, words=status.words(status.GET, status.SUCCESS), comment="")


async def move(
    association: Association,
    sop_class_uid: str,
    keys: Iterable[Key],
    destination: str,
    *,
    message_id: int = 0,
    priority: int = Priority.MEDIUM,
) -> AsyncGenerator[Progress, None]:
    """Have a peer send instances to an AE that it knows, and yield how far it is, the final answer last.

    Args:
        sop_class_uid: of the information model, see `models.Root`.
        keys: the whole identifier, see `models.retrieval`.
        destination: the AE title; which address that is the peer's configuration says.
        message_id: one to cancel it by; 0 for any.

    Raises: NoAcceptedContext; OperationFailed behind the final answer, when that is a failure;
        AssociationError, when the association ends before. Leaving early sends C-CANCEL.
    """
    context = context_of(association, sop_class_uid)
    data = identifier.encode(keys, context.transfer_syntax)
    command = CMoveRq(message_id, sop_class_uid, destination, priority)
    answers = association.requests(context.presentation_context_id, command, (data,))
    async with aclosing(_progress(answers, context.transfer_syntax, status.MOVE)) as steps:
        async for step in steps:
            yield step


async def get(
    association: Association,
    sop_class_uid: str,
    keys: Iterable[Key],
    *,
    message_id: int = 0,
    priority: int = Priority.MEDIUM,
) -> AsyncGenerator[Progress, None]:
    """Have a peer send instances over this association, and yield how far it is, the final answer last.

    Arguments and exceptions are those of `move`.
    """
    context = context_of(association, sop_class_uid)
    data = identifier.encode(keys, context.transfer_syntax)
    command = CGetRq(message_id, sop_class_uid, priority)
    answers = association.requests(context.presentation_context_id, command, (data,))
    async with aclosing(_progress(answers, context.transfer_syntax, status.GET)) as steps:
        async for step in steps:
            yield step


async def _progress(
    answers: AsyncGenerator[Response, None], transfer_syntax_uid: str, service: str
) -> AsyncGenerator[Progress, None]:
    async with aclosing(answers):
        async for response in answers:
            yield _step(response, transfer_syntax_uid, service)
            if not response.pending:
                judge(response, service)


def _step(response: Response, transfer_syntax_uid: str, service: str) -> Progress:
    command = response.command
    assert isinstance(command, SubOperationsResponse)
    return Progress(
        status=command.status,
        final=not response.pending,
        remaining=command.number_of_remaining_suboperations,
        completed=command.number_of_completed_suboperations,
        failed=command.number_of_failed_suboperations,
        warning=command.number_of_warning_suboperations,
        comment=command.error_comment or "",
        failed_sop_instance_uids=_failed(response.data, transfer_syntax_uid),
        words=status.words(service, command.status),
    )


def _failed(data: bytes | None, transfer_syntax_uid: str) -> tuple[str, ...]:
    try:
        found = identifier.values(data or b"", transfer_syntax_uid)
    except DataSetError:
        return ()  # the counters are in the command
    return found.get(FAILED_SOP_INSTANCE_UID_LIST, ())
