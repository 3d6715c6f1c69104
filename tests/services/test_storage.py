"""C-STORE as SCP: checks, verdicts, flow control."""

from __future__ import annotations

import asyncio

import pytest

from dicomwire.archive.archive import Origin, Verdict
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from dicomwire.errors import ArchiveError
from dicomwire.services.storage import STATUS_OF, Incoming, services
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer.negotiation import AcceptedContext
from tests.services.fakes import CT, MR, FakeArchive, FakeAssociation, FakeRequest, context, outcome

STORE = CStoreRq(7, CT, "1.2.3")


def begin(
    archive: FakeArchive, command: CStoreRq = STORE, in_context: AcceptedContext | None = None
) -> tuple[FakeRequest, Incoming | None]:
    accepted = in_context or context()
    request = FakeRequest(FakeAssociation([accepted]), accepted, command)
    return request, services(archive)["*", CStoreRq](request)


def stored(verdict: Verdict, comment: str = "", **found: str) -> CStoreRsp:
    archive = FakeArchive()
    request, sink = begin(archive)
    sink.finish()
    archive.receptions[0].done(outcome(verdict, comment, **found))
    (answer,) = request.answers
    return answer


def test_data_set_goes_to_the_archive_as_it_comes_and_success_follows_the_verdict() -> None:
    archive = FakeArchive()
    request, sink = begin(archive)
    buffer = bytearray(b"abc")
    sink.write(memoryview(buffer))
    buffer[:] = b"def"
    sink.write(memoryview(buffer))
    assert sink.finish() is None
    assert request.answers == []
    archive.receptions[0].done(outcome(Verdict.STORED))
    assert archive.receptions[0].data == b"abcdef"
    assert request.answers == [
        CStoreRsp(7, 0x0000, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3")
    ]


def test_archive_learns_what_was_promised_and_where_it_came_from() -> None:
    archive = FakeArchive()
    begin(archive, in_context=context(transfer_syntax="1.2.840.10008.1.2.4.90"))
    assert archive.asked == [
        {
            "sop_class_uid": CT,
            "sop_instance_uid": "1.2.3",
            "transfer_syntax_uid": "1.2.840.10008.1.2.4.90",
            "origin": Origin("dimse", "192.0.2.1:104", "MODALITY", "DICOMWIRE"),
        }
    ]


def test_every_verdict_has_a_status() -> None:
    assert set(STATUS_OF) == set(Verdict)


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict.STORED, 0x0000),
        (Verdict.ALREADY_STORED, 0x0000),
        (Verdict.REPLACED, 0x0000),
        (Verdict.CONFLICT, 0xB000),
        (Verdict.DUPLICATE_REJECTED, 0x0111),
        (Verdict.MISMATCH, 0xA900),
        (Verdict.NOT_UNDERSTOOD, 0xC000),
        (Verdict.OUT_OF_RESOURCES, 0xA700),
    ],
)
def test_verdict_is_answered_with_its_status_and_a_comment_unless_all_is_well(
    verdict: Verdict, status: int
) -> None:
    answer = stored(verdict, "what happened")
    assert answer.status == status
    assert answer.error_comment == (None if status == 0 else "what happened")


@pytest.mark.parametrize(
    ("found", "offending"),
    [
        ({"sop_class_uid": MR}, (0x00080016,)),
        ({"sop_instance_uid": "1.2.9"}, (0x00080018,)),
        ({"sop_class_uid": "", "sop_instance_uid": ""}, (0x00080016, 0x00080018)),
    ],
)
def test_mismatch_names_the_elements_that_differ(found: dict[str, str], offending: tuple[int, ...]) -> None:
    assert stored(Verdict.MISMATCH, "SOP class differs", **found).offending_element == offending


REFUSED = [
    (CStoreRq(7, MR, "1.2.3"), None, 0xA900, (0x00000002,)),
    (CStoreRq(7, "", "1.2.3"), None, 0xA900, (0x00000002,)),
    (CStoreRq(7, CT, "../../etc/passwd"), None, 0xC000, (0x00001000,)),
    (CStoreRq(7, CT, "1." + "2" * 63), None, 0xC000, (0x00001000,)),
    (CStoreRq(7, CT, "1..2"), None, 0xC000, (0x00001000,)),
    (CStoreRq(7, CT, "1.2\0.3"), None, 0xC000, (0x00001000,)),
    (CStoreRq(7, CT, ""), None, 0xC000, (0x00001000,)),
    (CStoreRq(7, CT, "1.2.3", data_set=False), None, 0xC000, (0x00000800,)),
    (CStoreRq(7, VERIFICATION, "1.2.3"), context(VERIFICATION), 0x0122, ()),
]


@pytest.mark.parametrize(("command", "in_context", "status", "offending"), REFUSED)
def test_command_that_cannot_be_stored_is_refused_before_its_data_set(
    command: CStoreRq, in_context: AcceptedContext | None, status: int, offending: tuple[int, ...]
) -> None:
    archive = FakeArchive()
    request, sink = begin(archive, command, in_context)
    assert sink is None
    assert archive.asked == []
    (answer,) = request.answers
    assert (answer.status, answer.offending_element) == (status, offending)
    assert answer.error_comment
    assert len(answer.error_comment) <= 64
    assert answer.message_id_being_responded_to == 7
    assert "/" not in (answer.affected_sop_instance_uid or "")


@pytest.mark.parametrize("uid", ["1.2.3", "1.02.3", "0", "2.25." + "1" * 59])
def test_uids_with_leading_zeros_or_of_64_characters_are_stored_verbatim(uid: str) -> None:
    archive = FakeArchive()
    _, sink = begin(archive, CStoreRq(7, CT, uid))
    assert sink is not None
    assert archive.asked[0]["sop_instance_uid"] == uid


def test_private_sop_class_of_the_context_is_stored() -> None:
    private = "1.3.12.2.1107.5.9.1"
    _, sink = begin(FakeArchive(), CStoreRq(7, private, "1.2.3"), context(private))
    assert sink is not None


def test_archive_that_takes_nothing_is_out_of_resources() -> None:
    request, sink = begin(FakeArchive(error=ArchiveError("the disk is full")))
    assert sink is None
    (answer,) = request.answers
    assert (answer.status, answer.error_comment) == (0xA700, "the disk is full")


def test_end_of_the_association_aborts_the_reception() -> None:
    archive = FakeArchive()
    request, sink = begin(archive)
    sink.write(memoryview(b"abc"))
    sink.abort("connection lost")
    assert archive.receptions[0].aborted
    assert request.answers == []


async def test_reading_pauses_once_while_the_archive_has_no_room() -> None:
    archive = FakeArchive(room=4)
    request, sink = begin(archive)
    sink.write(memoryview(b"abcd"))
    assert request.association.paused == 0
    for _ in range(3):
        sink.write(memoryview(b"ef"))
        assert request.association.paused == 1
    archive.receptions[0].drained.set()
    await settled()
    assert request.association.paused == 0
    sink.write(memoryview(b"gh"))
    assert request.association.paused == 0


async def test_association_that_ends_while_paused_is_not_paused_for_ever() -> None:
    archive = FakeArchive(room=0)
    request, sink = begin(archive)
    sink.write(memoryview(b"abcd"))
    sink.abort("connection lost")
    await settled()
    assert request.association.paused == 0


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
