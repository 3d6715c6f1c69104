"""Small data sets as values: identifiers, attribute lists, procedure steps (PS3.5 7, PS3.18 F.2).

The value model between the DICOM JSON Model and the encodings of PS3.5. Instances never go through it, so a
data set here has no pixel data. Text is Unicode; `encode` chooses the character set.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias, Union

from dicomwire.dicom import json_model, xml_model
from dicomwire.dicom.byte_order import UNIT_SIZES, swapped
from dicomwire.dicom.charset import CharacterSet, encodable
from dicomwire.dicom.charset import character_set as character_set_of
from dicomwire.dicom.dictionary import TAGS, tag_text, vr_of
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, LONG_VRS, Buffer, Encoding, encoding_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.json_decode import Parsed, parse, parse_object
from dicomwire.dicom.scan import scan
from dicomwire.dicom.values import NUMBER_FORMATS, STRING_VRS, TEXT_VRS
from dicomwire.errors import InvalidAttribute

Value: TypeAlias = Union[str, int, float, bytes, "DataSet"]
Tag: TypeAlias = int | str  # a number, or the keyword of PS3.6

UTF_8: Final = "ISO_IR 192"
_SHORT_LIMIT: Final = 0xFFFE  # bytes that a 16-bit length can say of an even value
_ITEM: Final = (0xFFFE, 0xE000)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: its VR and its values.

    Attributes:
        values: str for character strings (of PN with "=" between its groups), int and float for binary
            numbers and AT, DataSet for the items of a sequence, one bytes (little endian) for all other VRs.
    """

    vr: str
    values: tuple[Value, ...] = ()


class DataSet(dict[int, Attribute]):
    """Attributes by tag. What takes a tag takes the attribute's keyword too."""

    def put(self, tag: Tag, *values: Value, vr: str = "") -> DataSet:
        """Set an attribute; empty without values or with "" alone. vr: without it the dictionary's."""
        number = tag_of(tag)
        values = () if values == ("",) else values
        plain = tuple(int(value) if isinstance(value, int) else value for value in values)  # no enumerations
        self[number] = Attribute(vr or vr_of(number)[:2], plain)
        return self

    def values_of(self, tag: Tag) -> tuple[Value, ...]:
        """The values of an attribute; none where it is absent or empty."""
        found = self.get(tag_of(tag))
        return found.values if found is not None else ()

    def text(self, tag: Tag) -> str:
        """The first value as text; "" where there is none."""
        values = self.values_of(tag)
        return str(values[0]) if values and not isinstance(values[0], bytes | DataSet) else ""

    def texts(self, tag: Tag) -> tuple[str, ...]:
        """All values as text."""
        return tuple(str(value) for value in self.values_of(tag) if not isinstance(value, bytes | DataSet))

    def sequence(self, tag: Tag) -> tuple[DataSet, ...]:
        """The items of a sequence."""
        return tuple(value for value in self.values_of(tag) if isinstance(value, DataSet))

    def has_value(self, tag: Tag) -> bool:
        """Whether an attribute is there with a value that is not empty (PS3.5 7.4.1)."""
        return any(value not in ("", b"") for value in self.values_of(tag))


def tag_of(tag: Tag) -> int:
    """The number of a tag that may be named by its keyword. Raises: KeyError, for one that is none."""
    return tag if isinstance(tag, int) else TAGS[tag]


def decode(data: Buffer, transfer_syntax_uid: str) -> DataSet:
    """A data set from its bytes.

    Raises: DataSetError, when it cannot be read to its end.
    """
    data_set = from_json(json_model.encode(data, transfer_syntax_uid, bulk_data_uri=None))
    if SPECIFIC_CHARACTER_SET in data_set:
        terms = scan(data, transfer_syntax_uid).texts(SPECIFIC_CHARACTER_SET)  # the model always says UTF-8
        data_set[SPECIFIC_CHARACTER_SET] = Attribute("CS", tuple(terms) or (UTF_8,))
    return data_set


def from_json(text: str | bytes, *, bulk_data: Callable[[str], bytes] | None = None) -> DataSet:
    """A data set from a DICOM JSON object.

    bulk_data: gives the bytes of a BulkDataURI; without it one is an error.
    Raises: InvalidAttribute, when it is no JSON, or no object of the DICOM JSON Model (PS3.18 F.2).
    """
    return _built(parse(text, bulk_data))


def from_object(found: object, *, bulk_data: Callable[[str], bytes] | None = None) -> DataSet:
    """A data set from a DICOM JSON object that has been read (`json_decode.load`, `xml_model.decode`).

    Raises: InvalidAttribute, as `from_json`.
    """
    return _built(parse_object(found, bulk_data))


def from_xml(document: bytes) -> DataSet:
    """A data set from a document of the Native DICOM Model, without bulk data.

    Raises: InvalidAttribute, when it is none (PS3.19 A.1.5).
    """
    return from_object(xml_model.decode(document))


def to_json(data_set: DataSet) -> str:
    """The DICOM JSON object of a data set; what names a character set says UTF-8."""
    members = [f'"{tag:08X}":{_attribute_json(tag, data_set[tag])}' for tag in sorted(data_set)]
    return f"{{{','.join(members)}}}"


def _attribute_json(tag: int, attribute: Attribute) -> str:
    vr, values = attribute.vr, attribute.values
    if tag == SPECIFIC_CHARACTER_SET:
        return json_model.attribute(vr, (UTF_8,))
    if vr == "SQ":
        items = ",".join([to_json(item) for item in values if isinstance(item, DataSet)])
        return f'{{"vr":"SQ","Value":[{items}]}}' if items else '{"vr":"SQ"}'
    if vr in STRING_VRS or vr in NUMBER_FORMATS or vr == "AT":
        return json_model.written(vr, values)
    content = b"".join(value for value in values if isinstance(value, bytes))
    if not content:
        return f'{{"vr":"{vr}"}}'
    return f'{{"vr":"{vr}","InlineBinary":"{b64encode(content).decode()}"}}'


def encode(
    data_set: DataSet, transfer_syntax_uid: str, *, character_set: str | None = None, substitute: bool = False
) -> bytes:
    """The bytes of a data set.

    character_set: wanted Specific Character Set; None for the data set's own. Where it cannot say the text,
        or takes code extensions to do it, ISO_IR 192 stands in (PS3.3 C.12.1.1.2).
    substitute: nothing stands in: it is written with its code extensions, and with "?" for what it lacks.
    Raises: InvalidAttribute, when a value does not fit its VR.
    """
    encoding = encoding_of(transfer_syntax_uid)
    if substitute:
        term = character_set or ""
        return _encoded(data_set, encoding, term, character_set_of(term.encode()), "replace")
    term, chosen = _sayable(data_set, character_set)
    if term == UTF_8 and all(text.isascii() for text in texts_of(data_set)):
        term = ""
    return _encoded(data_set, encoding, term, chosen)


def encode_around(data_set: DataSet, tag: int, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """The bytes of what comes before an attribute and of what comes behind it, not deflated.

    Both are in the character set that the data set names, ISO_IR 192 where that cannot say all of the text.
    Raises: InvalidAttribute, when a value does not fit its VR.
    """
    term, character_set = _sayable(data_set, None)
    content = _naming(data_set, term)
    encoder = Encoder(encoding_of(transfer_syntax_uid), character_set, "strict")
    before = {each: attribute for each, attribute in content.items() if each < tag}
    behind = {each: attribute for each, attribute in content.items() if each > tag}
    return encoder.data_set(before), encoder.data_set(behind)


def _sayable(data_set: DataSet, wanted: str | None) -> tuple[str, CharacterSet]:
    """The wanted character set, or the data set's own, if it can say the text; else ISO_IR 192."""
    term = "\\".join(data_set.texts(SPECIFIC_CHARACTER_SET)) if wanted is None else wanted
    codec = encodable(term)
    if codec is None or not all(_fits(text, codec) for text in texts_of(data_set)):
        return UTF_8, CharacterSet("utf_8")
    return term, CharacterSet(codec)


def _naming(data_set: DataSet, term: str) -> dict[int, Attribute]:
    """The attributes, with another Specific Character Set, or with none."""
    content = dict(data_set)
    content.pop(SPECIFIC_CHARACTER_SET, None)
    if term:
        content[SPECIFIC_CHARACTER_SET] = Attribute("CS", tuple(term.split("\\")))
    return content


def _encoded(
    data_set: DataSet, encoding: Encoding, term: str, character_set: CharacterSet, errors: str = "strict"
) -> bytes:
    plain = EXPLICIT_LITTLE if encoding.deflated else encoding
    written = Encoder(plain, character_set, errors).data_set(_naming(data_set, term))
    if not encoding.deflated:
        return written
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(written) + packer.flush()
    return packed + b"\0" * (len(packed) & 1)


def _built(parsed: Parsed) -> DataSet:
    data_set = DataSet()
    for tag, (vr, values) in parsed.items():
        data_set[tag] = Attribute(
            vr, tuple(_built(value) if isinstance(value, dict) else value for value in values)
        )
    return data_set


def texts_of(data_set: DataSet) -> Iterable[str]:
    """Every value that the character set governs."""
    for attribute in data_set.values():
        if attribute.vr in TEXT_VRS:
            yield from (value for value in attribute.values if isinstance(value, str))
        elif attribute.vr == "SQ":
            for item in attribute.values:
                if isinstance(item, DataSet):
                    yield from texts_of(item)


def _fits(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


class Encoder:
    """Writes data sets in one encoding and one character set."""

    def __init__(self, encoding: Encoding, character_set: CharacterSet, errors: str) -> None:
        self.encoding = encoding
        self.character_set = character_set
        self.errors = errors

    def data_set(self, attributes: dict[int, Attribute]) -> bytes:
        return b"".join([self.element(tag, attributes[tag]) for tag in sorted(attributes) if tag & 0xFFFF])

    def item(self, data_set: DataSet) -> bytes:
        """An item; it has the character set of the whole."""
        return self.data_set({tag: data_set[tag] for tag in data_set if tag != SPECIFIC_CHARACTER_SET})

    def element(self, tag: int, attribute: Attribute) -> bytes:
        vr = attribute.vr
        try:
            value = self.value(vr, attribute.values)
        except (struct.error, ValueError, TypeError, AttributeError, UnicodeEncodeError) as error:
            raise InvalidAttribute(f"{tag_text(tag)}: a value that {vr} cannot hold: {error}") from None
        if len(value) & 1:
            value += b"\0" if vr == "UI" or vr not in STRING_VRS else b" "
        group, number, order = tag >> 16, tag & 0xFFFF, self.encoding.order
        if not self.encoding.explicit:
            return struct.pack(order + "HHI", group, number, len(value)) + value
        if len(value) > _SHORT_LIMIT and vr not in LONG_VRS:
            vr = "UN"  # PS3.5 6.2.2
        if vr in LONG_VRS:
            return struct.pack(order + "HH2s2xI", group, number, vr.encode(), len(value)) + value
        return struct.pack(order + "HH2sH", group, number, vr.encode(), len(value)) + value

    def value(self, vr: str, values: tuple[Value, ...]) -> bytes:
        if vr == "SQ":
            items = [self.item(value) for value in values if isinstance(value, DataSet)]
            return b"".join(self.encoding.item.pack(*_ITEM, len(item)) + item for item in items)
        if vr in STRING_VRS:
            text = "\\".join([str(value) for value in values])
            if vr in TEXT_VRS:
                return self.character_set.encode(text, name=vr == "PN")
            return text.encode("latin_1", self.errors)
        if vr in NUMBER_FORMATS:
            return struct.pack(f"{self.encoding.order}{len(values)}{NUMBER_FORMATS[vr]}", *values)
        if vr == "AT":
            words = [
                word for value in values if isinstance(value, int) for word in (value >> 16, value & 0xFFFF)
            ]
            return struct.pack(f"{self.encoding.order}{len(words)}H", *words)
        content = b"".join(value for value in values if isinstance(value, bytes))
        if vr in UNIT_SIZES and not self.encoding.little_endian:
            return bytes(swapped(content, UNIT_SIZES[vr]))
        return content
