"""All bulk data and all pixel data of studies, series and instances."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from struct import pack

import pydicom
import pytest
from pydicom.data import get_testdata_file

from tests.web.support import parts

STUDY = "/studies/1.2.3"
SERIES = STUDY + "/series/1.2.3.4"
INSTANCE = SERIES + "/instances/1.2.3.4.1"
OCTETS = 'multipart/related; type="application/octet-stream"'
RLE = Path(str(get_testdata_file("MR_small_RLE.dcm"))).read_bytes()
PRIVATE = b"\x29\x00\x10\x10OB\0\0" + pack("<I", 3000) + b"\7" * 3000


@pytest.mark.parametrize(("path", "instances"), [(STUDY, 2), (SERIES, 2), (INSTANCE, 1)])
async def test_bulk_data_are_all_values_that_metadata_leave_out(
    door, make_instance, path: str, instances: int
) -> None:
    await door.store(make_instance(1, extra=PRIVATE), make_instance(2, extra=PRIVATE))
    response = await door.get(path + "/bulkdata", OCTETS)
    assert response.status_code == 200
    found = parts(response)
    uris = [
        each[tag]["BulkDataURI"]
        for each in (await door.get(path + "/metadata")).json()
        for tag in ("00291010", "7FE00010")
    ]
    assert [head["content-location"] for head, _ in found] == uris
    assert [body for _, body in found] == [b"\7" * 3000, bytes(range(1, 9))] * instances


@pytest.mark.parametrize(("path", "instances"), [(STUDY, 2), (SERIES, 2), (INSTANCE, 1)])
async def test_pixel_data_are_nothing_else(door, make_instance, path: str, instances: int) -> None:
    await door.store(make_instance(1, extra=PRIVATE), make_instance(2, extra=PRIVATE))
    assert [body for _, body in parts(await door.get(path + "/pixeldata", "*/*"))] == [
        bytes(range(1, 9))
    ] * instances


async def test_compressed_frames_are_decoded_unless_they_are_wanted_as_stored(door) -> None:
    await door.store(RLE)
    stored = pydicom.dcmread(BytesIO(RLE))
    resource = f"/studies/{stored.StudyInstanceUID}/pixeldata"
    ((head, body),) = parts(await door.get(resource, OCTETS))
    assert head["content-type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert body == stored.pixel_array.tobytes()
    ((head, body),) = parts(await door.get(resource, OCTETS + "; transfer-syntax=*"))
    assert head["content-type"] == "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"
    assert head["content-location"].endswith("/frames/1")
    assert body == next(pydicom.encaps.generate_frames(stored.PixelData, number_of_frames=1))


async def test_decoded_frames_are_one_value(door) -> None:
    image = pydicom.dcmread(BytesIO(RLE))
    frame = next(pydicom.encaps.generate_frames(image.PixelData, number_of_frames=1))
    pixels = image.pixel_array.tobytes() * 3
    image.NumberOfFrames = 3
    image.PixelData = pydicom.encaps.encapsulate([frame] * 3)
    file = BytesIO()
    image.save_as(file)
    await door.store(file.getvalue())
    study = f"/studies/{image.StudyInstanceUID}"
    (metadata,) = (await door.get(study + "/metadata")).json()
    uri = metadata["7FE00010"]["BulkDataURI"]
    named = uri[uri.index("/studies") :]
    instance = named.partition("/bulkdata")[0]
    for path in (named, study + "/pixeldata", instance + "/bulkdata", study):
        ((head, body),) = parts(await door.get(path, OCTETS))
        assert (head["content-location"], body) == (uri, pixels), path
    for path in (named, instance + "/pixeldata", instance + "/bulkdata"):
        response = await door.get(path, "application/octet-stream")
        assert (response.status_code, response.content) == (200, pixels), path
    assert len(parts(await door.get(instance + "/frames", OCTETS))) == 3
    as_stored = await door.get(named, OCTETS + "; transfer-syntax=*")
    assert len(parts(as_stored)) == 3
    refused = await door.get(named, "image/dicom-rle")
    assert refused.status_code == 406
    assert " application/octet-stream," in refused.json()["detail"]


async def test_what_is_not_there_is_404_and_what_cannot_be_is_406(door, make_instance) -> None:
    await door.store(make_instance(frames=()))
    assert (await door.get("/studies/9/bulkdata", OCTETS)).status_code == 404
    assert (await door.get(STUDY + "/pixeldata", OCTETS)).status_code == 404
    for accept in ("image/png", "application/octet-stream", OCTETS + "; transfer-syntax=1.2"):
        assert (await door.get(STUDY + "/bulkdata", accept)).status_code == 406


@pytest.mark.parametrize("path", [STUDY, SERIES, INSTANCE])
async def test_instances_asked_for_as_octets_are_their_bulk_data(door, make_instance, path: str) -> None:
    await door.store(make_instance(1, extra=PRIVATE), make_instance(2, extra=PRIVATE))
    asked, named = await door.get(path, OCTETS), await door.get(path + "/bulkdata", OCTETS)
    assert asked.headers["content-type"].startswith('multipart/related; type="application/octet-stream"')
    assert parts(asked) == parts(named)


async def test_instances_and_bulk_data_come_in_a_compressed_media_type(door, make_instance) -> None:
    await door.store(RLE, make_instance(1, extra=PRIVATE))
    stored = pydicom.dcmread(BytesIO(RLE))
    study = f"/studies/{stored.StudyInstanceUID}"
    instance = f"{study}/series/{stored.SeriesInstanceUID}/instances/{stored.SOPInstanceUID}"
    frame = next(pydicom.encaps.generate_frames(stored.PixelData, number_of_frames=1))
    for path in (study, instance, study + "/bulkdata", instance + "/pixeldata"):
        ((head, body),) = parts(await door.get(path, 'multipart/related; type="image/dicom-rle"'))
        assert head["content-type"] == "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"
        assert head["content-location"].endswith("/frames/1")
        assert body == frame
    assert (await door.get(instance, "image/dicom-rle")).content == frame
    assert (await door.get(study, 'multipart/related; type="image/jls"')).status_code == 200
    refused = await door.get(
        study, 'multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.50'
    )
    assert refused.status_code == 406
    assert 'multipart/related; type="image/jls"' in refused.json()["detail"]


async def test_an_encapsulated_icon_is_not_taken_for_the_image(door) -> None:
    data_set = pydicom.dcmread(BytesIO(RLE))
    icon = pydicom.Dataset()
    icon.add_new("PixelData", "OB", pydicom.encaps.encapsulate([b"the icon's code!"]))
    icon["PixelData"].is_undefined_length = True
    data_set.IconImageSequence = [icon]
    file = BytesIO()
    data_set.save_as(file)
    await door.store(file.getvalue())
    study = f"/studies/{data_set.StudyInstanceUID}"
    (metadata,) = (await door.get(study + "/metadata")).json()
    uri = metadata["00880200"]["Value"][0]["7FE00010"]["BulkDataURI"]
    path = uri[uri.index("/studies") :]
    assert (await door.get(path, "*/*")).content == b"the icon's code!"
    everything = parts(await door.get(study + "/bulkdata", OCTETS))
    assert [head["content-location"] for head, _ in everything] == [
        metadata["7FE00010"]["BulkDataURI"],
        uri,
    ]
    assert everything[1][1] == b"the icon's code!"
    ((head, body),) = parts(await door.get(path, OCTETS))
    assert (head["content-location"], body) == (uri, b"the icon's code!")
    ((_, pixels),) = parts(await door.get(study + "/pixeldata", OCTETS))
    assert pixels == data_set.pixel_array.tobytes()


async def test_bulk_data_are_not_repeated_for_who_has_them(door, make_instance) -> None:
    await door.store(make_instance())
    tag = (await door.get(STUDY + "/bulkdata", OCTETS)).headers["etag"]
    for path in (STUDY + "/bulkdata", STUDY):
        again = await door.get(path, OCTETS, **{"If-None-Match": tag})
        assert again.status_code == 304
    assert (await door.get(STUDY + "/pixeldata", OCTETS)).headers["etag"] != tag


async def test_the_only_value_of_an_instance_comes_as_itself_and_in_ranges(door, make_instance) -> None:
    await door.store(make_instance(1), make_instance(2, extra=PRIVATE))
    whole = await door.get(INSTANCE + "/pixeldata", "application/octet-stream")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "application/octet-stream")
    assert whole.content == bytes(range(1, 9))
    assert (await door.get(INSTANCE + "/bulkdata", "application/octet-stream")).content == whole.content
    named = await door.get(INSTANCE + "/bulkdata/7FE00010", "application/octet-stream")
    assert whole.headers["etag"] == named.headers["etag"]
    for resource in ("/pixeldata", "/bulkdata"):
        ranged = await door.get(INSTANCE + resource, "application/octet-stream", range="bytes=2-4")
        assert (ranged.status_code, ranged.content) == (206, b"\3\4\5")
        assert ranged.headers["content-range"] == "bytes 2-4/8"
    second = INSTANCE[:-1] + "2"
    assert (await door.get(second + "/pixeldata", "application/*")).content == whole.content
    for path in (second + "/bulkdata", SERIES + "/pixeldata"):  # two values
        assert (await door.get(path, "application/octet-stream")).status_code == 406


async def test_the_only_frame_of_a_compressed_image_comes_as_itself_and_in_ranges(door) -> None:
    await door.store(RLE)
    stored = pydicom.dcmread(BytesIO(RLE))
    resource = f"/studies/{stored.StudyInstanceUID}/pixeldata"
    pixels = stored.pixel_array.tobytes()
    assert (await door.get(resource, "application/octet-stream")).content == pixels
    ranged = await door.get(resource, "application/octet-stream", range="bytes=-6")
    assert (ranged.status_code, ranged.content) == (206, pixels[-6:])
    as_stored = await door.get(resource, "application/octet-stream; transfer-syntax=*")
    assert as_stored.content == next(pydicom.encaps.generate_frames(stored.PixelData, number_of_frames=1))
