"""JPEG 2000 and HTJ2K codestreams written tile by tile, JP2 and JPH files (ISO 15444-1 A, I; 15444-15).

An encoder holds up to thirty bytes for each sample of what it encodes at once. Tiles are encoded as images
of their own and put behind one main header: where a tile begins at a multiple of its size, it has the same
code-blocks as an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from struct import pack, pack_into, unpack_from
from typing import Final

import imagecodecs
import numpy
from numpy.typing import NDArray

from dicomwire.dicom.arrays import Array
from dicomwire.dicom.encoding import Buffer

_TILE: Final = 512  # pixels of a side; a power of two, so that partitions of a tile are as in an image
_SOT, _COD, _QCD, _TLM = 0xFF90, 0xFF52, 0xFF5C, 0xFF55
_SOT_LENGTH: Final = 12  # bytes, marker included
_EOC: Final = b"\xff\xd9"
_TLM_HEAD: Final = 6  # bytes: marker, length, index, sizes (ISO 15444-1 A.7.1)
_TLM_ENTRY: Final = 6  # bytes of the one tile-part of a tile: its number, its length

_SRGB, _GRAY = 16, 17  # enumerated colour spaces (ISO 15444-1 Table I.10)
_SIGNATURE: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
_JP2, _JPH = b"jp2 ", b"jph "  # brands (ISO 15444-1 I.5.2, 15444-15 D)


def encode(
    values: Array, *, colour_transform: bool, precision: int | None = None, noise: int | None = None
) -> bytearray:
    """A JPEG 2000 codestream of values of shape (rows, columns) or (rows, columns, components).

    precision: bits that count, None for all.
    noise: dB of signal to noise to compress with loss, None to lose nothing.
    """
    codestream = bytearray()
    _append(codestream, values, _encoder(colour_transform, precision, noise))
    return codestream


def encode_htj2k(values: Array, *, colour_transform: bool, tlm: bool) -> bytearray:
    """An HTJ2K codestream without loss; otherwise as `encode`.

    tlm: with the lengths of its tile-parts.
    """
    codestream = bytearray()
    _append(codestream, values, _htj2k_encoder(colour_transform, None, tlm=tlm))
    return codestream


def encode_jp2(levels: NDArray[numpy.uint8], *, noise: int | None = None) -> bytearray:
    """A JP2 file of gray levels or RGB (ISO 15444-1 I); otherwise as `encode`."""
    return _file(_JP2, levels, _encoder(levels.ndim == 3, None, noise))


def encode_jph(levels: NDArray[numpy.uint8], *, step: float | None = None) -> bytearray:
    """A JPH file of gray levels or RGB (ISO 15444-15 D).

    step: of quantization, as a share of the range, to compress with loss; None to lose nothing.
    """
    return _file(_JPH, levels, _htj2k_encoder(levels.ndim == 3, step))


def _file(
    brand: bytes, levels: NDArray[numpy.uint8], encode_tile: Callable[[Array], bytes | bytearray]
) -> bytearray:
    colours = levels.ndim == 3
    header = pack(">I4s2IH4B", 22, b"ihdr", *levels.shape[:2], 3 if colours else 1, 7, 7, 0, 0)
    header += pack(">I4s3BI", 15, b"colr", 1, 0, 0, _SRGB if colours else _GRAY)
    file = bytearray(_SIGNATURE + pack(">I4s4sI4s", 20, b"ftyp", brand, 0, brand))
    file += pack(">I4s", 8 + len(header), b"jp2h") + header + b"\0\0\0\0jp2c"
    start = len(file) - 8
    _append(file, levels, encode_tile)
    pack_into(">I", file, start, len(file) - start)
    return file


def _encoder(
    colour_transform: bool, precision: int | None, noise: int | None
) -> Callable[[Array], bytes | bytearray]:
    return partial(
        imagecodecs.jpeg2k_encode,
        level=noise or 0,
        codecformat="J2K",
        reversible=noise is None,
        mct=colour_transform,
        bitspersample=precision,
        numthreads=1,
    )


def _htj2k_encoder(
    colour_transform: bool, step: float | None, *, tlm: bool = False
) -> Callable[[Array], bytes | bytearray]:
    return partial(
        imagecodecs.htj2k_encode,
        level=step,
        reversible=step is None,
        rgb=colour_transform,
        planar=False,
        tlm=tlm or None,
    )


def _append(file: bytearray, values: Array, encode_tile: Callable[[Array], bytes | bytearray]) -> None:
    rows, columns = values.shape[:2]
    first: Mapping[int, Buffer] = {}
    lengths = 0  # where those of the tiles go, if anywhere
    for number, tile in enumerate(_tiles(values)):
        stream = memoryview(encode_tile(numpy.ascontiguousarray(tile)))
        segments, body = _main_header(stream)
        if not number:
            first = segments
            file += _resized(stream[:body], rows, columns)
            lengths = _room_for_lengths(file, rows, columns) if _TLM in segments else 0
        # A tile at the border may be too small for as many resolutions (ISO 15444-1 A.6.1)
        own = b"".join(segments[marker] for marker in (_COD, _QCD) if segments[marker] != first[marker])
        part = _tile_parts(stream[body : len(stream) - len(_EOC)], number, own)
        if lengths:
            pack_into(">HI", file, lengths + _TLM_ENTRY * number, number, len(part))
        file += part
    file += _EOC


def _tiles(values: Array) -> Iterator[Array]:
    rows, columns = values.shape[:2]
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            yield values[top : top + _TILE, left : left + _TILE]


def _main_header(stream: memoryview) -> tuple[Mapping[int, Buffer], int]:
    """The marker segments of the main header, and where the first tile-part begins."""
    segments: dict[int, Buffer] = {}
    position = 2
    while True:
        marker, length = unpack_from(">2H", stream, position)
        if marker == _SOT:
            return segments, position
        segments[marker] = stream[position : position + 2 + length]
        position += 2 + length


def _resized(header: Buffer, rows: int, columns: int) -> bytearray:
    """The first tile's main header as that of the whole image (ISO 15444-1 A.5.1)."""
    resized = bytearray(header)
    size = 2 + 6  # SOC; marker, length and capabilities of SIZ, which comes first
    pack_into(">2I", resized, size, columns, rows)
    pack_into(">2I", resized, size + 16, min(_TILE, columns), min(_TILE, rows))
    return resized


def _room_for_lengths(file: bytearray, rows: int, columns: int) -> int:
    """Put a TLM segment for all tiles in the place of the first tile's, the last of the main header.

    Returns: where its entries begin.
    """
    count = -(-rows // _TILE) * -(-columns // _TILE)
    start = len(file) - _TLM_HEAD - _TLM_ENTRY
    file += bytes(_TLM_ENTRY * (count - 1))
    pack_into(">H", file, start + 2, _TLM_HEAD - 2 + _TLM_ENTRY * count)
    return start + _TLM_HEAD


def _tile_parts(parts: memoryview, number: int, own: bytes) -> bytearray:
    """A tile's parts under its number, marker segments of its own in the first (ISO 15444-1 A.4.2)."""
    whole = bytearray()
    position = 0
    while position < len(parts):
        length = unpack_from(">I", parts, position + 6)[0] or len(parts) - position
        part = parts[position : position + length]
        start = len(whole)
        whole += part[:_SOT_LENGTH]
        whole += own
        whole += part[_SOT_LENGTH:]
        pack_into(">HI", whole, start + 4, number, len(whole) - start)
        own, position = b"", position + length
    return whole
