"""FHIR: ImagingStudy, read and searched from the catalogue, in R4 and R5 (hl7.org/fhir, RESTful API, Search).

The release is that of `fhirVersion` in Accept (4.0 or 5.0), R4 where none is named. Answers and errors are
JSON.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from dicomwire.archive.archive import Archive
from dicomwire.archive.query import Level, Match, Query
from dicomwire.archive.search import Found
from dicomwire.archive.statement import Field, Plan, plan
from dicomwire.dicom.dictionary import TAGS, keyword_of
from dicomwire.errors import QueryError, SearchError
from dicomwire.uids import IMPLEMENTATION_VERSION_NAME, is_valid_uid
from dicomwire.web.fhir_query import KINDS, Asked, asked_of, summary_of
from dicomwire.web.imaging_study import Json, Release, Study, imaging_study, summarised
from dicomwire.web.media_types import (
    JSON,
    Accept,
    accept_of,
    not_acceptable,
    parse_accept,
    parse_media_type,
)
from dicomwire.web.options import WebOptions
from dicomwire.web.origins import origins
from dicomwire.web.problems import Problem, shown
from dicomwire.web.resources import base_url
from dicomwire.web.routing import Resource, Table

FHIR_JSON: Final = "application/fhir+json"
FORM: Final = "application/x-www-form-urlencoded"
_FORM_LIMIT: Final = 1 << 16  # bytes
_COUNTED: Final = 100_000  # matches that are counted
_PARTS: Final = 10_000  # series or instances whose studies are looked for
_FORMATS: Final = {
    "json": FHIR_JSON,
    "xml": "application/fhir+xml",
    "ttl": "text/turtle",
    "html": "text/html",
}
_VERSIONS: Final = {"4.0": Release.R4, "5.0": Release.R5}

_STUDY_FIELDS: Final = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "TimezoneOffsetFromUTC", "AccessionNumber", "PatientID"),
    *("IssuerOfPatientID", "PatientName", "ReferringPhysicianName", "StudyDescription", "ModalitiesInStudy"),
)
_INSTANCE_FIELDS: Final = (
    *("SeriesInstanceUID", "SeriesNumber", "Modality", "SeriesDescription", "BodyPartExamined", "SeriesDate"),
    *("SeriesTime", "TimezoneOffsetFromUTC", "SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
)

_ISSUES: Final = {
    400: "invalid",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    410: "deleted",
    413: "too-costly",
    415: "not-supported",
}


def build(archive: Archive, options: WebOptions, *, dicomweb: str) -> ASGIApp:
    """The FHIR application. dicomweb: path of the DICOMweb service on the same host."""
    fhir = Fhir(archive, options, dicomweb)
    resources = {
        "/metadata": Resource({"GET": fhir.capabilities}),
        "/ImagingStudy": Resource({"GET": fhir.search}),
        "/ImagingStudy/_search": Resource({"POST": fhir.search}),
        "/ImagingStudy/{id}": Resource({"GET": fhir.read}),
    }
    return origins(options, Table(resources, dict.fromkeys((Problem, SearchError), _answer_problem)))


class Fhir:
    """The endpoints."""

    def __init__(self, archive: Archive, options: WebOptions, dicomweb: str) -> None:
        self._archive = archive
        self._options = options
        self._dicomweb = dicomweb

    async def read(self, request: Request) -> Response:
        """GET ImagingStudy/{id}: the id of a study is its Study Instance UID."""
        release, summary = _release(request), summary_of(request.query_params.getlist("_summary"))
        uid: str = request.path_params["id"]
        found = (
            await self._studies((Match((TAGS["StudyInstanceUID"],), uid),), 1) if is_valid_uid(uid) else []
        )
        if not found and is_valid_uid(uid) and self._archive.was_removed(uid):
            raise Problem(410, f"ImagingStudy/{uid} was removed")
        if not found:
            raise Problem(404, f"there is no ImagingStudy/{shown(uid)[1:-1]}")
        resource = await self._resource(found[0], release, self._wado(request))
        return _answer(summarised(resource, summary), release)

    async def search(self, request: Request) -> Response:
        """GET ImagingStudy?..., or POST of a form to _search: a Bundle of the studies that match."""
        release, wado = _release(request), self._wado(request)
        strict = "handling=strict" in request.headers.get("prefer", "")
        asked = asked_of(await _parameters(request), strict=strict)
        matches = None if asked.nothing else await self._matches(asked)
        found = [] if matches is None else await self._studies(matches, asked.count, asked.offset)
        total = 0 if matches is None else await self._total(matches)
        url = f"{base_url(request, self._options)}/ImagingStudy"
        entries = [
            {
                "fullUrl": f"{url}/{each['StudyInstanceUID']}",
                "resource": summarised(await self._resource(each, release, wado), asked.summary),
                "search": {"mode": "match"},
            }
            for each in found
        ]
        bundle: Json = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": total,
            "link": list(_links(url, asked, total)),
        }
        return _answer(bundle | ({"entry": entries} if entries else {}), release)

    async def capabilities(self, request: Request) -> Response:
        """GET metadata: the CapabilityStatement."""
        release = _release(request)
        parameters = [{"name": name, "type": kind} for name, kind in KINDS.items()]
        resource = {
            "type": "ImagingStudy",
            "interaction": [{"code": "read"}, {"code": "search-type"}],
            "searchParam": parameters,
        }
        statement: Json = {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-01-01",
            "kind": "instance",
            "software": {"name": "dicomwire", "version": IMPLEMENTATION_VERSION_NAME},
            "implementation": {
                "description": "Studies of a DICOM archive",
                "url": base_url(request, self._options),
            },
            "fhirVersion": release.value,
            "format": ["json", FHIR_JSON],
            "rest": [{"mode": "server", "resource": [resource]}],
        }
        return _answer(statement, release)

    def _wado(self, request: Request) -> str:
        base, root = base_url(request, self._options), request.scope.get("root_path", "")
        return base.removesuffix(root) + self._dicomweb

    async def _matches(self, asked: Asked) -> tuple[Match, ...] | None:
        """Keys of studies, those that have the series and instances asked for; None where there is none."""
        uids: set[str] | None = None
        for level, match in asked.parts:
            planned = _planned(level, (match,), ("StudyInstanceUID",), _PARTS)
            of = {attributes["StudyInstanceUID"] async for attributes in self._rows(planned)}
            uids = of if uids is None else uids & of
        if uids is None:
            return asked.matches
        key = Match((TAGS["StudyInstanceUID"],), "\\".join(sorted(uids)))
        if any(match.path == key.path for match in asked.matches):
            raise Problem(400, "series and instance do not go with the UID of a study")
        return (*asked.matches, key) if uids else None

    async def _studies(
        self, matches: tuple[Match, ...], limit: int, offset: int = 0
    ) -> list[Mapping[str, str]]:
        planned = _planned(Level.STUDY, matches, _STUDY_FIELDS, limit, offset)
        return [attributes async for attributes in self._rows(planned)]

    async def _resource(self, study: Mapping[str, str], release: Release, wado: str) -> Json:
        matches = (Match((TAGS["StudyInstanceUID"],), study["StudyInstanceUID"]),)
        planned = _planned(Level.INSTANCE, matches, _INSTANCE_FIELDS)
        instances = [attributes async for attributes in self._rows(planned)]
        instances.sort(key=lambda each: (_order(each, "SeriesNumber"), _order(each, "InstanceNumber")))
        return imaging_study(Study(study, tuple(instances)), release, dicomweb=wado)

    async def _rows(self, planned: Plan) -> AsyncIterator[Mapping[str, str]]:
        pages = self._archive.searches.pages(planned)
        while not pages.finished:
            for found in await pages.next():
                yield _attributes(planned, found)

    async def _total(self, matches: tuple[Match, ...]) -> int:
        return await self._archive.searches.total(_planned(Level.STUDY, matches, _STUDY_FIELDS), _COUNTED)


async def _parameters(request: Request) -> list[tuple[str, str]]:
    """The search parameters of the query string and of a form. Raises: Problem 413, 415."""
    found = list(request.query_params.multi_items())
    if request.method != "POST":
        return found
    if parse_media_type(request.headers.get("content-type", FORM)).essence != FORM:
        raise Problem(415, f"Content-Type is no {FORM}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_LIMIT:
            raise Problem(413, f"a search has more than {_FORM_LIMIT} bytes")
    return [*found, *QueryParams(bytes(body)).multi_items()]


def _planned(
    level: Level,
    matches: tuple[Match, ...],
    fields: tuple[str, ...],
    limit: int | None = None,
    offset: int = 0,
) -> Plan:
    tags = tuple(TAGS[keyword] for keyword in fields)
    try:
        return plan(Query(level, matches, tags, limit, offset))
    except QueryError as error:
        raise Problem(400, str(error)) from None


def _attributes(planned: Plan, found: Found) -> dict[str, str]:
    """First values by keyword, those of the lowest level last."""
    attributes: dict[str, str] = {}
    for table, row in (("study", found.study), ("series", found.series), ("instance", found.instance)):
        for field, value in zip(planned.fields.get(table, ()), row, strict=False):
            if value not in (None, "") and (text := _text(field, value)):
                attributes[keyword_of(field.tag)] = text
    return attributes


def _text(field: Field, value: object) -> str:
    if not field.json:
        return str(value)
    values = json.loads(str(value)).get("Value") or [""]
    first = values[0]
    return str(first.get("Alphabetic", "") if isinstance(first, dict) else "" if first is None else first)


def _order(attributes: Mapping[str, str], keyword: str) -> tuple[bool, int]:
    """Sorts by a number; what has none comes last."""
    try:
        return False, int(attributes[keyword])
    except (KeyError, ValueError):
        return True, 0


def _links(url: str, asked: Asked, total: int) -> Iterator[Json]:
    query = urlencode(asked.parameters)
    yield {"relation": "self", "url": f"{url}?{query}" if query else url}
    following = asked.offset + asked.count
    if asked.count and following < total:
        others = [pair for pair in asked.parameters if pair[0] not in ("_offset", "_count")]
        more = urlencode([*others, ("_count", asked.count), ("_offset", following)])
        yield {"relation": "next", "url": f"{url}?{more}"}


def _accept(request: Request) -> Accept:
    """What the client takes: `_format` stands for Accept (FHIR R4 3.1.0.1.11)."""
    text = request.query_params.get("_format", "").replace("fhir ", "fhir+")  # a plus that nobody escaped
    return parse_accept((), (_FORMATS.get(text, text),), "_format") if text else accept_of(request)


def _release(request: Request) -> Release:
    """The release that the client wants. Raises: Problem 406."""
    accept = _accept(request)
    for wanted in accept.wanted:
        if wanted.single and any(wanted.part.matches(essence) for essence in (FHIR_JSON, JSON)):
            version = wanted.part.parameter("fhirversion") or "4.0"
            if (release := _VERSIONS.get(version[:3])) is not None:
                return release
    raise not_acceptable(accept, [f"{FHIR_JSON}; fhirVersion={version}" for version in _VERSIONS])


def _answer(resource: Json, release: Release) -> Response:
    body = json.dumps(resource, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, media_type=f"{FHIR_JSON}; fhirVersion={release.value[:3]}")


async def _answer_problem(request: Request, error: Exception) -> Response:
    """Every error leaves as an OperationOutcome."""
    status = 413  # a search that takes too long
    if isinstance(error, Problem):
        status = error.status
    issue = {"severity": "error", "code": _ISSUES.get(status, "exception"), "diagnostics": str(error)}
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    return Response(json.dumps(outcome), status, media_type=FHIR_JSON)
