"""Unified Procedure Step, SCU: a peer's worklist asked, and its events taken (PS3.4 CC.2, CC.3). The SCP is
`unified_procedure_step`.

An association for it proposes `SOP_CLASSES`; each request takes the first context that the peer accepted of
those that it may go over.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from dicomwire.association.association import Association
from dicomwire.association.performer import Services
from dicomwire.dicom.data_set import DataSet, decode
from dicomwire.dicom.identifier import Key
from dicomwire.dimse.command import NActionRq, NCreateRq, NEventReportRq, NGetRq, NSetRq, Request
from dicomwire.services import querying
from dicomwire.services.normalized import Answer, Operation, invoke, named_instance, performed, service
from dicomwire.services.unified_procedure_step import (
    CHANGE_STATE,
    EVENT,
    PULL,
    PUSH,
    QUERY,
    REQUEST_CANCEL,
    SUBSCRIBE,
    SUSPEND,
    UNSUBSCRIBE,
    WATCH,
)
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.ups_client import Done, EventReport
from dicomwire.work.ups_events import Event

SOP_CLASSES: Final = (PUSH, PULL, WATCH, QUERY)
"""What an SCU proposes."""

_CREATE: Final = (PUSH,)
_GET: Final = (PULL, WATCH, PUSH)
_PERFORM: Final = (PULL,)
_CANCEL: Final = (PUSH, WATCH)
_FIND: Final = (QUERY, PULL, WATCH)
_WATCH: Final = (WATCH,)


class Workitems:
    """A peer's worklist, over an association with it."""

    def __init__(self, association: Association) -> None:
        """Ask over an association that has contexts for what will be asked."""
        self._association = association

    async def create(self, attributes: DataSet, sop_instance_uid: str = "") -> Done:
        """N-CREATE; without a UID the peer makes one. Raises: OperationFailed, as all others."""
        return await self._ask(_CREATE, NCreateRq(0, PUSH, sop_instance_uid or None), attributes)

    async def retrieve(self, sop_instance_uid: str, tags: Sequence[int] = ()) -> Done:
        """N-GET; tags: of these attributes only."""
        return await self._ask(_GET, NGetRq(0, PUSH, sop_instance_uid, tuple(tags)))

    async def update(self, sop_instance_uid: str, changes: DataSet, transaction_uid: str = "") -> Done:
        """N-SET; transaction_uid: the performer's, "" before somebody has taken the workitem."""
        told = DataSet(changes)
        if transaction_uid:
            told.put("TransactionUID", transaction_uid)
        return await self._ask(_PERFORM, NSetRq(0, PUSH, sop_instance_uid), told)

    async def change_state(self, sop_instance_uid: str, state: str, transaction_uid: str) -> Done:
        """N-ACTION, Change UPS State: IN PROGRESS takes the workitem, COMPLETED and CANCELED end it."""
        told = DataSet().put("ProcedureStepState", state).put("TransactionUID", transaction_uid)
        return await self._act(_PERFORM, sop_instance_uid, CHANGE_STATE, told)

    async def request_cancel(self, sop_instance_uid: str, information: DataSet) -> Done:
        """N-ACTION, Request UPS Cancel; information: reason and contact."""
        return await self._act(_CANCEL, sop_instance_uid, REQUEST_CANCEL, information)

    async def search(self, keys: Sequence[Key], limit: int | None = None) -> AsyncGenerator[DataSet, None]:
        """C-FIND: the workitems that match."""
        found = querying.find(self._association, self._context(_FIND), keys, limit=limit)
        async with aclosing(found):
            async for match in found:
                yield decode(match.data, match.transfer_syntax_uid)

    async def subscribe(
        self, sop_instance_uid: str, receiver: str, *, lock: bool = False, keys: DataSet | None = None
    ) -> Done:
        """N-ACTION, Subscribe; receiver: an AE title that the peer can reach; lock: with a Deletion Lock."""
        told = DataSet(keys or {}).put("ReceivingAE", receiver)
        told.put("DeletionLock", "TRUE" if lock else "FALSE")
        return await self._act(_WATCH, sop_instance_uid, SUBSCRIBE, told)

    async def unsubscribe(self, sop_instance_uid: str, receiver: str) -> Done:
        """N-ACTION, Unsubscribe."""
        told = DataSet().put("ReceivingAE", receiver)
        return await self._act(_WATCH, sop_instance_uid, UNSUBSCRIBE, told)

    async def suspend(self, sop_instance_uid: str, receiver: str) -> Done:
        """N-ACTION, Suspend Global Subscription."""
        told = DataSet().put("ReceivingAE", receiver)
        return await self._act(_WATCH, sop_instance_uid, SUSPEND, told)

    async def _act(self, over: Sequence[str], uid: str, action: int, information: DataSet) -> Done:
        return await self._ask(over, NActionRq(0, PUSH, uid, action), information)

    async def _ask(self, over: Sequence[str], command: Request, attributes: DataSet | None = None) -> Done:
        context = self._context(over)
        reply = performed(
            command, await invoke(self._association, command, attributes, abstract_syntax=context)
        )
        named = reply.command.affected_sop_instance_uid or named_instance(command)
        return Done(named, f"{reply.status:04X}", reply.words, reply.attributes)

    def _context(self, over: Sequence[str]) -> str:
        """The first SOP class that there is a context for; the first of all where there is none."""
        return next((uid for uid in over if self._association.contexts_for(uid)), over[0])


def events(take: Callable[[EventReport], None]) -> Services:
    """The services of who takes event reports, the SCU of UPS Event.

    take: told each report; it is answered when that returns.
    """

    async def report(operation: Operation) -> Answer:
        command = operation.command
        assert isinstance(command, NEventReportRq)
        try:
            event = Event(command.event_type_id)
        except ValueError:
            raise Refused(Reason.NO_SUCH_EVENT, "Event Type ID is 1 to 5 (PS3.4 CC.2.4)") from None
        take(EventReport(operation.sop_instance_uid, event, operation.attributes))
        return Answer()

    return {(EVENT, NEventReportRq): service(report, sop_classes=frozenset({PUSH, EVENT}))}
