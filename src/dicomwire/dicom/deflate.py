"""Deflated data sets: raw RFC 1951 streams (PS3.5 A.5), inflated in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from dicomwire.dicom.encoding import Buffer
from dicomwire.errors import DataSetError

INFLATE_LIMIT: Final = 64 << 20  # bytes of an inflated data set that are held in memory
_INPUT: Final = 1 << 16  # bytes fed at once
_OUTPUT: Final = 1 << 20  # bytes taken at once


def inflated(data: Buffer) -> Iterator[bytes]:
    """The inflated data set in pieces of at most 1 MiB; bytes behind the stream (padding) are ignored.

    Raises: DataSetError, when the stream is damaged or cut; offset counts in the deflated bytes.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    for position in range(0, len(data), _INPUT):
        chunk: Buffer = data[position : position + _INPUT]
        while chunk:
            try:
                piece = stream.decompress(chunk, _OUTPUT)
            except zlib.error as error:
                raise DataSetError(
                    f"deflated data set: damaged ({error})", position, section="PS3.5 A.5"
                ) from None
            if piece:
                yield piece
            if stream.eof:
                return
            chunk = stream.unconsumed_tail
    while piece := stream.decompress(b"", _OUTPUT):  # what the last call's limit held back
        yield piece
    if len(data) and not stream.eof:
        raise DataSetError(
            f"deflated data set: cut, its {len(data)} bytes hold no end of stream",
            len(data),
            section="PS3.5 A.5",
        )


def inflate(data: Buffer, limit: int = INFLATE_LIMIT) -> bytearray:
    """The inflated data set.

    limit: most bytes that may come out; a zip bomb ends there.
    Raises: DataSetError, when the stream is damaged, cut, or inflates to more.
    """
    whole = bytearray()
    for piece in inflated(data):
        if len(whole) + len(piece) > limit:
            raise DataSetError(
                f"deflated data set: {len(data)} bytes inflate to more than the limit of {limit}",
                0,
                section="PS3.5 A.5",
            )
        whole += piece
    return whole


def ranges_of(data: Buffer, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, memoryview]]:
    """What some ranges of the inflated data set hold, in pieces, with the index of the range of each.

    ranges: offset and length, in ascending order and apart from each other.
    Raises: as `inflated`; DataSetError too, when the data set ends before the last range does.
    """
    position = index = 0
    for piece in inflated(data):
        end = position + len(piece)
        while index < len(ranges) and ranges[index][0] < end:
            start, length = ranges[index]
            yield index, memoryview(piece)[max(start - position, 0) : start + length - position]
            if start + length > end:
                break
            index += 1
        if index == len(ranges):
            return
        position = end
    raise DataSetError(f"deflated data set: inflates to {position} bytes", section="PS3.5 A.5")


def deflated(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The raw deflate stream of a data set given in pieces, padded to an even length (PS3.5 A.5)."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    length = 0
    for piece in pieces:
        if out := stream.compress(piece):
            length += len(out)
            yield out
    out = stream.flush()
    yield out + b"\0" if (length + len(out)) & 1 else out
