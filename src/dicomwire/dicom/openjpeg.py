"""Large JPEG 2000 frames decoded in bands of rows (ISO 15444-1; OpenJPEG 2.5).

imagecodecs decodes a frame whole, for which OpenJPEG holds more than five bytes a sample beside the result.
The same library, asked for one area of the image after the other, holds the codestream and one band.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
    create_string_buffer,
    memmove,
)
from functools import cache
from importlib import import_module
from struct import pack_into, unpack_from
from typing import Final, TypeAlias

import numpy

from dicomwire.dicom.arrays import Array
from dicomwire.dicom.ebb import trim_heap
from dicomwire.dicom.encoding import Buffer
from dicomwire.errors import TranscodingError

_BAND: Final = 1 << 20  # samples of a band, of which OpenJPEG holds about twenty bytes each
_WHOLE_TILES: Final = 3 << 21  # samples of tiles decoded together; one of them is held beside the result
_FEWEST_ROWS: Final = 64  # of a code-block: lower bands decode most blocks twice
_PARAMETERS: Final = 1 << 14  # bytes, more than opj_dparameters_t has
_BLOCK: Final = 1 << 16  # bytes read at once; behind each tile that is skipped too
_XSIZ: Final = 8  # byte of the image's size, which its offset and the tiles' size and offset follow (A.5.1)
_CSIZ: Final = 40  # byte of the number of components
_J2K: Final = 0  # OPJ_CODEC_J2K
_END: Final = c_size_t(-1).value


class _Component(Structure):
    """opj_image_comp_t."""

    _fields_ = (
        *((name, c_uint32) for name in ("dx", "dy", "w", "h", "x0", "y0", "prec", "bpp", "sgnd")),
        ("resno_decoded", c_uint32),
        ("factor", c_uint32),
        ("data", POINTER(c_int32)),
        ("alpha", c_uint16),
    )


class _Image(Structure):
    """opj_image_t."""

    _fields_ = (
        *((name, c_uint32) for name in ("x0", "y0", "x1", "y1", "numcomps")),
        ("color_space", c_int),
        ("comps", POINTER(_Component)),
        ("icc_profile_buf", c_void_p),
        ("icc_profile_len", c_uint32),
    )


_ImagePointer: Final = POINTER(_Image)
_Read: Final = CFUNCTYPE(c_size_t, c_void_p, c_size_t, c_void_p)
_Skip: Final = CFUNCTYPE(c_int64, c_int64, c_void_p)
_Seek: Final = CFUNCTYPE(c_int, c_int64, c_void_p)

_PROTOTYPES: Final = {
    "opj_create_decompress": (c_void_p, (c_int,)),
    "opj_set_default_decoder_parameters": (None, (c_void_p,)),
    "opj_setup_decoder": (c_int, (c_void_p, c_void_p)),
    "opj_stream_create": (c_void_p, (c_size_t, c_int)),
    "opj_stream_set_read_function": (None, (c_void_p, _Read)),
    "opj_stream_set_skip_function": (None, (c_void_p, _Skip)),
    "opj_stream_set_seek_function": (None, (c_void_p, _Seek)),
    "opj_stream_set_user_data_length": (None, (c_void_p, c_uint64)),
    "opj_read_header": (c_int, (c_void_p, c_void_p, POINTER(_ImagePointer))),
    "opj_set_decode_area": (c_int, (c_void_p, _ImagePointer, c_int32, c_int32, c_int32, c_int32)),
    "opj_decode": (c_int, (c_void_p, c_void_p, _ImagePointer)),
    "opj_image_destroy": (None, (_ImagePointer,)),
    "opj_stream_destroy": (None, (c_void_p,)),
    "opj_destroy_codec": (None, (c_void_p,)),
}


@cache
def _library() -> CDLL | None:
    """The library that imagecodecs is linked with; None where it is not one of its own."""
    try:
        library = CDLL(import_module("imagecodecs._jpeg2k").__file__)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, OSError, AttributeError):
        return None
    return library


def available() -> bool:
    """Whether there is such a library."""
    return _library() is not None


def decode(codestream: Buffer, values: Array, *, reduction: int = 0) -> None:
    """Fill an array with the samples of a codestream.

    codestream: without the boxes of a JP2 file.
    values: of shape (rows, columns) or (rows, columns, components), as the main header has them.
    reduction: levels of resolution that are left out, as every tile has them; each halves rows and columns.
    Raises: TranscodingError, when there is no such image in it.
    """
    library = _library()
    assert library is not None  # who calls has asked whether it is available
    planes = values.reshape(*values.shape[:2], -1)
    if len(codestream) < _CSIZ + 2:
        raise TranscodingError(f"JPEG 2000 codestream: {len(codestream)} bytes")
    right, bottom, left, top, *tiles = unpack_from(">8I", codestream, _XSIZ)
    whole = left, top, right, bottom
    columns, rows = _size(whole, reduction)
    found = rows, columns, *unpack_from(">H", codestream, _CSIZ)
    if found != planes.shape:
        raise TranscodingError(f"JPEG 2000 codestream: {found}, {planes.shape} wanted")
    areas = list(_areas(whole, tiles, planes.shape[2], reduction))
    alone = tiles[2] + tiles[0] >= right and tiles[3] + tiles[1] >= bottom
    # A codec that has decoded one area of several tiles finds no other
    for together in [areas] if alone else [[area] for area in areas]:
        with _opened(library, codestream, reduction) as (codec, stream, image):
            for area in together:
                x, y = _size((left, top, *area[:2]), reduction)
                width, height = _size(area, reduction)
                target = planes[y : y + height, x : x + width]
                if target.size:
                    _decode_area(library, codec, stream, image, area, target)
    trim_heap()  # of the many small blocks that code-blocks took


_Area: TypeAlias = tuple[int, int, int, int]  # left, top, right and bottom on the reference grid


def _size(area: _Area, reduction: int) -> tuple[int, int]:
    """Columns and rows of an area where some levels of resolution are left out (ISO 15444-1 B.5)."""
    left, top, right, bottom = (-(-side >> reduction) for side in area)
    return right - left, bottom - top


def _areas(image: _Area, tiles: Sequence[int], components: int, reduction: int) -> Iterator[_Area]:
    """Areas of about a band: tiles side by side, or rows of one tile.

    tiles: width and height, then left and top of the first one.
    """
    width, height, first_left, first_top = tiles
    whole_tiles, band = _WHOLE_TILES << 2 * reduction, _BAND << 2 * reduction
    across = max(whole_tiles // (width * height * components), 1) * width
    narrow = min(width, image[2] - image[0])
    step = (
        height
        if width * height * components <= whole_tiles
        else max(band // (narrow * components), _FEWEST_ROWS << reduction)
    )
    for tile_top in range(first_top, image[3], height):
        bottom = min(tile_top + height, image[3])
        for tile_left in range(first_left, image[2], across):
            left, right = max(tile_left, image[0]), min(tile_left + across, image[2])
            for top in range(max(tile_top, image[1]), bottom, step):
                yield left, top, right, min(top + step, bottom)


def _decode_area(library: CDLL, codec: int, stream: int, image: _Image, area: _Area, target: Array) -> None:
    """Fill the part of the array that an area is."""
    rows, columns, planes = target.shape
    done = library.opj_set_decode_area(codec, byref(image), *area) and library.opj_decode(
        codec, stream, byref(image)
    )
    bits = 8 * target.itemsize
    components = [image.comps[index] for index in range(planes)] if done else []
    size = rows, columns
    if not done or any((one.h, one.w) != size or one.prec > bits or not one.data for one in components):
        left, top, right, bottom = area
        raise TranscodingError(
            f"JPEG 2000 codestream: rows {top} to {bottom} of columns {left} to {right} cannot be decoded"
        )
    for index, component in enumerate(components):
        target[..., index] = numpy.ctypeslib.as_array(component.data, size)


@contextmanager
def _opened(library: CDLL, codestream: Buffer, reduction: int) -> Iterator[tuple[int, int, _Image]]:
    """Codec, stream and image of a codestream whose main header has been read."""
    octets = numpy.frombuffer(codestream, numpy.uint8)
    start, length = octets.ctypes.data, len(octets)
    position = 0

    def read(target: int, wanted: int, _: object) -> int:
        nonlocal position
        count = min(wanted, length - position)
        if count <= 0:
            return _END
        memmove(target, start + position, count)
        position += count
        return count

    def skip(count: int, _: object) -> int:
        nonlocal position
        if not 0 <= position + count <= length:
            return -1
        position += count
        return count

    def seek(target: int, _: object) -> int:
        nonlocal position
        if not 0 <= target <= length:
            return 0
        position = target
        return 1

    functions = _Read(read), _Skip(skip), _Seek(seek)  # as long as the stream has them
    codec = library.opj_create_decompress(_J2K)
    stream = library.opj_stream_create(_BLOCK, 1)
    image = _ImagePointer()
    try:
        library.opj_stream_set_read_function(stream, functions[0])
        library.opj_stream_set_skip_function(stream, functions[1])
        library.opj_stream_set_seek_function(stream, functions[2])
        library.opj_stream_set_user_data_length(stream, length)
        parameters = create_string_buffer(_PARAMETERS)
        library.opj_set_default_decoder_parameters(parameters)
        pack_into("=I", parameters, 0, reduction)  # cp_reduce, which comes first
        if not library.opj_setup_decoder(codec, parameters) or not library.opj_read_header(
            stream, codec, byref(image)
        ):
            raise TranscodingError("JPEG 2000 codestream: its main header cannot be read")
        yield codec, stream, image.contents
    finally:
        if image:
            library.opj_image_destroy(image)
        library.opj_stream_destroy(stream)
        library.opj_destroy_codec(codec)
