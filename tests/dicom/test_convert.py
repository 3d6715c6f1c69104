"""Conversion between uncompressed transfer syntaxes: lengths, memory, what it refuses."""

from __future__ import annotations

import tracemalloc
from struct import pack

import pytest

from dicomwire.dicom.convert import BLOCK, Edits, edited, to_explicit_vr_little_endian, to_transfer_syntax
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import EXPLICIT_LITTLE
from dicomwire.dicom.scan import scan
from dicomwire.errors import DataSetError, LocalProtocolError
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dicom.data_sets import Element, element, sequence, write


def vrs(data: bytes) -> dict[int, str]:
    return {step.tag: step.vr for step in elements(data, EXPLICIT_LITTLE) if step.kind is Kind.VALUE}


def converted(tree: list[Element], source: str) -> bytes:
    return b"".join(to_explicit_vr_little_endian(write(tree, source), source))


def test_implicit_values_get_the_dictionarys_vr_or_un() -> None:
    tree = [
        Element(0x00090010, "LO", b"CREATOR "),
        Element(0x00091010, "UN", b"\1\2"),
        element("PatientID", "LO", "1 "),
        Element(0x60003000, "OW", b"\1\2"),
        Element(0x7FE00010, "OW", b"\1\2"),
    ]
    found = vrs(converted(tree, IMPLICIT_VR_LITTLE_ENDIAN))
    assert list(found.values()) == ["LO", "UN", "LO", "OW", "OW"]


def test_a_value_too_long_for_its_vr_becomes_un() -> None:
    tree = [
        Element(TAGS["ImageComments"], "LT", b"x" * 65_536),
        Element(TAGS["PatientID"], "LO", b"y" * 65_534),
    ]
    tree.sort(key=lambda one: one.tag)
    data = converted(tree, IMPLICIT_VR_LITTLE_ENDIAN)
    assert vrs(data) == {TAGS["PatientID"]: "LO", TAGS["ImageComments"]: "UN"}
    assert data.endswith(b"x" * 65_536)


def test_group_lengths_are_left_out() -> None:
    inner = sequence(
        "ContentSequence", [Element(0x00100000, "UL", pack("<I", 9)), element("PatientID", "LO", "1 ")]
    )
    tree = [Element(0x00080000, "UL", pack("<I", 99)), inner]
    data = converted(tree, IMPLICIT_VR_LITTLE_ENDIAN)
    assert vrs(data) == {TAGS["PatientID"]: "LO"}


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_big_endian_pixels_are_reversed_by_their_size(bits: int) -> None:
    pixels = bytes(range(16))
    unit = max(bits // 8, 2)
    stored = b"".join(pixels[i : i + unit][::-1] for i in range(0, 16, unit))
    data = write([element("BitsAllocated", "US", pack("<H", bits))], EXPLICIT_VR_BIG_ENDIAN)
    data += pack(">HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 16) + stored
    assert b"".join(to_explicit_vr_little_endian(data, EXPLICIT_VR_BIG_ENDIAN)).endswith(pixels)


def test_the_same_syntax_gives_the_same_bytes_in_pieces() -> None:
    data = write([Element(0x7FE00010, "OW", bytes(3 * BLOCK))])
    pieces = list(to_transfer_syntax(data, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= BLOCK


@pytest.mark.parametrize("source", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
def test_large_values_pass_in_bounded_memory(source: str) -> None:
    data = write([element("PatientID", "LO", "1 "), Element(0x7FE00010, "OW", bytes(24 * BLOCK))], source)
    tracemalloc.start()
    length = sum(len(piece) for piece in to_explicit_vr_little_endian(data, source))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length > 24 * BLOCK
    assert peak < 6 * BLOCK


def test_deflated_data_sets_inflate_as_they_are_sent() -> None:
    data = write([Element(0x7FE00010, "OW", bytes(80 * BLOCK))])  # above the limit of what is held in memory
    deflated = DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    small = b"".join(to_transfer_syntax(data, EXPLICIT_VR_LITTLE_ENDIAN, deflated))
    tracemalloc.start()
    length = sum(len(piece) for piece in to_explicit_vr_little_endian(small, deflated))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length == len(data)
    assert peak < 6 * BLOCK


def test_codecs_are_not_ours() -> None:
    for source, target in (
        (EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.5"),
        ("1.2.3", IMPLICIT_VR_LITTLE_ENDIAN),
    ):
        with pytest.raises(LocalProtocolError, match="codec"):
            to_transfer_syntax(b"", source, target)


def test_a_cut_data_set_is_an_error() -> None:
    data = write([element("PatientID", "LO", "1 ")], EXPLICIT_VR_BIG_ENDIAN)
    with pytest.raises(DataSetError):
        list(to_explicit_vr_little_endian(data[:-1], EXPLICIT_VR_BIG_ENDIAN))


def test_un_sequences_come_out_as_sequences() -> None:
    items = write([element("PatientID", "LO", "1 ")], IMPLICIT_VR_LITTLE_ENDIAN)
    data = pack(">HH2sHI", 0x0040, 0xA730, b"UN", 0, 0xFFFFFFFF)
    data += pack("<HHI", 0xFFFE, 0xE000, len(items)) + items + pack("<HHI", 0xFFFE, 0xE0DD, 0)
    made = b"".join(to_explicit_vr_little_endian(data, EXPLICIT_VR_BIG_ENDIAN))
    assert scan(made, EXPLICIT_VR_LITTLE_ENDIAN).findings == ()
    assert vrs(made) == {TAGS["PatientID"]: "LO"}


def test_sequence_that_is_replaced_goes_with_all_its_items() -> None:
    item = bytes.fromhex("FEFF00E0 FFFFFFFF 0800 5011 5549 0400 312E3200 FEFF0DE0 00000000")
    replaced = bytes.fromhex("0800 4011 5351 0000 FFFFFFFF") + item * 2 + bytes.fromhex("FEFFDDE0 00000000")
    after = bytes.fromhex("1000 2000 4C4F 0200 5031")
    for value in (None, ("SQ", b"")):
        edits = Edits(values={0x00081140: value})
        left = b"".join(
            map(bytes, edited(replaced + after, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, edits))
        )
        assert left == (b"" if value is None else bytes.fromhex("0800 4011 5351 0000 00000000")) + after


ITEMS = pack("<HHI", 0xFFFE, 0xE000, 8) + pack("<HHI", 0x0010, 0x0020, 0)  # one item, in implicit VR


@pytest.mark.parametrize("source", [EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
@pytest.mark.parametrize(
    "one",
    [
        Element(0x0072000C, "UV", b"\1\0\0\0\0\0\0\0"),
        Element(TAGS["ReferencedImageSequence"], "UN", b"no items"),
        Element(TAGS["ReferencedImageSequence"], "LO", b"none"),
    ],
)
def test_a_vr_that_contradicts_a_sequence_of_the_dictionary_is_refused_by_name(
    source: str, one: Element
) -> None:
    data = write([one, element("PatientID", "LO", "1 ")], source)
    with pytest.raises(DataSetError, match=rf" as {one.vr}: \d bytes that are no items"):
        b"".join(to_transfer_syntax(data, source, IMPLICIT_VR_LITTLE_ENDIAN))
    other = ({EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN} - {source}).pop()
    assert b"".join(to_transfer_syntax(data, source, other)) == write(
        [one, element("PatientID", "LO", "1 ")], other
    )


def test_items_where_implicit_vr_has_a_value_are_refused_by_name() -> None:
    pixels = sequence("PixelData", [element("PatientID", "LO", "1 ")], undefined=True)
    with pytest.raises(DataSetError, match=r"\(7FE0,0010\) as SQ: items"):
        b"".join(to_transfer_syntax(write([pixels]), EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))


@pytest.mark.parametrize(
    "first",
    [
        Element(TAGS["PixelData"], "OW", bytes(3 << 20)),
        sequence("ReferencedImageSequence", *[[element("PatientID", "LO", "x" * 64)] for _ in range(2000)]),
        sequence("ReferencedImageSequence", [Element(TAGS["PixelData"], "OW", bytes(3 << 20))]),
    ],
    ids=["a large value", "many small ones", "a large value in an item"],
)
def test_what_implicit_vr_cannot_express_is_refused_before_the_first_piece(first: Element) -> None:
    data = write([first, Element(TAGS["DigitalSignaturesSequence"], "UV", bytes(8))])
    pieces = to_transfer_syntax(data, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(DataSetError, match=r"\(FFFA,FFFA\) as UV"):
        next(pieces)


@pytest.mark.parametrize("value", [b"", ITEMS], ids=["empty", "items"])
def test_an_unknown_vr_of_a_sequence_that_holds_items_is_that_sequence(value: bytes) -> None:
    data = write([Element(TAGS["ReferencedImageSequence"], "UN", value)])
    implicit = b"".join(to_transfer_syntax(data, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))
    assert implicit == pack("<HHI", 0x0008, 0x1140, len(value)) + value
    assert scan(implicit, IMPLICIT_VR_LITTLE_ENDIAN)
