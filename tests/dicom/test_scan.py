"""The scanner's errors, findings and limits (PS3.5 7)."""

from __future__ import annotations

import zlib
from struct import pack

import pytest

from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.scan import INDEXED, PixelData, scan
from dicomwire.errors import DataSetError
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dicom.data_sets import SYNTAXES, Element, element, sequence, write

JPEG = "1.2.840.10008.1.2.4.50"
UID = element("SOPInstanceUID", "UI", "1.2.3")
NAME = element("PatientName", "PN", "Doe^John")
REQUEST = sequence("RequestAttributesSequence", [element("RequestedProcedureID", "SH", "RP1")])


def test_an_empty_data_set_is_an_empty_scan() -> None:
    found = scan(b"", EXPLICIT_VR_LITTLE_ENDIAN)
    assert found.values == {}
    assert found.findings == ()
    assert found.text(TAGS["SOPInstanceUID"]) == ""
    assert found.integer(TAGS["Rows"]) is None


def test_text_is_decoded_and_trimmed() -> None:
    charset = element("SpecificCharacterSet", "CS", "ISO_IR 192")
    found = scan(
        write([charset, UID, element("PatientName", "PN", "Müller^Jörg ")]), EXPLICIT_VR_LITTLE_ENDIAN
    )
    assert found.text(TAGS["PatientName"]) == "Müller^Jörg"
    assert found.text(TAGS["SOPInstanceUID"]) == "1.2.3"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_integers_come_in_every_byte_order(syntax: str) -> None:
    elements = [
        element("SeriesNumber", "IS", " 12 "),
        element("NumberOfFrames", "IS", "3\\4"),
        element("Rows", "US", pack("<H", 512)),
        element("Columns", "US", b""),
    ]
    found = scan(write(elements, syntax), syntax)
    numbers = [found.integer(TAGS[name]) for name in ("SeriesNumber", "NumberOfFrames", "Rows", "Columns")]
    assert numbers == [12, 3, 512, None]


@pytest.mark.parametrize("value", ["", "one", "1A", "9" * 30])
def test_what_is_no_integer_is_none(value: str) -> None:
    found = scan(write([element("SeriesNumber", "IS", value)]), EXPLICIT_VR_LITTLE_ENDIAN)
    assert found.integer(TAGS["SeriesNumber"]) is None


def test_values_in_items_are_not_the_data_sets() -> None:
    inner = sequence("ReferencedStudySequence", [element("PatientName", "PN", "Inner"), UID])
    found = scan(write([inner, NAME]), EXPLICIT_VR_LITTLE_ENDIAN)
    assert found.text(TAGS["PatientName"]) == "Doe^John"
    assert TAGS["SOPInstanceUID"] not in found.values


def nested(depth: int, undefined: bool, syntax: str) -> bytes:
    """Sequences within sequences, written from the inside out."""
    value = b""
    for _ in range(depth):
        item = pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF if undefined else len(value)) + value
        if undefined:
            item += pack("<HHI", 0xFFFE, 0xE00D, 0) + pack("<HHI", 0xFFFE, 0xE0DD, 0)
        length = 0xFFFFFFFF if undefined else len(item)
        if syntax == IMPLICIT_VR_LITTLE_ENDIAN:
            value = pack("<HHI", 0x0040, 0xA730, length) + item
        else:
            value = pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, length) + item
    return value


@pytest.mark.parametrize("syntax", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
@pytest.mark.parametrize("undefined", [False, True])
def test_depth_is_limited(undefined: bool, syntax: str) -> None:
    assert scan(nested(64, undefined, syntax), syntax).findings == ()
    for depth in (65, 10_000):
        with pytest.raises(DataSetError, match="more than 64 sequences"):
            scan(nested(depth, undefined, syntax), syntax)
    with pytest.raises(DataSetError, match="more than 3 sequences"):
        scan(nested(4, undefined, syntax), syntax, depth_limit=3)


def test_depth_is_limited_within_un() -> None:
    value = nested(10_000, True, IMPLICIT_VR_LITTLE_ENDIAN)
    item = pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + value
    with pytest.raises(DataSetError, match="more than 64 sequences"):
        scan(pack("<HH2sHI", 0x0009, 0x1010, b"UN", 0, 0xFFFFFFFF) + item, EXPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize("syntax", [EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
def test_un_of_undefined_length_is_implicit_little_endian_inside(syntax: str) -> None:
    order = ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
    header = pack(order + "HH2sHI", 0x0040, 0x0275, b"UN", 0, 0xFFFFFFFF)
    items = pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + write(
        [element("RequestedProcedureID", "SH", "RP1")], IMPLICIT_VR_LITTLE_ENDIAN
    )
    items += pack("<HHI", 0xFFFE, 0xE00D, 0)
    data = (
        header
        + items
        + pack("<HHI", 0xFFFE, 0xE0DD, 0)
        + write([element("Occupation", "SH", "none")], syntax)
    )
    tag = TAGS["RequestAttributesSequence"]
    found = scan(data, syntax)
    assert found.values[tag] == items
    assert found.implicit_sequences == {tag}
    assert not found.decoder_of(tag).encoding.explicit


def test_private_sequences_are_walked_and_unknown_values_are_opaque() -> None:
    private = Element(0x00091010, "SQ", REQUEST.value, True)
    for syntax in SYNTAXES:
        assert scan(write([private, NAME], syntax), syntax).text(TAGS["PatientName"]) == "Doe^John"
    opaque = Element(0x00091010, "UN", b"\xfe\xff\x00\xe0\xff\xff\xff\x7f")
    assert scan(write([opaque, NAME], IMPLICIT_VR_LITTLE_ENDIAN), IMPLICIT_VR_LITTLE_ENDIAN).findings == ()


ERRORS = [
    ("value longer than the data", write([NAME])[:-3], r"\(0010,0010\) PN: a value of 8 bytes, 5 remain"),
    ("header cut", write([UID, NAME])[:-12], "bytes remain after"),
    ("long header cut", write([element("TextValue", "UT", "x")])[:10], "bytes remain"),
    ("sequence cut", write([REQUEST])[:-3], "a value of"),
    (
        "item longer than its sequence",
        bytes.fromhex("40007502 53510000 08000000 feff00e0 10000000") + bytes(16),
        "an item of 16 bytes, 0 remain",
    ),
    (
        "value longer than its item",
        bytes.fromhex("40007502 53510000 10000000 feff00e0 08000000 40000910 53480800") + bytes(8),
        r"\(0040,1009\) SH: a value of 8 bytes, 0 remain",
    ),
    ("no item", bytes.fromhex("40007502 53510000 08000000 40000910 53480000"), "where an item was due"),
    (
        "undefined, never delimited",
        bytes.fromhex("40007502 53510000 ffffffff"),
        "without its sequence delimitation",
    ),
    (
        "item never delimited",
        bytes.fromhex("40007502 53510000 ffffffff feff00e0 ffffffff"),
        "without its delimitation item",
    ),
    ("fragments never delimited", bytes.fromhex("e07f1000 4f420000 ffffffff feff00e0 00000000"), "8 wanted"),
    (
        "fragment too long",
        bytes.fromhex("e07f1000 4f420000 ffffffff feff00e0 08000000 0000"),
        "a fragment of 8 bytes",
    ),
    (
        "no fragment",
        bytes.fromhex("e07f1000 4f420000 ffffffff 08000500 43530000"),
        "where an item was expected",
    ),
]


@pytest.mark.parametrize(
    ("data", "words"), [error[1:] for error in ERRORS], ids=[error[0] for error in ERRORS]
)
def test_errors_name_the_element_and_the_bytes(data: bytes, words: str) -> None:
    with pytest.raises(DataSetError, match=words) as caught:
        scan(data, EXPLICIT_VR_LITTLE_ENDIAN)
    assert 0 <= caught.value.offset <= len(data)
    assert caught.value.section.startswith("PS3.5")


def test_explicit_data_under_an_implicit_syntax_is_told() -> None:
    with pytest.raises(DataSetError, match="reads like explicit VR"):
        scan(write([element("SpecificCharacterSet", "CS", "ISO_IR 100")]), IMPLICIT_VR_LITTLE_ENDIAN)


FINDINGS = [
    ("order", write([NAME, UID]), "out of order"),
    ("order within a group", write([element("PatientID", "LO", "1 "), NAME]), "out of order"),
    ("repetition", write([UID, UID, NAME]), "repeated"),
    ("odd length", bytes.fromhex("08006000 43530300") + b"CT " + write([NAME]), r"\(0008,0060\).*odd"),
    ("unknown VR", bytes.fromhex("08006000 5a5a0200") + b"CT" + write([NAME]), "unknown VR ZZ"),
    ("unknown long VR", bytes.fromhex("08006000 5a5a0000 02000000") + b"CT" + write([NAME]), "unknown VR ZZ"),
    ("empty unknown VR", bytes.fromhex("08006000 5a5a0000") + write([NAME]), "unknown VR ZZ"),
    ("implicit element", bytes.fromhex("08006000 02000000") + b"CT" + write([NAME]), "implicit VR"),
    ("meta element", bytes.fromhex("02001000 55490000") + write([NAME]), r"\(0002,0010\)"),
    ("command element", bytes.fromhex("00000001 55530000") + write([NAME]), r"\(0000,0100\)"),
    ("stray delimiter", bytes.fromhex("feff0de0 00000000") + write([NAME]), "delimits nothing"),
    ("zeros behind", write([NAME]) + bytes(77), "77 zero bytes"),
    ("one zero behind", write([NAME]) + bytes(1), "1 zero bytes"),
    ("many zeros behind", write([NAME]) + bytes(200_000), "200000 zero bytes"),
    ("character set", write([element("SpecificCharacterSet", "CS", "KLINGON"), NAME]), "'KLINGON'"),
]


@pytest.mark.parametrize(("data", "words"), [one[1:] for one in FINDINGS], ids=[one[0] for one in FINDINGS])
def test_what_can_be_read_is_a_finding(data: bytes, words: str) -> None:
    found = scan(data, EXPLICIT_VR_LITTLE_ENDIAN)
    assert len(found.findings) == 1
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(found.findings[0])
    assert found.text(TAGS["PatientName"]) == "Doe^John"


def test_findings_are_one_a_kind_however_long_the_data() -> None:
    assert len(scan(write([UID] * 5_000), EXPLICIT_VR_LITTLE_ENDIAN).findings) == 1


def test_trailing_padding_is_no_finding() -> None:
    padding = Element(0xFFFCFFFC, "OB", bytes(126))
    for syntax in SYNTAXES:
        assert scan(write([NAME, padding], syntax), syntax).findings == ()


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_native_pixel_data_is_located(syntax: str) -> None:
    data = write([NAME, Element(0x7FE00010, "OW", b"\1\2\3\4")], syntax)
    vr = "" if syntax == IMPLICIT_VR_LITTLE_ENDIAN else "OW"
    assert scan(data, syntax).pixel_data == PixelData(0x7FE00010, vr, len(data) - 4, 4, len(data))


def test_encapsulated_pixel_data_and_its_tables_are_located() -> None:
    table = write([Element(0x7FE00001, "OV", pack("<Q", 0)), Element(0x7FE00002, "OV", pack("<Q", 4))])
    pixels = bytes.fromhex(
        "e07f1000 4f420000 ffffffff feff00e0 00000000 feff00e0 04000000 ffd8ffd9 feffdde0 00000000"
    )
    padding = write([Element(0xFFFCFFFC, "OB", b"\0\0")])
    found = scan(table + pixels + padding, JPEG)
    end = len(table) + len(pixels)
    assert found.pixel_data == PixelData(0x7FE00010, "OB", len(table) + 12, None, end)
    assert found.extended_offset_table == (12, 8)
    assert found.extended_offset_table_lengths == (32, 8)


def test_icons_are_not_the_pixel_data() -> None:
    icon = sequence("IconImageSequence", [Element(0x7FE00010, "OB", b"\1\2")])
    assert scan(write([icon]), EXPLICIT_VR_LITTLE_ENDIAN).pixel_data is None


def deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def test_deflated_data_sets_are_inflated_whatever_pads_them() -> None:
    small = deflate(write([NAME]))
    for padding in (b"", b"\0"):
        found = scan(small + padding, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
        assert found.text(TAGS["PatientName"]) == "Doe^John"
        assert found.length == 16


def test_a_deflated_data_set_cut_or_damaged_is_an_error() -> None:
    small = deflate(write([NAME, UID]))
    for length in range(1, len(small)):
        with pytest.raises(DataSetError, match=r"deflated data set: (cut|damaged)"):
            scan(small[:length], DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(DataSetError, match="damaged"):
        scan(b"\xff" * 30, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


def test_a_zip_bomb_ends_at_the_limit() -> None:
    bomb = deflate(bytes(100_000_000))
    with pytest.raises(DataSetError, match="more than the limit of 1048576"):
        scan(bomb, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, inflate_limit=1 << 20)


def test_unknown_transfer_syntaxes_are_read_as_explicit_little_endian() -> None:
    assert scan(write([NAME]), "1.2.3.4").text(TAGS["PatientName"]) == "Doe^John"


def test_the_keys_of_every_query_model_are_indexed() -> None:
    keys = "PatientName PatientID StudyDate StudyTime AccessionNumber StudyID StudyInstanceUID Modality"
    keys += " SeriesNumber SeriesInstanceUID InstanceNumber SOPInstanceUID SOPClassUID"
    keys += " ReferringPhysicianName Rows Columns"
    keys += " RequestAttributesSequence PerformedProcedureStepStartDate PerformedProcedureStepStartTime"
    assert {TAGS[keyword] for keyword in keys.split()} <= INDEXED
