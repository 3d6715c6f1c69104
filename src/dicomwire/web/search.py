"""QIDO-RS: search for studies, series and instances (PS3.18 8.3.4, 10.6).

Answers are DICOM JSON in ascending tags: what the tables of 10.6.3.3 require, the attributes that were
matched, and those of `includefield`. What is asked for and not done is told in a Warning header.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive
from dicomwire.archive.query import Level, Match, Path, Query, level_of, statement
from dicomwire.dicom.dictionary import TAGS, keyword_of, vr_of
from dicomwire.errors import QueryError
from dicomwire.web.media_types import DICOM_JSON, JSON, Wanted, accept_of, not_acceptable
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem, shown
from dicomwire.web.resources import base_url, instance_url, optional_uid, study_url

Members: TypeAlias = dict[str, str]  # DICOM JSON text of the values by tag, eight hexadecimal digits

_PARAMETER_LIMIT: Final = 1_000  # of one query string; a request's head has at most 64 KiB
_WARNING_LIMIT: Final = 10  # Warning values of one answer
_LARGEST: Final = (1 << 63) - 1  # SQLite's integers
_UINT = re.compile(r"\d{1,100}", re.ASCII)
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_FLAGS: Final = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")


def _tags(*keywords: str) -> tuple[str, ...]:
    return tuple(f"{TAGS[keyword]:08X}" for keyword in keywords)


REQUIRED: Final = {
    Level.STUDY: _tags(
        *("StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName"),
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    ),
    Level.SERIES: _tags("Modality", "SeriesInstanceUID", "SeriesNumber", "NumberOfSeriesRelatedInstances"),
    Level.INSTANCE: _tags("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
}
"""Attributes that are always present (PS3.18 Tables 10.6.3-3 to 10.6.3-5, types R and U)."""

KNOWN: Final = {
    Level.STUDY: _tags("TimezoneOffsetFromUTC"),
    Level.SERIES: _tags(
        *("TimezoneOffsetFromUTC", "SeriesDescription", "PerformedProcedureStepStartDate"),
        *("PerformedProcedureStepStartTime", "RequestAttributesSequence"),
    ),
    Level.INSTANCE: _tags("TimezoneOffsetFromUTC", "Rows", "Columns", "BitsAllocated", "NumberOfFrames"),
}
"""Attributes that are present if known (type C)."""

_STUDY_UID, _SERIES_UID, _INSTANCE_UID = _tags("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_AVAILABILITY, _URL, _MODALITIES = _tags("InstanceAvailability", "RetrieveURL", "ModalitiesInStudy")
_STUDY_SERIES, _STUDY_INSTANCES, _SERIES_INSTANCES = _tags(
    "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"
)
_INSTANCE_COLUMNS: Final = _tags(
    *("SOPClassUID", "SOPInstanceUID", "AvailableTransferSyntaxUID", "InstanceNumber", "Rows", "Columns"),
    *("BitsAllocated", "SamplesPerPixel", "NumberOfFrames"),
)
_CHARACTER_SET = "00080005"  # of the instance; JSON is UTF-8
_COMPUTED: Final = {_AVAILABILITY, _URL, _CHARACTER_SET}


@dataclass(frozen=True, slots=True)
class Asked:
    """A query string, read.

    Attributes:
        matches: keys at or above the level of the resource.
        fields: tags to return beside the required ones.
        everything: `includefield=all`.
        limit: as asked, None when it was not.
        warnings: what was asked for and is not done.
    """

    matches: tuple[Match, ...]
    fields: frozenset[str]
    everything: bool
    limit: int | None
    offset: int
    empty_values: bool
    warnings: tuple[str, ...]


class Search:
    """Endpoint of GET on the resources of one level; UIDs in the path are keys."""

    def __init__(self, archive: Archive, options: WebOptions, level: Level) -> None:
        self._archive = archive
        self._options = options
        self._level = level

    async def __call__(self, request: Request) -> Response:
        accept = accept_of(request)
        content_type = accept.choose(_offer)
        if content_type is None:
            raise not_acceptable(accept, [DICOM_JSON, JSON, "DICOM XML is not made yet"])
        study, series = optional_uid(request, "study"), optional_uid(request, "series")
        asked = parse(request.scope["query_string"], self._level)
        path = [("StudyInstanceUID", study), ("SeriesInstanceUID", series)]
        scope = tuple(Match((TAGS[keyword],), uid) for keyword, uid in path if uid is not None)
        cap = self._options.maximum_results
        capped = asked.limit is None or asked.limit > cap
        limit = cap + 1 if asked.limit is None or asked.limit > cap else asked.limit
        query = Query(self._level, scope + asked.matches, limit, asked.offset, asked.empty_values)
        try:
            sql, parameters = statement(query)
        except QueryError as error:
            raise Problem(400, str(error)) from None
        rows = self._archive.catalogue.rows(sql, parameters)
        warnings = asked.warnings
        if capped and len(rows) > cap:
            rows = rows[:cap]
            warnings += (
                "The number of results exceeded the maximum supported by the server."
                " Additional results can be requested.",
            )
        headers = _warning_header(warnings)
        if not rows:
            return Response(status_code=204, headers=headers)
        payload = Payload(asked, base_url(request, self._options), _levels(self._level, study, series))
        objects = [payload.encode(row) for row in rows]
        body = f"[{','.join(objects)}]".encode("utf-8", "replace")
        return Response(body, 200, headers, content_type)


class Payload:
    """Rows of one answer as DICOM JSON objects; a study and a series are read once for all their rows."""

    def __init__(self, asked: Asked, base: str, levels: Sequence[Level]) -> None:
        self._everything = asked.everything
        self._base = base
        self._required = {tag for level in levels for tag in REQUIRED[level]}
        wanted = {tag for level in levels for tag in KNOWN[level]}
        self._wanted = self._required | wanted | asked.fields | {_STUDY_UID, _SERIES_UID}
        self._present = sorted(self._required | asked.fields)
        self._levels = levels
        self._studies: dict[object, Members] = {}
        self._series: dict[object, Members] = {}

    def encode(self, row: Sequence[object]) -> str:
        """One row of `statement`."""
        study = self._studies.get(row[0])
        if study is None:
            study = self._studies[row[0]] = self._study(row)
        members = study
        if len(row) > 6:
            series = self._series.get(row[6])
            if series is None:
                series = self._series[row[6]] = self._one_series(row)
            members = study | series
        if len(row) > 10:
            instance = zip(_INSTANCE_COLUMNS, row[10:], strict=True)
            members |= self._kept({tag: _member(tag, [v]) for tag, v in instance if v is not None})
        members = {tag: _member(tag, ()) for tag in self._present if tag not in members} | members
        members[_AVAILABILITY] = _member(_AVAILABILITY, ("ONLINE",))
        members[_URL] = _member(_URL, (self._url(row),))
        return "{" + ",".join([f'"{tag}":{members[tag]}' for tag in sorted(members)]) + "}"

    def _study(self, row: Sequence[object]) -> Members:
        stored = self._stored(row[5], Level.STUDY)
        modalities = [each for each in str(row[2]).split("\\") if each]
        return stored | self._kept(
            {
                _STUDY_UID: _member(_STUDY_UID, (row[1],)),
                _MODALITIES: _member(_MODALITIES, modalities),
                _STUDY_SERIES: _member(_STUDY_SERIES, (row[3],)),
                _STUDY_INSTANCES: _member(_STUDY_INSTANCES, (row[4],)),
            }
        )

    def _one_series(self, row: Sequence[object]) -> Members:
        return self._stored(row[9], Level.SERIES) | self._kept(
            {
                _SERIES_UID: _member(_SERIES_UID, (row[7],)),
                _SERIES_INSTANCES: _member(_SERIES_INSTANCES, (row[8],)),
            }
        )

    def _stored(self, attributes: object, level: Level) -> Members:
        """The wanted ones of the attributes that the catalogue holds as text."""
        members: dict[str, object] = json.loads(f"{{{attributes}}}")
        everything = self._everything and level in self._levels
        return {
            tag: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            for tag, value in members.items()
            if (everything or tag in self._wanted) and tag not in _COMPUTED
        }

    def _kept(self, members: Members) -> Members:
        if self._everything:
            return members
        return {tag: text for tag, text in members.items() if tag in self._wanted}

    def _url(self, row: Sequence[object]) -> str:
        study = str(row[1])
        if len(row) > 10:
            return instance_url(self._base, study=study, series=str(row[7]), instance=str(row[11]))
        url = study_url(self._base, study)
        return f"{url}/series/{row[7]}" if len(row) > 6 else url


def parse(query_string: bytes, level: Level) -> Asked:
    """The query parameters of a search.

    Raises: Problem 400, for names that are no attributes and values that are none of their kind.
    """
    matches: dict[Path, str] = {}
    fields: set[Path] = set()
    reserved: dict[str, str] = {}
    everything = False
    warnings: list[str] = []
    for name, value in _parameters(query_string):
        plain = name.lower()
        if plain in ("limit", "offset", *_FLAGS):
            reserved[plain] = value.strip()
        elif plain == "includefield":
            names = [each.strip() for each in value.split(",") if each.strip()]
            everything = everything or "all" in [each.lower() for each in names]
            fields |= {attribute(each) for each in names if each.lower() != "all"}
        elif plain not in ("accept", "charset"):
            path = attribute(name)
            of = level_of(path)
            if of is None or of > level:
                why = "is not supported" if of is None else f"is of a level below {level.name.lower()}"
                warnings.append(f"Matching of {name[:80]} {why}; it was ignored.")
                continue
            fields.add(path)
            if path in matches and matches[path].strip() and value.strip():
                value = f"{matches[path]}\\{value}"
            matches[path] = value
    flags = {name: _flag(name, reserved.get(name, "false")) for name in _FLAGS}
    if flags["fuzzymatching"]:
        warnings.append(
            "The fuzzymatching parameter is not supported. Only literal matching has been performed."
        )
    below = {path[0] for path in fields if (level_of(path) or level) > level}
    warnings += [f"{keyword_of(tag)} is of a level below; it is not included." for tag in sorted(below)]
    return Asked(
        tuple(Match(path, value) for path, value in matches.items()),
        frozenset(f"{path[0]:08X}" for path in fields if path[0] not in below and level_of(path)),
        everything,
        _uint("limit", reserved["limit"]) if "limit" in reserved else None,
        _uint("offset", reserved.get("offset", "0")),
        flags["emptyvaluematching"],
        tuple(warnings),
    )


def attribute(name: str) -> Path:
    """The path of an attribute written as keywords or tags with dots between them (PS3.18 8.3.4.1).

    Raises: Problem 400, when a part is neither.
    """
    path = []
    for part in name.split("."):
        tag = int(part, 16) if _TAG.fullmatch(part) else TAGS.get(part)
        if tag is None:
            raise Problem(400, f"parameter {shown(name)} is no attribute; a keyword or eight digits wanted")
        path.append(tag)
    return tuple(path)


def _parameters(query_string: bytes) -> Iterable[tuple[str, str]]:
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


def _uint(name: str, text: str) -> int:
    if not _UINT.fullmatch(text):
        raise Problem(400, f"{name} is {shown(text)}; a number from 0 wanted")
    return min(int(text), _LARGEST)


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise Problem(400, f"{name} is {shown(text)}; true or false wanted")
    return text.lower() == "true"


def _levels(level: Level, study: str | None, series: str | None) -> Sequence[Level]:
    """Levels whose attributes are in the answer (PS3.18 Table 10.6.1-4): none that the path names."""
    top = Level.INSTANCE if series is not None else Level.SERIES if study is not None else Level.STUDY
    return [each for each in Level if top <= each <= level]


@lru_cache(maxsize=1024)
def _vr(tag: str) -> str:
    return vr_of(int(tag, 16)).split(" ")[0]


def _member(tag: str, values: Sequence[object]) -> str:
    """An attribute of DICOM JSON (PS3.18 F.2.2)."""
    if not values:
        return f'{{"vr":"{_vr(tag)}"}}'
    return f'{{"vr":"{_vr(tag)}","Value":{json.dumps(values, ensure_ascii=False)}}}'


def _warning_header(warnings: Sequence[str]) -> dict[str, str]:
    """Warning 299 (RFC 7234 5.5), text in ASCII without quotes."""
    texts = [ascii(text)[1:-1].replace("\\", "").replace('"', "'") for text in warnings[:_WARNING_LIMIT]]
    return {"Warning": ", ".join(f'299 dicomwire "{text}"' for text in texts)} if texts else {}


def _offer(wanted: Wanted) -> str | None:
    if not wanted.single:
        return None
    return next((essence for essence in (DICOM_JSON, JSON) if wanted.part.matches(essence)), None)
