"""Frames extracted into a new instance, with pydicom as the oracle."""

from __future__ import annotations

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames

from dicomwire.dicom.frame_extraction import (
    Extraction,
    ExtractionError,
    Failure,
    FrameRange,
    extract,
    frames_of,
)
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

RLE = "1.2.840.10008.1.2.5"
NEW = "2.25.7"
NOW = "20260101120000.000000+0000"
NATIVE = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)


def multi_frame(frames: int = 5, *, rows: int = 2, bits: int = 16, **more: object) -> Dataset:
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.3"
    data_set.ContentDate, data_set.ContentTime = "20251231", "235959.5"
    data_set.PatientID, data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "P", "1.2", "1.2.1"
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.NumberOfFrames, data_set.Rows, data_set.Columns = frames, rows, 2
    data_set.BitsAllocated = data_set.BitsStored = bits
    data_set.HighBit, data_set.PixelRepresentation = bits - 1, 0
    for keyword, value in more.items():
        setattr(data_set, keyword, value)
    length = rows * 2 * bits // 8
    if "PixelData" not in more:
        data_set.PixelData = b"".join(bytes([number]) * length for number in range(1, frames + 1))
        data_set["PixelData"].VR = "OW"
    return data_set


def written(data_set: Dataset, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian = syntax != EXPLICIT_VR_BIG_ENDIAN
    buffer.is_implicit_VR = syntax == IMPLICIT_VR_LITTLE_ENDIAN
    pydicom.filewriter.write_dataset(buffer, data_set)
    return bytes(buffer.getvalue())


def read(extraction: Extraction) -> Dataset:
    data = b"".join(bytes(piece) for piece in extraction.pieces)
    syntax = extraction.transfer_syntax_uid
    found = pydicom.filereader.read_dataset(
        pydicom.filebase.DicomBytesIO(data),
        syntax == IMPLICIT_VR_LITTLE_ENDIAN,
        syntax != EXPLICIT_VR_BIG_ENDIAN,
    )
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    return found


def extracted(data_set: Dataset, wanted: FrameRange, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> Dataset:
    return read(extract(written(data_set, syntax), syntax, wanted, sop_instance_uid=NEW, now=NOW))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (FrameRange(simple=(1,)), (1,)),
        (FrameRange(simple=(2, 5, 9)), (2, 5, 9)),
        (FrameRange(calculated=(1, 5, 2)), (1, 3, 5)),
        (FrameRange(calculated=(1, 4, 2, 6, 8, 1)), (1, 3, 6, 7, 8)),
        (FrameRange(calculated=(7, 0xFFFFFFFF, 2)), (7, 9)),
        (FrameRange(calculated=(9, 12, 1)), (9, 10)),
        (FrameRange(calculated=(1, 2, 1, 11, 20, 1)), (1, 2)),
        (FrameRange(times=(0.1, 0.3)), (2, 3, 4)),
        (FrameRange(times=(-5.0, 0.05)), (1,)),
    ],
)
def test_frames_asked_for(wanted: FrameRange, expected: tuple[int, ...]) -> None:
    assert frames_of(wanted, 10, [number / 10 for number in range(10)]) == expected


@pytest.mark.parametrize(
    ("wanted", "failure", "words"),
    [
        (FrameRange(simple=(0, 1)), Failure.INVALID, "numbered from 1"),
        (FrameRange(simple=(2, 2)), Failure.INVALID, "must ascend"),
        (FrameRange(simple=(3, 2)), Failure.INVALID, "must ascend"),
        (FrameRange(simple=(3, 11)), Failure.INVALID, "no frame 11; the instance has 10"),
        (FrameRange(simple=(11, 12)), Failure.NONE_FOUND, "the instance has 10"),
        (FrameRange(calculated=(1, 2)), Failure.INVALID, "no triplets"),
        (FrameRange(calculated=(3, 2, 1)), Failure.INVALID, "3 to 2 by 1"),
        (FrameRange(calculated=(1, 2, 0)), Failure.INVALID, "1 to 2 by 0"),
        (FrameRange(calculated=(1, 4, 1, 4, 6, 1)), Failure.INVALID, "must ascend"),
        (FrameRange(calculated=(11, 20, 1)), Failure.NONE_FOUND, "the instance has 10"),
        (FrameRange(times=(2.0, 1.0)), Failure.INVALID, "TimeRange"),
        (FrameRange(times=(1.0,)), Failure.INVALID, "TimeRange"),
        (FrameRange(times=(5.0, 6.0)), Failure.NONE_FOUND, "none of these"),
    ],
)
def test_frames_that_cannot_be_asked_for(wanted: FrameRange, failure: Failure, words: str) -> None:
    with pytest.raises(ExtractionError, match=words) as error:
        frames_of(wanted, 10, [number / 10 for number in range(10)])
    assert error.value.failure is failure


def test_times_of_what_has_none_is_a_failure_of_its_own() -> None:
    with pytest.raises(ExtractionError) as error:
        extracted(multi_frame(), FrameRange(times=(0.0, 1.0)))
    assert error.value.failure is Failure.NOT_TIMED


@pytest.mark.parametrize("syntax", NATIVE)
def test_native_frames_are_a_new_instance_that_says_where_it_is_from(syntax: str) -> None:
    data_set = multi_frame(RepresentativeFrameNumber=4)
    data_set.private_block(0x0009, "ME", create=True).add_new(1, "LO", "frame 4")
    found = extracted(data_set, FrameRange(simple=(2, 4)), syntax)
    assert (found.SOPInstanceUID, found.SOPClassUID) == (NEW, data_set.SOPClassUID)
    assert (found.StudyInstanceUID, found.SeriesInstanceUID) == ("1.2", "1.2.1")
    assert found.NumberOfFrames == 2
    assert found.PixelData == b"\2" * 8 + b"\4" * 8
    (origin,) = found.FrameExtractionSequence
    assert origin.MultiFrameSourceSOPInstanceUID == "1.2.3"
    assert list(origin.SimpleFrameList) == [2, 4]
    (equipment,) = found.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109105"
    assert equipment.ContributionDateTime == NOW
    assert "RepresentativeFrameNumber" not in found
    assert not [element for element in found if element.tag.is_private]


def test_an_extract_of_an_extract_tells_both() -> None:
    first = extracted(multi_frame(), FrameRange(calculated=(1, 5, 2)))
    second = extracted(first, FrameRange(simple=(3,)))
    one, other = second.FrameExtractionSequence
    assert list(one.CalculatedFrameList) == [1, 5, 2]
    assert (other.MultiFrameSourceSOPInstanceUID, other.SimpleFrameList) == (NEW, 3)
    assert len(second.ContributingEquipmentSequence) == 2
    assert second.PixelData == b"\5" * 8


def test_compressed_frames_stay_as_they_are() -> None:
    fragments = [bytes([number]) * (10 + 2 * number) for number in range(5)]
    data_set = multi_frame(PixelData=encapsulate(fragments))
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    found = extracted(data_set, FrameRange(simple=(1, 3, 5)), RLE)
    assert found.file_meta.TransferSyntaxUID == RLE
    assert list(generate_frames(found.PixelData, number_of_frames=3)) == fragments[::2]


def test_a_frame_of_several_fragments_keeps_them() -> None:
    data_set = multi_frame(2, PixelData=encapsulate([b"a" * 20, b"b" * 30], fragments_per_frame=2))
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    found = extracted(data_set, FrameRange(simple=(2,)), RLE)
    assert list(generate_frames(found.PixelData, number_of_frames=1)) == [b"b" * 30]


def test_bits_that_do_not_fill_a_byte_are_joined() -> None:
    data_set = multi_frame(3, rows=3, bits=1, PixelData=bytes.fromhex("55D5 0200"))
    data_set["PixelData"].VR = "OB"
    frames = int.from_bytes(data_set.PixelData, "little")
    found = extracted(data_set, FrameRange(simple=(1, 3)))
    assert int.from_bytes(found.PixelData, "little") == (frames & 63) | (frames >> 12 & 63) << 6
    assert len(found.PixelData) == 2


def test_per_frame_functional_groups_follow_their_frames() -> None:
    groups = []
    for number in range(1, 6):
        content, group = Dataset(), Dataset()
        content.StackID = str(number)
        group.FrameContentSequence = [content]
        groups.append(group)
    for syntax in NATIVE:
        data_set = multi_frame(PerFrameFunctionalGroupsSequence=groups)
        found = extracted(data_set, FrameRange(simple=(2, 3)), syntax)
        assert [
            group.FrameContentSequence[0].StackID for group in found.PerFrameFunctionalGroupsSequence
        ] == ["2", "3"]


def test_groups_that_are_not_as_many_as_the_frames_cannot_be_cut() -> None:
    with pytest.raises(ExtractionError, match="5 frames, 1 per-frame") as error:
        extracted(multi_frame(PerFrameFunctionalGroupsSequence=[Dataset()]), FrameRange(simple=(2,)))
    assert error.value.failure is Failure.NO_EXTRACTION


@pytest.mark.parametrize(
    ("frames", "time", "vector"),
    [((1, 2, 3), "40", None), ((1, 3, 5), "80", None), ((1, 2, 4), None, ["0", "40", "80"])],
)
def test_frame_time_is_made_to_fit(
    frames: tuple[int, ...], time: str | None, vector: list[str] | None
) -> None:
    data_set = multi_frame(FrameTime="40", FrameIncrementPointer=0x00181063)
    found = extracted(data_set, FrameRange(simple=frames))
    assert found.get("FrameTime") == time
    assert found.get("FrameTimeVector") == vector
    assert found.FrameIncrementPointer == (0x00181063 if time else 0x00181065)


def test_frame_time_vector_is_made_to_fit_and_content_time_moves_with_the_first_frame() -> None:
    data_set = multi_frame(
        FrameTimeVector=["0", "500", "600", "700", "800"], FrameIncrementPointer=0x00181065
    )
    found = extracted(data_set, FrameRange(times=(0.5, 2.0)))
    assert list(found.FrameTimeVector) == [0, 600, 700]
    assert found.PixelData == b"".join(bytes([number]) * 8 for number in (2, 3, 4))
    assert (found.ContentDate, found.ContentTime) == ("20260101", "000000.000000")
    assert list(found.FrameExtractionSequence[0].TimeRange) == [0.5, 2.0]


def test_deflated_becomes_explicit() -> None:
    import zlib

    deflating = zlib.compressobj(wbits=-15)
    data = deflating.compress(written(multi_frame())) + deflating.flush()
    found = extract(
        data,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        FrameRange(simple=(5,)),
        sop_instance_uid=NEW,
        now=NOW,
    )
    assert found.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN
    assert read(found).PixelData == b"\5" * 8


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (written(Dataset()), Failure.NO_NEW_OBJECT),
        (written(multi_frame())[:-5], Failure.NO_EXTRACTION),
        (b"\xff" * 20, Failure.NO_EXTRACTION),
        (written(multi_frame(50, PixelData=bytes(16))), Failure.NO_EXTRACTION),
    ],
    ids=["no pixels", "cut", "garbage", "too few pixels"],
)
def test_what_has_no_such_frames_is_told(data: bytes, failure: Failure) -> None:
    with pytest.raises(ExtractionError) as error:
        extract(data, EXPLICIT_VR_LITTLE_ENDIAN, FrameRange(simple=(1,)), sop_instance_uid=NEW, now=NOW)
    assert error.value.failure is failure


def test_overlays_of_several_frames_are_not_cut() -> None:
    data_set = multi_frame()
    data_set.add_new(0x60000015, "IS", "5")
    with pytest.raises(ExtractionError, match="overlays"):
        extracted(data_set, FrameRange(simple=(1,)))
