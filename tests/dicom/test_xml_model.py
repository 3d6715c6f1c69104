"""The Native DICOM Model (PS3.19 A.1)."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.dicom import xml_model
from dicomwire.dicom.data_set import DataSet, from_xml
from dicomwire.errors import InvalidAttribute

NAMESPACE = f'xmlns="{xml_model.NAMESPACE}"'


def document(content: str) -> bytes:
    return f"<?xml version='1.0'?><NativeDicomModel {NAMESPACE}>{content}</NativeDicomModel>".encode()


def written(model: object) -> str:
    """What is written between the root's tags."""
    text = xml_model.encode(json.dumps(model)).decode()
    return text.partition('preserve">')[2].removesuffix("</NativeDicomModel>\n")


WRITTEN = [
    ({"00080060": {"vr": "CS", "Value": ["CT"]}}, '<Value number="1">CT</Value>', "Modality"),
    ({"00080060": {"vr": "CS"}}, "", "Modality"),
    ({"00080008": {"vr": "CS", "Value": ["A", None, "B"]}},
     '<Value number="1">A</Value><Value number="3">B</Value>', "ImageType"),
    ({"00281050": {"vr": "DS", "Value": [1.50]}}, '<Value number="1">1.5</Value>', "WindowCenter"),
    ({"00081030": {"vr": "LO", "Value": ["a<b>&\"\u001b"]}},
     '<Value number="1">a&lt;b&gt;&amp;"\ufffd</Value>', "StudyDescription"),
    ({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane^^Dr", "Ideographic": "D"}]}},
     '<PersonName number="1"><Alphabetic><FamilyName>Doe</FamilyName><GivenName>Jane</GivenName>'
     "<NamePrefix>Dr</NamePrefix></Alphabetic><Ideographic><FamilyName>D</FamilyName></Ideographic>"
     "</PersonName>", "PatientName"),
    ({"00080005": {"vr": "OB", "InlineBinary": "AAE="}}, "<InlineBinary>AAE=</InlineBinary>",
     "SpecificCharacterSet"),
    ({"7FE00010": {"vr": "OW", "BulkDataURI": "http://h/a?b&c"}},
     '<BulkData uri="http://h/a?b&amp;c"/>', "PixelData"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "content", "keyword"), WRITTEN)
def test_each_kind_of_value_is_written_as_the_schema_has_it(
    model: dict[str, dict[str, object]], content: str, keyword: str
) -> None:
    ((tag, attribute),) = model.items()
    expected = (
        f'<DicomAttribute tag="{tag}" vr="{attribute["vr"]}" keyword="{keyword}">{content}</DicomAttribute>'
    )
    assert written(model) == expected


def test_private_elements_name_their_creator() -> None:
    model = {"00091010": {"vr": "UN"}, "00090010": {"vr": "LO", "Value": ["ACME & Co"]}}
    text = written(dict(sorted(model.items())))
    assert '<DicomAttribute tag="00091010" vr="UN" privateCreator="ACME &amp; Co">' in text


def test_private_elements_without_a_block_are_given_one_of_their_creator() -> None:
    read = from_xml(
        document(
            '<DicomAttribute tag="00090010" vr="LO"><Value number="1">OTHER</Value></DicomAttribute>'
            '<DicomAttribute tag="00090001" vr="LO" privateCreator="ACME"><Value>a</Value></DicomAttribute>'
            '<DicomAttribute tag="00090002" vr="LO" privateCreator="ACME"><Value>b</Value></DicomAttribute>'
        )
    )
    assert {tag: read.text(tag) for tag in sorted(read)} == {
        0x00090010: "OTHER", 0x00090011: "ACME", 0x00091101: "a", 0x00091102: "b"
    }  # fmt: skip


def test_a_sequence_in_an_item_is_read_as_it_was_written() -> None:
    item = {"00080100": {"vr": "SH", "Value": ["1"]}}
    model = {"00081140": {"vr": "SQ", "Value": [{"0040A170": {"vr": "SQ", "Value": [item, {}]}}]}}
    assert xml_model.decode(xml_model.encode(json.dumps(model))) == model


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no XML"),
        (b"<NativeDicomModel>", "no XML"),
        (b"<Other/>", "NativeDicomModel wanted"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><NativeDicomModel>&a;</NativeDicomModel>", "document type"),
        (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><NativeDicomModel/>", "document type"),
        (document("<Value/>"), "DicomAttribute wanted"),
        (document('<DicomAttribute tag="xyz" vr="CS"/>'), "eight hexadecimal"),
        (document('<DicomAttribute tag="00080060" vr="ZZ"/>'), "'ZZ' is no VR"),
        (document('<DicomAttribute tag="00080060" vr="CS"><b/></DicomAttribute>'), "has no place"),
        (document('<DicomAttribute tag="00080060" vr="CS"><Value number="-1"/></DicomAttribute>'), "'-1'"),
        (document('<DicomAttribute tag="00080060" vr="US"><Value>x</Value></DicomAttribute>'), "US"),
        (document("<DicomAttribute tag='00081140' vr='SQ'><Item number='1'>" * 10_000), "within each other"),
    ],
)  # fmt: skip
def test_what_is_no_native_model_is_refused_by_name(content: bytes, words: str) -> None:
    with pytest.raises(InvalidAttribute) as refused:
        from_xml(content)
    assert words in str(refused.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: document(text)))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress(InvalidAttribute):
        assert isinstance(from_xml(content), DataSet)


def test_a_document_cut_anywhere_is_refused() -> None:
    whole = xml_model.encode(json.dumps(WRITTEN[5][0])).rstrip()
    for length in range(len(whole)):
        with pytest.raises(InvalidAttribute):
            xml_model.decode(whole[:length])
