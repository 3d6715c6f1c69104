"""Storage Commitment Push Model: who keeps what, promised and asked for (PS3.4 J).

SCP: the N-ACTION is answered when the transaction and the job of its report are durable. The report goes over
the same association where that is still there, else over a new one to the configured peer, and is tried until
it is delivered. It says "committed" only of what the archive holds at that moment. SCU: asks, and takes
reports.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import time
from typing import Final

import structlog

from dicomwire.archive.archive import Archive
from dicomwire.association.association import Association
from dicomwire.association.performer import Services
from dicomwire.dimse.command import NActionRq, NEventReportRq
from dicomwire.errors import AssociationError, DecodeError
from dicomwire.services.move import Destinations
from dicomwire.services.normalized import MANY, Answer, Operation, Reply, invoke, is_long, service
from dicomwire.services.telling import judged, tell
from dicomwire.work import commitment
from dicomwire.work.commitment import ASK, CHECK, REPORT, Asked, Reference, Sent
from dicomwire.work.commitment import Result as Commitment
from dicomwire.work.jobs import Done, Job, Kind, Result
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store

STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
INSTANCE: Final = "1.2.840.10008.1.20.1.1"  # the well-known SOP instance
LIMIT: Final = 8 << 20  # bytes of a request or report; one of 50,000 instances has 6 MiB
REQUEST: Final = 1  # Action Type ID (PS3.4 J.3.2.1)
SUCCESSFUL, FAILURES_EXIST = 1, 2  # Event Type IDs (PS3.4 J.3.3.1)

log = structlog.get_logger()


class Committer:
    """The SCP: takes requests, reports their results."""

    def __init__(
        self, store: Store, archive: Archive, destinations: Destinations, *, same_association: bool = True
    ) -> None:
        """Promise what an archive holds.

        Args:
            same_association: report there first while it is open.
        """
        self._store = store
        self._archive = archive
        self._destinations = destinations
        self._same_association = same_association
        self._askers: dict[str, Association] = {}

    def services(self) -> Services:
        """The SCP of N-ACTION."""
        return {(STORAGE_COMMITMENT, NActionRq): service(self._requested, limit=LIMIT)}

    def kinds(self) -> Mapping[str, Kind]:
        """The jobs that report, and those that ask for us."""
        return {REPORT: Kind(self._report), ASK: Kind(self._ask), CHECK: Kind(self._check)}

    async def _requested(self, operation: Operation) -> Answer:
        command, association = operation.command, operation.association
        assert isinstance(command, NActionRq)
        if operation.sop_instance_uid != INSTANCE:
            raise Refused(Reason.NO_SUCH_INSTANCE, f"The instance of Storage Commitment is {INSTANCE}")
        if command.action_type_id != REQUEST:
            raise Refused(Reason.NO_SUCH_ACTION, "Action type 1 is the only one (PS3.4 J.3.2.1)")
        if is_long(operation.attributes):
            uid, references = await asyncio.to_thread(commitment.asked, operation.attributes)
        else:
            uid, references = commitment.asked(operation.attributes)
        request = Asked(uid, association.calling_ae_title, association.called_ae_title, references)
        if self._same_association:
            self._askers = {uid: asker for uid, asker in self._askers.items() if asker.ended is None}
            self._askers[uid] = association
        await self._store.change(lambda change: commitment.accept(change, request, now=operation.now))
        return Answer()

    async def _report(self, batch: Sequence[Job]) -> Mapping[int, Result]:
        (job,) = batch
        message = json.loads(job.payload)
        uid, called = str(message["transaction"]), str(message["called"])
        asker = self._askers.pop(uid, None)
        found = await self._store.change(lambda change: commitment.find(change, uid, called))
        if found is None:
            return {job.id: Done()}
        result = await asyncio.to_thread(commitment.judge, self._archive, uid, found.references)
        if asker is not None and asker.ended is None:
            try:
                reply = await self._tell(asker, result, called)
            except (AssociationError, DecodeError):
                pass  # it is over now; a new one follows
            else:
                if reply.performed:
                    return {job.id: _done(result)}
        return await tell(
            self._destinations,
            batch,
            [STORAGE_COMMITMENT],
            partial(self._tell_one, result, called),
            as_scp=True,
            calling_ae_title=called,
        )

    async def _tell_one(self, result: Commitment, called: str, association: Association, job: Job) -> Result:
        reply = await self._tell(association, result, called)
        return _done(result) if reply.performed else judged(reply)

    async def _tell(self, association: Association, result: Commitment, called: str) -> Reply:
        event = SUCCESSFUL if result.complete else FAILURES_EXIST
        command = NEventReportRq(0, STORAGE_COMMITMENT, INSTANCE, event)
        if len(result.committed) + len(result.failed) > MANY:
            report = await asyncio.to_thread(commitment.report, result, called)
        else:
            report = commitment.report(result, called)
        return await invoke(association, command, report)

    async def _ask(self, batch: Sequence[Job]) -> Mapping[int, Result]:
        """Ask a peer for a commitment (SCU); the transaction is known here before a report can come."""
        (job,) = batch
        message = json.loads(job.payload)
        uid, sent = str(message["transaction"]), [Sent(*item) for item in message["sent"]]
        await self._store.change(
            lambda change: commitment.expect(change, uid, job.destination, sent, now=time())
        )

        async def one(association: Association, job: Job) -> Result:
            return judged(await ask(association, uid, [Reference(*each[:2]) for each in sent]))

        services = receiving(lambda result, now: None, durably=self._store)
        return await tell(self._destinations, batch, [STORAGE_COMMITMENT], one, services=services)

    async def _check(self, batch: Sequence[Job]) -> Mapping[int, Result]:
        """What has no report by now is asked for again."""
        (job,) = batch
        uid = str(json.loads(job.payload)["transaction"])
        if not await self._store.change(lambda change: commitment.check(change, uid, now=time())):
            log.warning("no report on a storage commitment", transaction_uid=uid)
        return {job.id: Done()}


def _done(result: Commitment) -> Done:
    return Done(lambda change: commitment.reported(change, result, now=time()))


# SCU


async def ask(association: Association, transaction_uid: str, references: Iterable[Reference]) -> Reply:
    """Ask a peer to commit itself (N-ACTION); its report comes later, here or over an association of its own.

    Raises: NoAcceptedContext, AssociationError, DecodeError, as `invoke`.
    """
    command = NActionRq(0, STORAGE_COMMITMENT, INSTANCE, REQUEST)
    return await invoke(association, command, commitment.request(transaction_uid, references))


def receiving(taken: Callable[[Commitment, float], object], *, durably: Store | None = None) -> Services:
    """Take reports (the SCP of N-EVENT-REPORT).

    taken: called with each report and the time.
    durably: a store in which transactions are settled first; those that it does not know are refused.
    """

    async def reported(operation: Operation) -> Answer:
        command = operation.command
        assert isinstance(command, NEventReportRq)
        if command.event_type_id not in (SUCCESSFUL, FAILURES_EXIST):
            raise Refused(Reason.NO_SUCH_EVENT, "Event types are 1 and 2 (PS3.4 J.3.3.1)")
        if is_long(operation.attributes):
            result = await asyncio.to_thread(commitment.read_report, operation.attributes)
        else:
            result = commitment.read_report(operation.attributes)
        if durably is not None:
            await durably.change(lambda change: commitment.settle(change, result, now=operation.now))
        taken(result, operation.now)
        return Answer()

    return {(STORAGE_COMMITMENT, NEventReportRq): service(reported, limit=LIMIT)}
