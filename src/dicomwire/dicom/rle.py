"""RLE Lossless: byte planes, each row of each packed by itself (PS3.5 G)."""

from __future__ import annotations

from struct import pack, unpack_from
from typing import Final

import imagecodecs
import numpy

from dicomwire.dicom.arrays import Array
from dicomwire.dicom.encoding import Buffer
from dicomwire.errors import TranscodingError

_HEADER: Final = 64  # bytes: the number of segments, then fifteen offsets (PS3.5 G.5)
_MOST_SEGMENTS: Final = 15


def decode(data: Buffer, rows: int, columns: int, *, samples: int, size: int) -> Array:
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
    wanted = rows * columns
    planes = numpy.empty((samples, size, wanted), numpy.uint8)
    for index in range(count):
        start, end = bounds[index], bounds[index + 1]
        if not _HEADER <= start <= end <= len(data):
            raise TranscodingError(f"RLE frame: segment {index + 1} from byte {start} to {end} (PS3.5 G.5)")
        plane = imagecodecs.packbits_decode(bytes(data[start:end]))
        if len(plane) < wanted:
            raise TranscodingError(
                f"RLE frame: segment {index + 1} has {len(plane)} of {wanted} bytes (PS3.5 G.4)"
            )
        # The most significant byte comes first
        planes[index // size, size - 1 - index % size] = numpy.frombuffer(plane, numpy.uint8, wanted)
    cells = numpy.ascontiguousarray(planes.transpose(2, 0, 1)).view(f"<u{size}")
    return cells.reshape(rows, columns, samples)


def encode(cells: Array) -> bytes:
    """One frame of cells of shape (rows, columns, samples).

    Raises: TranscodingError, when it would have more than fifteen segments.
    """
    rows, columns, samples = cells.shape
    size = cells.dtype.itemsize
    if samples * size > _MOST_SEGMENTS:
        raise TranscodingError(f"RLE has at most {_MOST_SEGMENTS} segments (PS3.5 G.5)")
    planes = cells.view(numpy.uint8).reshape(rows, columns, samples, size)
    segments = []
    for sample in range(samples):
        for byte in reversed(range(size)):
            plane = planes[:, :, sample, byte].copy()
            packed = bytes(imagecodecs.packbits_encode(plane))
            segments.append(packed + b"\0" if len(packed) & 1 else packed)
    offsets, position = [0] * _MOST_SEGMENTS, _HEADER
    for index, segment in enumerate(segments):
        offsets[index] = position
        position += len(segment)
    return pack("<16I", len(segments), *offsets) + b"".join(segments)
