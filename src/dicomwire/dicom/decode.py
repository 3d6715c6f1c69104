"""Frames decoded: codestream to cells (PS3.5 8.2, A.4).

Loads imagecodecs and numpy, and is loaded where they are needed only. Whatever a codec does with hostile
bytes, it does in the process that called; worker processes are for that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import Final, Protocol

import imagecodecs
import numpy

from dicomwire.dicom import openjpeg, rle
from dicomwire.dicom.arrays import Array, from_native, given, widened
from dicomwire.dicom.codecs import CODECS, Codec
from dicomwire.dicom.codestream import (
    Codestream,
    fewest_levels,
    read_jpeg,
    read_jpeg_2000,
    read_jpeg_xl,
)
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.scratch import IN_MEMORY, OCTET, Scratch
from dicomwire.errors import TranscodingError
from dicomwire.uids import name_of

FRAME_LIMIT: Final = 1 << 30  # bytes of one decoded frame
_TRANSFORMED: Final = frozenset({"YBR_RCT", "YBR_ICT", "XYB"})  # undone by the codec (PS3.3 C.7.6.3.1.2)


def decode_frame(
    data: Buffer,
    transfer_syntax_uid: str,
    description: PixelDescription,
    *,
    scratch: Scratch = IN_MEMORY,
) -> tuple[Array, str]:
    """Cells of shape (rows, columns, samples) and their photometric interpretation.

    data: one frame as it is stored; native ones little endian.
    scratch: where large frames are put.
    Raises: TranscodingError, when it cannot be decoded or is not what the data set says.
    """
    codec = CODECS.get(transfer_syntax_uid)
    if codec is None:
        raise TranscodingError(f"{name_of(transfer_syntax_uid)} cannot be decoded")
    if description.is_float and codec not in (Codec.NATIVE, Codec.DEFLATE):
        raise TranscodingError("floating point pixels are not compressed (PS3.5 8.2)")
    if description.frame_length > FRAME_LIMIT:
        raise TranscodingError(
            f"a frame of {description.frame_length} bytes; at most {FRAME_LIMIT} are decoded at once"
        )
    try:
        if codec is Codec.NATIVE:
            return from_native(data, description, scratch)
        return _DECODERS[codec](memoryview(data), description, scratch)
    except (RuntimeError, ValueError, TypeError, OSError, IndexError, zlib.error) as error:
        raise TranscodingError(f"{name_of(transfer_syntax_uid)}: {error}") from None


def decode_reduced(
    data: Buffer,
    transfer_syntax_uid: str,
    description: PixelDescription,
    reduction: int,
    *,
    scratch: Scratch = IN_MEMORY,
) -> tuple[Array, str, int] | None:
    """A frame of JPEG 2000 or HTJ2K with fewer pixels, to be looked at; otherwise as `decode_frame`.

    reduction: how often rows and columns may be halved.
    Returns: with how often they were; None for what can be decoded whole alone.
    """
    codec = CODECS.get(transfer_syntax_uid)
    if codec not in _REDUCING or description.frame_length > FRAME_LIMIT:
        return None
    header, stream = _jpeg_2000_header(memoryview(data), description)
    lowest_bits = description.high_bit + 1 == description.bits_stored
    at_origin = stream[_OFFSET] == bytes(8)
    reduction = min(reduction, fewest_levels(stream))
    # The mean of two's complement numbers that are coded as if they were none is not theirs
    if not (lowest_bits and at_origin and header.signed == description.signed and reduction):
        return None
    rows, columns = (-(-side >> reduction) for side in (description.rows, description.columns))
    smaller = replace(description, rows=rows, columns=columns)
    try:
        values = _REDUCING[codec](stream, header, smaller, scratch, reduction)
    except (RuntimeError, ValueError, TypeError):
        return None
    if header.precision > description.bits_stored and not _clipped(values, description):
        return None
    return _cells(values, header, smaller, scratch), _untransformed(description, header), reduction


def _clipped(values: Array, description: PixelDescription) -> bool:
    """Whether there are samples alone in the cells; what the codec's filter overshot is cut off."""
    span = 1 << description.bits_stored
    low = -span // 2 if description.signed else 0
    beyond = span // 8  # ISO 15444-1 F: of 5-3, at most so much of a step
    if values.min() < low - beyond or values.max() >= low + span + beyond:
        return False
    numpy.clip(values, low, low + span - 1, out=values)
    return True


def _reduced_by_openjpeg(
    stream: memoryview, header: Codestream, smaller: PixelDescription, scratch: Scratch, reduction: int
) -> Array:
    if not openjpeg.available():
        raise ValueError("imagecodecs decodes whole frames alone")
    values = scratch.empty(*_form(header, smaller))
    openjpeg.decode(stream, values, reduction=reduction)
    return values


def _reduced_by_openjph(
    stream: memoryview, header: Codestream, smaller: PixelDescription, scratch: Scratch, reduction: int
) -> Array:
    decoder = partial(imagecodecs.htj2k_decode, planar=False, skipres=reduction)
    return _decoded(decoder, stream, header, smaller, scratch)


def _deflate(data: memoryview, description: PixelDescription, scratch: Scratch) -> tuple[Array, str]:
    octets = scratch.empty((description.frame_length,), OCTET)
    stream, filled = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for start in range(0, len(data), _PIECE):
        waiting: Buffer = data[start : start + _PIECE]
        while waiting and filled < len(octets):
            piece = stream.decompress(waiting, min(_PIECE, len(octets) - filled))
            octets[filled : filled + len(piece)] = numpy.frombuffer(piece, numpy.uint8)
            filled += len(piece)
            waiting = stream.unconsumed_tail
    while filled < len(octets) and (piece := stream.decompress(b"", min(_PIECE, len(octets) - filled))):
        octets[filled : filled + len(piece)] = numpy.frombuffer(piece, numpy.uint8)
        filled += len(piece)
    return from_native(octets[:filled].data, description, scratch)


def _rle(data: memoryview, description: PixelDescription, scratch: Scratch) -> tuple[Array, str]:
    if description.bits_allocated % 8:
        raise TranscodingError(f"RLE with {description.bits_allocated} bits allocated (PS3.5 G.2)")
    cells = rle.decode(
        data,
        description.rows,
        description.columns,
        samples=description.samples_per_pixel,
        size=description.bits_allocated // 8,
        scratch=scratch,
    )
    return cells, description.photometric_interpretation.removesuffix("_422")


def _jpeg(data: memoryview, description: PixelDescription, scratch: Scratch) -> tuple[Array, str]:
    header = read_jpeg(data)
    _check(header, description)
    photometric = description.photometric_interpretation
    if header.components == 1:
        values = _decoded(imagecodecs.jpeg_decode, data, header, description, scratch)
        return _cells(values, header, description, scratch), photometric
    # By the codestream where it says, else by the data set; the result is RGB, as sampled colour cannot stay
    ycc = header.ycc if header.ycc is not None else photometric.startswith("YBR")
    decoder = partial(imagecodecs.jpeg_decode, colorspace="YCBCR" if ycc else "RGB", outcolorspace="RGB")
    return _cells(_decoded(decoder, data, header, description, scratch), header, description, scratch), "RGB"


def _jpeg_lossless(data: memoryview, description: PixelDescription, scratch: Scratch) -> tuple[Array, str]:
    header = read_jpeg(data)
    _check(header, description)
    photometric = description.photometric_interpretation
    if header.process != 0xC3:  # GDCM and others wrote baseline frames under a lossless syntax
        return _jpeg(data, description, scratch)
    try:
        colours = "RGB" if header.components == 3 else None
        decoder = partial(imagecodecs.jpeg_decode, colorspace=colours, outcolorspace=colours)
        values = _decoded(decoder, data, header, description, scratch)
    except (RuntimeError, ValueError):
        values = imagecodecs.jpegsof3_decode(given(data))  # takes the streams of some older writers
    return _cells(values, header, description, scratch), photometric.removesuffix("_422")


def _jpeg_ls(data: memoryview, description: PixelDescription, scratch: Scratch) -> tuple[Array, str]:
    header = read_jpeg(data)
    _check(header, description)
    if header.ycc:
        raise TranscodingError("JPEG-LS with a colour transform, which DICOM does not have (PS3.5 8.2.3)")
    if not _ends(data):  # CharLS may search the end of a cut stream for seconds
        raise TranscodingError("JPEG-LS codestream: cut, it has no EOI marker (ISO 14495-1 C.1)")
    values = _decoded(imagecodecs.jpegls_decode, data, header, description, scratch)
    photometric = description.photometric_interpretation.removesuffix("_422")
    return _cells(values, header, description, scratch), photometric


def _ends(data: memoryview) -> bool:
    """Whether there is an EOI marker, looked for from the end; a marker across two pieces counts."""
    return any(
        b"\xff\xd9" in bytes(data[max(end - _PIECE - 1, 0) : end]) for end in range(len(data), 0, -_PIECE)
    )


def _jpeg_2000(data: memoryview, description: PixelDescription, scratch: Scratch) -> tuple[Array, str]:
    header, stream = _jpeg_2000_header(data, description)
    values = _openjpeg(stream, header, description, scratch)
    return _cells(values, header, description, scratch), _untransformed(description, header)


def _openjpeg(
    stream: memoryview, header: Codestream, description: PixelDescription, scratch: Scratch
) -> Array:
    """In bands where the frame is large: OpenJPEG holds four bytes a sample and more of what it decodes."""
    shape, kind = _form(header, description)
    if prod(shape) * kind.itemsize < scratch.large or not openjpeg.available():
        return numpy.asarray(imagecodecs.jpeg2k_decode(given(stream), planar=False, numthreads=1))
    values = scratch.empty(shape, kind)
    openjpeg.decode(stream, values)
    return values


def _htj2k(data: memoryview, description: PixelDescription, scratch: Scratch) -> tuple[Array, str]:
    header, stream = _jpeg_2000_header(data, description)
    try:
        decoder = partial(imagecodecs.htj2k_decode, planar=False)
        values = _decoded(decoder, stream, header, description, scratch)
    except (RuntimeError, ValueError):
        values = _openjpeg(stream, header, description, scratch)
    return _cells(values, header, description, scratch), _untransformed(description, header)


def _jpeg_xl(data: memoryview, description: PixelDescription, scratch: Scratch) -> tuple[Array, str]:
    if b"jbrd" in bytes(data[:_BOXES]):  # a JPEG recompressed: its own decoder knows its colours
        recovered = imagecodecs.jpegxl_decode_jpeg(given(data), numthreads=1)
        return _jpeg(memoryview(recovered), description, scratch)
    header = read_jpeg_xl(data)
    if (header.rows, header.columns) != (description.rows, description.columns):
        raise TranscodingError(
            f"JPEG XL codestream: {header.rows} rows, {header.columns} columns;"
            f" the data set says {description.rows}, {description.columns}"
        )
    photometric = description.photometric_interpretation
    values = _decoded(partial(imagecodecs.jpegxl_decode, numthreads=1), data, header, description, scratch)
    return _cells(values, header, description, scratch), "RGB" if photometric in _TRANSFORMED else photometric


class _Decoder(Protocol):
    def __call__(self, data: bytearray, /, *, out: Array | None = None) -> Array: ...


def _decoded(
    decoder: _Decoder, data: memoryview, header: Codestream, description: PixelDescription, scratch: Scratch
) -> Array:
    """Values as a codec makes them, put where large ones are where they have the usual shape."""
    shape, kind = _form(header, description)
    if prod(shape) * kind.itemsize >= scratch.large:
        try:
            return decoder(given(data), out=scratch.empty(shape, kind))
        except ValueError:  # colours by plane, or not the depth that its header tells
            pass
    return decoder(given(data))


def _form(
    header: Codestream, description: PixelDescription
) -> tuple[tuple[int, ...], numpy.dtype[numpy.integer]]:
    """Shape and type of what a codec makes of a codestream."""
    size = next((size for size in (1, 2, 4, 8) if header.precision <= 8 * size), None)
    if size is None:
        raise TranscodingError(f"codestream: samples of {header.precision} bits; 64 at most")
    kind: numpy.dtype[numpy.integer] = numpy.dtype(f"<{'i' if header.signed else 'u'}{size}")
    samples = description.samples_per_pixel
    shape = (description.rows, description.columns)
    return (shape if samples == 1 else (*shape, samples)), kind


_BOXES: Final = 1 << 16  # bytes in which a JPEG XL container names its boxes

_PIECE: Final = 1 << 20  # bytes of a codestream looked at or inflated at once

_OFFSET: Final = slice(16, 24)  # bytes of the image's offset on the reference grid (ISO 15444-1 A.5.1)

_REDUCING: Final[
    Mapping[Codec | None, Callable[[memoryview, Codestream, PixelDescription, Scratch, int], Array]]
] = {
    Codec.JPEG_2000: _reduced_by_openjpeg,
    Codec.HTJ2K: _reduced_by_openjph,
}

_DECODERS: Final[Mapping[Codec, Callable[[memoryview, PixelDescription, Scratch], tuple[Array, str]]]] = {
    Codec.DEFLATE: _deflate,
    Codec.RLE: _rle,
    Codec.JPEG: _jpeg,
    Codec.JPEG_LOSSLESS: _jpeg_lossless,
    Codec.JPEG_LS: _jpeg_ls,
    Codec.JPEG_2000: _jpeg_2000,
    Codec.HTJ2K: _htj2k,
    Codec.JPEG_XL: _jpeg_xl,
}


def _jpeg_2000_header(data: memoryview, description: PixelDescription) -> tuple[Codestream, memoryview]:
    header = read_jpeg_2000(data)
    _check(header, description)
    if header.subsampled:
        raise TranscodingError("JPEG 2000 codestream: components of different sizes")
    return header, data[header.start :]


def _untransformed(description: PixelDescription, header: Codestream) -> str:
    photometric = description.photometric_interpretation
    if description.samples_per_pixel == 3 and (photometric in _TRANSFORMED or header.ycc):
        return "YBR_FULL" if photometric.startswith("YBR_FULL") else "RGB"
    return photometric.removesuffix("_422")


def _check(header: Codestream, description: PixelDescription) -> None:
    got = (header.rows or description.rows, header.columns, header.components)
    wanted = (description.rows, description.columns, description.samples_per_pixel)
    if got != wanted:
        raise TranscodingError(
            "codestream: {} rows, {} columns, {} samples; the data set says {}, {}, {}".format(*got, *wanted)
        )


def _cells(values: Array, header: Codestream, description: PixelDescription, scratch: Scratch) -> Array:
    rows, columns, samples = description.rows, description.columns, description.samples_per_pixel
    if values.size != rows * columns * samples:
        raise TranscodingError(f"codestream: decoded to {values.shape}, {(rows, columns, samples)} wanted")
    if values.ndim == 3 and values.shape != (rows, columns, samples):
        values = numpy.moveaxis(values, 0, 2)
    return widened(values, header.precision, description, scratch).reshape(rows, columns, samples)
