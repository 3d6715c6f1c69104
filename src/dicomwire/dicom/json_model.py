"""The DICOM JSON Model, straight from the bytes of a data set (PS3.18 F).

Text becomes UTF-8, and Specific Character Set says so (ISO_IR 192). Left out are group lengths (F.2.2),
command and file meta elements, and Data Set Trailing Padding. DS and IS are numbers, written with their own
digits, where they are valid; what is no number stays a string. NaN and infinities of FL and FD, which JSON
does not have, are the strings "NaN", "Infinity" and "-Infinity", as fo-dicom writes them.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring
from math import isfinite, isnan
from typing import Final

from dicomwire.dicom.bulk_data import BulkData, Path
from dicomwire.dicom.byte_order import UNIT_SIZES, swapped
from dicomwire.dicom.charset import character_set
from dicomwire.dicom.context import DECIDING, PIXEL_REPRESENTATION, Context
from dicomwire.dicom.deflate import INFLATE_LIMIT, inflate
from dicomwire.dicom.elements import Element, Kind, elements, items
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE, PIXEL_DATA, Buffer, encoding_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.scan import scan
from dicomwire.dicom.values import NUMBER_FORMATS, STRING_VRS, Decoder
from dicomwire.errors import DataSetError

INLINE_LIMIT: Final = (
    1024  # bytes of a binary value that is written as InlineBinary; larger ones as BulkDataURI
)
_LONGEST_NUMBER: Final = 64  # characters; DS has 16 at most, and Python reads no number of more than 4,300
TRAILING_PADDING: Final = 0xFFFCFFFC
_BINARY_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_PLAIN_VRS: Final = STRING_VRS | NUMBER_FORMATS.keys() | {"AT"}
_SPECIAL: Final = PIXEL_DATA | DECIDING | {SPECIFIC_CHARACTER_SET}
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?", re.ASCII)
UTF_8: Final = '{"vr":"CS","Value":["ISO_IR 192"]}'


def encode(
    data: Buffer,
    transfer_syntax_uid: str,
    *,
    bulk_data_uri: Callable[[BulkData], str] | None,
    inline_limit: int = INLINE_LIMIT,
    extra: Mapping[int, str] | None = None,
    inflate_limit: int = INFLATE_LIMIT,
) -> bytes:
    """One DICOM JSON object of a data set, in UTF-8.

    bulk_data_uri: gives the URI of a value; pixel data always has one, other binary values above
        inline_limit.
        None for all inline and pixel data left out.
    inline_limit: most bytes of an InlineBinary.
    extra: JSON text of further attributes by tag, made by `attribute`; they win over those of the data set.
    Raises: DataSetError, when the data set cannot be read to its end.
    Source: PS3.18 F.2.
    """
    encoding = encoding_of(transfer_syntax_uid)
    if encoding.deflated:
        data, encoding = inflate(data, inflate_limit), EXPLICIT_LITTLE
    root = 0 if encoding.explicit else scan(data, transfer_syntax_uid).integer(PIXEL_REPRESENTATION) or 0
    writer = Writer(data, bulk_data_uri, inline_limit)
    members = writer.members(elements(data, encoding), Decoder(encoding=encoding), Context(root), ())
    if extra:
        members.update(extra)
    text = _object(members)
    if SPECIFIC_CHARACTER_SET not in members and not text.isascii():
        members[SPECIFIC_CHARACTER_SET] = UTF_8
        text = _object(members)
    return text.encode()


def element(tag: int, vr: str, value: bytes, decoder: Decoder) -> str:
    """The JSON attribute object of one element: {"vr": ..., "Value": [...]}.

    vr: its VR; "" or "UN" to take the dictionary's.
    value: the raw value; of a sequence the bytes of its items.
    decoder: of the data set that it comes from, `Scan.decoder_of(tag)`.
    Raises: DataSetError, when it is a sequence whose items cannot be read.
    """
    if vr in ("", "UN"):
        vr = Context().vr(tag)
    if vr == "SQ":
        writer = Writer(value, None, len(value))
        steps = items(value, tag, decoder.encoding)
        return writer.sequence(steps, decoder, Context(), (tag,))
    if tag == SPECIFIC_CHARACTER_SET:
        return UTF_8
    return _value(vr, value, decoder)


def attribute(vr: str, values: Iterable[str | int | float | None] = ()) -> str:
    """The JSON attribute object of values at hand, for attributes that no data set holds.

    vr: not SQ or a binary one. Values: None for an empty one among several; of PN with "=" between groups.
    """
    if vr == "PN":
        names = [_person_name(str(value or "")) for value in values]
        return f'{{"vr":"PN","Value":[{",".join(names)}]}}' if names else '{"vr":"PN"}'
    texts = [
        "null" if value is None else encode_basestring(value) if isinstance(value, str) else _float(value)
        for value in values
    ]
    return f'{{"vr":"{vr}","Value":[{",".join(texts)}]}}' if texts else f'{{"vr":"{vr}"}}'


class Writer:
    """Turns the steps through a data set into members of JSON objects; recursive, as deep as its
    sequences.

    Attributes:
        bulks: values that were given a URI so far.
    """

    def __init__(
        self, data: Buffer, bulk_data_uri: Callable[[BulkData], str] | None, inline_limit: int
    ) -> None:
        self.data = data
        self.bulk_data_uri = bulk_data_uri
        self.inline_limit = inline_limit
        self.bulks = 0

    def members(
        self, steps: Iterator[Element], decoder: Decoder, context: Context, path: Path
    ) -> dict[int, str]:
        """JSON text by tag of a data set's elements, or of an item's up to its end."""
        data = self.data
        members: dict[int, str] = {}
        for kind, tag, vr, start, end, _ in steps:
            if vr in _PLAIN_VRS and tag > 0x0002FFFF and tag & 0xFFFF and tag not in _SPECIAL:
                members[tag] = _value(vr, bytes(data[start:end]), decoder)  # nearly all elements go this way
                continue
            if kind is Kind.ITEM_END:
                break
            if kind is Kind.SEQUENCE:
                members[tag] = self.sequence(steps, decoder, context, (*path, tag))
                continue
            if not tag & 0xFFFF or tag >> 16 in (0x0000, 0x0002) or tag == TRAILING_PADDING:
                continue
            if kind is Kind.ENCAPSULATED or tag in PIXEL_DATA:
                self.bulk(members, vr, start, end, kind, decoder, context, (*path, tag))
                continue
            if tag == SPECIFIC_CHARACTER_SET:
                value = bytes(data[start:end])
                decoder = Decoder(character_set(value), decoder.encoding)
                members[tag] = UTF_8
                continue
            if not vr or vr == "UN":
                vr = context.vr(tag)
            if vr in _BINARY_VRS and end - start > self.inline_limit and self.bulk_data_uri is not None:
                self.bulk(members, vr, start, end, kind, decoder, context, (*path, tag))
                continue
            value = bytes(data[start:end])
            if tag in DECIDING:
                context.observe(tag, value, decoder.encoding)
            members[tag] = (
                self.unknown_sequence(tag, value, decoder) if vr == "SQ" else _value(vr, value, decoder)
            )
        return members

    def sequence(self, steps: Iterator[Element], decoder: Decoder, context: Context, path: Path) -> str:
        """The JSON attribute object of a sequence, whose steps begin with its first item."""
        objects: list[str] = []
        for step in steps:
            if step.kind is Kind.SEQUENCE_END:
                break
            inner = (
                decoder
                if step.encoding is decoder.encoding
                else Decoder(decoder.character_set, step.encoding)
            )
            objects.append(_object(self.members(steps, inner, context.item(), (*path, len(objects)))))
        return f'{{"vr":"SQ","Value":[{",".join(objects)}]}}' if objects else '{"vr":"SQ"}'

    def unknown_sequence(self, tag: int, value: bytes, decoder: Decoder) -> str:
        """A sequence written as UN of defined length: its items are Implicit VR Little Endian (PS3.5
        6.2.2).
        """
        try:
            return element(tag, "SQ", value, Decoder(decoder.character_set, IMPLICIT_LITTLE))
        except DataSetError:
            return _value("UN", value, decoder)

    def bulk(
        self,
        members: dict[int, str],
        vr: str,
        start: int,
        end: int,
        kind: Kind,
        decoder: Decoder,
        context: Context,
        path: Path,
    ) -> None:
        encapsulated = kind is Kind.ENCAPSULATED
        if not vr or vr == "UN":
            vr = context.vr(path[-1], encapsulated=encapsulated)
        if start == end:
            members[path[-1]] = f'{{"vr":"{vr}"}}'
        elif self.bulk_data_uri is not None:
            self.bulks += 1
            uri = self.bulk_data_uri(
                BulkData(path, vr, start, end - start, encapsulated, decoder.encoding.little_endian)
            )
            members[path[-1]] = f'{{"vr":"{vr}","BulkDataURI":{encode_basestring(uri)}}}'


def _object(members: dict[int, str]) -> str:
    """A JSON object, its members in ascending order (PS3.18 F.2.2)."""
    return "{" + ",".join([f'"{tag:08X}":{members[tag]}' for tag in sorted(members)]) + "}"


def _value(vr: str, value: bytes, decoder: Decoder) -> str:
    """The JSON attribute object of an element that is no sequence."""
    if not value:
        return f'{{"vr":"{vr}"}}'
    if vr in STRING_VRS:
        return written(vr, decoder.texts(vr, value))
    if vr in NUMBER_FORMATS:
        return written(vr, decoder.numbers(vr, value))
    if vr == "AT":
        return written(vr, decoder.tags(value))
    if vr in UNIT_SIZES and not decoder.encoding.little_endian:
        value = swapped(value, UNIT_SIZES[vr])
    return f'{{"vr":"{vr}","InlineBinary":"{b64encode(value).decode()}"}}'


def written(vr: str, values: Sequence[object]) -> str:
    """The JSON attribute object of an attribute's values: text of string VRs, else numbers."""
    write = _WRITERS.get(vr, _text)
    texts = ",".join([write(value) for value in values])
    return f'{{"vr":"{vr}","Value":[{texts}]}}' if texts else f'{{"vr":"{vr}"}}'


def _text(text: str) -> str:
    return encode_basestring(text) if text else "null"


def _tag(tag: int) -> str:
    return f'"{tag:08X}"'


def _float(number: float) -> str:
    """A number of FL, FD or a binary integer VR."""
    if isfinite(number):
        return repr(number)
    return '"NaN"' if isnan(number) else '"Infinity"' if number > 0 else '"-Infinity"'


def _decimal(text: str) -> str:
    """A value of DS: with its own digits where JSON can have them."""
    if len(text) > _LONGEST_NUMBER:
        return encode_basestring(text)
    if _JSON_NUMBER.fullmatch(text):
        return text
    if not text:
        return "null"
    if _DECIMAL.fullmatch(text) and isfinite(number := float(text)):
        return repr(number)
    return encode_basestring(text)


def _integer(text: str) -> str:
    """A value of IS; "1.0", which some writers make of it, is the integer (pydicom reads it so)."""
    if not text:
        return "null"
    if len(text) > _LONGEST_NUMBER:
        return encode_basestring(text)
    if _INTEGER.fullmatch(text):
        return str(int(text))
    if _DECIMAL.fullmatch(text) and isfinite(number := float(text)) and number.is_integer():
        return str(int(number))
    return encode_basestring(text)


def _person_name(text: str) -> str:
    """A value of PN: its non-empty component groups (PS3.18 F.2.2)."""
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("=", 2), strict=False)
    members = [f'"{name}":{encode_basestring(group)}' for name, group in groups if group]
    return f"{{{','.join(members)}}}" if members else "null"


_WRITERS: Final[Mapping[str, Callable[..., str]]] = {
    **dict.fromkeys(NUMBER_FORMATS, _float),
    "DS": _decimal,
    "IS": _integer,
    "PN": _person_name,
    "AT": _tag,
}
