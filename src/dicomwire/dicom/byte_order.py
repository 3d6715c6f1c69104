"""Byte swapping of values (PS3.5 7.3)."""

from __future__ import annotations

from array import array
from typing import Final

from dicomwire.dicom.encoding import Buffer

UNIT_SIZES: Final = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
"""Bytes of the numbers in a value, for VRs that depend on byte order; AT is a pair of 16-bit numbers."""

_TYPES: Final = {2: "H", 4: "I", 8: "Q"}


def swapped(value: Buffer, size: int) -> bytes:
    """The value with the bytes of each of its numbers reversed; bytes that do not fill a number stay."""
    whole = len(value) // size * size
    numbers = array(_TYPES[size], bytes(value[:whole]))
    numbers.byteswap()
    return numbers.tobytes() + bytes(value[whole:])
