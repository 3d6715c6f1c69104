"""Queries on the tables of work: which rows, in which order (PS3.4 C.2.2.2).

A table says which attributes have a column; every other one is matched in the row's DICOM JSON text. The
rules are the archive's. A search first collects the row ids, along the index that promises the fewest, then
reads the rows page by page, so that nothing is open between two pages. An index whose further columns are
those of the order gives the first matches without a look at the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple

from dicomwire.archive.attributes import Column, Index, Level, Path, named
from dicomwire.archive.conditions import in_json, in_sequence, is_universal
from dicomwire.archive.matching import (
    MATCH_LIMIT,
    Condition,
    Parameter,
    any_of,
    empty,
    matched,
    values_of,
)
from dicomwire.archive.query import EMPTY, Match, Query
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.errors import QueryError
from dicomwire.work.store import Reader

_PROBED: Final = 2_000  # rows of an index that are counted before it is taken
_AT_ONCE: Final = 500  # rows of one statement of `texts`


@dataclass(frozen=True, slots=True)
class Members:
    """A table with one row for each value of an attribute.

    Attributes:
        value, owner: its columns: the value, and the id of the row that has it.
    """

    table: str
    value: str
    owner: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of work that can be searched.

    Attributes:
        columns: where attributes are; their expressions begin with the table's name.
        members: attributes with a table of their values.
        order: expressions that matches are ordered by.
    """

    name: str
    columns: Mapping[Path, Column]
    members: Mapping[Path, Members]
    order: str


class Source(NamedTuple):
    """A statement of ids that every match is among.

    Attributes:
        along: the index of the table itself that it walks; "" for a statement on another table.
    """

    sql: str
    parameters: tuple[Parameter, ...]
    along: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """SQL of a search, in parts.

    Attributes:
        sources: for each index that could be walked along, statements of ids that together hold every match.
    """

    table: Table
    sources: tuple[tuple[Source, ...], ...]
    where: Condition


def column(table: str, name: str, index: str = "") -> Column:
    """A column; index: its name, "" for none."""
    return Column(Level.INSTANCE, f"{table}.{name}", Index(index, 0) if index else None)


def name_column(table: str, name: str, index: str) -> Column:
    """A column of a person name, with those that it is matched in beside it."""
    groups = tuple(
        (f"{table}.{name}_{part}", Index(index if part == "key" else f"{index}_{part}", 0))
        for part in ("key", "ideographic", "phonetic")
    )
    return Column(Level.INSTANCE, f"{table}.{name}", groups=groups, words=f"{table}.{name}_words")


def query_of(matches: Sequence[Match], *, limit: int | None = None, offset: int = 0, **flags: bool) -> Query:
    """A query on a table of work; flags: of `Query`."""
    return Query(Level.INSTANCE, tuple(matches), limit=limit, offset=offset, **flags)  # type: ignore[arg-type]


def select(table: Table, query: Query, also: Condition | None = None) -> Selection:
    """How to search a table.

    also: what a row has to be besides.
    Raises: QueryError, when a key has a value that is none of its VR, or there are too many keys.
    """
    if len(query.matches) > MATCH_LIMIT:
        raise QueryError(f"query has {len(query.matches)} keys; at most {MATCH_LIMIT} wanted")
    conditions = [also] if also is not None else []
    sources: list[tuple[Source, ...]] = []
    sequences: dict[int, list[Match]] = {}
    for match in query.matches:
        if is_universal(match, query):
            continue
        if match.path in table.members:
            statement = _members(table.members[match.path], match, query)
            conditions.append(Condition(f"{table.name}.id IN ({statement.sql})", statement.parameters))
            if match.value != EMPTY:
                sources.append((statement,))
        elif match.path in table.columns:
            condition = _single(table.columns[match.path], match, query)
            conditions.append(condition)
            if condition.seeks:
                sources.append(tuple(_walk(table, each.index, each.condition) for each in condition.seeks))
        elif len(match.path) > 1:
            sequences.setdefault(match.path[0], []).append(match)
        else:
            conditions.append(_in_text(table, match, query))
    text = f"{table.name}.attributes"
    conditions += [in_sequence(query, tag, matches, text) for tag, matches in sequences.items()]
    sql = " AND ".join(f"({condition.sql})" for condition in conditions) or "1"
    parameters = tuple(value for condition in conditions for value in condition.parameters)
    return Selection(table, tuple(sources), Condition(sql, parameters))


def search(reader: Reader, selection: Selection, query: Query) -> list[int]:
    """Ids of the rows that match, in order."""
    table = selection.table
    source, parameters = table.name, tuple[Parameter, ...]()
    chosen = _chosen(reader, selection)
    if len(chosen) == 1 and chosen[0].along:
        source = f"{table.name} INDEXED BY {chosen[0].along}"
    elif chosen:
        union = " UNION ".join(each.sql for each in chosen)
        source = f"(SELECT id AS found FROM ({union})) CROSS JOIN {table.name} ON {table.name}.id = found"
        parameters = tuple(value for each in chosen for value in each.parameters)
    limit = -1 if query.limit is None else query.limit
    sql = (
        f"SELECT {table.name}.id FROM {source} WHERE {selection.where.sql}"
        f" ORDER BY {table.order} LIMIT ? OFFSET ?"
    )
    rows = reader.rows(sql, (*parameters, *selection.where.parameters, limit, query.offset))
    return [int(str(row[0])) for row in rows]


def texts(reader: Reader, table: Table, ids: Sequence[int], columns: str) -> list[tuple[object, ...]]:
    """Columns of rows, in the order of their ids; rows that are gone by now are left out."""
    found: dict[int, tuple[object, ...]] = {}
    for at in range(0, len(ids), _AT_ONCE):
        some = ids[at : at + _AT_ONCE]
        sql = f"SELECT id, {columns} FROM {table.name} WHERE id IN ({', '.join('?' * len(some))})"
        found |= {int(str(row[0])): row[1:] for row in reader.rows(sql, some)}
    return [found[each] for each in ids if each in found]


def _chosen(reader: Reader, selection: Selection) -> tuple[Source, ...]:
    """The statements of the index with the fewest rows, as far as it pays to count."""
    best: tuple[Source, ...] = ()
    fewest = _PROBED
    for source in selection.sources if len(selection.sources) > 1 else ():
        rows = 0
        for each in source:
            counted = f"SELECT count(*) FROM ({each.sql} LIMIT ?)"
            rows += int(str(reader.rows(counted, (*each.parameters, fewest))[0][0]))
        if rows < fewest:
            best, fewest = source, rows
    return best or next(iter(selection.sources), ())


def _walk(table: Table, index: Index, condition: Condition) -> Source:
    sql = f"SELECT {table.name}.id FROM {table.name} INDEXED BY {index.name} WHERE {condition.sql}"
    return Source(sql, condition.parameters, index.name)


def _single(column: Column, match: Match, query: Query) -> Condition:
    if query.empty_values and match.value == EMPTY:
        return empty(column)
    vr = vr_of(match.path[-1])[:2]
    return matched(vr, column, values_of(vr, match.value, match.path), match.path, query)


def _members(members: Members, match: Match, query: Query) -> Source:
    """Ids of the rows that have one of these values."""
    vr = vr_of(match.path[-1])[:2]
    values = Column(Level.INSTANCE, f"{members.table}.{members.value}")
    condition = any_of(
        matched(vr, values, [each], match.path, query) for each in values_of(vr, match.value, match.path)
    )
    sql = f"SELECT DISTINCT {members.owner} AS id FROM {members.table} WHERE {condition.sql}"
    return Source(sql, condition.parameters)


def _in_text(table: Table, match: Match, query: Query) -> Condition:
    if vr_of(match.path[-1])[:2] == "SQ":
        raise QueryError(f"{named(match.path)} is a sequence; the path of one of its attributes wanted")
    return in_json(query, match.path, match.value, f"{table.name}.attributes", count())


def path_of(*keywords: str) -> Path:
    """The path of an attribute by its keywords."""
    return tuple(TAGS[keyword] for keyword in keywords)
