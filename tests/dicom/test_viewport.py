"""Pictures much smaller than their image: JPEG 2000 and HTJ2K in a lower resolution (ISO 15444-1 B.5)."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from struct import pack

import imagecodecs
import numpy
import pytest
from PIL import Image

from dicomwire.dicom import jpeg_2000
from dicomwire.dicom.arrays import Array
from dicomwire.dicom.attributes import read_attributes
from dicomwire.dicom.codecs import HTJ2K_LOSSLESS, JPEG_2000_LOSSLESS
from dicomwire.dicom.codestream import fewest_levels
from dicomwire.dicom.encoding import EXPLICIT_LITTLE
from dicomwire.dicom.pixels import Pixels
from dicomwire.dicom.render import render
from dicomwire.dicom.rendering import Rendering, Viewport, Window
from tests.dicom.data_sets import Element, element, write
from tests.dicom.films import fragments

WINDOW = (element("WindowCenter", "DS", "2048"), element("WindowWidth", "DS", "3000"))
SMALL = Viewport(100, 100)


def scene(rows: int = 1100, columns: int = 900, colours: int = 1, low: int = 0) -> Array:
    """Shapes with edges, a ramp and noise in 12 bits; in 8 bits of several colours."""
    y, x = numpy.mgrid[:rows, :columns]
    values = 600 + x + 900 * ((x // 200 + y // 300) % 2) + 700 * ((x - 500) ** 2 + (y - 600) ** 2 < 300**2)
    values = values + numpy.random.default_rng(3).integers(-40, 40, (rows, columns))
    if colours == 1:
        return (values.clip(0, 4095) + low).astype("i2" if low else "u2")
    return numpy.stack([(values // 16 + 9 * colour).clip(0, 255) for colour in range(colours)], -1).astype(
        "u1"
    )


def stored(values: Array, codestream: bytes, *more: Element) -> bytes:
    """A data set of one frame."""
    colour = values.ndim == 3
    words = {
        "SamplesPerPixel": 3 if colour else 1,
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "BitsAllocated": 8 if colour else 16,
        "BitsStored": 8 if colour else 12,
        "HighBit": 7 if colour else 11,
        "PixelRepresentation": int(values.dtype.kind == "i"),
    }
    elements = [element(keyword, "US", pack("<H", value)) for keyword, value in words.items()]
    photometric = element("PhotometricInterpretation", "CS", "YBR_RCT" if colour else "MONOCHROME2")
    return write(sorted([*elements, photometric, *more], key=lambda one: one.tag)) + fragments(codestream)


class Counting(Pixels):
    """Tells how often the frame was halved."""

    halved = 0

    def reduced(self, number: int, reduction: int) -> tuple[Array, str, int]:
        found = super().reduced(number, reduction)
        self.halved = found[2]
        return found


def rendered(data: bytes, syntax: str, rendering: Rendering) -> tuple[numpy.ndarray, int]:
    """Levels, and how often the frame was halved for them."""
    pixels = Counting(data, syntax)
    image = read_attributes(data, EXPLICIT_LITTLE)
    file = BytesIO(bytes(render(pixels, image, (1,), rendering)))
    return numpy.asarray(Image.open(file)).astype(int), pixels.halved


def whole(data: bytes, syntax: str, rendering: Rendering) -> numpy.ndarray:
    """The same of a frame that was decoded whole."""
    pixels = Pixels(data, syntax)
    pixels.cells(1)
    image = read_attributes(data, EXPLICIT_LITTLE)
    return numpy.asarray(Image.open(BytesIO(bytes(render(pixels, image, (1,), rendering))))).astype(int)


def one_tile(values: Array) -> bytes:
    depth = 8 if values.ndim == 3 else 12
    return bytes(
        imagecodecs.jpeg2k_encode(values, codecformat="J2K", reversible=True, level=0, bitspersample=depth)
    )


def lossy(values: Array) -> bytes:
    depth = 8 if values.ndim == 3 else 12
    return bytes(imagecodecs.jpeg2k_encode(values, codecformat="J2K", level=50, bitspersample=depth))


def tiled(values: Array) -> bytes:
    return bytes(jpeg_2000.encode(values, colour_transform=values.ndim == 3, precision=8 * values.itemsize))


def htj2k(values: Array) -> bytes:
    return bytes(jpeg_2000.encode_htj2k(values, colour_transform=values.ndim == 3, tlm=True))


@pytest.mark.parametrize("values", [scene(), scene(colours=3), scene(low=-2048), scene(700, 1600)])
@pytest.mark.parametrize(
    ("encode", "syntax"),
    [
        (one_tile, JPEG_2000_LOSSLESS),
        (lossy, JPEG_2000_LOSSLESS),
        (tiled, JPEG_2000_LOSSLESS),
        (htj2k, HTJ2K_LOSSLESS),
    ],
)
def test_what_is_shown_small_looks_as_if_it_had_been_decoded_whole(
    values: Array, encode: Callable[[Array], bytes], syntax: str
) -> None:
    center = element("WindowCenter", "DS", "2048" if values.dtype.kind == "u" else "0")
    data = stored(values, encode(values), center, WINDOW[1])
    for viewport in (
        SMALL,
        Viewport(60, 200),
        Viewport(100, 50, 90, 200, 800, 300),
        Viewport(100, 100, mirrored=True, flipped=True),
    ):
        rendering = Rendering("image/png", viewport=viewport)
        found, halved = rendered(data, syntax, rendering)
        expected = whole(data, syntax, rendering)
        assert halved
        assert found.shape == expected.shape
        assert abs(found.mean() - expected.mean()) < 2
        assert abs(found - expected).mean() < 4
        assert numpy.percentile(abs(found - expected), 95) < 20, "only edges differ"


@pytest.mark.parametrize(
    ("more", "rendering", "why"),
    [
        ((), Rendering("image/png", viewport=SMALL), "the window is of the values that occur"),
        (WINDOW, Rendering("image/png"), "it is as large as the image"),
        (WINDOW, Rendering("image/png", viewport=Viewport(700, 700)), "it is nearly so"),
        (WINDOW, Rendering("image/png", viewport=Viewport(100, 100, 0, 0, 120, 120)), "its part is"),
        (
            (*WINDOW, Element(0x60000102, "US", pack("<H", 12))),
            Rendering("image/png", viewport=SMALL),
            "there is an overlay in the cells",
        ),
        (
            (*WINDOW, element("PixelPaddingValue", "US", pack("<H", 0))),
            Rendering("image/png", viewport=SMALL, window=Window(3000, 100)),
            "padding would leave a ring",
        ),
    ],
)
def test_what_has_to_be_decoded_whole_is(more: tuple[Element, ...], rendering: Rendering, why: str) -> None:
    data = stored(scene(), one_tile(scene()), *more)
    assert rendered(data, JPEG_2000_LOSSLESS, rendering)[1] == 0, why


def test_bits_above_the_samples_are_not_mixed_into_them() -> None:
    values = scene()
    values[:400] |= 0x8000
    data = stored(values, tiled(values), *WINDOW)
    found, halved = rendered(data, JPEG_2000_LOSSLESS, Rendering("image/png", viewport=SMALL))
    assert halved == 0
    clean = stored(scene(), tiled(scene()), *WINDOW)
    assert numpy.array_equal(found, whole(clean, JPEG_2000_LOSSLESS, Rendering("image/png", viewport=SMALL)))


def test_what_the_filter_overshoots_does_not_come_round() -> None:
    """In cells of 16 bits a codestream's samples may pass 4095; the 13th bit does not count."""
    values = numpy.zeros((1024, 1024), "u2")
    values[:, 512:] = 4095
    data = stored(values, tiled(values), *WINDOW)
    found, halved = rendered(data, JPEG_2000_LOSSLESS, Rendering("image/png", viewport=SMALL))
    assert halved
    assert found[:, 53:].min() > 240
    assert found[:, :47].max() < 15


def test_two_s_complement_that_is_coded_as_if_it_were_none_is_decoded_whole() -> None:
    values = scene(low=-2048)
    codestream = tiled(values.view("u2"))
    data = stored(values, codestream, element("WindowCenter", "DS", "0"), WINDOW[1])
    assert rendered(data, JPEG_2000_LOSSLESS, Rendering("image/png", viewport=SMALL))[1] == 0


def test_frames_are_whole_whatever_was_shown_of_them() -> None:
    values = scene()
    data = stored(values, one_tile(values), *WINDOW)
    pixels = Counting(data, JPEG_2000_LOSSLESS)
    render(pixels, read_attributes(data, EXPLICIT_LITTLE), (1,), Rendering("image/png", viewport=SMALL))
    assert pixels.halved
    assert bytes(pixels.native(1)) == values.tobytes()


def test_a_cut_codestream_is_decoded_whole_or_not_at_all() -> None:
    codestream = tiled(scene())
    assert fewest_levels(memoryview(codestream)) > 1
    for end in (*range(0, 200, 7), len(codestream) // 2, len(codestream) - 1):
        assert fewest_levels(memoryview(codestream[:end].ljust(60, b"\0"))) >= 0


def test_the_tile_with_the_fewest_levels_counts() -> None:
    values = scene(530, 1024)
    assert fewest_levels(memoryview(one_tile(values))) > fewest_levels(memoryview(tiled(values))) > 0
