"""Colour spaces by name as ICC profiles, and where picture files carry one (PS3.18 8.3.5.1.5; ICC.1:2022).

Matrix and tone curve profiles are made from the numbers of their standards; none is read from a file.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import Final

import numpy
from numpy.typing import NDArray

Matrix = NDArray[numpy.float64]
Chromaticity = tuple[float, float]

_D50: Final = numpy.array([0.9642, 1.0, 0.8249])  # white of the profile connection space (ICC.1 7.2.16)
_D65: Final = (0.3127, 0.3290)
_BRADFORD: Final = numpy.array(  # to cone responses (ICC.1 E.3)
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_APP2_SEGMENT: Final = 65_519  # bytes of a profile in one JPEG marker segment (ICC.1 B.4)


@dataclass(frozen=True, slots=True)
class Space:
    """An RGB colour space.

    Attributes:
        red, green, blue, white: chromaticities, x and y.
        curve: exponent, then a, b, c and d of the parametric curve of type 3 (ICC.1 Table 68).
    """

    name: str
    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity
    curve: tuple[float, float, float, float, float]


_SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

SPACES: Final = {
    # IEC 61966-2-1
    "srgb": Space("sRGB", (0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65, _SRGB_CURVE),
    # Adobe RGB (1998) Color Image Encoding, 2005-05
    "adobergb": Space(
        "Adobe RGB (1998)", (0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65, (563 / 256, 1, 0, 0, 0)
    ),
    # ISO 22028-2
    "rommrgb": Space(
        *("ROMM RGB", (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585)),
        (1.8, 1, 0, 1 / 16, 1 / 32),
    ),
    # SMPTE EG 432-1 with the white point and the curve of sRGB
    "displayp3": Space("Display P3", (0.68, 0.32), (0.265, 0.69), (0.15, 0.06), _D65, _SRGB_CURVE),
}
"""The colour spaces that can be asked for, by the words of PS3.18 8.3.5.1.5."""


@lru_cache(maxsize=2 * len(SPACES))
def profile(name: str, *, gray: bool = False) -> bytes:
    """The ICC profile, version 4, of a colour space in `SPACES`; gray: of its gray levels alone."""
    space = SPACES[name]
    adaptation = _adaptation(_xyz(space.white))
    columns = adaptation @ _to_xyz(space)
    curve = b"para\0\0\0\0" + pack(">HH", 3, 0) + b"".join(map(_fixed, space.curve))
    tags = {
        b"desc": _text(f"{space.name} gray" if gray else space.name),
        b"cprt": _text("Made of published numbers; no rights reserved"),
        b"wtpt": _xyz_tag(_D50),
        b"chad": b"sf32\0\0\0\0" + b"".join(_fixed(number) for number in adaptation.ravel()),
    }
    if gray:
        return _assembled(b"GRAY", tags | {b"kTRC": curve})
    return _assembled(
        b"RGB ",
        tags
        | {
            b"rXYZ": _xyz_tag(columns[:, 0]),
            b"gXYZ": _xyz_tag(columns[:, 1]),
            b"bXYZ": _xyz_tag(columns[:, 2]),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
        },
    )


def in_jpeg(file: bytes, icc_profile: bytes) -> bytes:
    """A JPEG file with a profile in APP2 segments, behind its APP0 (ICC.1 B.4)."""
    pieces = [icc_profile[at : at + _APP2_SEGMENT] for at in range(0, len(icc_profile), _APP2_SEGMENT)]
    segments = b"".join(
        pack(">HH", 0xFFE2, len(piece) + 16) + b"ICC_PROFILE\0" + bytes([number, len(pieces)]) + piece
        for number, piece in enumerate(pieces, 1)
    )
    at = 4 + int.from_bytes(file[4:6], "big") if file[2:4] == b"\xff\xe0" else 2
    return file[:at] + segments + file[at:]


def in_png(file: bytes, icc_profile: bytes) -> bytes:
    """A PNG file with a profile in an iCCP chunk behind its header (PNG 11.3.2.3, ICC.1 B.6)."""
    data = b"iCCPICC profile\0\0" + zlib.compress(icc_profile)
    chunk = pack(">I", len(data) - 4) + data + pack(">I", zlib.crc32(data))
    end_of_header = 8 + 25
    return file[:end_of_header] + chunk + file[end_of_header:]


def in_jp2(file: bytes, icc_profile: bytes) -> bytes:
    """A JP2 or JPH file with a profile in place of its colour specification (ISO 15444-1 I.5.3.3)."""
    header = file.index(b"jp2h") - 4
    length = int.from_bytes(file[header : header + 4], "big")
    at, end = header + 8, header + length
    boxes = b""
    while at < end:
        size = int.from_bytes(file[at : at + 4], "big")
        box = file[at : at + size]
        if box[4:8] == b"colr":
            content = b"\x02\0\0" + icc_profile
            box = pack(">I4s", 8 + len(content), b"colr") + content
        boxes, at = boxes + box, at + size
    return file[:header] + pack(">I4s", 8 + len(boxes), b"jp2h") + boxes + file[end:]


def _assembled(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Header, tag table and tags; equal tags are written once (ICC.1 7)."""
    start = 128 + 4 + 12 * len(tags)
    body, table, places = b"", pack(">I", len(tags)), dict[bytes, int]()
    for signature, data in tags.items():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += signature + pack(">II", places[data], len(data))
    head = pack(">I4sI4s4s4s", start + len(body), b"\0\0\0\0", 0x04400000, b"mntr", space, b"XYZ ")
    date = pack(">6H", 2022, 5, 1, 0, 0, 0)  # of the specification: the same profile has the same bytes
    head += date + b"acsp" + bytes(28) + b"".join(map(_fixed, _D50))
    return head.ljust(128, b"\0") + table + body


def _to_xyz(space: Space) -> Matrix:
    """Linear RGB to XYZ under the white point of the space."""
    primaries = numpy.stack([_xyz(each) for each in (space.red, space.green, space.blue)], axis=1)
    return primaries * numpy.linalg.solve(primaries, _xyz(space.white))


def _adaptation(white: Matrix) -> Matrix:
    """XYZ under a white point to XYZ under D50, by Bradford's method (ICC.1 E.3)."""
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return numpy.asarray(numpy.linalg.inv(_BRADFORD) @ numpy.diag(gains) @ _BRADFORD)


def _xyz(chromaticity: Chromaticity) -> Matrix:
    x, y = chromaticity
    return numpy.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(number: float) -> bytes:
    """s15Fixed16Number (ICC.1 4.6)."""
    return pack(">i", round(number * 65_536))


def _xyz_tag(xyz: Matrix) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(float(number)) for number in xyz)


def _text(text: str) -> bytes:
    """multiLocalizedUnicodeType with one text (ICC.1 10.15)."""
    encoded = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded
