"""WADO-URI (PS3.18 9)."""

from __future__ import annotations

from io import BytesIO
from struct import pack
from urllib.parse import urlencode

import numpy
import pydicom
import pytest
from PIL import Image

from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.web.conftest import element

IMAGE = {"requestType": "WADO", "studyUID": "1.2.3", "seriesUID": "1.2.3.4", "objectUID": "1.2.3.4.1"}
RAMP = pack("<4H", 0, 10, 20, 30)
WINDOW = element(0x00281050, "DS", b"15") + element(0x00281051, "DS", b"31")
CT = "1.2.840.10008.5.1.4.1.1.2"
GSPS = "1.2.840.10008.5.1.4.1.1.11.1"


async def ask(door, **parameters: str | None):
    query = {name: value for name, value in {**IMAGE, **parameters}.items() if value is not None}
    return await door.client.get(f"{door.base}/wado?{urlencode(query)}")


def levels(response) -> list[int]:
    assert response.status_code == 200, response.text
    with Image.open(BytesIO(response.content)) as image:
        return list(image.convert("L").tobytes())


async def test_a_single_frame_is_jpeg_unless_another_type_is_named(door, make_instance) -> None:
    await door.store(make_instance(frames=(RAMP,)))
    assert (await ask(door)).headers["content-type"] == "image/jpeg"
    for content_type in ("image/png", "image/gif", "image/jp2"):
        assert (await ask(door, contentType=content_type)).headers["content-type"] == content_type
    assert (await ask(door, contentType="text/html, image/png;q=0.5")).headers["content-type"] == "image/png"


async def test_a_file_comes_as_it_would_by_wado_rs(door, make_instance) -> None:
    instance = make_instance(frames=(RAMP,))
    await door.store(instance)
    response = await ask(door, contentType="application/dicom")
    assert response.headers["content-type"].startswith("application/dicom")
    assert response.content == instance.file
    other = await ask(door, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.5")
    assert "1.2.840.10008.1.2.5" in other.headers["content-type"]


async def test_many_frames_are_a_file_by_default_and_one_frame_as_an_image(door, make_instance) -> None:
    instance = make_instance(frames=(RAMP, RAMP[::-1], RAMP), extra=WINDOW)
    await door.store(instance)
    assert (await ask(door)).content == instance.file
    first = levels(await ask(door, contentType="image/png"))
    assert first == levels(await ask(door, contentType="image/png", frameNumber="3"))
    assert first != levels(await ask(door, contentType="image/png", frameNumber="2"))
    with Image.open(BytesIO((await ask(door, contentType="image/gif")).content)) as animation:
        assert animation.n_frames == 3


async def test_rendering_follows_the_parameters(door, make_instance) -> None:
    await door.store(make_instance(frames=(RAMP,), extra=WINDOW))
    png = {"contentType": "image/png"}
    assert levels(await ask(door, **png)) == [4, 89, 174, 255]  # PS3.3 C.11.2.1.2
    assert set(levels(await ask(door, **png, windowCenter="1000", windowWidth="2"))) == {0}
    with Image.open(BytesIO((await ask(door, **png, rows="8")).content)) as image:
        assert image.size == (8, 8)
    coarse, fine = [(await ask(door, imageQuality=quality, rows="512")).content for quality in ("1", "100")]
    assert len(coarse) < len(fine)
    right = await ask(door, **png, region="0.5,0,1,1")
    with Image.open(BytesIO(right.content)) as image:
        assert image.size == (1, 2)
    assert levels(right) == levels(await ask(door, **png))[1::2]


async def test_a_frame_is_named_by_its_number_and_is_the_first_otherwise(door, make_instance) -> None:
    frames = (RAMP, RAMP[::2] * 2, RAMP[4:] * 2)
    await door.store(make_instance(frames=frames, extra=WINDOW))
    for number in (1, 2, 3):
        asked = await ask(door, contentType="image/png", frameNumber=str(number))
        frame = f"/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1/frames/{number}/rendered"
        assert levels(asked) == levels(await door.get(frame, "image/png"))
    first = await ask(door, contentType="image/png")
    assert levels(first) == levels(await ask(door, contentType="image/png", frameNumber="1"))


async def test_a_presentation_state_is_applied(door, make_instance) -> None:
    await door.store(make_instance(frames=(RAMP,), extra=WINDOW))
    image = element(0x00081150, "UI", b"1.2.840.10008.5.1.4.1.1.2") + element(0x00081155, "UI", b"1.2.3.4.1")
    images = element(0x00081140, "SQ", _item(image)) + element(0x0020000E, "UI", b"1.2.3.4")
    inverse = b"".join(
        (
            element(0x00080016, "UI", GSPS.encode()), element(0x00080018, "UI", b"1.2.9.1"),
            element(0x00081115, "SQ", _item(images)), element(0x0020000D, "UI", b"1.2.3"),
            element(0x0020000E, "UI", b"1.2.9"), element(0x20500020, "CS", b"INVERSE"),
        )
    )  # fmt: skip
    await door.store(write_file_meta(GSPS, "1.2.9.1", EXPLICIT_VR_LITTLE_ENDIAN) + inverse)
    named = {"contentType": "image/png", "presentationSeriesUID": "1.2.9", "presentationUID": "1.2.9.1"}
    assert levels(await ask(door, **named))[0] == 255
    assert (await ask(door, **(named | {"presentationUID": "1.2.9.2"}))).status_code == 400


def _item(content: bytes) -> bytes:
    return pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


@pytest.mark.parametrize(
    ("parameters", "status", "words"),
    [
        ({"requestType": None}, 400, "requestType"),
        ({"requestType": "WADO2"}, 400, "requestType"),
        ({"studyUID": None}, 400, "studyUID"),
        ({"objectUID": "../../etc"}, 400, "objectUID"),
        ({"objectUID": "1.2.3.4.9"}, 404, "1.2.3.4.9"),
        ({"seriesUID": "1.2.3.5"}, 404, "1.2.3.5"),
        ({"anonymize": "no"}, 400, "anonymize"),
        ({"anonymize": "yes", "contentType": "image/png"}, 400, "anonymize"),
        ({"anonymize": "yes", "transferSyntax": "1.2.3"}, 406, "1.2.3"),
        ({"contentType": "application/dicom, image/png"}, 400, "not both"),
        ({"contentType": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}, 400, "transfer-syntax"),
        ({"contentType": "application/dicom; charset=utf-8"}, 400, "charset"),
        ({"contentType": "application/dicom", "windowWidth": "5"}, 400, "windowWidth"),
        ({"presentationUID": "1.2"}, 400, "presentationSeriesUID"),
        ({"presentationSeriesUID": "1.2"}, 400, "presentationUID"),
        ({"presentationUID": "1.2", "presentationSeriesUID": "1.3", "frameNumber": "1"}, 400, "exclude"),
        ({"presentationUID": "1.2", "presentationSeriesUID": "1.3", "windowWidth": "1"}, 400, "exclude"),
        ({"presentationUID": "1.2", "presentationSeriesUID": "1.3"}, 400, "1.2"),
        ({"contentType": "text/html"}, 406, "contentType is 'text/html'"),
        ({"contentType": "pictures"}, 400, "contentType: media type 'pictures'"),
        ({"contentType": "application/dicom", "transferSyntax": "x"}, 400, "transferSyntax"),
        ({"contentType": "application/dicom", "transferSyntax": "1.2.3"}, 406, "transferSyntax is "),
        ({"frameNumber": "0"}, 400, "frameNumber"),
        ({"frameNumber": "2"}, 400, "1 frames"),
        ({"rows": "100000"}, 400, "rows is '100000'; 1 to 16384 pixels wanted"),
        ({"rows": "-1"}, 400, "rows is '-1'"),
        ({"rows": "8", "columns": ""}, 400, "columns is ''"),
        ({"region": "0,0,2,1"}, 400, "region"),
        ({"region": "a"}, 400, "region"),
        ({"windowCenter": "5"}, 400, "windowWidth"),
        ({"windowCenter": "x", "windowWidth": "1"}, 400, "window"),
        ({"imageQuality": "0"}, 400, "quality"),
    ],
)
async def test_bad_requests_say_what_is_wrong(
    door, make_instance, parameters: dict[str, str | None], status: int, words: str
) -> None:
    await door.store(make_instance(frames=(RAMP,)))
    response = await ask(door, **parameters)
    assert response.status_code == status, response.text
    assert words in response.json()["detail"]


@pytest.mark.parametrize("rows", ["600", "4096", "16384"])
async def test_a_side_that_is_left_open_is_no_reason_to_refuse(door, make_instance, rows: str) -> None:
    await door.store(make_instance(frames=(RAMP,)))
    assert (await ask(door, rows=rows, region="0,0,0.5,0.5")).status_code == 200
    assert (await ask(door, columns=rows)).status_code == 200


async def test_a_type_that_only_accept_names_is_told_as_such(door, make_instance) -> None:
    await door.store(make_instance(frames=(RAMP,)))
    url = f"{door.base}/wado?{urlencode(IMAGE)}"
    response = await door.client.get(url, headers={"Accept": "text/plain"})
    assert response.status_code == 406
    assert response.json()["detail"].startswith("Accept is 'text/plain'")


async def test_a_parameter_that_is_there_twice_is_400(door, make_instance) -> None:
    await door.store(make_instance(frames=(RAMP,)))
    for name, value in (("frameNumber", "1"), ("objectUID", "1.2.3.4.1"), ("anonymize", "yes")):
        url = f"{door.base}/wado?{urlencode(IMAGE)}&{name}={value}&{name}={value}"
        response = await door.client.get(url)
        assert response.status_code == 400
        assert name in response.json()["detail"]


async def test_a_file_without_identity_names_nobody(door, make_instance) -> None:
    private = element(0x00091001, "LO", b"Doe^Jane again")
    reference = element(0x00081150, "UI", CT.encode()) + element(0x00081155, "UI", b"1.2.3.4.2")
    names = b"".join(
        (
            element(0x00080050, "SH", b"ACC77"),
            element(0x00080080, "LO", b"Hospital"),
            element(0x00081140, "SQ", _item(reference)),
        )
    )
    first = make_instance(frames=(RAMP,))
    cut = first.data_set.index(element(0x00100010, "PN", b"Doe^Jane"))
    await door.store(first.meta + first.data_set[:cut] + names + private + first.data_set[cut:])
    await door.store(make_instance(2, frames=(RAMP,)))
    files = []
    for number in (1, 2):
        response = await ask(door, objectUID=f"1.2.3.4.{number}", anonymize="yes")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("application/dicom")
        for word in (b"Doe", b"Jane", b"ACC77", b"Hospital", b"1.2.3.4"):
            assert word not in response.content.replace(CT.encode(), b"")
        files.append(pydicom.dcmread(BytesIO(response.content)))
    one, other = files
    assert one.PixelData == RAMP
    assert one.PatientIdentityRemoved == "YES"
    assert one.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert one.StudyInstanceUID == other.StudyInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID
    assert one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID != other.SOPInstanceUID
    assert one.ReferencedImageSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID
    again = await ask(door, anonymize="yes", contentType="application/dicom")
    assert pydicom.dcmread(BytesIO(again.content)).SOPInstanceUID == one.SOPInstanceUID
    known = {"If-None-Match": again.headers["etag"]}
    assert (await door.client.get(again.url, headers=known)).status_code == 304


async def test_a_file_without_identity_comes_in_the_transfer_syntax_asked_for(
    door, make_instance, convert
) -> None:
    syntax = "1.2.840.10008.1.2.5"
    await door.store(convert(make_instance(frames=(RAMP,)), IMPLICIT_VR_LITTLE_ENDIAN))
    plain = pydicom.dcmread(BytesIO((await ask(door, anonymize="yes")).content))
    assert plain.file_meta.TransferSyntaxUID == EXPLICIT_VR_LITTLE_ENDIAN
    assert plain.PixelData == RAMP
    coded = pydicom.dcmread(BytesIO((await ask(door, anonymize="yes", transferSyntax=syntax)).content))
    assert coded.file_meta.TransferSyntaxUID == syntax
    assert coded.PatientName == ""
    assert numpy.array_equal(coded.pixel_array, plain.pixel_array)


@pytest.mark.parametrize(
    ("sop_class", "extra", "words"),
    [
        (CT, element(0x00280301, "CS", b"YES"), "Burned In"),
        ("1.2.840.10008.5.1.4.1.1.7", b"", "Burned In"),
        ("1.2.840.10008.5.1.4.1.1.88.33", b"", "report"),
    ],
)
async def test_what_may_name_people_in_its_pixels_or_words_is_403(
    door, make_instance, sop_class: str, extra: bytes, words: str
) -> None:
    await door.store(make_instance(frames=(RAMP,), sop_class=sop_class, extra=extra))
    response = await ask(door, anonymize="yes")
    assert response.status_code == 403
    assert words in response.json()["detail"]
