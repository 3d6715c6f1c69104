"""Storage Service Class, SCU: contexts planned, instances sent, deliveries told (PS3.4 B, PS3.7 9.1.1).

Each stored transfer syntax has a presentation context of its own, and each SOP class one with uncompressed
ones, Implicit VR Little Endian among them (PS3.5 10.1). What the peer takes as it is stored goes out bit for
bit; what is stored uncompressed is converted where it must be; nothing is compressed, decompressed or left
out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Final, TypeAlias

from dicomwire.association.association import Association
from dicomwire.association.requestor import MOST_CONTEXTS, Context
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dimse import status
from dicomwire.dimse.command import CStoreRq, Priority
from dicomwire.dimse.status import StatusClass
from dicomwire.errors import AssociationError, DicomwireError, NoAcceptedContext
from dicomwire.services.instances import Instance
from dicomwire.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    name_of,
)
from dicomwire.upper_layer.negotiation import AcceptedContext

UNCOMPRESSED: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)  # proposed for every SOP class
CONVERTIBLE: Final = (
    UNCOMPRESSED_TRANSFER_SYNTAXES  # in the order of preference where the stored one is not taken
)
DEFLATED: Final = frozenset(uid for uid, syntax in TRANSFER_SYNTAXES.items() if syntax.deflated)
WINDOW: Final = 16  # instances under way at once where the peer sets no limit


class Outcome(Enum):
    """How a delivery ended."""

    STORED = "stored"
    WARNING = "stored with a warning"
    REFUSED = "refused"
    NO_CONTEXT = "not accepted"
    FAILED = "failed"


_OUTCOMES: Final = {StatusClass.SUCCESS: Outcome.STORED, StatusClass.WARNING: Outcome.WARNING}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one instance.

    Attributes:
        reason: words why it was not simply stored; "" where it was.
        status: of the C-STORE-RSP; None where there was none.
        transfer_syntax_uid: in which it was sent; "" where it was not.
    """

    instance: Instance
    outcome: Outcome
    reason: str = ""
    status: int | None = None
    transfer_syntax_uid: str = ""


@dataclass(frozen=True, slots=True)
class MoveOriginator:
    """Whose C-MOVE is the reason for a C-STORE (PS3.7 Table 9.3-1)."""

    ae_title: str
    message_id: int


@dataclass(frozen=True, slots=True)
class Load:
    """What one association carries."""

    contexts: tuple[Context, ...]
    instances: tuple[Instance, ...]


OpenAssociation: TypeAlias = Callable[[Sequence[Context]], AbstractAsyncContextManager[Association]]
Report: TypeAlias = Callable[[Delivery], None]


def plan(instances: Iterable[Instance]) -> list[Load]:
    """Spread instances over associations of at most 128 contexts; a SOP class stays in one."""
    by_class: dict[str, list[Instance]] = {}
    for instance in instances:
        by_class.setdefault(instance.sop_class_uid, []).append(instance)
    loads: list[Load] = []
    contexts: list[Context] = []
    carried: list[Instance] = []
    for sop_class_uid, members in by_class.items():
        wanted = _contexts(sop_class_uid, members)
        if len(contexts) + len(wanted) > MOST_CONTEXTS:
            loads.append(Load(tuple(contexts), tuple(carried)))
            contexts, carried = [], []
        contexts += wanted
        carried += members
    if carried:
        loads.append(Load(tuple(contexts), tuple(carried)))
    return loads


def _contexts(sop_class_uid: str, instances: Iterable[Instance]) -> list[Context]:
    stored = dict.fromkeys(instance.transfer_syntax_uid for instance in instances)
    own = [Context(sop_class_uid, (transfer_syntax_uid,)) for transfer_syntax_uid in stored]
    return [*own, Context(sop_class_uid, UNCOMPRESSED)]


async def deliver(
    instances: Iterable[Instance],
    open_association: OpenAssociation,
    report: Report,
    *,
    priority: int = Priority.MEDIUM,
    move_originator: MoveOriginator | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Send instances over as many associations as it takes.

    An association that ends in the middle costs the instances under way. The others get a new one, as long as
    each brings an answer.

    Args:
        open_association: requests an association with these contexts, released behind its `async with`.
        report: told of each instance, in the order in which they end.
        stopped: asked before each instance; once it is true no other is begun, nor reported.

    Source: PS3.4 B, PS3.7 9.1.1.
    """
    for load in plan(instances):
        rest = deque(load.instances)
        while rest and not stopped():
            answered = 0
            reason = "the association ended before it was sent"
            outcome = Outcome.FAILED
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
            except NoAcceptedContext as error:
                outcome, reason = Outcome.NO_CONTEXT, str(error)
            except AssociationError as error:
                reason = str(error)
            if not answered and not stopped():
                while rest:
                    report(Delivery(rest.popleft(), outcome, reason))


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

    async def work() -> None:
        nonlocal answered
        while instances and association.ended is None and not stopped():
            delivery = await store(association, instances.popleft(), priority, move_originator)
            answered += delivery.status is not None
            report(delivery)

    window = min(association.agreement.invoke or WINDOW, WINDOW, len(instances))
    async with asyncio.TaskGroup() as group:
        for _ in range(window):
            group.create_task(work())
    return answered


async def store(
    association: Association,
    instance: Instance,
    priority: int = Priority.MEDIUM,
    move_originator: MoveOriginator | None = None,
) -> Delivery:
    """Send one instance and wait for its answer; never raises for what is wrong with either side."""
    context = choose(association.contexts_for(instance.sop_class_uid), instance.transfer_syntax_uid)
    if context is None:
        return Delivery(instance, Outcome.NO_CONTEXT, _no_context(association, instance))
    command = CStoreRq(
        0,
        instance.sop_class_uid,
        instance.sop_instance_uid,
        priority,
        move_originator.ae_title if move_originator is not None else None,
        move_originator.message_id if move_originator is not None else None,
    )
    target = context.transfer_syntax
    try:
        with instance.open() as data_set:
            pieces = data_set.pieces()
            if target != instance.transfer_syntax_uid:
                pieces = map(
                    memoryview, to_transfer_syntax(data_set.view, instance.transfer_syntax_uid, target)
                )
            elif instance.length & 1 and target in DEFLATED:
                # DCMTK 3.6.7 aborts on an odd fragment (pydicom's image_dfl.dcm); inflating ignores a NUL.
                pieces = chain(pieces, (b"\0",))
            response = await association.request(context.presentation_context_id, command, pieces)
    except (DicomwireError, OSError) as error:
        return Delivery(instance, Outcome.FAILED, str(error), transfer_syntax_uid=target)
    code = response.status
    outcome = _OUTCOMES.get(status.status_class(status.STORE, code), Outcome.REFUSED)
    words = (status.words(status.STORE, code), response.command.error_comment)
    reason = "" if outcome is Outcome.STORED else ": ".join(word for word in words if word)
    return Delivery(instance, outcome, reason, code, target)


def choose(contexts: Iterable[AcceptedContext], transfer_syntax_uid: str) -> AcceptedContext | None:
    """The context to send an instance in: its stored syntax, else an uncompressed one if it is uncompressed.

    Args:
        contexts: the accepted ones of the instance's SOP class.
        transfer_syntax_uid: in which the instance is stored.
    """
    by_syntax = {context.transfer_syntax: context for context in contexts if context.scu_role}
    if transfer_syntax_uid in by_syntax:
        return by_syntax[transfer_syntax_uid]
    stored = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    if stored is None or stored.encapsulated:
        return None
    return next((by_syntax[target] for target in CONVERTIBLE if target in by_syntax), None)


def _no_context(association: Association, instance: Instance) -> str:
    taken = [context.transfer_syntax for context in association.contexts_for(instance.sop_class_uid)]
    name = name_of(instance.sop_class_uid)
    if not taken:
        return f"the peer does not take {name}"
    syntaxes = ", ".join(name_of(uid) for uid in dict.fromkeys(taken))
    return f"stored as {name_of(instance.transfer_syntax_uid)}; the peer takes {name} only as {syntaxes}"
