"""Which transfer syntaxes can become which, and what compresses their pixels (PS3.5 10, A.4).

A table without any codec in it: choosing a transfer syntax loads nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum, auto
from typing import Final

from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

_JPEG: Final = "1.2.840.10008.1.2.4."

JPEG_BASELINE: Final = _JPEG + "50"
JPEG_EXTENDED: Final = _JPEG + "51"
JPEG_LOSSLESS: Final = _JPEG + "57"
JPEG_LOSSLESS_SV1: Final = _JPEG + "70"
JPEG_LS_LOSSLESS: Final = _JPEG + "80"
JPEG_LS_NEAR_LOSSLESS: Final = _JPEG + "81"
JPEG_2000_LOSSLESS: Final = _JPEG + "90"
JPEG_2000: Final = _JPEG + "91"
JPEG_2000_PART_2_LOSSLESS: Final = _JPEG + "92"
JPEG_2000_PART_2: Final = _JPEG + "93"
JPEG_XL_LOSSLESS: Final = _JPEG + "110"
JPEG_XL_RECOMPRESSION: Final = _JPEG + "111"
JPEG_XL: Final = _JPEG + "112"
HTJ2K_LOSSLESS: Final = _JPEG + "201"
HTJ2K_LOSSLESS_RPCL: Final = _JPEG + "202"
HTJ2K: Final = _JPEG + "203"
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_IMAGE_FRAME: Final = "1.2.840.10008.1.2.8.1"

NATIVE: Final = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)
"""Transfer syntaxes with native pixel data, the one that most receivers read first."""


VIDEO: Final = frozenset(f"{_JPEG}{number}{suffix}" for number in range(100, 109) for suffix in ("", ".1"))
"""MPEG-2, H.264 and H.265, fragmentable ones too."""


class Codec(Enum):
    """What a frame's bytes are."""

    NATIVE = auto()  # as in Explicit VR Little Endian
    DEFLATE = auto()
    RLE = auto()
    JPEG = auto()  # DCT processes
    JPEG_LOSSLESS = auto()
    JPEG_LS = auto()
    JPEG_2000 = auto()
    HTJ2K = auto()
    JPEG_XL = auto()


CODECS: Final[Mapping[str, Codec]] = {
    **dict.fromkeys(NATIVE, Codec.NATIVE),
    ENCAPSULATED_UNCOMPRESSED: Codec.NATIVE,
    DEFLATED_IMAGE_FRAME: Codec.DEFLATE,
    RLE_LOSSLESS: Codec.RLE,
    **dict.fromkeys((_JPEG + number for number in ("50", "51", "52", "53", "54", "55", "56")), Codec.JPEG),
    **dict.fromkeys((JPEG_LOSSLESS, _JPEG + "58", JPEG_LOSSLESS_SV1), Codec.JPEG_LOSSLESS),
    **dict.fromkeys((JPEG_LS_LOSSLESS, JPEG_LS_NEAR_LOSSLESS), Codec.JPEG_LS),
    **dict.fromkeys((_JPEG + number for number in ("90", "91", "92", "93")), Codec.JPEG_2000),
    **dict.fromkeys((HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K), Codec.HTJ2K),
    **dict.fromkeys((JPEG_XL_LOSSLESS, JPEG_XL_RECOMPRESSION, JPEG_XL), Codec.JPEG_XL),
}
"""What can be decoded; hierarchical JPEG, which nobody writes, and video are not among it."""

_RECODABLE: Final[Mapping[str, Collection[int]]] = {
    **dict.fromkeys(NATIVE, range(1, 65)),
    ENCAPSULATED_UNCOMPRESSED: range(1, 65),
    HTJ2K_LOSSLESS: (8, 16, 32),
    HTJ2K_LOSSLESS_RPCL: (8, 16, 32),
    JPEG_LS_LOSSLESS: (8, 16),
    JPEG_2000_LOSSLESS: (8, 16),
    RLE_LOSSLESS: (8, 16, 32),
    JPEG_LOSSLESS_SV1: (8, 16),
    JPEG_LOSSLESS: (8, 16),
    JPEG_XL_LOSSLESS: (8, 16),
    DEFLATED_IMAGE_FRAME: range(1, 65),
    HTJ2K: (8, 16, 32),
    JPEG_2000: (8, 16),
    JPEG_LS_NEAR_LOSSLESS: (8, 16),
    JPEG_XL: (8, 16),
}
# What any decoded image can become without loss, the most wanted first, and with which Bits Allocated: what
# need not be encoded, then the fast and dense codecs, then those that every receiver has.

LOSSY: Final[Mapping[str, Collection[int]]] = {
    JPEG_BASELINE: (8,),
    JPEG_EXTENDED: (8, 16),
    JPEG_LS_NEAR_LOSSLESS: (8, 16),
    JPEG_2000: (8, 16),
    JPEG_XL: (8, 16),
}
"""What an image is compressed to with loss, when that is asked for, and with which Bits Allocated."""

ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    JPEG_BASELINE: (JPEG_EXTENDED,),
    JPEG_LOSSLESS_SV1: (JPEG_LOSSLESS,),
    JPEG_LS_LOSSLESS: (JPEG_LS_NEAR_LOSSLESS,),
    JPEG_2000_LOSSLESS: (JPEG_2000, JPEG_2000_PART_2_LOSSLESS, JPEG_2000_PART_2),
    JPEG_2000: (JPEG_2000_PART_2,),
    JPEG_2000_PART_2_LOSSLESS: (JPEG_2000_PART_2,),
    JPEG_XL_LOSSLESS: (JPEG_XL,),
    JPEG_XL_RECOMPRESSION: (JPEG_XL,),
    HTJ2K_LOSSLESS_RPCL: (HTJ2K_LOSSLESS, HTJ2K),
    HTJ2K_LOSSLESS: (HTJ2K,),
}
"""Other transfer syntaxes whose frames the codestreams of one are as they stand (PS3.5 10)."""

RECOMPRESSED: Final[Mapping[str, tuple[str, ...]]] = {
    JPEG_BASELINE: (JPEG_XL_RECOMPRESSION,),
    JPEG_XL_RECOMPRESSION: (JPEG_BASELINE,),
}
"""Syntaxes between which the coefficients of a JPEG go without loss (PS3.5 A.4.12)."""


def lossless_targets(source: str, *, bits_allocated: int | None, has_pixel_data: bool = True) -> list[str]:
    """What an instance can become without loss, the most wanted first, its own transfer syntax included.

    source: UID of the transfer syntax that it is in.
    bits_allocated: of its pixels, None where it is not known: then only native ones are sure.
    has_pixel_data: without, any encapsulated syntax is as good as Explicit VR Little Endian (PS3.5 A.4).
    """
    if source not in CODECS:
        return [source]
    near = [source, *ALSO.get(source, ()), *RECOMPRESSED.get(source, ())]
    if not has_pixel_data:
        return list(dict.fromkeys([*near, *_RECODABLE]))
    others = [
        uid for uid, allocated in _RECODABLE.items() if uid in NATIVE or (bits_allocated or 0) in allocated
    ]
    return list(dict.fromkeys([*near, *others]))
