"""Fast walk over a data set to its end: index keys, pixel data, findings (PS3.5 7, A).

One loop for all encodings and depths: ordinary explicit elements take its first lines, implicit and long
ones its second half. It makes no object per element and copies nothing but the values of INDEXED elements;
of a mapped file it touches the headers only. What an outline covers is passed before the loop begins. What
can be stored and read back is no error but a finding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import error as StructError
from typing import Final

from dicomwire.dicom.charset import character_set
from dicomwire.dicom.deflate import INFLATE_LIMIT, inflate
from dicomwire.dicom.dictionary import tag_text, vr_of
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import (
    DEPTH_LIMIT,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM_DELIMITATION,
    UNDEFINED,
    VRS,
    Buffer,
    Encoding,
    encoding_of,
    end_of_fragments,
    is_zero,
    odd_header,
)
from dicomwire.dicom.indexed import INDEXED, INDEXED_BY_GROUP, SEQUENCES_BY_GROUP, SPECIFIC_CHARACTER_SET
from dicomwire.dicom.outline import NOTHING, REACH, Outlines, Reached
from dicomwire.dicom.values import Decoder
from dicomwire.errors import DataSetError

__all__ = ["DEPTH_LIMIT", "INDEXED", "PixelData", "Scan", "scan"]

_NONE: Final[Mapping[int, int]] = {}
_NO_SEQUENCES: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class PixelData:
    """Where pixel data lies; offsets count from byte 0 of the (inflated) data set.

    Attributes:
        tag: (7FE0,0010), or (7FE0,0008) and (7FE0,0009) of floating point pixels.
        vr: as written, "" for implicit VR.
        offset: first byte of the value; when encapsulated, of the Basic Offset Table's item.
        length: bytes of the value; None when it is encapsulated.
        end: byte behind the element, its delimitation item included.
    """

    tag: int
    vr: str
    offset: int
    length: int | None
    end: int


@dataclass(slots=True)
class Scan:
    """What a walk over a data set found.

    Attributes:
        encoding: how the data set is written.
        values: raw value, as stored, of each INDEXED element of the data set itself, items excluded; of a
            sequence the bytes of its items.
        implicit_sequences: tags of `values` that were UN of undefined length: their items are Implicit VR
            Little Endian whatever the rest is (PS3.5 6.2.2).
        pixel_data: where it is; None without any.
        extended_offset_table: offset and length of the value of (7FE0,0001); None without.
        extended_offset_table_lengths: the same of (7FE0,0002).
        length: bytes of the data set; of a deflated one, inflated.
        findings: what is not as the standard wants it, though it can be read; one sentence a kind.
    """

    encoding: Encoding
    values: dict[int, bytes] = field(default_factory=dict)
    implicit_sequences: set[int] = field(default_factory=set)
    pixel_data: PixelData | None = None
    extended_offset_table: tuple[int, int] | None = None
    extended_offset_table_lengths: tuple[int, int] | None = None
    length: int = 0
    findings: tuple[str, ...] = ()
    _decoder: Decoder | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def little_endian(self) -> bool:
        return self.encoding.little_endian

    @property
    def decoder(self) -> Decoder:
        """Decodes values of the data set itself, once they are there."""
        if self._decoder is None:
            declared = self.values.get(SPECIFIC_CHARACTER_SET, b"")
            self._decoder = Decoder(character_set(declared), self.encoding)
        return self._decoder

    def decoder_of(self, tag: int) -> Decoder:
        """Decodes an element's value; differs from `decoder` for sequences that were written as UN."""
        if tag in self.implicit_sequences:
            return Decoder(self.decoder.character_set, IMPLICIT_LITTLE)
        return self.decoder

    def text(self, tag: int) -> str:
        """Text of an indexed element in the data set's character set, without padding; "" when absent or
        empty.

        Several values stay joined by backslashes.
        """
        value = self.values.get(tag)
        return self.decoder.text(vr_of(tag), value) if value else ""

    def texts(self, tag: int) -> list[str]:
        """Text of each value of an indexed element, without padding."""
        value = self.values.get(tag)
        return self.decoder.texts(vr_of(tag), value) if value else []

    def integer(self, tag: int) -> int | None:
        """First value of an indexed US, UL or IS element; None when absent, empty or no number."""
        value = self.values.get(tag)
        if not value:
            return None
        if (number := self.encoding.numbers.get(vr_of(tag))) is not None:
            return number.unpack_from(value)[0] if len(value) >= number.size else None
        match = _INTEGER.match(value)
        return int(match[1]) if match is not None else None


_INTEGER: Final = re.compile(rb"[ \0]*([+-]?\d{1,18})(?:\.0*)?[ \0]*(?:\\|$)")


def scan(
    data: Buffer,
    transfer_syntax_uid: str,
    *,
    depth_limit: int = DEPTH_LIMIT,
    inflate_limit: int = INFLATE_LIMIT,
    outlines: Outlines | None = None,
) -> Scan:
    """Walk over a data set to its end.

    data: the data set alone, without preamble and file meta.
    depth_limit: most sequences within each other.
    inflate_limit: most bytes of an inflated data set.
    outlines: of data sets before this one, with the same depth limit; it learns from this one.
    Raises: DataSetError, when the data set is cut, nested too deep, or cannot be read to its end.
    Source: PS3.5 7.
    """
    encoding = encoding_of(transfer_syntax_uid)
    if encoding.deflated:
        data = inflate(data, inflate_limit)
        encoding = EXPLICIT_LITTLE
    elif isinstance(data, memoryview) and data.format != "B":
        data = data.cast("B")
    result = Scan(encoding, length=len(data))
    if outlines is None:
        _walk(data, result, depth_limit, NOTHING)
        return result
    head = bytes(data[:REACH])
    reached = outlines.advance(head, encoding, result.values)
    _walk(data, result, depth_limit, reached)
    if not reached.whole and not result.findings:
        outlines.learn(head, encoding, result.values)
    return result


def _walk(data: Buffer, result: Scan, depth_limit: int, reached: Reached) -> None:
    """The loop. One function, and long: a call per element would double its time."""
    encoding = result.encoding
    unpack, short, implicit = encoding.header.unpack_from, encoding.short, not encoding.explicit
    values: dict[int, Buffer] = {}
    notes: dict[str, str] = {}
    position, last_group, last_element, _ = reached
    end = len(data)
    group, element = max(0, last_group), max(0, last_element)
    sequence_end = code = length = odd = 0
    wanted = INDEXED_BY_GROUP.get(last_group, _NONE)
    sequences = SEQUENCES_BY_GROUP.get(last_group, _NO_SEQUENCES)
    open_item = False  # the innermost item has undefined length
    # Open sequences: tag, first byte of the value, and what to go back to: end, group, element, open_item,
    # sequence_end (-1 while undefined) and encoding around it.
    stack: list[tuple[int, int, int, int, int, bool, int, Encoding]] = []
    try:
        while True:
            while position < end:
                group, element, code, length = unpack(data, position)
                if group != last_group:
                    if group == 0xFFFE:
                        if element == 0xE00D and open_item:
                            position += 8
                            break
                        _note_stray(notes, group << 16 | element, position, nested=bool(stack))
                        position += 8
                        length = 0
                        continue
                    if group < 8 and group != 4 and not stack:  # 0004 is a DICOMDIR's
                        if group == 0 and is_zero(data, position, end):
                            notes["zeros"] = (
                                f"{end - position} zero bytes follow the data set at byte {position}"
                            )
                            position, length = end, 0
                            continue
                        notes.setdefault(
                            "group",
                            f"{tag_text(group << 16 | element)} at byte {position} belongs in no data set",
                        )
                    if group < last_group:
                        _note_order(notes, group << 16 | element, position)
                    last_group = group
                    sequences = SEQUENCES_BY_GROUP.get(group, _NO_SEQUENCES)
                    if not stack:
                        wanted = INDEXED_BY_GROUP.get(group, _NONE)
                elif element <= last_element:
                    _note_order(notes, group << 16 | element, position)
                last_element = element
                if code in short:
                    position += 8
                    if element in wanted:
                        values[wanted[element]] = data[position : position + length]
                    position += length
                    odd |= length
                    continue

                inner = encoding
                if implicit:
                    vr = ""
                    length = code | length << 16  # the two halves of one 32-bit length
                    position += 8
                    is_sequence = element in sequences or (length == UNDEFINED and group != 0x7FE0)
                elif (known := encoding.long.get(code)) is not None:
                    vr = known
                    (length,) = encoding.length.unpack_from(data, position + 8)
                    position += 12
                    is_sequence = vr == "SQ"
                    if vr == "UN" and length == UNDEFINED:
                        is_sequence, inner = True, IMPLICIT_LITTLE
                else:
                    start = position
                    vr, position, length = odd_header(data, position, end, encoding)
                    _note_vr(notes, group << 16 | element, vr, start)
                    is_sequence = not vr and (
                        element in sequences or (length == UNDEFINED and group != 0x7FE0)
                    )

                start = position
                if is_sequence:
                    tag = group << 16 | element
                    if length != UNDEFINED and length > end - position:
                        raise _cut(tag, length, position, end, encoding, code)
                    if len(stack) >= depth_limit:
                        raise _error(
                            f"{tag_text(tag)}: more than {depth_limit} sequences within each other", position
                        )
                    stack.append((tag, position, end, group, element, open_item, sequence_end, encoding))
                    sequence_end = -1 if length == UNDEFINED else position + length
                    if inner is not encoding:
                        encoding = inner
                        unpack, short, implicit = encoding.header.unpack_from, encoding.short, True
                    wanted = _NONE
                    break
                if length == UNDEFINED:
                    position = end_of_fragments(data, position, end, encoding)
                else:
                    position += length
                    odd |= length
                    if position > end:
                        raise _cut(group << 16 | element, length, start, end, encoding, code)
                if group == 0x7FE0 and not stack:
                    _pixel_data(result, element, vr, start, None if length == UNDEFINED else length, position)
                elif element in wanted:
                    values[wanted[element]] = data[start:position]
            else:
                if position > end:
                    raise _cut(group << 16 | element, length, position - length, end, encoding, code)
                if not stack:
                    break
                if open_item:
                    raise _error(
                        f"{tag_text(stack[-1][0])}: an item ends without its delimitation item", position
                    )

            # Between the items of the innermost sequence
            tag, start, outer_end, outer_group, outer_element, outer_open, outer_sequence_end, outer = stack[
                -1
            ]
            limit = outer_end if sequence_end < 0 else sequence_end
            stop = position  # end of the sequence's value
            if position != sequence_end:
                if position >= limit:
                    raise _error(f"{tag_text(tag)}: ends without its sequence delimitation item", position)
                item_group, item_element, length = encoding.item.unpack_from(data, position)
                position += 8
                if item_group != 0xFFFE or item_element not in (0xE000, 0xE0DD):
                    raise _error(
                        f"{tag_text(tag)}: {tag_text(item_group << 16 | item_element)} where an item was due",
                        position - 8,
                    )
                if item_element == 0xE000:
                    open_item = length == UNDEFINED
                    if not open_item and length > limit - position:
                        raise _error(
                            f"{tag_text(tag)}: an item of {length} bytes, {max(0, limit - position)} remain",
                            position,
                        )
                    end = limit if open_item else position + length
                    last_group = last_element = -1
                    continue
            if len(stack) == 1 and tag in INDEXED:
                values[tag] = data[start:stop]
                if encoding is not outer:
                    result.implicit_sequences.add(tag)
            stack.pop()
            end, last_group, last_element, open_item = outer_end, outer_group, outer_element, outer_open
            sequence_end = outer_sequence_end
            if encoding is not outer:
                encoding = outer
                unpack, short, implicit = encoding.header.unpack_from, encoding.short, not encoding.explicit
            group, element, length = outer_group, outer_element, 0
            sequences = SEQUENCES_BY_GROUP.get(group, _NO_SEQUENCES)
            if not stack:
                wanted = INDEXED_BY_GROUP.get(group, _NONE)
    except StructError:
        if stack or not is_zero(data, position, len(data)):
            raise _error(
                f"{max(0, len(data) - position)} bytes remain after {tag_text(group << 16 | element)},"
                " too few for the next element",
                position,
            ) from None
        notes["zeros"] = f"{len(data) - position} zero bytes follow the data set at byte {position}"
    if odd & 1:
        notes["odd"] = _odd_length(data, result.encoding, depth_limit)
    for tag, value in values.items():
        result.values[tag] = bytes(value)
    unknown = result.decoder.character_set.unknown
    if unknown:
        notes["character set"] = f"Specific Character Set {', '.join(map(repr, unknown))} is no defined term"
    result.findings = tuple(notes.values())


def _pixel_data(result: Scan, element: int, vr: str, start: int, length: int | None, end: int) -> None:
    """Record an element of group 7FE0: pixel data, or an Extended Offset Table, which precedes it."""
    if element == 0x0001:
        result.extended_offset_table = (start, end - start)
    elif element == 0x0002:
        result.extended_offset_table_lengths = (start, end - start)
    elif element in (0x0008, 0x0009, 0x0010):
        result.pixel_data = PixelData(0x7FE00000 | element, vr, start, length, end)


def _note_order(notes: dict[str, str], tag: int, position: int) -> None:
    if "order" not in notes:
        notes["order"] = f"{tag_text(tag)} at byte {position} is out of order or repeated (PS3.5 7.1)"


def _note_vr(notes: dict[str, str], tag: int, vr: str, position: int) -> None:
    if not vr:
        notes.setdefault("implicit", f"{tag_text(tag)} at byte {position} is in implicit VR (PS3.5 7.1.2)")
    else:
        notes.setdefault("vr", f"{tag_text(tag)} at byte {position} has the unknown VR {vr} (PS3.5 6.2)")


def _note_stray(notes: dict[str, str], tag: int, position: int, *, nested: bool) -> None:
    if nested and tag != ITEM_DELIMITATION:
        raise _error(f"{tag_text(tag)} among the elements of an item", position)
    notes.setdefault("stray", f"{tag_text(tag)} at byte {position} delimits nothing (PS3.5 7.5)")


def _odd_length(data: Buffer, encoding: Encoding, depth_limit: int) -> str:
    """Name the first value of odd length: a second walk, which only data sets with one need."""
    for element in elements(data, encoding, depth_limit=depth_limit):
        if (element.end - element.start) & 1 and element.kind is Kind.VALUE:
            return (
                f"{tag_text(element.tag)} at byte {element.start}: {element.end - element.start} bytes,"
                " an odd length (PS3.5 7.1)"
            )
    return "a value has an odd length (PS3.5 7.1)"


def _cut(tag: int, length: int, position: int, end: int, encoding: Encoding, code: int) -> DataSetError:
    """A value longer than what is left of the data set or of its item."""
    vr = encoding.short.get(code) or encoding.long.get(code) or ""
    hint = ""
    if not encoding.explicit and (code & 0xFFFF).to_bytes(2, "little").decode("latin_1") in VRS:
        hint = "; it reads like explicit VR, though the transfer syntax says implicit"
    remain = max(0, end - position)
    return _error(
        f"{tag_text(tag)}{' ' * bool(vr)}{vr}: a value of {length} bytes, {remain} remain{hint}", position
    )


def _error(what: str, position: int) -> DataSetError:
    return DataSetError(what, position, section="PS3.5 7")
