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


async def test_a_document_is_described_as_text_too(door) -> None:
    title, kind = element(0x00420010, "ST", b"<i>Letter</i>"), element(0x00420012, "LO", b"application/pdf")
    await door.store(file(PDF, title, element(0x00420011, "OB", b"%PDF-1.4"), kind))
    page = await door.get(URL + "/rendered", "text/html")
    assert "<h1>&lt;i&gt;Letter&lt;/i&gt;</h1>" in page.text
    assert "application/pdf" in page.text
    assert "sandbox" in page.headers["content-security-policy"]
    assert "Document title: <i>Letter</i>" in (await door.get(URL + "/rendered", "text/plain")).text
    assert b"NativeDicomModel" in (await door.get(URL + "/rendered", "text/xml")).content
    assert (await door.get(URL + "/rendered")).headers["content-type"] == "application/pdf"


CDA = "1.2.840.10008.5.1.4.1.1.104.2"


def video(number: int) -> bytes:
    fragments = pack("<HHI", 0xFFFE, 0xE000, 0) + pack("<HHI", 0xFFFE, 0xE000, 8) + b"\0\0\0\x18ftyp"
    pixel_data = pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + fragments
    end = pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return numbered(file("1.2.840.10008.5.1.4.1.1.77.1.1.1", pixel_data + end, syntax=MPEG4), number)


def numbered(document: bytes, number: int) -> bytes:
    return document.replace(b"1.2.3.4.1", b"1.2.3.4.%d" % number)


def kinds(response) -> list[str]:
    lines = response.content.split(b"\r\n")
    return [
        line.decode().removeprefix("Content-Type: ") for line in lines if line.startswith(b"Content-Type")
    ]


STUDY, SERIES = "/studies/1.2.3/rendered", "/studies/1.2.3/series/1.2.3.4/rendered"
PARTS = 'multipart/related; type="{}"'


async def mixed(door, make_instance) -> None:
    """Two images, a report, two documents and a video."""
    pdf = file(PDF, element(0x00420011, "OB", b"%PDF-1.4"))
    cda = file(CDA, element(0x00420011, "OB", b"<doc/> "))
    await door.store(
        make_instance(7), make_instance(8),
        report(), numbered(pdf, 2), numbered(cda, 3), video(4),
    )  # fmt: skip


@pytest.mark.parametrize("path", [STUDY, SERIES])
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (
            "*/*",
            ["image/jpeg"] * 2 + ["text/html; charset=utf-8", "application/pdf", "text/xml", "video/mp4"],
        ),
        (PARTS.format("image/png"), ["image/png"] * 2),
        (PARTS.format("video/mp4"), ["video/mp4"]),
        (PARTS.format("application/pdf"), ["application/pdf"]),
        (PARTS.format("text/plain"), ["text/plain; charset=utf-8"] * 3),
        (
            f"{PARTS.format('image/gif')}, {PARTS.format('text/html')}; q=0.5",
            ["image/gif"] * 2 + ["text/html; charset=utf-8"] * 3,
        ),
    ],
)
async def test_each_part_of_a_mixed_study_is_in_a_media_type_for_what_it_is(
    door, make_instance, path: str, accept: str, expected: list[str]
) -> None:
    await mixed(door, make_instance)
    response = await door.get(path, accept)
    assert response.status_code == 200, response.text
    assert sorted(kinds(response)) == sorted(expected)
    assert f'type="{expected[0].partition(";")[0]}"' in response.headers["content-type"]
    locations = [line for line in response.content.split(b"\r\n") if line.startswith(b"Content-Location")]
    assert len(set(locations)) == len(expected)
    tag = response.headers["etag"]
    assert (await door.get(path, accept, **{"If-None-Match": tag})).status_code == 304


async def test_the_only_part_that_fits_comes_alone_and_of_several_none(door, make_instance) -> None:
    await mixed(door, make_instance)
    response = await door.get(STUDY, "application/pdf")
    assert (response.status_code, response.content) == (200, b"%PDF-1.4")
    assert (await door.get(STUDY, "video/mp4")).content == b"\0\0\0\x18ftyp"
    refused = await door.get(STUDY, "text/html")
    assert refused.status_code == 406
    assert PARTS.format("text/html") in refused.json()["detail"]


async def test_reports_without_images_come_in_parts(door) -> None:
    await door.store(report(), numbered(report(), 2))
    assert kinds(await door.get(STUDY)) == ["text/html; charset=utf-8"] * 2
    assert kinds(await door.get(STUDY, PARTS.format("text/xml"))) == ["text/xml"] * 2
    assert (await door.get(STUDY, "image/jpeg")).status_code == 406


async def test_a_document_that_cannot_be_read_leaves_the_others(door) -> None:
    await door.store(report(), numbered(file(PDF), 2))
    assert kinds(await door.get(STUDY)) == ["text/html; charset=utf-8"]


@pytest.mark.parametrize("query", ["", "?charset=iso-8859-1"])
async def test_other_character_sets_than_utf_8_are_ignored(door, query: str) -> None:
    await door.store(report())
    response = await door.get(URL + "/rendered" + query, "text/plain", **{"Accept-Charset": "iso-8859-1"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    found = await door.get("/studies" + query, "application/dicom+json", **{"Accept-Charset": "iso-8859-1"})
    assert found.status_code == 200
    assert "warning" not in found.headers
