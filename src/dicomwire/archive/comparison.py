"""Whether two data sets are the same, whatever their transfer syntax (PS3.5 7).

The same are the values. Group lengths (PS3.5 7.2), Data Set Trailing Padding (PS3.10 7.2) and whether the
length of a sequence is written or delimited are encoding, not content. So are OB and OW of the same bytes in
little endian order: Implicit VR has but one of them (PS3.5 A.1, A.2). Compressed pixel data is compared as it
is, never decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Final

from dicomwire.archive.checksum import crc32
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.elements import Element, Kind, elements
from dicomwire.dicom.encoding import LONG_VRS, Buffer, Encoding, encoding_of
from dicomwire.errors import DicomwireError
from dicomwire.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)

_BLOCK: Final = 1 << 20  # bytes compared at a time
_TRAILING_PADDING: Final = 0xFFFCFFFC
_OCTETS: Final = frozenset({"OB", "OW"})
_LITTLE_ENDIAN: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN})
_UNCOMPRESSED: Final = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)


def equal(
    one: memoryview,
    one_syntax: str,
    other: memoryview,
    other_syntax: str,
    *,
    was_read: Callable[[int], None] = lambda _: None,
) -> bool:
    """Compare byte for byte, then value for value; no value is held in memory, but for deflated data sets.

    was_read: is told how many bytes more were read of both, so that mapped pages can be given back.
    """
    if one_syntax == other_syntax and _equal_bytes(one, other, was_read):
        return True
    try:
        one, one_syntax = _plain(one, one_syntax)
        other, other_syntax = _plain(other, other_syntax)
        if one_syntax == other_syntax or {one_syntax, other_syntax} == _LITTLE_ENDIAN:
            encodings = encoding_of(one_syntax), encoding_of(other_syntax)
            alike = _equal_elements(one, other, encodings, was_read)
            if alike or one_syntax == other_syntax:
                return alike
        if TRANSFER_SYNTAXES[one_syntax].encapsulated or TRANSFER_SYNTAXES[other_syntax].encapsulated:
            return False
        common = next(syntax for syntax in _UNCOMPRESSED if syntax not in (one_syntax, other_syntax))
        found = _converted(one, one_syntax, common, was_read)
        return found == _converted(other, other_syntax, common, was_read)
    except DicomwireError:
        return False


def _plain(data: memoryview, syntax: str) -> tuple[memoryview, str]:
    """A data set that is not deflated. Raises: DataSetError, when it inflates to too much."""
    if not encoding_of(syntax).deflated:
        return data, syntax
    return memoryview(inflate(data)), EXPLICIT_VR_LITTLE_ENDIAN


def _equal_bytes(one: memoryview, other: memoryview, was_read: Callable[[int], None]) -> bool:
    if len(one) != len(other):
        return False
    for at in range(0, len(one), _BLOCK):
        block = bytes(one[at : at + _BLOCK])
        if block != other[at : at + _BLOCK]:
            return False
        was_read(len(block))
    return True


def _equal_elements(
    one: memoryview,
    other: memoryview,
    encodings: tuple[Encoding, Encoding],
    was_read: Callable[[int], None],
) -> bool:
    """Whether two data sets in the same byte order have the same elements with the same values, in order."""
    at = 0
    for left, right in zip_longest(_content(one, encodings[0]), _content(other, encodings[1])):
        if left is None or right is None or left[:2] != right[:2] or not _alike(left, right):
            return False
        was_read(left.start - at)  # its head, and what is no content before it
        if not _equal_bytes(one[left.start : left.end], other[right.start : right.end], was_read):
            return False
        at = left.end
    return True


def _alike(left: Element, right: Element) -> bool:
    """Whether the same bytes are the same value: their VRs are the same or as good, or one is not known."""
    if left.vr == right.vr or not (left.vr and right.vr):
        return True
    return {left.vr, right.vr} == _OCTETS and left.encoding.order == "<"


def _content(data: memoryview, encoding: Encoding) -> Iterator[Element]:
    for step in elements(data, encoding):
        if step.kind is Kind.VALUE and (step.tag == _TRAILING_PADDING or not step.tag & 0xFFFF):
            continue
        yield step


def _converted(
    data: memoryview, source: str, target: str, was_read: Callable[[int], None]
) -> tuple[int, int]:
    """What identifies a data set in another transfer syntax; conversion leaves out group lengths."""
    return _digest(to_transfer_syntax(_unpadded(data, encoding_of(source)), source, target), was_read)


def _unpadded(data: memoryview, encoding: Encoding) -> memoryview:
    for step in elements(data, encoding):
        if step.tag == _TRAILING_PADDING and step.kind is Kind.VALUE:
            return data[: step.start - (12 if step.vr in LONG_VRS else 8)]
    return data


def _digest(chunks: Iterable[Buffer], was_read: Callable[[int], None]) -> tuple[int, int]:
    length = checksum = 0
    for chunk in chunks:
        length += len(chunk)
        checksum = crc32(chunk, checksum)
        was_read(len(chunk))
    return length, checksum
