"""DICOM JSON made with memory, against the same made without."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.dicom import json_memo
from dicomwire.dicom.bulk_data import BulkData, format_path
from dicomwire.dicom.json_memo import JsonMemo
from dicomwire.dicom.json_model import encode
from dicomwire.errors import DataSetError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.dicom.data_sets import Element, element, sequence, write


def uri(value: BulkData) -> str:
    return f"{value.length}/{value.offset}/{format_path(value.path)}"


def same(memo: JsonMemo, data: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> None:
    """Twice: once made, once remembered."""
    expected: bytes | str
    try:
        expected = encode(data, syntax, bulk_data_uri=uri)
    except DataSetError as error:
        expected = str(error)
    for _ in range(2):
        found: bytes | str
        try:
            found = memo.encode(memoryview(data), syntax, bulk_data_uri=uri)
        except DataSetError as error:
            found = str(error)
        assert found == expected


ORDINARY: list[Element] = [
    element("SpecificCharacterSet", "CS", b"ISO_IR 100"),
    element("Modality", "CS", b"CT"),
    element("PatientName", "PN", "M\xfcller^Jo".encode("latin_1")),
    element("PixelRepresentation", "US", pack("<H", 1)),
    element("SmallestImagePixelValue", "SS", pack("<h", -5)),
    element("WindowCenter", "DS", b"1.50\\2 "),
]


@pytest.mark.parametrize("syntax", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
def test_ordinary_data_sets(syntax: str) -> None:
    same(JsonMemo(), write(ORDINARY, syntax), syntax)


def test_text_is_remembered_for_its_character_set_alone() -> None:
    memo = JsonMemo()
    name = element("PatientName", "PN", b"\xc3\xbc")
    for term in (b"ISO_IR 100", b"ISO_IR 192", b"ISO_IR 144"):
        same(memo, write([element("SpecificCharacterSet", "CS", term), name], EXPLICIT_VR_LITTLE_ENDIAN))
    same(memo, write([name], EXPLICIT_VR_LITTLE_ENDIAN))


@pytest.mark.parametrize("undefined", [False, True])
def test_sequences(undefined: bool) -> None:
    inner = [element("CodeValue", "SH", b"A "), element("WindowCenter", "DS", b"1 ")]
    nested = sequence("ReferencedImageSequence", inner, [], undefined=undefined)
    same(JsonMemo(), write([nested, element("PatientID", "LO", b"P1")], EXPLICIT_VR_LITTLE_ENDIAN))


def test_bulk_data_are_never_remembered() -> None:
    memo = JsonMemo()
    for number in range(3):
        icon = sequence("IconImageSequence", [element("PixelData", "OW", b"\0" * 8)])
        private = Element(0x00091010, "OB", b"\1" * 2000)
        head = element("Modality", "CS", b"CT" * (number + 1))
        pixels = element("PixelData", "OW", b"\2" * 40)
        same(memo, write([head, private, icon, pixels], EXPLICIT_VR_LITTLE_ENDIAN))


def test_data_sets_out_of_order_or_cut() -> None:
    memo = JsonMemo()
    whole = write([*ORDINARY[1:], ORDINARY[1]], EXPLICIT_VR_LITTLE_ENDIAN)
    for length in range(len(whole) + 1):
        same(memo, whole[:length])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_memo, "_CAPACITY", 2_000)
    memo = JsonMemo()
    for number in range(200):
        same(memo, write([element("PatientID", "LO", b"%04d" % number)], EXPLICIT_VR_LITTLE_ENDIAN))
    assert sum(map(len, memo._known.values())) < 20


@given(st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_any_bytes_are_judged_alike(pieces: list[bytes], led: bool) -> None:
    memo = JsonMemo()
    start = write(ORDINARY, EXPLICIT_VR_LITTLE_ENDIAN) if led else b""
    for piece in pieces:
        same(memo, start + piece)
