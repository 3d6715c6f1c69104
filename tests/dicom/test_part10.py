"""Preamble and File Meta Information (PS3.10 7.1)."""

from __future__ import annotations

from io import BytesIO

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.dicom.part10 import guess_transfer_syntax, read_file_meta, write_file_meta
from dicomwire.errors import Part10Error
from dicomwire.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
UIDS = st.from_regex(r"[1-9](\.[1-9][0-9]{0,5}){1,9}", fullmatch=True)


@given(UIDS, UIDS, UIDS, st.sampled_from([None, "STORESCU", "ODD"]))
def test_what_is_written_reads_back_here_and_in_pydicom(
    sop_class: str, instance: str, syntax: str, source: str | None
) -> None:
    written = write_file_meta(sop_class, instance, syntax, source_ae_title=source)
    meta = read_file_meta(written + b"\x08\x00", complete=False)
    assert meta is None  # two bytes do not tell whether the group goes on
    meta = read_file_meta(written, complete=True)
    assert meta is not None
    assert meta.media_storage_sop_class_uid == sop_class
    assert meta.media_storage_sop_instance_uid == instance
    assert meta.transfer_syntax_uid == syntax
    assert meta.length == len(written)
    assert meta.findings == ()
    theirs = pydicom.dcmread(BytesIO(written)).file_meta
    assert theirs.FileMetaInformationGroupLength == len(written) - 144
    assert theirs.FileMetaInformationVersion == b"\x00\x01"
    assert theirs.MediaStorageSOPClassUID == sop_class
    assert theirs.MediaStorageSOPInstanceUID == instance
    assert theirs.TransferSyntaxUID == syntax
    assert theirs.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert theirs.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert theirs.get("SourceApplicationEntityTitle") == source


WHOLE = write_file_meta(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + bytes.fromhex("080005004353 0000")


def test_every_shorter_beginning_asks_for_more() -> None:
    for length in range(len(WHOLE)):
        assert read_file_meta(WHOLE[:length]) is None, length
    assert read_file_meta(WHOLE) is not None


def element_starts() -> list[int]:
    """Offset of each meta element of WHOLE, and of its data set."""
    starts, position = [132], 144
    while position < len(WHOLE) - 8:
        starts.append(position)
        long = WHOLE[position + 4 : position + 6] == b"OB"
        length = int.from_bytes(WHOLE[position + 6 + 2 * long : position + 8 + 2 * long], "little")
        position += 8 + 4 * long + length
    return [*starts, position]


def test_a_whole_file_cut_in_its_meta_information_is_no_file() -> None:
    taken = []
    for length in range(len(WHOLE)):
        try:
            assert read_file_meta(WHOLE[:length], complete=True) is not None
            taken.append(length)
        except Part10Error:
            pass
    # Only a cut between two elements cannot be told from a file that lacks the rest
    assert taken == element_starts()


def test_a_wrong_or_missing_group_length_is_a_finding() -> None:
    wrong = WHOLE[:140] + b"\xff\x00\x00\x00" + WHOLE[144:]
    meta = read_file_meta(wrong)
    assert meta is not None
    assert "(0002,0000)" in meta.findings[0]
    assert meta.length == len(WHOLE) - 8
    meta = read_file_meta(WHOLE[:132] + WHOLE[144:])
    assert meta is not None
    assert meta.findings == ("(0002,0000) is missing (PS3.10 7.1)",)


def test_a_missing_preamble_or_prefix_is_a_finding() -> None:
    for start, length in ((128, len(WHOLE) - 136), (132, len(WHOLE) - 140)):
        meta = read_file_meta(WHOLE[start:], complete=True)
        assert meta is not None
        assert meta.length == length
        assert meta.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN
        assert len(meta.findings) >= 1


def test_meta_information_in_implicit_vr_is_read() -> None:
    element = bytes.fromhex("02001000 12000000") + b"1.2.840.10008.1.2\0"
    meta = read_file_meta(bytes(128) + b"DICM" + element, complete=True)
    assert meta is not None
    assert meta.transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN


def test_a_bare_data_set_is_refused_in_words_or_taken_when_asked_to() -> None:
    for data, syntax in (
        ("08000500 43530a00", EXPLICIT_VR_LITTLE_ENDIAN),
        ("00080005 4353000a", EXPLICIT_VR_BIG_ENDIAN),
        ("08000500 0a000000", IMPLICIT_VR_LITTLE_ENDIAN),
    ):
        bare = bytes.fromhex(data) + b"ISO_IR 100"
        with pytest.raises(Part10Error, match="without File Meta Information"):
            read_file_meta(bare, complete=True)
        meta = read_file_meta(bare, complete=True, accept_bare=True)
        assert meta is not None
        assert (meta.length, meta.transfer_syntax_uid) == (0, syntax)
        assert guess_transfer_syntax(bare) == syntax


def test_what_is_no_dicom_is_refused() -> None:
    for data in (b"", b"%PDF-1.7", b"\xff\xd8\xff\xe0" * 50, b"GET / HTTP/1.1\r\n\r\n"):
        with pytest.raises(Part10Error, match="no DICOM file"):
            read_file_meta(data, complete=True, accept_bare=True)


def test_an_endless_element_is_refused_before_it_is_waited_for() -> None:
    element = bytes.fromhex("02000201 4f420000 ffffff7f")
    with pytest.raises(Part10Error, match="more than"):
        read_file_meta(bytes(128) + b"DICM" + element)


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_any_bytes_are_a_file_need_more_or_an_error(data: bytes, complete: bool, prefix: bool) -> None:
    if prefix:
        data = bytes(128) + b"DICM\x02\x00" + data
    try:
        meta = read_file_meta(data, complete=complete)
    except Part10Error:
        return
    assert meta is not None or not complete


def test_a_file_is_read_from_any_buffer() -> None:
    expected = read_file_meta(WHOLE)
    assert read_file_meta(memoryview(bytearray(WHOLE))) == expected
    assert read_file_meta(BytesIO(WHOLE).getbuffer()) == expected
