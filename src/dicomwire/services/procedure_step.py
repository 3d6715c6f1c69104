"""Modality Performed Procedure Step: MPPS, Retrieve and Notification (PS3.4 F.7, F.8, F.9).

SCP of the first two on the store of work; what it takes it repeats, as SCU, to the peers that are to have it,
and reports, as SCP of the third, to those that are to hear of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import uuid4

from dicomwire.association.association import Association
from dicomwire.association.performer import Services
from dicomwire.dicom.data_set import DataSet, from_json
from dicomwire.dimse import status
from dicomwire.dimse.command import NCreateRq, NEventReportRq, NGetRq, NSetRq
from dicomwire.services.move import Destinations
from dicomwire.services.normalized import Answer, Operation, invoke, service
from dicomwire.services.telling import judged, tell
from dicomwire.uids import is_valid_uid
from dicomwire.work import procedure_steps
from dicomwire.work.jobs import Job, Kind, Result
from dicomwire.work.procedure_steps import FORWARD, NOTIFY, Followers
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store

MPPS: Final = "1.2.840.10008.3.1.2.3.3"
RETRIEVE: Final = "1.2.840.10008.3.1.2.3.4"
NOTIFICATION: Final = "1.2.840.10008.3.1.2.3.5"

SCP_CLASSES: Final = (MPPS, RETRIEVE)
"""SOP classes that this node is SCP of when a peer asks for them."""

_BATCH: Final = 32  # messages over one association


def new_uid() -> str:
    """A UID for what a peer leaves to us to name (PS3.5 B.2)."""
    return f"2.25.{uuid4().int}"


def services(store: Store, followers: Followers, uid: Callable[[], str] = new_uid) -> Services:
    """The SCP of MPPS and of MPPS Retrieve.

    uid: makes the SOP Instance UID of a step that comes without one.
    """
    either = frozenset(SCP_CLASSES)
    return {
        (MPPS, NCreateRq): service(partial(_create, store, followers, uid)),
        (MPPS, NSetRq): service(partial(_set, store, followers)),
        (RETRIEVE, NGetRq): service(partial(_get, store), sop_classes=either),
    }


async def _create(store: Store, followers: Followers, uid: Callable[[], str], operation: Operation) -> Answer:
    named = operation.sop_instance_uid or operation.attributes.text("SOPInstanceUID") or uid()
    if not is_valid_uid(named):
        raise Refused(Reason.INVALID_INSTANCE, "SOP Instance UID is no UID")
    step = await store.change(
        lambda change: procedure_steps.create(
            change, named, operation.attributes, followers, now=operation.now
        )
    )
    return Answer(sop_instance_uid=step.sop_instance_uid)


async def _set(store: Store, followers: Followers, operation: Operation) -> Answer:
    await store.change(
        lambda change: procedure_steps.update(
            change, operation.sop_instance_uid, operation.attributes, followers, now=operation.now
        )
    )
    return Answer()


async def _get(store: Store, operation: Operation) -> Answer:
    command = operation.command
    assert isinstance(command, NGetRq)
    step = await store.change(lambda change: procedure_steps.find(change, operation.sop_instance_uid))
    asked = command.attribute_identifier_list
    found = step.attributes
    if asked:
        found = DataSet({tag: found[tag] for tag in asked if tag in found})
    lacking = tuple(tag for tag in asked if tag not in found)
    if lacking:
        words = "Attributes that this procedure step does not have"
        return Answer(status.ATTRIBUTES_NOT_SUPPORTED, words, found, lacking)
    return Answer(attributes=found)


def kinds(destinations: Destinations) -> Mapping[str, Kind]:
    """The jobs that tell others."""
    return {
        FORWARD: Kind(partial(_forward, destinations), _BATCH),
        NOTIFY: Kind(partial(_notify, destinations), _BATCH),
    }


async def _forward(destinations: Destinations, batch: Sequence[Job]) -> Mapping[int, Result]:
    return await tell(destinations, batch, [MPPS], _forward_one)


async def _forward_one(association: Association, job: Job) -> Result:
    message = json.loads(job.payload)
    uid, attributes = str(message["uid"]), from_json(str(message["attributes"]))
    if message["character_set"]:
        attributes.put("SpecificCharacterSet", *message["character_set"])
    if message["message"] == "create":
        reply = await invoke(association, NCreateRq(0, MPPS, uid), attributes)
        return judged(reply, settled=(status.DUPLICATE_SOP_INSTANCE,))
    reply = await invoke(association, NSetRq(0, MPPS, uid), attributes)
    again = job.attempts > 1 and reply.command.error_id == procedure_steps.MAY_NO_LONGER_BE_UPDATED
    return judged(reply, settled=(reply.status,) if again else ())


async def _notify(destinations: Destinations, batch: Sequence[Job]) -> Mapping[int, Result]:
    return await tell(destinations, batch, [NOTIFICATION], _notify_one, as_scp=True)


async def _notify_one(association: Association, job: Job) -> Result:
    message = json.loads(job.payload)
    command = NEventReportRq(0, NOTIFICATION, str(message["uid"]), int(message["event"]))
    return judged(await invoke(association, command, from_json(str(message["attributes"]))))
