"""What a search asks for: the query parameters of QIDO-RS (PS3.18 8.3.4, 10.6.1.2).

Pure: a query string in, keys, fields and flags out, with words for what is asked for and not done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from dicomwire.archive.moments import OFFSET, TIMEZONE, is_moment
from dicomwire.archive.query import Level, Match, Path, level_of
from dicomwire.dicom.dictionary import TAGS, keyword_of, vr_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.web.parameters import flag, put_once, uint
from dicomwire.web.problems import Problem, shown

_PARAMETER_LIMIT: Final = 1_000  # of one query string; a request's head has at most 64 KiB
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_CONTROLS: Final = ("limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching")


@dataclass(frozen=True, slots=True)
class Asked:
    """A query string, read.

    Attributes:
        matches: keys at or above the level of the resource, those of its path first.
        fields: tags to return beside the required ones.
        everything: `includefield=all`.
        limit: as asked, None when it was not.
        fuzzy, empty_values, all_values, timezone: as in `Query`.
        warnings: what was asked for and is not done.
    """

    matches: tuple[Match, ...]
    fields: frozenset[int]
    everything: bool
    limit: int | None
    offset: int
    fuzzy: bool
    empty_values: bool
    all_values: bool
    timezone: str
    warnings: tuple[str, ...]


def scope_of(study: str | None, series: str | None) -> dict[Path, str]:
    """The UIDs that the path of a resource names, as keys."""
    named = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    return {(TAGS[keyword],): uid for keyword, uid in named.items() if uid is not None}


def parse(query_string: bytes, level: Level, scope: dict[Path, str]) -> Asked:
    """The query parameters of a search.

    scope: UIDs that the path of the resource names; they are the first keys.
    Raises: Problem 400, for names that are no attributes and values that are none of their kind,
        for what is there twice, and for a UID that contradicts the path.
    """
    found = given(query_string)
    matches: dict[Path, str] = {}
    warnings: list[str] = []
    for name, value in found.keys:
        path = _named(name)
        if path is None:
            warnings.append(f"{name[:80]} is no attribute; it was ignored.")
        elif why := _unmatched(path, level):
            warnings.append(f"Matching of {name[:80]} {why}; it was ignored.")
        else:
            put_once(matches, path, value, name)
    fields = found.fields | {path[0] for path in matches}
    timezone = _timezone(matches)
    for path, uid in scope.items():
        _agree(path, uid, matches.pop(path, ""))
    absent = {tag: why for tag in sorted(fields) if (why := _not_included(tag, level))}
    return Asked(
        tuple(Match(path, value) for path, value in (scope | matches).items()),
        fields - absent.keys(),
        found.everything,
        found.number("limit"),
        found.number("offset") or 0,
        found.flag("fuzzymatching"),
        found.flag("emptyvaluematching"),
        found.flag("multiplevaluematching"),
        timezone,
        (*warnings, *(f"{_shown(tag)} {why}; it is not included." for tag, why in absent.items())),
    )


@dataclass(frozen=True, slots=True)
class Given:
    """The parameters of a query string by kind (PS3.18 8.3.4).

    Attributes:
        keys: names and values of everything else, which may be attributes.
        fields: tags of `includefield`.
        everything: `includefield=all`.
        controls: each of the others.
    """

    keys: tuple[tuple[str, str], ...]
    fields: frozenset[int]
    everything: bool
    controls: Mapping[str, str]

    def number(self, name: str) -> int | None:
        """None where it is not there. Raises: Problem 400."""
        return uint(name, self.controls[name]) if name in self.controls else None

    def flag(self, name: str) -> bool:
        """False where it is not there. Raises: Problem 400."""
        return flag(name, self.controls.get(name, "false"))


def given(query_string: bytes, ignored: Sequence[str] = ()) -> Given:
    """Sort the parameters.

    Raises: Problem 400, for what is no query string, no attribute to include, or there twice.
    """
    controls: dict[str, str] = {}
    included: list[str] = []
    keys = []
    for name, value in parameters(query_string):
        plain = name.lower()
        if plain in _CONTROLS:
            put_once(controls, plain, value.strip(), name)
        elif plain == "includefield":
            included += [each.strip() for each in value.split(",") if each.strip()]
        elif plain not in ("accept", "charset", *ignored):
            keys.append((name, value))
    named = [each for each in included if each.lower() != "all"]
    return Given(
        tuple(keys), frozenset(attribute(each)[0] for each in named), len(named) < len(included), controls
    )


def _timezone(matches: dict[Path, str]) -> str:
    """The time zone of the dates and times among the keys, taken from them; "" where none is named.

    A key like any other where there is neither date nor time. Raises: Problem 400.
    """
    if not any(value and is_moment(path[0]) for path, value in matches.items()):
        return ""
    # A plus that nobody escaped has become a space
    timezone = matches.pop((TIMEZONE,), "").replace(" ", "+")
    if timezone and not OFFSET.fullmatch(timezone):
        raise Problem(400, f"TimezoneOffsetFromUTC is {shown(timezone)}; +HHMM or -HHMM wanted")
    return timezone


def _agree(path: Path, uid: str, value: str) -> None:
    """A key has the UID that the path of the resource names, among others or alone (PS3.18 10.6.1.2.1).

    Raises: Problem 400.
    """
    if value.strip(" *") and uid not in map(str.strip, value.replace(",", "\\").split("\\")):
        raise Problem(400, f"{_shown(path[0])} is {shown(value)}; the resource is of {shown(uid)}")


def _unmatched(path: Path, level: Level) -> str:
    """Why an attribute is not matched, "" where it is."""
    of = level_of(path)
    if of is None or path[0] == SPECIFIC_CHARACTER_SET:
        return "is not supported"
    return f"is of a level below {level.name.lower()}" if of > level else ""


def _not_included(tag: int, level: Level) -> str:
    """Why an attribute is not in the answer, "" where it is."""
    of = level_of((tag,))
    if of is None or tag == SPECIFIC_CHARACTER_SET:
        return "is not indexed"
    return "is of a level below" if of > level else ""


def _shown(tag: int) -> str:
    return keyword_of(tag) or f"{tag:08X}"


def attribute(name: str) -> Path:
    """The path of an attribute written as keywords or tags with dots between them (PS3.18 8.3.4.1).

    Raises: Problem 400, when a part is neither.
    """
    path = _named(name)
    if path is None:
        raise Problem(400, f"parameter {shown(name)} is no attribute; a keyword or eight digits wanted")
    return path


def _named(name: str) -> Path | None:
    """The same; None for a parameter that is not known and so ignored (PS3.18 8.3)."""
    path = []
    for part in name.split("."):
        tag = int(part, 16) if _TAG.fullmatch(part) else TAGS.get(part)
        if tag is None:
            return None
        path.append(tag)
    return tuple(path) if all(vr_of(tag) == "SQ" for tag in path[:-1]) else None


def parameters(query_string: bytes) -> Iterable[tuple[str, str]]:
    """Names and values of a query string. Raises: Problem 400."""
    try:
        found = parse_qsl(
            query_string.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_PARAMETER_LIMIT,
        )
    except ValueError:
        raise Problem(
            400, f"query string is not UTF-8 or has more than {_PARAMETER_LIMIT} parameters"
        ) from None
    for name, value in found:
        if any(c < " " or c == "\x7f" for c in name + value):
            raise Problem(400, f"parameter {shown(name)} has control characters")
    return found
