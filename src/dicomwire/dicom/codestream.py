"""What the header of a frame's codestream says (ISO 10918-1, 14495-1, 15444-1, 18181-1; PS3.5 8.2, A.4).

Read before any pixel is decoded: a frame of other dimensions than the image's is refused before anything is
allocated, and colour is told by the codestream where it knows better than the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import error as StructError
from struct import unpack_from
from typing import Final

from dicomwire.dicom.encoding import Buffer
from dicomwire.errors import TranscodingError

_J2K_START: Final = b"\xff\x4f\xff\x51"
_STANDALONE: Final = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_NOT_FRAMES: Final = frozenset((0xC4, 0xC8, 0xCC))  # DHT, JPG, DAC among the SOF markers
_JPEG_LS: Final = 0xF7
_SOT, _SOD, _EOC, _COD, _COC = 0xFF90, 0xFF93, 0xFFD9, 0xFF52, 0xFF53
_MOST_TILES: Final = 65_535
_BOX_SEARCH: Final = 4096  # bytes in which a JP2 file's codestream begins


@dataclass(frozen=True, slots=True)
class Codestream:
    """Header of one codestream.

    Attributes:
        start: byte at which it begins; boxes of a JP2 file come before it.
        rows, columns: 0 where it leaves them open.
        components: samples a pixel.
        precision: bits of a sample.
        signed: samples are two's complement (JPEG 2000 only).
        subsampled: components differ in size.
        process: number of the SOF marker, C0H to CFH or F7H; 0 for others than JPEG and JPEG-LS.
        lossless: it says of itself that nothing was lost; None when it cannot be told.
        ycc: colours were transformed, as the codestream says; None when it does not say.
    """

    start: int
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    subsampled: bool
    process: int
    lossless: bool | None
    ycc: bool | None


def read_jpeg(data: Buffer) -> Codestream:
    """The header of a JPEG or JPEG-LS codestream.

    Raises: TranscodingError, when it is none or ends before its first scan.
    """
    try:
        return _read_jpeg(memoryview(data))
    except (StructError, IndexError):
        raise TranscodingError(f"JPEG codestream: {len(data)} bytes end within its header") from None


def read_jpeg_2000(data: Buffer) -> Codestream:
    """The main header of a JPEG 2000 or HTJ2K codestream, also in a JP2 file.

    Raises: TranscodingError, when it is none or ends within.
    """
    start = bytes(data[:_BOX_SEARCH]).find(_J2K_START)
    if start < 0:
        raise TranscodingError("JPEG 2000 codestream: no SOC and SIZ markers at its begin (ISO 15444-1 A.4)")
    try:
        return _read_jpeg_2000(memoryview(data), start)
    except (StructError, IndexError):
        raise TranscodingError(f"JPEG 2000 codestream: {len(data)} bytes end within its header") from None


def fewest_levels(codestream: memoryview) -> int:
    """So many times each tile of a JPEG 2000 codestream can be halved; 0 where it cannot be told.

    codestream: without boxes.
    Source: ISO 15444-1 A.4.2, A.6.1, A.6.2.
    """
    found: list[int] = []
    wide = 2 if unpack_from(">H", codestream, 40)[0] > 256 else 1  # bytes of a component's number
    position, part = 2, 0  # where the present tile-part began; 0 in the main header
    try:
        while position < len(codestream):
            (marker,) = unpack_from(">H", codestream, position)
            if marker in (_SOD, _EOC):
                (length,) = unpack_from(">I", codestream, part + 6)
                if marker == _EOC or not length:  # the last one
                    break
                position = part + length
                continue
            if marker == _SOT:
                part = position
            elif marker == _COD:
                found.append(codestream[position + 9])
            elif marker == _COC:
                found.append(codestream[position + 5 + wide])
            position += 2 + unpack_from(">H", codestream, position + 2)[0]
    except (StructError, IndexError):
        return 0
    return min(found, default=0)


def read_jpeg_xl(data: Buffer) -> Codestream:
    """The size and depth of a JPEG XL codestream, also in its container.

    Raises: TranscodingError, when it is none, an animation, or of floating point samples.
    """
    start = _jpeg_xl_start(memoryview(data))
    bits = _Bits(bytes(data[start + 2 : start + 34]))
    rows, columns = bits.size()
    precision = 8
    if not bits.take(1):  # not all of the metadata are the default
        if bits.take(1):  # extra fields
            bits.take(3)  # orientation
            if bits.take(1):
                bits.size()  # intrinsic size
            if bits.take(1) or bits.take(1):
                raise TranscodingError("JPEG XL codestream: a preview or an animation (PS3.5 A.4.12)")
        if bits.take(1):
            raise TranscodingError("JPEG XL codestream: floating point samples")
        precision = (8, 10, 12)[selector] if (selector := bits.take(2)) < 3 else 1 + bits.take(6)
    return Codestream(
        start=start,
        rows=rows,
        columns=columns,
        components=0,  # stands behind what is needed here
        precision=precision,
        signed=False,
        subsampled=False,
        process=0,
        lossless=None,
        ycc=None,
    )


def _jpeg_xl_start(data: memoryview) -> int:
    """Where the codestream's signature lies."""
    if bytes(data[:2]) == b"\xff\x0a":
        return 0
    position = 0
    while position + 8 <= len(data):
        length, kind = unpack_from(">I4s", data, position)
        if kind in (b"jxlc", b"jxlp"):
            start = position + (12 if kind == b"jxlp" else 8)
            if bytes(data[start : start + 2]) == b"\xff\x0a":
                return start
        if length < 8:
            break
        position += length
    raise TranscodingError("JPEG XL codestream: no signature ff0a and no box with one (ISO 18181-2)")


class _Bits:
    """Reads bits, the lowest of each byte first (ISO 18181-1 B.2)."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._number & (1 << count) - 1
        self._number >>= count
        return value

    def size(self) -> tuple[int, int]:
        """SizeHeader: rows and columns (ISO 18181-1 D.2)."""
        small = self.take(1)
        rows = self._length(small)
        if ratio := self.take(3):
            times, by = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
            return rows, rows * times // by
        return rows, self._length(small)

    def _length(self, small: int) -> int:
        if small:
            return 8 * (1 + self.take(5))
        return 1 + self.take((9, 13, 18, 30)[self.take(2)])


def _read_jpeg(data: memoryview) -> Codestream:
    if bytes(data[:2]) != b"\xff\xd8":
        raise TranscodingError(
            f"JPEG codestream: begins with {bytes(data[:2]).hex()}, ffd8 wanted (ISO 10918-1 B.2.1)"
        )
    position = 2
    frame: tuple[int, int, int, int, list[tuple[int, int]]] | None = None
    adobe: int | None = None
    jfif = False
    transformed = False  # HP's colour transform of JPEG-LS
    while True:
        if data[position] != 0xFF:
            raise TranscodingError(
                f"JPEG codestream: {data[position]:02x} at byte {position}, a marker wanted"
            )
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        position += 2
        if marker in _STANDALONE:
            continue
        (length,) = unpack_from(">H", data, position)
        segment = data[position + 2 : position + length]
        if marker == 0xDA:
            break
        if marker == 0xE0 and bytes(segment[:4]) == b"JFIF":
            jfif = True
        elif marker == 0xEE and bytes(segment[:5]) == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        elif marker == 0xE8 and bytes(segment[:4]) == b"mrfx" and len(segment) >= 5:
            transformed = segment[4] != 0
        elif (0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES) or marker == _JPEG_LS:
            precision, rows, columns, count = unpack_from(">BHHB", segment)
            frame = (
                marker,
                precision,
                rows,
                columns,
                [(segment[6 + 3 * i], segment[7 + 3 * i]) for i in range(count)],
            )
        position += length
    if frame is None:
        raise TranscodingError("JPEG codestream: a scan without a frame header (ISO 10918-1 B.2.2)")
    marker, precision, rows, columns, components = frame
    subsampled = len({sampling for _, sampling in components}) > 1
    near = segment[1 + 2 * segment[0]] if marker == _JPEG_LS else 0
    return Codestream(
        start=0,
        rows=rows,
        columns=columns,
        components=len(components),
        precision=precision,
        signed=False,
        subsampled=subsampled,
        process=marker,
        lossless=near == 0 if marker == _JPEG_LS else marker in (0xC3, 0xC7, 0xCB, 0xCF),
        ycc=transformed or None if marker == _JPEG_LS else _ycc(components, adobe, jfif, subsampled),
    )


def _ycc(components: list[tuple[int, int]], adobe: int | None, jfif: bool, subsampled: bool) -> bool | None:
    """Whether three components are luminance and chrominance; None when the codestream does not say."""
    if len(components) != 3:
        return False
    if adobe is not None:
        return adobe == 1
    if subsampled or jfif:
        return True
    return False if [identifier for identifier, _ in components] == list(b"RGB") else None


def _read_jpeg_2000(data: memoryview, start: int) -> Codestream:
    width, height, left, top = unpack_from(">4I", data, start + 8)
    tile_width, tile_height, tile_left, tile_top = unpack_from(">4I", data, start + 24)
    (components,) = unpack_from(">H", data, start + 40)
    if not tile_width or not tile_height:  # OpenJPH divides by them
        raise TranscodingError("JPEG 2000 codestream: tiles without extent (ISO 15444-1 A.5.1)")
    if not tile_left <= left < tile_left + tile_width or not tile_top <= top < tile_top + tile_height:
        raise TranscodingError(  # OpenJPH does not end
            f"JPEG 2000 codestream: the image begins at {left},{top}, beside its first tile, which begins at"
            f" {tile_left},{tile_top} (ISO 15444-1 A.5.1)"
        )
    if -(-width // tile_width) * -(-height // tile_height) > _MOST_TILES:
        raise TranscodingError(f"JPEG 2000 codestream: more than {_MOST_TILES} tiles (ISO 15444-1 A.5.1)")
    sizes = [unpack_from(">3B", data, start + 42 + 3 * i) for i in range(min(components, 4))]
    if not sizes:
        raise TranscodingError("JPEG 2000 codestream: no component (ISO 15444-1 A.5.1)")
    position = start + 4 + unpack_from(">H", data, start + 4)[0]
    transformed, reversible = False, None
    while True:
        marker, length = unpack_from(">HH", data, position)
        if marker == _SOT:
            break
        if marker == _COD:  # number of layers behind Scod and the progression, then the transform
            transformed = data[position + 8] == 1
            reversible = data[position + 13] == 1
        position += 2 + length
    return Codestream(
        start=start,
        rows=height - top,
        columns=width - left,
        components=components,
        precision=(sizes[0][0] & 0x7F) + 1,
        signed=bool(sizes[0][0] & 0x80),
        subsampled=len({size[1:] for size in sizes}) > 1 or sizes[0][1:] != (1, 1),
        process=0,
        lossless=None if reversible else False,
        ycc=transformed,
    )
