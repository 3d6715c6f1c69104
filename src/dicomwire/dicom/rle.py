"""RLE Lossless: byte planes, each row of each packed by itself (PS3.5 G)."""

from __future__ import annotations

from struct import pack, unpack_from
from typing import Final, TypeAlias

import imagecodecs
import numpy
from numpy.typing import NDArray

from dicomwire.dicom.arrays import Array, given, strips_of
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.scratch import IN_MEMORY, OCTET, Scratch
from dicomwire.errors import TranscodingError

_HEADER: Final = 64  # bytes: the number of segments, then fifteen offsets (PS3.5 G.5)
_MOST_SEGMENTS: Final = 15
_LITERAL: Final = 128  # bytes at most behind one count (PS3.5 G.3.1)
_SURPLUS: Final = 256  # bytes
_BLOCK: Final = 1 << 20  # bytes moved at once, so that the planes go through the cache together

Octets: TypeAlias = NDArray[numpy.uint8]


def decode(
    data: Buffer, rows: int, columns: int, *, samples: int, size: int, scratch: Scratch = IN_MEMORY
) -> Array:
    """The cells of one frame, of shape (rows, columns, samples) and `size` bytes.

    Raises: TranscodingError, when segments are missing, misplaced or too short.
    """
    count = samples * size
    if len(data) < _HEADER:
        raise TranscodingError(f"RLE frame: {len(data)} bytes, a header alone has {_HEADER} (PS3.5 G.5)")
    segments, *offsets = unpack_from("<16I", data)
    if segments != count:
        raise TranscodingError(
            f"RLE frame: {segments} segments, {samples} samples of {8 * size} bits have {count} (PS3.5 G.2)"
        )
    bounds = [*offsets[:count], len(data)]
    view = memoryview(data)
    cells = scratch.empty((rows, columns, samples), numpy.dtype(f"<u{size}"))
    planes = cells.view(numpy.uint8).reshape(rows * columns, samples, size)
    for index in range(count):
        start, end = bounds[index], bounds[index + 1]
        if not _HEADER <= start <= end <= len(data):
            raise TranscodingError(f"RLE frame: segment {index + 1} from byte {start} to {end} (PS3.5 G.5)")
        # The most significant byte comes first
        _unpack(view[start:end], planes[:, index // size, size - 1 - index % size], index + 1, scratch)
    return cells


def _unpack(segment: memoryview, plane: Octets, number: int, scratch: Scratch) -> None:
    """Fill a byte plane, which lies scattered among the others, from its segment."""
    wanted = len(plane)
    # Padding behind the last run may decode to a little more
    unpacked = scratch.empty((wanted + _SURPLUS,), OCTET)
    try:
        found = len(imagecodecs.packbits_decode(given(segment), out=given(unpacked)))
    except RuntimeError:  # much more than is wanted
        unpacked = numpy.frombuffer(imagecodecs.packbits_decode(given(segment)), numpy.uint8)
        found = len(unpacked)
    if found < wanted:
        raise TranscodingError(f"RLE frame: segment {number} has {found} of {wanted} bytes (PS3.5 G.4)")
    for first in range(0, wanted, _BLOCK):
        plane[first : first + _BLOCK] = unpacked[first : min(first + _BLOCK, wanted)]


def encode(cells: Array, scratch: Scratch = IN_MEMORY) -> Buffer:
    """One frame of cells of shape (rows, columns, samples).

    Raises: TranscodingError, when it would have more than fifteen segments.
    """
    rows, columns, samples = cells.shape
    size = cells.dtype.itemsize
    count = samples * size
    if count > _MOST_SEGMENTS:
        raise TranscodingError(f"RLE has at most {_MOST_SEGMENTS} segments (PS3.5 G.5)")
    planes = cells.view(numpy.uint8).reshape(rows, columns, samples, size)
    longest = columns + -(-columns // _LITERAL)  # bytes of a row that has no runs
    frame = scratch.empty((_HEADER + count * (rows * longest + 1),), OCTET)
    offsets, position = [0] * _MOST_SEGMENTS, _HEADER
    for index in range(count):
        offsets[index] = position
        for _, strip in strips_of(planes[:, :, index // size, size - 1 - index % size]):
            packed = imagecodecs.packbits_encode(strip.copy(), out=given(frame[position:]))
            position += len(packed)
        if position & 1:
            frame[position] = 0
            position += 1
    frame[:_HEADER] = numpy.frombuffer(pack("<16I", count, *offsets), numpy.uint8)
    return frame[:position].data
