"""PNG and GIF images as native pixel data: headers, and what the Image Pixel module says (PS3.18 10.5.2).

No transfer syntax has them: they are transformed without loss, indexed colours to RGB or, where all of them
are gray, to gray; an alpha channel is left out, frames of an animation are made whole. Values only;
`raster_decode` makes the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import error as StructError
from struct import unpack_from
from typing import Final

from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.rendering import GIF
from dicomwire.errors import InvalidAttribute, TranscodingError

PNG: Final = "image/png"
MEDIA_TYPES: Final = (PNG, GIF)
LARGEST: Final = 1 << 28  # pixels of one frame
LONGEST: Final = 1 << 30  # bytes of all frames, of which a file of a few bytes may have any number
MOST_FRAMES: Final = 10_000  # of one instance: each takes a worker's time, however small it is

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_SAMPLES: Final = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # by colour type; without alpha
_PNG_INDEXED: Final = 3
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B
_GRAY: Final = ("MONOCHROME2", "MONOCHROME1")


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself before any of it is decoded.

    Attributes:
        samples: a pixel, without alpha; 3 where colours are indexed.
        bits: 8 or 16 of a sample.
        indexed: colours come from a table and may all be gray.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    frames: int
    indexed: bool

    @property
    def length(self) -> int:
        """Bytes of all frames, at most."""
        return self.rows * self.columns * self.samples * self.bits // 8 * self.frames


@dataclass(frozen=True, slots=True)
class Raster:
    """Frames of one size. Native ones have the samples of one pixel next to each other, little endian.

    Attributes:
        samples: a pixel, 1 gray, 3 colours.
        bits: of a sample; native ones take 8 or 16.
        largest: of all samples, 0 where they were not looked at.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    frames: int
    largest: int


def read_header(data: Buffer, media_type: str) -> Header:
    """Raises: TranscodingError, for what is no such image, is cut, or has too many pixels."""
    try:
        found = (_read_gif if media_type == GIF else _read_png)(memoryview(data))
    except (StructError, IndexError):
        raise TranscodingError(f"{media_type}: {len(data)} bytes end within the image") from None
    if not found.rows or not found.columns or found.rows * found.columns > LARGEST:
        raise TranscodingError(
            f"{media_type}: {found.columns} by {found.rows} pixels; 1 to {LARGEST} in all wanted"
        )
    return found


def _read_png(data: memoryview) -> Header:
    """ISO 15948 5.3, 11.2.2; an animated one, whose frames would be lost, is refused."""
    if bytes(data[:8]) != _PNG_SIGNATURE or bytes(data[12:16]) != b"IHDR":
        raise TranscodingError(f"{PNG}: begins with {bytes(data[:8]).hex()}, a signature and IHDR wanted")
    columns, rows, depth, colours = unpack_from(">IIBB", data, 16)
    if (samples := _PNG_SAMPLES.get(colours)) is None:
        raise TranscodingError(f"{PNG}: colour type {colours}; 0, 2, 3, 4 or 6 wanted")
    position = 8
    while (kind := bytes(data[position + 4 : position + 8])) != b"IDAT":
        if kind == b"acTL":
            raise TranscodingError(f"{PNG}: an animation, which PNG has not; {GIF} or a part a frame wanted")
        position += 12 + unpack_from(">I", data, position)[0]
    return Header(rows, columns, samples, 16 if depth == 16 else 8, 1, colours == _PNG_INDEXED)


def _read_gif(data: memoryview) -> Header:
    """GIF89a 17 to 27; every block is walked over, so that a cut file is not taken for a shorter one."""
    if bytes(data[:6]) not in (b"GIF87a", b"GIF89a"):
        raise TranscodingError(f"{GIF}: begins with {bytes(data[:6]).hex()}, GIF87a or GIF89a wanted")
    columns, rows, flags = unpack_from("<HHB", data, 6)
    position = 13 + _colours(flags)
    frames = 0
    while (block := data[position]) != _GIF_TRAILER:
        if block == _GIF_IMAGE:
            frames += 1
            position += 11 + _colours(data[position + 9])
        elif block == _GIF_EXTENSION:
            position += 2
        else:
            raise TranscodingError(f"{GIF}: {block:02x} at byte {position}, a block wanted")
        while length := data[position]:
            position += 1 + length
        position += 1
    if not frames:
        raise TranscodingError(f"{GIF}: no image in it")
    return Header(rows, columns, 3, 8, frames, indexed=True)


def _colours(flags: int) -> int:
    """Bytes of a colour table, which these flags tell of."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def complete(data_set: DataSet, raster: Raster) -> None:
    """Say in the Image Pixel module what the pixels are.

    Raises: InvalidAttribute, where the data set says something else already.
    """
    gray = raster.samples == 1
    stored = data_set.text("BitsStored") or str(raster.bits)
    told: dict[str, tuple[str | int, ...]] = {
        "SamplesPerPixel": (raster.samples,),
        "PhotometricInterpretation": _GRAY if gray else ("RGB",),
        "Rows": (raster.rows,),
        "Columns": (raster.columns,),
        "BitsAllocated": (raster.bits,),
        "BitsStored": tuple(range(max(raster.largest.bit_length(), 1), raster.bits + 1))[::-1],
        "HighBit": (int(stored) - 1,) if stored.isdecimal() else (raster.bits - 1,),
        "PixelRepresentation": (0,),
        "PlanarConfiguration": () if gray else (0,),
        "NumberOfFrames": (raster.frames,),
    }
    for keyword, values in told.items():
        said = data_set.text(keyword)
        if said and values and said not in map(str, values):
            wanted = f"{values[-1]} to {values[0]}" if len(values) > 2 else " or ".join(map(str, values))
            raise InvalidAttribute(f"{keyword} is {said!r}; the image that came has {wanted}")
        if not said and values and (keyword != "NumberOfFrames" or raster.frames > 1):
            data_set.put(keyword, values[0])
