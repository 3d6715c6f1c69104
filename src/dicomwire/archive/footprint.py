"""How much memory a job takes in a worker beside the worker itself: bytes, by the size of the image.

Decoded frames lie in files; what counts is what the codecs hold for themselves. Measured with colour images
of 4096 x 4096 pixels and gray ones of 8192 x 8192, rounded up, and exact enough to say what may run side by
side.
"""

from __future__ import annotations

from typing import Final

from dicomwire.archive.archive import Stored
from dicomwire.dicom.codecs import CODECS, RECOMPRESSED, VIDEO, Codec
from dicomwire.dicom.deflate import INFLATE_LIMIT
from dicomwire.dicom.encoding import encoding_of
from dicomwire.dicom.raster import Header
from dicomwire.dicom.rendering import FILMS, Rendering

# Bytes for each byte of a decoded frame
_ENCODED: Final = {
    Codec.NATIVE: 0.2,
    Codec.DEFLATE: 0.3,
    Codec.RLE: 0.4,
    Codec.JPEG: 0.4,
    Codec.JPEG_LOSSLESS: 1.2,
    Codec.JPEG_LS: 0.4,
    Codec.JPEG_2000: 1.1,
    Codec.HTJ2K: 1.0,
    Codec.JPEG_XL: 5.5,
}
_DECODED: Final = {
    Codec.NATIVE: 0.2,
    Codec.DEFLATE: 0.3,
    Codec.RLE: 0.9,
    Codec.JPEG: 0.5,
    Codec.JPEG_LOSSLESS: 0.6,
    Codec.JPEG_LS: 0.3,
    Codec.JPEG_2000: 1.8,
    Codec.HTJ2K: 1.3,
    Codec.JPEG_XL: 1.2,
}
_RECOMPRESSED: Final = 8.0
_OF_A_VIDEO: Final = 8.0  # the frames that others are made of

# Bytes for a pixel of a picture
_PICTURE: Final = {"image/jp2": 3, "image/jph": 3, "image/jxl": 16}
_OTHER_PICTURES: Final = 3
_FILM: Final = 90  # encoders look some frames ahead


def of_frames(stored: Stored, target: str, quality: int | None = None) -> int:
    """Of a frame in another transfer syntax."""
    encoded = _ENCODED[CODECS[target]]
    if target in RECOMPRESSED.get(stored.transfer_syntax_uid, ()) and quality is None:
        encoded = _RECOMPRESSED
    return int(_frame(stored) * max(_decoded(stored), encoded)) + _inflated(stored)


def of_rendering(stored: Stored, rendering: Rendering) -> int:
    """Of a picture, or of an animation."""
    pixels = (stored.rows or 0) * (stored.columns or 0)
    if (viewport := rendering.viewport) is not None:
        pixels = min(pixels, viewport.width * viewport.height)
    film = rendering.animated and rendering.media_type in FILMS
    each = _FILM if film else _PICTURE.get(rendering.media_type, _OTHER_PICTURES)
    return max(int(_frame(stored) * _decoded(stored)), pixels * each) + _inflated(stored)


def of_raster(header: Header, length: int) -> int:
    """Of a PNG or GIF image of some bytes: them, a frame with alpha, and it as it is written."""
    frame = header.rows * header.columns * (header.samples + 1) * header.bits // 8
    return length + 3 * frame


def _frame(stored: Stored) -> int:
    """Bytes of a decoded frame."""
    bits = (stored.rows or 0) * (stored.columns or 0) * (stored.samples_per_pixel or 1)
    return bits * max(stored.bits_allocated or 8, 8) // 8


def _decoded(stored: Stored) -> float:
    if stored.transfer_syntax_uid in VIDEO:
        return _OF_A_VIDEO
    return _DECODED[CODECS.get(stored.transfer_syntax_uid, Codec.NATIVE)]


def _inflated(stored: Stored) -> int:
    """Bytes of a deflated data set, which is inflated in memory."""
    if not encoding_of(stored.transfer_syntax_uid).deflated:
        return 0
    return min(_frame(stored) * stored.number_of_frames, INFLATE_LIMIT)
