"""Which differences of two data sets are differences of what they say."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import pytest
from pydicom.data import get_testdata_file

from dicomwire.archive.comparison import equal
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.archive.test_archive import data_set, element

DATA = data_set()
JPEG = "1.2.840.10008.1.2.4.50"


def bundled(name: str) -> tuple[memoryview, str]:
    """Data set and transfer syntax of one of pydicom's files."""
    data = Path(str(get_testdata_file(name))).read_bytes()
    meta = read_file_meta(data, complete=True)
    assert meta is not None
    return memoryview(data)[meta.length :], meta.transfer_syntax_uid


def sequence(*, delimited: bool, group_length: bool = False) -> bytes:
    inner = element(0x00080000, b"UL", pack("<I", 99)) if group_length else b""
    inner += element(0x00081155, b"UI", b"1.2")
    head = pack("<HH2sH", 0x0008, 0x1140, b"SQ", 0)
    if delimited:
        item = pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner + pack("<HHI", 0xFFFE, 0xE00D, 0)
        return head + pack("<I", 0xFFFFFFFF) + item + pack("<HHI", 0xFFFE, 0xE0DD, 0)
    item = pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    return head + pack("<I", len(item)) + item


def same(one: bytes, other: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bool:
    return equal(memoryview(one), syntax, memoryview(other), syntax)


@pytest.mark.parametrize("name", ["MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm"])
def test_the_same_image_in_another_transfer_syntax_is_the_same(name: str) -> None:
    """The first two lack the trailing padding of MR_small.dcm: 126 bytes in (FFFC,FFFC)."""
    assert equal(*bundled("MR_small.dcm"), *bundled(name))
    assert equal(*bundled(name), *bundled("MR_small.dcm"))


@pytest.mark.parametrize("vr", [b"OB", b"OW"])
@pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])
def test_bytes_of_pixels_are_the_same_as_ob_and_as_ow(vr: bytes, syntax: str) -> None:
    """Implicit VR has no OB of pixel data, Explicit VR has either where a sample is a byte."""
    before = DATA[: DATA.index(b"\xe0\x7f\x10\0")]
    pixels = b"\xe0\x7f\x10\0%b\0\0" + pack("<I", 4) + b"\1\2\3\4"
    one, other = before + pixels % b"OB", before + pixels % vr
    written = b"".join(map(bytes, to_transfer_syntax(memoryview(other), EXPLICIT_VR_LITTLE_ENDIAN, syntax)))
    assert equal(memoryview(one), EXPLICIT_VR_LITTLE_ENDIAN, memoryview(written), syntax)
    assert equal(memoryview(written), syntax, memoryview(one), EXPLICIT_VR_LITTLE_ENDIAN)
    changed = memoryview(written[:-1] + b"\5")
    assert not equal(memoryview(one), EXPLICIT_VR_LITTLE_ENDIAN, changed, syntax)


def test_pixel_data_with_more_bytes_is_another_value() -> None:
    """MR_small_padded.dcm: 128 zeros behind the 8192 bytes of pixels; the standard knows no such padding."""
    assert not equal(*bundled("MR_small.dcm"), *bundled("MR_small_padded.dcm"))


def test_trailing_padding_is_no_content() -> None:
    padded = DATA + pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 100) + bytes(100)
    assert same(DATA, padded)
    assert same(padded, DATA)
    assert same(DATA, padded, JPEG)


def test_group_lengths_are_no_content() -> None:
    assert same(DATA, element(0x00080000, b"UL", pack("<I", 120)) + DATA)
    nested = sequence(delimited=False, group_length=True)
    assert same(sequence(delimited=False), nested)


def test_how_a_sequence_ends_is_no_content() -> None:
    assert same(sequence(delimited=True), sequence(delimited=False))


def test_deflated_is_the_same_as_inflated_and_as_deflated_by_another() -> None:
    deflated = b"".join(
        bytes(piece)
        for piece in to_transfer_syntax(DATA, EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    )
    one = (memoryview(deflated), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    assert equal(*one, memoryview(DATA), EXPLICIT_VR_LITTLE_ENDIAN)
    assert equal(*one, memoryview(deflated + b"\0"), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize("syntax", [EXPLICIT_VR_LITTLE_ENDIAN, JPEG])
@pytest.mark.parametrize(
    "other",
    [
        DATA[:-1] + b"\1",
        DATA[:-1],
        b"",
        DATA + element(0x7FE10010, b"LO", b"more"),
        data_set(patient="P2"),
        data_set(pixels=128),
    ],
    ids=["another byte", "cut", "empty", "one element more", "another value", "longer"],
)
def test_other_content_is_other_content(other: bytes, syntax: str) -> None:
    assert not same(DATA, other, syntax)
    assert not same(other, DATA, syntax)


@pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
def test_other_content_is_other_content_in_another_transfer_syntax(syntax: str) -> None:
    other = b"".join(
        bytes(piece)
        for piece in to_transfer_syntax(data_set(patient="P2"), EXPLICIT_VR_LITTLE_ENDIAN, syntax)
    )
    assert not equal(memoryview(DATA), EXPLICIT_VR_LITTLE_ENDIAN, memoryview(other), syntax)


@pytest.mark.parametrize(
    "syntax", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN], ids=["bytes", "converted"]
)
def test_what_was_read_is_told_as_it_goes_so_that_its_pages_can_be_given_back(syntax: str) -> None:
    data = data_set(pixels=9 << 20)
    pieces = to_transfer_syntax(memoryview(data), EXPLICIT_VR_LITTLE_ENDIAN, syntax)
    other = b"".join(bytes(piece) for piece in pieces)
    read: list[int] = []
    assert equal(memoryview(data), EXPLICIT_VR_LITTLE_ENDIAN, memoryview(other), syntax, was_read=read.append)
    assert sum(read) >= len(data)
    assert max(read) <= 2 << 20
