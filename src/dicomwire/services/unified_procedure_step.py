"""Unified Procedure Step: Push, Pull, Watch, Event and Query, SCP (PS3.4 CC.2, CC.3).

The SOP class that a command names is UPS Push, whichever class its presentation context is for (CC.3.1).
Events go out over an association of their own, by durable jobs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from dicomwire.archive.query import Query
from dicomwire.association.association import Association
from dicomwire.association.performer import Request, Services
from dicomwire.dicom.data_set import DataSet, from_json, tag_of, to_json
from dicomwire.dimse import status
from dicomwire.dimse.command import CFindRq, NActionRq, NCreateRq, NEventReportRq, NGetRq, NSetRq
from dicomwire.services.move import Destinations
from dicomwire.services.normalized import Answer, Operation, invoke, service
from dicomwire.services.procedure_step import new_uid
from dicomwire.services.telling import judged, tell
from dicomwire.services.work_find import Finding
from dicomwire.services.work_find import service as find_service
from dicomwire.work import ups, ups_events
from dicomwire.work.jobs import Job, Kind, Result
from dicomwire.work.matching import Selection
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store
from dicomwire.work.ups_events import FILTERED, GLOBAL, REPORT, Receiver
from dicomwire.work.ups_rules import WORDS, Warned

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
    Warned.ALREADY_COMPLETED: 0xB306,
}

_TRANSACTION_UID: Final = ups.TRANSACTION_UID
_RECEIVING_AE: Final = tag_of("ReceivingAE")


class Scheduler:
    """The SCP."""

    def __init__(self, store: Store, destinations: Destinations) -> None:
        """Serve the workitems of a store.

        Args:
            destinations: who can be told of events.
        """
        self._store = store
        self._destinations = destinations

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
        return {REPORT: Kind(self._report)}

    async def _create(self, operation: Operation) -> Answer:
        uid = operation.sop_instance_uid or operation.attributes.text("SOPInstanceUID") or new_uid()
        changed = await self._store.change(
            lambda change: ups.create(change, uid, operation.attributes, now=operation.now)
        )
        return Answer(sop_instance_uid=changed.workitem.sop_instance_uid)

    async def _set(self, operation: Operation) -> Answer:
        transaction_uid = operation.attributes.text(_TRANSACTION_UID)
        await self._store.change(
            lambda change: ups.update(
                change,
                operation.sop_instance_uid,
                operation.attributes,
                transaction_uid,
                now=operation.now,
            )
        )
        return Answer()

    async def _get(self, operation: Operation) -> Answer:
        command = operation.command
        assert isinstance(command, NGetRq)
        found = ups.find(self._store, operation.sop_instance_uid).attributes
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
            asker = operation.association.calling_ae_title
            changed = await self._store.change(
                lambda change: ups.request_cancel(change, uid, attributes, asker, now=now)
            )
        return _answer(changed.warned)

    async def _subscription(self, operation: Operation, action: int) -> Answer:
        uid, attributes, now = operation.sop_instance_uid, operation.attributes, operation.now
        ae_title = attributes.text(_RECEIVING_AE).strip()
        if ae_title not in self._destinations:
            words = WORDS[Reason.UPS_RECEIVER_UNKNOWN]
            raise Refused(Reason.UPS_RECEIVER_UNKNOWN, words, (_RECEIVING_AE,))
        if action == SUBSCRIBE:
            locked = attributes.text("DeletionLock").strip().upper() == "TRUE"
            receiver = Receiver(ae_title, "dimse", locked)
            keys = to_json(_filter(attributes)) if uid == FILTERED else ""
            await self._store.change(
                lambda change: ups_events.subscribe(change, uid, receiver, keys, now=now)
            )
        elif action == UNSUBSCRIBE:
            await self._store.change(lambda change: ups_events.unsubscribe(change, uid, ae_title))
        else:
            await self._store.change(lambda change: ups_events.suspend(change, uid, ae_title))
        return Answer()

    async def _report(self, batch: Sequence[Job]) -> Mapping[int, Result]:
        return await tell(self._destinations, batch, [EVENT], _tell_one, as_scp=True)


async def _tell_one(association: Association, job: Job) -> Result:
    message = json.loads(job.payload)
    command = NEventReportRq(0, PUSH, str(message["uid"]), int(message["event"]))
    attributes = from_json(str(message["attributes"]))
    return judged(await invoke(association, command, attributes, abstract_syntax=EVENT))


def _filter(attributes: DataSet) -> DataSet:
    """The keys of a filtered subscription: all but what says who subscribes and how."""
    own = {_RECEIVING_AE, tag_of("DeletionLock"), tag_of("SpecificCharacterSet")}
    return DataSet({tag: attribute for tag, attribute in attributes.items() if tag not in own})


def _answer(warned: Warned | None) -> Answer:
    return Answer() if warned is None else Answer(STATUS_OF[warned], warned.value)


def _select(query: Query, request: Request) -> Selection:
    return ups_events.selection(query)
