"""Attributes of a data set and of its items, found by tag and decoded when they are asked for (PS3.5 7, 6.2).

For what reads many of them out of one stored data set, as rendering does. Values are views of the data;
pixel data is left out. What cannot be read as wanted is as if it were absent.
"""

from __future__ import annotations

from struct import error as StructError
from struct import unpack_from
from typing import NamedTuple

from dicomwire.dicom.byte_order import UNIT_SIZES, swapped
from dicomwire.dicom.charset import DEFAULT, CharacterSet, character_set
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import Buffer, Encoding
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.values import NUMBER_FORMATS, Decoder

_FROM = 0x7FE00000  # groups from here on hold pixels


class _Value(NamedTuple):
    vr: str
    data: memoryview
    encoding: Encoding


class Attributes:
    """One data set or item; each method takes a keyword of PS3.6, or a tag."""

    __slots__ = ("_inherited", "_items", "_values")

    def __init__(self, inherited: CharacterSet = DEFAULT) -> None:
        """inherited: character set of what this is an item of, which names its own first of all."""
        self._values: dict[int, _Value] = {}
        self._items: dict[int, list[Attributes]] = {}
        self._inherited = inherited

    def items(self, tag: int | str) -> list[Attributes]:
        """The items of a sequence."""
        return self._items.get(_tag(tag), [])

    def item(self, tag: int | str) -> Attributes:
        """The first item of a sequence; an empty one where there is none."""
        found = self.items(tag)
        return found[0] if found else Attributes()

    def text(self, tag: int | str) -> str:
        """The first value as text, "" where there is none."""
        texts = self.texts(tag)
        return texts[0] if texts else ""

    def texts(self, tag: int | str) -> list[str]:
        number = _tag(tag)
        value = self._values.get(number)
        if value is None:
            return []
        decoder = Decoder(self._character_set(), value.encoding)
        return decoder.texts(self._vr(number, value), bytes(value.data))

    def numbers(self, tag: int | str) -> list[float]:
        """The values of a number, written in binary or in decimals; those that are none are left out."""
        number = _tag(tag)
        value = self._values.get(number)
        if value is None:
            return []
        vr = self._vr(number, value)
        if vr in NUMBER_FORMATS:
            return [float(each) for each in Decoder(encoding=value.encoding).numbers(vr, bytes(value.data))]
        return [float(text) for text in self.texts(number) if _is_number(text)]

    def number(self, tag: int | str) -> float | None:
        """The first value of a number."""
        numbers = self.numbers(tag)
        return numbers[0] if numbers else None

    def words(self, tag: int | str) -> list[int]:
        """The values as unsigned 16-bit numbers, whatever the VR says: descriptors and data of tables."""
        value = self._values.get(_tag(tag))
        if value is None:
            return []
        try:
            return list(unpack_from(f"{value.encoding.order}{len(value.data) // 2}H", value.data))
        except StructError:
            return []

    def octets(self, tag: int | str) -> bytes:
        """The value's bytes, little endian; b"" where there is none."""
        number = _tag(tag)
        value = self._values.get(number)
        if value is None:
            return b""
        size = 0 if value.encoding.little_endian else UNIT_SIZES.get(self._vr(number, value), 0)
        return swapped(value.data, size) if size else bytes(value.data)

    def has(self, tag: int | str) -> bool:
        """There is such an element with a value, or a sequence with items."""
        number = _tag(tag)
        value = self._values.get(number)
        return bool(self._items.get(number)) or (value is not None and len(value.data) > 0)

    def _vr(self, tag: int, value: _Value) -> str:
        """The VR as written; the dictionary's where it was not, with US for what may be US or SS."""
        vr = value.vr or vr_of(tag)
        return vr if len(vr) == 2 and vr != "UN" else vr_of(tag)[:2]

    def _character_set(self) -> CharacterSet:
        own = self._values.get(SPECIFIC_CHARACTER_SET)
        return character_set(bytes(own.data)) if own is not None else self._inherited


def read_attributes(data: Buffer, encoding: Encoding) -> Attributes:
    """The attributes of a data set.

    data: the data set, inflated; it stays in use as long as what is returned.
    Raises: DataSetError, when it cannot be read up to its pixel data.
    """
    view = memoryview(data)
    root = Attributes()
    path = [root]
    for step in elements(data, encoding):
        if step.kind is Kind.VALUE or step.kind is Kind.ENCAPSULATED:
            if step.tag >= _FROM and len(path) == 1:
                break
            path[-1]._values[step.tag] = _Value(step.vr, view[step.start : step.end], step.encoding)
        elif step.kind is Kind.SEQUENCE:
            path[-1]._items[step.tag] = []
        elif step.kind is Kind.ITEM:
            item = Attributes(path[-1]._character_set())
            path[-1]._items[step.tag].append(item)
            path.append(item)
        elif step.kind is Kind.ITEM_END:
            path.pop()
    return root


def _tag(tag: int | str) -> int:
    return tag if isinstance(tag, int) else TAGS[tag]


def _is_number(text: str) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return abs(number) < 1e300
