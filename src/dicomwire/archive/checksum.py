"""CRC-32 as fast as the platform has it."""

from collections.abc import Iterable

from dicomwire.dicom.encoding import Buffer

try:
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this platform
    from zlib import crc32

__all__ = ["checksum", "crc32"]


def checksum(pieces: Iterable[Buffer]) -> int:
    """Of pieces in a row."""
    found = 0
    for piece in pieces:
        found = crc32(piece, found)
    return found
