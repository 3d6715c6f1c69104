"""Jobs that tell a peer something over an association of their own: opened, used, failures sorted.

What the peer refuses for good becomes a dead letter; what may get better is tried again; a peer that cannot
be reached rests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from dicomwire.association.association import Association
from dicomwire.association.performer import Services
from dicomwire.association.requestor import Context
from dicomwire.dimse import status
from dicomwire.errors import AssociationError, DecodeError, NoAcceptedContext
from dicomwire.services.move import Destination, Destinations
from dicomwire.services.normalized import Reply
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomwire.upper_layer.items import RoleSelection
from dicomwire.work.jobs import Done, Failed, Job, Result

SYNTAXES: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
PASSING: Final = frozenset(
    {
        status.PROCESSING_FAILURE,
        status.NOT_AUTHORIZED,  # until somebody allows it
        status.SOP_CLASS_NOT_SUPPORTED,
        status.UNRECOGNIZED_OPERATION,
        status.RESOURCE_LIMITATION,
    }
)
"""Failures that a peer's recovery or another configuration may mend."""


def destination(destinations: Destinations, ae_title: str) -> Destination | Failed:
    """Whom a job is for, or why it cannot be told anything yet."""
    found = destinations.get(ae_title)
    if found is not None:
        return found
    why = "has no host and port" if ae_title in destinations else "is none of [[peers]]"
    return Failed(f"{ae_title} {why}", unreachable=True)


async def tell(
    destinations: Destinations,
    batch: Sequence[Job],
    sop_class_uids: Sequence[str],
    one: Callable[[Association, Job], Awaitable[Result]],
    *,
    as_scp: bool = False,
    services: Services | None = None,
    calling_ae_title: str = "",
) -> Mapping[int, Result]:
    """Run jobs of one destination one after the other over one association.

    as_scp: we are the SCP of the SOP classes, which a requestor has to negotiate (PS3.7 D.3.3.4).
    services: for what the peer invokes meanwhile.
    calling_ae_title: ours; "" for the node's own.
    """
    target = destination(destinations, batch[0].destination)
    if isinstance(target, Failed):
        return dict.fromkeys((job.id for job in batch), target)
    contexts = [Context(uid, SYNTAXES) for uid in sop_class_uids]
    roles = [RoleSelection(uid, False, True) for uid in sop_class_uids] if as_scp else []
    results: dict[int, Result] = {}
    failed = Failed("the association ended before it was tried")
    try:
        async with target.open(contexts, calling_ae_title, roles=roles, services=services) as association:
            for job in batch:
                results[job.id] = await one(association, job)
    except NoAcceptedContext as error:
        failed = Failed(str(error))
    except AssociationError as error:
        failed = Failed(str(error), unreachable=not results)
    except DecodeError as error:
        failed = Failed(f"the answer cannot be read: {error}")
    return {job.id: results.get(job.id, failed) for job in batch}


def judged(reply: Reply, *, settled: Sequence[int] = ()) -> Result:
    """What an answer means for the job.

    settled: failure statuses that say that the peer has it already.
    """
    if reply.performed or reply.status in settled:
        return Done()
    return Failed(reply.words, final=reply.status not in PASSING)
