"""Rendered resources and thumbnails over a real port."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from struct import pack

import numpy
import pydicom
import pytest
from PIL import Image, ImageCms
from pydicom.data import get_testdata_file

from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.web.conftest import element, make
from tests.web.test_frames import data_of

INSTANCE = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
FRAMES = tuple(pack("<4H", *(level + step for step in (0, 10, 20, 30))) for level in (0, 100, 200))


def bundled(name: str) -> tuple[bytes, str]:
    """A file of pydicom's and the path of its instance."""
    path = Path(str(get_testdata_file(name)))
    found = pydicom.dcmread(path, stop_before_pixels=True)
    return path.read_bytes(), (
        f"/studies/{found.StudyInstanceUID}/series/{found.SeriesInstanceUID}/instances/{found.SOPInstanceUID}"
    )


def picture(response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(BytesIO(response.content))


def window(center: int, width: int) -> bytes:
    return element(0x00281050, "DS", str(center).encode()) + element(0x00281051, "DS", str(width).encode())


@pytest.fixture
async def stored(door, make_instance):
    await door.store(make_instance(frames=FRAMES, extra=window(120, 241)))
    return door


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "JPEG"),
        ("image/*", "JPEG"),
        ("image/jpeg", "JPEG"),
        ("image/png", "PNG"),
        ("image/gif", "GIF"),
        ("image/jp2", "JPEG2000"),
        ("image/jph", "JPEG2000"),
        ("image/jpeg;q=0.1, image/png;q=0.9", "PNG"),
    ],
)
async def test_an_image_comes_in_the_media_type_asked_for(
    door, make_instance, accept: str, kind: str
) -> None:
    await door.store(make_instance())
    image = picture(await door.get(INSTANCE + "/rendered", accept))
    assert image.format == kind
    assert image.size == (2, 2)


async def test_a_frame_has_the_gray_levels_of_its_window(stored) -> None:
    image = picture(await stored.get(INSTANCE + "/frames/2/rendered", "image/png"))
    # PS3.3 C.11.2.1.2.1 with centre 120 and width 241
    expected = [round(((value - 119.5) / 240 + 0.5) * 255) for value in (100, 110, 120, 130)]
    assert abs(numpy.asarray(image).ravel().astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("query", "levels"),
    [
        ("window=105,1,linear", [0, 255, 255, 255]),
        ("window=110,40,linear-exact", [64, 128, 191, 255]),
        ("window=115,20,sigmoid", [12, 69, 186, 243]),
    ],
)
async def test_a_window_is_taken_in_place_of_the_image_s_own(stored, query: str, levels: list[int]) -> None:
    response = await stored.get(f"{INSTANCE}/frames/2/rendered?{query}", "image/png")
    assert abs(numpy.asarray(picture(response)).ravel().astype(int) - levels).max() <= 1


async def test_several_frames_come_as_parts(stored) -> None:
    response = await stored.get(INSTANCE + "/frames/3,1/rendered", 'multipart/related; type="image/png"')
    first, second = (numpy.asarray(Image.open(BytesIO(part))) for part in data_of(response))
    assert first.min() > second.max()
    assert b"/frames/3/rendered" in response.content
    assert (await stored.get(INSTANCE + "/frames/3,1/rendered", "image/png")).status_code == 406


async def test_a_multi_frame_image_is_animated_or_a_film_or_its_first_frame(stored) -> None:
    animation = picture(await stored.get(INSTANCE + "/rendered", "image/gif"))
    assert animation.n_frames == 3
    film = await stored.get(INSTANCE + "/rendered", "video/mp4")
    assert film.content[4:8] == b"ftyp"
    broadcast = await stored.get(INSTANCE + "/rendered", "video/mpeg")
    assert broadcast.headers["content-type"] == "video/mpeg"
    assert broadcast.content[:4] == b"\0\0\1\xba", "a program stream"
    assert (await stored.get(INSTANCE + "/frames/1/rendered", "video/mpeg")).status_code == 406
    first = numpy.asarray(picture(await stored.get(INSTANCE + "/rendered", "image/png")))
    assert first.max() < 40
    parts = data_of(await stored.get(INSTANCE + "/rendered", 'multipart/related; type="image/jpeg"'))
    assert len(parts) == 3


@pytest.mark.parametrize("path", ["/studies/1.2.3", "/studies/1.2.3/series/1.2.3.4"])
async def test_a_study_and_a_series_come_as_a_part_a_picture(door, make_instance, path: str) -> None:
    await door.store(make_instance(1), make_instance(2))
    response = await door.get(path + "/rendered", "*/*")
    assert response.headers["content-type"].startswith('multipart/related; type="image/jpeg"')
    assert [Image.open(BytesIO(part)).format for part in data_of(response)] == ["JPEG", "JPEG"]
    assert (await door.get(path + "/rendered", "image/jpeg")).status_code == 406


@pytest.mark.parametrize(
    ("viewport", "size"),
    [
        ("64,64", (64, 48)),
        ("64,24", (32, 24)),
        ("40,40,,,160,160", (40, 40)),
        ("50,50,100,100,20,10", (50, 25)),
    ],
)
async def test_the_viewport_keeps_proportions(door, viewport: str, size: tuple[int, int]) -> None:
    file, path = bundled("examples_rgb_color.dcm")
    await door.store(file)
    image = picture(await door.get(f"{path}/rendered?viewport={viewport}", "image/png"))
    assert image.size == size
    assert image.mode == "RGB"


@pytest.mark.parametrize(
    ("viewport", "part"),
    [
        ("4,4,1,1,2,2", (1, 1)),  # beyond the right and the lower edge: what there is
        ("4,4,1,,,1", (1, 0)),
        ("4,4,-1,-1,1,1", (1, 1)),  # of a position the absolute value counts
        ("4,4,0.5,0,0.5,1", (0, 0)),
        ("4,4,1,1,-9,-9", (1, 1)),
        ("4,4,0,0,-1,-1", (0, 0)),  # the region first, then it is mirrored
    ],
)
async def test_a_region_is_what_of_it_lies_in_the_image(stored, viewport: str, part: tuple[int, int]) -> None:
    whole = numpy.asarray(picture(await stored.get(INSTANCE + "/frames/1/rendered", "image/png")))
    response = await stored.get(f"{INSTANCE}/frames/1/rendered?viewport={viewport}", "image/png")
    shown = numpy.asarray(picture(response))
    assert shown.shape[0] == 4 or shown.shape[1] == 4
    assert numpy.unique(shown).tolist() == [whole[part[::-1]]]


async def test_negative_sizes_of_the_viewport_mirror_and_flip(stored) -> None:
    levels = {}
    for viewport in ("2,2", "2,2,0,0,-2,2", "2,2,0,0,2,-2"):
        response = await stored.get(f"{INSTANCE}/frames/1/rendered?viewport={viewport}", "image/png")
        levels[viewport] = numpy.asarray(picture(response))
    assert numpy.array_equal(levels["2,2,0,0,-2,2"], levels["2,2"][:, ::-1])
    assert numpy.array_equal(levels["2,2,0,0,2,-2"], levels["2,2"][::-1])


@pytest.mark.parametrize(
    "query",
    [
        *(
            "viewport=100000,100000",
            "viewport=16384,16384",
            "viewport=0,10",
            "viewport=10",
            "viewport=a,b",
            "viewport=1,2,3,4,5,6,7",
        ),
        *("viewport=-5,5", "viewport=10,10,nan", "viewport=9999999999999,1"),
        *(
            "window=a",
            "window=1",
            "window=1,2",
            "window=1,2,",
            "window=1,0,linear",
            "window=1,2,cubic",
            "window=inf,2,linear",
        ),
        *("quality=0", "quality=101", "quality=high", "quality=", "quality=-1"),
        *("viewport=8,8&viewport=8,8", "quality=9&quality=90", "iccprofile=no&iccprofile=yes"),
        *("viewport=0,0", "viewport=1.5,2", "viewport=8,8,0,0,0,1", "viewport=8,8,,,1,-0.0"),
        *("annotation=", "annotation=patient,,technique", "annotation=a%20b", "iccprofile=pretty"),
    ],
)
async def test_a_bad_parameter_is_400(stored, query: str) -> None:
    for resource in ("/rendered", "/frames/1/rendered"):
        response = await stored.get(f"{INSTANCE}{resource}?{query}")
        assert response.status_code == 400
        assert query.split("=")[0] in response.json()["detail"]


async def test_quality_decides_the_size(door) -> None:
    file, path = bundled("examples_rgb_color.dcm")
    await door.store(file)
    sizes = [len((await door.get(f"{path}/rendered?quality={q}", "image/jpeg")).content) for q in (10, 95)]
    assert sizes[0] < sizes[1] / 2


async def test_annotations_are_written_into_the_image(door) -> None:
    file, path = bundled("examples_overlay.dcm")
    await door.store(file)
    plain, patient, technique = [
        numpy.asarray(picture(await door.get(f"{path}/rendered{query}", "image/png"))).astype(int)
        for query in ("", "?annotation=patient", "?annotation=technique")
    ]
    half = plain.shape[1] // 2
    assert (patient != plain)[:, :half].any()
    assert not (patient != plain)[:, half:].any()
    assert (technique != plain)[:, half:].any()


async def test_a_colour_profile_goes_with_the_image_when_asked_for(door) -> None:
    file, path = bundled("examples_rgb_color.dcm")
    await door.store(file)
    for query, embedded in (("", False), ("?iccprofile=no", False), ("?iccprofile=yes", True)):
        image = picture(await door.get(f"{path}/rendered{query}", "image/jpeg"))
        assert ("icc_profile" in image.info) is embedded
    assert "icc_profile" in picture(await door.get(f"{path}/rendered?iccprofile=srgb", "image/png")).info


@pytest.mark.parametrize("name", ["srgb", "adobergb", "rommrgb", "displayp3"])
async def test_colours_are_converted_to_the_space_asked_for(door, name: str) -> None:
    file, path = bundled("examples_rgb_color.dcm")
    await door.store(file)
    plain, converted = [
        picture(await door.get(f"{path}/rendered?iccprofile={each}", "image/png")) for each in ("no", name)
    ]
    own = ImageCms.ImageCmsProfile(BytesIO(converted.info["icc_profile"]))
    back = ImageCms.profileToProfile(converted, own, ImageCms.createProfile("sRGB"))
    difference = abs(numpy.asarray(back).astype(int) - numpy.asarray(plain))
    assert difference.mean() < 2
    url = f"{path}/rendered?iccprofile={name}"
    for media_type in ("image/jpeg", "image/jp2", "image/jph"):
        carried = await door.get(url, media_type)
        assert converted.info["icc_profile"][:128] in carried.content
        assert abs(numpy.asarray(picture(carried)).astype(int) - numpy.asarray(converted)).mean() < 6
    assert (await door.get(url, "image/gif")).status_code == 400
    assert (await door.get(f"{path}/rendered?iccprofile=no", "image/gif")).status_code == 200


async def test_gray_images_get_a_gray_profile(stored) -> None:
    image = picture(await stored.get(INSTANCE + "/frames/1/rendered?iccprofile=yes", "image/png"))
    assert image.mode == "L"
    assert ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"])).profile.xcolor_space == "GRAY"


async def test_annotations_that_cannot_be_written_are_told(stored) -> None:
    url = INSTANCE + "/frames/1/rendered?annotation=patient,diagnosis"
    response = await stored.get(url, "image/png")
    assert response.status_code == 200
    assert "not supported: diagnosis" in response.headers["warning"]
    assert "warning" not in (await stored.get(url.removesuffix(",diagnosis"), "image/png")).headers


async def test_frames_that_are_listed_become_one_animation_or_parts(stored) -> None:
    url = INSTANCE + "/frames/3,1/rendered"
    animation = picture(await stored.get(url, "image/gif"))
    assert animation.n_frames == 2
    first = numpy.asarray(animation.convert("L"))
    third = numpy.asarray(picture(await stored.get(INSTANCE + "/frames/3/rendered", "image/png")))
    assert numpy.array_equal(first, third)
    assert (await stored.get(url, "video/mp4")).headers["content-type"] == "video/mp4"
    assert len(data_of(await stored.get(url, 'multipart/related; type="image/gif"'))) == 2
    refused = await stored.get(url, "image/jpeg")
    assert refused.status_code == 406
    assert "image/gif" in refused.json()["detail"]
    assert (await stored.get(INSTANCE + "/frames/1,4/rendered", "image/gif")).status_code == 404


async def test_a_viewport_that_begins_outside_of_the_image_is_400(stored) -> None:
    response = await stored.get(INSTANCE + "/rendered?viewport=10,10,2,0", "image/jpeg")
    assert response.status_code == 400
    assert "2 by 2 pixels" in response.json()["detail"]


async def test_what_is_known_is_not_sent_again(stored) -> None:
    url = INSTANCE + "/frames/1/rendered"
    known = {"If-None-Match": (await stored.get(url, "image/png")).headers["etag"]}
    assert (await stored.get(url, "image/png", **known)).status_code == 304
    assert (await stored.get(url + "?window=1,2,linear", "image/png", **known)).status_code == 200


async def test_what_decided_is_told_where_nothing_suits(stored) -> None:
    for url, headers, words in (
        ("?accept=text/html", {"Accept": "image/png"}, "accept parameter is 'text/html'"),
        ("", {"Accept": "text/html"}, "Accept is 'text/html'"),
    ):
        response = await stored.client.get(f"{stored.base}{INSTANCE}/rendered{url}", headers=headers)
        assert response.status_code == 406
        assert response.json()["detail"].startswith(words)


async def test_missing_frames_are_404_and_foreign_media_types_406(stored) -> None:
    assert (await stored.get(INSTANCE + "/frames/4/rendered")).status_code == 404
    assert (await stored.get(INSTANCE + "/frames/0/rendered")).status_code == 400
    assert (await stored.get(INSTANCE + "/rendered", "text/html")).status_code == 406
    assert (await stored.get("/studies/9.9/rendered")).status_code == 404


async def test_what_is_no_image_is_406_as_a_picture(door, make_instance) -> None:
    instance = make_instance()
    data_set = instance.data_set[: instance.data_set.index(b"\xe0\x7f\x10\0")]
    await door.store(instance.meta + data_set)
    assert (await door.get(INSTANCE + "/rendered", "image/jpeg")).status_code == 406
    assert (await door.get(INSTANCE + "/thumbnail")).status_code == 404


async def test_an_image_that_cannot_be_decoded_is_406_and_the_others_are_sent(door, make_instance) -> None:
    broken = make_instance(1).data_set
    fragments = pack("<HHI", 0xFFFE, 0xE000, 0) + pack("<HHI", 0xFFFE, 0xE000, 4) + b"nope"
    end = pack("<HHI", 0xFFFE, 0xE0DD, 0)
    broken = (
        broken[: broken.index(b"\xe0\x7f\x10\0")] + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + fragments + end
    )
    meta = write_file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.1", "1.2.840.10008.1.2.4.90")
    await door.store(meta + broken, make_instance(2))
    response = await door.get(INSTANCE + "/rendered", "image/jpeg")
    assert response.status_code == 406
    assert "JPEG 2000" in response.json()["detail"]
    assert len(data_of(await door.get("/studies/1.2.3/rendered"))) == 1


@pytest.mark.parametrize(
    "path", ["/studies/1.2.3", "/studies/1.2.3/series/1.2.3.4", INSTANCE, INSTANCE + "/frames/1"]
)
async def test_every_resource_has_a_thumbnail(stored, path: str) -> None:
    image = picture(await stored.get(path + "/thumbnail"))
    assert image.format == "JPEG"
    assert image.size == (2, 2), "no larger than the image, where no size is asked for"
    assert picture(await stored.get(path + "/thumbnail?viewport=32,16", "image/png")).size == (16, 16)
    assert (await stored.get(path + "/thumbnail?viewport=wide")).status_code == 400
    assert (await stored.get(path + "/thumbnail?viewport=8,8&viewport=9,9")).status_code == 400
    assert (await stored.get(path + "/thumbnail?viewport=32,16,0,0,8,8")).status_code == 400


@pytest.mark.parametrize("path", ["/studies/1.2.3", "/studies/1.2.3/series/1.2.3.4"])
async def test_a_thumbnail_is_of_the_image_in_the_middle_and_its_middle_frame(
    door, make_instance, path: str
) -> None:
    for number, frames in enumerate((FRAMES[:1], FRAMES, FRAMES[:1]), 1):
        await door.store(make_instance(number, frames=frames, extra=window(120, 241)))
    middle = INSTANCE[:-1] + "2/frames/2/rendered"
    expected = numpy.asarray(picture(await door.get(middle, "image/png")))
    assert numpy.array_equal(
        numpy.asarray(picture(await door.get(path + "/thumbnail", "image/png"))), expected
    )


async def test_a_thumbnail_is_of_an_image_beside_where_the_middle_one_cannot_be_read(
    door, make_instance
) -> None:
    rows = element(0x00280010, "US", pack("<H", 200))  # more than there are pixels for
    await door.store(make_instance(1, frames=FRAMES[:1], extra=window(120, 241)))
    broken = make_instance(2, frames=FRAMES[:1])
    short = broken.data_set.replace(element(0x00280010, "US", pack("<H", 2)), rows)
    await door.store(broken.meta + short)
    first, second = [await door.get(INSTANCE[:-1] + number + "/thumbnail") for number in "12"]
    assert second.status_code == 406
    study = await door.get("/studies/1.2.3/thumbnail")
    assert (study.status_code, study.content) == (200, first.content)
    again = await door.get("/studies/1.2.3/thumbnail", **{"If-None-Match": study.headers["etag"]})
    assert again.status_code == 304
    assert (await door.get("/studies/1.2.3/thumbnail", "text/html")).status_code == 406


async def test_a_thumbnail_is_small(door) -> None:
    file, path = bundled("examples_palette.dcm")
    await door.store(file)
    rows, columns = (pydicom.dcmread(BytesIO(file))[name].value for name in ("Rows", "Columns"))
    assert min(rows, columns) > 256
    assert max(picture(await door.get(path + "/thumbnail")).size) == 256


@pytest.mark.parametrize("name", ["examples_palette.dcm", "examples_jpeg2k.dcm", "examples_ybr_color.dcm"])
async def test_colours_are_those_that_pydicom_finds(door, name: str) -> None:
    file, path = bundled(name)
    await door.store(file)
    levels = numpy.asarray(picture(await door.get(f"{path}/frames/1/rendered", "image/png")))
    found = pydicom.dcmread(BytesIO(file))
    expected = found.pixel_array if found.get("NumberOfFrames", 1) == 1 else found.pixel_array[0]
    if name == "examples_palette.dcm":
        expected = (pydicom.pixels.apply_color_lut(expected, found) >> 8).astype("u1")
    assert abs(levels.astype(int) - expected).max() <= 1


def sequence(tag: int, *items: bytes) -> bytes:
    body = b"".join(pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return element(tag, "SQ", body)


def presentation_state(*elements: bytes) -> bytes:
    """A grayscale presentation state for the instance of `make_instance`."""
    uid, sop_class = b"1.2.3.5.1", b"1.2.840.10008.5.1.4.1.1.11.1"
    image = element(0x00081150, "UI", b"1.2.840.10008.5.1.4.1.1.2") + element(0x00081155, "UI", b"1.2.3.4.1")
    series = sequence(0x00081140, image) + element(0x0020000E, "UI", b"1.2.3.4")
    data_set = [
        element(0x00080016, "UI", sop_class),
        element(0x00080018, "UI", uid),
        element(0x00081115, "SQ", sequence(0x00081115, series)[12:]),
        element(0x0020000D, "UI", b"1.2.3"),
        element(0x0020000E, "UI", b"1.2.3.5"),
        *elements,
    ]
    data_set.sort(key=lambda each: (each[1], each[0], each[3], each[2]))
    return write_file_meta(sop_class.decode(), uid.decode(), EXPLICIT_VR_LITTLE_ENDIAN) + b"".join(data_set)


STATE = "/studies/1.2.3/series/1.2.3.5/instances/1.2.3.5.1/rendered"


async def rendered_state(door, make_instance, *elements: bytes) -> numpy.ndarray:
    values = numpy.arange(64, dtype="<u2").reshape(8, 8) * 4
    instance = make_instance(frames=(values.tobytes(),), extra=b"")
    size = element(0x00280010, "US", pack("<H", 2)), element(0x00280010, "US", pack("<H", 8))
    file = instance.file.replace(size[0], size[1]).replace(
        element(0x00280011, "US", pack("<H", 2)), element(0x00280011, "US", pack("<H", 8))
    )
    await door.store(file, presentation_state(*elements))
    return numpy.asarray(picture(await door.get(STATE, "image/png")))


async def test_a_presentation_state_brings_its_window_and_shape(door, make_instance) -> None:
    levels = await rendered_state(
        door,
        make_instance,
        sequence(0x00283110, window(128, 256)),
        element(0x20500020, "CS", b"INVERSE"),
    )
    assert levels.shape == (8, 8)
    assert levels[0, 0] == 255
    assert abs(int(levels[7, 7]) - (255 - 252)) <= 1


async def test_a_presentation_state_brings_colours_of_its_own(door, make_instance) -> None:
    entries = numpy.arange(4, dtype="<u2") * 257 * 60
    planes = (entries, entries[::-1], entries * 0)
    tables = []
    for number, plane in enumerate(planes, 1):
        tables.append(element(0x00281100 + number, "US", pack("<3H", 4, 0, 16)))
        tables.append(element(0x00281200 + number, "OW", plane.tobytes()))
    colours = await rendered_state(
        door, make_instance, sequence(0x00283110, window(128, 256)), *tables, element(0x00700041, "CS", b"Y")
    )
    levels = numpy.arange(64).reshape(8, 8)[:, ::-1] * 4
    red = (levels * 3 + 127) // 255 * 60
    assert colours.shape == (8, 8, 3)
    assert abs(colours[..., 0].astype(int) - red).max() == 0
    assert abs(colours[..., 1].astype(int) - (180 - red)).max() == 0
    assert not colours[..., 2].any()


async def test_a_presentation_state_turns_mirrors_and_crops(door, make_instance) -> None:
    area = element(0x00700052, "SL", pack("<2i", 3, 1)) + element(0x00700053, "SL", pack("<2i", 6, 2))
    levels = await rendered_state(
        door,
        make_instance,
        sequence(0x00283110, window(128, 256)),
        element(0x00700041, "CS", b"Y"),
        element(0x00700042, "US", pack("<H", 90)),
        sequence(0x0070005A, area),
    )
    pixels = (numpy.arange(64).reshape(8, 8) * 4)[0:2, 2:6]
    expected = numpy.rot90(pixels, -1)[:, ::-1]
    assert levels.shape == (4, 2)
    assert abs(levels.astype(int) - expected).max() <= 1


async def test_a_presentation_state_magnifies_what_the_viewport_then_cuts(door, make_instance) -> None:
    area = [
        element(0x00700052, "SL", pack("<2i", 1, 1)),
        element(0x00700053, "SL", pack("<2i", 8, 4)),
        element(0x00700100, "CS", b"MAGNIFY"),
        element(0x00700103, "FL", pack("<f", 3)),
    ]
    levels = await rendered_state(
        door, make_instance, sequence(0x00283110, window(128, 256)), sequence(0x0070005A, b"".join(area))
    )
    assert levels.shape == (12, 24)
    cut = numpy.asarray(picture(await door.get(f"{STATE}?viewport=10,20", "image/png")))
    assert cut.shape == (12, 10)
    assert (cut == levels[:, :10]).all()
    thumbnail = STATE.replace("rendered", "thumbnail")
    assert picture(await door.get(f"{thumbnail}?viewport=4,4", "image/png")).size == (4, 2)


@pytest.mark.parametrize("ratio", [1e30, -1.0, 5000.0, float("nan"), 0.0])
async def test_a_magnification_that_cannot_be_is_refused_or_none(door, make_instance, ratio: float) -> None:
    area = element(0x00700100, "CS", b"MAGNIFY") + element(0x00700103, "FL", pack("<f", ratio))
    file = presentation_state(sequence(0x0070005A, area))
    await door.store(make_instance(), file)
    assert (await door.get(STATE, "image/png")).status_code == (200 if ratio == 0 else 406)


async def test_a_presentation_state_covers_what_is_outside_of_its_shutter(door, make_instance) -> None:
    levels = await rendered_state(
        door,
        make_instance,
        element(0x00181600, "CS", b"RECTANGULAR"),
        element(0x00181602, "IS", b"2"),
        element(0x00181604, "IS", b"7"),
        element(0x00181606, "IS", b"2"),
        element(0x00181608, "IS", b"7"),
        element(0x00181622, "US", pack("<H", 0xFFFF)),
    )
    assert (levels[0] == 255).all()
    assert (levels[:, 0] == 255).all()
    assert levels[2:6, 2:6].max() < 255


async def test_a_presentation_state_draws_its_graphics(door, make_instance) -> None:
    line = (
        element(0x00700005, "CS", b"PIXEL")
        + element(0x00700020, "US", pack("<H", 2))
        + element(0x00700021, "US", pack("<H", 2))
        + element(0x00700022, "FL", pack("<4f", 1.5, 1.5, 7.5, 1.5))
        + element(0x00700023, "CS", b"POLYLINE")
        + element(0x00700024, "CS", b"N")
    )
    levels = await rendered_state(
        door,
        make_instance,
        sequence(0x00283110, window(1000, 20)),
        sequence(0x00700001, sequence(0x00700009, line)),
    )
    assert (levels[1, 1:7] == 255).all()
    assert levels[4:].max() == 0


async def test_a_presentation_state_shows_the_overlays_that_it_activates(door, make_instance) -> None:
    def overlay(group: int, activated: bytes) -> list[bytes]:
        at = group << 16
        return [
            element(at | 0x0010, "US", pack("<H", 2)),
            element(at | 0x0011, "US", pack("<H", 3)),
            element(at | 0x0050, "SS", pack("<2h", 3, 7)),
            element(at | 0x1001, "CS", activated),
            element(at | 0x3000, "OW", bytes((0b101011, 0))),
        ]

    levels = await rendered_state(
        door,
        make_instance,
        sequence(0x00283110, window(1000, 20)),
        *overlay(0x6000, b"LAYER"),
        *[each for each in overlay(0x6002, b"") if each],
    )
    assert (levels == 255).sum() == 3  # a column of three lies outside of the image
    assert levels[2, 6:8].tolist() == [255, 255]
    assert levels[3, 6:8].tolist() == [255, 0]


async def test_a_presentation_state_for_images_that_are_elsewhere_is_404(door) -> None:
    await door.store(presentation_state())
    assert (await door.get(STATE)).status_code == 404


def lying(frames: int, pixels: bytes | list[bytes]) -> bytes:
    """A file of 2 by 2 pixels whose Number of Frames has nothing to do with them."""
    image = pydicom.dcmread(BytesIO(make(frames=(FRAMES[0], FRAMES[1])).file))
    image.NumberOfFrames = frames
    if isinstance(pixels, bytes):
        image.PixelData = pixels
    else:
        image.PixelData = pydicom.encaps.encapsulate(pixels)
        image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
        image.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    file = BytesIO()
    image.save_as(file, enforce_file_format=True)
    return file.getvalue()


async def test_no_more_frames_are_believed_than_there_are_pixels_for(door) -> None:
    """Two thousand million of them were listed one by one, until the machine had no memory left."""
    await door.client.post(
        f"{door.base}/studies", content=lying(3_000_000, FRAMES[0] + FRAMES[1]),
        headers={"Content-Type": "application/dicom"},
    )  # fmt: skip
    assert picture(await door.get(f"{INSTANCE}/rendered", "image/png")).size == (2, 2)
    assert picture(await door.get(f"{INSTANCE}/thumbnail", "image/png")).size
    parts = await door.get(f"{INSTANCE}/rendered", 'multipart/related; type="image/png"')
    assert parts.content.count(b"\x89PNG") == 2
    query = "requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.4&objectUID=1.2.3.4.1&contentType=image/png"
    assert picture(await door.get(f"/wado?{query}", "*/*")).size == (2, 2)
    assert (await door.get(f"{INSTANCE}/frames/3", "*/*")).status_code == 404


@pytest.mark.parametrize("resource", ["rendered", "bulkdata", "pixeldata", "frames/1"])
async def test_encapsulated_frames_that_cannot_be_told_apart_are_a_problem(door, resource: str) -> None:
    await door.client.post(
        f"{door.base}/studies", content=lying(3_000_000, [b"xx", b"yy"]),
        headers={"Content-Type": "application/dicom"},
    )  # fmt: skip
    response = await door.get(f"{INSTANCE}/{resource}", "*/*")
    assert response.status_code in (404, 406)
    assert "2 fragments for 3000000 frames" in response.json()["detail"]


async def test_bulk_data_with_frames_that_cannot_be_decoded_are_a_problem(door) -> None:
    """Other bulk data of the instance, were they first, would begin an answer that breaks off."""
    file = lying(1, [b"no RLE"])
    image = pydicom.dcmread(BytesIO(file))
    image.add_new(0x00091010, "OB", bytes(5000))
    image.add_new(0x00090010, "LO", "TEST")
    written = BytesIO()
    image.save_as(written, enforce_file_format=True)
    await door.client.post(
        f"{door.base}/studies", content=written.getvalue(), headers={"Content-Type": "application/dicom"}
    )
    refused = await door.get(f"{INSTANCE}/bulkdata", "*/*")
    assert refused.status_code == 406, refused.text
    stored = await door.get(
        f"{INSTANCE}/bulkdata", 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
    )
    assert stored.content.count(b"Content-Location") == 2


async def test_too_many_frames_for_one_answer_are_413(door, make_instance, monkeypatch) -> None:
    await door.store(make_instance(frames=FRAMES))
    monkeypatch.setattr("dicomwire.web.pictures.MOST_FRAMES", 2)
    monkeypatch.setattr("dicomwire.web.layout.MOST_FRAMES", 2)
    for resource in ("rendered", "thumbnail"):
        refused = await door.get(f"{INSTANCE}/{resource}", "*/*")
        assert refused.status_code == 413
        assert "the image has 3 frames; 2 at most" in refused.json()["detail"]
    assert (await door.get(f"{INSTANCE}/frames/1", "*/*")).status_code == 200
