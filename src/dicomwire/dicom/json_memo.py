"""DICOM JSON of many data sets that have most of their elements in common (PS3.18 F).

The instances of a study differ in a dozen elements. What `json_model` makes of one is remembered under the
element's own bytes; of the next data set only what is new is made. Elements that follow each other in more
than one data set become a run, which is then taken as a whole. The text is the same as without memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from struct import error as StructError
from typing import Final, NamedTuple

from dicomwire.dicom import json_model
from dicomwire.dicom.bulk_data import BulkData
from dicomwire.dicom.charset import character_set
from dicomwire.dicom.context import DECIDING, Context
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, PIXEL_DATA, UNDEFINED, Buffer, encoding_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.json_model import INLINE_LIMIT, UTF_8, Writer
from dicomwire.dicom.values import Decoder

_LONGEST: Final = 8 << 10  # bytes of an element that is remembered, a sequence most often
_CAPACITY: Final = 16 << 20  # bytes of elements and text that are remembered
_OVERHEAD: Final = 200  # bytes that an entry takes beside those
_DECIDING: Final = DECIDING | {SPECIFIC_CHARACTER_SET}  # how others are read depends on them
_SHORTEST_RUN: Final = 3  # elements; fewer are found one by one as fast
_RUNS: Final = 4  # that begin with the same element, as in studies read in turns


class _Run(NamedTuple):
    """Elements in a row: their bytes, their members, and the last one's tag."""

    data: bytes
    text: str
    last: int


@dataclass(slots=True)
class _Known:
    """What is known of elements in one character set.

    Attributes:
        elements: the member that an element is, by the element's bytes; "" where it is none.
        runs: by their first element's bytes, the latest first.
    """

    elements: dict[bytes, str] = field(default_factory=dict)
    runs: dict[bytes, list[_Run]] = field(default_factory=dict)


class JsonMemo:
    """Encodes data sets; used by one thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}  # by character set
        self._size = 0

    def encode(
        self, data: Buffer, transfer_syntax_uid: str, *, bulk_data_uri: Callable[[BulkData], str]
    ) -> bytes:
        """One DICOM JSON object, as `json_model.encode` makes it. Raises: DataSetError, as there."""
        if encoding_of(transfer_syntax_uid) is EXPLICIT_LITTLE:
            text = self._encoded(data, Writer(data, bulk_data_uri, INLINE_LIMIT))
            if text is not None:
                return text.encode()
        return json_model.encode(data, transfer_syntax_uid, bulk_data_uri=bulk_data_uri)

    def _encoded(self, data: Buffer, writer: Writer) -> str | None:
        """The JSON object; None where `json_model` has to make it as a whole."""
        unpack, short, long = EXPLICIT_LITTLE.header.unpack_from, EXPLICIT_LITTLE.short, EXPLICIT_LITTLE.long
        decoder, context = Decoder(), Context(0)
        known = self._known.setdefault(b"", _Known())
        members: list[str] = []
        row: list[str] = []  # members of the elements that were known, one behind the other, up to here
        row_start = row_last = 0
        row_key = b""
        position, end, previous, declared = 0, len(data), 0, False
        while position < end:
            try:
                group, number, code, length = unpack(data, position)
                start = position + 8
                if code not in short:
                    vr = long.get(code)
                    if vr is None or vr == "UN":
                        return None
                    (length,) = EXPLICIT_LITTLE.length.unpack_from(data, start)
                    start += 4
            except StructError:
                return None
            tag = group << 16 | number
            if tag <= previous or group < 8 or not number or tag >= 0xFFFC0000:
                return None
            previous = tag
            behind = _end(data, position) if length == UNDEFINED else start + length
            if behind > end:
                return None
            key = bytes(data[position:behind]) if behind - position <= _LONGEST else None
            text = known.elements.get(key) if key is not None else None
            plain = tag not in _DECIDING
            if text is not None and plain:
                assert key is not None
                if (run := _run(known, key, data, position)) is not None:
                    self._remember_run(known, row_key, data[row_start:position], row, row_last)
                    row = []
                    members.append(run.text)
                    position, previous = position + len(run.data), run.last
                    continue
                if not row:
                    row_start, row_key = position, key
                row.append(text)
                row_last = tag
            else:
                self._remember_run(known, row_key, data[row_start:position], row, row_last)
                row = []
                if tag == SPECIFIC_CHARACTER_SET:
                    declared = True
                    value = bytes(data[start:behind])
                    decoder, known = Decoder(character_set(value)), self._known.setdefault(value, _Known())
                    text = f'"{tag:08X}":{UTF_8}'
                elif not plain:
                    context.observe(tag, bytes(data[start:behind]), EXPLICIT_LITTLE)
            if text is None:
                before = writer.bulks
                steps = elements(data, EXPLICIT_LITTLE, start=position, end=behind)
                made = writer.members(steps, decoder, context, ())
                text = f'"{tag:08X}":{made[tag]}' if made else ""
                if key is not None and writer.bulks == before and tag not in PIXEL_DATA:
                    self._remember(known, key, text)
            if text:
                members.append(text)
            position = behind
        self._remember_run(known, row_key, data[row_start:position], row, row_last)
        object_text = "{" + ",".join(members) + "}"
        return object_text if declared or object_text.isascii() else None

    def _remember(self, known: _Known, key: bytes, text: str) -> None:
        self._make_room(len(key) + len(text))
        known.elements[key] = text

    def _remember_run(self, known: _Known, key: bytes, data: Buffer, row: Sequence[str], last: int) -> None:
        """Elements in a row, all of them known, if they are worth it."""
        if len(row) < _SHORTEST_RUN:
            return
        run = _Run(bytes(data), ",".join(filter(None, row)), last)
        self._make_room(len(run.data) + len(run.text))
        known.runs[key] = [run, *known.runs.get(key, ())][:_RUNS]

    def _make_room(self, size: int) -> None:
        self._size += size + _OVERHEAD
        if self._size > _CAPACITY:
            for each in self._known.values():
                each.elements.clear()
                each.runs.clear()
            self._size = 0


def _run(known: _Known, key: bytes, data: Buffer, position: int) -> _Run | None:
    """The run that the data set goes on with; key: its element at `position`."""
    for run in known.runs.get(key, ()):
        if data[position : position + len(run.data)] == run.data:
            return run
    return None


def _end(data: Buffer, position: int) -> int:
    """Byte behind an element of undefined length."""
    depth = 0
    for kind, _, _, _, end, _ in elements(data, EXPLICIT_LITTLE, start=position):
        depth += (kind is Kind.SEQUENCE) - (kind is Kind.SEQUENCE_END)
        if not depth:
            return end
    return len(data)
