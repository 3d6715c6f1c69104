"""The Identifiers of a C-FIND's answers, from rows of the catalogue to bytes (PS3.4 C.4.1.1.3.2).

Most values go straight from their column into an element; those that the catalogue holds as DICOM JSON are
read first. A study's and a series' elements are made once for all the rows below them.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, pack
from typing import Final, TypeAlias

from dicomwire.archive.catalogue import Row
from dicomwire.archive.moments import TIMEZONE
from dicomwire.archive.search import Found
from dicomwire.archive.statement import Field, Plan
from dicomwire.dicom.charset import CharacterSet, character_set
from dicomwire.dicom.data_set import Attribute, DataSet, Encoder, from_json
from dicomwire.dicom.dictionary import vr_of
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, encoding_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.values import TEXT_VRS
from dicomwire.services.find_request import (
    LEVEL_NAMES,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    Asked,
)

Elements: TypeAlias = list[tuple[int, bytes]]
Column: TypeAlias = tuple[int, bytes, Field]

_PLAIN_VRS: Final = frozenset({"CS", "DA", "IS", "LO", "PN", "SH", "TM", "UI"})
"""VRs of columns whose text is the value; their lengths have 16 bits in explicit VR."""

_LENGTHS: Final = {
    (explicit, little): Struct(("<" if little else ">") + ("H" if explicit else "I")).pack
    for explicit in (True, False)
    for little in (True, False)
}


class Answers:
    """The answers to one C-FIND."""

    def __init__(
        self, asked: Asked, plan: Plan, retrieve_from: str, *, term: str | None, transfer_syntax_uid: str
    ) -> None:
        """Begin.

        Args:
            retrieve_from: AE title that matches can be retrieved from.
            term: Specific Character Set of all answers; None for each study's own.
        """
        encoding = encoding_of(transfer_syntax_uid)
        self._encoding = EXPLICIT_LITTLE if encoding.deflated else encoding
        self._items = asked.items
        self._term = term
        self._use(term or "")
        fixed = DataSet()
        for tag in asked.returned:
            fixed.put(tag)
        fixed.put(QUERY_RETRIEVE_LEVEL, LEVEL_NAMES[asked.query.level]).put(RETRIEVE_AE_TITLE, retrieve_from)
        if asked.query.timezone:
            fixed.put(TIMEZONE, asked.query.timezone)
        order = sorted(fixed.keys() | {SPECIFIC_CHARACTER_SET})
        self._slots = {tag: slot for slot, tag in enumerate(order)}
        self._fixed = [self._encoder.element(tag, fixed[tag]) if tag in fixed else b"" for tag in order]
        self._columns = [
            [(self._slots[field.tag], self._head(field), field) for field in fields]
            for fields in plan.fields.values()
        ]
        first = next(iter(plan.fields.values()))
        self._term_at = [field.tag for field in first].index(SPECIFIC_CHARACTER_SET)
        self._known: list[tuple[Row, Elements] | None] = [None] * 3

    def encode(self, found: Found) -> bytes:
        """One match."""
        if self._term is None and (term := str(found.study[self._term_at] or "")) != self._used:
            self._use(term)
        answer = self._fixed.copy()
        rows = (found.study, found.series, found.instance)
        for depth, columns in enumerate(self._columns):
            row, known = rows[depth], self._known[depth]
            if known is None or known[0] is not row:
                known = self._known[depth] = row, self._elements(columns, row)
            for slot, content in known[1]:
                answer[slot] = content
        answer[self._slots[SPECIFIC_CHARACTER_SET]] = self._named
        return b"".join(answer)

    def _use(self, term: str) -> None:
        """Write text in a character set from now on."""
        self._used = term
        self._character_set = character_set(term.encode("ascii", "replace"))
        self._encoder = Encoder(self._encoding, self._character_set, "replace")
        terms = Attribute("CS", tuple(term.split("\\")))
        self._named = self._encoder.element(SPECIFIC_CHARACTER_SET, terms) if term else b""

    def _head(self, field: Field) -> bytes:
        """Tag and VR of an element whose content is the column's text; nothing for any other."""
        if field.json or field.vr not in _PLAIN_VRS:
            return b""
        head = pack(self._encoding.order + "HH", field.tag >> 16, field.tag & 0xFFFF)
        return head + field.vr.encode() if self._encoding.explicit else head

    def _elements(self, columns: Sequence[Column], row: Row) -> Elements:
        """The elements of what a row has a value of, each with its place in the answer."""
        length = _LENGTHS[self._encoding.explicit, self._encoding.little_endian]
        elements, texts = [], []
        for (slot, head, field), value in zip(columns, row, strict=True):
            if value is None or value == "" or field.tag == SPECIFIC_CHARACTER_SET:
                continue
            if head:
                content = _content(str(value), field.vr, self._character_set)
                elements.append((slot, head + length(len(content)) + content))
            elif field.json:
                texts.append(f'"{field.tag:08X}":{value}')
            else:
                attribute = Attribute(field.vr, (value if isinstance(value, int) else str(value),))
                elements.append((slot, self._encoder.element(field.tag, attribute)))
        for tag, attribute in from_json(f"{{{','.join(texts)}}}").items() if texts else ():
            wanted = reduced(attribute, self._items.get(tag))
            elements.append((self._slots[tag], self._encoder.element(tag, wanted)))
        return elements


def _content(text: str, vr: str, characters: CharacterSet) -> bytes:
    if text.isascii():
        content = text.encode()
    elif vr in TEXT_VRS:
        content = characters.encode(text, name=vr == "PN")
    else:
        content = text.encode("latin_1", "replace")
    if len(content) & 1:
        content += b"\0" if vr == "UI" else b" "
    return content[:0xFFFE]


def reduced(sequence: Attribute, wanted: frozenset[int] | None) -> Attribute:
    """A sequence whose items have the requested attributes only, known or not (PS3.4 C.2.2.2.6)."""
    if wanted is None:
        return sequence
    items = []
    for item in sequence.values:
        if isinstance(item, DataSet):
            left = DataSet()
            for tag in wanted:
                left[tag] = item.get(tag) or Attribute(vr_of(tag)[:2])
            items.append(left)
    return Attribute(sequence.vr, tuple(items))
