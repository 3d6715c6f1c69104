"""How much memory a job takes in a worker beside the worker itself: bytes, by the size of the image.

Measured with images of 4096 x 4096 pixels, rounded up, and exact enough to say what may run side by side.
"""

from __future__ import annotations

from typing import Final

from dicomwire.archive.archive import Stored
from dicomwire.dicom.codecs import CODECS, Codec
from dicomwire.dicom.raster import Header
from dicomwire.dicom.rendering import FILMS, Rendering

# Bytes for a sample of a frame, decoded and encoded; cells of 16 bits count twice
_ENCODED: Final = {
    Codec.NATIVE: 1.0,
    Codec.DEFLATE: 2.0,
    Codec.RLE: 4.0,
    Codec.JPEG: 3.0,
    Codec.JPEG_LOSSLESS: 4.0,
    Codec.JPEG_LS: 2.5,
    Codec.JPEG_2000: 9.5,
    Codec.HTJ2K: 3.0,
    Codec.JPEG_XL: 6.0,
}
_DECODED: Final = {Codec.NATIVE: 1.4, Codec.JPEG_2000: 8.0, Codec.HTJ2K: 6.0, Codec.JPEG_XL: 6.0}
_OTHERS_DECODED: Final = 3.0

# Bytes for a pixel of a picture, its levels included
_PICTURE: Final = {"image/jp2": 24, "image/jxl": 36}
_OTHER_PICTURES: Final = 9
_ON_ITS_WAY: Final = 32 << 20
_FILM: Final = 80  # x264 looks some frames ahead


def of_frames(stored: Stored, target: str) -> int:
    """Of a frame in another transfer syntax."""
    return int(_frame(stored) * (_decoded(stored) + _ENCODED[CODECS[target]]))


def of_instance(stored: Stored, target: str) -> int:
    """Of a whole instance: of each frame, and of what of a long one is mapped, read and written meanwhile."""
    return of_frames(stored, target) + min(stored.length, _ON_ITS_WAY)


def of_rendering(stored: Stored, rendering: Rendering) -> int:
    """Of a picture, or of an animation."""
    pixels = (stored.rows or 0) * (stored.columns or 0)
    if (viewport := rendering.viewport) is not None:
        pixels = min(pixels, viewport.width * viewport.height)
    film = rendering.animated and rendering.media_type in FILMS
    each = _FILM if film else _PICTURE.get(rendering.media_type, _OTHER_PICTURES)
    return int(_frame(stored) * _decoded(stored)) + pixels * each


def of_raster(header: Header, length: int) -> int:
    """Of a PNG or GIF image of some bytes: them, a frame with alpha, and it as it is written."""
    frame = header.rows * header.columns * (header.samples + 1) * header.bits // 8
    return length + 3 * frame


def _frame(stored: Stored) -> int:
    """Bytes of a decoded frame."""
    bits = (stored.rows or 0) * (stored.columns or 0) * (stored.samples_per_pixel or 1)
    return bits * max(stored.bits_allocated or 8, 8) // 8


def _decoded(stored: Stored) -> float:
    return _DECODED.get(CODECS.get(stored.transfer_syntax_uid, Codec.NATIVE), _OTHERS_DECODED)
