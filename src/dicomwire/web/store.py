"""STOW-RS: the Store transaction of the Studies Service (PS3.18 10.5, I).

Parts go into the archive as their bytes arrive; the archive's budget and the client's pace bound memory and
time. Every instance gets its own verdict: those complete before a request breaks off stay stored.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Origin
from dicomwire.web.media_types import (
    DICOM,
    DICOM_JSON,
    JSON,
    MULTIPART_RELATED,
    OCTET_STREAM,
    accept_of,
    not_acceptable,
    parse_media_type,
)
from dicomwire.web.multipart import PartBegin, PartData, PartEvent, PartReader, WholeBody, boundary_of
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem, shown
from dicomwire.web.resources import base_url, optional_uid
from dicomwire.web.store_response import Reason, Result, Stored, encode, status_of
from dicomwire.web.upload import Upload

_log = structlog.get_logger()


class Store:
    """Endpoint of POST /studies and /studies/{study}."""

    def __init__(self, archive: Archive, options: WebOptions) -> None:
        self._archive = archive
        self._options = options

    async def __call__(self, request: Request) -> Response:
        study = optional_uid(request, "study")
        base = base_url(request, self._options)
        _check_answer(request)
        reader = _reader(request)
        body = _Body(request, self._options)
        instances = _Instances(self._archive, self._options, _origin(request), study)
        try:
            await _receive(body, reader, instances)
        except ClientDisconnect:
            _log.info("web.store.disconnected", bytes=body.received, parts=len(instances))
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
        except Problem as problem:
            raise await _told_what_is_stored(problem, instances) from None
        finally:
            instances.abort()
        results = await instances.results()
        if not results:
            raise Problem(400, "the request has no parts; one or more instances wanted")
        _log.info(
            "web.store",
            parts=len(results),
            stored=sum(isinstance(result, Stored) for result in results),
            bytes=body.received,
        )
        return Response(encode(results, base), status_of(results), media_type=DICOM_JSON)


class _Body:
    """A request's body at a pace that is worth waiting for."""

    def __init__(self, request: Request, options: WebOptions) -> None:
        self.received = 0
        self._request = request
        self._ended = False
        self._options = options
        self._renewed = 0
        self._limit = options.maximum_body
        length = request.headers.get("content-length", "")
        if self._limit and length.isdecimal() and int(length) > self._limit:
            raise self._too_large(int(length))
        self.renew()

    def renew(self) -> None:
        """The client's time begins anew."""
        self._deadline = asyncio.get_running_loop().time() + self._options.progress_timeout
        self._renewed = self.received

    async def read(self) -> bytes:
        """The next bytes, b"" at the end.

        Raises: Problem 408, when the client is too slow; 413, when the body is too long; ClientDisconnect.
        """
        chunk = b""
        try:
            async with asyncio.timeout_at(self._deadline):
                while not chunk and not self._ended:
                    chunk = await self._next()
        except TimeoutError:
            span = self._options.progress_timeout
            recent = self.received - self._renewed
            detail = (
                f"{self.received} bytes came, {recent} of them in the last {span:g} s;"
                f" {self._options.progress_bytes} wanted"
            )
            raise Problem(408, detail, {"Connection": "close"}) from None
        self.received += len(chunk)
        if self._limit and self.received > self._limit:
            raise self._too_large(self.received)
        if self.received - self._renewed >= self._options.progress_bytes:
            self.renew()
        return chunk

    async def _next(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    def _too_large(self, size: int) -> Problem:
        return Problem(413, f"the body has {size} bytes or more; {self._limit} are taken")


class _Instances:
    """The parts of one request, in order."""

    def __init__(self, archive: Archive, options: WebOptions, origin: Origin, study: str | None) -> None:
        self._archive = archive
        self._options = options
        self._origin = origin
        self._study = study
        self._current: Upload | None = None
        self._finished: list[tuple[Upload, asyncio.Future[Result]]] = []

    def __len__(self) -> int:
        return len(self._finished)

    def take(self, event: PartEvent) -> None:
        """Raises: Problem 413, for one part too many."""
        if isinstance(event, PartData):
            assert self._current is not None
            self._current.write(event.data)
        elif isinstance(event, PartBegin):
            limit = self._options.maximum_instances
            if len(self._finished) >= limit:
                raise Problem(413, f"the request has more than {limit} parts")
            self._current = Upload(self._archive, self._options, self._origin, self._study)
            if words := _unwanted(event):
                self._current.refuse(Reason.CANNOT_UNDERSTAND, words)
        else:
            assert self._current is not None
            self._finished.append((self._current, self._current.finish()))
            self._current = None

    async def drain(self) -> bool:
        """Waits for room in the archive's budget. Returns: whether that took any time.

        Raises: Problem 503, when there is none in time.
        """
        uploads = [upload for upload, _ in self._finished[-1:]]
        if self._current is not None:
            uploads.append(self._current)
        try:
            async with asyncio.timeout(self._options.drain_timeout):
                return any([await upload.drain() for upload in uploads])
        except TimeoutError:
            raise Problem(503, "the archive is busy with other instances", {"Retry-After": "30"}) from None

    async def results(self) -> list[Result]:
        """Every verdict, in the order of the parts."""
        if self._finished:
            futures = [future for _, future in self._finished]
            await asyncio.wait(futures, timeout=self._options.commit_timeout)
        return [
            future.result()
            if future.done()
            else upload.failure(Reason.PROCESSING_FAILURE, "no verdict in time: it may be stored or not")
            for upload, future in self._finished
        ]

    def abort(self) -> None:
        """What is not complete is dropped."""
        if self._current is not None:
            self._current.abort()
            self._current = None


async def _receive(body: _Body, reader: PartReader | WholeBody, instances: _Instances) -> None:
    while chunk := await body.read():
        for event in reader.feed(chunk):
            instances.take(event)
        if await instances.drain():
            body.renew()
    for event in reader.end():
        instances.take(event)


async def _told_what_is_stored(problem: Problem, instances: _Instances) -> Problem:
    """The same problem, with what was stored before it came up."""
    instances.abort()
    results = await instances.results()
    if not results:
        return problem
    stored = sum(isinstance(result, Stored) for result in results)
    words = f"{problem.detail}; of the {len(results)} instances before it {stored} are stored"
    return Problem(problem.status, words, problem.headers)


def _check_answer(request: Request) -> None:
    """Raises: Problem 406, when the response may not be DICOM JSON; asked before anything is stored."""
    accept = accept_of(request)
    if not any(
        wanted.single and (wanted.part.matches(DICOM_JSON) or wanted.part.matches(JSON))
        for wanted in accept.wanted
    ):
        raise not_acceptable(accept, [DICOM_JSON])


def _reader(request: Request) -> PartReader | WholeBody:
    """What takes the body apart.

    Raises: Problem 415, when it is none of the media types taken; 400, when its Content-Type cannot be read.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(
            415, f"Content-Encoding is {shown(encoding)}; identity is taken", {"Accept-Encoding": "identity"}
        )
    header = request.headers.get("content-type", "")
    taken = f'{MULTIPART_RELATED}; type="{DICOM}" and {DICOM} are taken'
    if not header.strip():
        raise Problem(415, f"Content-Type is missing; {taken}")
    content_type = parse_media_type(header)
    if content_type.essence == DICOM:
        return WholeBody()
    part_type = content_type.parameter("type")
    if content_type.essence != MULTIPART_RELATED or (
        part_type and parse_media_type(part_type).essence not in (DICOM, OCTET_STREAM)
    ):
        raise Problem(415, f"Content-Type is {shown(header, 200)}; {taken}")
    return PartReader(boundary_of(content_type))


def _unwanted(part: PartBegin) -> str | None:
    """Why a part with these headers is not read: a media type that is no DICOM file, or a transfer encoding.

    A part without Content-Type is taken for what the request says; one of octets may be a DICOM file.
    """
    encoding = part.header("content-transfer-encoding")
    if encoding and encoding.lower() not in ("binary", "8bit", "7bit"):
        return f"Content-Transfer-Encoding is {shown(encoding, 20)}; binary wanted"
    header = part.header("content-type")
    if not header:
        return None
    try:
        essence = parse_media_type(header).essence
    except Problem as problem:
        return problem.detail
    return None if essence in (DICOM, OCTET_STREAM) else f"part is {shown(essence, 30)}; {DICOM} wanted"


def _origin(request: Request) -> Origin:
    client = request.client
    return Origin(door="web", peer=f"{client.host}:{client.port}" if client else "")
