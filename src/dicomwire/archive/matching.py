"""Matching one key against one value: SQL conditions by VR and kind of matching (PS3.4 C.2.2.2).

Pure. Names are compared without regard to case and accents, everything else to the letter. Nothing that a
client wrote is ever part of the SQL text: it travels as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, TypeAlias

from dicomwire.archive.attributes import Column, Index, Path, named
from dicomwire.archive.names import folded, sound, words
from dicomwire.archive.query import Query
from dicomwire.errors import QueryError
from dicomwire.uids import is_valid_uid

Parameter: TypeAlias = str | int | float
Bound: TypeAlias = tuple[str, tuple[Parameter, ...]]  # SQL and its parameters
Bounds: TypeAlias = tuple[str, str]  # the first and the last moment of a date or time of whatever precision

MATCH_LIMIT: Final = 100  # keys of one query, alternatives of one key: SQLite nests 1,000 expressions
DEPTH_LIMIT: Final = 16  # sequences around a key
UID_LIMIT: Final = 10_000  # UIDs of one list: SQLite takes 32,766 parameters
_TEXT_LIMIT: Final = 1_024  # characters of one value; SH, LO and PN have at most 64 a component group
_SOUNDS: Final = 3  # consonants from which on a sound may be the beginning of another
_UIDS_AT_ONCE: Final = 100  # UIDs looked for with one statement
_LAST: Final = "\U0010ffff"  # sorts after every character
WILD_CARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_NUMBER_VRS: Final = frozenset({"DS", "IS", "FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"})
_DATE = re.compile(r"(\d{4})(\.?)(\d\d)\2(\d\d)", re.ASCII)
_TIME = re.compile(
    r"(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?",
    re.ASCII,
)
_MOMENT = re.compile(
    r"\d{4}(?:(?:0[1-9]|1[0-2])(?:\d\d(?:[0-2]\d(?:[0-5]\d(?:[0-6]\d(?:\.\d{1,6})?)?)?)?)?)?(?:[+-]\d{4})?",
    re.ASCII,
)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,32}(?:\.\d{0,32})?|\.\d{1,32})(?:[eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Seek:
    """A stretch of an index, in its order.

    Attributes:
        column: the expression that the index begins with.
        fixed: what holds all along the stretch.
        start, end: where a range of the column begins and ends in the index's order; None without one.
        order: expressions that its rows are ordered by, before the row itself.
        exclusive: no row is in another stretch of the same index.
    """

    index: Index
    column: str
    fixed: Bound | None
    start: Bound | None = None
    end: Bound | None = None
    order: tuple[str, ...] = ()
    exclusive: bool = False

    @property
    def condition(self) -> Condition:
        """What makes a row part of it."""
        bounds = [bound for bound in (self.fixed, self.start, self.end) if bound is not None]
        return Condition(
            " AND ".join(sql for sql, _ in bounds), tuple(value for _, values in bounds for value in values)
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row has to be.

    Attributes:
        seeks: stretches of indexes that together hold every row that can be; none where there are none.
        exact: the stretches hold no other row.
    """

    sql: str
    parameters: tuple[Parameter, ...] = ()
    seeks: tuple[Seek, ...] = ()
    exact: bool = False


def any_of(conditions: Iterable[Condition]) -> Condition:
    """One of several conditions."""
    return _joined(" OR ", list(conditions))


def all_of(conditions: Iterable[Condition]) -> Condition:
    """All of several conditions; the stretches of the first that has some."""
    parts = list(conditions)
    seeks = next((part.seeks for part in parts if part.seeks), ())
    return replace(_joined(" AND ", parts), seeks=seeks, exact=False)


def _joined(word: str, parts: Sequence[Condition]) -> Condition:
    if len(parts) == 1:
        return parts[0]
    return Condition(
        f"({word.join([f'({part.sql})' for part in parts])})",
        tuple(value for part in parts for value in part.parameters),
        tuple(seek for part in parts for seek in part.seeks) if all(part.seeks for part in parts) else (),
        exact=all(part.exact for part in parts),
    )


def values_of(vr: str, value: str, path: Path) -> list[str]:
    """The values of a key, each without padding and checked for what its VR allows.

    Raises: QueryError.
    """
    text = value.replace(",", "\\") if vr in ("UI", "CS") else value
    one = vr in ("LT", "ST", "UT", "UR")
    found = [text.rstrip(" ")] if one else [each.strip(" ") for each in text.split("\\")]
    wanted = [each for each in dict.fromkeys(found) if each]
    limit = UID_LIMIT if vr == "UI" else MATCH_LIMIT
    if not wanted or len(wanted) > limit:
        raise QueryError(f"{named(path)} has {len(wanted)} values; 1 to {limit} wanted")
    if any(len(each) > _TEXT_LIMIT for each in wanted):
        raise QueryError(f"{named(path)} has a value of more than {_TEXT_LIMIT} characters")
    for each in wanted:
        if vr == "UI" and not is_valid_uid(each):
            raise _bad(path, each, "1 to 64 digits and dots, no empty component,")
    return wanted


def matched(vr: str, column: Column, wanted: Sequence[str], path: Path, query: Query) -> Condition:
    """The condition that an attribute of a VR has one of these values, or every one where the query says so.

    Raises: QueryError, when a value is none of its VR.
    """
    if column.multiple:
        join = all_of if query.all_values and vr != "UI" else any_of
        return join(_among(column.expression, pattern) for pattern in wanted)
    if vr == "PN":
        one = _fuzzy if query.fuzzy else _name
        return any_of(one(column, pattern) for pattern in wanted)
    if vr == "UI":
        return _uids(column, wanted)
    if vr == "DA":
        return any_of(_range(column, each, path, "YYYYMMDD") for each in wanted)
    if vr == "TM":
        times = replace(column, expression=padded(column.expression))
        return any_of(_range(times, each, path, "HHMMSS.FFFFFF") for each in wanted)
    if vr == "DT":
        moments = replace(column, expression=f"moment({column.expression})")
        return any_of(_moments(moments, each, path) for each in wanted)
    if vr in _NUMBER_VRS:
        return any_of(Condition(f"{column.expression} = ?", (_number(vr, each, path),)) for each in wanted)
    return any_of(_text(column.expression, column.index, each, wild=vr in WILD_CARD_VRS) for each in wanted)


def empty(column: Column) -> Condition:
    """Empty value matching (PS3.4 C.2.2.2.7)."""
    return Condition(f"coalesce({column.expression}, '') = ''")


def ranged(column: Column, lower: str, upper: str) -> Condition:
    """The condition that a text lies between two, both included; "" for an open end."""
    return _between(column.expression, column.index, lower, upper)


def bounds(value: str, path: Path, kind: str) -> tuple[Bounds | None, Bounds | None]:
    """Where a range of dates or times begins and ends; a single value is the range of its own precision.

    kind: how its values are written, for the error.
    Raises: QueryError, when it is none (PS3.4 C.2.2.2.5).
    """
    parse = _date if kind == "YYYYMMDD" else _time
    first, hyphen, last = (part.strip(" ") for part in value.partition("-"))
    lower = parse(first) if first else None
    upper = (parse(last) if last else None) if hyphen else lower
    if (first and lower is None) or (last and upper is None) or (lower is None and upper is None):
        raise _bad(path, value, f"{kind} or a range with a hyphen")
    return lower, upper


def padded(expression: str) -> str:
    """SQL of a stored time with its hours, minutes and seconds; empty stays empty."""
    plain = f"replace({expression}, ':', '')"
    return (
        f"(CASE WHEN {plain} = '' OR length({plain}) > 6 THEN {plain}"
        f" ELSE substr({plain} || '0000', 1, 6) END)"
    )


def _equal(expression: str, index: Index | None, value: str) -> Condition:
    sql = f"{expression} = ?"
    if index is None:
        return Condition(sql, (value,))
    seek = Seek(index, expression, (sql, (value,)), order=index.then, exclusive=True)
    return Condition(sql, (value,), (seek,), exact=True)


def _between(expression: str, index: Index | None, lower: str, upper: str, word: str = "<=") -> Condition:
    """A range of text; "" for an open end, of which empty values are no part."""
    if lower == upper:
        return _equal(expression, index, lower)
    first: Bound = (f"{expression} >= ?", (lower or "0",))
    last: Bound | None = (f"{expression} {word} ?", (upper,)) if upper else None
    sql = " AND ".join(bound[0] for bound in (first, last) if bound is not None)
    parameters = (*first[1], *(last[1] if last is not None else ()))
    if index is None:
        return Condition(sql, parameters)
    start, end = (last, first) if index.descending else (first, last)
    seek = Seek(index, expression, None, start, end, (expression, *index.then))
    return Condition(sql, parameters, (seek,), exact=True)


def _text(expression: str, index: Index | None, pattern: str, *, wild: bool = True) -> Condition:
    """Single value or wild card matching; what comes before the first wild card is a range of an index."""
    literal = re.split(r"[*?]", pattern, maxsplit=1)[0] if wild else pattern
    if literal == pattern:
        return _equal(expression, index, pattern)
    found = _between(expression, index, literal, literal + _LAST, "<") if literal else None
    if pattern == literal + "*":
        return found or Condition(f"{expression} <> ''")
    glob = Condition(f"{expression} GLOB ?", (_glob(pattern),))
    return glob if found is None else all_of((found, glob))


def _name(column: Column, pattern: str) -> Condition:
    """A name by its component groups: those that the key has, or any where it has one (PS3.5 6.2.1.2)."""
    patterns = [group.strip() for group in folded(pattern).split("=", 2)]
    if len(patterns) == 1:
        return any_of(_group(expression, index, patterns[0]) for expression, index in column.groups)
    wanted = [
        _group(expression, index, group)
        for (expression, index), group in zip(column.groups, patterns, strict=False)
        if group not in ("", "*")
    ]
    return all_of(wanted) if wanted else Condition("1")


def _group(expression: str, index: Index | None, pattern: str) -> Condition:
    found = _text(expression, index, pattern)
    if index is None or not index.partial:
        return found
    # the index holds no empty values, and is taken only where that is said
    rest = f"{expression} <> ''"
    seeks = tuple(
        replace(
            seek, fixed=(rest, ()) if seek.fixed is None else (f"{seek.fixed[0]} AND {rest}", seek.fixed[1])
        )
        for seek in found.seeks
    )
    return replace(found, seeks=seeks)


def _fuzzy(column: Column, pattern: str) -> Condition:
    """Fuzzy semantic matching: each word begins a word of the name, or sounds like one or its beginning."""
    conditions = []
    for word in words(pattern):
        plain = word.rstrip("*")
        if not plain:
            continue
        begins = Condition(f"{column.words} GLOB ?", (f"* {_glob(plain)}*",))
        code = sound(plain)
        more = "*" if len(code) >= _SOUNDS else ""
        sounds = [Condition(f"{column.words} GLOB ?", (f"* {code}{more} *",))] if code else []
        conditions.append(any_of([begins, *sounds]))
    return all_of(conditions) if conditions else Condition("1")


def _among(expression: str, pattern: str) -> Condition:
    """One of several values with backslashes between them."""
    return Condition(f"('\\' || {expression} || '\\') GLOB ?", (f"*\\{_glob(pattern)}\\*",))


def _uids(column: Column, wanted: Sequence[str]) -> Condition:
    """Single value and list of UID matching."""
    expression, index = column.expression, column.index
    if len(wanted) == 1:
        return _equal(expression, index, wanted[0])
    lists = [tuple(wanted[at : at + _UIDS_AT_ONCE]) for at in range(0, len(wanted), _UIDS_AT_ONCE)]
    sql = f"{expression} IN ({', '.join('?' * len(wanted))})"
    if index is None:
        return Condition(sql, tuple(wanted))
    seeks = [
        Seek(index, expression, (f"{expression} IN ({', '.join('?' * len(uids))})", uids), exclusive=True)
        for uids in lists
    ]
    return Condition(sql, tuple(wanted), tuple(seeks), exact=True)


def _range(column: Column, value: str, path: Path, kind: str) -> Condition:
    """Range matching of dates and times."""
    lower, upper = bounds(value, path, kind)
    return _between(
        column.expression, column.index, lower[0] if lower else "", upper[1] if upper is not None else ""
    )


def _moments(column: Column, value: str, path: Path) -> Condition:
    """Range matching of date-times, where a hyphen may also begin an offset from UTC (PS3.4 C.2.2.2.5.2)."""
    for at in (-1, *(found.start() for found in re.finditer("-", value))):
        first, last = (value, value) if at < 0 else (value[:at].strip(" "), value[at + 1 :].strip(" "))
        if not (first or last) or any(each and not _MOMENT.fullmatch(each) for each in (first, last)):
            continue
        parts = [Condition(f"{column.expression} <> ''")]
        if first:
            parts.append(Condition(f"{column.expression} >= moment(?)", (first,)))
        if last:
            parts.append(Condition(f"{column.expression} <= last_moment(?)", (last,)))
        return all_of(parts)
    raise _bad(path, value, "YYYYMMDDHHMMSS.FFFFFF&ZZXX or a range with a hyphen")


def _date(text: str) -> Bounds | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None
    day = match[1] + match[3] + match[4]
    return day, day


def _time(text: str) -> Bounds | None:
    if _TIME.fullmatch(text) is None:
        return None
    whole, _, fraction = text.replace(":", "").partition(".")
    first, last = whole + "000000"[len(whole) :], whole + "995959"[len(whole) :]
    begins = fraction.rstrip("0")  # as text "1016" is before "1016.0"
    return (f"{first}.{begins}" if begins else first), f"{last}.{fraction.ljust(6, '9')}"


def _number(vr: str, value: str, path: Path) -> int | float:
    if _INTEGER.fullmatch(value):
        return int(value)
    if vr in ("DS", "FL", "FD") and _DECIMAL.fullmatch(value):
        return float(value)
    raise _bad(path, value, "a number")


def _glob(pattern: str) -> str:
    """The wild cards are those of GLOB; its sets of characters are not meant."""
    return re.sub(r"\*+", "*", pattern.replace("[", "[[]"))


def _bad(path: Path, value: str, wanted: str) -> QueryError:
    return QueryError(f"{named(path)} is {value[:80]!a}; {wanted} wanted")
