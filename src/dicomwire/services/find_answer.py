"""The Identifiers of a C-FIND's answers, from rows of the catalogue to bytes (PS3.4 C.4.1.1.3.2).

Most values go straight from their column into an element; those that the catalogue holds as DICOM JSON are
read first. A study's and a series' elements are made once for all the rows below them.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, TypeAlias

from dicomwire.archive.catalogue import Row
from dicomwire.archive.search import Found
from dicomwire.archive.statement import Field, Plan
from dicomwire.dicom.charset import CharacterSet, character_set
from dicomwire.dicom.data_set import Attribute, DataSet, Encoder, from_json
from dicomwire.dicom.dictionary import vr_of
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, encoding_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.values import TEXT_VRS
from dicomwire.services.find_request import LEVEL_NAMES, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, Asked

Elements: TypeAlias = dict[int, bytes]

_PLAIN_VRS: Final = frozenset({"CS", "DA", "IS", "LO", "PN", "SH", "TM", "UI"})
"""VRs of columns whose text is the value; their lengths have 16 bits in explicit VR."""


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
        self._fields = [
            plan.fields[table] for table in ("study", "series", "instance") if table in plan.fields
        ]
        self._heads = {
            field.tag: self._head(field)
            for fields in self._fields
            for field in fields
            if field.vr in _PLAIN_VRS and not field.json
        }
        self._character_set_at = [field.tag for field in self._fields[0]].index(SPECIFIC_CHARACTER_SET)
        fixed = DataSet()
        for tag in asked.returned:
            fixed.put(tag)
        fixed.put(QUERY_RETRIEVE_LEVEL, LEVEL_NAMES[asked.query.level]).put(RETRIEVE_AE_TITLE, retrieve_from)
        self._used: str | None = None
        self._use(term or "")
        self._fixed = {tag: self._encoder.element(tag, attribute) for tag, attribute in fixed.items()}
        self._order = sorted(self._fixed.keys() | {SPECIFIC_CHARACTER_SET})
        self._fixed[SPECIFIC_CHARACTER_SET] = b""
        self._known: list[tuple[Row, Elements] | None] = [None] * 3

    def encode(self, found: Found) -> bytes:
        """One match."""
        if self._term is None:
            self._use(str(found.study[self._character_set_at] or ""))
        answer = self._fixed.copy()
        for depth, row in enumerate((found.study, found.series, found.instance)[: len(self._fields)]):
            known = self._known[depth]
            if known is None or known[0] is not row:
                known = self._known[depth] = row, dict(self._elements(self._fields[depth], row))
            answer |= known[1]
        answer[SPECIFIC_CHARACTER_SET] = self._named
        return b"".join([answer[tag] for tag in self._order])

    def _use(self, term: str) -> None:
        """Write text in a character set from now on."""
        if term == self._used:
            return
        self._used = term
        self._character_set = character_set(term.encode("ascii", "replace"))
        self._encoder = Encoder(self._encoding, self._character_set, "replace")
        terms = Attribute("CS", tuple(term.split("\\")))
        self._named = self._encoder.element(SPECIFIC_CHARACTER_SET, terms) if term else b""

    def _head(self, field: Field) -> bytes:
        group, number, order = field.tag >> 16, field.tag & 0xFFFF, self._encoding.order
        head = Struct(order + "HH").pack(group, number)
        return head + field.vr.encode() if self._encoding.explicit else head

    def _elements(self, fields: tuple[Field, ...], row: Row) -> Iterator[tuple[int, bytes]]:
        """The elements of what a row has a value of."""
        length = Struct(self._encoding.order + ("H" if self._encoding.explicit else "I"))
        texts = []
        for field, value in zip(fields, row, strict=True):
            if value is None or value == "" or field.tag == SPECIFIC_CHARACTER_SET:
                continue
            head = self._heads.get(field.tag)
            if head is not None:
                content = _content(str(value), field.vr, self._character_set)
                yield field.tag, head + length.pack(len(content)) + content
            elif field.json:
                texts.append(f'"{field.tag:08X}":{value}')
            else:
                attribute = Attribute(field.vr, (value if isinstance(value, int) else str(value),))
                yield field.tag, self._encoder.element(field.tag, attribute)
        for tag, attribute in from_json(f"{{{','.join(texts)}}}").items() if texts else ():
            yield tag, self._encoder.element(tag, _reduced(attribute, self._items.get(tag)))


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


def _reduced(sequence: Attribute, wanted: frozenset[int] | None) -> Attribute:
    """A sequence whose items have the requested attributes only, known or not (PS3.4 C.2.2.2.6)."""
    if wanted is None:
        return sequence
    items = []
    for item in sequence.values:
        if isinstance(item, DataSet):
            reduced = DataSet()
            for tag in wanted:
                reduced[tag] = item.get(tag) or Attribute(vr_of(tag)[:2])
            items.append(reduced)
    return Attribute(sequence.vr, tuple(items))
