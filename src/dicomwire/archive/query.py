"""A query: keys of patients, studies, series and instances, and what is wanted of each match (PS3.4 C.2.2).

Values only; `statement` makes SQL of them, `search` runs it. Both doors make their queries here, so that a
key means the same at each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dicomwire.archive.attributes import Level, Path, level_of

__all__ = ["EMPTY", "Level", "Match", "Path", "Query", "level_of"]

EMPTY: Final = '""'  # the value that asks for empty attributes (PS3.4 C.2.2.2.7)


@dataclass(frozen=True, slots=True)
class Match:
    """A key: the path of its tags, through sequences, and the value as the client wrote it.

    Keys within one sequence have to match in one and the same item (PS3.4 C.2.2.2.6).
    """

    path: Path
    value: str


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        level: what each match stands for.
        matches: keys of this level and those above; all have to match.
        fields: tags of the attributes wanted of each match, of this level and those above.
        limit: matches at most, None for all.
        offset: matches left out before the first.
        empty_values: the value "" asks for empty attributes (PS3.4 C.2.2.2.7).
        all_values: an attribute of several values has to have every value of its key (PS3.4 C.2.2.2.8); if
            not, the values of a key are alternatives.
        fuzzy: names match by words, prefixes of words and sounds, in any order (PS3.4 C.2.2.2.1.1).
        combined: ranges of a date and a time are one range of both (PS3.4 C.2.2.2.5.3).
        timezone: offset from UTC, as "+0100", that dates and times of keys are meant in; "" for each study's
            own (PS3.4 C.4.1.1.3.1).
    """

    level: Level
    matches: tuple[Match, ...] = ()
    fields: tuple[int, ...] = ()
    limit: int | None = None
    offset: int = 0
    empty_values: bool = False
    all_values: bool = False
    fuzzy: bool = False
    combined: bool = False
    timezone: str = ""
