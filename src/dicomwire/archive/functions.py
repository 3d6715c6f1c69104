"""SQL functions of the catalogue's readers: names, moments, and attributes that only the data set holds.

Each is deterministic: a stored data set never changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias

from dicomwire.archive.names import folded, vocabulary

AttributesOf: TypeAlias = Callable[[int], str]
"""Members of the DICOM JSON object of a stored instance, by its record id."""

_MOMENT: Final = re.compile(r"(\d{4,14})(?:\.(\d{1,6}))?([+-]\d{4})?", re.ASCII)
_OFFSET: Final = re.compile(r"[+-]\d{4}", re.ASCII)
_FIRST: Final = "00000101000000"
_LAST: Final = "99991231235959"


class Connection(Protocol):
    """What functions are added to: a connection of sqlite3."""

    def create_function(
        self, name: str, narg: int, func: Callable[..., str] | None, /, *, deterministic: bool = False
    ) -> None:
        """Have SQL know a function."""


def add_functions(connection: Connection, attributes_of: AttributesOf) -> None:
    """Add all of them to a connection."""
    add_matching_functions(connection)
    last: dict[int, str] = {}  # a row's attributes are asked for once a field

    def instance_attributes(record_id: int) -> str:
        if record_id not in last:
            last.clear()
            last[record_id] = attributes_of(record_id)
        return last[record_id]

    connection.create_function("instance_attributes", 1, instance_attributes, deterministic=True)


def add_matching_functions(connection: Connection) -> None:
    """Add those that conditions need which look at nothing but values."""
    connection.create_function("folded", 1, lambda text: folded(str(text or "")), deterministic=True)
    connection.create_function("vocabulary", 1, lambda text: vocabulary(str(text or "")), deterministic=True)
    connection.create_function("moment", 1, lambda text: moment(str(text or "")), deterministic=True)
    connection.create_function("last_moment", 1, lambda text: last_moment(str(text)), deterministic=True)
    connection.create_function("shifted", 4, _shifted, deterministic=True)


def shifted(day: str, time: str, offset: str, wanted: str) -> str:
    """A date and a time in another time zone, as YYYYMMDDHHMMSS.FFFFFF; as they are where none is known.

    offset, wanted: from UTC, as "+0100".
    """
    plain, _, fraction = time.replace(":", "").partition(".")
    rest = f".{fraction}" if fraction else ""
    if len(plain) not in (2, 4, 6) or not (_OFFSET.fullmatch(offset) and _OFFSET.fullmatch(wanted)):
        return day + plain + rest
    try:
        there = datetime.strptime(day + plain.ljust(6, "0"), "%Y%m%d%H%M%S")
        here = there - _delta(offset) + _delta(wanted)
    except (ValueError, OverflowError):
        return day + plain + rest
    return here.strftime("%Y%m%d%H%M%S")[: 8 + len(plain)] + rest


def _shifted(day: object, time: object, offset: object, wanted: object) -> str:
    return shifted(str(day or ""), str(time or ""), str(offset or ""), str(wanted)) if day else ""


def _delta(offset: str) -> timedelta:
    return timedelta(hours=int(offset[:3]), minutes=int(offset[0] + offset[3:]))


def moment(text: str) -> str:
    """A DT as YYYYMMDDHHMMSS.FFFFFF, the first moment that it can mean; in UTC where it tells an offset."""
    return _whole(text, _FIRST, "0")


def last_moment(text: str) -> str:
    """The last moment that a DT can mean, as `moment`."""
    return _whole(text, _LAST, "9")


def _whole(text: str, missing: str, digit: str) -> str:
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        return ""
    digits, fraction, offset = match[1], match[2] or "", match[3]
    whole = digits + missing[len(digits) :]
    if offset:
        try:
            whole = (datetime.strptime(whole, "%Y%m%d%H%M%S") - _delta(offset)).strftime("%Y%m%d%H%M%S")
        except (ValueError, OverflowError):
            return ""
    return f"{whole}.{fraction.ljust(6, digit)}"
