"""C-STORE as SCU: the plan of contexts, the choice among those accepted, deliveries by outcome."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import pytest

from dicomwire.association.invoker import Response
from dicomwire.association.requestor import Context
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from dicomwire.errors import Aborted, ConnectionRefused, NoAcceptedContext
from dicomwire.services.instances import DataSet, Instance
from dicomwire.services.sending import Delivery, MoveOriginator, Outcome, choose, deliver, plan, send
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_TRANSFER_SYNTAXES,
    storage_sop_classes,
)
from tests.services.fakes import CT, MR, FakeAssociation, context

JPEG2000 = "1.2.840.10008.1.2.4.90"
JPEG_LS = "1.2.840.10008.1.2.4.80"
BOTH = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
EXPLICIT = bytes.fromhex("0800 6000 4353 0200") + b"CT"  # Modality
IMPLICIT = bytes.fromhex("0800 6000 0200 0000") + b"CT"


def instance(
    number: int = 1, sop_class_uid: str = CT, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, data: bytes = EXPLICIT
) -> Instance:
    @contextmanager
    def opened() -> Iterator[DataSet]:
        view = memoryview(data)
        yield DataSet(view, lambda: iter([view[:3], view[3:]]))

    return Instance(f"file {number}", sop_class_uid, f"1.2.{number}", syntax, len(data), opened)


async def sent(association: FakeAssociation, *instances: Instance, **options: object) -> list[Delivery]:
    deliveries: list[Delivery] = []
    await send(association, deque(instances), deliveries.append, **options)
    return deliveries


def test_each_stored_syntax_has_its_own_context_and_each_class_one_with_the_uncompressed() -> None:
    (load,) = plan(
        [instance(1), instance(2, syntax=JPEG2000), instance(3), instance(4, MR, IMPLICIT_VR_LITTLE_ENDIAN)]
    )
    assert load.contexts == (
        Context(CT, (EXPLICIT_VR_LITTLE_ENDIAN,)),
        Context(CT, (JPEG2000,)),
        Context(CT, BOTH),
        Context(MR, (IMPLICIT_VR_LITTLE_ENDIAN,)),
        Context(MR, BOTH),
    )
    assert [one.name for one in load.instances] == ["file 1", "file 2", "file 3", "file 4"]


def test_more_than_128_contexts_are_spread_over_several_associations() -> None:
    instances = [instance(number, uid) for number, uid in enumerate(storage_sop_classes())]
    loads = plan(instances)
    assert len(loads) == -(-2 * len(instances) // 128)
    assert all(len(load.contexts) <= 128 for load in loads)
    assert [one for load in loads for one in load.instances] == instances
    for load in loads:
        proposed = {one.abstract_syntax for one in load.contexts}
        assert {one.sop_class_uid for one in load.instances} == proposed


def test_class_with_every_syntax_stays_in_one_association() -> None:
    several = [instance(number, CT, syntax) for number, syntax in enumerate(STORAGE_TRANSFER_SYNTAXES)]
    others = [instance(number, uid) for number, uid in enumerate(storage_sop_classes()[:40])]
    assert all(len({load.instances.index(one) for one in load.instances}) for load in plan(others + several))
    homes = [
        load for load in plan(others + several) if any(one.sop_class_uid == CT for one in load.instances)
    ]
    assert len(homes) == 1


def test_nothing_to_send_needs_no_association() -> None:
    assert plan([]) == []


@pytest.mark.parametrize(
    ("stored", "accepted", "chosen"),
    [
        (JPEG2000, [EXPLICIT_VR_LITTLE_ENDIAN, JPEG2000], JPEG2000),
        (JPEG2000, [EXPLICIT_VR_LITTLE_ENDIAN, JPEG_LS], None),
        (
            IMPLICIT_VR_LITTLE_ENDIAN,
            [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN],
            IMPLICIT_VR_LITTLE_ENDIAN,
        ),
        (IMPLICIT_VR_LITTLE_ENDIAN, [EXPLICIT_VR_LITTLE_ENDIAN], EXPLICIT_VR_LITTLE_ENDIAN),
        (EXPLICIT_VR_BIG_ENDIAN, [IMPLICIT_VR_LITTLE_ENDIAN], IMPLICIT_VR_LITTLE_ENDIAN),
        (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, [IMPLICIT_VR_LITTLE_ENDIAN], IMPLICIT_VR_LITTLE_ENDIAN),
        (EXPLICIT_VR_LITTLE_ENDIAN, [JPEG2000], None),
        ("1.2.3.4.5", [EXPLICIT_VR_LITTLE_ENDIAN], None),
        ("1.2.3.4.5", ["1.2.3.4.5"], "1.2.3.4.5"),
        (EXPLICIT_VR_LITTLE_ENDIAN, [], None),
    ],
)
def test_stored_syntax_is_chosen_first_and_uncompressed_for_uncompressed(
    stored: str, accepted: list[str], chosen: str | None
) -> None:
    contexts = [context(CT, syntax, 2 * number + 1) for number, syntax in enumerate(accepted)]
    found = choose(contexts, stored)
    assert (found.transfer_syntax if found else None) == chosen


async def test_what_is_accepted_as_stored_goes_out_bit_for_bit() -> None:
    association = FakeAssociation([context(CT, JPEG2000, 5), context(CT, EXPLICIT_VR_LITTLE_ENDIAN, 7)])
    (delivery,) = await sent(association, instance(syntax=JPEG2000, data=b"whatever"))
    assert association.sent == [(5, CStoreRq(0, CT, "1.2.1"), b"whatever")]
    assert (delivery.outcome, delivery.status, delivery.reason) == (Outcome.STORED, 0, "")
    assert delivery.transfer_syntax_uid == JPEG2000


@pytest.mark.parametrize(
    ("syntax", "expected"),
    [(DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, b"odd\0"), (JPEG2000, b"odd"), ("1.2.3.4.5", b"odd")],
)
async def test_deflated_data_set_of_odd_length_is_made_even_and_no_other(
    syntax: str, expected: bytes
) -> None:
    association = FakeAssociation([context(CT, syntax)])
    await sent(association, instance(syntax=syntax, data=b"odd"))
    assert association.sent[0][2] == expected


@pytest.mark.parametrize(
    ("target", "stored", "data", "expected"),
    [
        (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT, IMPLICIT),
        (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, IMPLICIT, EXPLICIT),
        (
            IMPLICIT_VR_LITTLE_ENDIAN,
            EXPLICIT_VR_BIG_ENDIAN,
            bytes.fromhex("0008 0060 4353 0002") + b"CT",
            IMPLICIT,
        ),
    ],
)
async def test_uncompressed_is_converted_where_only_another_uncompressed_is_taken(
    target: str, stored: str, data: bytes, expected: bytes
) -> None:
    association = FakeAssociation([context(CT, target)])
    (delivery,) = await sent(association, instance(syntax=stored, data=data))
    assert delivery.outcome is Outcome.STORED
    assert association.sent[0][2] == expected


async def test_compressed_that_is_not_taken_is_not_accepted_with_the_syntaxes_named() -> None:
    association = FakeAssociation([context(CT, EXPLICIT_VR_LITTLE_ENDIAN), context(CT, JPEG_LS, 3)])
    (delivery,) = await sent(association, instance(syntax=JPEG2000))
    assert delivery.outcome is Outcome.NO_CONTEXT
    for words in ("JPEG 2000", "Explicit VR Little Endian", "JPEG-LS", "CT Image Storage"):
        assert words in delivery.reason
    assert association.sent == []


async def test_class_that_is_not_taken_is_named() -> None:
    (delivery,) = await sent(FakeAssociation([context(MR)]), instance())
    assert (delivery.outcome, delivery.reason) == (
        Outcome.NO_CONTEXT,
        "the peer does not take CT Image Storage",
    )


@pytest.mark.parametrize(
    ("status", "comment", "outcome", "reason"),
    [
        (0x0000, None, Outcome.STORED, ""),
        (0xB000, None, Outcome.WARNING, "B000H Coercion of Data Elements"),
        (0xB007, "no rows", Outcome.WARNING, "B007H Data Set does not match SOP Class: no rows"),
        (0xA700, "disk full", Outcome.REFUSED, "A700H Refused: Out of resources: disk full"),
        (0xC123, None, Outcome.REFUSED, "C123H Error: Cannot understand"),
        (0x0124, None, Outcome.REFUSED, "0124H Refused: not authorized"),
        (0xFF00, None, Outcome.REFUSED, "FF00H Pending"),
    ],
)
async def test_answer_decides_the_outcome(
    status: int, comment: str | None, outcome: Outcome, reason: str
) -> None:
    answer = Response(CStoreRsp(1, status, error_comment=comment))
    (delivery,) = await sent(FakeAssociation([context()], answer=lambda *_: answer), instance())
    assert (delivery.outcome, delivery.reason, delivery.status) == (outcome, reason, status)


async def test_priority_and_move_originator_are_sent() -> None:
    association = FakeAssociation([context()])
    await sent(association, instance(), priority=2, move_originator=MoveOriginator("VIEWER", 9))
    assert association.sent[0][1] == CStoreRq(0, CT, "1.2.1", 2, "VIEWER", 9)


@pytest.mark.parametrize(("window", "most"), [(1, 1), (3, 3), (0, 8), (50, 8)])
async def test_window_that_was_granted_is_used(window: int, most: int) -> None:
    association = FakeAssociation([context()], window=window)
    deliveries = await sent(association, *(instance(number) for number in range(8)))
    assert len(deliveries) == 8
    assert association.most_under_way == most


async def test_file_that_cannot_be_read_any_more_fails_alone() -> None:
    @contextmanager
    def gone() -> Iterator[DataSet]:
        raise FileNotFoundError("gone")
        yield

    lost = Instance("lost", CT, "1.2.9", EXPLICIT_VR_LITTLE_ENDIAN, 0, gone)
    deliveries = await sent(FakeAssociation([context()]), lost, instance())
    assert [(one.outcome, one.reason) for one in deliveries] == [
        (Outcome.FAILED, "gone"),
        (Outcome.STORED, ""),
    ]


class Peer:
    """Opens fake associations, which end at the instances in `fatal`."""

    def __init__(self, *fatal: str, refuses: Exception | None = None) -> None:
        self.opened: list[Sequence[Context]] = []
        self.associations: list[FakeAssociation] = []
        self._fatal = fatal
        self._refuses = refuses

    @asynccontextmanager
    async def open(self, contexts: Sequence[Context]) -> AsyncIterator[FakeAssociation]:
        self.opened.append(contexts)
        if self._refuses is not None:
            raise self._refuses
        accepted = [
            context(one.abstract_syntax, one.transfer_syntaxes[0], 2 * number + 1)
            for number, one in enumerate(contexts)
        ]
        self.associations.append(FakeAssociation(accepted, answer=self._answer))
        yield self.associations[-1]

    def _answer(self, command: CStoreRq, data: bytes) -> Response:
        if command.affected_sop_instance_uid in self._fatal:
            raise Aborted("aborted by the peer", source=0, reason=0)
        return Response(CStoreRsp(1, 0))


async def delivered(
    peer: Peer, *instances: Instance, stopped: Callable[[], bool] = lambda: False
) -> list[Delivery]:
    deliveries: list[Delivery] = []
    await deliver(instances, peer.open, deliveries.append, stopped=stopped)
    return deliveries


async def test_everything_is_delivered_over_one_association() -> None:
    peer = Peer()
    deliveries = await delivered(peer, *(instance(number) for number in range(5)))
    assert [one.outcome for one in deliveries] == [Outcome.STORED] * 5
    assert len(peer.opened) == 1


async def test_association_that_is_aborted_costs_one_instance_and_the_rest_gets_a_new_one() -> None:
    peer = Peer("1.2.2")
    deliveries = await delivered(peer, *(instance(number) for number in range(5)))
    assert [one.outcome.name for one in deliveries] == ["STORED", "STORED", "FAILED", "STORED", "STORED"]
    assert deliveries[2].reason == "aborted by the peer"
    assert len(peer.opened) == 2


async def test_associations_that_bring_no_answer_end_the_attempts() -> None:
    peer = Peer(*(f"1.2.{number}" for number in range(5)))
    deliveries = await delivered(peer, *(instance(number) for number in range(5)))
    assert [one.outcome for one in deliveries] == [Outcome.FAILED] * 5
    assert len(peer.opened) == 1


async def test_peer_that_cannot_be_reached_fails_all_with_the_reason() -> None:
    deliveries = await delivered(
        Peer(refuses=ConnectionRefused("nobody listens there")), instance(1), instance(2)
    )
    assert [(one.outcome, one.reason) for one in deliveries] == [(Outcome.FAILED, "nobody listens there")] * 2


async def test_peer_that_accepts_no_context_accepts_no_instance() -> None:
    deliveries = await delivered(Peer(refuses=NoAcceptedContext("no context")), instance(1))
    assert [(one.outcome, one.reason) for one in deliveries] == [(Outcome.NO_CONTEXT, "no context")]


async def test_instances_without_a_context_are_told_and_no_second_association_is_tried() -> None:
    peer = Peer()
    strange = instance(1, syntax="1.2.3.4.5")
    deliveries = await delivered(peer, strange, instance(2))
    assert [one.outcome for one in deliveries] == [Outcome.STORED, Outcome.STORED]
    assert len(peer.opened) == 1


async def test_stopping_begins_no_other_instance() -> None:
    deliveries: list[Delivery] = []
    peer = Peer()
    await deliver(
        [instance(number) for number in range(5)],
        peer.open,
        deliveries.append,
        stopped=lambda: len(deliveries) >= 2,
    )
    assert len(deliveries) == 2
    assert len(peer.opened) == 1


async def test_next_instance_is_ready_before_the_answer_to_the_one_before() -> None:
    opened: list[str] = []
    answered: list[list[str]] = []

    def watched(number: int) -> Instance:
        @contextmanager
        def noted() -> Iterator[DataSet]:
            opened.append(f"open {number}")
            yield DataSet(memoryview(EXPLICIT), lambda: iter([EXPLICIT]))
            opened.append(f"close {number}")

        return Instance(f"{number}", CT, f"1.2.{number}", EXPLICIT_VR_LITTLE_ENDIAN, len(EXPLICIT), noted)

    def answer(command: CStoreRq, data: bytes) -> Response:
        answered.append(list(opened))
        return Response(CStoreRsp(1, 0))

    await sent(FakeAssociation([context()], answer=answer), *(watched(number) for number in (1, 2, 3)))
    assert answered[0] == ["open 1", "open 2"]
    assert opened == ["open 1", "open 2", "close 1", "open 3", "close 2", "close 3"]


async def test_what_was_made_ready_in_vain_is_put_back_and_closed() -> None:
    closed: list[str] = []

    def watched(number: int) -> Instance:
        @contextmanager
        def noted() -> Iterator[DataSet]:
            try:
                yield DataSet(memoryview(EXPLICIT), lambda: iter([EXPLICIT]))
            finally:
                closed.append(f"1.2.{number}")

        return Instance(f"{number}", CT, f"1.2.{number}", EXPLICIT_VR_LITTLE_ENDIAN, len(EXPLICIT), noted)

    deliveries: list[Delivery] = []
    instances = deque(watched(number) for number in (1, 2, 3))
    association = FakeAssociation([context()])
    await send(association, instances, deliveries.append, stopped=lambda: bool(deliveries))
    assert [one.instance.name for one in deliveries] == ["1"]
    assert [one.name for one in instances] == ["2", "3"]
    assert closed == ["1.2.1", "1.2.2"]


async def test_data_set_that_cannot_be_converted_fails_before_anything_is_sent() -> None:
    association = FakeAssociation([context(CT, IMPLICIT_VR_LITTLE_ENDIAN)])
    broken = instance(1, data=EXPLICIT[:-1])
    deliveries = await sent(association, broken, instance(2))
    assert [one.outcome for one in deliveries] == [Outcome.FAILED, Outcome.STORED]
    assert association.ended is None
