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
from functools import lru_cache
from typing import Final, TypeAlias

from dicomwire.archive.attributes import COLUMNS, Level, level_of, text_of
from dicomwire.archive.conditions import conditions_of, is_universal, matching_items
from dicomwire.archive.matching import DEPTH_LIMIT, MATCH_LIMIT, Condition, Parameter, Seek
from dicomwire.archive.moments import TIMEZONE, in_timezone, is_moment, told_timezone
from dicomwire.archive.query import Query
from dicomwire.dicom.dictionary import vr_of
from dicomwire.errors import QueryError

Position: TypeAlias = tuple[int, tuple[Parameter, ...]]
"""Where a page ended: the branch, and the values of its keys in the last row."""

_LARGEST: Final = (1 << 63) - 1  # SQLite's integers
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
    parameters: tuple[Parameter, ...] = ()
    json: bool = False


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
    if any(len(match.path) > DEPTH_LIMIT for match in query.matches):
        raise QueryError(f"query has a key within more than {DEPTH_LIMIT} sequences")
    if query.offset > _LARGEST or (query.limit or 0) > _LARGEST:
        limit = None if query.limit is None else min(query.limit, _LARGEST)
        query = replace(query, limit=limit, offset=min(query.offset, _LARGEST))
    tables = _TABLES[: max(1, query.level - 1)]
    own = tables[-1]
    fields = _fields(query, tables)
    conditions = conditions_of(query)
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
    if query.timezone and is_moment(tag):
        return Field(tag, vr_of(tag), level, *in_timezone(tag, query.timezone))
    if query.timezone and tag == TIMEZONE:
        return Field(tag, vr_of(tag), level, *told_timezone(query.timezone))
    nested = [match for match in query.matches if len(match.path) > 1 and match.path[0] == tag]
    nested = [match for match in nested if not is_universal(match, query)]
    if not nested or tag in COLUMNS:
        return _whole(tag, level)
    expression, parameters = matching_items(query, tag, nested, level)
    return Field(tag, vr_of(tag), level, expression, json=True, parameters=parameters)


@lru_cache(maxsize=1024)
def _whole(tag: int, level: Level) -> Field:
    """An attribute as it is."""
    vr = vr_of(tag)[:2]
    column = COLUMNS.get(tag)
    if column is not None:
        return Field(tag, vr, level, column.expression)
    return Field(tag, vr, level, f"json_extract({text_of(tag)}, '$.\"{tag:08X}\"')", json=True)
