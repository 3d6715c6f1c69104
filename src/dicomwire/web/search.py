"""QIDO-RS: search for studies, series and instances (PS3.18 8.3.4, 10.6).

Answers are DICOM JSON, or XML in parts, sent page by page as the archive finds them. What is asked for and
not done, and how much more there is, is told in a Warning header; the number of all matches in X-Total-Count
where it is known.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive
from dicomwire.archive.query import Level, Query
from dicomwire.archive.search import Found, Pages
from dicomwire.archive.statement import Plan, plan
from dicomwire.dicom import xml_model
from dicomwire.errors import QueryError, SearchError
from dicomwire.web.media_types import DICOM_XML, metadata_type_of
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem
from dicomwire.web.resources import base_url, optional_uid
from dicomwire.web.responses import PagedResponse
from dicomwire.web.search_payload import Payload, fields_of
from dicomwire.web.search_query import Asked, parse, scope_of
from dicomwire.web.warning import warning_header

_COUNTED: Final = 1_000  # matches beyond an answer that are counted
_LARGEST: Final = 1 << 62  # more no catalogue counts
_COUNTING: Final = 0.5  # seconds that it may take, in a thread of its own
_AT_ONCE: Final = 256  # matches that are answered in one piece


class Total(NamedTuple):
    """How many matches there are, or, where that is not exact, are at least."""

    matches: int
    exact: bool


class Search:
    """Endpoint of GET on the resources of one level; UIDs in the path are keys."""

    def __init__(self, archive: Archive, options: WebOptions, level: Level) -> None:
        self._archive = archive
        self._options = options
        self._level = level

    async def __call__(self, request: Request) -> Response:
        content_type = metadata_type_of(request)
        study, series = optional_uid(request, "study"), optional_uid(request, "series")
        asked = parse(request.scope["query_string"], self._level, scope_of(study, series))
        levels = levels_of(self._level, study, series)
        planned = planned_of(asked, self._level, levels, self._options)
        payload = Payload(asked, planned, base_url(request, self._options), levels)
        pages = self._archive.searches.pages(planned, first=_AT_ONCE)
        try:
            first = await pages.next()
            total = await self._total(planned, len(first) if pages.finished else None)
        except SearchError as error:
            raise Problem(413, str(error)) from None
        headers = self._headers(asked, planned, total)
        if not first:
            return Response(status_code=204, headers=headers)
        write = _Parts(payload) if content_type == DICOM_XML else _Array(payload, content_type)
        if pages.finished:
            return Response(write.page(first) + write.tail, 200, headers, write.content_type)
        return PagedResponse(_streamed(first, pages, write), content_type=write.content_type, headers=headers)

    async def _total(self, planned: Plan, returned: int | None) -> Total:
        """How many matches there are.

        returned: how many are in the answer, None where that is not known yet.
        """
        limit, offset = planned.query.limit or 0, planned.query.offset
        if returned is not None and returned < limit and (returned or not offset):
            return Total(offset + returned, exact=True)
        searches, most = self._archive.searches, min(offset + limit + _COUNTED, _LARGEST)
        total = searches.quick_total(planned, most)
        if total is None:
            total = await searches.total_within(planned, most, _COUNTING)
        if total is not None:
            return Total(total, exact=total < most)
        most = min(offset + limit + 1, _LARGEST)
        total = await searches.total(planned, most)
        return Total(total, exact=total < most)

    def _headers(self, asked: Asked, planned: Plan, total: Total) -> dict[str, str]:
        limit, offset = planned.query.limit or 0, planned.query.offset
        warnings = list(asked.warnings)
        remaining = total.matches - offset - limit
        if remaining > 0:
            if asked.limit is None or asked.limit > limit:
                warnings.append(
                    "The number of results exceeded the maximum supported by the server."
                    " Additional results can be requested."
                )
            least = "" if total.exact else "at least "
            warnings.append(f"There are {least}{remaining} additional results that can be requested.")
        headers = {"X-Total-Count": str(total.matches)} if total.exact else {}
        return headers | warning_header(warnings)


class _Array:
    """Results as one JSON array."""

    tail = b"]"

    def __init__(self, payload: Payload, content_type: str) -> None:
        self.content_type = content_type
        self._payload = payload
        self._before = "["

    def page(self, found: list[Found]) -> bytes:
        """The next results."""
        text = self._before + ",".join([self._payload.encode(each) for each in found])
        self._before = ","
        return text.encode("utf-8", "replace")


class _Parts:
    """Results as XML documents, a part each."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._writer = PartWriter(DICOM_XML)
        self.content_type = self._writer.content_type
        self.tail = self._writer.tail

    def page(self, found: list[Found]) -> bytes:
        """The next results."""
        documents = (xml_model.encode(self._payload.encode(each)) for each in found)
        return b"".join([self._writer.part(DICOM_XML, document) for document in documents])


async def _streamed(first: list[Found], pages: Pages, write: _Array | _Parts) -> AsyncGenerator[bytes, None]:
    """The whole body, a page a piece."""
    yield write.page(first)
    while not pages.finished:
        if found := await pages.next():
            yield write.page(found)
    yield write.tail


def planned_of(asked: Asked, level: Level, levels: Sequence[Level], options: WebOptions) -> Plan:
    """A search as a query of an archive.

    levels: those whose attributes are in the answer.
    Raises: Problem 400, for values that cannot be.
    """
    cap = options.maximum_results
    query = Query(
        level,
        asked.matches,
        fields_of(asked, level, levels),
        cap if asked.limit is None else min(asked.limit, cap),
        asked.offset,
        empty_values=asked.empty_values,
        all_values=asked.all_values,
        fuzzy=asked.fuzzy,
        combined=True,
        timezone=asked.timezone,
    )
    try:
        return plan(query)
    except QueryError as error:
        raise Problem(400, str(error)) from None


def levels_of(level: Level, study: str | None, series: str | None) -> Sequence[Level]:
    """Levels whose attributes are in the answer (PS3.18 Table 10.6.1-4): none that the path names."""
    top = Level.INSTANCE if series is not None else Level.SERIES if study is not None else Level.STUDY
    return [each for each in Level if top <= each <= level]
