"""Gray levels and colours as files: JPEG, PNG, GIF, JPEG 2000, HTJ2K, JPEG XL, films (PS3.18 8.7.4)."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from math import isqrt
from struct import pack
from typing import IO, Final

import imagecodecs
import numpy
from numpy.typing import NDArray
from PIL import Image

from dicomwire.dicom import icc, jpeg_2000
from dicomwire.dicom.arrays import levels_by_strips
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.film import film
from dicomwire.dicom.grayscale import Gray
from dicomwire.dicom.rendering import FILMS, Rendering
from dicomwire.errors import TranscodingError

_SLOWEST, _FASTEST = 1.0, 60.0  # frames a second
_FINE_STEP: Final = 0.004  # of quantization of HTJ2K, a level of 8 bits
_HALVED: Final = 12  # steps of quality; at 90 there is as much noise as in JPEG 2000
_GIF_SAMPLE: Final = 1 << 20  # pixels, about, that a palette is made of

_FOR_EVER: Final = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"  # application extension: no last repetition

_CARRY: Final = {
    "image/jpeg": icc.in_jpeg,
    "image/png": icc.in_png,
    "image/jp2": icc.in_jp2,
    "image/jph": icc.in_jp2,
}


def encode_picture(levels: Gray, rendering: Rendering, icc_profile: bytes = b"") -> Buffer:
    """One image as a file of a media type.

    levels: gray or RGB, of shape (rows, columns) or (rows, columns, 3).
    icc_profile: to go with it; b"" for none.
    Raises: TranscodingError, for a media type that is none of these.
    """
    kind = rendering.media_type
    levels = numpy.ascontiguousarray(levels)
    if icc_profile:
        return _CARRY[kind](bytes(encode_picture(levels, rendering)), icc_profile)
    if kind == "image/jpeg":
        sampling = None if levels.ndim == 2 else "422" if rendering.quality < 95 else "444"
        return bytes(imagecodecs.jpeg8_encode(levels, rendering.quality, subsampling=sampling))
    if kind == "image/png":
        return bytes(imagecodecs.png_encode(levels, 3))
    if kind == "image/gif":
        return _gif(levels)
    if kind == "image/jp2":
        noise = 20 + rendering.quality // 3  # dB of signal to noise
        return jpeg_2000.encode_jp2(levels, noise=noise if rendering.quality < 100 else None)
    if kind == "image/jph":
        step = _FINE_STEP * 2 ** ((100 - rendering.quality) / _HALVED)
        return jpeg_2000.encode_jph(levels, step=step if rendering.quality < 100 else None)
    if kind == "image/jxl":
        distance = (100 - rendering.quality) / 10
        return bytes(imagecodecs.jpegxl_encode(levels, distance=distance, effort=3, numthreads=1))
    raise TranscodingError(f"{kind} cannot be made of an image")


def encode_pictures(pictures: Iterable[Gray], rendering: Rendering, rate: float, out: IO[bytes]) -> None:
    """Frames as an animation, written as they come.

    rate: frames a second.
    out: can be sought in.
    """
    rate = min(max(rate, _SLOWEST), _FASTEST)
    if rendering.media_type in FILMS:
        film(pictures, rate, rendering, out)
    else:
        animate(pictures, rate, out)


def animate(pictures: Iterable[Gray], rate: float, out: IO[bytes]) -> None:
    """An animated GIF, repeated for ever; each frame has 256 colours of its own (GIF89a 18 to 26)."""
    delay = round(100 / rate)
    for number, picture in enumerate(pictures):
        file = _gif(picture)
        screen, colours = file[6:13], 3 << (file[10] & 7) + 1
        if number == 0:
            out.write(b"GIF89a" + bytes(screen[:4]) + b"\0\0\0" + _FOR_EVER)
        table, descriptor = file[13 : 13 + colours], 13 + colours
        out.write(pack("<3sBHxx", b"\x21\xf9\x04", 4, delay))  # leave it where the next one comes
        flags = 0x80 | file[descriptor + 9] & 0x40 | screen[4] & 7  # colours follow, and how many; interlaced
        out.writelines((file[descriptor : descriptor + 9], bytes([flags]), table))
        out.write(file[descriptor + 10 : -1])
    out.write(b"\x3b")


def _gif(picture: Gray) -> memoryview:
    """A GIF of one frame: header, colours, image descriptor, image, trailer."""
    out = BytesIO()
    _indexed(picture).save(out, "GIF")
    return out.getbuffer()


def _indexed(picture: Gray) -> Image.Image:
    """With at most 256 colours; of a large image they are chosen from every n-th pixel."""
    if picture.ndim == 2:
        return Image.fromarray(numpy.ascontiguousarray(picture))
    step = max(1, isqrt(picture.shape[0] * picture.shape[1] // _GIF_SAMPLE))
    sample = Image.fromarray(numpy.ascontiguousarray(picture[::step, ::step]))
    sample = sample.quantize(256, method=Image.Quantize.FASTOCTREE)
    if step == 1:
        return sample

    def indexed(strip: NDArray[numpy.integer]) -> Gray:
        image = Image.fromarray(numpy.ascontiguousarray(strip).view(numpy.uint8))
        return numpy.asarray(image.quantize(palette=sample, dither=Image.Dither.NONE))

    image = Image.fromarray(levels_by_strips(picture, indexed))
    image.putpalette(sample.getpalette() or [])
    return image
