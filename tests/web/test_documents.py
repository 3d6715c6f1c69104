"""Rendered reports, encapsulated documents and video over a real port."""

from __future__ import annotations

import json
from struct import pack

import pytest

from dicomwire.dicom import xml_model
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.web.conftest import element
from tests.web.test_frames import data_of

URL = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
REPORT, PDF = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.104.1"
MPEG4 = "1.2.840.10008.1.2.4.102"


def sequence(tag: int, *items: bytes) -> bytes:
    return element(tag, "SQ", b"".join(pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items))


def file(sop_class: str, *more: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    head = [
        element(0x00080016, "UI", sop_class.encode()),
        element(0x00080018, "UI", b"1.2.3.4.1"),
        element(0x00100010, "PN", b"Doe^<b>Jane</b>"),
        element(0x0020000D, "UI", b"1.2.3"),
        element(0x0020000E, "UI", b"1.2.3.4"),
    ]
    return write_file_meta(sop_class, "1.2.3.4.1", syntax) + b"".join((*head, *more))


def concept(meaning: str) -> bytes:
    return sequence(0x0040A043, element(0x00080104, "LO", meaning.encode()))


def measured(number: str, unit: str) -> bytes:
    units = sequence(0x004008EA, element(0x00080104, "LO", unit.encode()))
    return sequence(0x0040A300, units + element(0x0040A30A, "DS", number.encode()))


def report() -> bytes:
    text = b"<script>alert(1)</script> "
    long = pack("<HH2sHI", 0x0040, 0xA160, b"UT", 0, len(text)) + text
    finding = element(0x0040A040, "CS", b"TEXT") + concept("Finding") + long
    size = element(0x0040A040, "CS", b"NUM") + concept("Diameter") + measured("12.5", "millimeter")
    container = element(0x0040A040, "CS", b"CONTAINER")
    section = container + concept("Findings") + sequence(0x0040A730, finding, size)
    return file(
        REPORT,
        container,
        concept("Imaging Report"),
        sequence(0x0040A730, section),
    )


async def test_a_report_is_a_page_in_which_nothing_runs(door) -> None:
    await door.store(report())
    response = await door.get(URL + "/rendered")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>Imaging Report</h1>" in response.text
    assert "&lt;script&gt;" in response.text
    assert "<script>" not in response.text
    assert "<b>Jane</b>" not in response.text
    assert "sandbox" in response.headers["content-security-policy"]


async def test_a_report_is_text_when_that_is_asked_for(door) -> None:
    await door.store(report())
    response = await door.get(URL + "/rendered", "text/plain")
    assert "Imaging Report\n  Findings\n    Finding: <script>" in response.text
    assert "    Diameter: 12.5 millimeter" in response.text
    assert (await door.get(URL + "/rendered", "image/jpeg")).status_code == 406


async def test_a_report_is_xml_when_that_is_asked_for(door) -> None:
    await door.store(report())
    response = await door.get(URL + "/rendered", "text/xml")
    assert response.headers["content-type"] == "text/xml"
    (root,) = json.loads((await door.get(URL + "/metadata")).content)
    assert xml_model.decode(response.content).keys() == root.keys()


@pytest.mark.parametrize("length", [8, 9])
async def test_an_encapsulated_document_comes_as_it_is(door, length: int) -> None:
    document = b"%PDF-1.4\n"[:length]
    value = element(0x00420011, "OB", document) + pack("<HH2sHI", 0x0042, 0x0015, b"UL", 4, length)
    await door.store(file(PDF, value))
    response = await door.get(URL + "/rendered", "application/pdf")
    assert response.content == document
    assert response.headers["content-type"] == "application/pdf"
    parts = data_of(await door.get(URL + "/rendered", 'multipart/related; type="application/pdf"'))
    assert parts == [document]
    tag = response.headers["etag"]
    again = await door.get(URL + "/rendered", "application/pdf", **{"If-None-Match": tag})
    assert again.status_code == 304


async def test_an_encapsulated_document_that_is_missing_is_404(door) -> None:
    await door.store(file(PDF))
    assert (await door.get(URL + "/rendered")).status_code == 404


async def test_a_video_is_one_stream_whatever_its_fragments(door) -> None:
    fragments = b"".join(
        pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in (b"", b"\0\0\0\x18ftyp", b"mp42more")
    )
    pixel_data = pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + fragments
    image = [
        element(0x00280008, "IS", b"250"),
        element(0x00280010, "US", pack("<H", 576)),
        element(0x00280011, "US", pack("<H", 720)),
        element(0x00280100, "US", pack("<H", 8)),
    ]
    endoscopy = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
    await door.store(file(endoscopy, *image, pixel_data + pack("<HHI", 0xFFFE, 0xE0DD, 0), syntax=MPEG4))
    for path in ("/rendered", "/frames/1"):
        response = await door.get(URL + path, "video/mp4")
        assert response.status_code == 200
        assert response.content == b"\0\0\0\x18ftypmp42more"
    instance = await door.get(URL, "application/dicom")
    assert instance.headers["content-type"].endswith(MPEG4)
