"""C-MOVE over the wire: what arrives where, what is told of it, and every way in which it can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicomwire.association.options import Check, Timeouts
from dicomwire.association.requestor import RequestorOptions
from dicomwire.association.tls import client_context
from dicomwire.dimse.command import CMoveRq, CStoreRq
from dicomwire.services import retrieval
from dicomwire.services.selection import (
    COMPOSITE_INSTANCE_ROOT_MOVE,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_MOVE,
    STUDY_ROOT_MOVE,
)
from dicomwire.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    storage_sop_classes,
)
from dicomwire.upper_layer.negotiation import AcceptorPolicy
from tests.services.retrieving import (
    CT,
    MR,
    SERIES,
    STUDY,
    Node,
    Receiver,
    accepting,
    answers,
    counters,
    decoded,
    destination,
    encoded,
    image,
    keep,
    listening,
    read_by_peer,
    responses,
    serving,
)

MPEG2 = "1.2.840.10008.1.2.4.100"
WHOLE_STUDY = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": STUDY}


OF_P1 = ["1.1.1", "1.1.2", "1.2.1"]
FRAGMENTS = bytes.fromhex(
    "E07F1000 4F420000 FFFFFFFF FEFF00E000000000 FEFF00E002000000 FFD8 FEFFDDE000000000"
)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with serving(tmp_path) as there:
        yield there


async def filled(node: Node, count: int = 3, **more: object) -> None:
    for number in range(1, count + 1):
        await keep(node.archive, image(number, **more))


async def test_study_arrives_bit_for_bit_with_exact_counters_and_its_originator(node: Node) -> None:
    await filled(node, 3, size=100_001)
    receiver = Receiver()
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        told = await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY)
    assert [one.status for one in told] == [0xFF00] * 3 + [0x0000]
    assert [counters(one) for one in told] == [
        (3, 0, 0, 0),
        (2, 1, 0, 0),
        (1, 2, 0, 0),
        (None, 3, 0, 0),
    ]
    assert receiver.data_sets == {
        f"{SERIES}.{number}": encoded(image(number, size=100_001), implicit=False) for number in (1, 2, 3)
    }
    for command in receiver.commands:
        assert command.move_originator_application_entity_title == "VIEWER"
        assert command.move_originator_message_id == told[0].message_id_being_responded_to
        assert command.priority == 1
    (arrived,) = receiver.associations
    assert (arrived.calling_ae_title, arrived.called_ae_title) == ("NODE", "RECEIVER")
    assert node.counts == {"stored": 3}


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        (
            PATIENT_ROOT_MOVE,
            {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"},
            ["1.1.1", "1.1.2", "1.2.1"],
        ),
        (
            PATIENT_ROOT_MOVE,
            {"QueryRetrieveLevel": "STUDY", "PatientID": "P2", "StudyInstanceUID": ["1", "2"]},
            ["2.1.1"],
        ),
        (PATIENT_STUDY_ONLY_MOVE, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P2"}, ["2.1.1"]),
        (
            STUDY_ROOT_MOVE,
            {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ["1", "2", "3"]},
            ["1.1.1", "1.1.2", "1.2.1", "2.1.1"],
        ),
        (
            STUDY_ROOT_MOVE,
            {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1", "SeriesInstanceUID": "1.1"},
            ["1.1.1", "1.1.2"],
        ),
        (
            STUDY_ROOT_MOVE,
            {
                "QueryRetrieveLevel": "IMAGE",
                "StudyInstanceUID": "1",
                "SeriesInstanceUID": "1.1",
                "SOPInstanceUID": ["1.1.2", "1.2.1"],
            },
            ["1.1.2"],
        ),
        (
            COMPOSITE_INSTANCE_ROOT_MOVE,
            {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": ["2.1.1", "1.2.1"]},
            ["1.2.1", "2.1.1"],
        ),
    ],
)
async def test_each_level_selects_what_its_keys_say(
    node: Node, model: str, asked: dict[str, object], expected: list[str]
) -> None:
    for patient, study, series, number in (
        ("P1", "1", "1.1", 1),
        ("P1", "1", "1.1", 2),
        ("P1", "1", "1.2", 1),
        ("P2", "2", "2.1", 1),
    ):
        await keep(node.archive, image(number, patient=patient, study=study, series=series))
    receiver = Receiver()
    async with listening(receiver.services()) as there, node.association(model) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        told = await answers(association, model, asked)
    assert (told[-1].status, sorted(receiver.data_sets)) == (0, expected)


async def test_nothing_that_matches_is_a_success_with_zero_counts_and_no_association(node: Node) -> None:
    node.destinations["RECEIVER"] = destination(1)
    async with node.association(STUDY_ROOT_MOVE) as association:
        told = await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY)
    assert [(one.status, counters(one)) for one in told] == [(0, (None, 0, 0, 0))]


@pytest.mark.parametrize(
    ("to", "words"),
    [("ELSEWHERE", "'ELSEWHERE' is not known here"), ("SILENT", "'SILENT' has no host and port here")],
)
async def test_unknown_destination_is_a801(node: Node, to: str, words: str) -> None:
    node.destinations["SILENT"] = None
    async with node.association(STUDY_ROOT_MOVE) as association:
        (told,) = await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY, to)
        assert (told.status, told.error_comment) == (0xA801, f"Move Destination {words}")
        assert association.ended is None


async def test_destination_that_refuses_connections_is_a702_with_all_failed(
    node: Node, unused_tcp_port: int
) -> None:
    await filled(node, 2)
    node.destinations["RECEIVER"] = destination(unused_tcp_port)
    async with node.association(STUDY_ROOT_MOVE) as association:
        *_, last = await responses(association, STUDY_ROOT_MOVE, WHOLE_STUDY)
    told = last.command
    assert (told.status, counters(told)) == (0xA702, (None, 0, 2, 0))
    assert told.error_comment == f"127.0.0.1:{unused_tcp_port} refuses connections: nobody listens there"
    assert list(decoded(last.data).FailedSOPInstanceUIDList) == [f"{SERIES}.1", f"{SERIES}.2"]


async def test_destination_that_never_answers_is_a702_with_the_step(node: Node) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    await filled(node, 1)
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    options = RequestorOptions(timeouts=Timeouts(artim=0.05))
    async with server, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(server.sockets[0].getsockname()[1], options=options)
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert (told.status, told.error_comment) == (0xA702, "no A-ASSOCIATE-AC or A-ASSOCIATE-RJ within 0.05 s")


async def test_destination_that_never_answers_an_instance_fails_all_and_does_not_hang(node: Node) -> None:
    await filled(node, 3)
    receiver = Receiver(waiting=asyncio.Event())
    options = RequestorOptions(timeouts=Timeouts(dimse=0.05))
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port, options=options)
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert (told.status, counters(told)) == (0xA702, (None, 0, 3, 0))
    assert told.error_comment == "no answer to C-STORE-RQ 1 within 0.05 s"
    assert len(receiver.associations) == 1


async def test_destination_without_the_tls_that_is_configured_is_a702(node: Node) -> None:
    await filled(node, 1)
    options = RequestorOptions(tls=client_context(verify=False))
    async with (
        listening(Receiver().services()) as there,
        node.association(STUDY_ROOT_MOVE) as association,
    ):
        node.destinations["RECEIVER"] = destination(there.port, options=options)
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert told.status == 0xA702
    assert told.error_comment is not None
    assert told.error_comment.startswith("TLS handshake failed")


async def test_rejection_is_a702_with_its_reason(node: Node) -> None:
    await filled(node, 1)
    policy = AcceptorPolicy(supported=dict.fromkeys(storage_sop_classes(), (EXPLICIT_VR_LITTLE_ENDIAN,)))
    async with accepting(policy, {}, "RECEIVER") as there, node.association(STUDY_ROOT_MOVE) as association:
        there.options = replace(there.options, called=Check.LIST)
        node.destinations["RECEIVER"] = destination(there.port, title="SOMEBODY")
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert told.status == 0xA702
    assert told.error_comment == "Rejected: called AE title not recognized (1/1/7)"


async def test_destination_without_any_context_is_a702_and_names_the_class(node: Node) -> None:
    await filled(node, 1)
    async with (
        listening(Receiver().services(), classes=[MR]) as there,
        node.association(STUDY_ROOT_MOVE) as association,
    ):
        node.destinations["RECEIVER"] = destination(there.port)
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert told.status == 0xA702
    assert told.error_comment is not None
    assert told.error_comment.startswith("No context accepted")


async def test_class_without_a_context_fails_alone_as_b000(node: Node) -> None:
    await filled(node, 2)
    await keep(node.archive, image(3, sop_class=MR))
    receiver = Receiver()
    async with (
        listening(receiver.services(), classes=[CT]) as there,
        node.association(STUDY_ROOT_MOVE) as association,
    ):
        node.destinations["RECEIVER"] = destination(there.port)
        with capture_logs() as logs:
            *_, last = await responses(association, STUDY_ROOT_MOVE, WHOLE_STUDY)
    assert (last.status, counters(last.command)) == (0xB000, (None, 2, 1, 0))
    assert last.command.error_comment == "No context: the peer does not take MR Image Storage"
    assert decoded(last.data).FailedSOPInstanceUIDList == f"{SERIES}.3"
    (failure,) = [entry for entry in logs if entry["event"] == "instance not sent"]
    assert failure["receiver"] == "RECEIVER"
    assert failure["sop_instance_uid"] == f"{SERIES}.3"
    assert failure["reason"] == "the peer does not take MR Image Storage"


async def test_what_cannot_become_what_is_taken_fails_with_the_syntaxes_named(node: Node) -> None:
    data = encoded(image(1), implicit=False)[: -64 - 12]
    data += bytes.fromhex(
        "E07F1000 4F420000 FFFFFFFF FEFF00E000000000 FEFF00E002000000 FFD8 FEFFDDE000000000"
    )
    await keep(node.archive, image(1), MPEG2, data)
    await keep(node.archive, image(2))
    receiver = Receiver()
    async with (
        listening(receiver.services(), syntaxes=(EXPLICIT_VR_LITTLE_ENDIAN,)) as there,
        node.association(STUDY_ROOT_MOVE) as association,
    ):
        node.destinations["RECEIVER"] = destination(there.port)
        with capture_logs() as logs:
            told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert (told.status, counters(told)) == (0xB000, (None, 1, 1, 0))
    (failure,) = [entry for entry in logs if entry["event"] == "instance not sent"]
    for name in ("MPEG2", "Explicit VR Little Endian"):
        assert name in failure["reason"]


@pytest.mark.parametrize(
    ("statuses", "code", "expected"),
    [
        ([0, 0xA700, 0], 0xB000, (None, 2, 1, 0)),
        ([0, 0xB000, 0], 0xB000, (None, 2, 0, 1)),
        ([0xB007, 0xB006, 0xB000], 0xB000, (None, 0, 0, 3)),
        ([0xC000, 0xA700, 0x0124], 0xA702, (None, 0, 3, 0)),
    ],
)
async def test_answers_of_the_destination_decide(
    node: Node, statuses: list[int], code: int, expected: tuple[int | None, ...]
) -> None:
    await filled(node, 3)
    left = iter(statuses)
    receiver = Receiver(answer=lambda command: next(left))
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert (told.status, counters(told)) == (code, expected)
    assert told.error_comment is not None or not expected[2]


async def test_association_that_breaks_costs_one_instance(node: Node) -> None:
    await filled(node, 4)
    receiver = Receiver(answer=lambda command: -command.affected_sop_instance_uid.endswith(".2"))
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        *_, last = await responses(association, STUDY_ROOT_MOVE, WHOLE_STUDY)
        assert association.ended is None
    assert (last.status, counters(last.command)) == (0xB000, (None, 3, 1, 0))
    assert decoded(last.data).FailedSOPInstanceUIDList == f"{SERIES}.2"
    assert len(receiver.associations) == 2


async def test_cancel_stops_within_one_sub_operation_and_counts_what_remains(node: Node) -> None:
    await filled(node, 5)
    receiver = Receiver(waiting=asyncio.Event())
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        (context,) = association.contexts
        message_id = association.next_message_id()
        command = CMoveRq(message_id, STUDY_ROOT_MOVE, "RECEIVER")
        invoked = association.requests(context, command, [encoded(WHOLE_STUDY)])
        await anext(invoked)
        await receiver.got(1)
        association.cancel(message_id)
        await read_by_peer()
        receiver.waiting.set()
        told = [response.command async for response in invoked]
        assert association.ended is None
    assert told[-1].status == 0xFE00
    assert counters(told[-1]) == (4, 1, 0, 0)
    assert len(receiver.data_sets) == 1


async def test_pending_answers_come_by_time_while_one_instance_takes_long(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "PENDING_INTERVAL", 0.02)
    await filled(node, 1)
    receiver = Receiver(waiting=asyncio.Event())
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        (context,) = association.contexts
        invoked = association.requests(
            context, CMoveRq(0, STUDY_ROOT_MOVE, "RECEIVER"), [encoded(WHOLE_STUDY)]
        )
        pending = [(await anext(invoked)).command for _ in range(4)]
        receiver.waiting.set()
        assert [counters(one) for one in pending] == [(1, 0, 0, 0)] * 4
        told = [response.command async for response in invoked]
    assert told[-1].status == 0


async def test_pending_answers_of_a_large_move_are_a_hundred_and_exact(node: Node) -> None:
    await filled(node, 250)
    receiver = Receiver()
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        told = await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY)
    assert 100 <= len(told) <= 130
    assert all(sum(part or 0 for part in counters(one)) == 250 for one in told)


async def test_window_is_used_where_it_is_granted(node: Node) -> None:
    await filled(node, 6)
    receiver = Receiver(waiting=asyncio.Event())
    async with (
        listening(receiver.services(), window=4) as there,
        node.association(STUDY_ROOT_MOVE) as association,
    ):
        node.destinations["RECEIVER"] = destination(there.port, options=RequestorOptions(window=(3, 1)))
        moving = asyncio.ensure_future(answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))
        await receiver.got(3)
        receiver.waiting.set()
        told = await moving
    assert (told[-1].status, len(receiver.data_sets)) == (0, 6)


async def test_more_than_128_contexts_go_over_several_associations(node: Node) -> None:
    classes = storage_sop_classes()[:70]
    for number, uid in enumerate(classes):
        await keep(node.archive, image(number, sop_class=uid))
    receiver = Receiver()
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert (told.status, counters(told)) == (0, (None, 70, 0, 0))
    assert len(receiver.associations) == 2


async def test_destination_with_its_own_syntaxes_is_offered_no_other(node: Node) -> None:
    await filled(node, 1)
    receiver = Receiver()
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port, syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN,))
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert told.status == 0
    assert receiver.data_sets == {f"{SERIES}.1": encoded(image(1))}
    (arrived,) = receiver.associations
    assert {one.transfer_syntax for one in arrived.contexts.values()} == {IMPLICIT_VR_LITTLE_ENDIAN}


async def test_removed_between_plan_and_turn_fails_alone(node: Node) -> None:
    await filled(node, 3)
    (gone,) = node.archive.plan(instance=f"{SERIES}.2")

    def answer(command: CStoreRq) -> int:
        if command.affected_sop_instance_uid.endswith(".1"):
            node.archive.remove([gone])
            node.archive.compact(0.0)
        return 0

    receiver = Receiver(answer=answer)
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        told = (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1]
    assert told.status in (0x0000, 0xB000)  # the map may still hold what was unlinked
    assert (told.number_of_completed_suboperations or 0) >= 2


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (b"", 0xA900, "QueryRetrieveLevel (0008,0052) is missing"),
        (b"\xff" * 100, 0xC000, "Identifier: "),
        (bytes.fromhex("0800 2011 FFFFFFFF FEFF 00E0 FFFFFFFF") * 10_000, 0xC000, "more than 64 sequences"),
        ({"QueryRetrieveLevel": "ROOM"}, 0xA900, "'ROOM' is none of"),
        ({"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": "1"}, 0xA900, "StudyInstanceUID (0020,000D)"),
        ({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1*"}, 0xA900, "is no UID"),
        (bytes(2 << 20), 0xA701, "more than 1048576 bytes"),
    ],
    ids=["empty", "garbage", "nested", "level", "key", "wild card", "huge"],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
async def test_bad_identifier_gets_a_status_with_words_and_the_association_lives_on(
    node: Node, asked: bytes | dict[str, object], code: int, words: str
) -> None:
    await filled(node, 1)
    receiver = Receiver()
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        (told,) = await answers(association, STUDY_ROOT_MOVE, asked)
        assert told.status == code
        assert words in (told.error_comment or "")
        assert (await answers(association, STUDY_ROOT_MOVE, WHOLE_STUDY))[-1].status == 0


async def test_thousands_of_uids_are_looked_up(node: Node) -> None:
    await filled(node, 2)
    receiver = Receiver()
    asked = {
        "QueryRetrieveLevel": "IMAGE",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "SOPInstanceUID": [f"{SERIES}.{number}" for number in range(50_000)],
    }
    async with listening(receiver.services()) as there, node.association(STUDY_ROOT_MOVE) as association:
        node.destinations["RECEIVER"] = destination(there.port)
        told = (await answers(association, STUDY_ROOT_MOVE, asked))[-1]
    assert (told.status, counters(told)) == (0, (None, 2, 0, 0))


async def test_relational_retrieval_only_where_it_was_agreed_on(node: Node) -> None:
    await filled(node, 2)
    receiver = Receiver()
    asked = {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": f"{SERIES}.2"}
    async with listening(receiver.services()) as there:
        node.destinations["RECEIVER"] = destination(there.port)
        async with node.association(STUDY_ROOT_MOVE, relational=True) as association:
            assert association.agreement.extended_negotiation == {STUDY_ROOT_MOVE: b"\1"}
            told = (await answers(association, STUDY_ROOT_MOVE, asked))[-1]
        assert (told.status, list(receiver.data_sets)) == (0, [f"{SERIES}.2"])
        async with node.association(STUDY_ROOT_MOVE) as association:
            told = (await answers(association, STUDY_ROOT_MOVE, asked))[-1]
    assert told.status == 0xA900


async def test_requestor_that_goes_away_ends_the_sending(node: Node) -> None:
    await filled(node, 3)
    receiver = Receiver(waiting=asyncio.Event())
    async with listening(receiver.services()) as there:
        node.destinations["RECEIVER"] = destination(there.port)
        async with node.association(STUDY_ROOT_MOVE) as association:
            (context,) = association.contexts
            invoked = association.requests(
                context, CMoveRq(0, STUDY_ROOT_MOVE, "RECEIVER"), [encoded(WHOLE_STUDY)]
            )
            await anext(invoked)
            await receiver.got(1)
            association.abort(why="the test goes away")
            with pytest.raises(Exception, match="goes away"):
                await anext(invoked)
        (arrived,) = receiver.associations
        async with asyncio.timeout(5):
            await arrived.wait_closed()
    assert len(receiver.commands) == 1
