"""The DICOM JSON Model read: attribute objects to values (PS3.18 F.2).

Strict where a reader could misunderstand (tags, VRs, kinds of values), lenient where it cannot: a number may
stand as a string and a string VR's value as a number, as many writers have it. Numbers of DS and IS keep
their own digits.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, Union

from dicomwire.dicom.dictionary import tag_text, vr_of
from dicomwire.dicom.encoding import DEPTH_LIMIT, VRS
from dicomwire.dicom.values import NUMBER_FORMATS, STRING_VRS
from dicomwire.errors import InvalidAttribute

ParsedValue: TypeAlias = Union[str, int, float, bytes, "Parsed"]
Parsed: TypeAlias = dict[int, tuple[str, tuple[ParsedValue, ...]]]
BulkData: TypeAlias = Callable[[str], bytes]

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_MEMBERS: Final = frozenset({"vr", "Value", "InlineBinary", "BulkDataURI"})
_PLAIN: Final = STRING_VRS - {"PN"}
_PN_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


class _Number(str):
    """A JSON number in its own digits."""

    __slots__ = ()


def parse(text: str | bytes, bulk_data: BulkData | None = None) -> Parsed:
    """VR and values by tag.

    bulk_data: gives the bytes of a BulkDataURI; without it one is an error.
    Raises: InvalidAttribute, when the text is no JSON or no object of the model.
    """
    return parse_object(load(text), bulk_data)


def load(text: str | bytes | bytearray) -> object:
    """What JSON says, for `parse_object`: numbers keep their digits.

    Raises: InvalidAttribute, when the text is none, or nested too deep to be read.
    """
    try:
        found: object = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except (ValueError, RecursionError) as error:
        raise InvalidAttribute(f"no JSON: {error}") from None
    return found


def parse_object(found: object, bulk_data: BulkData | None = None) -> Parsed:
    """VR and values by tag of an object of the model, read by `load` or made of XML.

    Raises: InvalidAttribute, when it is none.
    """
    return _object(found, bulk_data, "")


def _object(found: object, bulk_data: BulkData | None, where: str, depth: int = 0) -> Parsed:
    if not isinstance(found, dict):
        raise _error(where, f"a JSON object was expected, not {_kind(found)}")
    if depth > DEPTH_LIMIT:
        raise _error(where, f"more than {DEPTH_LIMIT} sequences within each other")
    parsed: Parsed = {}
    for name, attribute in found.items():
        if not _TAG.fullmatch(name):
            raise _error(where, f"{name!r} is no tag of eight hexadecimal digits")
        tag = int(name, 16)
        if tag & 0xFFFF and tag >> 16 > 2:  # group lengths, command and file meta elements are left out
            parsed[tag] = _attribute(tag, attribute, bulk_data, where, depth)
    return parsed


def _attribute(
    tag: int, found: object, bulk_data: BulkData | None, above: str, depth: int
) -> tuple[str, tuple[ParsedValue, ...]]:
    if isinstance(found, dict) and isinstance(vr := found.get("vr"), str) and vr in VRS:
        if len(found) == 1:
            return vr, ()  # most keys of a query
        values = found.get("Value")
        if len(found) == 2 and vr in _PLAIN and type(values) is list and set(map(type, values)) == {str}:
            return vr, tuple(values)  # most attributes
    where = above + tag_text(tag)
    if not isinstance(found, dict):
        raise _error(where, f"an attribute object was expected, not {_kind(found)}")
    if unknown := found.keys() - _MEMBERS:
        raise _error(where, f"{min(unknown)!r} is no member of an attribute object")
    vr = found.get("vr", vr_of(tag)[:2])
    if not isinstance(vr, str) or vr not in VRS:
        raise _error(where, f"{vr!r} is no VR")
    contents = found.keys() - {"vr"}
    if len(contents) > 1:
        raise _error(where, f"has {' and '.join(sorted(contents))}; one of them was expected")
    if "InlineBinary" in found:
        return vr, (_inline(found["InlineBinary"], where),)
    if "BulkDataURI" in found:
        return vr, (_bulk(found["BulkDataURI"], bulk_data, where),)
    values = found.get("Value", [])
    if not isinstance(values, list):
        raise _error(where, f"Value is {_kind(values)}, not an array")
    if vr == "SQ":
        return vr, tuple(
            _object({} if item is None else item, bulk_data, f"{where}[{index}]", depth + 1)
            for index, item in enumerate(values)
        )
    return vr, tuple(_value(vr, value, where) for value in values)


def _inline(found: object, where: str) -> bytes:
    try:
        if isinstance(found, str):
            return b64decode(found, validate=True)
    except ValueError:  # binascii.Error is one; text beyond ASCII is another
        pass
    raise _error(where, "InlineBinary is no base64 text")


def _bulk(found: object, bulk_data: BulkData | None, where: str) -> bytes:
    if not isinstance(found, str):
        raise _error(where, f"BulkDataURI is {_kind(found)}, not a string")
    if bulk_data is None:
        raise _error(where, "a BulkDataURI has no place here: give the value itself")
    return bulk_data(found)


def _value(vr: str, found: object, where: str) -> ParsedValue:
    """One value of an attribute that is no sequence."""
    if vr == "PN" and isinstance(found, dict):
        return _person_name(found, where)
    if not isinstance(found, str) and found is not None:
        raise _error(where, f"{_kind(found)} is no value of {vr}")
    text = "" if found is None else str(found)
    if vr in STRING_VRS:
        return text
    try:
        if vr in NUMBER_FORMATS:
            return float(text) if vr in ("FL", "FD") else int(text)
        if vr == "AT" and _TAG.fullmatch(text):
            return int(text, 16)
    except ValueError:
        pass
    raise _error(where, f"{text[:64]!r} is no value of {vr}")


def _person_name(found: Mapping[str, object], where: str) -> str:
    if unknown := found.keys() - set(_PN_GROUPS):
        raise _error(where, f"{min(unknown)!r} is no component group of a Person Name")
    groups = [found.get(group, "") for group in _PN_GROUPS]
    if not all(isinstance(group, str) for group in groups):
        raise _error(where, "a component group of a Person Name is no string")
    return "=".join(str(group) for group in groups).rstrip("=")


def _kind(found: object) -> str:
    names = {dict: "an object", list: "an array", bool: "true or false", _Number: "a number", str: "a string"}
    return names.get(type(found), "null")


def _error(where: str, what: str) -> InvalidAttribute:
    return InvalidAttribute(f"{where}: {what} (PS3.18 F.2)" if where else f"{what} (PS3.18 F.2)")
