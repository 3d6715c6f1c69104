"""Data sets as values: round trips through JSON and every encoding, pydicom as the oracle."""

from __future__ import annotations

import json
from enum import IntEnum
from io import BytesIO

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicomwire.dicom.data_set import DataSet, decode, encode, from_json, to_json
from dicomwire.errors import InvalidAttribute
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

SYNTAXES = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)


def sample() -> DataSet:
    step = DataSet().put("ScheduledProcedureStepID", "S1").put("ScheduledProtocolCodeSequence", DataSet())
    return (
        DataSet()
        .put("PatientName", "Doe^Jane")
        .put("PatientID")
        .put("ModalitiesInStudy", "CT", "PT")
        .put("Rows", 512)
        .put("PatientWeight", "70.50")
        .put("RecommendedDisplayFrameRateInFloat", 12.5)
        .put("FrameIncrementPointer", 0x00181063)
        .put("ScheduledStepAttributesSequence", step, DataSet())
        .put("EncapsulatedDocument", b"\x01\x02\x03\x04")
    )


def read(content: bytes, syntax: str) -> pydicom.Dataset:
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        import zlib

        content = zlib.decompress(content, -15)
    return pydicom.dcmread(
        BytesIO(_meta(EXPLICIT_VR_LITTLE_ENDIAN if "1.99" in syntax else syntax) + content), force=True
    )


def _meta(syntax: str) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) & 1)
    body = b"\x02\x00\x10\x00UI" + len(uid).to_bytes(2, "little") + uid
    return b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_encoded_is_decoded_and_pydicom_reads_the_same(syntax: str) -> None:
    content = encode(sample(), syntax)
    assert len(content) % 2 == 0
    assert decode(content, syntax) == sample()
    found = read(content, syntax)
    assert found.PatientName == "Doe^Jane"
    assert found.PatientID == ""
    assert list(found.ModalitiesInStudy) == ["CT", "PT"]
    assert (found.Rows, str(found.PatientWeight), found.FrameIncrementPointer) == (512, "70.50", 0x00181063)
    assert found.RecommendedDisplayFrameRateInFloat == 12.5
    assert [len(item) for item in found.ScheduledStepAttributesSequence] == [2, 0]
    assert found.EncapsulatedDocument == b"\x01\x02\x03\x04"


def test_json_is_what_pydicom_makes_of_the_same_data_set() -> None:
    theirs = read(encode(sample(), EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
    ours = json.loads(to_json(sample()))
    assert {tag: ours[tag]["vr"] for tag in ours} == {tag: theirs[tag].VR for tag in ours}
    assert pydicom.Dataset.from_json(to_json(sample())) == theirs
    assert from_json(to_json(sample())) == sample()
    assert from_json(theirs.to_json()).keys() == sample().keys()


NAMES = {
    "ISO_IR 100": "Äneas^Rüdiger",
    "ISO_IR 144": "Жданов^Илья",
    "ISO_IR 192": "山田^太郎",
    "GB18030": "王^小东",
}


@pytest.mark.parametrize("character_set", NAMES)
def test_text_is_written_in_the_character_set_asked_for(character_set: str) -> None:
    data_set = DataSet().put("PatientName", NAMES[character_set])
    content = encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN, character_set=character_set)
    found = read(content, EXPLICIT_VR_LITTLE_ENDIAN)
    assert found.SpecificCharacterSet == character_set
    assert found.PatientName == NAMES[character_set]
    again = decode(content, EXPLICIT_VR_LITTLE_ENDIAN)
    assert again.text("PatientName") == NAMES[character_set]
    assert again.text("SpecificCharacterSet") == character_set


@pytest.mark.parametrize("character_set", ["", "ISO_IR 100", "ISO 2022 IR 87", "NONSENSE"])
def test_text_that_a_character_set_cannot_say_goes_out_as_utf_8(character_set: str) -> None:
    content = encode(
        DataSet().put("PatientName", "山田^太郎"), IMPLICIT_VR_LITTLE_ENDIAN, character_set=character_set
    )
    found = decode(content, IMPLICIT_VR_LITTLE_ENDIAN)
    assert found.text("PatientName") == "山田^太郎"
    assert found.text("SpecificCharacterSet") == "ISO_IR 192"


def test_plain_text_needs_no_character_set() -> None:
    content = encode(sample().put("SpecificCharacterSet", "ISO_IR 192"), EXPLICIT_VR_LITTLE_ENDIAN)
    assert "SpecificCharacterSet" not in read(content, EXPLICIT_VR_LITTLE_ENDIAN)


def test_items_have_the_character_set_of_the_whole() -> None:
    item = DataSet().put("SpecificCharacterSet", "ISO_IR 192").put("RequestedProcedureDescription", "Schädel")
    data_set = DataSet().put("RequestAttributesSequence", item)
    content = encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN, character_set="ISO_IR 100")
    (found,) = decode(content, EXPLICIT_VR_LITTLE_ENDIAN).sequence("RequestAttributesSequence")
    assert found.text("RequestedProcedureDescription") == "Schädel"


REFUSED = {
    "[]": "a JSON object was expected, not an array",
    "{": "no JSON",
    '{"0010001": {"vr": "PN"}}': "'0010001' is no tag",
    '{"00100010": []}': "(0010,0010): an attribute object was expected, not an array",
    '{"00100010": {"vr": "XX"}}': "'XX' is no VR",
    '{"00100010": {"vr": "PN", "Value": "x"}}': "(0010,0010): Value is a string, not an array",
    '{"00100010": {"vr": "PN", "Value": [{"Latin": "x"}]}}': "'Latin' is no component group",
    '{"00100010": {"vr": "PN", "Value": [{"Alphabetic": []}]}}': "a component group of a Person Name is no",
    '{"00280010": {"vr": "US", "Value": ["x"]}}': "'x' is no value of US",
    '{"00280010": {"vr": "US", "Value": [1], "InlineBinary": ""}}': "has InlineBinary and Value",
    '{"00420011": {"vr": "OB", "InlineBinary": "*"}}': "InlineBinary is no base64 text",
    '{"00420011": {"vr": "OB", "InlineBinary": "ü"}}': "InlineBinary is no base64 text",
    '{"00420011": {"vr": "OB", "InlineBinary": "\\ud800"}}': "InlineBinary is no base64 text",
    '{"00420011": {"vr": "OB", "BulkDataURI": "x"}}': "a BulkDataURI has no place here",
    '{"00400100": {"vr": "SQ", "Value": [3]}}': "(0040,0100)[0]: a JSON object was expected, not a number",
    '{"00100020": {"vr": "LO", "Value": [true]}}': "true or false is no value of LO",
    '{"00100020": {"vr": "LO", "value": ["1"]}}': "'value' is no member",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_dicom_json_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidAttribute) as refused:
        from_json(text)
    assert REFUSED[text] in str(refused.value)


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        ("Rows", 70_000, "US cannot hold"),
        ("Rows", "x", "US cannot hold"),
        ("StudyDate", "ä€", "DA cannot hold"),
    ],
)
def test_a_value_that_its_vr_cannot_hold_is_named(tag: str, value: str | int, words: str) -> None:
    with pytest.raises(InvalidAttribute, match=words):
        encode(DataSet().put(tag, value), EXPLICIT_VR_LITTLE_ENDIAN)


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\\"), max_size=20
)


@given(st.lists(TEXT.map(str.rstrip), min_size=1, max_size=3), st.integers(-(2**31), 2**31 - 1))
def test_any_text_and_number_survive(texts: list[str], number: int) -> None:
    if not any(texts):
        texts = ["x"]
    data_set = DataSet().put("OtherPatientIDs", *texts, vr="LO").put("ReferencePixelX0", number)
    for syntax in SYNTAXES:
        assert decode(encode(data_set, syntax), syntax).texts("OtherPatientIDs") == tuple(texts)
        assert decode(encode(data_set, syntax), syntax).values_of("ReferencePixelX0") == (number,)


def test_pydicom_s_bytes_are_read() -> None:
    theirs = pydicom.Dataset()
    theirs.PatientName = "Doe^Jane=ドウ^ジェーン"
    theirs.SpecificCharacterSet = "ISO_IR 192"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, theirs)
    found = decode(buffer.getvalue(), IMPLICIT_VR_LITTLE_ENDIAN)
    assert found.text("PatientName") == "Doe^Jane=ドウ^ジェーン"


def test_a_member_of_an_enumeration_is_its_number() -> None:
    class Reason(IntEnum):
        UNKNOWN = 0x0112

    data_set = DataSet().put("FailureReason", Reason.UNKNOWN)
    assert json.loads(to_json(data_set)) == {"00081197": {"vr": "US", "Value": [0x0112]}}


def test_an_empty_text_is_no_value() -> None:
    assert to_json(DataSet().put("PatientName", "")) == '{"00100010":{"vr":"PN"}}'
