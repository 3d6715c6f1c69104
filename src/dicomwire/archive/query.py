"""Queries: keys of studies, series and instances as one SQL statement (PS3.4 C.2.2.2, C.6.2).

Pure: a `Query` goes in, SQL text and its parameters come out; nothing that a client wrote is ever part of
the text. Studies are ordered latest first, series and instances as they arrived; ties cannot be, so pages of
an unchanged archive neither overlap nor leave gaps.

Matching is by VR: names without regard to case and accents, everything else to the letter. Several values
of one key, after each other with backslashes, are alternatives (PS3.4 C.2.2.2.8).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Final, TypeAlias

from dicomwire.dicom.dictionary import TAGS, keyword_of, tag_text, vr_of
from dicomwire.dicom.indexed import PATIENT, SERIES, STUDY
from dicomwire.errors import QueryError
from dicomwire.uids import is_valid_uid

Parameter: TypeAlias = str | int | float
Path: TypeAlias = tuple[int, ...]
Condition: TypeAlias = tuple[str, tuple[Parameter, ...]]

EMPTY: Final = '""'  # the value that asks for empty attributes (PS3.4 C.2.2.2.7)

_MATCH_LIMIT: Final = 100  # keys of one query, alternatives of one key: SQLite nests 1,000 expressions
_UID_LIMIT: Final = 10_000  # UIDs of one list: SQLite takes 32,766 parameters
_TEXT_LIMIT: Final = 1_024  # characters of one value; SH, LO and PN have at most 64 a component group
_LARGEST: Final = (1 << 63) - 1  # SQLite's integers
_LAST: Final = "\U0010ffff"  # sorts after every character
_WILD_CARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_NUMBER_VRS: Final = frozenset({"DS", "IS", "FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"})
_DATE = re.compile(r"(\d{4})(\.?)(\d\d)\2(\d\d)", re.ASCII)
_TIME = re.compile(
    r"(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?",
    re.ASCII,
)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,32}(?:\.\d{0,32})?|\.\d{1,32})(?:[eE][+-]?\d{1,3})?", re.ASCII)


class Level(IntEnum):
    """Levels of the information model, from the top."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True)
class Match:
    """A key: the path of its tags, through sequences, and the value as the client wrote it."""

    path: Path
    value: str


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        level: what each row stands for.
        matches: keys of this level and those above; all have to match.
        limit: rows at most, None for all.
        offset: rows left out before the first.
        empty_values: the value "" asks for empty attributes (PS3.4 C.2.2.2.7).
    """

    level: Level
    matches: tuple[Match, ...] = ()
    limit: int | None = None
    offset: int = 0
    empty_values: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """Where the catalogue holds an attribute.

    Attributes:
        expression: SQL; of names the folded key.
        multiple: holds values with backslashes between them.
    """

    level: Level
    expression: str
    multiple: bool = False


def _columns(level: Level, table: str, columns: str) -> dict[Path, Column]:
    pairs = [pair.split("=") for pair in columns.split()]
    return {(TAGS[keyword],): Column(level, f"{table}.{name}") for keyword, name in pairs}


_STUDY: Final = """
    StudyInstanceUID=study_instance_uid PatientID=patient_id
    IssuerOfPatientID=issuer_of_patient_id PatientName=patient_name_key
    PatientBirthDate=patient_birth_date PatientSex=patient_sex StudyDate=study_date
    StudyTime=study_time AccessionNumber=accession_number
    ReferringPhysicianName=referring_physician_name_key StudyID=study_id
    StudyDescription=study_description NumberOfStudyRelatedSeries=number_of_series
    NumberOfStudyRelatedInstances=number_of_instances
"""
_SERIES: Final = """
    SeriesInstanceUID=series_instance_uid Modality=modality SeriesNumber=series_number
    SeriesDescription=series_description
    PerformedProcedureStepStartDate=performed_procedure_step_start_date
    PerformedProcedureStepStartTime=performed_procedure_step_start_time
    NumberOfSeriesRelatedInstances=number_of_instances
"""
_INSTANCE: Final = """
    SOPInstanceUID=sop_instance_uid SOPClassUID=sop_class_uid
    AvailableTransferSyntaxUID=transfer_syntax_uid InstanceNumber=instance_number Rows=rows
    Columns=columns BitsAllocated=bits_allocated SamplesPerPixel=samples_per_pixel
    NumberOfFrames=number_of_frames
"""
_REQUEST: Final = TAGS["RequestAttributesSequence"]

COLUMNS: Final[dict[Path, Column]] = {
    **_columns(Level.STUDY, "study", _STUDY),
    (TAGS["ModalitiesInStudy"],): Column(Level.STUDY, "study.modalities", True),
    **_columns(Level.SERIES, "series", _SERIES),
    (_REQUEST, TAGS["ScheduledProcedureStepID"]): Column(
        Level.SERIES, "series.scheduled_procedure_step_id", True
    ),
    (_REQUEST, TAGS["RequestedProcedureID"]): Column(Level.SERIES, "series.requested_procedure_id", True),
    **_columns(Level.INSTANCE, "instance", _INSTANCE),
}
"""Attributes with a column of their own; the others of studies and series are in `attributes`."""

_LEVELS: Final = {
    **{TAGS[keyword]: Level.SERIES for keyword in SERIES},
    **{TAGS[keyword]: Level.STUDY for keyword in (*PATIENT, *STUDY)},
    **{path[0]: column.level for path, column in COLUMNS.items()},
}

_STUDY_COLUMNS: Final = (
    "study.id, study.study_instance_uid, study.modalities, study.number_of_series,"
    " study.number_of_instances, study.attributes"
)
_SERIES_COLUMNS: Final = (
    "series.id, series.series_instance_uid, series.number_of_instances, series.attributes"
)
_INSTANCE_COLUMNS: Final = (
    "instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid,"
    " instance.instance_number, instance.rows, instance.columns, instance.bits_allocated,"
    " instance.samples_per_pixel, instance.number_of_frames"
)
_SELECT: Final = {
    Level.STUDY: f"SELECT {_STUDY_COLUMNS} FROM study",
    Level.SERIES: f"SELECT {_STUDY_COLUMNS}, {_SERIES_COLUMNS}"
    " FROM series JOIN study ON study.id = series.study",
    Level.INSTANCE: f"SELECT {_STUDY_COLUMNS}, {_SERIES_COLUMNS}, {_INSTANCE_COLUMNS}"
    " FROM instance JOIN series ON series.id = instance.series JOIN study ON study.id = series.study",
}
_LISTED: Final = {  # conflict versions are not, nor is what holds nothing else
    Level.STUDY: "study.number_of_instances > 0",
    Level.SERIES: "series.number_of_instances > 0",
    Level.INSTANCE: "instance.current = 1",
}
_ORDER: Final = {Level.STUDY: "study.id DESC", Level.SERIES: "series.id", Level.INSTANCE: "instance.id"}


def folded(text: str) -> str:
    """A name as it is compared: without case, accents and empty components at the end of its groups."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    return "=".join(group.strip().rstrip("^ ") for group in plain.split("=")).rstrip("=")


def level_of(path: Path) -> Level | None:
    """Level of an attribute that can be matched and returned; None when the catalogue does not hold it."""
    return _LEVELS.get(path[0])


def statement(query: Query) -> tuple[str, tuple[Parameter, ...]]:
    """One SELECT and its parameters; rows have the columns of study, then series, then instance.

    Raises: QueryError, when a key is unknown, belongs to a lower level or has a value that is none.
    """
    if len(query.matches) > _MATCH_LIMIT:
        raise QueryError(f"query has {len(query.matches)} keys; at most {_MATCH_LIMIT} wanted")
    conditions = [_LISTED[query.level]]
    parameters: list[Parameter] = []
    for match in query.matches:
        if match.value.strip(" ") in ("", "*"):
            continue
        sql, values = _condition(match, query)
        conditions.append(sql)
        parameters += values
    where = f" WHERE {' AND '.join(conditions)}"
    parameters += (-1 if query.limit is None else min(query.limit, _LARGEST), min(query.offset, _LARGEST))
    text = f"{_SELECT[query.level]}{where} ORDER BY {_ORDER[query.level]} LIMIT ? OFFSET ?"
    return text, tuple(parameters)


def _condition(match: Match, query: Query) -> Condition:
    """What a row has to be for one key."""
    level = level_of(match.path)
    if level is None:
        raise QueryError(f"{_named(match.path)} cannot be matched")
    if level > query.level:
        raise QueryError(f"{_named(match.path)} is a key of a lower level than {query.level.name}")
    vr = vr_of(match.path[-1])
    if vr == "SQ":
        raise QueryError(f"{_named(match.path)} is a sequence; the path of one of its attributes wanted")
    column = COLUMNS.get(match.path)
    if query.empty_values and match.value == EMPTY:
        return _empty(match.path, level, column)
    wanted = _wanted(match, vr)
    if column is None:
        return _in_attributes(match.path, level, vr, wanted)
    if column.multiple:
        return _any(_among(column.expression, pattern) for pattern in wanted)
    if vr == "PN":
        return _any(_name(column.expression, folded(pattern)) for pattern in wanted)
    return _of_value(vr, column.expression, wanted, match.path)


def _wanted(match: Match, vr: str) -> list[str]:
    """The alternatives of a key, each checked for what its VR allows."""
    text = match.value.replace(",", "\\") if vr in ("UI", "CS") else match.value
    one = vr in ("LT", "ST", "UT", "UR")
    found = [text.rstrip(" ")] if one else [value.strip(" ") for value in text.split("\\")]
    wanted = [value for value in dict.fromkeys(found) if value]
    limit = _UID_LIMIT if vr == "UI" else _MATCH_LIMIT
    if not wanted or len(wanted) > limit:
        raise QueryError(f"{_named(match.path)} has {len(wanted)} values; 1 to {limit} wanted")
    if any(len(value) > _TEXT_LIMIT for value in wanted):
        raise QueryError(f"{_named(match.path)} has a value of more than {_TEXT_LIMIT} characters")
    for value in wanted:
        if vr == "UI" and not is_valid_uid(value):
            raise _bad(match.path, value, "1 to 64 digits and dots, no empty component,")
    return wanted


def _of_value(vr: str, expression: str, wanted: Sequence[str], path: Path) -> Condition:
    """Single value, list of UID, wild card and range matching of one value."""
    if vr == "UI":
        if len(wanted) == 1:
            return f"{expression} = ?", (wanted[0],)
        return f"{expression} IN ({', '.join('?' * len(wanted))})", tuple(wanted)
    if vr == "DA":
        return _any(_range(expression, value, path, _date) for value in wanted)
    if vr == "TM":
        padded = _padded(expression)
        return _any(_range(padded, value, path, _time) for value in wanted)
    if vr in _NUMBER_VRS:
        return _any((f"{expression} = ?", (_number(vr, value, path),)) for value in wanted)
    if vr in _WILD_CARD_VRS:
        return _any(_text(expression, value) for value in wanted)
    return _any((f"{expression} = ?", (value,)) for value in wanted)


def _text(expression: str, pattern: str) -> Condition:
    """Single value or wild card matching; what comes before the first wild card is a range of an index."""
    literal = re.split(r"[*?]", pattern, maxsplit=1)[0]
    if literal == pattern:
        return f"{expression} = ?", (pattern,)
    conditions, parameters = [], []
    if literal:
        conditions.append(f"{expression} >= ? AND {expression} < ?")
        parameters += [literal, literal + _LAST]
    if pattern != literal + "*":
        conditions.append(f"{expression} GLOB ?")
        parameters.append(_glob(pattern))
    return " AND ".join(conditions) or f"{expression} <> ''", tuple(parameters)


def _name(expression: str, pattern: str) -> Condition:
    """A name as a whole or any of its component groups (PS3.5 6.2.1.2).

    Romanised groups come first and are found by their index, the others are looked for in each name.
    """
    if pattern.startswith("=") or (not pattern.isascii() and "=" not in pattern):
        return f"('=' || {expression} || '=') GLOB ?", (f"*={_glob(pattern.lstrip('='))}=*",)
    sql, parameters = _text(expression, pattern)
    if pattern.endswith("*"):
        return sql, parameters
    more, further = _text(expression, pattern + "=*")
    return f"({sql}) OR ({more})", (*parameters, *further)


def _among(expression: str, pattern: str) -> Condition:
    """One of several values with backslashes between them."""
    return f"('\\' || {expression} || '\\') GLOB ?", (f"*\\{_glob(pattern)}\\*",)


def _in_attributes(path: Path, level: Level, vr: str, wanted: Sequence[str]) -> Condition:
    """A value in the DICOM JSON text of a study or a series."""
    if vr == "PN":
        value = "lower(json_extract(found.value, '$.Alphabetic'))"
        sql, parameters = _any(_text(value, each.lower()) for each in wanted)
    else:
        sql, parameters = _of_value(vr, "found.value", wanted, path)
    return f"EXISTS (SELECT 1 FROM {_values(path, level)} WHERE {sql})", parameters


def _values(path: Path, level: Level) -> str:
    """A table `found` of the values of an attribute in the JSON text, through the items of sequences."""
    sources = []
    outer = f"'{{' || {level.name.lower()}.attributes || '}}'"
    for depth, tag in enumerate(path, 1):
        name = "found" if depth == len(path) else f"item{depth}"
        sources.append(f"json_each({outer}, '$.\"{tag:08X}\".Value') AS {name}")
        outer = f"{name}.value"
    return ", ".join(sources)


def _empty(path: Path, level: Level, column: Column | None) -> Condition:
    """Empty value matching (PS3.4 C.2.2.2.7)."""
    if column is None:
        return f"NOT EXISTS (SELECT 1 FROM {_values(path, level)})", ()
    return f"coalesce({column.expression}, '') = ''", ()


def _range(
    expression: str, value: str, path: Path, parse: Callable[[str], tuple[str, str] | None]
) -> Condition:
    """Range matching, where a single value is the range of its own precision (PS3.4 C.2.2.2.5)."""
    first, hyphen, last = (part.strip(" ") for part in value.partition("-"))
    lower = parse(first) if first else None
    upper = (parse(last) if last else None) if hyphen else lower
    if (first and lower is None) or (last and upper is None) or (lower is None and upper is None):
        kind = "YYYYMMDD" if parse is _date else "HHMMSS.FFFFFF"
        raise _bad(path, value, f"{kind} or a range with a hyphen")
    if lower is not None and lower == upper and lower[0] == lower[1]:
        return f"{expression} = ?", (lower[0],)
    conditions, parameters = [f"{expression} >= ?"], [lower[0] if lower is not None else "0"]
    if upper is not None:
        conditions.append(f"{expression} <= ?")
        parameters.append(upper[1])
    return " AND ".join(conditions), tuple(parameters)


def _date(text: str) -> tuple[str, str] | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None
    day = match[1] + match[3] + match[4]
    return day, day


def _time(text: str) -> tuple[str, str] | None:
    """The first and the last moment of a time of whatever precision."""
    if _TIME.fullmatch(text) is None:
        return None
    whole, _, fraction = text.replace(":", "").partition(".")
    first, last = whole + "000000"[len(whole) :], whole + "995959"[len(whole) :]
    return (f"{first}.{fraction}" if fraction else first), f"{last}.{fraction.ljust(6, '9')}"


def _padded(expression: str) -> str:
    """A stored time with its hours, minutes and seconds; empty stays empty."""
    plain = f"replace({expression}, ':', '')"
    return (
        f"(CASE WHEN {plain} = '' OR length({plain}) > 6 THEN {plain}"
        f" ELSE substr({plain} || '0000', 1, 6) END)"
    )


def _number(vr: str, value: str, path: Path) -> int | float:
    if _INTEGER.fullmatch(value):
        return int(value)
    if vr in ("DS", "FL", "FD") and _DECIMAL.fullmatch(value):
        return float(value)
    raise _bad(path, value, "a number")


def _glob(pattern: str) -> str:
    """The wild cards are those of GLOB; its sets of characters are not meant."""
    return re.sub(r"\*+", "*", pattern.replace("[", "[[]"))


def _any(conditions: Iterable[Condition]) -> Condition:
    alternatives = list(conditions)
    text = " OR ".join(f"({sql})" for sql, _ in alternatives)
    return f"({text})", tuple(value for _, values in alternatives for value in values)


def _named(path: Path) -> str:
    return ".".join(keyword_of(tag) or tag_text(tag) for tag in path)


def _bad(path: Path, value: str, wanted: str) -> QueryError:
    return QueryError(f"{_named(path)} is {value[:80]!a}; {wanted} wanted")
