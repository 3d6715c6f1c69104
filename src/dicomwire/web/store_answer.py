"""The Store Instances Response as a client reads it (PS3.18 10.5.3, I). `store_response` writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dicomwire.dicom import xml_model
from dicomwire.errors import DicomwireError

REFERENCED_SOP_SEQUENCE: Final = "00081199"
FAILED_SOP_SEQUENCE: Final = "00081198"
OTHER_FAILURES_SEQUENCE: Final = "0008119A"
ERROR_COMMENT: Final = "00000902"  # in no table of PS3.18, and what services explain their reasons by
REFERENCED_SOP_INSTANCE_UID: Final = "00081155"
WARNING_REASON: Final = "00081196"
FAILURE_REASON: Final = "00081197"
_TAG: Final = re.compile("[0-9A-Fa-f]{8}")

Row: TypeAlias = Mapping[str, object]
"""An object of the DICOM JSON Model (PS3.18 F.2)."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """What is said of each instance.

    Attributes:
        failed: Failure Reason by SOP Instance UID; 0 where none is given.
        stored: Warning Reason by SOP Instance UID; 0 where there is none.
        others: Failure Reasons of what is not named.
        comments: the service's own words by SOP Instance UID, of those that it says something of.
        read: there was a response in JSON or in XML, or nothing at all; no page of a login.
    """

    failed: Mapping[str, int]
    stored: Mapping[str, int]
    others: tuple[int, ...]
    comments: Mapping[str, str]
    read: bool

    def unnamed(self, code: int) -> str:
        """Words for a success by its HTTP status alone, as some services tell it; "" where it is none.

        200 means that all instances are stored (PS3.18 Table 10.5.3-1), though the response that shall name
        them (10.5.3.2) is missing. 202 means that not all are: without a response nobody knows which.
        """
        silent = self.read and not (self.failed or self.stored or self.others)
        return f"HTTP {code} says stored, and names no instance" if silent and code in (200, 204) else ""


def read(body: bytes) -> Reasons:
    """Read a response of any kind; what is none says nothing."""
    row = _row(body)
    named = row or {}
    others = (_code(item, FAILURE_REASON) for item in _values(named, OTHER_FAILURES_SEQUENCE))
    return Reasons(
        _reasons(named, FAILED_SOP_SEQUENCE, FAILURE_REASON),
        _reasons(named, REFERENCED_SOP_SEQUENCE, WARNING_REASON),
        tuple(others),
        {**_comments(named, REFERENCED_SOP_SEQUENCE), **_comments(named, FAILED_SOP_SEQUENCE)},
        row is not None or not body.strip(),
    )


def _row(body: bytes) -> Row | None:
    try:
        found = xml_model.decode(body) if body.lstrip()[:1] == b"<" else json.loads(body)
    except (ValueError, DicomwireError, RecursionError):
        return None
    if isinstance(found, list):
        found = found[0] if found else {}
    return found if isinstance(found, dict) and all(map(_TAG.fullmatch, found)) else None


def _reasons(row: Row, sequence: str, reason: str) -> dict[str, int]:
    """Reason by SOP instance UID of the items of a sequence; 0 where an item gives none."""
    return {uid: _code(item, reason) for uid, item in _items(row, sequence)}


def _comments(row: Row, sequence: str) -> dict[str, str]:
    """Error Comment by SOP instance UID of the items of a sequence that have one."""
    said = ((uid, _values(item, ERROR_COMMENT)[:1]) for uid, item in _items(row, sequence))
    return {uid: str(words[0]) for uid, words in said if words}


def _items(row: Row, sequence: str) -> Iterator[tuple[str, Row]]:
    """SOP instance UID and item of each item that names an instance."""
    for item in _values(row, sequence):
        if isinstance(item, dict):
            for uid in _values(item, REFERENCED_SOP_INSTANCE_UID)[:1]:
                yield str(uid), item


def _code(item: object, reason: str) -> int:
    codes = _values(item, reason) if isinstance(item, dict) else ()
    return codes[0] if codes and isinstance(codes[0], int) else 0


def _values(row: Row, tag: str) -> Sequence[object]:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []
