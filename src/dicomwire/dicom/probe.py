"""What a video or a JPEG XL image says of itself, for the Image Pixel module (PS3.18 10.5.2, Table 10.5.2-1).

Of the other media types the header of a codestream tells as much (`codestream`), and without a codec.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import BinaryIO, Final

import imagecodecs

from dicomwire.dicom.raster import Raster
from dicomwire.errors import CodecsMissing, TranscodingError

JPEG_XL: Final = "image/jxl"
_DEEP: Final = "10"  # in the name of a pixel format of 10 bits


def probe(file: BinaryIO, span: tuple[int, int], media_type: str, renew: Callable[[], None]) -> Raster:
    """Read one image or video.

    span: its offset and length in the file.
    renew: called now and then; a long video takes its time.
    Raises: TranscodingError, when it cannot be read; CodecsMissing, when what reads videos is not installed.
    """
    within = _Within(file, span)
    return _image(within.read()) if media_type == JPEG_XL else _video(within, media_type, renew)


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


def _video(file: _Within, media_type: str, renew: Callable[[], None]) -> Raster:
    if find_spec("av") is None:
        raise CodecsMissing("av is not installed: pip install 'dicomwire[codecs]'")
    import av  # of the codecs extra, and loaded for films alone

    try:
        with av.open(file, "r") as container:
            if not container.streams.video:
                raise TranscodingError(f"{media_type}: there is no video in it")
            stream = container.streams.video[0]
            context, frames = stream.codec_context, 0
            for packet in container.demux(stream):
                frames += packet.size > 0
                renew()
            bits = 10 if _DEEP in (context.pix_fmt or "") else 8
            return Raster(context.height, context.width, 3, bits, frames, 0)
    except (av.error.FFmpegError, ValueError) as error:
        raise TranscodingError(f"{media_type}: {error}") from None


class _Within:
    """A part of a file as a file of its own."""

    def __init__(self, file: BinaryIO, span: tuple[int, int]) -> None:
        self._file = file
        self._start, self._length = span
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = max(self._length - self._position, 0)
        data = os.pread(
            self._file.fileno(), left if size < 0 else min(size, left), self._start + self._position
        )
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position
