"""Attributes found by tag, in every encoding."""

from __future__ import annotations

from struct import pack

import pytest

from dicomwire.dicom.attributes import read_attributes
from dicomwire.dicom.encoding import encoding_of
from tests.dicom.data_sets import SYNTAXES, Element, element, sequence, write

ELEMENTS = [
    element("SpecificCharacterSet", "CS", "ISO_IR 100"),
    element("WindowCenter", "DS", "40\\abc\\-600.5"),
    element("Rows", "US", pack("<H", 512)),
    sequence(
        "SoftcopyVOILUTSequence",
        [
            Element(0x00283002, "US", pack("<3H", 2, 0xFC00, 12)),
            Element(0x00283003, "LO", b"Z\xfcrich"),
            Element(0x00283006, "OW", pack("<2H", 1, 4095)),
        ],
    ),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_values_are_read_whatever_the_encoding(syntax: str) -> None:
    ordered = sorted(ELEMENTS, key=lambda one: one.tag)
    found = read_attributes(write(ordered, syntax), encoding_of(syntax))
    assert found.number("Rows") == 512
    assert found.numbers("WindowCenter") == [40, -600.5]
    assert found.texts("WindowCenter") == ["40", "abc", "-600.5"]
    item = found.item("SoftcopyVOILUTSequence")
    assert item.words("LUTDescriptor") == [2, 0xFC00, 12]
    assert item.octets("LUTData") == pack("<2H", 1, 4095)
    assert item.text("LUTExplanation") == "Zürich"


def test_what_is_absent_is_empty() -> None:
    found = read_attributes(write(ELEMENTS), encoding_of("1.2.840.10008.1.2.1"))
    assert found.text("PatientName") == ""
    assert found.numbers("PatientName") == []
    assert found.number("Columns") is None
    assert found.items("ReferencedImageSequence") == []
    assert found.item("ReferencedImageSequence").item("ReferencedImageSequence").text("PatientID") == ""
    assert not found.has("Columns")
    assert found.has("SoftcopyVOILUTSequence")


def test_pixel_data_is_not_touched() -> None:
    cut = write([*ELEMENTS, Element(0x7FE00010, "OW", bytes(64))])
    found = read_attributes(cut, encoding_of("1.2.840.10008.1.2.1"))
    assert found.octets(0x7FE00010) == b""
