"""Frames encoded: cells to codestream (PS3.5 8.2, A.4).

Lossless encoders return what decodes to the same cells, overlays in unused bits included: where a cell holds
more than its sample, all of it is encoded.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import imagecodecs
import numpy
from numpy.typing import NDArray

from dicomwire.dicom import jpeg_2000, rle
from dicomwire.dicom.arrays import Array, by_strips, contiguous, fills_cell, given, to_native
from dicomwire.dicom.codecs import (
    CODECS,
    DEFLATED_IMAGE_FRAME,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    JPEG_LS_NEAR_LOSSLESS,
    JPEG_XL,
    JPEG_XL_LOSSLESS,
    RLE_LOSSLESS,
    Codec,
)
from dicomwire.dicom.codecs import HTJ2K as HTJ2K_ANY
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.scratch import IN_MEMORY, OCTET, Scratch
from dicomwire.errors import TranscodingError
from dicomwire.uids import name_of

# Of 1 to 9: denser ones take ten times as long. The lowest holds a fifth of the memory, but changes pixels of
# one image of noise in a thousand (libjxl 0.11.2).
_JPEG_XL_EFFORT: Final = 3
_SSIZ: Final = 42  # byte of the first component's bit depth in a JPEG 2000 codestream (ISO 15444-1 A.5.1)
_JPEG_LS_LONGEST: Final = 4  # times as long as the cells: LIMIT, the longest code (ISO 14495-1 C.2.4.1.1)
_LONGEST: Final = 2  # times as long as the cells: what other encoders make of noise, with much to spare
_HEADERS: Final = 1 << 16  # bytes of a codestream beside its pixels
_BLOCK: Final = 1 << 20  # bytes deflated at once


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoded frame.

    Attributes:
        data: the codestream.
        photometric_interpretation: of it; a reversible colour transform changes it.
    """

    data: Buffer
    photometric_interpretation: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """What an encoder needs to know: cells with their description, and how many of their bits count."""

    cells: Array
    photometric: str
    description: PixelDescription
    precision: int
    scratch: Scratch

    @property
    def plain(self) -> Array:
        """Unsigned, without an axis for a single sample, bits above the precision zero."""
        kind = numpy.dtype(numpy.uint8) if self._narrow else self.cells.dtype
        if not self.description.signed or self.precision == self.cells.dtype.itemsize * 8:
            return self._as(kind)  # unsigned samples fill their cells, or all bits of these count
        mask = numpy.array((1 << self.precision) - 1, self.cells.dtype)
        return self.converted(lambda cells: (cells & mask).astype(kind), kind)

    @property
    def numbers(self) -> Array:
        """As `plain`, but signed where the samples are."""
        if not self.description.signed:
            return self.plain
        return self._as(numpy.dtype(numpy.int8 if self._narrow else f"<i{self.cells.dtype.itemsize}"))

    def converted(self, convert: Callable[[Array], Array], kind: numpy.dtype[numpy.integer]) -> Array:
        """What a function makes of the cells, without an axis for a single sample."""
        cells = self.cells[..., 0] if self.cells.shape[2] == 1 else self.cells
        values = by_strips(cells, convert, cells.shape[2:], kind=kind, scratch=self.scratch)
        return contiguous(values, self.scratch)

    @property
    def room(self) -> NDArray[numpy.uint8] | None:
        """Where the codestream of a large frame goes; None for one that stays in memory."""
        length = _LONGEST * self.cells.nbytes + _HEADERS
        return self.scratch.empty((length,), OCTET) if length >= self.scratch.large else None

    def _as(self, kind: numpy.dtype[numpy.integer]) -> Array:
        if kind.itemsize == self.cells.dtype.itemsize:
            return contiguous(_flat(self.cells), self.scratch).view(kind)
        return self.converted(lambda cells: cells.astype(kind), kind)

    @property
    def _narrow(self) -> bool:
        """Encoders take no fewer than nine bits in cells of more than eight."""
        return self.precision <= 8 < self.cells.dtype.itemsize * 8

    @property
    def rgb(self) -> bool:
        return self.photometric == "RGB"


def encode_lossless(
    cells: Array,
    photometric: str,
    description: PixelDescription,
    transfer_syntax_uid: str,
    *,
    scratch: Scratch = IN_MEMORY,
) -> Encoded:
    """One frame in a transfer syntax, from which the same cells can be decoded.

    cells: of shape (rows, columns, samples), as `decode_frame` makes them.
    Raises: TranscodingError, when the transfer syntax has no place for such cells.
    """
    if CODECS.get(transfer_syntax_uid) is Codec.NATIVE:
        return Encoded(to_native(cells, description.bits_allocated, scratch), photometric)
    encoder = _LOSSLESS.get(transfer_syntax_uid)
    if encoder is None:
        raise TranscodingError(f"{name_of(transfer_syntax_uid)} cannot be encoded without loss")
    whole = not fills_cell(cells, description)
    precision = description.bits_allocated if whole else description.bits_stored
    frame = _Frame(cells, photometric, description, precision, scratch)
    _refuse_odd(frame, transfer_syntax_uid)
    try:
        return encoder(frame)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise TranscodingError(f"{name_of(transfer_syntax_uid)}: {error}") from None


def encode_lossy(
    cells: Array,
    photometric: str,
    description: PixelDescription,
    transfer_syntax_uid: str,
    quality: int,
    *,
    scratch: Scratch = IN_MEMORY,
) -> Encoded:
    """One frame compressed with loss.

    quality: 1 to 100.
    Raises: TranscodingError, when the transfer syntax has no place for such cells.
    """
    encoder = _LOSSY.get(transfer_syntax_uid)
    if encoder is None:
        raise TranscodingError(f"{name_of(transfer_syntax_uid)} cannot be encoded with loss")
    if photometric == "PALETTE COLOR":
        raise TranscodingError("PALETTE COLOR is not compressed with loss (PS3.5 8.2.1)")
    frame = _Frame(cells, photometric, description, description.bits_stored, scratch)
    _refuse_odd(frame, transfer_syntax_uid)
    if not fills_cell(cells, description):
        raise TranscodingError("an overlay in the cells of the pixels would be lost")
    try:
        return encoder(frame, quality)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise TranscodingError(f"{name_of(transfer_syntax_uid)}: {error}") from None


def _refuse_odd(frame: _Frame, syntax: str) -> None:
    description = frame.description
    codec = CODECS[syntax]
    if codec is Codec.DEFLATE:
        return
    if description.is_float or description.bits_allocated not in (8, 16, 32):
        raise TranscodingError(
            f"{name_of(syntax)} has no place for {description.bits_allocated} bits"
            f"{' of floating point' if description.is_float else ''}"
        )
    if codec not in (Codec.RLE, Codec.HTJ2K) and description.bits_allocated == 32:
        raise TranscodingError(f"{name_of(syntax)} has no place for 32 bits")
    if description.samples_per_pixel not in (1, 3):
        raise TranscodingError(f"{description.samples_per_pixel} samples per pixel; 1 or 3 can be compressed")


def _flat(cells: Array) -> Array:
    return cells[..., 0] if cells.shape[2] == 1 else cells


def _rle(frame: _Frame) -> Encoded:
    return Encoded(rle.encode(frame.cells, frame.scratch), frame.photometric)


def _deflate(frame: _Frame) -> Encoded:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    octets = to_native(frame.cells, frame.description.bits_allocated, frame.scratch)
    room, length = frame.scratch.empty((_LONGEST * len(octets) + _HEADERS,), OCTET), 0
    for start in range(0, len(octets) + _BLOCK, _BLOCK):
        block = octets[start : start + _BLOCK]
        piece = stream.compress(block) if block else stream.flush()
        room[length : length + len(piece)] = numpy.frombuffer(piece, numpy.uint8)
        length += len(piece)
    return Encoded(room[:length].data, frame.photometric)


def _jpeg_lossless(frame: _Frame) -> Encoded:
    colours = "RGB" if frame.description.samples_per_pixel == 3 else None
    data = imagecodecs.jpeg_encode(
        frame.plain,
        lossless=True,
        predictor=1,
        bitspersample=max(frame.precision, 2),
        colorspace=colours,
        outcolorspace=colours,
        out=None if (room := frame.room) is None else given(room),
    )
    return Encoded(data, frame.photometric)


def _jpeg_ls(frame: _Frame, near: int = 0) -> Encoded:
    # CharLS has the precision of the array's type, so that all bits of the cell are coded
    cells = contiguous(_flat(frame.cells), frame.scratch)
    longest = _JPEG_LS_LONGEST * cells.nbytes + _HEADERS
    room = frame.scratch.empty((longest,), OCTET)
    length = len(imagecodecs.jpegls_encode(cells, level=near, out=given(room)))
    start = room[:_HEADERS].tobytes().index(b"\xff\xf7") - 2  # without CharLS's SPIFF header
    room[start : start + 2] = 0xFF, 0xD8
    return Encoded(room[start:length].data, frame.photometric)


def _jpeg_2000(frame: _Frame) -> Encoded:
    data = jpeg_2000.encode(frame.numbers, colour_transform=frame.rgb, precision=frame.precision)
    return Encoded(data, "YBR_RCT" if frame.rgb else frame.photometric)


def _htj2k(frame: _Frame, *, rpcl: bool = False) -> Encoded:
    """OpenJPH's progression is RPCL as it stands; what else .202 asks for are its TLM markers."""
    values, precision = frame.numbers, frame.precision
    unsigned = not frame.description.signed
    patched = precision < values.dtype.itemsize * 8
    if patched and unsigned:
        # The level shift of ISO 15444-1 G.1 made here, for the encoder knows whole bytes only
        kind = numpy.dtype(f"<i{values.dtype.itemsize}")
        middle = numpy.array(1 << precision - 1, kind)
        values = by_strips(
            values,
            lambda strip: strip.view(kind) - middle,
            values.shape[2:],
            kind=kind,
            scratch=frame.scratch,
        )
    data = jpeg_2000.encode_htj2k(values, colour_transform=frame.rgb, tlm=rpcl)
    if patched:
        for component in range(frame.description.samples_per_pixel):
            data[_SSIZ + 3 * component] = (precision - 1) | (0 if unsigned else 0x80)
    return Encoded(data, "YBR_RCT" if frame.rgb else frame.photometric)


def _jpeg_xl(frame: _Frame) -> Encoded:
    room = frame.room
    data = imagecodecs.jpegxl_encode(
        frame.plain,
        lossless=True,
        bitspersample=frame.precision,
        effort=_JPEG_XL_EFFORT,
        numthreads=1,
        out=None if room is None else given(room),
    )
    return Encoded(data, frame.photometric)


_LOSSLESS: Final[Mapping[str, Callable[[_Frame], Encoded]]] = {
    RLE_LOSSLESS: _rle,
    DEFLATED_IMAGE_FRAME: _deflate,
    JPEG_LOSSLESS_SV1: _jpeg_lossless,
    JPEG_LOSSLESS: _jpeg_lossless,
    JPEG_LS_LOSSLESS: _jpeg_ls,
    JPEG_LS_NEAR_LOSSLESS: _jpeg_ls,
    JPEG_2000_LOSSLESS: _jpeg_2000,
    JPEG_2000: _jpeg_2000,
    HTJ2K_LOSSLESS: _htj2k,
    HTJ2K_ANY: _htj2k,
    HTJ2K_LOSSLESS_RPCL: lambda frame: _htj2k(frame, rpcl=True),
    JPEG_XL_LOSSLESS: _jpeg_xl,
    JPEG_XL: _jpeg_xl,
}


def _jpeg_lossy(frame: _Frame, quality: int, *, bits: int) -> Encoded:
    if frame.description.signed:
        raise TranscodingError("JPEG compresses unsigned samples; these are signed")
    if frame.precision > bits:
        raise TranscodingError(f"JPEG of {bits} bits; the samples have {frame.precision}")
    if frame.description.samples_per_pixel == 1:
        return Encoded(imagecodecs.jpeg_encode(frame.plain, quality, bitspersample=bits), frame.photometric)
    if not frame.rgb:
        raise TranscodingError(f"JPEG is made of RGB or one sample, not of {frame.photometric}")
    data = imagecodecs.jpeg_encode(
        frame.plain, quality, colorspace="RGB", outcolorspace="YCBCR", subsampling="422", bitspersample=bits
    )
    return Encoded(data, "YBR_FULL_422")


def _jpeg_baseline(frame: _Frame, quality: int) -> Encoded:
    return _jpeg_lossy(frame, quality, bits=8)


def _jpeg_extended(frame: _Frame, quality: int) -> Encoded:
    return _jpeg_lossy(frame, quality, bits=8 if frame.description.bits_allocated == 8 else 12)


def _jpeg_ls_near(frame: _Frame, quality: int) -> Encoded:
    return _jpeg_ls(frame, max(1, (100 - quality) // 10))


def _jpeg_2000_lossy(frame: _Frame, quality: int) -> Encoded:
    data = jpeg_2000.encode(
        frame.numbers,
        colour_transform=frame.rgb,
        precision=frame.precision,
        noise=20 + quality // 2,
    )
    return Encoded(data, "YBR_ICT" if frame.rgb else frame.photometric)


def _jpeg_xl_lossy(frame: _Frame, quality: int) -> Encoded:
    if frame.description.signed:
        raise TranscodingError("JPEG XL compresses unsigned samples; these are signed")
    distance = max((100 - quality) / 10, 0.1)
    data = imagecodecs.jpegxl_encode(
        frame.plain, lossless=False, distance=distance, bitspersample=frame.precision, numthreads=1
    )
    return Encoded(data, "XYB" if frame.rgb else frame.photometric)


_LOSSY: Final[Mapping[str, Callable[[_Frame, int], Encoded]]] = {
    JPEG_BASELINE: _jpeg_baseline,
    JPEG_EXTENDED: _jpeg_extended,
    JPEG_LS_NEAR_LOSSLESS: _jpeg_ls_near,
    JPEG_2000: _jpeg_2000_lossy,
    JPEG_XL: _jpeg_xl_lossy,
}
