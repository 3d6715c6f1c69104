"""Gray levels and colours as files: JPEG, PNG, GIF, JPEG 2000, JPEG XL, MP4 (PS3.18 8.7.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from io import BytesIO
from itertools import chain
from typing import Final

import imagecodecs
import numpy
from PIL import Image

from dicomwire.dicom.grayscale import Gray
from dicomwire.dicom.rendering import MP4, Rendering
from dicomwire.errors import TranscodingError

_SLOWEST, _FASTEST = 1.0, 60.0  # frames a second
_FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/jp2": "JPEG2000"}


def encode_picture(levels: Gray, rendering: Rendering, icc_profile: bytes = b"") -> bytes:
    """One image as a file of a media type.

    levels: gray or RGB, of shape (rows, columns) or (rows, columns, 3).
    icc_profile: to go with it; b"" for none.
    Raises: TranscodingError, for a media type that is none of these.
    """
    kind = rendering.media_type
    levels = numpy.ascontiguousarray(levels)
    if icc_profile and kind in ("image/jpeg", "image/png"):
        out = BytesIO()
        Image.fromarray(levels).save(out, _FORMATS[kind], quality=rendering.quality, icc_profile=icc_profile)
        return out.getvalue()
    if kind == "image/jpeg":
        sampling = None if levels.ndim == 2 else "422" if rendering.quality < 95 else "444"
        return bytes(imagecodecs.jpeg8_encode(levels, rendering.quality, subsampling=sampling))
    if kind == "image/png":
        return bytes(imagecodecs.png_encode(levels, 3))
    if kind == "image/gif":
        return animate([levels], 1.0)
    if kind == "image/jp2":
        lossless = rendering.quality == 100
        return bytes(
            imagecodecs.jpeg2k_encode(
                levels,
                level=0 if lossless else 20 + rendering.quality // 3,  # dB of signal to noise
                codecformat="JP2",
                reversible=lossless,
                numthreads=1,
            )
        )
    if kind == "image/jxl":
        distance = (100 - rendering.quality) / 10
        return bytes(imagecodecs.jpegxl_encode(levels, distance=distance, effort=3, numthreads=1))
    raise TranscodingError(f"{kind} cannot be made of an image")


def encode_pictures(pictures: Iterable[Gray], rendering: Rendering, rate: float) -> bytes:
    """Frames as an animation.

    rate: frames a second.
    """
    rate = min(max(rate, _SLOWEST), _FASTEST)
    if rendering.media_type == MP4:
        return film(pictures, rate, rendering.quality)
    return animate(pictures, rate)


def animate(pictures: Iterable[Gray], rate: float) -> bytes:
    """An animated GIF, repeated for ever; colours are reduced to 256."""
    images: Iterator[Image.Image] = (_indexed(picture) for picture in pictures)
    first = next(images)
    out = BytesIO()
    more = next(images, None)
    if more is None:
        first.save(out, "GIF")
    else:
        first.save(
            out,
            "GIF",
            save_all=True,
            append_images=chain([more], images),
            duration=round(1000 / rate),
            loop=0,
        )
    return out.getvalue()


def _indexed(picture: Gray) -> Image.Image:
    image = Image.fromarray(numpy.ascontiguousarray(picture))
    return image if image.mode == "L" else image.quantize(256, method=Image.Quantize.FASTOCTREE)


_FEW_FRAMES_HELD: Final = (
    "threads=1:rc-lookahead=4:sync-lookahead=0:bframes=0"  # of large frames, 40 otherwise
)


def film(pictures: Iterable[Gray], rate: float, quality: int) -> bytes:
    """An H.264 film; odd sizes lose their last row or column, which its colours cannot have.

    Raises: TranscodingError, without PyAV.
    """
    if find_spec("av") is None:
        raise TranscodingError("video/mp4 needs PyAV: pip install 'dicomwire[codecs]'")
    import av  # of the codecs extra, and loaded for films alone

    out = BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = None
        for picture in pictures:
            height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
            if stream is None:
                if not height or not width:
                    raise TranscodingError("an image of one row or column makes no video")
                options: dict[str, object] = {
                    "crf": str(round(40 - quality * 0.24)),
                    "preset": "veryfast",
                    "x264-params": _FEW_FRAMES_HELD,
                }
                stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.options = options
            array = numpy.ascontiguousarray(picture[: stream.height, : stream.width])
            frame = av.VideoFrame.from_ndarray(array, format="gray" if array.ndim == 2 else "rgb24")
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return out.getvalue()
