"""Metadata and bulk data over a real port."""

from __future__ import annotations

import json
from struct import pack

import pytest

from dicomwire.dicom import xml_model
from dicomwire.dicom.data_set import from_json, from_object
from tests.web.support import parts
from tests.web.test_frames import data_of

INSTANCE = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
PIXELS = bytes(range(8))


def private_octets(length: int) -> bytes:
    """A private element of unknown meaning that is too long to be inline."""
    return b"\x29\x00\x10\x10OB\0\0" + pack("<I", length) + bytes(i % 251 for i in range(length))


@pytest.mark.parametrize(
    "path", ["/studies/1.2.3/metadata", "/studies/1.2.3/series/1.2.3.4/metadata", INSTANCE + "/metadata"]
)
async def test_metadata_is_an_array_with_one_object_per_instance(door, make_instance, path: str) -> None:
    await door.store(make_instance(1), make_instance(2))
    response = await door.get(path, "application/dicom+json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom+json"
    objects = response.json()
    uids = [each["00080018"]["Value"][0] for each in objects]
    assert uids == (["1.2.3.4.1"] if "instances" in path else ["1.2.3.4.1", "1.2.3.4.2"])
    assert objects[0]["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert objects[0]["7FE00010"]["BulkDataURI"] == f"{door.base}{INSTANCE}/bulkdata/7FE00010"


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/*", "application/dicom+xml;q=0.9, */*;q=0.1"]
)
async def test_metadata_is_json_for_all_who_take_it(door, make_instance, accept: str) -> None:
    await door.store(make_instance())
    response = await door.get(INSTANCE + "/metadata", accept)
    assert response.status_code == 200
    assert len(response.json()) == 1


@pytest.mark.parametrize(
    "accept", ['multipart/related; type="application/dicom"', "application/dicom+xml", "text/html"]
)
async def test_metadata_as_anything_else_is_406(door, make_instance, accept: str) -> None:
    await door.store(make_instance())
    response = await door.get(INSTANCE + "/metadata", accept)
    assert response.status_code == 406
    assert "application/dicom+json" in response.json()["detail"]


async def test_metadata_in_xml_are_parts_that_say_what_json_says(door, make_instance) -> None:
    await door.store(make_instance(1), make_instance(2))
    objects = (await door.get("/studies/1.2.3/metadata")).json()
    response = await door.get("/studies/1.2.3/metadata", 'multipart/related; type="application/dicom+xml"')
    assert response.status_code == 200
    assert response.headers["content-type"].startswith('multipart/related; type="application/dicom+xml"')
    read = parts(response)
    assert [head["content-type"] for head, _ in read] == ["application/dicom+xml"] * 2
    assert [head["content-location"] for head, _ in read] == [
        f"{door.base}/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.{number}/metadata" for number in (1, 2)
    ]
    assert [from_object(xml_model.decode(body), bulk_data=str.encode) for _, body in read] == [
        from_json(json.dumps(each), bulk_data=str.encode) for each in objects
    ]


async def test_metadata_of_nothing_is_404(door) -> None:
    assert (await door.get("/studies/1.2.3/metadata")).status_code == 404


async def test_every_bulk_data_uri_leads_to_its_value(door, make_instance) -> None:
    octets = private_octets(3000)
    await door.store(make_instance(frames=(PIXELS,), extra=octets))
    (found,) = (await door.get(INSTANCE + "/metadata")).json()
    uris = {tag: each["BulkDataURI"] for tag, each in found.items() if "BulkDataURI" in each}
    assert uris.keys() == {"00291010", "7FE00010"}
    for tag, value in (("00291010", octets[12:]), ("7FE00010", PIXELS)):
        response = await door.client.get(uris[tag], headers={"Accept": "application/octet-stream"})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.content == value


async def test_bulk_data_in_parts(door, make_instance) -> None:
    await door.store(make_instance(frames=(PIXELS,)))
    response = await door.get(INSTANCE + "/bulkdata/7FE00010", 'multipart/related; type="*/*"')
    assert response.headers["content-type"].startswith('multipart/related; type="application/octet-stream"')
    assert int(response.headers["content-length"]) == len(response.content)
    assert b"\r\n\r\n" + PIXELS + b"\r\n--" in response.content


@pytest.mark.parametrize(
    ("header", "status", "content"),
    [
        ("bytes=2-5", 206, PIXELS[2:6]),
        ("bytes=-3", 206, PIXELS[-3:]),
        ("bytes=6-", 206, PIXELS[6:]),
        ("bytes=8-", 416, None),
        ("bytes=0-1,0-", 200, PIXELS),  # more than there is
        ("bytes=" + "9" * 5_000 + "-", 416, None),
        ("nonsense", 200, PIXELS),
    ],
)
async def test_a_range_of_bulk_data(
    door, make_instance, header: str, status: int, content: bytes | None
) -> None:
    await door.store(make_instance(frames=(PIXELS,)))
    response = await door.get(INSTANCE + "/bulkdata/7FE00010", "application/octet-stream", Range=header)
    assert response.status_code == status
    if content is not None:
        assert response.content == content
    if status == 416:
        assert response.headers["content-range"] == "bytes */8"
    if status == 206:
        assert response.headers["content-range"].endswith("/8")
        related = 'multipart/related; type="application/octet-stream"'
        ranged = await door.get(INSTANCE + "/bulkdata/7FE00010", related, Range=header)
        assert (ranged.status_code, data_of(ranged)) == (206, [content])


async def test_several_ranges_of_bulk_data_come_as_parts(door, make_instance) -> None:
    await door.store(make_instance(frames=(PIXELS,)))
    path, header = INSTANCE + "/bulkdata/7FE00010", "bytes=-2,0-2"
    response = await door.get(path, "application/octet-stream", Range=header)
    assert response.status_code == 206
    assert response.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert "content-range" not in response.headers
    assert int(response.headers["content-length"]) == len(response.content)
    assert data_of(response) == [PIXELS[-2:], PIXELS[:3]]
    told = [head["content-range"] for head, _ in parts(response)]
    assert told == ["bytes 6-7/8", "bytes 0-2/8"]
    related = await door.get(path, 'multipart/related; type="application/octet-stream"', Range=header)
    assert (related.status_code, data_of(related)) == (206, [PIXELS[-2:], PIXELS[:3]])
    assert [head["content-range"] for head, _ in parts(related)] == told


async def test_bulk_data_have_an_entity_tag_by_which_a_range_is_continued(door, make_instance) -> None:
    await door.store(make_instance(frames=(PIXELS,)))
    path = INSTANCE + "/bulkdata/7FE00010"
    tag = (await door.get(path)).headers["etag"]
    assert (await door.get(path, **{"If-None-Match": tag})).status_code == 304
    assert (await door.get(path, **{"Range": "bytes=2-5", "If-Range": tag})).content == PIXELS[2:6]
    assert (await door.get(path, **{"Range": "bytes=2-5", "If-Range": '"old"'})).content == PIXELS


@pytest.mark.parametrize("header", ["bytes=1-6", "bytes=0-0", "bytes=3-"])
async def test_bulk_data_stored_big_endian_leaves_little_endian(
    door, make_instance, convert, header: str
) -> None:
    stored = convert(make_instance(frames=(PIXELS,)), "1.2.840.10008.1.2.2")
    assert (await door.store(stored)).status_code == 200
    assert (await door.get(INSTANCE + "/bulkdata/7FE00010")).content == PIXELS
    first, last = header.removeprefix("bytes=").split("-")
    partial = await door.get(INSTANCE + "/bulkdata/7FE00010", Range=header)
    assert partial.content == PIXELS[int(first) : int(last or 7) + 1]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("7FE0", 400),
        ("PixelData", 400),
        ("7FE00010/x", 400),
        ("..%2F..", 400),
        ("00291010", 404),
        ("7FE00010/0/7FE00010", 404),
    ],
)
async def test_bulk_data_that_is_none(door, make_instance, path: str, status: int) -> None:
    await door.store(make_instance())
    assert (await door.get(f"{INSTANCE}/bulkdata/{path}")).status_code == status


async def test_bulk_data_as_an_image_is_406(door, make_instance) -> None:
    await door.store(make_instance())
    assert (await door.get(INSTANCE + "/bulkdata/7FE00010", "image/jpeg")).status_code == 406


async def test_metadata_are_not_sent_again_to_who_has_them(door, make_instance) -> None:
    await door.store(make_instance(1))
    path = "/studies/1.2.3/metadata"
    tag = (await door.get(path)).headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = await door.get(path, **{"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await door.get(path, 'multipart/related; type="application/dicom+xml"', **{"If-None-Match": tag})
    assert other.status_code == 200
    await door.store(make_instance(2))
    assert (await door.get(path, **{"If-None-Match": tag})).status_code == 200
