"""How data elements are encoded: explicit and implicit VR, byte order, items, fragments (PS3.5 7, A).

What the scanner and the reader of elements share: headers, VR tables, and the decision what an element header
may be that is none of the standard's. What can be read is read; the finding is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from mmap import mmap
from struct import Struct
from struct import error as StructError
from typing import Final, TypeAlias

from dicomwire.dicom.dictionary import tag_text
from dicomwire.errors import DataSetError
from dicomwire.uids import TRANSFER_SYNTAXES

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap

UNDEFINED: Final = 0xFFFFFFFF  # length of a value that ends with a delimitation item (PS3.5 7.1)
ITEM: Final = 0xFFFEE000
ITEM_DELIMITATION: Final = 0xFFFEE00D
SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD
DEPTH_LIMIT: Final = 64  # sequences within each other; structured reports, the deepest objects, stay below 30
PIXEL_DATA: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

# Explicit VRs with a 16-bit length field, and with two reserved bytes and a 32-bit one (PS3.5 7.1.2)
SHORT_VRS: Final = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO"),
    *("LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
)
LONG_VRS: Final = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
VRS: Final = frozenset(SHORT_VRS + LONG_VRS)
_WHOLE_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i"}
_ZEROS: Final = bytes(1 << 16)


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One of the ways in which a data set is written (PS3.5 A).

    Attributes:
        header: group, element, and two 16-bit numbers: VR and length, or two halves of a length (implicit).
        length: 32-bit length that follows the header of a long explicit VR.
        item: group, element and length of an item or a delimitation item.
        short: VRs with a 16-bit length by their code in the header; empty for implicit VR.
        long: VRs with a 32-bit length by their code; empty for implicit VR.
        numbers: one value of each VR of whole numbers of 16 and 32 bits.
        order: "<" or ">", for struct.
    """

    explicit: bool
    little_endian: bool
    deflated: bool = False
    order: str = field(init=False)
    header: Struct = field(init=False)
    length: Struct = field(init=False)
    item: Struct = field(init=False)
    short: Mapping[int, str] = field(init=False)
    long: Mapping[int, str] = field(init=False)
    numbers: Mapping[str, Struct] = field(init=False)

    def __post_init__(self) -> None:
        order = "<" if self.little_endian else ">"
        byte_order: Final = "little" if self.little_endian else "big"
        put = object.__setattr__  # the dataclass is frozen
        put(self, "order", order)
        put(self, "header", Struct(order + "HHHH"))
        put(self, "length", Struct(order + "I"))
        put(self, "item", Struct(order + "HHI"))
        put(self, "numbers", {vr: Struct(order + code) for vr, code in _WHOLE_NUMBERS.items()})
        put(self, "short", {})
        put(self, "long", {})
        if self.explicit:
            put(self, "short", {int.from_bytes(vr.encode(), byte_order): vr for vr in SHORT_VRS})
            put(self, "long", {int.from_bytes(vr.encode(), byte_order): vr for vr in LONG_VRS})


IMPLICIT_LITTLE: Final = Encoding(explicit=False, little_endian=True)
EXPLICIT_LITTLE: Final = Encoding(explicit=True, little_endian=True)
EXPLICIT_BIG: Final = Encoding(explicit=True, little_endian=False)
DEFLATED: Final = Encoding(explicit=True, little_endian=True, deflated=True)


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """How a transfer syntax writes its data sets; unknown ones are taken for Explicit VR Little Endian."""
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    if syntax is None:
        return EXPLICIT_LITTLE
    if syntax.deflated:
        return DEFLATED
    if syntax.explicit_vr is False:
        return IMPLICIT_LITTLE
    return EXPLICIT_BIG if syntax.little_endian is False else EXPLICIT_LITTLE


def odd_header(data: Buffer, position: int, end: int, encoding: Encoding) -> tuple[str, int, int]:
    """VR ("" for implicit), start and length of an element whose explicit VR is none of the standard's.

    Two capital letters are a VR yet unknown. Other bytes mean an element in implicit VR, which some writers
    mix in (pydicom's issues 1035 and 1067).
    Raises: struct.error, when the header is cut.
    """
    group, element, code, short_length = encoding.header.unpack_from(data, position)
    vr = code.to_bytes(2, "little" if encoding.little_endian else "big")
    if not (vr.isalpha() and vr.isupper()):
        return "", position + 8, encoding.length.unpack_from(data, position + 4)[0]
    if short_length == 0 and position + 12 <= end:
        # Two reserved zero bytes and a 32-bit length, as PS3.5 7.1.2 has it for new VRs? Or an empty short
        # value: then the next four bytes are a tag, and in ascending order.
        word: int = encoding.length.unpack_from(data, position + 8)[0]
        low, high = word & 0xFFFF, word >> 16
        following = (low, high) if encoding.little_endian else (high, low)
        if following <= (group, element) and word <= end - position - 12:
            return vr.decode(), position + 12, word
    return vr.decode(), position + 8, short_length


def is_zero(data: Buffer, position: int, end: int) -> bool:
    """Whether nothing but zero bytes, which some writers pad with, lies between two offsets."""
    return all(
        data[block : min(block + len(_ZEROS), end)] == _ZEROS[: min(len(_ZEROS), end - block)]
        for block in range(position, end, len(_ZEROS))
    )


def fragments(data: Buffer, position: int, end: int, encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Start and length of each fragment of an encapsulated value, the Basic Offset Table first (PS3.5 A.4).

    position: byte offset of the first item. The last pair yielded is the sequence delimitation item: its
    start is the byte after it, its length -1.
    Raises: DataSetError, when an item is cut, is none, or the delimitation item is missing.
    """
    unpack = encoding.item.unpack_from
    while True:
        try:
            group, element, length = unpack(data, position)
        except StructError:
            raise DataSetError(
                f"encapsulated value: {max(0, end - position)} bytes remain, 8 wanted for the next item",
                position,
                section="PS3.5 A.4",
            ) from None
        if group != 0xFFFE or element not in (0xE000, 0xE0DD):
            raise DataSetError(
                f"encapsulated value: {tag_text(group << 16 | element)} where an item was expected",
                position,
                section="PS3.5 A.4",
            )
        position += 8
        if element == 0xE0DD:
            yield position, -1
            return
        if length > end - position:
            raise DataSetError(
                f"encapsulated value: a fragment of {length} bytes, {end - position} remain",
                position,
                section="PS3.5 A.4",
            )
        yield position, length
        position += length


def end_of_fragments(data: Buffer, position: int, end: int, encoding: Encoding) -> int:
    """Byte offset behind the sequence delimitation item of an encapsulated value."""
    behind = position
    for start, _ in fragments(data, position, end, encoding):
        behind = start
    return behind
