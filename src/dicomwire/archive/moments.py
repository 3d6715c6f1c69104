"""Dates and times that belong together: one range of both, other time zones (PS3.4 C.2.2.2.5, C.4.1.1.3.1).

A date and a time of the same event are a moment. Where the query names a time zone, moments are compared and
returned in it; those of a study that does not tell its own offset from UTC are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from dicomwire.archive.attributes import COLUMNS, Column, Level, Path, level_of, text_of
from dicomwire.archive.matching import Condition, Parameter, all_of, bounds, padded, ranged
from dicomwire.archive.query import EMPTY, Query
from dicomwire.dicom.dictionary import TAGS

OFFSET: Final = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d", re.ASCII)
"""What the time zone of a query is written as: its offset from UTC."""
TIMEZONE: Final = TAGS["TimezoneOffsetFromUTC"]

_EVENTS: Final = (
    "Study",
    "Series",
    "PerformedProcedureStepStart",
    "PerformedProcedureStepEnd",
    "Acquisition",
    "Content",
    "InstanceCreation",
    "PresentationCreation",
)
_TIMES: Final = {TAGS[f"{event}Date"]: TAGS[f"{event}Time"] for event in _EVENTS}
_DAYS: Final = {time: day for day, time in _TIMES.items()}
_OFFSETS: Final = {
    "study": "study.timezone_offset",
    "series": "(SELECT timezone_offset FROM study AS whole WHERE whole.id = series.study)",
    "instance": "(SELECT timezone_offset FROM study AS whole JOIN series AS part ON part.study = whole.id"
    " WHERE part.id = instance.series)",
}


def is_moment(tag: int) -> bool:
    """Whether an attribute is the date or the time of an event."""
    return tag in _TIMES or tag in _DAYS


def pairs(query: Query, keys: Mapping[Path, str]) -> dict[Path, Path]:
    """The dates among the keys, each with the time that it is one range with."""
    return {
        (day,): (time,)
        for day, time in _TIMES.items()
        if query.combined and (day,) in keys and (time,) in keys and EMPTY not in (keys[day,], keys[time,])
    }


def between(query: Query, day: int, days: str, times: str) -> Condition:
    """The condition that an event is within a range of dates and times together (PS3.4 C.2.2.2.5.3)."""
    first_day, last_day = bounds(days, (day,), "YYYYMMDD")
    first_time, last_time = bounds(times, (_TIMES[day],), "HHMMSS.FFFFFF")
    first = first_day[0] + (first_time[0] if first_time else "000000") if first_day else ""
    last = last_day[1] + (last_time[1] if last_time else "235960.999999") if last_day else ""
    return all_of([_near(query, day, first[:8], last[:8]), _within(query, day, first, last)])


def in_range(query: Query, tag: int, value: str) -> Condition:
    """The condition that an event is within a range of dates, or of times, of the query's time zone."""
    if tag in _TIMES:
        first, last = bounds(value, (tag,), "YYYYMMDD")
        lower, upper = first[0] if first else "", last[1] if last else ""
        whole = _within(query, tag, lower, f"{upper}235960.999999" if upper else "")
        return all_of([_near(query, tag, lower, upper), whole])
    first, last = bounds(value, (tag,), "HHMMSS.FFFFFF")
    sql, parameters = in_timezone(tag, query.timezone)
    limits = (first[0] if first else "0", last[1] if last else "~")
    return Condition(f"{sql} BETWEEN ? AND ?", (*parameters, *limits))


def in_timezone(tag: int, timezone: str) -> tuple[str, tuple[Parameter, ...]]:
    """SQL of a date, or of a time, in a time zone, and its parameters."""
    day = _DAYS.get(tag, tag)
    part = "1, 8" if tag == day else "9"
    return f"substr({_moment(day)}, {part})", (timezone,)


def told_timezone(timezone: str) -> tuple[str, tuple[Parameter, ...]]:
    """SQL of the time zone that moments are told in, and its parameters; "" where a study tells none."""
    return f"CASE WHEN {_OFFSETS['study']} GLOB '[+-][0-9][0-9][0-9][0-9]' THEN ? ELSE '' END", (timezone,)


def _near(query: Query, day: int, first: str, last: str) -> Condition:
    """A range of dates that an index knows: a day more at each end where time zones differ."""
    if query.timezone:
        first, last = _days_later(first, -1), _days_later(last, 1)
    return ranged(_column(day), first, last)


def _within(query: Query, day: int, first: str, last: str) -> Condition:
    limits = (first or "0", last or "~")
    if query.timezone:
        return Condition(f"{_moment(day)} BETWEEN ? AND ?", (query.timezone, *limits))
    time = padded(_column(_TIMES[day]).expression)
    whole = f"{_column(day).expression} || coalesce(nullif({time}, ''), '000000')"
    return Condition(f"{whole} BETWEEN ? AND ?", limits)


def _moment(day: int) -> str:
    """SQL of date and time of an event in a time zone, its one parameter."""
    offset = _OFFSETS[_level(day).table]
    return f"shifted({_column(day).expression}, {_column(_TIMES[day]).expression}, {offset}, ?)"


def _column(tag: int) -> Column:
    """Where the catalogue holds a date or a time; the first value in a DICOM JSON text."""
    column = COLUMNS.get(tag)
    if column is not None:
        return column
    sql = f"coalesce(json_extract({text_of(tag)}, '$.\"{tag:08X}\".Value[0]'), '')"
    return Column(_level(tag), sql)


def _level(tag: int) -> Level:
    return level_of((tag,)) or Level.INSTANCE


def _days_later(day: str, days: int) -> str:
    if not day:
        return ""
    try:
        return (datetime.strptime(day, "%Y%m%d") + timedelta(days=days)).strftime("%Y%m%d")
    except OverflowError:
        return day
