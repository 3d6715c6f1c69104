"""Instances on their way from one request into the archive, in order (PS3.18 10.5).

Parts go into the archive as their bytes arrive; each gets its own verdict.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from dicomwire.archive.archive import Archive, Origin
from dicomwire.web.media_types import DICOM, OCTET_STREAM, parse_media_type
from dicomwire.web.multipart import PartBegin, PartData, PartEvent
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem, shown
from dicomwire.web.store_response import Failure, Reason, Result
from dicomwire.web.upload import Upload


class Intake(Protocol):
    """Takes the parts of a store request; all in the loop's thread."""

    def __len__(self) -> int:
        """Parts taken."""

    def take(self, event: PartEvent) -> None:
        """The next event of the body. Raises: Problem."""

    async def drain(self) -> bool:
        """Waits until more can be taken. Returns: whether that took any time. Raises: Problem."""

    async def results(self) -> list[Result]:
        """Every verdict, in order, after the last part or after `abort`. Raises: Problem."""

    def abort(self) -> None:
        """The request breaks off: what is not complete is dropped."""


class Instances:
    """Instances that come as files, one a part."""

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

    def refuse(self, failure: Failure) -> None:
        """An instance that does not get as far as a file."""
        verdict: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        verdict.set_result(failure)
        upload = Upload(self._archive, self._options, self._origin, self._study)
        self._finished.append((upload, verdict))

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
