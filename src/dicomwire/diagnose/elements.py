"""Elements of command sets and data sets as records with offsets (PS3.7 E; PS3.5 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from dicomwire.diagnose.data_set import MASKED, is_shown
from dicomwire.diagnose.finding import escaped
from dicomwire.dicom.charset import DEFAULT, character_set
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.dictionary import keyword_of, tag_text, vr_of
from dicomwire.dicom.elements import Element, Kind, elements
from dicomwire.dicom.encoding import (
    EXPLICIT_LITTLE,
    ITEM,
    ITEM_DELIMITATION,
    SEQUENCE_DELIMITATION,
    UNDEFINED,
    Encoding,
    encoding_of,
    fragments,
)
from dicomwire.dicom.values import NUMBER_FORMATS, STRING_VRS, Decoder
from dicomwire.dimse.elements import ELEMENTS, RETIRED_ELEMENTS, US
from dicomwire.errors import DataSetError

Record: TypeAlias = dict[str, object]

LONGEST_TEXT: Final = 256  # characters of a value that are shown
MOST_NUMBERS: Final = 64  # of a value
INFLATE_LIMIT: Final = 1 << 26  # bytes

_ITEM_HEADER: Final = 8  # bytes of an item's, or a delimitation item's (PS3.5 7.5)
_ITEM_NAMES: Final = {
    ITEM: "Item",
    ITEM_DELIMITATION: "Item Delimitation Item",
    SEQUENCE_DELIMITATION: "Sequence Delimitation Item",
}

_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_COMMAND_NAMES: Final = {
    0x0000: "Command Group Length",
    **{element: name.replace("_", " ").title() for name, (element, _) in ELEMENTS.items()},
    **RETIRED_ELEMENTS,
}
_COMMAND_NUMBERS: Final = frozenset({element for element, vr in ELEMENTS.values() if vr is US} | {0x0800})


def element_records(data: bytes, offset: Callable[[int], int]) -> Iterator[Record]:
    """The elements of a command set.

    Args:
        data: all of it.
        offset: where a byte of it stood in the stream.
    """
    at = 0
    while at + 8 <= len(data):
        group, element = (
            int.from_bytes(data[at : at + 2], "little"),
            int.from_bytes(data[at + 2 : at + 4], "little"),
        )
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        value = data[at + 8 : at + 8 + length]
        record: Record = {
            "offset": offset(at),
            "tag": f"{group:04X}{element:04X}",
            "name": _COMMAND_NAMES.get(element, "") if group == 0 else "",
            "length": length,
        }
        if length > len(data) - at - 8:
            record["fault"] = f"it says {length} bytes, {len(data) - at - 8} remain"
            yield record
            return
        record["value"] = _command_value(element, value)
        yield record
        at += 8 + length
    if at < len(data):
        yield {"offset": offset(at), "fault": f"{len(data) - at} bytes remain, an element takes 8"}


def _command_value(element: int, value: bytes) -> object:
    if element == 0 and len(value) == 4:
        return int.from_bytes(value, "little")
    if element in _COMMAND_NUMBERS and len(value) == 2:
        return int.from_bytes(value, "little")
    if element in (0x0901, 0x1005):
        words = [int.from_bytes(value[i : i + 2], "little") for i in range(0, len(value) - 1, 2)]
        return [f"{group:04X}{number:04X}" for group, number in zip(words[::2], words[1::2], strict=False)]
    return escaped(value.decode("latin-1").strip("\0 "))


def data_set_records(
    data: bytes, transfer_syntax: str, offset: Callable[[int], int], *, unmask: bool
) -> Iterator[Record]:
    """The elements of a data set, sequences and items nested by `level`.

    Args:
        data: all of it.
        transfer_syntax: UID.
        offset: where a byte of it stood in the stream.
        unmask: show values that may name a patient.
    """
    encoding = encoding_of(transfer_syntax)
    try:
        if encoding.deflated:
            data, encoding, offset = bytes(inflate(data, INFLATE_LIMIT)), EXPLICIT_LITTLE, _same
        yield from _records(data, encoding, offset, unmask=unmask)
    except DataSetError as error:
        yield {"offset": offset(min(error.offset, max(0, len(data) - 1))), "fault": str(error)}


def _same(at: int) -> int:
    return at


def _records(
    data: bytes, encoding: Encoding, offset: Callable[[int], int], *, unmask: bool
) -> Iterator[Record]:
    characters = DEFAULT
    delimited: list[bool] = []  # by level: it ends with a delimitation item
    for element in elements(data, encoding):
        if element.kind in (Kind.ITEM_END, Kind.SEQUENCE_END):
            if delimited.pop():
                tag = ITEM_DELIMITATION if element.kind is Kind.ITEM_END else SEQUENCE_DELIMITATION
                yield _item(tag, offset(element.end - _ITEM_HEADER), len(delimited), 0)
            continue
        level = len(delimited)
        if element.tag == _SPECIFIC_CHARACTER_SET and level == 0:
            characters = character_set(data[element.start : element.end])
        record = _record(data, element, level, Decoder(characters, element.encoding), offset, unmask=unmask)
        yield record
        if element.kind in (Kind.ITEM, Kind.SEQUENCE):
            delimited.append(record["length"] == UNDEFINED)
        elif element.kind is Kind.ENCAPSULATED:
            yield from _fragment_records(data, element, level + 1, offset)


def _fragment_records(
    data: bytes, element: Element, level: int, offset: Callable[[int], int]
) -> Iterator[Record]:
    """The offset table, the fragments and their delimitation item (PS3.5 A.4)."""
    for start, length in fragments(data, element.start, element.end, element.encoding):
        tag, own_level = (ITEM, level) if length >= 0 else (SEQUENCE_DELIMITATION, level - 1)
        yield _item(tag, offset(start - _ITEM_HEADER), own_level, max(0, length))


def _item(tag: int, offset: int, level: int, length: int) -> Record:
    return {
        "offset": offset,
        "level": level,
        "tag": f"{tag:08X}",
        "name": _ITEM_NAMES[tag],
        "length": length,
    }


def _record(
    data: bytes,
    element: Element,
    level: int,
    decoder: Decoder,
    offset: Callable[[int], int],
    *,
    unmask: bool,
) -> Record:
    long = element.encoding.explicit and (element.vr in element.encoding.long.values())
    byte_order: Final = "little" if element.encoding.little_endian else "big"
    header = 12 if long and element.kind is not Kind.ITEM else 8
    start = element.start - header
    record: Record = {"offset": offset(start), "level": level}
    if element.kind is Kind.ITEM:
        return _item(ITEM, offset(start), level, int.from_bytes(data[start + 4 : start + 8], byte_order))
    vr = element.vr or vr_of(element.tag)
    at = element.start - (4 if long or not element.encoding.explicit else 2)
    size = int.from_bytes(data[at : element.start], byte_order)
    record |= {
        "tag": f"{element.tag:08X}",
        "name": keyword_of(element.tag) or tag_text(element.tag),
        "vr": vr,
        "length": size,
    }
    if element.kind is Kind.VALUE:
        record["value"] = _value(data[element.start : element.end], element.tag, vr, decoder, unmask=unmask)
    return record


def _value(value: bytes, tag: int, vr: str, decoder: Decoder, *, unmask: bool) -> object:
    """Numbers, text, or nothing for what is neither; masked where it may name a patient."""
    if not value:
        return ""
    kind = vr.split(" or ")[0]
    numeric = kind in NUMBER_FORMATS or kind == "AT"
    if not unmask and not numeric and kind in STRING_VRS and not is_shown(tag, kind):
        return MASKED
    if kind in NUMBER_FORMATS:
        numbers = decoder.numbers(kind, value[: MOST_NUMBERS * 8])[:MOST_NUMBERS]
        return numbers[0] if len(numbers) == 1 else list(numbers)
    if kind == "AT":
        return [f"{one:08X}" for one in decoder.tags(value[: MOST_NUMBERS * 4])]
    if kind in STRING_VRS:
        return escaped(decoder.text(kind, value[: 4 * LONGEST_TEXT])[:LONGEST_TEXT])
    return f"{len(value):,} bytes"
