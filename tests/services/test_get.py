"""C-GET over the wire: instances come back where the requestor took a context for them as SCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from dicomwire.association.requestor import Context
from dicomwire.dimse.command import CGetRq
from dicomwire.services import retrieval
from dicomwire.services.selection import (
    COMPOSITE_INSTANCE_ROOT_GET,
    PATIENT_ROOT_GET,
    PATIENT_STUDY_ONLY_GET,
    STUDY_ROOT_GET,
    WITHOUT_BULK_DATA_GET,
)
from dicomwire.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.services.retrieving import (
    CT,
    MR,
    SERIES,
    STUDY,
    Node,
    Receiver,
    answers,
    compressed,
    counters,
    decoded,
    encoded,
    image,
    keep,
    responses,
    serving,
)

WHOLE_STUDY = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": STUDY}
RLE = "1.2.840.10008.1.2.5"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
AS_CT = Context(CT, (EXPLICIT_VR_LITTLE_ENDIAN,))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with serving(tmp_path) as there:
        yield there


async def test_study_comes_back_bit_for_bit_with_exact_counters(node: Node) -> None:
    for number in (1, 2):
        await keep(node.archive, image(number, size=300_001))
    receiver = Receiver()
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT], receiver=receiver) as association:
        told = await answers(association, STUDY_ROOT_GET, WHOLE_STUDY, None)
    assert [(one.status, counters(one)) for one in told] == [
        (0xFF00, (2, 0, 0, 0)),
        (0xFF00, (1, 1, 0, 0)),
        (0x0000, (None, 2, 0, 0)),
    ]
    assert receiver.data_sets == {
        f"{SERIES}.{number}": encoded(image(number, size=300_001), implicit=False) for number in (1, 2)
    }
    assert {one.move_originator_message_id for one in receiver.commands} == {None}


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (PATIENT_ROOT_GET, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"}),
        (PATIENT_STUDY_ONLY_GET, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"}),
        (COMPOSITE_INSTANCE_ROOT_GET, {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": f"{SERIES}.1"}),
    ],
)
async def test_each_model_is_served(node: Node, model: str, asked: dict[str, object]) -> None:
    await keep(node.archive, image(1))
    receiver = Receiver()
    async with node.association(model, storage_contexts=[AS_CT], receiver=receiver) as association:
        told = await answers(association, model, asked, None)
    assert (told[-1].status, list(receiver.data_sets)) == (0, [f"{SERIES}.1"])


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN),
        (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN),
        (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN),
    ],
)
async def test_uncompressed_is_converted_to_what_was_accepted(node: Node, stored: str, wanted: str) -> None:
    await keep(node.archive, image(1), stored)
    receiver = Receiver()
    async with node.association(
        STUDY_ROOT_GET, storage_contexts=[Context(CT, (wanted,))], receiver=receiver
    ) as association:
        told = (await answers(association, STUDY_ROOT_GET, WHOLE_STUDY, None))[-1]
    assert (told.status, receiver.syntaxes) == (0, {f"{SERIES}.1": wanted})


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (RLE, EXPLICIT_VR_LITTLE_ENDIAN),
        (RLE, JPEG_2000),
        (EXPLICIT_VR_LITTLE_ENDIAN, RLE),
    ],
)
async def test_pixels_are_transcoded_without_loss_to_what_was_accepted(
    node: Node, stored: str, wanted: str
) -> None:
    data_set, data = compressed(1, RLE if stored == EXPLICIT_VR_LITTLE_ENDIAN else stored)
    if stored == EXPLICIT_VR_LITTLE_ENDIAN:
        data_set.decompress(generate_instance_uid=False)
        data = encoded(data_set, implicit=False)
    await keep(node.archive, data_set, stored, data)
    receiver = Receiver()
    async with node.association(
        STUDY_ROOT_GET, storage_contexts=[Context(CT, (wanted,))], receiver=receiver
    ) as association:
        told = (await answers(association, STUDY_ROOT_GET, WHOLE_STUDY, None))[-1]
    assert (told.status, receiver.syntaxes) == (0, {f"{SERIES}.1": wanted})
    found = decoded(receiver.data_sets[f"{SERIES}.1"], implicit=wanted == IMPLICIT_VR_LITTLE_ENDIAN)
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = wanted
    assert found.pixel_array.tobytes() == bytes(range(128))


async def test_pixels_that_cannot_be_decoded_fail_alone_and_are_never_dropped(node: Node) -> None:
    data_set, data = compressed(1, RLE)
    await keep(node.archive, data_set, RLE, data[:-30] + bytes(22) + data[-8:])
    await keep(node.archive, image(2))
    receiver = Receiver()
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT], receiver=receiver) as association:
        *_, last = await responses(association, STUDY_ROOT_GET, WHOLE_STUDY, None)
    assert (last.status, counters(last.command)) == (0xB000, (None, 1, 1, 0))
    assert decoded(last.data).FailedSOPInstanceUIDList == f"{SERIES}.1"
    assert last.command.error_comment
    assert list(receiver.data_sets) == [f"{SERIES}.2"]


@pytest.mark.parametrize("size", [64, 300_000, 3_000_000], ids=["in one piece", "in pieces", "in a thread"])
async def test_what_implicit_vr_cannot_express_fails_alone_however_far_behind_it_is(
    node: Node, size: int
) -> None:
    behind = bytes.fromhex("FAFF FAFF 5556 0000 08000000 0100000000000000")  # Digital Signatures as UV
    await keep(node.archive, image(1), data=encoded(image(1, size=size), implicit=False) + behind)
    await keep(node.archive, image(2))
    receiver = Receiver()
    as_implicit = Context(CT, (IMPLICIT_VR_LITTLE_ENDIAN,))
    async with node.association(
        STUDY_ROOT_GET, storage_contexts=[as_implicit], receiver=receiver
    ) as association:
        *_, last = await responses(association, STUDY_ROOT_GET, WHOLE_STUDY, None)
        assert (last.status, counters(last.command)) == (0xB000, (None, 1, 1, 0))
        assert decoded(last.data).FailedSOPInstanceUIDList == f"{SERIES}.1"
        assert last.command.error_comment.startswith("(FFFA,FFFA) as UV: 8 bytes that are no items")
        assert list(receiver.data_sets) == [f"{SERIES}.2"]
        other = await answers(association, STUDY_ROOT_GET, {**WHOLE_STUDY, "StudyInstanceUID": "1.9"}, None)
        assert other[-1].status == 0, "the association lives on"


async def test_class_without_a_context_fails_with_its_name(node: Node) -> None:
    await keep(node.archive, image(1))
    await keep(node.archive, image(2, sop_class=MR))
    receiver = Receiver()
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT], receiver=receiver) as association:
        *_, last = await responses(association, STUDY_ROOT_GET, WHOLE_STUDY, None)
    assert (last.status, counters(last.command)) == (0xB000, (None, 1, 1, 0))
    assert last.command.error_comment == "No context: the peer does not take MR Image Storage"
    assert decoded(last.data).FailedSOPInstanceUIDList == f"{SERIES}.2"


async def test_context_without_the_scp_role_is_none(node: Node) -> None:
    await keep(node.archive, image(1))
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT], scp=False) as association:
        *_, last = await responses(association, STUDY_ROOT_GET, WHOLE_STUDY, None)
        assert association.ended is None
    assert (last.status, counters(last.command)) == (0xA702, (None, 0, 1, 0))
    assert decoded(last.data).FailedSOPInstanceUIDList == f"{SERIES}.1"


@pytest.mark.parametrize(
    ("statuses", "code", "expected"),
    [
        ([0xB000, 0], 0xB000, (None, 1, 0, 1)),
        ([0xA700, 0], 0xB000, (None, 1, 1, 0)),
        ([0xA700, 0xA700], 0xA702, (None, 0, 2, 0)),
    ],
)
async def test_answers_of_the_requestor_decide(
    node: Node, statuses: list[int], code: int, expected: tuple[int | None, ...]
) -> None:
    for number in (1, 2):
        await keep(node.archive, image(number))
    left = iter(statuses)
    receiver = Receiver(answer=lambda command: next(left))
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT], receiver=receiver) as association:
        told = (await answers(association, STUDY_ROOT_GET, WHOLE_STUDY, None))[-1]
    assert (told.status, counters(told)) == (code, expected)


async def test_cancel_stops_within_one_sub_operation(node: Node) -> None:
    for number in range(5):
        await keep(node.archive, image(number))
    receiver = Receiver(waiting=asyncio.Event())
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT], receiver=receiver) as association:
        (context,) = association.contexts_for(STUDY_ROOT_GET)
        message_id = association.next_message_id()
        invoked = association.requests(
            context.presentation_context_id, CGetRq(message_id, STUDY_ROOT_GET), [encoded(WHOLE_STUDY)]
        )
        await anext(invoked)
        association.cancel(message_id)
        receiver.waiting.set()
        told = [response.command async for response in invoked]
        assert association.ended is None
    sent = len(receiver.data_sets)
    assert (told[-1].status, counters(told[-1])) == (0xFE00, (5 - sent, sent, 0, 0))
    assert sent <= 1


async def test_nothing_that_matches_is_a_success_with_zero_counts(node: Node) -> None:
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT]) as association:
        (told,) = await answers(association, STUDY_ROOT_GET, WHOLE_STUDY, None)
    assert (told.status, counters(told)) == (0, (None, 0, 0, 0))


async def test_bad_identifier_gets_a_status_with_words(node: Node) -> None:
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT]) as association:
        (told,) = await answers(association, STUDY_ROOT_GET, b"\xff" * 64, None)
        assert (told.status, (told.error_comment or "")[:11]) == (0xC000, "Identifier:")
        assert association.ended is None


FRAMES = {"QueryRetrieveLevel": "FRAME", "SOPInstanceUID": f"{SERIES}.1"}


def multi_frame(**more: object) -> Dataset:
    """Five frames of 2 x 2 pixels, 40 ms each."""
    size = {"Rows": 2, "Columns": 2, "SamplesPerPixel": 1, "NumberOfFrames": "5"}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
    data_set = image(1, PhotometricInterpretation="MONOCHROME2", **size, **bits, **more)
    data_set.PixelData = b"".join(bytes([number]) * 4 for number in range(1, 6))
    data_set["PixelData"].VR = "OB"
    return data_set


@pytest.mark.parametrize(
    ("key", "frames"),
    [
        ({"SimpleFrameList": [2, 4]}, (2, 4)),
        ({"CalculatedFrameList": [1, 0xFFFFFFFF, 2]}, (1, 3, 5)),
        ({"TimeRange": [0.04, 0.1]}, (2, 3)),
    ],
)
@pytest.mark.parametrize("wanted", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
async def test_frames_come_as_a_new_instance(
    node: Node, key: dict[str, object], frames: tuple[int, ...], wanted: str
) -> None:
    await keep(node.archive, multi_frame(FrameTime="40"))
    receiver = Receiver()
    async with node.association(
        COMPOSITE_INSTANCE_ROOT_GET, storage_contexts=[Context(CT, (wanted,))], receiver=receiver
    ) as association:
        told = await answers(association, COMPOSITE_INSTANCE_ROOT_GET, {**FRAMES, **key}, None)
    assert (told[-1].status, counters(told[-1])) == (0, (None, 1, 0, 0))
    ((uid, data),) = receiver.data_sets.items()
    found = decoded(data, implicit=wanted == IMPLICIT_VR_LITTLE_ENDIAN)
    assert uid == found.SOPInstanceUID != f"{SERIES}.1"
    assert found.FrameExtractionSequence[0].MultiFrameSourceSOPInstanceUID == f"{SERIES}.1"
    assert found.PixelData == b"".join(bytes([number]) * 4 for number in frames)


@pytest.mark.parametrize(
    ("key", "code", "words"),
    [
        ({"SimpleFrameList": [6]}, 0xAA00, "none of these frames; the instance has 5"),
        ({"SimpleFrameList": [1, 6]}, 0xAA04, "no frame 6; the instance has 5"),
        ({"TimeRange": [0.0, 1.0]}, 0xAA03, "the instance does not say the times of its frames"),
        ({}, 0xAA04, "0 frame range keys; one wanted at level FRAME"),
        ({"SimpleFrameList": [1], "TimeRange": [0.0, 1.0]}, 0xAA04, "2 frame range keys; one wanted"),
        ({"SimpleFrameList": [1], "QueryRetrieveLevel": "IMAGE"}, 0xA900, "is a key below level IMAGE"),
        ({"SimpleFrameList": [1], "SOPInstanceUID": ["1.1", "1.2"]}, 0xA900, "has 2 values, one wanted"),
    ],
)
async def test_frames_that_cannot_be_given_have_their_own_statuses(
    node: Node, key: dict[str, object], code: int, words: str
) -> None:
    await keep(node.archive, multi_frame())
    async with node.association(COMPOSITE_INSTANCE_ROOT_GET, storage_contexts=[AS_CT]) as association:
        (told,) = await answers(association, COMPOSITE_INSTANCE_ROOT_GET, {**FRAMES, **key}, None)
        assert association.ended is None
    assert told.status == code
    assert words in (told.error_comment or "")


async def test_frames_of_what_is_not_held_are_a_success_with_zero_counts(node: Node) -> None:
    async with node.association(COMPOSITE_INSTANCE_ROOT_GET, storage_contexts=[AS_CT]) as association:
        asked = {**FRAMES, "SimpleFrameList": [1]}
        (told,) = await answers(association, COMPOSITE_INSTANCE_ROOT_GET, asked, None)
    assert (told.status, counters(told)) == (0, (None, 0, 0, 0))


async def test_instance_without_pixels_has_no_frames(node: Node) -> None:
    report = image(1)
    del report.PixelData
    await keep(node.archive, report)
    async with node.association(COMPOSITE_INSTANCE_ROOT_GET, storage_contexts=[AS_CT]) as association:
        asked = {**FRAMES, "SimpleFrameList": [1]}
        (told,) = await answers(association, COMPOSITE_INSTANCE_ROOT_GET, asked, None)
    assert (told.status, told.error_comment) == (0xAA01, "the instance has no frames")


@pytest.mark.parametrize("stored", [EXPLICIT_VR_LITTLE_ENDIAN, RLE])
async def test_bulk_data_stays_behind_where_that_is_asked_for(node: Node, stored: str) -> None:
    data_set, data = compressed(1, RLE)
    if stored == EXPLICIT_VR_LITTLE_ENDIAN:
        data_set.decompress(generate_instance_uid=False)
        data = encoded(data_set, implicit=False)
    await keep(node.archive, data_set, stored, data)
    receiver = Receiver()
    asked = {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": f"{SERIES}.1"}
    async with node.association(
        WITHOUT_BULK_DATA_GET, storage_contexts=[AS_CT], receiver=receiver
    ) as association:
        told = (await answers(association, WITHOUT_BULK_DATA_GET, asked, None))[-1]
    assert (told.status, counters(told)) == (0, (None, 1, 0, 0))
    found = decoded(receiver.data_sets[f"{SERIES}.1"], implicit=False)
    assert "PixelData" not in found
    assert (found.SOPInstanceUID, found.Rows) == (f"{SERIES}.1", 8)


async def test_compressed_frames_are_decoded_for_who_takes_them_so_only(node: Node) -> None:
    data_set = multi_frame()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN
    data_set.compress(RLE, generate_instance_uid=False)
    await keep(node.archive, data_set, RLE, encoded(data_set, implicit=False))
    receiver = Receiver()
    async with node.association(
        COMPOSITE_INSTANCE_ROOT_GET, storage_contexts=[AS_CT], receiver=receiver
    ) as association:
        asked = {**FRAMES, "SimpleFrameList": [2, 5]}
        told = (await answers(association, COMPOSITE_INSTANCE_ROOT_GET, asked, None))[-1]
    assert (told.status, counters(told)) == (0, (None, 1, 0, 0))
    ((uid, data),) = receiver.data_sets.items()
    assert receiver.syntaxes[uid] == EXPLICIT_VR_LITTLE_ENDIAN
    assert decoded(data, implicit=False).PixelData == b"\2" * 4 + b"\5" * 4


async def test_without_bulk_data_any_codec_will_do(node: Node) -> None:
    await keep(node.archive, image(1), IMPLICIT_VR_LITTLE_ENDIAN)
    receiver = Receiver()
    asked = {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": f"{SERIES}.1"}
    async with node.association(
        WITHOUT_BULK_DATA_GET, storage_contexts=[Context(CT, (JPEG_2000,))], receiver=receiver
    ) as association:
        told = (await answers(association, WITHOUT_BULK_DATA_GET, asked, None))[-1]
    assert (told.status, receiver.syntaxes) == (0, {f"{SERIES}.1": JPEG_2000})
    found = decoded(receiver.data_sets[f"{SERIES}.1"], implicit=False)
    assert (found.SOPInstanceUID, "PixelData" in found) == (f"{SERIES}.1", False)


async def test_pending_answers_come_by_time_while_the_requestor_takes_long(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "PENDING_INTERVAL", 0.02)
    await keep(node.archive, image(1))
    receiver = Receiver(waiting=asyncio.Event())
    async with node.association(STUDY_ROOT_GET, storage_contexts=[AS_CT], receiver=receiver) as association:
        (context,) = association.contexts_for(STUDY_ROOT_GET)
        invoked = association.requests(
            context.presentation_context_id, CGetRq(0, STUDY_ROOT_GET), [encoded(WHOLE_STUDY)]
        )
        pending = [(await anext(invoked)).command for _ in range(4)]
        receiver.waiting.set()
        assert [counters(one) for one in pending] == [(1, 0, 0, 0)] * 4
        assert [response.status async for response in invoked][-1] == 0
