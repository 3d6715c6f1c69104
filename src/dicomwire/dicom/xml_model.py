"""The Native DICOM Model: DICOM JSON objects as XML and back (PS3.19 A.1, PS3.18 8.7.3.2).

Both models say the same of a data set, so this one is made from the JSON Model and read into it; who can read
or write the one can the other. Private tags keep their block: (0009,1001) is "00091001".

Documents with a document type declaration are refused before anything of it is read: no entity is expanded,
nothing outside is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from dicomwire.dicom.dictionary import keyword_of, tag_text, vr_of
from dicomwire.dicom.encoding import DEPTH_LIMIT
from dicomwire.errors import InvalidAttribute

JsonObject: TypeAlias = Mapping[str, object]

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_LEVELS: Final = 2  # XML elements that one sequence adds: DicomAttribute and Item
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")


def encode(text: str | bytes) -> bytes:
    """The XML document, in UTF-8, of the text of a DICOM JSON object.

    Numbers keep their digits; characters that XML cannot have become U+FFFD. Source: PS3.19 A.1.5.
    """
    data_set = json.loads(text, parse_float=str, parse_int=str)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    head += f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
    return "".join((head, *_attributes(data_set), "</NativeDicomModel>\n")).encode()


def decode(document: bytes) -> dict[str, object]:
    """The DICOM JSON object of an XML document.

    Raises: InvalidAttribute, when it is not well-formed, declares a document type, is nested too deep, or
        is no Native DICOM Model.
    """
    root = _tree(document)
    if _name(root) != "NativeDicomModel":
        raise InvalidAttribute(f"root element {_name(root)[:64]!r}; NativeDicomModel wanted (PS3.19 A.1.5)")
    return _object(root)


def _attributes(data_set: JsonObject) -> Iterator[str]:
    creators: dict[str, str] = {}
    for tag, attribute in data_set.items():
        assert isinstance(attribute, Mapping)
        number = int(tag, 16)
        creator = ""
        if number >> 16 & 1:
            group, block = tag[:4], number >> 8 & 0xFF
            if block == 0:
                creators[f"{group}{tag[6:]}"] = "".join(map(str, attribute.get("Value", ())))
            else:
                creator = creators.get(f"{group}{block:02X}", "")
        name = f" privateCreator={quoteattr(_xml(creator))}" if creator else _keyword(number)
        yield f'<DicomAttribute tag="{tag}" vr="{attribute["vr"]}"{name}>'
        yield from _content(attribute)
        yield "</DicomAttribute>"


def _keyword(tag: int) -> str:
    keyword = keyword_of(tag)
    return f' keyword="{keyword}"' if keyword else ""


def _content(attribute: JsonObject) -> Iterator[str]:
    if "BulkDataURI" in attribute:
        yield f"<BulkData uri={quoteattr(str(attribute['BulkDataURI']))}/>"
    elif "InlineBinary" in attribute:
        yield f"<InlineBinary>{attribute['InlineBinary']}</InlineBinary>"
    values = attribute.get("Value", ())
    assert isinstance(values, list | tuple)
    for number, value in enumerate(values, 1):
        if attribute["vr"] == "SQ":
            yield f'<Item number="{number}">'
            yield from _attributes(value or {})
            yield "</Item>"
        elif isinstance(value, Mapping):
            yield f'<PersonName number="{number}">{"".join(_person_name(value))}</PersonName>'
        elif value is not None:
            yield f'<Value number="{number}">{_text(str(value))}</Value>'


def _person_name(value: JsonObject) -> Iterator[str]:
    for group in _GROUPS:
        if text := value.get(group):
            yield f"<{group}>"
            for name, component in zip(_COMPONENTS, str(text).split("^", 4), strict=False):
                if component:
                    yield f"<{name}>{_text(component)}</{name}>"
            yield f"</{group}>"


def _text(text: str) -> str:
    return escape(_xml(text), {"\r": "&#13;"})  # a reader makes a line feed of a bare one (XML 1.0, 2.11)


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _tree(document: bytes) -> Element:
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _LEVELS * (DEPTH_LIMIT + 2):
            raise InvalidAttribute(f"XML with more than {DEPTH_LIMIT} sequences within each other")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise InvalidAttribute("XML with a document type declaration is not taken: it has no use here")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise InvalidAttribute(f"no XML: {error}") from None
    return builder.close()


def _name(element: Element) -> str:
    """An element's name without its namespace's prefix."""
    return element.tag.rpartition(":")[2]


def _object(parent: Element) -> dict[str, object]:
    """The JSON object of a NativeDicomModel or an Item."""
    found: dict[str, object] = {}
    blocks: dict[tuple[str, str], int] = {}
    for element in parent:
        if _name(element) != "DicomAttribute":
            raise InvalidAttribute(
                f"XML element {_name(element)[:64]!r}; DicomAttribute wanted (PS3.19 A.1.5)"
            )
        tag = element.get("tag", "")
        if not _TAG.fullmatch(tag):
            raise InvalidAttribute(f"tag {tag[:64]!r} of a DicomAttribute is not eight hexadecimal digits")
        creator = element.get("privateCreator")
        if creator and int(tag, 16) & 0xFF00 == 0 and int(tag, 16) >> 16 & 1:
            tag = _reserved(tag, creator, blocks, found)
        found[tag.upper()] = _attribute(element, int(tag, 16))
    return found


def _reserved(tag: str, creator: str, blocks: dict[tuple[str, str], int], found: dict[str, object]) -> str:
    """The tag of a private element that was written without its block, in a block of its creator.

    Witness: dcm4che writes (0009,xx01) as 00090001 and the creator beside it.
    """
    group = tag[:4].upper()
    block = blocks.get((group, creator))
    if block is None:
        taken = {int(name[6:], 16) for name in found if name.startswith(group + "00")}
        block = blocks[group, creator] = next(number for number in range(0x10, 0x100) if number not in taken)
        found[f"{group}00{block:02X}"] = {"vr": "LO", "Value": [creator]}
    return f"{group}{block:02X}{tag[6:]}"


def _attribute(element: Element, tag: int) -> dict[str, object]:
    vr = element.get("vr") or vr_of(tag)[:2]
    attribute: dict[str, object] = {"vr": vr}
    values: list[object] = []
    for child in element:
        name, text = _name(child), child.text or ""
        if name == "BulkData":
            attribute["BulkDataURI"] = child.get("uri") or child.get("uuid") or ""
        elif name == "InlineBinary":
            attribute["InlineBinary"] = "".join(text.split())
        elif name == "Value":
            _place(values, child, text, tag)
        elif name == "PersonName":
            _place(values, child, {_name(group): _joined(group) for group in child}, tag)
        elif name == "Item":
            _place(values, child, _object(child), tag)
        else:
            raise InvalidAttribute(f"{tag_text(tag)}: XML element {name[:64]!r} has no place in an attribute")
    if values:
        attribute["Value"] = values
    return attribute


def _place(values: list[object], element: Element, value: object, tag: int) -> None:
    """Put a value where its number says; those left out between are empty."""
    text = element.get("number", str(len(values) + 1))
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if number <= len(values):
        raise InvalidAttribute(f"{tag_text(tag)}: number {text[:16]!r} behind value {len(values)}")
    values += [None] * (number - len(values) - 1)
    values.append(value)


def _joined(group: Element) -> str:
    """A component group of a Person Name as in a data set."""
    components = {_name(child): child.text or "" for child in group}
    return "^".join(components.get(name, "") for name in _COMPONENTS).rstrip("^")
