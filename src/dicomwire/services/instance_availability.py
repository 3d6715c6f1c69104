"""Instance Availability Notification: told of studies that are complete, and taken (PS3.4 R)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from time import time
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from dicomwire.archive.archive import Archive
from dicomwire.association.association import Association
from dicomwire.association.performer import Services
from dicomwire.dimse import status
from dicomwire.dimse.command import NCreateRq
from dicomwire.services.move import Destinations
from dicomwire.services.normalized import Answer, Operation, invoke, service
from dicomwire.services.procedure_step import new_uid
from dicomwire.services.telling import judged, tell
from dicomwire.work import availability, procedure_steps
from dicomwire.work.jobs import Done, Job, Kind, Later, Result
from dicomwire.work.procedure_steps import Status
from dicomwire.work.routes import AVAILABLE
from dicomwire.work.store import Store

INSTANCE_AVAILABILITY: Final = "1.2.840.10008.5.1.4.33"

AGAIN: Final = 10.0  # seconds until a study with a step in progress is looked at again
_BATCH: Final = 16  # studies told of over one association


def services(store: Store) -> Services:
    """The SCP: notifications are kept."""

    async def create(operation: Operation) -> Answer:
        uid = operation.sop_instance_uid or new_uid()
        ae_title = operation.association.calling_ae_title
        await store.change(
            lambda change: availability.take(change, uid, ae_title, operation.attributes, now=operation.now)
        )
        return Answer(sop_instance_uid=uid)

    return {(INSTANCE_AVAILABILITY, NCreateRq): service(create)}


def kinds(
    store: Store,
    archive: Archive,
    destinations: Destinations,
    ae_title: str,
    *,
    wait_for_steps: float = 0.0,
) -> Mapping[str, Kind]:
    """The jobs that tell of studies (SCU).

    ae_title: from which the instances can be retrieved.
    wait_for_steps: seconds that procedure steps have to end; until then their study is not complete.
    """

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        now = time()
        early = {
            job.id: Later(now + AGAIN) for job in batch if _in_progress(store, job, now - wait_for_steps)
        }
        due = [job for job in batch if job.id not in early]
        one = partial(_tell, store, archive, ae_title)
        told = await tell(destinations, due, [INSTANCE_AVAILABILITY], one) if due else {}
        return {**early, **told}

    return {AVAILABLE: Kind(run, _BATCH)}


def _in_progress(store: Store, job: Job, since: float) -> bool:
    """Whether a procedure step of a job's study has begun since and not ended."""
    steps = procedure_steps.linked(store, "study", str(json.loads(job.payload)["study"]))
    return any(step.status is Status.IN_PROGRESS and step.created > since for step in steps)


async def _tell(
    store: Store,
    archive: Archive,
    ae_title: str,
    association: Association,
    job: Job,
) -> Result:
    study = str(json.loads(job.payload)["study"])
    held = archive.plan(study=study)
    if not held:
        return Done()  # it was removed since
    steps = await store.change(lambda change: procedure_steps.linked(change, "study", study))
    instances = ((one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid) for one in held)
    attributes = availability.notification(study, instances, steps, ae_title)
    # The same job gives the same UID, so that a repetition is known as one; with new instances it is due
    # anew.
    uid = f"2.25.{uuid5(NAMESPACE_OID, f'{study} {job.id} {job.due}').int}"
    reply = await invoke(association, NCreateRq(0, INSTANCE_AVAILABILITY, uid), attributes)
    return judged(reply, settled=(status.DUPLICATE_SOP_INSTANCE,))
