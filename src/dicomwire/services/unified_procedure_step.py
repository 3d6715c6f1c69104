"""Unified Procedure Step: Push, Pull, Watch, Event and Query, SCP (PS3.4 CC.2, CC.3).

The SOP class that a command names is UPS Push, whichever class its presentation context is for (CC.3.1).
Events go out over an association of their own, by durable jobs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from dicomwire.archive.query import Query
from dicomwire.association.association import Association
from dicomwire.association.performer import Request, Services
from dicomwire.association.requestor import Context
from dicomwire.dicom.data_set import DataSet, from_json, tag_of, to_json
from dicomwire.dimse import status
from dicomwire.dimse.command import CFindRq, NActionRq, NCreateRq, NEventReportRq, NGetRq, NSetRq
from dicomwire.services.move import Destinations
from dicomwire.services.normalized import Answer, Operation, invoke, service
from dicomwire.services.procedure_step import new_uid
from dicomwire.services.telling import SYNTAXES, destination, judged, tell
from dicomwire.services.work_find import Finding
from dicomwire.services.work_find import service as find_service
from dicomwire.upper_layer.items import RoleSelection
from dicomwire.work import ups, ups_events, ups_subscriptions, workitem
from dicomwire.work.jobs import Failed, Job, Kind, Result
from dicomwire.work.matching import Selection
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store
from dicomwire.work.ups_events import REPORT, Event, Receiver, SCPStatus
from dicomwire.work.ups_rules import WORDS, Policy, Warned
from dicomwire.work.workitem import FILTERED, GLOBAL

PUSH: Final = ups.SOP_CLASS
WATCH: Final = "1.2.840.10008.5.1.4.34.6.2"
PULL: Final = "1.2.840.10008.5.1.4.34.6.3"
EVENT: Final = "1.2.840.10008.5.1.4.34.6.4"
QUERY: Final = "1.2.840.10008.5.1.4.34.6.5"
SOP_CLASSES: Final = (PUSH, WATCH, PULL, EVENT, QUERY)

CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = 1, 2, 3, 4, 5
ACTIONS: Final[Mapping[str, frozenset[int]]] = {
    PUSH: frozenset({REQUEST_CANCEL}),
    WATCH: frozenset({REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND}),
    PULL: frozenset({CHANGE_STATE}),
}
"""Action Type IDs of each SOP class (PS3.4 Table CC.2-1)."""

STATUS_OF: Final[Mapping[Warned, int]] = {
    Warned.MODIFIED: 0xB300,
    Warned.LOCK_NOT_GRANTED: 0xB301,
    Warned.ALREADY_CANCELED: 0xB304,
    Warned.COERCED: 0xB305,
    Warned.ALREADY_COMPLETED: 0xB306,
}

_BATCH: Final = 32  # events over one association
GOODBYE: Final = 2.0  # seconds for the last events, so that nobody who is away delays a stop

_TRANSACTION_UID: Final = ups.TRANSACTION_UID
_RECEIVING_AE: Final = tag_of("ReceivingAE")
_DELETION_LOCK: Final = tag_of("DeletionLock")


class Scheduler:
    """The SCP."""

    def __init__(self, store: Store, destinations: Destinations, policy: Policy | None = None) -> None:
        """Serve the workitems of a store.

        Args:
            destinations: who can be told of events.
            policy: what this site allows.
        """
        self._store = store
        self._destinations = destinations
        self._policy = policy or Policy()

    def services(self) -> Services:
        """All messages of all classes."""
        named = frozenset(SOP_CLASSES)
        finding = Finding(
            self._store, _select, "attributes, character_set", hidden=frozenset({_TRANSACTION_UID})
        )
        find = find_service(finding)
        action = service(self._action, sop_classes=named)
        get = service(self._get, sop_classes=named)
        return {
            (PUSH, NCreateRq): service(self._create, sop_classes=named),
            (PULL, NSetRq): service(self._set, sop_classes=named),
            **{(uid, NGetRq): get for uid in (PUSH, WATCH, PULL)},
            **{(uid, NActionRq): action for uid in ACTIONS},
            **{(uid, CFindRq): find for uid in (WATCH, PULL, QUERY)},
        }

    def kinds(self) -> Mapping[str, Kind]:
        """The jobs that report events."""
        return {REPORT: Kind(self._report, _BATCH)}

    async def _create(self, operation: Operation) -> Answer:
        uid = operation.sop_instance_uid or operation.attributes.text("SOPInstanceUID") or new_uid()
        changed = await self._store.change(
            lambda change: ups.create(change, uid, operation.attributes, now=operation.now)
        )
        return _answer(changed.warned, changed.coerced, changed.workitem.sop_instance_uid)

    async def _set(self, operation: Operation) -> Answer:
        transaction_uid = operation.attributes.text(_TRANSACTION_UID)
        changed = await self._store.change(
            lambda change: ups.update(
                change,
                operation.sop_instance_uid,
                operation.attributes,
                transaction_uid,
                now=operation.now,
            )
        )
        return _answer(changed.warned, changed.coerced)

    async def _get(self, operation: Operation) -> Answer:
        command = operation.command
        assert isinstance(command, NGetRq)
        found = workitem.find(self._store, operation.sop_instance_uid).attributes
        wanted = command.attribute_identifier_list
        if not wanted:
            return Answer(attributes=found)
        missing = tuple(tag for tag in wanted if tag not in found)
        attributes = DataSet({tag: found[tag] for tag in wanted if tag in found})
        if missing:
            comment = "Requested optional attributes are not supported"
            return Answer(status.ATTRIBUTES_NOT_SUPPORTED, comment, attributes, missing)
        return Answer(attributes=attributes)

    async def _action(self, operation: Operation) -> Answer:
        command = operation.command
        assert isinstance(command, NActionRq)
        action, context = command.action_type_id, operation.request.context.abstract_syntax
        if action not in ACTIONS[context]:
            raise Refused(Reason.NO_SUCH_ACTION, "This SOP class has no such action (PS3.4 CC.2)")
        if action in (SUBSCRIBE, UNSUBSCRIBE, SUSPEND):
            return await self._subscription(operation, action)
        uid, attributes, now = operation.sop_instance_uid, operation.attributes, operation.now
        if uid in (GLOBAL, FILTERED):
            raise Refused(Reason.UPS_NOT_APPROPRIATE, WORDS[Reason.UPS_NOT_APPROPRIATE])
        if action == CHANGE_STATE:
            state, transaction_uid = attributes.text(ups.STATE), attributes.text(_TRANSACTION_UID)
            changed = await self._store.change(
                lambda change: ups.change_state(change, uid, state, transaction_uid, now=now)
            )
        else:
            asker, on_cancel = operation.association.calling_ae_title, self._policy.on_cancel
            changed = await self._store.change(
                lambda change: ups.request_cancel(
                    change, uid, attributes, asker, now=now, on_cancel=on_cancel
                )
            )
        return _answer(changed.warned)

    async def _subscription(self, operation: Operation, action: int) -> Answer:
        ups_subscriptions.possible(self._policy)
        uid, attributes, now = operation.sop_instance_uid, operation.attributes, operation.now
        ae_title = attributes.text(_RECEIVING_AE).strip()
        if ae_title not in self._destinations:
            words = WORDS[Reason.UPS_RECEIVER_UNKNOWN]
            raise Refused(Reason.UPS_RECEIVER_UNKNOWN, words, (_RECEIVING_AE,))
        if action == SUBSCRIBE:
            receiver = Receiver(ae_title, "dimse", _locked(attributes))
            keys = to_json(_filter(attributes)) if uid == FILTERED else ""
            warned = await ups_subscriptions.subscribe(
                self._store, uid, receiver, keys, now=now, deletion_locks=self._policy.deletion_locks
            )
            return _answer(warned)
        if action == UNSUBSCRIBE:
            await self._store.change(lambda change: ups_subscriptions.unsubscribe(change, uid, ae_title))
        else:
            await self._store.change(lambda change: ups_subscriptions.suspend(change, uid, ae_title))
        return Answer()

    async def start(self) -> None:
        """Tell who has subscribed that the SCP is there again (PS3.4 CC.2.4.3)."""
        if self._policy.events:
            now = time.time()
            await self._store.change(lambda change: ups_events.restarted(change, now=now))

    async def stop(self, grace: float) -> None:
        """Tell who has subscribed over DIMSE that the SCP goes down, as far as that is possible in time.

        This is no job: told after the next start it would be wrong.
        """
        if not self._policy.events:
            return
        told = [
            self._say_goodbye(receiver.ae_title, uid)
            for receiver, uid in ups_events.subscribers(self._store).items()
            if receiver.door == "dimse"
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(min(grace, GOODBYE)):
                await asyncio.gather(*told, return_exceptions=True)

    async def _say_goodbye(self, ae_title: str, uid: str) -> None:
        target = destination(self._destinations, ae_title)
        if isinstance(target, Failed):
            return
        roles = [RoleSelection(EVENT, False, True)]
        command = NEventReportRq(0, PUSH, uid, Event.SCP_STATUS.value)
        async with target.open([Context(EVENT, SYNTAXES)], roles=roles) as association:
            told = ups_events.scp_status(SCPStatus.GOING_DOWN)
            await invoke(association, command, told, abstract_syntax=EVENT)

    async def _report(self, batch: Sequence[Job]) -> Mapping[int, Result]:
        return await tell(self._destinations, batch, [EVENT], _tell_one, as_scp=True)


async def _tell_one(association: Association, job: Job) -> Result:
    message = json.loads(job.payload)
    command = NEventReportRq(0, PUSH, str(message["uid"]), int(message["event"]))
    attributes = from_json(str(message["attributes"]))
    return judged(await invoke(association, command, attributes, abstract_syntax=EVENT))


def _filter(attributes: DataSet) -> DataSet:
    """The keys of a filtered subscription: all but what says who subscribes and how."""
    own = {_RECEIVING_AE, _DELETION_LOCK, tag_of("SpecificCharacterSet")}
    return DataSet({tag: attribute for tag, attribute in attributes.items() if tag not in own})


def _locked(attributes: DataSet) -> bool:
    """Whether a Deletion Lock is asked for. Raises: Refused, for a value that is none."""
    value = attributes.text(_DELETION_LOCK).strip().upper()
    if value not in ("", "TRUE", "FALSE"):
        raise Refused(Reason.INVALID_ARGUMENT, "Deletion Lock is TRUE or FALSE", (_DELETION_LOCK,))
    return value == "TRUE"


def _answer(warned: Warned | None, coerced: DataSet | None = None, sop_instance_uid: str = "") -> Answer:
    if warned is None:
        return Answer(sop_instance_uid=sop_instance_uid)
    return Answer(
        STATUS_OF[warned], warned.value, attributes=coerced or None, sop_instance_uid=sop_instance_uid
    )


def _select(query: Query, request: Request) -> Selection:
    return workitem.selection(query)
