"""Search parameters of ImagingStudy as keys of a query (hl7.org/fhir, Search).

A parameter that is not known is passed over, and left out of the answer's self link, unless the client asks
for strict handling: then it is refused. A modifier or a chain that is not known of a parameter that is, is
refused always: without it the answer would be another one (FHIR R4 3.1.1.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Final

from dicomwire.archive.query import Level, Match
from dicomwire.dicom.dictionary import TAGS
from dicomwire.web.imaging_study import UID_SYSTEM
from dicomwire.web.problems import Problem, shown

_COUNT: Final = 10  # studies of one page unless _count says otherwise
_MOST: Final = 100  # studies of one page at most
_DATE = re.compile(r"(eq|ge|le|gt|lt|sa|eb)?(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:T.*)?", re.ASCII)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A search as it was asked for.

    Attributes:
        summary: how much of each study is wanted, one of SUMMARIES.
        matches: keys of studies.
        parts: keys of series and instances that a study has to have.
        nothing: no study here can match.
        parameters: those that were taken into account.
    """

    matches: tuple[Match, ...]
    parts: tuple[tuple[Level, Match], ...]
    nothing: bool
    count: int
    offset: int
    summary: str
    parameters: tuple[tuple[str, str], ...]


def asked_of(asked: Sequence[tuple[str, str]], *, strict: bool) -> Asked:
    """Raises: Problem 400, for values that cannot be; strict: for parameters that are unknown, too."""
    known = PARAMETERS.keys() | PARTS.keys() | {_STATUS, *_CONTROLS}
    parameters = tuple((name, text) for name, text in asked if name in known)
    values: dict[str, list[str]] = {}
    for name, text in asked:
        if name in known:
            values.setdefault(name, []).append(text)
        elif re.split("[:.]", name)[0] in KINDS:
            raise Problem(
                400, f"search parameter {shown(name)} has a modifier or chain that is not supported"
            )
        elif strict:
            words = ", ".join(sorted(known))
            raise Problem(400, f"search parameter {shown(name)} is unknown; {words} are known")
    matches = [PARAMETERS[name][1](texts) for name, texts in values.items() if name in PARAMETERS]
    if len({match.path for match in matches}) < len(matches):
        raise Problem(400, "two search parameters are about the same attribute; one wanted")
    parts = [(PARTS[name][0], PARTS[name][1](texts)) for name, texts in values.items() if name in PARTS]
    statuses = [value for _, value in _tokens(values[_STATUS])] if _STATUS in values else [_AVAILABLE]
    summary = summary_of(values.get("_summary", []))
    count = 0 if summary == "count" else _whole(values, "_count", _COUNT)
    return Asked(
        tuple(matches),
        tuple(parts),
        _AVAILABLE not in statuses,
        min(count, _MOST),
        _whole(values, "_offset", 0),
        summary,
        parameters,
    )


def summary_of(texts: Sequence[str]) -> str:
    """The value of `_summary`; "false" where there is none. Raises: Problem 400."""
    text = texts[0] if texts else "false"
    if len(texts) > 1 or text not in SUMMARIES:
        given = ", ".join(map(shown, texts))
        raise Problem(400, f"_summary is {given}; one of {', '.join(SUMMARIES)} wanted")
    return text


def _whole(values: Mapping[str, list[str]], name: str, default: int) -> int:
    texts = values.get(name, [str(default)])
    if len(texts) > 1:
        raise Problem(400, f"{name} is there {len(texts)} times; once wanted")
    (text,) = texts
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Problem(400, f"{name} is {shown(text)}; a whole number wanted")
    return int(text)


def _match(keyword: str, value: str) -> Match:
    return Match((TAGS[keyword],), value)


def _tokens(texts: list[str]) -> list[tuple[str, str]]:
    """System and value of each of a parameter's alternatives."""
    if len(texts) > 1:
        raise Problem(400, "a parameter is repeated; alternatives have commas between them")
    found = []
    for each in texts[0].split(","):
        system, _, value = each.rpartition("|")
        if not value or set("\\*?") & set(value):  # which would match as wild cards of DICOM
            raise Problem(400, f"{shown(each)} is no token; [system|]value wanted")
        found.append((system, value))
    return found


def _study(texts: list[str]) -> Match:
    return _match("StudyInstanceUID", "\\".join(value for _, value in _tokens(texts)))


def _identifier(texts: list[str]) -> Match:
    tokens = _tokens(texts)
    uids = [system == UID_SYSTEM or value.startswith("urn:oid:") for system, value in tokens]
    if any(uids) and not all(uids):
        raise Problem(400, "identifier mixes Study Instance UIDs and accession numbers; one kind wanted")
    values = [value.removeprefix("urn:oid:") for _, value in tokens]
    return _match("StudyInstanceUID" if any(uids) else "AccessionNumber", "\\".join(values))


def _patient(texts: list[str]) -> Match:
    values = [value.removeprefix("Patient/") for _, value in _tokens(texts)]
    return _match("PatientID", "\\".join(values))


def _uids(keyword: str, texts: list[str]) -> Match:
    return _match(keyword, "\\".join(value.removeprefix("urn:oid:") for _, value in _tokens(texts)))


def _modality(texts: list[str]) -> Match:
    return _match("ModalitiesInStudy", "\\".join(value for _, value in _tokens(texts)))


def _started(texts: list[str]) -> Match:
    """The range of days that all of the values leave."""
    low, high = date.min, date.max
    for text in texts:
        prefix, first, last = _days(text)
        if prefix in ("eq", "ge"):
            low = max(low, first)
        if prefix in ("eq", "le"):
            high = min(high, last)
        if prefix in ("gt", "sa"):  # of whole days both are the same
            low = max(low, last + _DAY)
        if prefix in ("lt", "eb"):
            high = min(high, first - _DAY)
    return _match("StudyDate", f"{low:%Y%m%d}".zfill(8) + f"-{high:%Y%m%d}")


def _days(text: str) -> tuple[str, date, date]:
    """Prefix, first and last day of a value of `started`."""
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day = int(found[2]), int(found[3] or 1), int(found[4] or 1)
        first = date(year, month, day)
        following = (
            first + _DAY
            if found[4]
            else date(year + month // 12, month % 12 + 1, 1)
            if found[3]
            else date(year + 1, 1, 1)
        )
        if not date.min < first < following < date.max:
            raise ValueError
        return found[1] or "eq", first, following - _DAY
    except (ValueError, OverflowError):
        raise Problem(400, f"started is {shown(text)}; [eq|ge|le|gt|lt|sa|eb]YYYY[-MM[-DD]] wanted") from None


PARAMETERS: Final[Mapping[str, tuple[str, Callable[[list[str]], Match]]]] = {
    "_id": ("token", _study),
    "identifier": ("token", _identifier),
    "patient": ("reference", _patient),
    "subject": ("reference", _patient),
    "patient.identifier": ("token", _patient),
    "subject.identifier": ("token", _patient),
    "patient:identifier": ("token", _patient),
    "subject:identifier": ("token", _patient),
    "modality": ("token", _modality),
    "dicom-class": ("token", partial(_uids, "SOPClassesInStudy")),
    "started": ("date", _started),
}
"""Of studies: kind, and what makes a key of the values."""

PARTS: Final[Mapping[str, tuple[Level, Callable[[list[str]], Match]]]] = {
    "series": (Level.SERIES, partial(_uids, "SeriesInstanceUID")),
    "instance": (Level.INSTANCE, partial(_uids, "SOPInstanceUID")),
}
"""Of what is in a study; all are tokens."""

_STATUS: Final = "status"
_AVAILABLE: Final = "available"  # what every study here is
SUMMARIES: Final = ("true", "text", "data", "count", "false")  # FHIR R4 3.1.1.5.9
_CONTROLS: Final = ("_count", "_offset", "_format", "_pretty", "_summary", "_total")

KINDS: Final[Mapping[str, str]] = {
    **{name: kind for name, (kind, _) in PARAMETERS.items()},
    **dict.fromkeys((*PARTS, _STATUS), "token"),
}
"""Every search parameter and its kind."""
