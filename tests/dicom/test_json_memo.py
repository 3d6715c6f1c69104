"""DICOM JSON made with memory, against the same made without."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.dicom import json_memo
from dicomwire.dicom.bulk_data import BulkData, format_path
from dicomwire.dicom.dictionary import TAGS
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
    assert sum(len(known.elements) + len(known.runs) for known in memo._known.values()) < 20


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 6), min_size=2, max_size=12))
def test_whatever_elements_instances_have_in_common(instances: list[tuple[int, ...]]) -> None:
    """Each instance has one of two values, or none, in each of six elements; runs of them come and go."""
    keywords = ("StudyDate", "Modality", "PatientID", "PatientName", "BodyPartExamined", "StudyID")
    vrs = {
        "StudyDate": "DA",
        "Modality": "CS",
        "PatientName": "PN",
        "BodyPartExamined": "CS",
        "StudyID": "SH",
    }
    memo = JsonMemo()
    for chosen in instances:
        values = zip(keywords, chosen, strict=True)
        content = [element(each, vrs.get(each, "LO"), b"A" * 2 * number) for each, number in values if number]
        content += [element("BitsAllocated", "US", b"\x10\0"), element("WindowCenter", "DS", b"1 ")]
        same(memo, write(content, EXPLICIT_VR_LITTLE_ENDIAN))


def test_a_run_is_taken_as_a_whole_and_ends_where_instances_differ() -> None:
    memo = JsonMemo()
    keywords = ("Modality", "PatientName", "PatientID", "BodyPartExamined", "StudyID")
    for number in range(4):
        common = [element(each, "LO", b"AB") for each in keywords]
        varying = element("InstanceNumber", "IS", b"%d " % number)
        same(memo, write([*common, varying], EXPLICIT_VR_LITTLE_ENDIAN))
    (runs,) = memo._known[b""].runs.values()
    assert TAGS["StudyID"] in {run.last for run in runs}


@given(st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_any_bytes_are_judged_alike(pieces: list[bytes], led: bool) -> None:
    memo = JsonMemo()
    start = write(ORDINARY, EXPLICIT_VR_LITTLE_ENDIAN) if led else b""
    for piece in pieces:
        same(memo, start + piece)
