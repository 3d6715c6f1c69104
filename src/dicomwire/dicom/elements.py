"""The elements of a data set one by one, sequences and items included (PS3.5 7).

What converts, renders and looks up elements stands on this generator; the scanner has its own, faster loop,
and both accept the same data sets.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from enum import Enum, auto
from struct import error as StructError
from typing import NamedTuple

from dicomwire.dicom.dictionary import SEQUENCES, tag_text, vr_of
from dicomwire.dicom.encoding import (
    DEPTH_LIMIT,
    IMPLICIT_LITTLE,
    ITEM_DELIMITATION,
    UNDEFINED,
    Buffer,
    Encoding,
    end_of_fragments,
    is_zero,
    odd_header,
)
from dicomwire.errors import DataSetError


class Kind(Enum):
    VALUE = auto()  # an element and the bytes of its value
    ENCAPSULATED = auto()  # an element whose value is fragments and their delimitation item
    SEQUENCE = auto()  # a sequence begins
    ITEM = auto()  # an item of the innermost sequence begins
    ITEM_END = auto()
    SEQUENCE_END = auto()


class Element(NamedTuple):
    """One step through a data set.

    Attributes:
        kind: what begins, ends or stands here.
        tag: of the element, or of the sequence that an item belongs to.
        vr: as written; "" where the encoding is implicit.
        start: byte offset of the value.
        end: byte offset behind it; equal to start for all but VALUE and ENCAPSULATED.
        encoding: of this element; the items of a UN of undefined length differ from the rest.
    """

    kind: Kind
    tag: int
    vr: str
    start: int
    end: int
    encoding: Encoding


def elements(
    data: Buffer,
    encoding: Encoding,
    *,
    depth_limit: int = DEPTH_LIMIT,
    start: int = 0,
    end: int | None = None,
) -> Iterator[Element]:
    """Every element of a data set in the order of the data; nothing is copied.

    data: the data set, inflated. start, end: bytes between which whole elements lie, if not all are wanted.
    Raises: DataSetError, when it is cut, nested too deep, or cannot be read.
    """
    last = len(data) if end is None else end
    return _Reader(data, depth_limit).elements(start, last, encoding, level=0, open_item=False)


def items(data: Buffer, tag: int, encoding: Encoding, *, depth_limit: int = DEPTH_LIMIT) -> Iterator[Element]:
    """The steps through a sequence's value, beginning with its first ITEM.

    data: the bytes of all items, with or without the sequence delimitation item.
    encoding: of the items.
    Raises: DataSetError, as `elements`.
    """
    return _Reader(data, depth_limit).items(0, len(data), encoding, level=1, tag=tag, undefined=False)


def is_sequence(tag: int, vr: str, length: int) -> bool:
    """Whether an element with this header holds items (PS3.5 7.5, 6.2.2).

    vr: as written, "" for implicit VR.
    """
    if vr:
        return vr == "SQ" or (vr == "UN" and length == UNDEFINED)
    return tag in SEQUENCES or (length == UNDEFINED and tag >> 16 != 0x7FE0) or vr_of(tag) == "SQ"


class _Reader:
    """Two generators that call each other, at most `depth_limit` deep; each returns where it ended."""

    def __init__(self, data: Buffer, depth_limit: int) -> None:
        self.data = data
        self.depth_limit = depth_limit

    def elements(
        self, position: int, end: int, encoding: Encoding, *, level: int, open_item: bool
    ) -> Generator[Element, None, int]:
        """The elements of the data set (level 0) or of an item within `level` sequences."""
        data, unpack, short = self.data, encoding.header.unpack_from, encoding.short
        while position < end:
            try:
                group, number, code, length = unpack(data, position)
                tag = group << 16 | number
                if group == 0xFFFE:
                    position += 8
                    if tag == ITEM_DELIMITATION and open_item:
                        return position
                    if level and tag != ITEM_DELIMITATION:
                        raise _error(f"{tag_text(tag)} among the elements of an item", position - 8)
                    continue
                if group == 0 and not level and is_zero(data, position, end):
                    return end
                vr = short.get(code)
                if vr is not None:
                    position += 8
                elif not encoding.explicit:
                    vr, position, length = "", position + 8, code | length << 16
                elif (vr := encoding.long.get(code)) is not None:
                    (length,) = encoding.length.unpack_from(data, position + 8)
                    position += 12
                else:
                    vr, position, length = odd_header(data, position, end, encoding)
            except StructError:
                if level == 0 and is_zero(data, position, end):
                    return end
                raise _error(
                    f"{end - position} bytes remain, too few for the next element", position
                ) from None
            if length == UNDEFINED:
                value_end = -1
            else:
                value_end = position + length
                if value_end > end:
                    raise _error(
                        f"{tag_text(tag)}: a value of {length} bytes, {max(0, end - position)} remain",
                        position,
                    )
            if is_sequence(tag, vr, length):
                if level >= self.depth_limit:
                    raise _error(
                        f"{tag_text(tag)}: more than {self.depth_limit} sequences within each other", position
                    )
                yield Element(Kind.SEQUENCE, tag, vr, position, position, encoding)
                inner = IMPLICIT_LITTLE if vr == "UN" else encoding
                limit, undefined = (end, True) if value_end < 0 else (value_end, False)
                position = yield from self.items(
                    position, limit, inner, level=level + 1, tag=tag, undefined=undefined
                )
                yield Element(Kind.SEQUENCE_END, tag, vr, position, position, encoding)
            elif value_end < 0:
                value_end = end_of_fragments(data, position, end, encoding)
                yield Element(Kind.ENCAPSULATED, tag, vr, position, value_end, encoding)
                position = value_end
            else:
                yield Element(Kind.VALUE, tag, vr, position, value_end, encoding)
                position = value_end
        if position > end or open_item:
            raise _error("an item is cut, or ends without its delimitation item", position)
        return position

    def items(
        self, position: int, end: int, encoding: Encoding, *, level: int, tag: int, undefined: bool
    ) -> Generator[Element, None, int]:
        """The items of a sequence; undefined: it must end with its delimitation item."""
        while position < end:
            try:
                group, number, length = encoding.item.unpack_from(self.data, position)
            except StructError:
                raise _error(
                    f"{tag_text(tag)}: {end - position} bytes remain, too few for an item", position
                ) from None
            position += 8
            if group == 0xFFFE and number == 0xE0DD:
                return position
            if group != 0xFFFE or number != 0xE000:
                raise _error(
                    f"{tag_text(tag)}: {tag_text(group << 16 | number)} where an item was expected",
                    position - 8,
                )
            open_item = length == UNDEFINED
            if not open_item and length > end - position:
                raise _error(
                    f"{tag_text(tag)}: an item of {length} bytes, {max(0, end - position)} remain", position
                )
            yield Element(Kind.ITEM, tag, "", position, position, encoding)
            position = yield from self.elements(
                position, end if open_item else position + length, encoding, level=level, open_item=open_item
            )
            yield Element(Kind.ITEM_END, tag, "", position, position, encoding)
        if undefined:
            raise _error(f"{tag_text(tag)}: ends without its sequence delimitation item", position)
        return position


def _error(what: str, position: int) -> DataSetError:
    return DataSetError(what, position, section="PS3.5 7")
