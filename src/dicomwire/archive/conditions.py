"""What a row has to be for each key of a query, in columns and in DICOM JSON texts (PS3.4 C.2.2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from dicomwire.archive.attributes import COLUMNS, Column, Level, Path, level_of, named, text_of
from dicomwire.archive.matching import WILD_CARD_VRS, Condition, Parameter, all_of, empty, matched, values_of
from dicomwire.archive.moments import between, in_range, is_moment, pairs
from dicomwire.archive.query import EMPTY, Match, Query
from dicomwire.dicom.dictionary import vr_of
from dicomwire.dicom.values import SINGLE_VALUED
from dicomwire.errors import QueryError


def conditions_of(query: Query) -> list[tuple[Level, Condition]]:
    """What a row has to be, one condition a key, with the level of each."""
    keys = {match.path: match.value for match in query.matches if not is_universal(match, query)}
    paired = pairs(query, keys)
    found: list[tuple[Level, Condition]] = []
    sequences: dict[int, list[Match]] = {}
    for path, value in keys.items():
        level = _level(path, query)
        if len(path) > 1:
            sequences.setdefault(path[0], []).append(Match(path, value))
        elif path in paired:
            found.append((level, between(query, path[0], value, keys[paired[path]])))
        elif path not in paired.values():
            found.append((level, _single(query, path, value, level)))
    for tag, matches in sequences.items():
        level = _level((tag,), query)
        found.append((level, in_sequence(query, tag, matches, text_of(tag))))
    return found


def matching_items(
    query: Query, tag: int, matches: Sequence[Match], level: Level
) -> tuple[str, tuple[Parameter, ...]]:
    """SQL of a sequence's DICOM JSON object with nothing but the items that match, and its parameters."""
    alias, source, condition = _items(query, (tag,), matches, text_of(tag), count())
    items = f"json_group_array(json({alias}.value))"
    sql = f"(SELECT json_object('vr', 'SQ', 'Value', {items}) FROM {source} WHERE {condition.sql})"
    return sql, condition.parameters


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
    if query.timezone and is_moment(tag) and value != EMPTY:
        return in_range(query, tag, value)
    column = COLUMNS.get(tag)
    if column is None:
        return in_json(query, path, value, text_of(tag), count())
    if query.empty_values and value == EMPTY:
        return empty(column)
    return matched(vr, column, values_of(vr, value, path), path, query)


def in_sequence(query: Query, tag: int, matches: Sequence[Match], text: str) -> Condition:
    """The condition that an item of a sequence in a DICOM JSON object matches all these keys."""
    _, source, condition = _items(query, (tag,), matches, text, count())
    return _exists(source, condition)


def in_json(query: Query, path: Path, value: str, text: str, numbers: Iterator[int]) -> Condition:
    """The condition that an attribute in a DICOM JSON object has a value.

    path: of the attribute; the object is where its last tag is looked for.
    """
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
    each = [[one] for one in wanted] if query.all_values and vr != "UI" else [wanted]
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
            conditions.append(in_json(query, match.path, match.value, f"{alias}.value", numbers))
        else:
            inner.setdefault(match.path[depth], []).append(match)
    for tag, deeper in inner.items():
        _, table, condition = _items(query, (*path, tag), deeper, f"{alias}.value", numbers)
        conditions.append(_exists(table, condition))
    return alias, source, all_of(conditions)


def is_universal(match: Match, query: Query) -> bool:
    """Whether every row matches, whether or not it has a value (PS3.4 C.2.2.2.3).

    One of several alternatives is enough, where they are alternatives.
    """
    if not match.value.strip(" *"):
        return True
    vr = vr_of(match.path[-1])[:2]
    if query.all_values or vr not in WILD_CARD_VRS or vr in SINGLE_VALUED:
        return False
    return any(each and not each.strip("*") for each in map(str.strip, match.value.split("\\")))
