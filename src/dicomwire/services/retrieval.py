"""What C-MOVE and C-GET share, SCP: the plan, its sub-operations, what is told of them (PS3.4 C.4.2, C.4.3).

The plan is made once, from the archive's index; instances are opened one by one when their turn comes. Every
instance that could not be sent is told by name, in the answer and, with the reason, in the log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import uuid4

import structlog

from dicomwire.archive.archive import Archive
from dicomwire.archive.transcoder import Transcoder
from dicomwire.association.outbox import Outgoing
from dicomwire.association.performer import Request, Sink
from dicomwire.association.words import printable
from dicomwire.dicom.frame_extraction import ExtractionError
from dicomwire.dimse import status
from dicomwire.dimse.command import SubOperationsResponse
from dicomwire.errors import (
    ArchiveError,
    AssociationEnded,
    DataSetError,
    NoAcceptedContext,
    Rejected,
)
from dicomwire.services import identifier
from dicomwire.services.derived import of_frames, without_bulk
from dicomwire.services.instances import Instance, from_archive
from dicomwire.services.selection import RELATIONAL, WITHOUT_BULK_DATA_GET, Refused, Selection, select
from dicomwire.services.sending import Delivery, Outcome

SHARE: Final = 100  # pending answers for each so many sub-operations, in equal steps
PENDING_INTERVAL: Final = 2.0  # seconds after which there is one, whatever the steps
MOST_LOGGED: Final = 100  # failures of one retrieval that are logged one by one
_MOST: Final = 0xFFFF  # of a counter, a US

log = structlog.get_logger()

Carry = Callable[[Sequence[Instance], "SubOperations"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Retriever:
    """What retrievals are performed on.

    Attributes:
        transcoder: for what the receiver does not take as it is stored; None where nothing is transcoded.
        counts: sub-operations so far, by outcome.
        bring: has what is asked for in the archive for the length of a retrieval, where that fills itself.
    """

    archive: Archive
    transcoder: Transcoder | None = None
    counts: Counter[str] = field(default_factory=Counter)
    bring: Callable[[Request, Selection], AbstractAsyncContextManager[None]] | None = None

    def begin(self, request: Request, carry: Carry, *, receiver: str) -> Sink:
        """Take a retrieval's Identifier, then perform it.

        Args:
            carry: sends the instances and reports each of them.
            receiver: AE title of who gets them, for the log.
        """
        return identifier.Collector(partial(self._perform, request, carry, receiver))

    async def _perform(self, request: Request, carry: Carry, receiver: str, data: bytes | None) -> None:
        async with AsyncExitStack() as held:
            try:
                instances = await self._plan(request, data, held)
            except Refused as refusal:
                refuse(request, refusal.status, str(refusal))
                return
            await self._carry(request, instances, carry, receiver)

    async def _carry(
        self, request: Request, instances: Sequence[Instance], carry: Carry, receiver: str
    ) -> None:
        operations = SubOperations(request, len(instances), self.counts, receiver=receiver)
        if instances:
            operations.begin()
            try:
                await carry(instances, operations)
            finally:
                operations.end()
        operations.conclude()

    async def _plan(self, request: Request, data: bytes | None, held: AsyncExitStack) -> list[Instance]:
        """The instances asked for. Raises: Refused."""
        sop_class_uid = request.context.abstract_syntax
        if data is None:
            raise Refused(
                status.CANNOT_CALCULATE_MATCHES, f"Identifier of more than {identifier.LIMIT} bytes"
            )
        try:
            asked = identifier.read(data, request.context.transfer_syntax)
        except DataSetError as error:
            raise Refused(status.UNABLE_TO_PROCESS, f"Identifier: {error}") from None
        selection = select(asked, sop_class_uid, relational=relational(request))
        if self.bring is not None:
            await held.enter_async_context(self.bring(request, selection))
        try:
            return await asyncio.to_thread(self._instances, selection, sop_class_uid)
        except ArchiveError as error:
            raise Refused(status.CANNOT_CALCULATE_MATCHES, str(error)) from None
        except ExtractionError as error:
            raise Refused(status.NO_SUCH_FRAMES + error.failure, str(error)) from None

    def _instances(self, selection: Selection, sop_class_uid: str) -> list[Instance]:
        archive, frames = self.archive, selection.frames
        found = archive.select(
            patient_ids=selection.patient_ids,
            studies=selection.study_instance_uids,
            series=selection.series_instance_uids,
            instances=selection.sop_instance_uids,
            issuer_of_patient_id=selection.issuer_of_patient_id,
        )
        if sop_class_uid == WITHOUT_BULK_DATA_GET:
            return [without_bulk(archive, stored) for stored in found]
        if frames is None:
            return [from_archive(archive, stored, self.transcoder) for stored in found]
        uid, now = f"2.25.{uuid4().int}", datetime.now(UTC).strftime("%Y%m%d%H%M%S.%f+0000")
        return [
            of_frames(archive, stored, frames, sop_instance_uid=uid, now=now, transcoder=self.transcoder)
            for stored in found
        ]


def levels_are_free(information: bytes) -> bytes:
    """What a proposal of relational retrieval is answered with; other bytes ask for what we do not do.

    Source: PS3.4 Tables C.5-2 and C.5-3.
    """
    return bytes((information[0] & 1 if information else 0, *(0 for _ in information[1:2])))


def relational(request: Request) -> bool:
    """Whether relational retrieval was agreed on."""
    sop_class_uid = request.context.abstract_syntax
    agreed = request.association.agreement.extended_negotiation.get(sop_class_uid, b"")
    return sop_class_uid in RELATIONAL and agreed[:1] == b"\1"


def refuse(request: Request, code: int, comment: str) -> None:
    """Answer that nothing was done, and say so in the log."""
    association = request.association
    log.warning(
        "retrieval refused",
        association=association.id,
        peer=association.peer,
        calling_ae_title=printable(association.calling_ae_title),
        message=request.command.name,
        message_id=request.command.message_id,
        status=f"{code:04X}H",
        reason=printable(comment),
    )
    request.refuse(code, comment)


class SubOperations:
    """The sub-operations of one retrieval: counted, told of, summed up.

    Attributes:
        remaining, completed, failed, warning: so far; `remaining` counts those under way too.
    """

    def __init__(self, request: Request, total: int, counts: Counter[str], *, receiver: str) -> None:
        self.remaining = total
        self.completed = self.failed = self.warning = 0
        self._request = request
        self._total = total
        self._counts = counts
        self._receiver = receiver
        self._failed_instances: list[str] = []
        self._comment = ""  # why the first one failed
        self._step = max(1, total // SHARE)
        self._loop = asyncio.get_running_loop()
        self._began = self._told = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._pending: Outgoing | None = None  # the last pending answer

    @property
    def cancelled(self) -> bool:
        """Nothing more is to be begun: a C-CANCEL has come."""
        return self._request.cancelled

    def begin(self) -> None:
        """Tell of the plan, and from now on at least every few seconds."""
        self._tell()
        self._timer = self._loop.call_later(PENDING_INTERVAL, self._tick)

    def end(self) -> None:
        """Tell no more by time."""
        if self._timer is not None:
            self._timer.cancel()

    def report(self, delivery: Delivery) -> None:
        """Count how one ended."""
        self.remaining -= 1
        self._counts[delivery.outcome.name.lower()] += 1
        if delivery.outcome is Outcome.STORED:
            self.completed += 1
        else:
            if delivery.outcome is Outcome.WARNING:
                self.warning += 1
            else:
                self.failed += 1
                self._failed_instances.append(delivery.instance.sop_instance_uid)
                self._comment = self._comment or comment_on(delivery)
            if self.failed + self.warning <= MOST_LOGGED:
                self._log_one(delivery)
        if self.remaining and self.remaining % self._step == 0:
            self._tell()

    def conclude(self) -> None:
        """Give the final answer."""
        code, comment = self._verdict()
        request, data = self._request, None
        if self._failed_instances:
            data = identifier.failed_instances(self._failed_instances, request.context.transfer_syntax)
        answer = self._counted(code)
        if code != status.CANCEL:
            answer = replace(answer, number_of_remaining_suboperations=None)
        association = request.association
        log.info(
            "retrieval ended",
            association=association.id,
            peer=association.peer,
            calling_ae_title=printable(association.calling_ae_title),
            receiver=printable(self._receiver),
            message=request.command.name,
            message_id=request.command.message_id,
            status=f"{code:04X}H",
            completed=self.completed,
            warning=self.warning,
            failed=self.failed,
            remaining=self.remaining,
            seconds=round(self._loop.time() - self._began, 3),
        )
        request.respond(
            replace(answer, error_comment=comment or None, data_set=data is not None),
            (data,) if data is not None else None,
        )

    def _verdict(self) -> tuple[int, str]:
        """Status and comment of the final answer (PS3.4 C.4.2.3.1)."""
        if self.cancelled and self.remaining:
            return status.CANCEL, self._comment
        if not self.failed and not self.warning:
            return status.SUCCESS, ""
        if not self.completed and not self.warning:
            return status.CANNOT_PERFORM_SUB_OPERATIONS, self._comment
        return status.SUB_OPERATIONS_FAILED, self._comment

    def _tick(self) -> None:
        self._timer = self._loop.call_later(PENDING_INTERVAL, self._tick)
        # In a C-GET an answer may wait behind a long instance; one that waits is enough.
        waits = self._pending is not None and not self._pending.sent
        if self._loop.time() - self._told >= PENDING_INTERVAL * 0.9 and not waits:
            self._tell()

    def _tell(self) -> None:
        self._told = self._loop.time()
        self._pending = self._request.respond(self._counted(status.PENDING), final=False)

    def _counted(self, code: int) -> SubOperationsResponse:
        answer = self._request.response(code)
        assert isinstance(answer, SubOperationsResponse)
        return replace(
            answer,
            affected_sop_class_uid=self._request.context.abstract_syntax,
            number_of_remaining_suboperations=min(self.remaining, _MOST),
            number_of_completed_suboperations=min(self.completed, _MOST),
            number_of_failed_suboperations=min(self.failed, _MOST),
            number_of_warning_suboperations=min(self.warning, _MOST),
        )

    def _log_one(self, delivery: Delivery) -> None:
        instance, association = delivery.instance, self._request.association
        log.warning(
            "instance not sent as stored" if delivery.outcome is Outcome.WARNING else "instance not sent",
            association=association.id,
            receiver=printable(self._receiver),
            message_id=self._request.command.message_id,
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            status=f"{delivery.status:04X}H" if delivery.status is not None else None,
            reason=printable(delivery.reason),
        )


def comment_on(delivery: Delivery) -> str:
    """Words for an ErrorComment, which has 64 characters: the step that failed, then why."""
    error, reason = delivery.error, delivery.reason
    match error:
        case Rejected():
            return f"Rejected: {reason.partition(': ')[2] or reason}"
        case NoAcceptedContext():
            return f"No context accepted: {error.reasons[0] if error.reasons else reason}"
        case AssociationEnded():
            return f"Association ended: {reason}"
        case None if delivery.status is not None:
            return f"C-STORE answered {reason}"
        case None if delivery.outcome is Outcome.NO_CONTEXT:
            return f"No context: {reason}"
        case _:
            return reason
