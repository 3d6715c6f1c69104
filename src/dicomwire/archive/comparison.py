"""Whether two data sets are the same, whatever their transfer syntax."""

from __future__ import annotations

from collections.abc import Iterable

from dicomwire.archive.checksum import crc32
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.encoding import Buffer
from dicomwire.errors import DicomwireError
from dicomwire.uids import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES

_BLOCK = 1 << 20  # bytes compared at a time


def equal(one: memoryview, one_syntax: str, other: memoryview, other_syntax: str) -> bool:
    """Compare byte for byte, or value for value where two uncompressed transfer syntaxes differ."""
    if one_syntax == other_syntax:
        return len(one) == len(other) and all(
            bytes(one[at : at + _BLOCK]) == other[at : at + _BLOCK] for at in range(0, len(one), _BLOCK)
        )
    if TRANSFER_SYNTAXES[one_syntax].encapsulated or TRANSFER_SYNTAXES[other_syntax].encapsulated:
        return False
    common = next(
        syntax
        for syntax in (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, "1.2.840.10008.1.2.1")
        if syntax not in (one_syntax, other_syntax)
    )
    try:
        return _digest(to_transfer_syntax(one, one_syntax, common)) == _digest(
            to_transfer_syntax(other, other_syntax, common)
        )
    except DicomwireError:
        return False


def _digest(chunks: Iterable[Buffer]) -> tuple[int, int]:
    length = checksum = 0
    for chunk in chunks:
        length += len(chunk)
        checksum = crc32(chunk, checksum)
    return length, checksum
