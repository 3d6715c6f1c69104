"""What a video or a JPEG XL image says of itself, for the Image Pixel module (PS3.18 10.5.2, Table 10.5.2-1).

Of the other media types the header of a codestream tells as much (`codestream`), and without a codec.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, Final

import imagecodecs

from dicomwire.dicom.raster import Raster
from dicomwire.dicom.video import Stream, opened
from dicomwire.errors import TranscodingError

JPEG_XL: Final = "image/jxl"
_DEEP: Final = "10"  # in the name of a pixel format of 10 bits


def probe(file: BinaryIO, span: tuple[int, int], media_type: str, renew: Callable[[], None]) -> Raster:
    """Read one image or video.

    span: its offset and length in the file.
    renew: called now and then; a long video takes its time.
    Raises: TranscodingError, when it cannot be read; CodecsMissing, when what reads videos is not installed.
    """
    stream = Stream(lambda start, length: os.pread(file.fileno(), length, start), (span,))
    return _image(stream.read()) if media_type == JPEG_XL else _video(stream, media_type, renew)


def _image(data: bytes) -> Raster:
    try:
        cells = imagecodecs.jpegxl_decode(data, numthreads=1)
    except imagecodecs.JpegxlError as error:
        raise TranscodingError(f"{JPEG_XL}: {error}") from None
    if cells.ndim not in (2, 3) or (cells.ndim == 3 and cells.shape[2] not in (1, 3)) or cells.itemsize > 2:
        raise TranscodingError(
            f"{JPEG_XL}: {cells.dtype} of shape {cells.shape}; one image, gray or RGB, wanted"
        )
    rows, columns = cells.shape[:2]
    return Raster(rows, columns, 3 if cells.shape[2:] == (3,) else 1, cells.itemsize * 8, 1, 0)


def _video(stream: Stream, media_type: str, renew: Callable[[], None]) -> Raster:
    with opened(stream, media_type) as (container, video):
        context, frames = video.codec_context, 0
        for packet in container.demux(video):
            frames += packet.size > 0
            renew()
        bits = 10 if _DEEP in (context.pix_fmt or "") else 8
        return Raster(context.height, context.width, 3, bits, frames, 0)
