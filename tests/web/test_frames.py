"""Frames over a real port."""

from __future__ import annotations

import re
from struct import pack

import imagecodecs
import numpy
import pytest

from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN as DEFLATED
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from dicomwire.web.frame_forms import FRAME_MEDIA_TYPES

INSTANCE = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
FRAMES = (b"frame 1.", b"frame 2.", b"frame 3.")
JPEG_LS = "1.2.840.10008.1.2.4.80"


def encapsulated(data_set: bytes, frames: tuple[bytes, ...]) -> bytes:
    """The same data set with its pixel data as one fragment a frame."""
    items = b"".join(b"\xfe\xff\x00\xe0" + pack("<I", len(frame)) + frame for frame in (b"", *frames))
    head = data_set[: data_set.index(b"\xe0\x7f\x10\0")]
    return head + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + items + b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.fixture
async def native(door, make_instance):
    await door.store(make_instance(frames=FRAMES))
    return door


@pytest.fixture
async def compressed(door, make_instance):
    data_set = encapsulated(make_instance(frames=FRAMES).data_set, FRAMES)
    meta = write_file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.1", JPEG_LS)
    assert (await door.store(meta + data_set)).status_code == 200
    return door


def data_of(response) -> list[bytes]:
    """The data of each part, which are as long as its head says, where the answer's length is known."""
    boundary = response.headers["content-type"].split("boundary=")[1].split(";")[0].encode()
    data = []
    for part in response.content.split(b"\r\n--" + boundary)[1:-1]:
        head, body = part.split(b"\r\n\r\n", 1)
        told = re.search(rb"\r\nContent-Length: (\d+)", head)
        assert told is not None or "content-length" not in response.headers, "PS3.18 Table 8.6.1-1"
        assert told is None or int(told[1]) == len(body)
        data.append(body)
    return data


async def test_a_part_says_its_length(native) -> None:
    series = INSTANCE.partition("/instances")[0]
    for path, accept in (
        ("/frames/1,2", 'multipart/related; type="application/octet-stream"'),
        ("/bulkdata/7FE00010", 'multipart/related; type="application/octet-stream"'),
        ("", 'multipart/related; type="application/dicom"'),
        ("/rendered", 'multipart/related; type="image/png"'),
        ("/metadata", 'multipart/related; type="application/dicom+xml"'),
    ):
        response = await native.get(INSTANCE + path, accept)
        assert response.status_code == 200
        assert response.content.count(b"\r\nContent-Length: ") == len(data_of(response)) > 0
    found = await native.get(series + "/instances", 'multipart/related; type="application/dicom+xml"')
    assert found.content.count(b"\r\nContent-Length: ") == len(data_of(found)) == 1


@pytest.mark.parametrize(
    "accept", ["*/*", 'multipart/related; type="application/octet-stream"', "multipart/related"]
)
async def test_native_frames_come_as_octets_in_the_order_asked_for(native, accept: str) -> None:
    response = await native.get(INSTANCE + "/frames/3,1,3", accept)
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content)
    assert data_of(response) == [FRAMES[2], FRAMES[0], FRAMES[2]]
    assert f"transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}".encode() in response.content
    assert f"Content-Location: {native.base}{INSTANCE}/frames/3".encode() in response.content


@pytest.mark.parametrize("numbers", [[1, 2, 3], [1, 3], [2], [3, 1], [2, 2]])
async def test_frames_of_a_deflated_data_set_come_as_octets(door, make_instance, numbers: list[int]) -> None:
    frames = tuple(bytes([number]) * 800_000 for number in range(3))  # not whole blocks of what is inflated
    size = b"\x28\0\x10\0US\2\0", b"\x28\0\x11\0US\2\0"
    data_set = make_instance(frames=frames).data_set
    for head, pixels in zip(size, (800, 500), strict=True):
        data_set = data_set.replace(head + pack("<H", 2), head + pack("<H", pixels))
    deflated = b"".join(to_transfer_syntax(data_set, EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED))
    meta = write_file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.1", DEFLATED)
    assert (await door.store(meta + deflated)).status_code == 200
    response = await door.get(f"{INSTANCE}/frames/{','.join(map(str, numbers))}", "multipart/related")
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content)
    assert data_of(response) == [frames[number - 1] for number in numbers]


async def test_all_frames_come_where_no_list_is_given(native) -> None:
    octets = 'multipart/related; type="application/octet-stream"'
    assert data_of(await native.get(INSTANCE + "/frames", octets)) == list(FRAMES)
    assert (await native.get(INSTANCE + "/frames", "application/octet-stream")).status_code == 406


async def test_all_compressed_frames_come_in_their_own_media_type(compressed) -> None:
    answer = await compressed.get(INSTANCE + "/frames")
    assert answer.headers["content-type"].startswith('multipart/related; type="image/jls"')
    assert data_of(answer) == list(FRAMES)


async def test_one_frame_comes_as_itself(native) -> None:
    response = await native.get(INSTANCE + "/frames/2", "application/octet-stream")
    assert response.content == FRAMES[1]
    assert response.headers["content-type"].startswith("application/octet-stream")


async def test_two_frames_are_no_single_part(native) -> None:
    assert (await native.get(INSTANCE + "/frames/1,2", "application/octet-stream")).status_code == 406


@pytest.mark.parametrize(
    "numbers", ["0", "a", "1,", ",1", "1,,2", "-1", "1.5", "1;2", "%2e%2e", "1,0", "9" * 11, "²"]
)
async def test_a_malformed_list_is_400(native, numbers: str) -> None:
    response = await native.get(f"{INSTANCE}/frames/{numbers}")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("numbers", ["4", "1,4", "9999999999"])
async def test_a_frame_that_is_not_there_is_404(native, numbers: str) -> None:
    assert (await native.get(f"{INSTANCE}/frames/{numbers}")).status_code == 404


async def test_an_encapsulated_frame_that_is_not_there_is_404(compressed) -> None:
    assert (await compressed.get(INSTANCE + "/frames/4")).status_code == 404


@pytest.mark.parametrize("accept", ["image/png", 'multipart/related; type="video/mp4"', "text/html"])
async def test_frames_as_what_they_cannot_become_are_406(native, accept: str) -> None:
    response = await native.get(INSTANCE + "/frames/1", accept)
    assert response.status_code == 406
    assert "application/octet-stream" in response.json()["detail"]


@pytest.mark.parametrize(
    "accept",
    [
        "image/jls",
        "image/*",
        f"image/jls; transfer-syntax={JPEG_LS}",
        "image/jls; transfer-syntax=*",
        'multipart/related; type="image/jls"',
        'multipart/related; type="*/*"',
        'multipart/related; type="image/"',
        "*/*",
    ],
)
async def test_encapsulated_frames_come_in_their_own_media_type(compressed, accept: str) -> None:
    response = await compressed.get(INSTANCE + "/frames/2", accept)
    assert response.status_code == 200
    assert "image/jls" in response.headers["content-type"]
    content = response.content if "boundary" not in response.headers["content-type"] else data_of(response)[0]
    assert content == FRAMES[1]


@pytest.mark.parametrize("syntax", ["*", JPEG_LS])
async def test_encapsulated_frames_are_octets_where_the_syntax_is_named(compressed, syntax: str) -> None:
    accept = f"multipart/related; type=application/octet-stream; transfer-syntax={syntax}"
    response = await compressed.get(INSTANCE + "/frames/1,2", accept)
    assert data_of(response) == list(FRAMES[:2])
    assert f"application/octet-stream; transfer-syntax={JPEG_LS}".encode() in response.content


@pytest.mark.parametrize(
    "accept",
    ["application/octet-stream", "image/jpeg", f"image/jls; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"],
)
async def test_frames_that_cannot_be_decoded_are_406_and_as_stored(compressed, accept: str) -> None:
    response = await compressed.get(INSTANCE + "/frames/1", accept)
    assert response.status_code == 406
    assert "image/jls" in response.json()["detail"]


DECODERS = {
    "image/jls": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_decode),
    "image/jpeg": ("1.2.840.10008.1.2.4.70", imagecodecs.jpeg_decode),
    "image/jp2": ("1.2.840.10008.1.2.4.90", imagecodecs.jpeg2k_decode),
    "image/jphc": ("1.2.840.10008.1.2.4.201", imagecodecs.htj2k_decode),
    "image/jxl": ("1.2.840.10008.1.2.4.110", imagecodecs.jpegxl_decode),
    "image/dicom-rle": ("1.2.840.10008.1.2.5", None),
}


@pytest.mark.parametrize("media_type", DECODERS)
async def test_native_frames_are_encoded_in_the_media_type_asked_for(native, media_type: str) -> None:
    syntax, decode = DECODERS[media_type]
    for suffix in ("", f"; transfer-syntax={syntax}"):
        response = await native.get(INSTANCE + "/frames/2", media_type + suffix)
        assert response.headers["content-type"] == f"{media_type}; transfer-syntax={syntax}"
        if decode is not None:
            assert decode(response.content).astype("<u2").tobytes() == FRAMES[1]
    parts = data_of(await native.get(INSTANCE + "/frames/3,1", f'multipart/related; type="{media_type}"'))
    assert len(parts) == 2
    assert parts[1] != parts[0]


async def test_encapsulated_frames_are_decoded_into_octets(door, make_instance) -> None:
    values = [numpy.frombuffer(frame, "<u2").reshape(2, 2) for frame in FRAMES]
    coded = tuple(imagecodecs.jpegls_encode(value) for value in values)
    data_set = encapsulated(
        make_instance(frames=FRAMES).data_set, tuple(frame + b"\0" * (len(frame) & 1) for frame in coded)
    )
    await door.store(write_file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.1", JPEG_LS) + data_set)
    response = await door.get(INSTANCE + "/frames/1", "application/octet-stream")
    assert response.content == FRAMES[0]
    assert response.headers["content-type"].endswith(f"transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}")
    response = await door.get(INSTANCE + "/frames/2,3", 'multipart/related; type="application/octet-stream"')
    assert data_of(response) == list(FRAMES[1:])


async def test_quality_decides_between_media_types_before_any_pixel_is_read(native) -> None:
    response = await native.get(INSTANCE + "/frames/1", "image/jls;q=0.2, image/png, image/jphc;q=0.7")
    assert response.headers["content-type"].startswith("image/jphc")


async def test_frames_are_compressed_with_loss_only_where_the_syntax_is_named(native) -> None:
    assert (await native.get(INSTANCE + "/frames/1", "image/jpeg")).headers["content-type"].endswith(".4.70")
    assert (
        await native.get(INSTANCE + "/frames/1", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50")
    ).status_code == 406


async def test_encapsulated_pixel_data_as_bulk_data_come_frame_by_frame(compressed) -> None:
    response = await compressed.get(INSTANCE + "/bulkdata/7FE00010", 'multipart/related; type="*/*"')
    assert data_of(response) == list(FRAMES)


async def test_an_instance_without_pixel_data_has_no_frames(door, make_instance) -> None:
    instance = make_instance()
    data_set = instance.data_set[: instance.data_set.index(b"\xe0\x7f\x10\0")]
    await door.store(instance.meta + data_set)
    assert (await door.get(INSTANCE + "/frames/1")).status_code == 404


async def test_pixel_data_shorter_than_its_frames_gives_those_there_are(door, make_instance) -> None:
    instance = make_instance(frames=FRAMES)
    lying = instance.data_set.replace(b"\x28\0\x08\0IS\x02\x003 ", b"\x28\0\x08\0IS\x02\x0099")
    assert lying != instance.data_set
    await door.store(instance.meta + lying)
    assert data_of(await door.get(INSTANCE + "/frames/3")) == [FRAMES[2]]
    assert (await door.get(INSTANCE + "/frames/4")).status_code == 404


def test_every_encapsulated_syntax_of_the_standard_s_table_has_its_media_type() -> None:
    known = {uid for uid, syntax in TRANSFER_SYNTAXES.items() if syntax.encapsulated}
    assert set(FRAME_MEDIA_TYPES) - known <= {f"1.2.840.10008.1.2.4.{process}" for process in range(50, 67)}


@pytest.mark.parametrize(
    ("header", "status", "content"),
    [
        ("bytes=2-5", 206, b"ame "),
        ("bytes=-3", 206, b" 2."),
        ("bytes=8-", 416, None),
        ("bytes=0-,0-", 200, FRAMES[1]),
    ],
)
async def test_a_range_of_a_frame(native, header: str, status: int, content: bytes | None) -> None:
    response = await native.get(INSTANCE + "/frames/2", "application/octet-stream", Range=header)
    assert response.status_code == status
    assert content is None or response.content == content
    if status != 200:
        assert response.headers["content-range"].endswith("/8")


@pytest.mark.parametrize("accept", ["application/octet-stream", "image/jls"])
async def test_several_ranges_of_a_frame_come_as_parts(native, accept: str) -> None:
    whole = await native.get(INSTANCE + "/frames/2", accept)
    several = await native.get(INSTANCE + "/frames/2", accept, Range="bytes=1-2,-3")
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert data_of(several) == [whole.content[1:3], whole.content[-3:]]


async def test_a_range_of_a_frame_that_is_encoded_or_stored_in_fragments(native, door, make_instance) -> None:
    whole = await native.get(INSTANCE + "/frames/1", "image/jls")
    part = await native.get(INSTANCE + "/frames/1", "image/jls", Range="bytes=3-9")
    assert (part.status_code, part.content) == (206, whole.content[3:10])
    changed = {"Range": "bytes=3-9", "If-Range": '"another"'}
    assert (await native.get(INSTANCE + "/frames/1", "image/jls", **changed)).content == whole.content
    unchanged = {"Range": "bytes=3-9", "If-Range": whole.headers["etag"]}
    assert (await native.get(INSTANCE + "/frames/1", "image/jls", **unchanged)).status_code == 206
