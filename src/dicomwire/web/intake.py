"""Instances on their way from one request into the archive, in order (PS3.18 10.5).

Parts go into the archive as their bytes arrive; each gets its own verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from dicomwire.archive.archive import Archive, Origin
from dicomwire.web.media_types import DICOM, DICOM_JSON, DICOM_XML, OCTET_STREAM, parse_media_type
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

    @property
    def congested(self) -> bool:
        """Whether more has come than can be taken at the moment."""

    async def drain(self) -> None:
        """Waits until more can be taken. Raises: Problem."""

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
        self._uploads: list[Upload] = []  # complete, in order
        self._verdicts: list[Result | None] = []  # theirs; None while it is not known
        self._open = 0  # how many are not known
        self._settled: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._uploads)

    def take(self, event: PartEvent) -> None:
        """Raises: Problem 413, for one part too many."""
        if isinstance(event, PartData):
            assert self._current is not None
            self._current.write(event.data)
        elif isinstance(event, PartBegin):
            limit = self._options.maximum_instances
            if len(self._uploads) >= limit:
                raise Problem(413, f"the request has more than {limit} parts")
            self._current = Upload(self._archive, self._options, self._origin, self._study)
            if words := _unwanted(event):
                self._current.refuse(Reason.CANNOT_UNDERSTAND, words)
        else:
            assert self._current is not None
            upload, self._current = self._current, None
            upload.finish(self._awaited(upload))

    def refuse(self, failure: Failure) -> None:
        """An instance that does not get as far as a file."""
        self._awaited(Upload(self._archive, self._options, self._origin, self._study))(failure)

    def _awaited(self, upload: Upload) -> Callable[[Result], None]:
        """What to call with the verdict on an upload."""
        number = len(self._uploads)
        self._uploads.append(upload)
        self._verdicts.append(None)
        self._open += 1

        def judged(verdict: Result) -> None:
            self._verdicts[number] = verdict
            self._open -= 1
            if not self._open:
                self._settle()

        return judged

    def _settle(self) -> None:
        """Nothing more is waited for."""
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    @property
    def congested(self) -> bool:
        return any(upload.congested for upload in self._latest())

    async def drain(self) -> None:
        """Waits for room in the archive's budget.

        Raises: Problem 503, when there is none in time.
        """
        try:
            async with asyncio.timeout(self._options.drain_timeout):
                for upload in self._latest():
                    await upload.drain()
        except TimeoutError:
            raise Problem(503, "the archive is busy with other instances", {"Retry-After": "30"}) from None

    def _latest(self) -> list[Upload]:
        """The last uploads that may know how much waits for the disk."""
        return [*self._uploads[-1:], *([self._current] if self._current is not None else [])]

    async def results(self) -> list[Result]:
        """Every verdict, in the order of the parts."""
        if self._open:
            loop = asyncio.get_running_loop()
            self._settled = loop.create_future()
            waited = loop.call_later(self._options.commit_timeout, self._settle)
            try:
                await self._settled
            finally:
                waited.cancel()
        words = "no verdict in time: it may be stored or not"
        return [
            verdict or upload.failure(Reason.PROCESSING_FAILURE, words)
            for upload, verdict in zip(self._uploads, self._verdicts, strict=True)
        ]

    def abort(self) -> None:
        """What is not complete is dropped."""
        if self._current is not None:
            self._current.abort()
            self._current = None


class Undecided:
    """An intake of a body whose type does not say what is in it: its first part does."""

    def __init__(self, files: Instances, described: Callable[[str], Intake]) -> None:
        """described: makes the intake of metadata in a media type."""
        self._chosen: Intake = files
        self._described: Callable[[str], Intake] | None = described

    def __len__(self) -> int:
        return len(self._chosen)

    def take(self, event: PartEvent) -> None:
        if self._described is not None and isinstance(event, PartBegin):
            first = parse_media_type(event.header("content-type") or OCTET_STREAM).essence
            if first in (DICOM_JSON, DICOM_XML):
                self._chosen = self._described(first)
            self._described = None
        self._chosen.take(event)

    @property
    def congested(self) -> bool:
        return self._chosen.congested

    async def drain(self) -> None:
        await self._chosen.drain()

    async def results(self) -> list[Result]:
        return await self._chosen.results()

    def abort(self) -> None:
        self._chosen.abort()


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
