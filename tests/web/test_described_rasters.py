"""STOW-RS of PNG and GIF images, which become native pixel data (PS3.18 Table 10.5.2-1)."""

from __future__ import annotations

from io import BytesIO

import imagecodecs
import numpy
import pytest
from PIL import Image

from dicomwire.dicom import raster
from dicomwire.dicom.raster_decode import decode
from dicomwire.errors import TranscodingError
from tests.web.test_described import INSTANCE, described_as_json, metadata, part, post, read

SHAPE = (9, 7)  # rows and columns; odd, so that the value has to be padded
GRAY = (numpy.arange(63, dtype=numpy.uint8) * 4).reshape(SHAPE)
COLOUR = numpy.stack([GRAY, GRAY[::-1], 255 - GRAY], -1)
DEEP = GRAY.astype(numpy.uint16) * 257


def png(image: numpy.ndarray, mode: str = "") -> bytes:
    if not mode:
        return bytes(imagecodecs.png_encode(image))
    out = BytesIO()
    Image.fromarray(image).convert(mode).save(out, "PNG")
    return out.getvalue()


def gif(*frames: numpy.ndarray) -> bytes:
    """Of the second frame and those behind it Pillow writes what has changed only."""
    out = BytesIO()
    first, *others = [Image.fromarray(frame).quantize(256) for frame in frames]
    first.save(out, "GIF", save_all=True, append_images=others, duration=100)
    return out.getvalue()


def changed(frame: numpy.ndarray) -> numpy.ndarray:
    other = frame.copy()
    other[3:5, 2:4] = 128
    return other


def bare_metadata(**attributes: object) -> dict[str, object]:
    """Nothing about the pixels but where they are."""
    found = metadata(**attributes)
    for tag in ("00280010", "00280011", "00280100"):
        if tag not in attributes:
            del found[tag]
    return found


def us(value: int) -> dict[str, object]:
    return {"vr": "US", "Value": [value]}


@pytest.mark.parametrize(
    ("media_type", "files", "frames", "photometric"),
    [
        ("image/png", [png(GRAY)], [GRAY], "MONOCHROME2"),
        ("image/png", [png(COLOUR)], [COLOUR], "RGB"),
        ("image/png", [png(DEEP)], [DEEP], "MONOCHROME2"),
        ("image/png", [png(numpy.stack([DEEP] * 3, -1))], [numpy.stack([DEEP] * 3, -1)], "RGB"),
        ("image/png", [png(GRAY, "P")], [GRAY], "MONOCHROME2"),
        ("image/png", [png(GRAY, "LA")], [GRAY], "MONOCHROME2"),
        ("image/png", [png(COLOUR, "RGBA")], [COLOUR], "RGB"),
        ("image/png", [png(GRAY // 252 * 255, "1")], [GRAY // 252 * 255], "MONOCHROME2"),
        ("image/png", [png(GRAY), png(GRAY[::-1])], [GRAY, GRAY[::-1]], "MONOCHROME2"),
        ("image/gif", [gif(GRAY)], [GRAY], "MONOCHROME2"),
        ("image/gif", [gif(COLOUR)], [COLOUR], "RGB"),
        ("image/gif", [gif(GRAY, changed(GRAY))], [GRAY, changed(GRAY)], "MONOCHROME2"),
        ("image/gif", [gif(COLOUR, changed(COLOUR))], [COLOUR, changed(COLOUR)], "RGB"),
        ("image/gif", [gif(GRAY), gif(COLOUR)], [numpy.stack([GRAY] * 3, -1), COLOUR], "RGB"),
    ],
)
async def test_a_consumer_s_image_becomes_native_pixels_without_loss(
    door, media_type: str, files: list[bytes], frames: list[numpy.ndarray], photometric: str
) -> None:
    location = "bulk/1/frames/{}" if len(files) > 1 else "bulk/1"
    parts = [part(media_type, file, location.format(number)) for number, file in enumerate(files, 1)]
    response = await post(door, described_as_json(bare_metadata()), *parts)
    assert response.status_code == 200, response.text
    stored = await read(door)
    assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (stored.Rows, stored.Columns) == SHAPE
    assert stored.PhotometricInterpretation == photometric
    assert stored.SamplesPerPixel == (1 if photometric == "MONOCHROME2" else 3)
    assert stored.BitsAllocated == stored.BitsStored == stored.HighBit + 1 == frames[0].itemsize * 8
    assert stored.PixelRepresentation == 0
    assert stored.get("PlanarConfiguration") == (None if photometric == "MONOCHROME2" else 0)
    assert stored.get("NumberOfFrames", 1) == len(frames)
    assert numpy.array_equal(stored.pixel_array.reshape(len(frames), *frames[0].shape), frames)
    native = await door.get(f"{INSTANCE}/frames/{len(frames)}", "application/octet-stream")
    assert native.content[: frames[-1].nbytes] == frames[-1].tobytes()
    shown = await door.get(f"{INSTANCE}/rendered", "image/png")
    assert Image.open(BytesIO(shown.content)).size == SHAPE[::-1]


async def test_metadata_that_agree_stay_as_they_are(door) -> None:
    twelve = (DEEP >> 4).astype(numpy.uint16)
    said = {
        "00280002": us(1),
        "00280004": {"vr": "CS", "Value": ["MONOCHROME1"]},
        "00280010": us(SHAPE[0]),
        "00280011": us(SHAPE[1]),
        "00280100": us(16),
        "00280101": us(12),
        "00280102": us(11),
        "00280103": us(0),
    }
    response = await post(door, described_as_json(metadata(**said)), part("image/png", png(twelve), "bulk/1"))
    assert response.status_code == 200, response.text
    stored = await read(door)
    assert (stored.PhotometricInterpretation, stored.BitsStored, stored.HighBit) == ("MONOCHROME1", 12, 11)
    assert numpy.array_equal(stored.pixel_array, twelve)


async def test_gray_becomes_rgb_where_the_metadata_say_so(door) -> None:
    one = bare_metadata(**{"00280002": us(3), "00280004": {"vr": "CS", "Value": ["RGB"]}})
    response = await post(door, described_as_json(one), part("image/png", png(GRAY), "bulk/1"))
    assert response.status_code == 200, response.text
    assert numpy.array_equal((await read(door)).pixel_array, numpy.stack([GRAY] * 3, -1))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"00280010": us(8)}, "Rows is '8'; the image that came has 9"),
        ({"00280011": us(8)}, "Columns is '8'"),
        ({"00280002": us(1)}, "has colours"),
        ({"00280002": us(4)}, "SamplesPerPixel is '4'"),
        ({"00280004": {"vr": "CS", "Value": ["PALETTE COLOR"]}}, "PALETTE COLOR"),
        ({"00280008": {"vr": "IS", "Value": [2]}}, "NumberOfFrames is '2'"),
        ({"00280100": us(16)}, "BitsAllocated is '16'"),
        ({"00280101": us(7)}, "BitsStored is '7'; the image that came has 8"),
        ({"00280102": us(6)}, "HighBit is '6'"),
        ({"00280103": us(1)}, "PixelRepresentation is '1'"),
        ({"00280006": us(1)}, "PlanarConfiguration is '1'"),
    ],
)
async def test_metadata_that_contradict_the_image_are_refused_with_what_it_has(
    door, said: dict[str, object], words: str
) -> None:
    one = bare_metadata(**said)
    response = await post(door, described_as_json(one), part("image/png", png(COLOUR), "bulk/1"))
    assert response.status_code == 409, response.text
    (failed,) = response.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["1.2.3.4.1"]
    assert words[:40] in failed["00000902"]["Value"][0]
    assert door.archive.plan(study="1.2.3") == []


ANIMATED = png(GRAY)[:33] + b"\0\0\0\x08acTL" + b"\0" * 12 + png(GRAY)[33:]
HUGE = png(GRAY)[:16] + b"\x7f\xff\xff\xff" * 2 + png(GRAY)[24:]


@pytest.mark.parametrize(
    ("media_type", "files", "words"),
    [
        ("image/png", [b""], "0 bytes"),
        ("image/png", [b"GIF89a"], "a signature and IHDR"),
        ("image/png", [png(GRAY)[:40]], "image/png"),
        ("image/png", [ANIMATED], "an animation"),
        ("image/png", [HUGE], "pixels"),
        ("image/png", [png(GRAY), png(GRAY[1:])], "frame 2 has"),
        ("image/png", [png(GRAY), png(DEEP)], "frame 2 has"),
        ("image/gif", [png(GRAY)], "GIF87a or GIF89a"),
        ("image/gif", [gif(GRAY)[:-1]], "end within the image"),
        ("image/gif", [gif(GRAY, changed(GRAY))[:-9]], "end within the image"),
        ("image/gif", [gif(GRAY)[:13] + b"\x3b"], "image/gif"),
        ("image/gif", [gif(GRAY)[:6] + b"\xff\xff\xff\xff" + gif(GRAY)[10:]], "65535 by 65535"),
    ],
)
async def test_an_image_that_cannot_be_read_whole_is_refused(
    door, media_type: str, files: list[bytes], words: str
) -> None:
    parts = [part(media_type, file, f"bulk/1/frames/{number}") for number, file in enumerate(files, 1)]
    response = await post(door, described_as_json(bare_metadata()), *parts)
    assert response.status_code == 409, response.text
    assert words in response.json()["00081198"]["Value"][0]["00000902"]["Value"][0]
    assert door.archive.plan(study="1.2.3") == []


async def test_an_animation_of_more_than_may_be_is_refused_before_it_is_made(door, monkeypatch) -> None:
    monkeypatch.setattr("dicomwire.archive.transcoder.LONGEST", 3 * GRAY.size)
    animation = part("image/gif", gif(GRAY, changed(GRAY)), "bulk/1")
    response = await post(door, described_as_json(bare_metadata()), animation)
    assert response.status_code == 409
    assert "bytes of pixels" in response.text
    monkeypatch.undo()
    monkeypatch.setattr("dicomwire.archive.transcoder.MOST_FRAMES", 1)
    response = await post(door, described_as_json(bare_metadata()), animation)
    assert response.status_code == 409
    assert "2 frames; at most 1" in response.text


async def test_images_are_pixel_data_and_nothing_else(door) -> None:
    document = {"00420011": {"vr": "OB", "BulkDataURI": "bulk/1"}}
    one = bare_metadata(**document)
    del one["7FE00010"]
    response = await post(door, described_as_json(one), part("image/png", png(GRAY), "bulk/1"))
    assert response.status_code == 409
    floats = {"7FE00008": {"vr": "OF", "BulkDataURI": "bulk/1"}}
    one |= floats
    del one["00420011"]
    response = await post(door, described_as_json(one), part("image/png", png(GRAY), "bulk/1"))
    assert response.status_code == 409


@pytest.mark.parametrize("media_type", raster.MEDIA_TYPES)
def test_every_cut_of_an_image_is_an_error_or_the_image(media_type: str) -> None:
    file = png(COLOUR) if media_type == raster.PNG else gif(COLOUR, changed(COLOUR))
    whole: list[bytes] = []
    expected = decode([file], media_type, None, lambda frame: whole.append(bytes(frame)))
    for length in range(len(file)):
        frames: list[bytes] = []
        try:
            found = decode(
                [file[:length]], media_type, None, lambda frame, to=frames: to.append(bytes(frame))
            )
        except TranscodingError:
            continue
        assert (found, frames) == (expected, whole)
