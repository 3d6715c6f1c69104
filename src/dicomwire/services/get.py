"""C-GET of Query/Retrieve, SCP: instances come back over the same association (PS3.4 C.4.3, Y.4.2, Z.4.2).

The requestor has the SCP role of the storage SOP classes that it wants (item 54H); what it took no context
for cannot be sent to it and counts as failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

from dicomwire.association.performer import Request, Services, Sink
from dicomwire.dimse.command import CGetRq
from dicomwire.services.instances import Instance
from dicomwire.services.retrieval import Retriever, SubOperations
from dicomwire.services.selection import GET
from dicomwire.services.sending import send


def services(retriever: Retriever) -> Services:
    """The C-GET SCP of every information model."""
    return {(sop_class_uid, CGetRq): partial(get, retriever) for sop_class_uid in sorted(GET)}


def get(retriever: Retriever, request: Request) -> Sink | None:
    """Begin a C-GET: its Identifier follows."""
    command = request.command
    if not isinstance(command, CGetRq):
        return None

    async def carry(instances: Sequence[Instance], operations: SubOperations) -> None:
        await send(
            request.association,
            deque(instances),
            operations.report,
            priority=command.priority,
            stopped=lambda: operations.cancelled,
        )

    return retriever.begin(request, carry, receiver=request.association.calling_ae_title)
