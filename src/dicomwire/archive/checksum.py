"""CRC-32 as fast as the platform has it."""

from collections.abc import Iterable
from typing import Final

from dicomwire.dicom.encoding import Buffer

try:
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this platform
    from zlib import crc32

__all__ = ["checksum", "crc32"]


_HELD: Final = 5 << 10  # bytes; of more than that a checksum lets go of the interpreter
_WORTH_IT: Final = 64 << 10  # bytes; to get it back takes longer than the checksum of fewer


def checksum(pieces: Iterable[Buffer]) -> int:
    """Of pieces in a row."""
    found = 0
    for piece in pieces:
        length = len(piece)
        if length <= _HELD or length > _WORTH_IT:
            found = crc32(piece, found)
            continue
        with memoryview(piece) as view:
            for start in range(0, length, _HELD):
                found = crc32(view[start : start + _HELD], found)
    return found
