"""Storage Service Class, SCU: contexts planned, instances sent, deliveries told (PS3.4 B, PS3.7 9.1.1).

Each stored transfer syntax has a presentation context of its own, and each SOP class one with uncompressed
ones, Implicit VR Little Endian among them (PS3.5 10.1). One instance and its way out is `parcel`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias

from dicomwire.association.association import Association
from dicomwire.association.requestor import MOST_CONTEXTS, Context
from dicomwire.dimse.command import Priority
from dicomwire.errors import AssociationError, NoAcceptedContext
from dicomwire.services.instances import Instance
from dicomwire.services.parcel import Delivery, MoveOriginator, Outcome, Routes, choose, pack
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

__all__ = [
    "Delivery",
    "Load",
    "MoveOriginator",
    "OpenAssociation",
    "Outcome",
    "Report",
    "choose",
    "deliver",
    "plan",
    "send",
    "store",
]

UNCOMPRESSED: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)  # proposed for every SOP class
WINDOW: Final = 16  # instances under way at once where the peer sets no limit


@dataclass(frozen=True, slots=True)
class Load:
    """What one association carries."""

    contexts: tuple[Context, ...]
    instances: tuple[Instance, ...]


OpenAssociation: TypeAlias = Callable[[Sequence[Context]], AbstractAsyncContextManager[Association]]
Report: TypeAlias = Callable[[Delivery], None]


def plan(instances: Iterable[Instance], syntaxes: Collection[str] | None = None) -> list[Load]:
    """Spread instances over associations of at most 128 contexts; a SOP class stays in one.

    Args:
        syntaxes: the only ones to propose; None for any.
    """
    by_class: dict[str, list[Instance]] = {}
    for instance in instances:
        by_class.setdefault(instance.sop_class_uid, []).append(instance)
    loads: list[Load] = []
    contexts: list[Context] = []
    carried: list[Instance] = []
    for sop_class_uid, members in by_class.items():
        wanted = _contexts(sop_class_uid, members, syntaxes)
        if len(contexts) + len(wanted) > MOST_CONTEXTS:
            loads.append(Load(tuple(contexts), tuple(carried)))
            contexts, carried = [], []
        contexts += wanted
        carried += members
    if carried:
        loads.append(Load(tuple(contexts), tuple(carried)))
    return loads


def _contexts(
    sop_class_uid: str, instances: Iterable[Instance], syntaxes: Collection[str] | None
) -> list[Context]:
    stored = dict.fromkeys(instance.transfer_syntax_uid for instance in instances)
    if syntaxes is None:
        own = [Context(sop_class_uid, (transfer_syntax_uid,)) for transfer_syntax_uid in stored]
        return [*own, Context(sop_class_uid, UNCOMPRESSED)]
    wanted = [*(uid for uid in stored if uid in syntaxes), *(uid for uid in syntaxes if uid not in stored)]
    return [Context(sop_class_uid, (transfer_syntax_uid,)) for transfer_syntax_uid in wanted]


async def deliver(
    instances: Iterable[Instance],
    open_association: OpenAssociation,
    report: Report,
    *,
    priority: int = Priority.MEDIUM,
    move_originator: MoveOriginator | None = None,
    syntaxes: Collection[str] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Send instances over as many associations as it takes.

    An association that ends in the middle costs the instances under way. The others get a new one, as long as
    each brings an answer.

    Args:
        open_association: requests an association with these contexts, released behind its `async with`.
        report: told of each instance, in the order in which they end.
        syntaxes: the only ones to propose; None for any.
        stopped: asked before each instance; once it is true no other is begun, nor reported.

    Source: PS3.4 B, PS3.7 9.1.1.
    """
    for load in plan(instances, syntaxes):
        rest = deque(load.instances)
        while rest and not stopped():
            answered = 0
            error: AssociationError | None = None
            try:
                async with open_association(load.contexts) as association:
                    answered = await send(
                        association,
                        rest,
                        report,
                        priority=priority,
                        move_originator=move_originator,
                        stopped=stopped,
                    )
                    error = association.ended
            except AssociationError as raised:
                error = raised
            if not answered and not stopped():
                outcome = Outcome.NO_CONTEXT if isinstance(error, NoAcceptedContext) else Outcome.FAILED
                reason = str(error or "the association ended before it was sent")
                while rest:
                    report(Delivery(rest.popleft(), outcome, reason, error=error))


async def send(
    association: Association,
    instances: deque[Instance],
    report: Report,
    *,
    priority: int = Priority.MEDIUM,
    move_originator: MoveOriginator | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Send instances over one association, as many at once as its window allows.

    Args:
        instances: taken from the left as they are begun; what is left at the end was not, because the
            association is over or `stopped` said so.
        report, stopped: as of `deliver`.

    Returns: how many instances were answered.
    """
    answered = 0
    routes = Routes(association)

    def goes_on() -> bool:
        return association.ended is None and not stopped()

    async def work() -> None:
        nonlocal answered
        while instances and goes_on():
            instance = instances.popleft()
            parcel = await pack(routes, instance, priority, move_originator)
            delivery = await parcel.deliver(association, goes_on)
            if delivery is None:
                instances.appendleft(instance)
                return
            answered += delivery.status is not None
            report(delivery)

    # One more than the window: it is made ready while the peer is busy, and goes out behind the next answer.
    window = min(association.agreement.invoke or WINDOW, WINDOW) + 1
    async with asyncio.TaskGroup() as group:
        for _ in range(min(window, len(instances))):
            group.create_task(work())
    return answered


async def store(
    association: Association,
    instance: Instance,
    priority: int = Priority.MEDIUM,
    move_originator: MoveOriginator | None = None,
) -> Delivery:
    """Send one instance and wait for its answer; never raises for what is wrong with either side."""
    parcel = await pack(Routes(association), instance, priority, move_originator)
    delivery = await parcel.deliver(association)
    return delivery or Delivery(instance, Outcome.FAILED, str(association.ended), error=association.ended)
