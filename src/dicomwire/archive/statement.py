"""Queries as SQL: which rows, in which order, page by page (PS3.4 C.2.2.2, C.4.1.3.1).

Pure: a `Query` goes in, a `Plan` comes out, which makes one SELECT for every page. A plan walks along one
index, the most selective that a key of the query has, and its rows come in that index's order: by date the
latest first, by name in alphabetical order, else studies latest first, series and instances as they arrived.
The rows of a page begin behind the last row of the one before, so no page costs more for being late, nothing
is sorted as a whole, and pages of an unchanged archive neither overlap nor leave gaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, TypeAlias

from dicomwire.archive.attributes import COLUMNS, Column, Level, Path, level_of, named, text_of
from dicomwire.archive.matching import (
    MATCH_LIMIT,
    Condition,
    Parameter,
    Seek,
    all_of,
    bounds,
    combined,
    empty,
    matched,
    values_of,
)
from dicomwire.archive.query import EMPTY, Match, Query
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.errors import QueryError

Position: TypeAlias = tuple[int, tuple[Parameter, ...]]
"""Where a page ended: the branch, and the values of its keys in the last row."""

_LARGEST: Final = (1 << 63) - 1  # SQLite's integers
_DATES: Final = (
    ("StudyDate", "StudyTime"),
    ("SeriesDate", "SeriesTime"),
    ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("InstanceCreationDate", "InstanceCreationTime"),
)
_PARTNERS: Final = {(TAGS[day],): (TAGS[time],) for day, time in _DATES}
_LIVING: Final = {
    Level.PATIENT: "study.number_of_instances > 0",
    Level.STUDY: "study.number_of_instances > 0",
    Level.SERIES: "series.number_of_instances > 0",
    Level.INSTANCE: "instance.current = 1",
}
_NEWEST: Final = (  # a patient is the newest of its studies; a study without Patient ID is its own patient
    "(study.patient_id = '' OR NOT EXISTS (SELECT 1 FROM study AS later"
    " WHERE later.patient_id = study.patient_id AND later.id > study.id"
    " AND later.issuer_of_patient_id = study.issuer_of_patient_id AND later.number_of_instances > 0))"
)
_JOINS: Final = {
    ("study", "series"): "series.study = study.id",
    ("series", "instance"): "instance.series = series.id",
    ("series", "study"): "study.id = series.study",
    ("instance", "series"): "series.id = instance.series",
}
_TABLES: Final = ("study", "series", "instance")


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a match.

    Attributes:
        expression: SQL of it.
        json: it is the text of a DICOM JSON attribute object, not a plain value.
    """

    tag: int
    vr: str
    level: Level
    expression: str
    json: bool = False
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """An expression that rows are ordered by."""

    expression: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """A walk along a stretch of an index, or along a table without one.

    Attributes:
        where: what a row has to be besides lying in the stretch.
    """

    source: str
    keys: tuple[Key, ...]
    where: tuple[Condition, ...]
    seek: Seek | None = None

    def whole(self) -> tuple[Condition, ...]:
        """What a row of the walk is."""
        return self.where if self.seek is None else (self.seek.condition, *self.where)

    def after(self, last: Sequence[Parameter]) -> Iterator[tuple[Condition, ...]]:
        """What lies behind a row: what has its keys but the last, what has its keys but the last two ...

        A bound that the row's own key makes superfluous is left out, lest the database begin there.
        """
        for depth in range(len(self.keys) - 1, -1, -1):
            parts = [f"{key.expression} = ?" for key in self.keys[:depth]]
            key = self.keys[depth]
            parts.append(f"{key.expression} {'<' if key.descending else '>'} ?")
            behind = Condition(" AND ".join(parts), tuple(last[: depth + 1]))
            if self.seek is None:
                yield behind, *self.where
                continue
            seek = replace(self.seek, start=None, end=self.seek.end if depth == 0 else None)
            held = (seek.condition,) if seek.fixed or seek.end else ()
            yield *held, behind, *self.where


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is run.

    Attributes:
        branches: walks that together find every match once.
        fields: values of each match, by table; those of its own level are in its row, the others are read
            by `parent`.
        columns: SQL of a row behind the keys: ids of the rows above, then the fields of its own level.
        slow: needs stored data sets read, so it has no place in an event loop.
    """

    query: Query
    branches: tuple[Branch, ...]
    fields: dict[str, tuple[Field, ...]]
    columns: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    slow: bool

    def statements(
        self, branch: int, last: tuple[Parameter, ...] | None
    ) -> Iterator[tuple[str, tuple[Parameter, ...]]]:
        """SELECTs of one branch, to be run in turn until a page is full; they take a limit and an offset.

        last: keys of the last row that was read, None at the beginning.
        """
        of = self.branches[branch]
        keys = ", ".join(key.expression for key in of.keys)
        order = ", ".join(f"{key.expression} {'DESC' if key.descending else 'ASC'}" for key in of.keys)
        select = ", ".join((keys, *self.columns))
        for where in (of.whole(),) if last is None else of.after(last):
            sql = " AND ".join(condition.sql for condition in where)
            yield (
                f"SELECT {select} FROM {of.source} WHERE {sql} ORDER BY {order} LIMIT ? OFFSET ?",
                (*self.parameters, *(value for condition in where for value in condition.parameters)),
            )

    def parent(self, table: str) -> tuple[str, tuple[Parameter, ...]]:
        """SELECT of the row above a match, by its id; its own parent's id comes first."""
        fields = self.fields[table]
        above = "series.study" if table == "series" else "0"
        select = ", ".join((above, *(field.expression for field in fields)))
        parameters = tuple(value for field in fields for value in field.parameters)
        return f"SELECT {select} FROM {table} WHERE {table}.id = ?", parameters

    def count(self, branch: int) -> tuple[str, tuple[Parameter, ...]]:
        """SELECT of the number of matches in a branch, counted up to a limit, its last parameter."""
        of = self.branches[branch]
        where = of.whole()
        sql = " AND ".join(condition.sql for condition in where)
        return (
            f"SELECT count(*) FROM (SELECT 1 FROM {of.source} WHERE {sql} LIMIT ?)",
            tuple(value for condition in where for value in condition.parameters),
        )


def plan(query: Query) -> Plan:
    """How to run a query.

    Raises: QueryError, when a key is unknown, belongs to a lower level or has a value that is none.
    """
    if len(query.matches) > MATCH_LIMIT:
        raise QueryError(f"query has {len(query.matches)} keys; at most {MATCH_LIMIT} wanted")
    if query.limit is not None:
        query = replace(query, limit=min(query.limit, _LARGEST))
    query = replace(query, offset=min(query.offset, _LARGEST))
    tables = _TABLES[: max(1, query.level - 1)]
    own = tables[-1]
    fields = _fields(query, tables)
    conditions = _conditions(query)
    columns = tuple(field.expression for field in fields[own])
    if own != "study":
        columns = (f"{own}.{'study' if own == 'series' else 'series'}", *columns)
    parameters = tuple(value for field in fields[own] for value in field.parameters)
    branches = tuple(_branches(query, conditions, _chosen(conditions)))
    text = " ".join((*columns, *(condition.sql for _, condition in conditions)))
    return Plan(query, branches, fields, columns, parameters, slow="instance_attributes(" in text)


def _chosen(conditions: Sequence[tuple[Level, Condition]]) -> Condition | None:
    """The condition whose indexes are walked along."""
    found = [condition for _, condition in conditions if condition.seeks]
    return min(found, key=lambda each: max(seek.index.rank for seek in each.seeks), default=None)


def _branches(
    query: Query, conditions: Sequence[tuple[Level, Condition]], chosen: Condition | None
) -> Iterator[Branch]:
    """The walks: one along each stretch of the chosen condition, or one along a table."""
    where = [Condition(_LIVING[query.level])]
    if query.level is Level.PATIENT:
        where.append(Condition(_NEWEST))
    where += [condition for _, condition in conditions if not (condition is chosen and condition.exact)]
    highest = min([query.level, *(level for level, _ in conditions)]).table
    if chosen is None:
        yield Branch(_source(highest, highest, query.level, ""), _keys(highest, query.level), tuple(where))
        return
    for number, seek in enumerate(chosen.seeks):
        table = seek.column.partition(".")[0]
        before = [
            Condition(f"NOT ({other.condition.sql})", other.condition.parameters)
            for other in chosen.seeks[:number]
            if not (other.exclusive and seek.exclusive and other.index is seek.index)
        ]
        source = _source(table, highest, query.level, seek.index.name)
        yield Branch(source, _keys(table, query.level, seek), (*before, *where), seek)


def _source(first: str, highest: str, level: Level, index: str) -> str:
    """The tables of a walk in the order of its loops, which CROSS JOIN keeps: down from the first, then up.

    highest: the topmost one that is needed.
    """
    start, top = _TABLES.index(first), min(_TABLES.index(first), _TABLES.index(highest))
    above = [(_TABLES[at + 1], _TABLES[at]) for at in range(start - 1, top - 1, -1)]
    below = [(_TABLES[at], _TABLES[at + 1]) for at in range(start, _TABLES.index(level.table))]
    source = f"{first} INDEXED BY {index}" if index else first
    for pair in (*above, *below):
        source += f" CROSS JOIN {pair[1]} ON {_JOINS[pair]}"
    return source


def _keys(first: str, level: Level, seek: Seek | None = None) -> tuple[Key, ...]:
    """What the rows of a walk are ordered by: the index, its row, and the rows of the tables below."""
    if seek is None:
        keys = [Key(f"{first}.id", descending=first == "study")]
    else:
        descending = seek.index.descending or (first == "study" and not seek.order)
        keys = [Key(each, descending) for each in (*seek.order, f"{first}.id")]
    below = _TABLES[_TABLES.index(first) + 1 : _TABLES.index(level.table) + 1]
    return (*keys, *(Key(f"{table}.id", descending=False) for table in below))


def _fields(query: Query, tables: Sequence[str]) -> dict[str, tuple[Field, ...]]:
    found: dict[str, list[Field]] = {table: [] for table in tables}
    for tag in dict.fromkeys(query.fields):
        level = level_of((tag,))
        if level is not None and level <= query.level:
            found[level.table].append(_field(query, tag, level))
    return {table: tuple(fields) for table, fields in found.items()}


def _field(query: Query, tag: int, level: Level) -> Field:
    vr = vr_of(tag)[:2]
    column = COLUMNS.get(tag)
    if column is not None:
        return Field(tag, vr, level, column.expression)
    nested = [match for match in query.matches if match.path[0] == tag and len(match.path) > 1]
    nested = [match for match in nested if not _universal(match.value)]
    if not nested:
        expression = f"json_extract({text_of(level)}, '$.\"{tag:08X}\"')"
        return Field(tag, vr, level, expression, json=True)
    alias, source, condition = _items(query, (tag,), nested, text_of(level), count())
    expression = (
        f"(SELECT json_object('vr', 'SQ', 'Value', json_group_array(json({alias}.value)))"
        f" FROM {source} WHERE {condition.sql})"
    )
    return Field(tag, vr, level, expression, json=True, parameters=condition.parameters)


def _conditions(query: Query) -> list[tuple[Level, Condition]]:
    """What a row has to be, one condition a key, with the level of each."""
    keys = {match.path: match.value for match in query.matches if not _universal(match.value)}
    paired = {
        day: time
        for day, time in _PARTNERS.items()
        if query.combined and day in keys and time in keys and EMPTY not in (keys[day], keys[time])
    }
    found: list[tuple[Level, Condition]] = []
    sequences: dict[int, list[Match]] = {}
    for path, value in keys.items():
        level = _level(path, query)
        if len(path) > 1:
            sequences.setdefault(path[0], []).append(Match(path, value))
        elif path in paired:
            found.append((level, _combined(path, paired[path], keys)))
        elif path not in paired.values():
            found.append((level, _single(query, path, value, level)))
    for tag, matches in sequences.items():
        level = _level((tag,), query)
        _, source, condition = _items(query, (tag,), matches, text_of(level), count())
        found.append((level, _exists(source, condition)))
    return found


def _level(path: Path, query: Query) -> Level:
    level = level_of(path)
    if level is None:
        raise QueryError(f"{named(path)} cannot be matched")
    if level > query.level:
        raise QueryError(f"{named(path)} is a key of a lower level than {query.level.name}")
    return level


def _single(query: Query, path: Path, value: str, level: Level) -> Condition:
    """The condition of one key that is in no sequence."""
    tag = path[0]
    vr = vr_of(tag)[:2]
    if vr == "SQ":
        raise QueryError(f"{named(path)} is a sequence; the path of one of its attributes wanted")
    column = COLUMNS.get(tag)
    if column is None:
        return _in_json(query, path, value, text_of(level), count())
    if query.empty_values and value == EMPTY:
        return empty(column)
    return matched(vr, column, values_of(vr, value, path), path, query)


def _combined(day: Path, time: Path, keys: dict[Path, str]) -> Condition:
    days, times = (
        COLUMNS.get(path[0]) or Column(_level_of(path), _scalar(path, text_of(_level_of(path))))
        for path in (day, time)
    )
    first_day, last_day = bounds(keys[day], day, "YYYYMMDD")
    first_time, last_time = bounds(keys[time], time, "HHMMSS.FFFFFF")
    first = (first_day[0] if first_day else "", first_time[0] if first_time else "")
    last = (last_day[1] if last_day else "", last_time[1] if last_time else "")
    return combined(days, times, first, last)


def _level_of(path: Path) -> Level:
    return level_of(path) or Level.INSTANCE


def _scalar(path: Path, text: str) -> str:
    """SQL of the first value of an attribute in a DICOM JSON object."""
    return f"coalesce(json_extract({text}, '$.\"{path[0]:08X}\".Value[0]'), '')"


def _in_json(query: Query, path: Path, value: str, text: str, numbers: Iterator[int]) -> Condition:
    """The condition that an attribute in a DICOM JSON object has a value."""
    vr = vr_of(path[-1])[:2]
    alias = f"value{next(numbers)}"
    source = f"json_each({text}, '$.\"{path[-1]:08X}\".Value') AS {alias}"
    if query.empty_values and value == EMPTY:
        return Condition(f"NOT EXISTS (SELECT 1 FROM {source} WHERE {alias}.value <> '')")
    group = f"json_extract({alias}.value, '$.%s')"
    parts = [f"coalesce({group % name}, '')" for name in ("Alphabetic", "Ideographic", "Phonetic")]
    column = Column(
        Level.INSTANCE,
        f"{alias}.value",
        groups=tuple((f"folded({part})", None) for part in parts) if vr == "PN" else (),
        words=f"vocabulary({' || 0x3D || '.join(parts)})".replace("0x3D", "'='") if vr == "PN" else "",
    )
    wanted = values_of(vr, value, path)
    each = [[one] for one in wanted] if query.all_values else [wanted]
    return all_of(_exists(source, matched(vr, column, some, path, query)) for some in each)


def _exists(source: str, condition: Condition) -> Condition:
    return Condition(f"EXISTS (SELECT 1 FROM {source} WHERE {condition.sql})", condition.parameters)


def _items(
    query: Query, path: Path, matches: Sequence[Match], text: str, numbers: Iterator[int]
) -> tuple[str, str, Condition]:
    """The items of a sequence as a table, its alias, and the condition that an item matches all its keys.

    path: of the sequence; each match's path begins with it.
    """
    alias = f"item{next(numbers)}"
    source = f"json_each({text}, '$.\"{path[-1]:08X}\".Value') AS {alias}"
    conditions: list[Condition] = []
    inner: dict[int, list[Match]] = {}
    depth = len(path)
    for match in matches:
        if len(match.path) == depth + 1:
            if vr_of(match.path[-1]) == "SQ":
                raise QueryError(
                    f"{named(match.path)} is a sequence; the path of one of its attributes wanted"
                )
            conditions.append(_in_json(query, match.path, match.value, f"{alias}.value", numbers))
        else:
            inner.setdefault(match.path[depth], []).append(match)
    for tag, deeper in inner.items():
        _, table, condition = _items(query, (*path, tag), deeper, f"{alias}.value", numbers)
        conditions.append(_exists(table, condition))
    return alias, source, all_of(conditions)


def _universal(value: str) -> bool:
    """Whether every row matches, whether or not it has a value (PS3.4 C.2.2.2.3)."""
    return not value.strip(" *")
