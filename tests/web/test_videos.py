"""Stills of stored videos over a real port: rendered, thumbnails, WADO-URI."""

from __future__ import annotations

import struct
from io import BytesIO

import av
import numpy
import pytest
from PIL import Image

from tests.dicom.films import (
    COLUMNS,
    ENDOSCOPY,
    FRAMES,
    H264,
    H265,
    H265_10,
    MPEG_2,
    ROWS,
    film,
    fragments,
    image,
    level,
)
from tests.web.conftest import element, make
from tests.web.test_documents import URL, file, numbered
from tests.web.test_frames import data_of
from tests.web.test_rendered import STATE, picture, presentation_state, window

WADO = "/wado?requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.4&objectUID=1.2.3.4.1"
STUDY = "/studies/1.2.3"


def stored_film(syntax: str = H264, stream: bytes | None = None, **more: int) -> bytes:
    return file(ENDOSCOPY, image(**more), fragments(film() if stream is None else stream), syntax=syntax)


def gray_of(response) -> float:
    found = picture(response)
    assert found.size == (COLUMNS, ROWS)
    return float(numpy.asarray(found.convert("L")).mean())


@pytest.mark.parametrize(
    ("syntax", "codec", "container", "pixels"),
    [
        (MPEG_2, "mpeg2video", "mpegts", "yuv420p"),
        (H264, "libx264", "mp4", "yuv420p"),
        (H265, "libx265", "mp4", "yuv420p"),
        (H265_10, "libx265", "mpegts", "yuv420p10le"),
    ],
)
async def test_a_frame_of_a_video_comes_as_a_still(
    door, syntax: str, codec: str, container: str, pixels: str
) -> None:
    await door.store(stored_film(syntax, film(codec, container, pixels)))
    for number in (1, 40):
        response = await door.get(f"{URL}/frames/{number}/rendered", "image/png")
        assert gray_of(response) == pytest.approx(level(number), abs=3)
    assert gray_of(await door.get(URL + "/rendered", "image/jpeg")) == pytest.approx(level(1), abs=4)
    assert gray_of(await door.get(URL + "/thumbnail")) == pytest.approx(level(1), abs=4)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("image/jpeg", "JPEG"), ("image/gif", "GIF"), ("image/jp2", "JPEG2000"), ("image/jph", "JPEG2000")],
)
async def test_a_still_is_in_the_media_type_asked_for(door, accept: str, kind: str) -> None:
    await door.store(stored_film())
    for path in (URL + "/rendered", URL + "/frames/1/rendered", URL + "/thumbnail"):
        assert picture(await door.get(path, accept)).format == kind


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("*/*", "video/mp4"),
        ("video/*, image/*", "video/mp4"),
        ("image/jpeg, */*;q=0.1", "image/jpeg"),
        ("image/png;q=0.2, video/mp4;q=0.3", "video/mp4"),
        ("image/png, video/mp4;q=0", "image/png"),
        ('multipart/related; type="image/png"', "image/png"),
        ('multipart/related; type="*/*"', "video/mp4"),
    ],
)
async def test_a_video_or_a_still_of_it_whichever_is_liked_better(door, accept: str, given: str) -> None:
    await door.store(stored_film())
    assert given in (await door.get(URL + "/rendered", accept)).headers["content-type"]
    assert given in (await door.get(STUDY + "/rendered", accept)).headers["content-type"]


async def test_what_is_neither_is_406_and_tells_both(door) -> None:
    await door.store(stored_film())
    response = await door.get(URL + "/rendered", "text/html")
    assert response.status_code == 406
    assert "video/mp4" in response.json()["detail"]
    assert "image/jpeg" in response.json()["detail"]


async def test_a_study_has_stills_among_its_pictures(door, make_instance) -> None:
    await door.store(numbered(stored_film(), 1), make_instance(2))
    response = await door.get(STUDY + "/rendered", 'multipart/related; type="image/png"')
    assert [Image.open(BytesIO(part)).size for part in data_of(response)] == [(COLUMNS, ROWS), (2, 2)]
    whole = await door.get(STUDY + "/rendered", "multipart/related")
    assert b"Content-Type: video/mp4" in whole.content
    assert b"Content-Type: image/jpeg" in whole.content
    assert whole.content.count(b"Content-Type:") == 2


async def test_listed_frames_of_a_video_become_parts_or_an_animation(door) -> None:
    await door.store(stored_film())
    response = await door.get(URL + "/frames/30,2/rendered", 'multipart/related; type="image/png"')
    levels = [numpy.asarray(Image.open(BytesIO(part))).mean() for part in data_of(response)]
    assert levels == pytest.approx([level(30), level(2)], abs=3)
    animation = picture(await door.get(URL + "/frames/3,4,50/rendered", "image/gif"))
    assert animation.n_frames == 3
    short = await door.get(URL + "/frames/3,4,50/rendered", "video/mp4")
    with av.open(BytesIO(short.content)) as container:
        levels = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    assert levels == pytest.approx([level(3), level(4), level(50)], abs=4)


async def test_a_thumbnail_is_of_the_frame_that_represents_the_video(door) -> None:
    await door.store(stored_film(representative=33))
    assert gray_of(await door.get(URL + "/thumbnail", "image/png")) == pytest.approx(level(33), abs=3)
    of_frame = await door.get(URL + "/frames/2/thumbnail", "image/png")
    assert gray_of(of_frame) == pytest.approx(level(2), abs=3)
    small = picture(await door.get(URL + "/thumbnail?viewport=16,16", "image/png"))
    assert small.size == (16, 12)


async def test_a_thumbnail_is_of_the_frame_that_represents_an_image(door, make_instance) -> None:
    frames = tuple(struct.pack("<4H", *(value,) * 4) for value in (0, 100, 200))
    for named, value in ((3, 200), (9, 100)):
        representative = struct.pack("<HH2sHH", 0x0028, 0x6010, b"US", 2, named)
        await door.store(make_instance(named, frames=frames, extra=window(128, 256) + representative))
        found = picture(await door.get(f"{URL[:-1]}{named}/thumbnail", "image/png"))
        assert abs(numpy.asarray(found).astype(int) - value).max() <= 1, "a frame that is not there is none"


async def test_wado_uri_gives_stills_and_the_film(door) -> None:
    await door.store(stored_film(H265, film("libx265", "mp4")))
    first = await door.client.get(door.base + WADO + "&contentType=image/png")
    assert gray_of(first) == pytest.approx(level(1), abs=3)
    other = await door.client.get(door.base + WADO + "&contentType=image/png&frameNumber=40")
    assert gray_of(other) == pytest.approx(level(40), abs=3)
    for content_type in ("video/h265", "video/*"):
        whole = await door.client.get(door.base + WADO + f"&contentType={content_type}")
        assert whole.headers["content-type"] == "video/h265"
    stored = await door.client.get(door.base + WADO)
    assert stored.headers["content-type"].startswith("application/dicom")


@pytest.mark.parametrize(
    ("more", "stream", "words"),
    [
        ({"columns": 66}, None, "the data set says 48, 66"),
        ({}, b"no film" * 20, "Invalid data"),
        ({"frames": 99}, None, "no frame 90"),
        ({}, b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n", "Invalid"),
    ],
)
async def test_a_video_that_cannot_be_decoded_is_406(door, more, stream, words: str) -> None:
    await door.store(stored_film(stream=stream, **more))
    number = 90 if "frames" in more else 1
    response = await door.get(f"{URL}/frames/{number}/rendered", "image/png")
    assert response.status_code == 406
    assert words in response.json()["detail"]
    missing = await door.get(f"{URL}/frames/{max(FRAMES, 99) + 1}/rendered", "image/png")
    assert missing.status_code == 404


async def test_frames_of_a_video_are_still_one_stream_and_nothing_else(door) -> None:
    await door.store(stored_film())
    assert (await door.get(URL + "/frames/1", "video/mp4")).status_code == 200
    for accept in ("image/jpeg", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"):
        assert (await door.get(URL + "/frames/1", accept)).status_code == 406
    assert (
        await door.get(URL, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50")
    ).status_code == 406


async def test_a_presentation_state_is_applied_to_a_still(door) -> None:
    turned = element(0x00700041, "CS", b"N"), element(0x00700042, "US", struct.pack("<H", 90))
    await door.store(stored_film(), presentation_state(*turned))
    query = WADO + "&presentationSeriesUID=1.2.3.5&presentationUID=1.2.3.5.1&contentType=image/png"
    for response in (await door.get(STATE, "image/png"), await door.client.get(door.base + query)):
        assert picture(response).size == (ROWS, COLUMNS)


async def test_a_multi_frame_image_becomes_an_h265_film(door) -> None:
    levels = [numpy.full((64, 64), value, "<u2").tobytes() for value in (10, 100, 200)]
    whole = make(frames=tuple(levels), extra=window(128, 256)).file
    for tag in (0x00280010, 0x00280011):
        whole = whole.replace(
            element(tag, "US", struct.pack("<H", 2)), element(tag, "US", struct.pack("<H", 64))
        )
    await door.store(whole)
    response = await door.get(URL + "/rendered", "video/H265")
    assert response.headers["content-type"] == "video/h265"
    with av.open(BytesIO(response.content)) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
        found = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    assert found == pytest.approx([10, 100, 200], abs=3)
