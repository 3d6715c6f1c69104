"""STOW-RS: the Store transaction of the Studies Service (PS3.18 10.5, I).

Parts go into the archive as their bytes arrive; the archive's budget and the client's pace bound memory and
time. Every instance gets its own verdict: those complete before a request breaks off stay stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Origin
from dicomwire.archive.transcoder import Transcoder
from dicomwire.web.body import Body
from dicomwire.web.data_set_form import data_set_form
from dicomwire.web.described import Described
from dicomwire.web.intake import Instances, Intake, Undecided
from dicomwire.web.media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    MULTIPART_RELATED,
    OCTET_STREAM,
    parse_media_type,
)
from dicomwire.web.multipart import PartReader, WholeBody, boundary_of
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem, shown
from dicomwire.web.resources import base_url, optional_uid
from dicomwire.web.store_response import Result, Stored, encode, locations_of, status_of

# Type of a multipart body to the form of its instances; None where the first part says it
_FORMS: Final = {DICOM: DICOM, OCTET_STREAM: None, DICOM_JSON: DICOM_JSON, DICOM_XML: DICOM_XML}

_AT_ONCE: Final = 1_000  # parts' heads, data and ends in a row, before others have their turn

Confirm: TypeAlias = Callable[[Sequence[Result]], Awaitable[Sequence[Result]]]
"""Has the last word on what the archive has taken."""

_log = structlog.get_logger()


class Store:
    """Endpoint of POST /studies and /studies/{study}."""

    def __init__(
        self, archive: Archive, options: WebOptions, transcoder: Transcoder, confirm: Confirm | None = None
    ) -> None:
        self._archive = archive
        self._transcoder = transcoder
        self._options = options
        self._confirm = confirm

    async def __call__(self, request: Request) -> Response:
        study = optional_uid(request, "study")
        base = base_url(request, self._options)
        answer = data_set_form(request)
        form, reader = _reader(request)
        body = Body(request, self._options)
        instances = Instances(self._archive, self._options, _origin(request), study)
        described = partial(Described, instances, folder=self._archive.data, transcoder=self._transcoder)
        intake: Intake = instances
        if form is None:
            intake = Undecided(instances, described)
        elif form != DICOM:
            intake = described(form)
        try:
            await _receive(body, reader, intake)
        except ClientDisconnect:
            _log.info("web.store.disconnected", bytes=body.received, parts=len(intake))
            if self._confirm is not None:
                await self._results(intake)
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
        except Problem as problem:
            raise _told_what_is_stored(problem, await self._results(intake)) from None
        results = await self._results(intake)
        if not results:
            raise Problem(400, "the request has no instances; one or more wanted")
        _log.info(
            "web.store",
            parts=len(results),
            stored=sum(isinstance(result, Stored) for result in results),
            bytes=body.received,
        )
        content, content_type = answer.encode(encode(results, base))
        return Response(content, status_of(results), locations_of(results, base), content_type)

    async def _results(self, intake: Intake) -> Sequence[Result]:
        results = await intake.results()
        return await self._confirm(results) if self._confirm is not None and results else results


async def _receive(body: Body, reader: PartReader | WholeBody, intake: Intake) -> None:
    """Whatever ends it before the end, nothing of an instance stays that is not whole."""
    try:
        async with body:
            while chunk := await body.read():
                for number, event in enumerate(reader.feed(chunk), 1):
                    intake.take(event)
                    if number % _AT_ONCE == 0:
                        await asyncio.sleep(0)
                if intake.congested:
                    body.pause()
                    await intake.drain()
                    body.renew()
        for event in reader.end():
            intake.take(event)
    except BaseException:
        intake.abort()
        raise


def _told_what_is_stored(problem: Problem, results: Sequence[Result]) -> Problem:
    """The same problem, with what was stored before it came up."""
    if not results:
        return problem
    stored = sum(isinstance(result, Stored) for result in results)
    words = f"{problem.detail}; of the {len(results)} instances before it {stored} are stored"
    return Problem(problem.status, words, problem.headers)


def _reader(request: Request) -> tuple[str | None, PartReader | WholeBody]:
    """In which form instances come, and what takes the body apart.

    Returns: DICOM for files, else the media type of the metadata; None where the first part says it.
    Raises: Problem 415, when it is none of the media types taken; 400, when its Content-Type cannot be read.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(
            415, f"Content-Encoding is {shown(encoding)}; identity is taken", {"Accept-Encoding": "identity"}
        )
    header = request.headers.get("content-type", "")
    taken = f"{DICOM} and {MULTIPART_RELATED} with type {', '.join(_FORMS)} are taken"
    if not header.strip():
        raise Problem(415, f"Content-Type is missing; {taken}")
    content_type = parse_media_type(header)
    if content_type.essence == DICOM:
        return DICOM, WholeBody()
    part_type = parse_media_type(content_type.parameter("type") or OCTET_STREAM).essence
    if content_type.essence != MULTIPART_RELATED or part_type not in _FORMS:
        raise Problem(415, f"Content-Type is {shown(header, 200)}; {taken}")
    return _FORMS[part_type], PartReader(boundary_of(content_type))


def _origin(request: Request) -> Origin:
    client = request.client
    return Origin(door="web", peer=f"{client.host}:{client.port}" if client else "")
