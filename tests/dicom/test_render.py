"""Gray levels and colours of rendered frames (PS3.3 C.11, C.7.6.3)."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from struct import pack

import av
import numpy
import pytest
from PIL import Image

from dicomwire.dicom.attributes import Attributes, read_attributes
from dicomwire.dicom.colour import render_colour
from dicomwire.dicom.encoding import EXPLICIT_LITTLE
from dicomwire.dicom.grayscale import Pipeline, pipeline_of, render_gray
from dicomwire.dicom.picture import encode_picture, encode_pictures
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.rendering import Rendering, Window
from dicomwire.errors import TranscodingError
from tests.dicom.data_sets import Element, element, sequence, write

ONE = PixelDescription(1, 4, 1, "MONOCHROME2", 0, 16, 12, 11, 0)


def attributes(*elements: Element) -> Attributes:
    return read_attributes(write(sorted(elements, key=lambda one: one.tag)), EXPLICIT_LITTLE)


def cells(*values: int) -> numpy.ndarray:
    return numpy.array(values, "<u2").reshape(1, -1, 1)


def levels(pipeline: Pipeline, *values: int, description: PixelDescription = ONE) -> list[int]:
    return render_gray(cells(*values), description, pipeline).ravel().tolist()


def animation(frames: list[numpy.ndarray], media_type: str) -> bytes:
    """25 frames a second."""
    out = BytesIO()
    encode_pictures(frames, Rendering(media_type, animated=True), 25, out)
    return out.getvalue()


def test_a_window_counts_after_slope_and_intercept() -> None:
    pipeline = pipeline_of(
        attributes(
            element("RescaleSlope", "DS", "2"),
            element("RescaleIntercept", "DS", "-1000"),
            element("WindowCenter", "DS", "0\\50"),
            element("WindowWidth", "DS", "256\\10"),
        ),
        1,
    )
    assert levels(pipeline, 0, 500, 563, 4095) == [0, 128, 254, 255]


def test_bits_beside_the_sample_do_not_count() -> None:
    pipeline = Pipeline(window=Window(100, 200))
    signed = replace(ONE, pixel_representation=1, bits_stored=8, high_bit=7)
    assert levels(pipeline, 0x00C8, 0xF0C8) == levels(pipeline, 200, 200)
    assert levels(Pipeline(window=Window(0, 200)), 0x0080, 0x007F, description=signed) == [0, 255]


def test_monochrome1_and_inverse_shapes_are_dark_where_values_are_high() -> None:
    window = (element("WindowCenter", "DS", "128"), element("WindowWidth", "DS", "256"))
    plain = pipeline_of(attributes(*window, element("PhotometricInterpretation", "CS", "MONOCHROME2")), 1)
    inverted = pipeline_of(attributes(*window, element("PhotometricInterpretation", "CS", "MONOCHROME1")), 1)
    shaped = pipeline_of(attributes(*window, element("PresentationLUTShape", "CS", "INVERSE")), 1)
    assert levels(plain, 0, 255) == [0, 255]
    assert levels(inverted, 0, 255) == levels(shaped, 0, 255) == [255, 0]


def test_tables_of_modality_and_of_values_of_interest_are_applied() -> None:
    def table(keyword: str, first: int, bits: int, *entries: int) -> Element:
        return sequence(
            keyword,
            [
                Element(0x00283002, "US", pack("<3H", len(entries), first & 0xFFFF, bits)),
                Element(0x00283006, "OW", pack(f"<{len(entries)}H", *entries)),
            ],
        )

    found = attributes(
        table("ModalityLUTSequence", 10, 16, 0, 1, 2), table("VOILUTSequence", 0, 8, 0, 100, 255)
    )
    assert levels(pipeline_of(found, 1), 0, 10, 11, 12, 99) == [0, 0, 100, 255, 255]


def test_functional_groups_tell_each_frame_its_window() -> None:
    def group(center: str) -> list[Element]:
        window = [element("WindowCenter", "DS", center), element("WindowWidth", "DS", "2")]
        return [sequence("FrameVOILUTSequence", window)]

    shared = [
        sequence(
            "PixelValueTransformationSequence",
            [element("RescaleIntercept", "DS", "-5"), element("RescaleSlope", "DS", "1")],
        )
    ]
    found = attributes(
        sequence("SharedFunctionalGroupsSequence", shared),
        sequence("PerFrameFunctionalGroupsSequence", group("10"), group("20")),
    )
    assert levels(pipeline_of(found, 1), 10, 20) == [0, 255]
    assert pipeline_of(found, 2).window == Window(20, 2)
    assert pipeline_of(found, 2).intercept == -5


def test_without_values_of_interest_what_occurs_is_shown_but_for_padding() -> None:
    gray = render_gray(cells(4000, 100, 200, 300), ONE, Pipeline(), padding=4000)
    assert gray.ravel().tolist() == [255, 0, 128, 255]
    eight = replace(ONE, bits_allocated=8, bits_stored=8, high_bit=7)
    narrow = numpy.array([100, 110], "u1").reshape(1, 2, 1)
    assert render_gray(narrow, eight, Pipeline()).ravel().tolist() == [100, 110]


def test_floating_point_and_32_bit_images_are_rendered() -> None:
    floats = numpy.array([0.0, 0.5, 1.0, numpy.nan], "<f4").view("<u4").reshape(1, 4, 1)
    one = replace(ONE, bits_allocated=32, bits_stored=32, high_bit=31, tag=0x7FE00008)
    assert render_gray(floats, one, Pipeline()).ravel().tolist() == [0, 128, 255, 0]
    wide = numpy.array([0, 1 << 30, 1 << 31], "<u4").reshape(1, 3, 1)
    assert render_gray(wide, replace(one, tag=0x7FE00010), Pipeline()).ravel().tolist() == [0, 128, 255]


def test_single_bits_are_black_and_white() -> None:
    one = replace(ONE, bits_allocated=1, bits_stored=1, high_bit=0)
    assert render_gray(numpy.array([[[0], [1]]], "u1"), one, Pipeline()).ravel().tolist() == [0, 255]


def test_ybr_becomes_rgb() -> None:
    one = replace(ONE, samples_per_pixel=3, bits_allocated=8, bits_stored=8, high_bit=7)
    ybr = numpy.array([[[76, 85, 255], [255, 128, 128], [0, 128, 128]]], "u1")
    rgb = render_colour(ybr, "YBR_FULL", one, attributes())
    assert abs(rgb.astype(int) - [[[254, 0, 0], [255, 255, 255], [0, 0, 0]]]).max() <= 1
    with pytest.raises(TranscodingError, match="HSV"):
        render_colour(ybr, "HSV", one, attributes())


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_of_octets_and_of_words(bits: int) -> None:
    entries = pack("<4B", 0, 85, 170, 255) if bits == 8 else pack("<4H", 0, 0x5555, 0xAAAA, 0xFFFF)
    elements = []
    for colour in ("Red", "Green", "Blue"):
        descriptor = pack("<3H", 4, 1, bits)
        elements.append(element(f"{colour}PaletteColorLookupTableDescriptor", "US", descriptor))
        elements.append(element(f"{colour}PaletteColorLookupTableData", "OW", entries))
    one = replace(ONE, bits_allocated=8, bits_stored=8, high_bit=7)
    index = numpy.array([0, 1, 2, 4, 9], "u1").reshape(1, 5, 1)
    found = render_colour(index, "PALETTE COLOR", one, attributes(*elements))
    assert found[0, :, 1].tolist() == [0, 0, 85, 255, 255]


def test_segmented_palettes_are_expanded() -> None:
    segments = pack("<8H", 0, 2, 0, 0x0A00, 1, 4, 0x3200, 0)[:14]
    elements = []
    for colour in ("Red", "Green", "Blue"):
        elements.append(element(f"{colour}PaletteColorLookupTableDescriptor", "US", pack("<3H", 6, 0, 16)))
        elements.append(element(f"Segmented{colour}PaletteColorLookupTableData", "OW", segments))
    one = replace(ONE, bits_allocated=8, bits_stored=8, high_bit=7)
    index = numpy.arange(6, dtype="u1").reshape(1, 6, 1)
    found = render_colour(index, "PALETTE COLOR", one, attributes(*elements))
    assert found[0, :, 0].tolist() == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("bits", [16, 32])
def test_large_images_have_the_levels_of_small_ones(bits: int) -> None:
    one = replace(ONE, bits_allocated=bits)
    values = numpy.arange(700 * 600, dtype=f"<u{bits // 8}").reshape(700, 600, 1) % 4096
    pipeline = Pipeline(window=Window(2000, 3000))
    whole = render_gray(values, one, pipeline)
    assert numpy.array_equal(whole[650:], render_gray(values[650:], one, pipeline))
    colour = replace(one, bits_allocated=8, bits_stored=8, high_bit=7)
    octets = numpy.repeat(values.astype("u1"), 3, axis=2)
    rgb = render_colour(octets, "YBR_FULL", colour, attributes())
    assert numpy.array_equal(rgb[650:], render_colour(octets[650:], "YBR_FULL", colour, attributes()))


@pytest.mark.parametrize("size", [1, 15, 64])
def test_each_frame_of_an_animation_has_its_own_colours(size: int) -> None:
    ramp = numpy.arange(size * size, dtype="u1").reshape(size, size)
    frames = [
        numpy.stack([ramp, ramp // 2, 255 - ramp], -1),
        numpy.full((size, size, 3), (1, 200, 9), "u1"),
        ramp,
    ]
    found = Image.open(BytesIO(animation(frames, "image/gif")))
    assert found.n_frames == 3
    for number, frame in enumerate(frames):
        found.seek(number)
        wanted = frame if frame.ndim == 3 else numpy.stack([frame] * 3, -1)
        assert abs(numpy.asarray(found.convert("RGB")).astype(int) - wanted).max() <= 8


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/gif", "image/jp2", "image/jph"])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3), (1, 1), (1100, 1030, 3)])
def test_pictures_open_again(media_type: str, shape: tuple[int, ...]) -> None:
    picture = numpy.full(shape, 200, "u1")
    found = Image.open(BytesIO(encode_picture(picture, Rendering(media_type))))
    assert found.size == (shape[1], shape[0])
    assert abs(numpy.asarray(found.convert("L")).astype(int) - 200).max() <= 2


@pytest.mark.parametrize(
    ("media_type", "codec"), [("video/mp4", "h264"), ("video/mpeg", "mpeg2video"), ("video/h265", "hevc")]
)
@pytest.mark.parametrize("rate", [1.0, 10.0, 25.0, 29.97])
def test_films_keep_their_frames_and_their_pace(media_type: str, codec: str, rate: float) -> None:
    levels = (0, 60, 120, 180)
    out = BytesIO()
    pictures = (numpy.full((65, 79, 3), level, "u1") for level in levels)
    encode_pictures(pictures, Rendering(media_type, animated=True), rate, out)
    with av.open(BytesIO(out.getvalue())) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == (codec, 78, 64)
        seen = [round(frame.to_ndarray(format="gray").mean() / 60) * 60 for frame in container.decode(stream)]
        times = len(seen) // len(levels)
        assert seen == [level for level in levels for _ in range(times)]
        assert abs(float(stream.average_rate) / times - rate) < 0.04 * rate


def test_animations_keep_their_frames_and_their_pace() -> None:
    frames = [numpy.full((9, 7), level, "u1") for level in (0, 100, 200)]
    found = Image.open(BytesIO(animation(frames, "image/gif")))
    assert found.n_frames == 3
    assert found.info["duration"] == 40
    film = animation(frames, "video/mp4")
    assert film[4:8] == b"ftyp"
    with pytest.raises(TranscodingError, match="62 by 64 pixels; 64 a side"):
        animation([numpy.zeros((64, 63), "u1")], "video/h265")
    with pytest.raises(TranscodingError, match="video/mpeg"):
        animation([numpy.zeros((16, 4096), "u1")], "video/mpeg")
    with pytest.raises(TranscodingError, match="one row"):
        animation([numpy.zeros((1, 1), "u1")], "video/mp4")
