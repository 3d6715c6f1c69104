"""Query keys as Python values: mappings, data sets, dates, lists (PS3.4 C.2.2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import TypeAlias

import pydicom

from dicomwire.dicom.identifier import Key, parse, path
from dicomwire.services import data_sets
from dicomwire.work.worklist_keys import IN_STEP, STEP

Value: TypeAlias = "str | int | float | date | time | datetime | Sequence[Value] | Mapping[str, Value] | None"
"""Of one key: None and "" match everything, a list is alternatives, a mapping is what is in a sequence."""

Query: TypeAlias = pydicom.Dataset | Mapping[str, Value] | Iterable[str | Key] | None
"""Keys: a data set, by keyword, or lines such as `"PatientName=DOE*"`."""


def keys_of(query: Query, keywords: Mapping[str, Value]) -> list[Key]:
    """All keys of a call.

    Raises: QueryError, when an attribute is unknown.
    """
    return [*_given(query), *_of_mapping(keywords, ())]


def in_step(keywords: Mapping[str, Value]) -> dict[str, Value]:
    """The keys of a worklist, with those of the scheduled procedure step in their sequence (PS3.4 K.6)."""
    return {f"{STEP}.{name}" if name in IN_STEP else name: value for name, value in keywords.items()}


def _given(query: Query) -> Iterator[Key]:
    if isinstance(query, pydicom.Dataset):
        yield from data_sets.keys(query)
    elif isinstance(query, Mapping):
        yield from _of_mapping(query, ())
    elif isinstance(query, str):
        yield parse(query)
    elif query is not None:
        for each in query:
            yield parse(each) if isinstance(each, str) else each


def _of_mapping(mapping: Mapping[str, Value], above: tuple[int, ...]) -> Iterator[Key]:
    for name, value in mapping.items():
        where = (*above, *path(name))
        if isinstance(value, Mapping):
            yield Key(where)
            yield from _of_mapping(value, where)
        else:
            text = _text(value)
            yield Key(where, text, given=bool(text))


def _text(value: Value) -> str:
    """A value as DICOM writes it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.strftime("%Y%m%d%H%M%S")
    if isinstance(value, date):
        return value.strftime("%Y%m%d")
    if isinstance(value, time):
        return value.strftime("%H%M%S")
    if isinstance(value, Sequence):
        return "\\".join(_text(each) for each in value)
    return str(value)
