"""WADO-RS of studies, series and instances over a real port."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicomwire.archive.transcoder import Transcoder
from dicomwire.dicom.part10 import read_file_meta, write_file_meta
from dicomwire.dicom.transcode import transcode
from dicomwire.errors import InstanceRemoved
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, STORAGE_TRANSFER_SYNTAXES
from dicomwire.web.media_types import parse_media_type
from dicomwire.web.multipart import PartBegin, PartData, PartReader, boundary_of
from dicomwire.web.retrieve import transfer_syntax_to_send

INSTANCE = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
RELATED = 'multipart/related; type="application/dicom"'
JPEG_LS = "1.2.840.10008.1.2.4.80"


def bundled(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def parts_of(response) -> list[tuple[str, bytes]]:
    """Content-Type and data of each part."""
    reader = PartReader(boundary_of(parse_media_type(response.headers["content-type"])))
    parts: list[tuple[str, bytes]] = []
    for event in [*reader.feed(response.content), *reader.end()]:
        if isinstance(event, PartBegin):
            parts.append((event.header("content-type") or "", b""))
        elif isinstance(event, PartData):
            parts[-1] = (parts[-1][0], parts[-1][1] + event.data)
    return parts


def data_set_of(file: bytes) -> bytes:
    meta = read_file_meta(file)
    assert meta is not None
    return file[meta.length :]


@pytest.mark.parametrize("path", ["/studies/1.2.3", "/studies/1.2.3/series/1.2.3.4"])
async def test_a_study_comes_as_parts_with_a_known_length(door, make_instance, path: str) -> None:
    instances = [make_instance(number) for number in (1, 2, 3)]
    await door.store(*instances, make_instance(4, study="1.2.9"))
    response = await door.get(path, RELATED)
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content)
    parts = parts_of(response)
    assert [data_set_of(data) for _, data in parts] == [instance.data_set for instance in instances]
    locations = re.findall(rb"\r\nContent-Location: (\S+)\r\n", response.content)
    series = f"{door.base}/studies/1.2.3/series/1.2.3.4"
    assert [each.decode() for each in locations] == [
        f"{series}/instances/{instance.sop_instance_uid}" for instance in instances
    ]
    assert {content_type for content_type, _ in parts} == {
        f"application/dicom; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
    }


async def test_one_instance_comes_as_one_part_or_as_itself(door, make_instance) -> None:
    instance = make_instance()
    await door.store(instance)
    ((_, data),) = parts_of(await door.get(INSTANCE))
    single = await door.get(INSTANCE, "application/dicom")
    assert single.headers["content-type"].startswith("application/dicom;")
    assert int(single.headers["content-length"]) == len(single.content)
    assert single.content == data
    assert data_set_of(data) == instance.data_set


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("wanted", ["", "; transfer-syntax=1.2.840.10008.1.2.1", "; transfer-syntax=*"])
async def test_what_never_leaves_is_converted_with_equal_values(
    door, make_instance, convert, syntax, wanted: str
) -> None:
    instance = make_instance()
    stored = convert(instance, syntax)
    assert (await door.store(stored)).status_code == 200
    response = await door.get(INSTANCE, RELATED + wanted)
    ((content_type, data),) = parts_of(response)
    if syntax == DeflatedExplicitVRLittleEndian and wanted.endswith("*"):
        assert data_set_of(data) == data_set_of(stored)
        return
    assert content_type.endswith(EXPLICIT_VR_LITTLE_ENDIAN)
    found = pydicom.dcmread(BytesIO(data))
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.file_meta.MediaStorageSOPInstanceUID == instance.sop_instance_uid
    assert found == pydicom.dcmread(BytesIO(instance.file))


@pytest.mark.parametrize(
    "accept",
    [
        "application/dicom; transfer-syntax=1.2.840.10008.1.2",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.2",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.102",
        "application/dicom+json",
        "text/html",
        'multipart/related; type="image/png"',
        "application/dicom;q=0",
    ],
)
async def test_what_cannot_be_made_is_406_and_says_what_can(door, make_instance, accept: str) -> None:
    await door.store(make_instance())
    response = await door.get(INSTANCE, accept)
    assert response.status_code == 406
    assert response.headers["content-type"] == "application/problem+json"
    assert RELATED in response.json()["detail"]


async def test_the_next_range_is_taken_where_the_first_cannot_be_made(door, make_instance) -> None:
    await door.store(make_instance())
    response = await door.get(
        INSTANCE, f"application/dicom; transfer-syntax={JPEG_LS}, application/dicom;q=0.5"
    )
    assert response.status_code == 200


async def test_the_accept_query_parameter_goes_before_the_header(door, make_instance) -> None:
    await door.store(make_instance())
    url = f"{door.base}{INSTANCE}"
    response = await door.client.get(
        url, params={"accept": "application/dicom"}, headers={"Accept": "text/html"}
    )
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/dicom;")


async def test_a_download_of_an_instance_goes_on_where_it_ended(door, make_instance) -> None:
    await door.store(make_instance())
    whole = await door.get(INSTANCE, "application/dicom")
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.content)
    tag = whole.headers["etag"]
    for asked, span in (
        ("bytes=0-9", slice(10)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
    ):
        rest = await door.get(INSTANCE, "application/dicom", **{"Range": asked, "If-Range": tag})
        assert (rest.status_code, rest.content) == (206, whole.content[span])
        assert rest.headers["content-range"].endswith(f"/{size}")
        assert rest.headers["etag"] == tag
    changed = await door.get(INSTANCE, "application/dicom", **{"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    beyond = await door.get(INSTANCE, "application/dicom", Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")


async def test_a_single_part_is_for_a_single_instance(door, make_instance) -> None:
    await door.store(make_instance(1), make_instance(2))
    assert (await door.get("/studies/1.2.3", "application/dicom")).status_code == 406


async def test_what_cannot_be_decoded_leaves_as_stored_unless_another_is_named(door, make_instance) -> None:
    pixels = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0\xff\xd8\xff\xd9\xfe\xff\xdd\xe0\0\0\0\0"
    data_set = make_instance().data_set
    data_set = (
        data_set[: data_set.index(b"\xe0\x7f\x10\0")] + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + pixels
    )
    meta = write_file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.1", JPEG_LS)
    assert (await door.store(meta + data_set)).status_code == 200
    for wanted in ("", "; transfer-syntax=*", f"; transfer-syntax={JPEG_LS}"):
        ((content_type, data),) = parts_of(await door.get(INSTANCE, RELATED + wanted))
        assert content_type == f"application/dicom; transfer-syntax={JPEG_LS}"
        assert data_set_of(data) == data_set
    explicit = await door.get(INSTANCE, f"{RELATED}; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}")
    assert explicit.status_code == 406


async def test_very_many_frames_are_406_at_once_and_leave_as_they_are_stored(door, make_instance) -> None:
    await door.store(make_instance(frames=(bytes(8),) * 250_001))
    answer = await door.get(INSTANCE, "application/dicom; transfer-syntax=1.2.840.10008.1.2.5")
    assert answer.status_code == 406
    assert "250001 frames; 250000 at most are transcoded" in answer.json()["detail"]
    assert (await door.get(INSTANCE, "application/dicom")).status_code == 200


async def test_every_transfer_syntax_leaves_somehow_and_two_never(door, make_instance) -> None:
    await door.store(make_instance())
    (stored,) = door.archive.plan(study="1.2.3")
    transcoder = Transcoder(door.archive)
    for syntax in STORAGE_TRANSFER_SYNTAXES:
        one = replace(stored, transfer_syntax_uid=syntax)
        for wanted in (None, "*"):
            sent = transfer_syntax_to_send(one, wanted, transcoder)
            assert sent not in (None, ImplicitVRLittleEndian, ExplicitVRBigEndian)
        for never in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
            assert transfer_syntax_to_send(one, never, transcoder) is None


async def test_compressed_instances_leave_in_explicit_vr_little_endian_unless_asked_for(door) -> None:
    file = bundled("MR_small_RLE.dcm")
    await door.store(file)
    stored = pydicom.dcmread(BytesIO(file))
    url = f"/studies/{stored.StudyInstanceUID}"
    ((content_type, data),) = parts_of(await door.get(url, RELATED))
    assert content_type == f"application/dicom; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
    native = pydicom.dcmread(BytesIO(data))
    assert native.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert numpy.array_equal(native.pixel_array, stored.pixel_array)
    ((content_type, data),) = parts_of(await door.get(url, f"{RELATED}; transfer-syntax=*"))
    assert data_set_of(data) == data_set_of(file)


@pytest.mark.parametrize("syntax", [JPEG_LS, "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.70"])
async def test_instances_are_encoded_in_the_transfer_syntax_asked_for(door, syntax: str) -> None:
    files = [bundled("CT_small.dcm"), bundled("MR_small_RLE.dcm")]
    await door.store(*files)
    for file in files:
        stored = pydicom.dcmread(BytesIO(file))
        url = (
            f"/studies/{stored.StudyInstanceUID}/series/{stored.SeriesInstanceUID}"
            f"/instances/{stored.SOPInstanceUID}"
        )
        response = await door.get(url, f"application/dicom; transfer-syntax={syntax}")
        assert response.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
        assert int(response.headers["content-length"]) == len(response.content)
        native = b"".join(transcode(data_set_of(response.content), syntax, EXPLICIT_VR_LITTLE_ENDIAN))
        found = pydicom.dcmread(BytesIO(native), force=True)
        assert found.PixelData == stored.pixel_array.tobytes()


async def test_parts_of_a_study_go_through_a_codec_only_where_they_need_it(door, make_instance) -> None:
    rle = b"".join(transcode(make_instance(2).data_set, EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.5"))
    meta = write_file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.2", "1.2.840.10008.1.2.5")
    await door.store(make_instance(1), meta + rle, make_instance(3))
    parts = parts_of(await door.get("/studies/1.2.3", RELATED))
    assert [data_set_of(data) for _, data in parts] == [make_instance(n).data_set for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/1.2.99", 404),
        ("/studies/1.2.3/series/1.2", 404),
        ("/studies/1.2.3/series/1.2.3.4/instances/1", 404),
        ("/studies/1.2.3/nonsense", 404),
        ("/nonsense", 404),
        ("/studies/..%2F..%2Fetc%2Fpasswd", 400),
        ("/studies/%2e%2e", 400),
        ("/studies/1.2.3/series/%00", 400),
        ("/studies/1.2.3%0a", 400),
        ("/studies/%zz", 400),
        ("/studies/%ff%fe", 400),
        ("/studies/" + "1" * 65, 400),
        ("/studies/1..2", 400),
        ("/studies/1.2.3/series/a/instances/b", 400),
        ("/studies/1.2.3'%20OR%201=1", 400),
        ("/studies/1.2.3/series/1.2.3.4/instances/x/metadata", 400),
    ],
)
async def test_paths_that_are_none(door, make_instance, path: str, status: int) -> None:
    await door.store(make_instance())
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(f"GET /dicom-web{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in answer


async def test_head_answers_like_get_without_a_body(door, make_instance) -> None:
    await door.store(make_instance())
    got = await door.get(INSTANCE, "application/dicom")
    head = await door.client.head(door.base + INSTANCE, headers={"Accept": "application/dicom"})
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_options_and_other_methods_name_what_is_allowed(door) -> None:
    options = await door.client.options(f"{door.base}/studies/1.2.3")
    assert options.status_code == 204
    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    for method in ("DELETE", "PUT", "PATCH"):
        response = await door.client.request(method, door.base + INSTANCE)
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD, OPTIONS"
        assert response.headers["content-type"] == "application/problem+json"


async def test_a_trailing_slash_is_the_same_resource(door, make_instance) -> None:
    await door.store(make_instance())
    assert (await door.get("/studies/1.2.3/", RELATED)).status_code == 200


async def test_what_is_removed_while_it_is_asked_for_is_gone(door, make_instance, monkeypatch) -> None:
    await door.store(make_instance())

    def removed(_: object) -> None:
        raise InstanceRemoved

    monkeypatch.setattr(door.archive, "open_stored", removed)
    response = await door.get(INSTANCE, "application/dicom")
    assert response.status_code == 410
    assert response.headers["content-type"] == "application/problem+json"
