"""C-MOVE of Query/Retrieve, SCP: instances go to another application entity (PS3.4 C.4.2, Y.4.1).

Destinations are those of the configuration and no others. What is sent, and in which contexts, is planned
once; an association that breaks costs the instance under way, and the rest gets a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from dicomwire.association.association import Association
from dicomwire.association.performer import Request, Services, Sink
from dicomwire.association.requestor import Context
from dicomwire.dimse import status
from dicomwire.dimse.command import CMoveRq
from dicomwire.services.instances import Instance
from dicomwire.services.retrieval import Retriever, SubOperations, refuse
from dicomwire.services.selection import MOVE
from dicomwire.services.sending import MoveOriginator, deliver
from dicomwire.upper_layer.items import RoleSelection, SOPClassExtendedNegotiation


class OpenDestination(Protocol):
    """Requests an association with these contexts, in the name of this AE title of ours."""

    def __call__(
        self,
        contexts: Sequence[Context],
        calling_ae_title: str = "",
        *,
        roles: Sequence[RoleSelection] = (),
        services: Services | None = None,
        extended: Sequence[SOPClassExtendedNegotiation] = (),
    ) -> AbstractAsyncContextManager[Association]:
        """The association, for the length of an `async with`; "" for the node's own AE title."""


@dataclass(frozen=True, slots=True)
class Destination:
    """An application entity that instances can be sent to.

    Attributes:
        open: requests an association with it.
        transfer_syntaxes: the only ones it gets along with; None for any.
    """

    ae_title: str
    open: OpenDestination
    transfer_syntaxes: Collection[str] | None = None


Destinations: TypeAlias = Mapping[str, Destination | None]
"""By AE title; None for one whose address is not known."""


def services(retriever: Retriever, destinations: Destinations) -> Services:
    """The C-MOVE SCP of every information model."""
    service = partial(move, retriever, destinations)
    return {(sop_class_uid, CMoveRq): service for sop_class_uid in sorted(MOVE)}


def move(retriever: Retriever, destinations: Destinations, request: Request) -> Sink | None:
    """Begin a C-MOVE: its Identifier follows. Refused at once where the destination is not known."""
    command, association = request.command, request.association
    if not isinstance(command, CMoveRq):
        return None
    title = command.move_destination
    destination = destinations.get(title)
    if destination is None:
        known = title in destinations
        why = "has no host and port here" if known else "is not known here"
        refuse(request, status.MOVE_DESTINATION_UNKNOWN, f"Move Destination {title[:16]!a} {why}")
        return None

    async def carry(instances: Sequence[Instance], operations: SubOperations) -> None:
        await deliver(
            instances,
            lambda contexts: destination.open(contexts, association.called_ae_title),
            operations.report,
            priority=command.priority,
            move_originator=MoveOriginator(association.calling_ae_title, command.message_id),
            syntaxes=destination.transfer_syntaxes,
            stopped=lambda: operations.cancelled,
        )

    return retriever.begin(request, carry, receiver=destination.ae_title)
