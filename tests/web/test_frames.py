"""Frames over a real port."""

from __future__ import annotations

from struct import pack

import pytest

from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from dicomwire.web.frames import FRAME_MEDIA_TYPES

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
    """The data of each part."""
    boundary = response.headers["content-type"].split("boundary=")[1].split(";")[0].encode()
    return [part.split(b"\r\n\r\n", 1)[1] for part in response.content.split(b"\r\n--" + boundary)[1:-1]]


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


@pytest.mark.parametrize("accept", ["image/jpeg", 'multipart/related; type="image/jls"', "text/html"])
async def test_native_frames_as_an_image_are_406(native, accept: str) -> None:
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
async def test_encapsulated_frames_are_not_decoded(compressed, accept: str) -> None:
    assert (await compressed.get(INSTANCE + "/frames/1", accept)).status_code == 406


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
