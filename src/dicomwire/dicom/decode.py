"""Frames decoded: codestream to cells (PS3.5 8.2, A.4).

Loads imagecodecs and numpy, and is loaded where they are needed only. Whatever a codec does with hostile
bytes, it does in the process that called; worker processes are for that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import imagecodecs
import numpy

from dicomwire.dicom import rle
from dicomwire.dicom.arrays import Array, from_native, widened
from dicomwire.dicom.codecs import CODECS, Codec
from dicomwire.dicom.codestream import Codestream, read_jpeg, read_jpeg_2000, read_jpeg_xl
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.errors import TranscodingError
from dicomwire.uids import name_of

FRAME_LIMIT: Final = 1 << 30  # bytes of one decoded frame
_TRANSFORMED: Final = frozenset({"YBR_RCT", "YBR_ICT", "XYB"})  # undone by the codec (PS3.3 C.7.6.3.1.2)


def decode_frame(data: Buffer, transfer_syntax_uid: str, description: PixelDescription) -> tuple[Array, str]:
    """Cells of shape (rows, columns, samples) and their photometric interpretation.

    data: one frame as it is stored; native ones little endian.
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
            return from_native(data, description)
        return _DECODERS[codec](bytes(data), description)
    except (RuntimeError, ValueError, TypeError, OSError, IndexError, zlib.error) as error:
        raise TranscodingError(f"{name_of(transfer_syntax_uid)}: {error}") from None


def _deflate(data: bytes, description: PixelDescription) -> tuple[Array, str]:
    length = description.frame_length
    return from_native(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, length), description)


def _rle(data: bytes, description: PixelDescription) -> tuple[Array, str]:
    if description.bits_allocated % 8:
        raise TranscodingError(f"RLE with {description.bits_allocated} bits allocated (PS3.5 G.2)")
    cells = rle.decode(
        data,
        description.rows,
        description.columns,
        samples=description.samples_per_pixel,
        size=description.bits_allocated // 8,
    )
    return cells, description.photometric_interpretation.removesuffix("_422")


def _jpeg(data: bytes, description: PixelDescription) -> tuple[Array, str]:
    header = read_jpeg(data)
    _check(header, description)
    photometric = description.photometric_interpretation
    if header.components == 1:
        return _cells(imagecodecs.jpeg_decode(data), header, description), photometric
    # By the codestream where it says, else by the data set; the result is RGB, as sampled colour cannot stay
    ycc = header.ycc if header.ycc is not None else photometric.startswith("YBR")
    values = imagecodecs.jpeg_decode(data, colorspace="YCBCR" if ycc else "RGB", outcolorspace="RGB")
    return _cells(values, header, description), "RGB"


def _jpeg_lossless(data: bytes, description: PixelDescription) -> tuple[Array, str]:
    header = read_jpeg(data)
    _check(header, description)
    photometric = description.photometric_interpretation
    if header.process != 0xC3:  # GDCM and others wrote baseline frames under a lossless syntax
        return _jpeg(data, description)
    try:
        colours = "RGB" if header.components == 3 else None
        values = imagecodecs.jpeg_decode(data, colorspace=colours, outcolorspace=colours)
    except (RuntimeError, ValueError):
        values = imagecodecs.jpegsof3_decode(data)  # takes the streams of some older writers
    return _cells(values, header, description), photometric.removesuffix("_422")


def _jpeg_ls(data: bytes, description: PixelDescription) -> tuple[Array, str]:
    header = read_jpeg(data)
    _check(header, description)
    if header.ycc:
        raise TranscodingError("JPEG-LS with a colour transform, which DICOM does not have (PS3.5 8.2.3)")
    if b"\xff\xd9" not in data:  # CharLS may search the end of a cut stream for seconds
        raise TranscodingError("JPEG-LS codestream: cut, it has no EOI marker (ISO 14495-1 C.1)")
    values = imagecodecs.jpegls_decode(data)
    return _cells(values, header, description), description.photometric_interpretation.removesuffix("_422")


def _jpeg_2000(data: bytes, description: PixelDescription) -> tuple[Array, str]:
    header, stream = _jpeg_2000_header(data, description)
    values = imagecodecs.jpeg2k_decode(stream, planar=False, numthreads=1)
    return _cells(values, header, description), _untransformed(description, header)


def _htj2k(data: bytes, description: PixelDescription) -> tuple[Array, str]:
    header, stream = _jpeg_2000_header(data, description)
    try:
        values = imagecodecs.htj2k_decode(stream, planar=False)
    except (RuntimeError, ValueError):
        values = imagecodecs.jpeg2k_decode(stream, planar=False, numthreads=1)
    return _cells(values, header, description), _untransformed(description, header)


def _jpeg_xl(data: bytes, description: PixelDescription) -> tuple[Array, str]:
    if b"jbrd" in bytes(data[:_BOXES]):  # a JPEG recompressed: its own decoder knows its colours
        return _jpeg(bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1)), description)
    header = read_jpeg_xl(data)
    if (header.rows, header.columns) != (description.rows, description.columns):
        raise TranscodingError(
            f"JPEG XL codestream: {header.rows} rows, {header.columns} columns;"
            f" the data set says {description.rows}, {description.columns}"
        )
    photometric = description.photometric_interpretation
    values = imagecodecs.jpegxl_decode(data, numthreads=1)
    return _cells(values, header, description), "RGB" if photometric in _TRANSFORMED else photometric


_BOXES: Final = 1 << 16  # bytes in which a JPEG XL container names its boxes

_DECODERS: Final[Mapping[Codec, Callable[[bytes, PixelDescription], tuple[Array, str]]]] = {
    Codec.DEFLATE: _deflate,
    Codec.RLE: _rle,
    Codec.JPEG: _jpeg,
    Codec.JPEG_LOSSLESS: _jpeg_lossless,
    Codec.JPEG_LS: _jpeg_ls,
    Codec.JPEG_2000: _jpeg_2000,
    Codec.HTJ2K: _htj2k,
    Codec.JPEG_XL: _jpeg_xl,
}


def _jpeg_2000_header(data: bytes, description: PixelDescription) -> tuple[Codestream, bytes]:
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


def _cells(values: Array, header: Codestream, description: PixelDescription) -> Array:
    rows, columns, samples = description.rows, description.columns, description.samples_per_pixel
    if values.size != rows * columns * samples:
        raise TranscodingError(f"codestream: decoded to {values.shape}, {(rows, columns, samples)} wanted")
    if values.ndim == 3 and values.shape != (rows, columns, samples):
        values = numpy.moveaxis(values, 0, 2)
    return widened(values, header.precision, description).reshape(rows, columns, samples)
