"""Requests as OHIF 3 and Cornerstone3D make them, read as these read the answers.

Written after OHIF's generateAcceptHeader, qido and retrieveBulkData and Cornerstone3D's wadors/getPixelData:
what they ask for and what they rely on, none of their code.
"""

from __future__ import annotations

from struct import pack
from urllib.parse import urlencode

import imagecodecs
import numpy
import pytest

from dicomwire.dicom import codecs
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.web.conftest import SERIES, STUDY, element

INSTANCE = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1"
PIXELS = numpy.array([[1, 2], [3, 40]], "<u2")
FRAME = PIXELS.tobytes()
OCTETS = "application/octet-stream"


@pytest.fixture
async def stored(door, make_instance):
    """A CT with a value that is bulk data."""
    large = element(0x00091010, "OB", bytes(range(256)) * 8)
    creator = element(0x00090010, "LO", b"MAKER")
    instance = make_instance(frames=(FRAME,))
    cut = instance.data_set.index(element(0x00100010, "PN", b"Doe^Jane"))
    file = instance.meta + instance.data_set[:cut] + creator + large + instance.data_set[cut:]
    assert (await door.store(file)).status_code == 200
    return door


def frame_of(response) -> tuple[str, bytes]:
    """Transfer syntax and bytes of a frame, found as Cornerstone3D finds them."""
    assert response.status_code == 200, response.text
    content_type, body = response.headers["content-type"], response.content
    if "multipart" in content_type:
        head, _, rest = body.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        boundary = next(line for line in lines if line.startswith("--"))
        content_type = next(line[13:].strip() for line in lines if line.startswith("Content-Type:"))
        body = rest[: rest.index(boundary.encode()) - 2]
    parameters = dict(each.strip().split("=", 1) for each in content_type.split(";")[1:])
    return parameters.get("transfer-syntax", "1.2.840.10008.1.2").strip('"'), body


@pytest.mark.parametrize(
    ("accept", "syntax"),
    [
        (
            'multipart/related; type="application/octet-stream"; transfer-syntax="*"',
            EXPLICIT_VR_LITTLE_ENDIAN,
        ),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", EXPLICIT_VR_LITTLE_ENDIAN),
        (OCTETS, EXPLICIT_VR_LITTLE_ENDIAN),
        ("*/*", EXPLICIT_VR_LITTLE_ENDIAN),
        # requestTransferSyntaxUID of a data source: both transfer syntaxes are in the header
        *(
            (f'multipart/related; type="{kind}"; transfer-syntax="{uid}"; transfer-syntax="*"', uid)
            for kind, uid in (
                ("image/jls", codecs.JPEG_LS_LOSSLESS),
                ("image/jp2", codecs.JPEG_2000_LOSSLESS),
                ("image/dicom-rle", codecs.RLE_LOSSLESS),
                ("image/jpeg", codecs.JPEG_LOSSLESS_SV1),
                ("image/dicom+jpeg", codecs.JPEG_LOSSLESS_SV1),
            )
        ),
        # acceptHeader of a data source, several ranges
        ('multipart/related; type="image/jphc", multipart/related; type="image/jls"', codecs.HTJ2K_LOSSLESS),
        ("image/jphc;q=0.9, image/jls;q=0.8, */*;q=0.1", codecs.HTJ2K_LOSSLESS),
        ("image/x-jls", codecs.JPEG_LS_LOSSLESS),
        ("image/x-dicom-rle", codecs.RLE_LOSSLESS),
    ],
)
async def test_a_frame_is_found_in_what_is_answered(stored, accept: str, syntax: str) -> None:
    found, frame = frame_of(await stored.get(INSTANCE + "/frames/1", accept))
    assert found == syntax
    if syntax == EXPLICIT_VR_LITTLE_ENDIAN:
        assert frame == FRAME
    elif syntax == codecs.JPEG_LS_LOSSLESS:
        assert numpy.array_equal(imagecodecs.jpegls_decode(frame), PIXELS)
    elif syntax in (codecs.JPEG_2000_LOSSLESS, codecs.HTJ2K_LOSSLESS):
        assert numpy.array_equal(imagecodecs.jpeg2k_decode(frame), PIXELS)


async def test_frames_in_ranges_are_whole_where_they_are_parts(stored) -> None:
    """Progressive loading begins with a range; a multipart answer is complete at once."""
    accept = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'
    response = await stored.get(INSTANCE + "/frames/1", accept, Range="bytes=0-65535")
    assert frame_of(response)[1] == FRAME
    single = await stored.get(INSTANCE + "/frames/1", OCTETS, Range="bytes=0-3")
    assert (single.status_code, single.content) == (206, FRAME[:4])
    assert single.headers["content-range"] == f"bytes 0-3/{len(FRAME)}"


STUDY_LIST = {"limit": "101", "offset": "0", "fuzzymatching": "false"}
STUDY_FIELDS = "00081030,00080060,00080090,00100030"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, 1),
        ({"PatientName": "*doe*"}, 1),
        ({"00100020": "*P1*", "AccessionNumber": "*x*"}, 0),
        ({"StudyInstanceUID": f"1.2.999\\{STUDY}"}, 1),
        ({"StudyDate": "19700102-20991231"}, 0),
        ({"ModalitiesInStudy": "CT\\MR"}, 0),
        ({"fuzzymatching": "true", "PatientName": "doe"}, 1),
    ],
)
async def test_the_study_list_is_searched(stored, query: dict[str, str], found: int) -> None:
    asked = urlencode({**STUDY_LIST, "includefield": STUDY_FIELDS, **query})
    response = await stored.get(f"/studies?{asked}", "application/dicom+json")
    if not found:
        assert response.status_code == 204
        return
    (study,) = response.json()
    for tag in ("0020000D", "00080020", "00080030", "00080050", "00100020", "00100010", "00100030"):
        assert tag in study
    for tag in ("00201208", "00081030", "00080061", "00080090"):
        assert tag in study


async def test_series_come_with_what_the_viewer_sorts_them_by(stored) -> None:
    (series,) = (await stored.get(f"/studies/{STUDY}/series?includefield=0008103E,00080021")).json()
    for tag in ("0020000D", "0020000E", "00080060", "00200011", "00080021", "00201209", "0008103E"):
        assert tag in series


async def test_metadata_lead_to_bulk_data_in_either_form(stored) -> None:
    (metadata,) = (await stored.get(f"/studies/{STUDY}/series/{SERIES}/metadata")).json()
    url = metadata["00091010"]["BulkDataURI"]
    assert url.startswith("http")
    for accept in ("application/pdf, application/octet-stream", OCTETS, "*/*"):
        response = await stored.client.get(url, headers={"Accept": accept})
        assert response.content == bytes(range(256)) * 8
    parts = await stored.client.get(
        url, headers={"Accept": 'multipart/related; type="application/octet-stream"'}
    )
    assert bytes(range(256)) * 8 in parts.content
    pixels = await stored.client.get(metadata["7FE00010"]["BulkDataURI"], headers={"Accept": OCTETS})
    assert pixels.content == FRAME


async def test_an_image_element_of_a_page_gets_pictures(stored) -> None:
    """`<img src>` of thumbnails and rendered frames: browsers accept images and anything else."""
    accept = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
    for path in ("/thumbnail", "/rendered", "/frames/1/rendered", "/rendered?accept=image/png"):
        response = await stored.get(INSTANCE + path, accept)
        assert response.headers["content-type"] in ("image/jpeg", "image/png")


async def test_a_file_comes_for_the_wado_uri_loader(stored) -> None:
    query = {
        "requestType": "WADO", "studyUID": STUDY, "seriesUID": SERIES, "objectUID": f"{SERIES}.1",
        "contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.1",
    }  # fmt: skip
    response = await stored.get(f"/wado?{urlencode(query)}")
    assert response.content[128:132] == b"DICM"
    assert response.content.endswith(pack("<4H", 1, 2, 3, 40))
