"""The DICOM JSON Model (PS3.18 F)."""

from __future__ import annotations

import json
from struct import pack

import pytest

from dicomwire.dicom.bulk_data import BulkData, format_path, locate, parse_path
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.json_model import attribute, encode
from dicomwire.dicom.json_model import element as element_json
from dicomwire.dicom.scan import scan
from dicomwire.errors import DataSetError
from dicomwire.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.dicom.data_sets import SYNTAXES, Element, element, sequence, write


def uri(bulk: BulkData) -> str:
    return f"../bulk/{format_path(bulk.path)}"


def model(
    elements: list[Element], syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, **options: object
) -> dict[str, object]:
    text = encode(write(elements, syntax), syntax, bulk_data_uri=uri, **options)  # type: ignore[arg-type]
    loaded: dict[str, object] = json.loads(text, parse_constant=_no_constant)
    return loaded


def _no_constant(name: str) -> object:
    raise AssertionError(f"{name} is not JSON")


VALUES = [
    ("DS", b"1.50", [1.5]),
    ("DS", b"0.6835940", [0.683594]),
    ("DS", b"+.5 \\-3.\\1e2 ", [0.5, -3.0, 100.0]),
    ("DS", b"007.50", [7.5]),
    ("DS", b"abc ", ["abc"]),
    ("DS", b"NaN ", ["NaN"]),
    ("DS", b"1e999", ["1e999"]),
    ("DS", b"1_0 ", ["1_0"]),
    ("DS", b"1\\\\2 ", [1, None, 2]),
    ("IS", b"-07 ", [-7]),
    ("IS", b"1.0 ", [1]),
    ("IS", b"1A", ["1A"]),
    ("CS", b"A\\\\B ", ["A", None, "B"]),
    ("CS", b"  ", None),
    ("LO", b' "q"\\t', [' "q"', "t"]),
    ("UT", b"a\\b\r\n", ["a\\b\r\n"]),
    ("PN", b"A^B=C=D ", [{"Alphabetic": "A^B", "Ideographic": "C", "Phonetic": "D"}]),
    ("PN", b"=C\\", [{"Ideographic": "C"}, None]),
    ("PN", b"A== ", [{"Alphabetic": "A"}]),
    ("UI", b"1.2\\3.4\0", ["1.2", "3.4"]),
    ("AT", pack("<HH", 0x0018, 0x00FF), ["001800FF"]),
    ("US", pack("<2H", 1, 65535), [1, 65535]),
    ("SS", pack("<h", -2), [-2]),
    ("UV", pack("<Q", 2**64 - 1), [2**64 - 1]),
    ("FL", pack("<f", 0.5), [0.5]),
    ("FL", pack("<3f", float("nan"), float("inf"), float("-inf")), ["NaN", "Infinity", "-Infinity"]),
    ("FD", pack("<d", 0.1), [0.1]),
    ("US", b"\1", None),
    ("LO", b"", None),
]


@pytest.mark.parametrize(
    ("vr", "value", "expected"), VALUES, ids=[f"{vr} {value!r}" for vr, value, _ in VALUES]
)
def test_values_are_of_the_json_type_of_their_vr(
    vr: str, value: bytes, expected: list[object] | None
) -> None:
    made = model([Element(0x00181000, vr, value)])["00181000"]
    assert made == ({"vr": vr} if expected is None else {"vr": vr, "Value": expected})
    found = json.loads(element_json(0x00181000, vr, value, scan(b"", EXPLICIT_VR_LITTLE_ENDIAN).decoder))
    assert found == made


def test_decimal_strings_keep_their_digits() -> None:
    text = encode(
        write([element("SliceThickness", "DS", "0.6835940")]), EXPLICIT_VR_LITTLE_ENDIAN, bulk_data_uri=None
    )
    assert b'"Value":[0.6835940]' in text


@pytest.mark.parametrize(
    ("keyword", "vr", "text", "expected"),
    [
        ("SliceThickness", "DS", "1" * 5_000, "1" * 5_000),
        ("SeriesNumber", "IS", "1" * 5_000, "1" * 5_000),
        ("SeriesNumber", "IS", "1" * 50, int("1" * 50)),
        ("SeriesNumber", "IS", "-9007199254740993", -9007199254740993),  # no float has it
    ],
)
def test_numbers_are_exact_and_none_is_longer_than_readers_take(
    keyword: str, vr: str, text: str, expected: str | int
) -> None:
    assert model([element(keyword, vr, text)])[f"{TAGS[keyword]:08X}"]["Value"] == [expected]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_binary_values_are_inline_little_endian_or_named_by_a_uri(syntax: str) -> None:
    small = Element(TAGS["RedPaletteColorLookupTableData"], "OW", b"\1\2\3\4")
    large = Element(TAGS["GreenPaletteColorLookupTableData"], "OW", bytes(1026))
    made = model([small, large], syntax)
    assert made["00281201"] == {"vr": "OW", "InlineBinary": "AQIDBA=="}
    assert made["00281202"] == {"vr": "OW", "BulkDataURI": "../bulk/00281202"}


def test_pixel_data_is_never_inline() -> None:
    for pixels in (b"\1\2", b""):
        made = model([Element(0x7FE00010, "OB", pixels)])["7FE00010"]
        assert made == ({"vr": "OB", "BulkDataURI": "../bulk/7FE00010"} if pixels else {"vr": "OB"})
    data = write([Element(0x7FE00010, "OB", b"\1\2")])
    assert encode(data, EXPLICIT_VR_LITTLE_ENDIAN, bulk_data_uri=None) == b"{}"


def test_items_are_objects_and_empty_sequences_have_no_value() -> None:
    made = model([sequence("ContentSequence", [element("PatientID", "LO", "1 ")], [], undefined=True)])
    assert made == {"0040A730": {"vr": "SQ", "Value": [{"00100020": {"vr": "LO", "Value": ["1"]}}, {}]}}
    assert model([sequence("ContentSequence")]) == {"0040A730": {"vr": "SQ"}}


def test_group_lengths_and_foreign_groups_are_left_out_and_members_are_in_order() -> None:
    made = model(
        [
            Element(0x00080000, "UL", pack("<I", 4)),
            Element(0x00020010, "UI", b"1.2\0"),
            element("PatientID", "LO", "1 "),
            element("Modality", "CS", "CT"),
            Element(0xFFFCFFFC, "OB", b"\0\0"),
        ]
    )
    assert list(made) == ["00080060", "00100020"]


def test_text_is_utf_8_and_says_so() -> None:
    charset = element("SpecificCharacterSet", "CS", "ISO_IR 144")
    name = Element(TAGS["PatientName"], "PN", "Люк".encode("iso8859_5") + b" ")
    made = model([charset, name])
    assert made["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert made["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Люк"}]}
    assert "00080005" in model([Element(TAGS["PatientName"], "PN", b"J\xf6rg")])
    assert "00080005" not in model([Element(TAGS["PatientName"], "PN", b"Jorg")])


def test_an_item_may_have_its_own_character_set() -> None:
    latin = [element("SpecificCharacterSet", "CS", "ISO_IR 100"), Element(TAGS["PatientID"], "LO", b"\xe9 ")]
    charset = element("SpecificCharacterSet", "CS", "ISO_IR 192")
    made = model([charset, sequence("ContentSequence", latin, [element("PatientID", "LO", "é")])])
    content = made["0040A730"]
    assert isinstance(content, dict)
    assert [item["00100020"]["Value"] for item in content["Value"]] == [["é"], ["é"]]


def test_extra_attributes_win_and_are_in_order() -> None:
    extra = {
        0x00083002: attribute("UI", ["1.2"]),
        0x00201206: attribute("IS", [3]),
        0x00100020: attribute("LO"),
    }
    made = model([element("Modality", "CS", "CT"), element("PatientID", "LO", "1 ")], extra=extra)
    assert list(made) == ["00080060", "00083002", "00100020", "00201206"]
    assert made["00100020"] == {"vr": "LO"}
    assert made["00201206"] == {"vr": "IS", "Value": [3]}


def test_vrs_that_implicit_leaves_open_follow_the_pixels() -> None:
    for representation, vr, number in ((0, "US", 65535), (1, "SS", -1)):
        elements = [
            Element(0x00189810, "US", b"\xff\xff"),  # before Pixel Representation in the data set
            element("PixelRepresentation", "US", pack("<H", representation)),
            element("SmallestImagePixelValue", vr, b"\xff\xff"),
            sequence("ModalityLUTSequence", [element("LUTDescriptor", vr, pack("<3H", 1, 0, 16))]),
        ]
        made = model(elements, IMPLICIT_VR_LITTLE_ENDIAN)
        assert made["00189810"] == {"vr": vr, "Value": [number]}
        assert made["00280106"] == {"vr": vr, "Value": [number]}


def test_un_of_a_known_attribute_is_read_by_the_dictionary() -> None:
    known = Element(TAGS["PatientID"], "UN", b"12")
    items = write([element("PatientID", "LO", "1 ")], IMPLICIT_VR_LITTLE_ENDIAN)
    content = Element(TAGS["ContentSequence"], "UN", pack("<HHI", 0xFFFE, 0xE000, len(items)) + items)
    broken = Element(TAGS["ReferencedStudySequence"], "UN", b"\1\2\3\4")
    private = Element(0x00091010, "UN", b"\1\2")
    made = model([broken, private, known, content])
    assert made["00081110"] == {"vr": "UN", "InlineBinary": "AQIDBA=="}
    assert made["00091010"] == {"vr": "UN", "InlineBinary": "AQI="}
    assert made["00100020"] == {"vr": "LO", "Value": ["12"]}
    assert made["0040A730"] == {"vr": "SQ", "Value": [{"00100020": {"vr": "LO", "Value": ["1"]}}]}


def test_a_cut_data_set_is_an_error() -> None:
    with pytest.raises(DataSetError):
        encode(write([element("PatientID", "LO", "1 ")])[:-1], EXPLICIT_VR_LITTLE_ENDIAN, bulk_data_uri=uri)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_bulk_data_in_items_is_found_by_its_path(syntax: str) -> None:
    wave = Element(TAGS["WaveformData"], "OW", bytes(range(200)) * 10)
    data = write([sequence("WaveformSequence", [element("PatientID", "LO", "1 ")], [wave])], syntax)
    made = json.loads(encode(data, syntax, bulk_data_uri=uri))
    name = made["54000100"]["Value"][1]["54001010"]["BulkDataURI"].removeprefix("../bulk/")
    assert name == "54000100/1/54001010"
    path = parse_path(name)
    assert path is not None
    found = locate(data, syntax, path)
    assert found is not None
    assert (found.vr, found.length, found.encapsulated) == ("OW", 2000, False)
    assert found.little_endian == (syntax != EXPLICIT_VR_BIG_ENDIAN)
    first = data[found.offset : found.offset + 2]
    assert first == (b"\0\1" if found.little_endian else b"\1\0")
    assert locate(data, syntax, (0x54000100, 2, 0x54001010)) is None
    assert locate(data, syntax, (0x54000100,)) is None


@pytest.mark.parametrize(
    "text", ["", "7FE0", "7FE00010/", "../7FE00010", "54000100/54001010", "54000100/-1/54001010", "7fe0001g"]
)
def test_what_is_no_path_is_none(text: str) -> None:
    assert parse_path(text) is None
